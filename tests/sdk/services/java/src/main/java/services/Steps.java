package services;

import com.fasterxml.jackson.databind.JsonNode;
import dev.restate.sdk.Context;
import dev.restate.sdk.DurableFuture;
import dev.restate.sdk.ObjectContext;
import dev.restate.sdk.common.RetryPolicy;
import dev.restate.sdk.common.TerminalException;
import java.time.Duration;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.logging.log4j.LogManager;

/** `Steps`, `Sleeper` and `NonDet`: durable steps, retries, sleeping, and handlers that replay differently than they ran. */
final class Steps {
  static final RetryPolicy QUICK = RetryPolicy.exponential(Duration.ofMillis(10), 1);

  private Steps() {}

  static List<Definition> definitions() {
    return List.of(steps(), sleeper(), nonDet());
  }

  /** `run` lines when a step's work is done, `ack` lines once its result is durable. */
  private static int run(Context ctx, int n, long delay) throws Exception {
    var id = ctx.request().invocationId();
    for (var i = 0; i < n; i++) {
      var line = id + " " + i;
      ctx.run(
          "step-" + i,
          () -> {
            if (delay > 0) Thread.sleep(delay);
            Support.logStep("run " + line);
          });
      Support.logStep("ack " + line);
    }
    return n;
  }

  /** How often a step ran that always fails. */
  private static int runUntilGivenUp(Context ctx, String handler, String key, RetryPolicy policy) {
    try {
      ctx.run(
          "always",
          policy,
          () -> {
            throw new IllegalStateException("step " + Support.attempt(handler, key) + " of " + key + " fails as asked");
          });
    } catch (TerminalException expected) {
      // What the policy ends with.
    }
    return Support.attempts(handler, key);
  }

  private static void failFirst(String handler, String key) {
    Support.failFirst(handler, key, 1);
  }

  private static String key(JsonNode input) {
    return input.get("key").asText();
  }

  private static Definition steps() {
    return Definition.service("Steps")
        .<Context>on("run", (ctx, n) -> run(ctx, n.asInt(), 0))
        .<Context>on("runSlow", (ctx, slow) -> run(ctx, slow.get("n").asInt(), slow.get("delayMs").asLong()))
        .<Context>on("failTimes", (ctx, fail) -> Support.failFirst("failTimes", key(fail), fail.get("times").asInt()))
        .<Context>on(
            "failingStep",
            (ctx, fail) ->
                ctx.run(
                    "failing",
                    Json.ANY,
                    QUICK,
                    () -> Support.failFirst("failingStep", key(fail), fail.get("times").asInt())))
        .<Context>on(
            "onEvent",
            (ctx, event) -> {
              ctx.run("event", () -> Support.logStep("event " + event.get("seq").asText()));
              return null;
            })
        .<Context>on(
            "exhausted",
            (ctx, policy) -> {
              var attempts = policy.get("attempts").asInt();
              var limited = RetryPolicy.exponential(Duration.ofMillis(10), 1).setMaxAttempts(attempts);
              return runUntilGivenUp(ctx, "exhausted", key(policy), limited);
            })
        .<Context>on(
            "outOfTime",
            (ctx, policy) -> {
              var time = Duration.ofMillis(policy.get("ms").asLong());
              var limited = RetryPolicy.exponential(Duration.ofMillis(50), 1).setMaxDuration(time);
              return runUntilGivenUp(ctx, "outOfTime", key(policy), limited);
            })
        .<Context>on(
            "terminalStep",
            (ctx, failure) -> {
              try {
                ctx.run(
                    "terminal",
                    () -> {
                      throw new TerminalException(failure.get("code").asInt(), failure.get("message").asText());
                    });
                return "no error";
              } catch (TerminalException error) {
                return Support.errorText(error);
              }
            })
        .<Context>on(
            "sameRandom",
            (ctx, one) -> {
              var drawn = ctx.random().nextUUID().toString();
              var stored = ctx.run("drawn", Json.NODE, () -> Interpreter.node(drawn));
              failFirst("sameRandom", key(one));
              return stored.asText().equals(drawn);
            })
        .<Context>on(
            "logged",
            (ctx, one) -> {
              LogManager.getLogger(Steps.class).warn("logged " + key(one));
              ctx.run("behind", () -> {});
              failFirst("logged", key(one));
              return null;
            })
        .<Context>on(
            "parallel",
            (ctx, many) -> {
              var id = ctx.request().invocationId();
              var n = many.get("n").asInt();
              var running =
                  IntStream.range(0, n)
                      .<DurableFuture<?>>mapToObj(
                          i ->
                              ctx.runAsync(
                                  "step-" + i,
                                  () -> {
                                    if (i == n - 1) failFirst("parallel", key(many));
                                    Support.logStep("run " + id + " " + i);
                                  }))
                      .toList();
              DurableFuture.all(running).await();
              return n;
            });
  }

  private static Definition sleeper() {
    return Definition.service("Sleeper")
        .<Context>on(
            "sleep",
            (ctx, ms) -> {
              ctx.sleep(Duration.ofMillis(ms.asLong()));
              return "slept";
            })
        .<Context>on(
            "sleepThenStep",
            (ctx, ms) -> {
              ctx.sleep(Duration.ofMillis(ms.asLong()));
              var line = "slept " + ctx.request().invocationId();
              ctx.run("after-sleep", () -> Support.logStep(line));
              return line;
            });
  }

  /** What an attempt does: the odd ones one thing, the even ones another. */
  private static void differ(ObjectContext ctx, String kind, boolean isOdd) {
    var name = isOdd ? "a" : "b";
    if (kind.equals("target")) {
      Json.call(ctx, "Counter", ctx.key() + "-" + name, "get", null).await();
    } else if (kind.equals("command") && !isOdd) {
      Json.call(ctx, "Counter", ctx.key(), "get", null).await();
    } else {
      if (kind.equals("state")) Json.set(ctx, name, 1);
      ctx.sleep(Duration.ofMillis(1));
    }
  }

  private static Definition nonDet() {
    return Definition.object("NonDet")
        .<ObjectContext>on(
            "run",
            (ctx, input) -> {
              var kind = input.asText();
              var number = Support.attempt("NonDet", ctx.key() + " " + kind);
              differ(ctx, kind, number % 2 == 1);
              if (number < 3) throw new IllegalStateException("attempt " + number + " fails as asked");
              return number;
            });
  }
}
