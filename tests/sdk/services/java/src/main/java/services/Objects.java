package services;

import com.fasterxml.jackson.databind.JsonNode;
import dev.restate.sdk.ObjectContext;
import dev.restate.sdk.SharedObjectContext;
import dev.restate.sdk.common.StateKey;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** `Counter`, `Gate` and `Events`: virtual objects with state. */
final class Objects {
  private static final StateKey<byte[]> RAW = StateKey.bytes("raw");
  private static final double FAIL_PERCENT =
      Double.parseDouble(System.getenv().getOrDefault("FAIL_PERCENT", "0"));

  private Objects() {}

  static List<Definition> definitions() {
    return List.of(counter(), gate(), events());
  }

  private static Object seqs(SharedObjectContext ctx) {
    return Json.get(ctx, "seqs").<Object>map(list -> list).orElse(List.of());
  }

  private static int append(ObjectContext ctx, JsonNode event) {
    var seqs = new ArrayList<Object>();
    Json.get(ctx, "seqs").ifPresent(list -> list.forEach(seqs::add));
    seqs.add(event.get("seq"));
    Json.set(ctx, "seqs", seqs);
    return seqs.size();
  }

  private static long addTo(ObjectContext ctx, JsonNode n) {
    var sum = Json.get(ctx, "count").map(JsonNode::asLong).orElse(0L) + n.asLong();
    Json.set(ctx, "count", sum);
    return sum;
  }

  private static Definition counter() {
    return Definition.object("Counter")
        .<ObjectContext>on("add", Objects::addTo)
        .<ObjectContext>on(
            "flakyAdd",
            (ctx, flaky) -> {
              var percent = flaky.get("failPercent").asDouble();
              Support.maybeFail(percent, "before");
              var sum = addTo(ctx, flaky.get("n"));
              Support.maybeFail(percent, "after");
              return sum;
            })
        .<SharedObjectContext>shared("get", ctx -> Json.get(ctx, "count").map(JsonNode::asLong).orElse(0L))
        .<SharedObjectContext>shared("keys", Json::names)
        .<ObjectContext>on(
            "clear",
            ctx -> {
              ctx.clearAll();
              return null;
            })
        .<ObjectContext>on("appendSeq", Objects::append)
        .<SharedObjectContext>shared("seqs", Objects::seqs);
  }

  private static Definition gate() {
    return Definition.object("Gate")
        .<ObjectContext>on(
            "hold",
            (ctx, until) -> {
              Support.waitForFile(until.get("file").asText());
              return "released";
            })
        .<ObjectContext>on(
            "on",
            (ctx, event) -> {
              if (event.hasNonNull("hold")) Support.waitForFile(event.get("hold").asText());
              return append(ctx, event);
            })
        .<SharedObjectContext>shared("seqs", Objects::seqs);
  }

  private static Definition events() {
    return Definition.object("Events")
        .<ObjectContext>on(
            "on",
            (ctx, event) -> {
              Support.maybeFail(FAIL_PERCENT / 2, "before");
              var length = append(ctx, event);
              Support.maybeFail(FAIL_PERCENT / 2, "after");
              return length;
            })
        .<SharedObjectContext>shared("seqs", Objects::seqs)
        .<ObjectContext>raw(
            "onRaw",
            (ctx, body) -> {
              ctx.set(RAW, body);
              Json.set(ctx, "headers", ctx.request().headers());
              return new byte[0];
            })
        .<SharedObjectContext>sharedRaw("raw", ctx -> ctx.get(RAW).orElse(new byte[0]))
        .<SharedObjectContext>shared(
            "headers", ctx -> Json.get(ctx, "headers").<Object>map(headers -> headers).orElse(Map.of()));
  }
}
