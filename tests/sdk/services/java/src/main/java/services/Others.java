package services;

import com.fasterxml.jackson.databind.JsonNode;
import dev.restate.common.Target;
import dev.restate.sdk.Context;
import dev.restate.sdk.ObjectContext;
import dev.restate.sdk.SharedWorkflowContext;
import dev.restate.sdk.WorkflowContext;
import dev.restate.sdk.common.DurablePromiseKey;
import dev.restate.sdk.common.TerminalException;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/** `Blocker`, `Tree` and `Signals`: invocations that wait for each other, are cancelled, and attached to. */
final class Others {
  private static final DurablePromiseKey<JsonNode> GATE = DurablePromiseKey.of("gate", Json.NODE);
  private static final DurablePromiseKey<JsonNode> DONE = DurablePromiseKey.of("done", Json.NODE);

  private Others() {}

  static List<Definition> definitions() {
    return List.of(blocker(), tree(), signals());
  }

  private static Definition blocker() {
    return Definition.workflow("Blocker")
        .<WorkflowContext>on(
            "run",
            (ctx, input) -> {
              Json.set(ctx, "stage", "waiting");
              Json.set(ctx, "input", input);
              var value = ctx.promise(GATE).future().await();
              Json.set(ctx, "stage", "passed");
              var result = input.asText() + " " + value.asText();
              ctx.promiseHandle(DONE).resolve(Interpreter.node(result));
              return result;
            })
        .<SharedWorkflowContext>shared("stage", ctx -> Json.get(ctx, "stage").orElse(null))
        .<SharedWorkflowContext>shared(
            "resolve",
            (ctx, value) -> {
              ctx.promiseHandle(GATE).resolve(value);
              return null;
            })
        .<SharedWorkflowContext>shared(
            "reject",
            (ctx, reason) -> {
              ctx.promiseHandle(GATE).reject(reason.asText());
              return null;
            })
        .<SharedWorkflowContext>shared("peek", ctx -> ctx.promise(GATE).peek().orElse(null))
        .<SharedWorkflowContext>shared("awaitGate", ctx -> ctx.promise(GATE).future().await())
        .<SharedWorkflowContext>shared("awaitDone", ctx -> ctx.promise(DONE).future().await())
        .<SharedWorkflowContext>shared(
            "submit",
            (ctx, other) -> {
              var target = Target.workflow("Blocker", other.get("key").asText(), "run");
              return ctx.call(Json.request(target, other.get("input"))).await();
            });
  }

  private static void note(Context ctx, String key, String line) {
    Json.call(ctx, "ListObject", key, "append", line).await();
  }

  private static void waitOrCall(ObjectContext ctx, String key, int level, String wait) {
    if (level > 0) {
      var below = Map.of("key", key, "level", level - 1, "wait", wait);
      Json.call(ctx, "Tree", key + "-" + (level - 1), "grow", below).await();
    } else if (wait.equals("sleep")) {
      ctx.sleep(Duration.ofHours(1));
    } else {
      // The SDK has no signals.
      ctx.awakeable(Json.NODE).await();
    }
  }

  private static Definition tree() {
    return Definition.object("Tree")
        .<ObjectContext>on(
            "grow",
            (ctx, node) -> {
              var key = node.get("key").asText();
              var level = node.get("level").asInt();
              if (level == 0) note(ctx, key, "ready");
              try {
                waitOrCall(ctx, key, level, node.get("wait").asText());
                return null;
              } catch (TerminalException error) {
                note(ctx, key, "undo " + level + " " + error.getCode());
                throw error;
              }
            })
        .<ObjectContext>on("idle", ctx -> "idle");
  }

  private static Definition signals() {
    return Definition.service("Signals")
        .<Context>on(
            "cancel",
            (ctx, to) -> {
              ctx.invocationHandle(to.get("id").asText()).cancel();
              return null;
            })
        .<Context>on(
            "attach",
            (ctx, to) -> {
              try {
                return Map.of("ok", ctx.invocationHandle(to.get("id").asText(), Json.NODE).attach().await());
              } catch (TerminalException error) {
                return Map.of("error", Support.errorText(error));
              }
            })
        .<Context>on(
            "output",
            (ctx, to) -> {
              try {
                var output = ctx.invocationHandle(to.get("id").asText(), Json.NODE).getOutput();
                return output.isReady() ? Map.of("ok", output.getValue()) : Map.of("pending", true);
              } catch (TerminalException error) {
                return Map.of("error", Support.errorText(error));
              }
            });
  }
}
