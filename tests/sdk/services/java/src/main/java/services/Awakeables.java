package services;

import com.fasterxml.jackson.databind.JsonNode;
import dev.restate.sdk.Awakeable;
import dev.restate.sdk.CallDurableFuture;
import dev.restate.sdk.Context;
import dev.restate.sdk.DurableFuture;
import dev.restate.sdk.ObjectContext;
import dev.restate.sdk.SharedObjectContext;
import dev.restate.sdk.common.TerminalException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** `Holder`, `Awaiter` and `Combine`: awakeables, who completes them, and several at once. */
final class Awakeables {
  private static final long HOUR_MS = 3_600_000;

  private Awakeables() {}

  static List<Definition> definitions() {
    return List.of(holder(), awaiter(), combine());
  }

  /** The id that is held; it is held no more. */
  private static String take(ObjectContext ctx) {
    var id = Json.get(ctx, "id").orElseThrow(() -> new TerminalException(404, "nothing held"));
    Json.clear(ctx, "id");
    return id.asText();
  }

  private static Definition holder() {
    return Definition.object("Holder")
        .<ObjectContext>on(
            "hold",
            (ctx, id) -> {
              Json.set(ctx, "id", id);
              return null;
            })
        .<SharedObjectContext>shared("held", ctx -> Json.get(ctx, "id").orElse(null))
        .<ObjectContext>on(
            "unlock",
            (ctx, value) -> {
              ctx.awakeableHandle(take(ctx)).resolve(Json.NODE, value);
              return null;
            })
        .<ObjectContext>on(
            "refuse",
            (ctx, reason) -> {
              ctx.awakeableHandle(take(ctx)).reject(reason.asText());
              return null;
            });
  }

  /** The value, or the text of the rejection. */
  private static String text(DurableFuture<JsonNode> future) {
    try {
      return future.await().asText();
    } catch (TerminalException error) {
      return "rejected: " + error.getMessage();
    }
  }

  /** An awakeable whose id `Holder/<key>` holds. */
  private static Awakeable<JsonNode> make(Context ctx, String key) {
    var awakeable = ctx.awakeable(Json.NODE);
    Json.call(ctx, "Holder", key, "hold", awakeable.id()).await();
    return awakeable;
  }

  private static Awakeable<JsonNode> make(Context ctx, JsonNode input) {
    return make(ctx, input.get("key").asText());
  }

  private static Definition awaiter() {
    return Definition.service("Awaiter")
        .<Context>on("await", (ctx, wait) -> text(make(ctx, wait)))
        .<Context>on(
            "awaitTimeout",
            (ctx, wait) -> {
              var awakeable = make(ctx, wait);
              var timeout = ctx.timer(Duration.ofMillis(wait.get("ms").asLong()));
              return DurableFuture.any(awakeable, timeout).await() == 0 ? text(awakeable) : "timeout";
            })
        .<Context>on(
            "awaitLate",
            (ctx, wait) -> {
              var awakeable = make(ctx, wait);
              ctx.sleep(Duration.ofMillis(wait.get("ms").asLong()));
              return text(awakeable);
            });
  }

  private static List<Awakeable<JsonNode>> makeMany(Context ctx, String key, int n) {
    var many = new ArrayList<Awakeable<JsonNode>>();
    for (var i = 0; i < n; i++) many.add(make(ctx, key + "-" + i));
    return many;
  }

  private static List<Awakeable<JsonNode>> makeMany(Context ctx, JsonNode many) {
    return makeMany(ctx, many.get("key").asText(), many.get("n").asInt());
  }

  static int first(List<? extends DurableFuture<?>> of) {
    return DurableFuture.any(new ArrayList<>(of)).await();
  }

  /** Takes each as they are completed. */
  static <F extends DurableFuture<?>> List<F> inOrder(List<F> of) {
    var waiting = new ArrayList<>(of);
    var order = new ArrayList<F>();
    while (!waiting.isEmpty()) order.add(waiting.remove(first(waiting)));
    return order;
  }

  private static Object all(List<Awakeable<JsonNode>> of) {
    try {
      DurableFuture.all(new ArrayList<>(of)).await();
    } catch (TerminalException error) {
      return "rejected: " + error.getMessage();
    }
    return of.stream().map(Awakeables::text).toList();
  }

  private static String any(List<Awakeable<JsonNode>> of) {
    var waiting = new ArrayList<>(of);
    while (!waiting.isEmpty()) {
      try {
        return waiting.remove(first(waiting)).await().asText();
      } catch (TerminalException rejected) {
        // The next one may be resolved.
      }
    }
    return "all rejected";
  }

  private static Definition combine() {
    return Definition.service("Combine")
        .<Context>on("all", (ctx, many) -> all(makeMany(ctx, many)))
        .<Context>on("any", (ctx, many) -> any(makeMany(ctx, many)))
        .<Context>on(
            "race",
            (ctx, many) -> {
              var awakeables = makeMany(ctx, many);
              return text(awakeables.get(first(awakeables)));
            })
        .<Context>on("allSettled", (ctx, many) -> makeMany(ctx, many).stream().map(Awakeables::text).toList())
        .<Context>on("select", (ctx, many) -> first(makeMany(ctx, many)))
        .<Context>on(
            "order",
            (ctx, naps) -> {
              var sleeps = new ArrayList<DurableFuture<Void>>();
              for (var ms : naps) sleeps.add(ctx.timer(Duration.ofMillis(ms.asLong())));
              return inOrder(sleeps).stream().map(sleeps::indexOf).toList();
            })
        .<Context>on(
            "timeout",
            (ctx, ms) -> {
              var never = ctx.awakeable(Json.NODE);
              var limit = ctx.timer(Duration.ofMillis(ms.asLong()));
              return first(List.of(never, limit)) == 1 ? "timeout" : "completed";
            })
        .<Context>on(
            "sameWinner",
            (ctx, one) -> {
              var key = one.get("key").asText();
              var winner = first(makeMany(ctx, key, 2));
              var stored = ctx.run("winner", Json.NODE, () -> Interpreter.node(winner));
              Support.failFirst("sameWinner", key, 1);
              return winner == stored.asInt();
            })
        .<Context>on(
            "cancelLoser",
            ctx -> {
              var calls = new ArrayList<CallDurableFuture<JsonNode>>();
              for (var ms : List.of(HOUR_MS, 1L)) calls.add(Json.call(ctx, "Sleeper", "sleep", ms));
              var loser = calls.get(1 - first(calls)).invocationId();
              ctx.invocationHandle(loser).cancel();
              return loser;
            });
  }
}
