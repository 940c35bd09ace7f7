package services;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import dev.restate.common.Target;
import dev.restate.sdk.DurableFuture;
import dev.restate.sdk.InvocationHandle;
import dev.restate.sdk.ObjectContext;
import dev.restate.sdk.SharedObjectContext;
import dev.restate.sdk.common.TerminalException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** `Interpreter`: executes programs of commands, so that a test can make up what a handler does. */
final class Interpreter {
  private static final String NAME = "Interpreter";

  private final ObjectContext ctx;
  private long acc;

  private Interpreter(ObjectContext ctx) {
    this.ctx = ctx;
  }

  static List<Definition> definitions() {
    return List.of(
        Definition.object(NAME)
            .<ObjectContext>on(
                "run",
                (ctx, program) -> {
                  var execution = new Interpreter(ctx);
                  execution.run(program, "");
                  return execution.acc;
                })
            .<SharedObjectContext>shared("state", Json::entries));
  }

  static JsonNode node(String value) {
    return JsonNodeFactory.instance.textNode(value);
  }

  static JsonNode node(long value) {
    return JsonNodeFactory.instance.numberNode(value);
  }

  private void run(JsonNode program, String around) throws Exception {
    for (var i = 0; i < program.size(); i++) execute(program.get(i), around + i);
  }

  private InvocationHandle<JsonNode> send(String key, Object program) {
    return Json.send(ctx, NAME, key, "run", program);
  }

  private InvocationHandle<JsonNode> send(String key, Map<String, ?> command) {
    return send(key, List.of(command));
  }

  /** Starts what can also be a branch. */
  private DurableFuture<JsonNode> start(JsonNode command, String at) {
    var op = command.get("op").asText();
    var key = command.path("key").asText();
    switch (op) {
      case "sleep":
        return ctx.timer(Duration.ofMillis(command.get("ms").asLong())).map(none -> node(0));
      case "step":
        var value = command.get("value");
        return ctx.runAsync("step " + at, Json.NODE, () -> value);
      case "call":
        return Json.call(ctx, NAME, key, "run", command.get("program"));
      case "attach":
        var id = send(key, command.get("program")).invocationId();
        return ctx.invocationHandle(id, Json.NODE).attach();
      case "awakeable":
        var awakeable = ctx.awakeable(Json.NODE);
        send(key, Map.of("op", "resolve", "id", awakeable.id(), "value", command.get("value").asLong()));
        return awakeable;
      default:
        throw new TerminalException(400, op + " is no command");
    }
  }

  private List<DurableFuture<JsonNode>> startAll(JsonNode branches, String at) {
    var started = new ArrayList<DurableFuture<JsonNode>>();
    for (var i = 0; i < branches.size(); i++) started.add(start(branches.get(i), at + "." + i));
    return started;
  }

  private void finish(DurableFuture<JsonNode> one) {
    acc += one.await().asLong();
  }

  /** One more if it ends in a terminal error. */
  private void countFailure(DurableFuture<?> one) {
    try {
      one.await();
    } catch (TerminalException error) {
      acc++;
    }
  }

  private void failFirst(JsonNode command, String at) {
    var place = ctx.request().invocationId() + " " + at;
    Support.failFirst(NAME, place, command.get("times").asInt());
  }

  private void execute(JsonNode command, String at) throws Exception {
    var name = command.path("name").asText();
    var key = command.path("key").asText();
    switch (command.get("op").asText()) {
      case "set" -> Json.set(ctx, name, command.get("value"));
      case "add" -> {
        var before = Json.get(ctx, name).map(JsonNode::asLong).orElse(0L);
        Json.set(ctx, name, before + command.get("value").asLong());
      }
      case "get" -> acc += Json.get(ctx, name).map(JsonNode::asLong).orElse(0L);
      case "clear" -> Json.clear(ctx, name);
      case "keys" -> ctx.stateKeys();
      case "flaky" ->
          acc +=
              ctx.run(
                      "flaky " + at,
                      Json.NODE,
                      Steps.QUICK,
                      () -> {
                        failFirst(command, at);
                        return command.get("value");
                      })
                  .asLong();
      case "crash" -> failFirst(command, at);
      case "fail" -> throw new TerminalException(command.get("code").asInt(), command.get("message").asText());
      case "try" -> {
        try {
          run(command.get("body"), at + ".");
        } catch (TerminalException error) {
          acc += 1000;
        }
      }
      case "send" -> {
        if (command.hasNonNull("ms")) {
          var request = Json.request(Target.virtualObject(NAME, key, "run"), command.get("program"));
          ctx.send(request, Duration.ofMillis(command.get("ms").asLong()));
        } else {
          send(key, command.get("program"));
        }
      }
      case "idempotent" -> {
        for (var i = 0; i < 2; i++) {
          var request = Json.request(Target.virtualObject(NAME, key, "run"), command.get("program"));
          request.idempotencyKey(command.get("idempotencyKey").asText());
          finish(ctx.call(request));
        }
      }
      case "cancel" -> {
        var id = send(key, Map.of("op", "sleep", "ms", 3_600_000)).invocationId();
        ctx.invocationHandle(id).cancel();
        countFailure(ctx.invocationHandle(id, Json.NODE).attach());
      }
      case "rejected" -> {
        var awakeable = ctx.awakeable(Json.NODE);
        send(key, Map.of("op", "reject", "id", awakeable.id()));
        countFailure(awakeable);
      }
      case "resolve" -> ctx.awakeableHandle(command.get("id").asText()).resolve(Json.NODE, command.get("value"));
      case "reject" -> ctx.awakeableHandle(command.get("id").asText()).reject("rejected");
      case "parallel" -> startAll(command.get("branches"), at).forEach(this::finish);
      case "race" -> {
        var waiting = startAll(command.get("branches"), at);
        while (!waiting.isEmpty()) finish(waiting.remove(Awakeables.first(waiting)));
      }
      default -> finish(start(command, at));
    }
  }
}
