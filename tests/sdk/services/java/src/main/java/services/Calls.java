package services;

import com.fasterxml.jackson.databind.JsonNode;
import dev.restate.common.Request;
import dev.restate.common.Target;
import dev.restate.sdk.CallDurableFuture;
import dev.restate.sdk.Context;
import dev.restate.sdk.common.TerminalException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/** `Greeter`, `Caller` and `Proxy`: plain handlers, and calls and sends to other handlers. */
final class Calls {
  private Calls() {}

  static List<Definition> definitions() {
    return List.of(greeter(), caller(), proxy());
  }

  private static Definition greeter() {
    return Definition.service("Greeter")
        .<Context>on("greet", (ctx, name) -> "Hello " + name.asText())
        .<Context>on(
            "fail",
            (ctx, failure) -> {
              throw new TerminalException(failure.get("code").asInt(), failure.get("message").asText());
            })
        .<Context>on("headers", ctx -> ctx.request().headers())
        .<Context>raw("echoBytes", (ctx, body) -> body);
  }

  private static CallDurableFuture<JsonNode> add(Context ctx, String key, Object n) {
    return Json.call(ctx, "Counter", key, "add", n);
  }

  private static Definition caller() {
    return Definition.service("Caller")
        .<Context>on("callCounter", (ctx, add) -> add(ctx, add.get("key").asText(), add.get("n")).await())
        .<Context>on(
            "callFailing",
            (ctx, failure) -> {
              try {
                Json.call(ctx, "Greeter", "fail", failure).await();
                return "no error";
              } catch (TerminalException error) {
                return Support.errorText(error);
              }
            })
        .<Context>on(
            "sendCounter",
            (ctx, add) -> {
              Json.send(ctx, "Counter", add.get("key").asText(), "add", add.get("n"));
              return "sent";
            })
        .<Context>on(
            "sendDelayed",
            (ctx, add) -> {
              var target = Target.virtualObject("Counter", add.get("key").asText(), "add");
              ctx.send(Json.request(target, add.get("n")), Duration.ofMillis(add.get("delayMs").asLong()));
              return "sent";
            })
        .<Context>on(
            "sendForId",
            (ctx, add) -> Json.send(ctx, "Counter", add.get("key").asText(), "add", add.get("n")).invocationId())
        .<Context>on(
            "chain",
            (ctx, link) -> {
              var key = link.get("key").asText();
              var depth = link.get("depth").asInt();
              if (depth == 0) return add(ctx, key, 1).await();
              return Json.call(ctx, "Caller", "chain", Map.of("key", key, "depth", depth - 1)).await();
            })
        .<Context>on(
            "fanOut",
            (ctx, fan) -> {
              var key = fan.get("key").asText();
              var calls =
                  IntStream.range(0, fan.get("width").asInt())
                      .mapToObj(i -> add(ctx, key + "-" + i, fan.get("n")))
                      .toList();
              var sum = 0L;
              for (var call : calls) sum += call.await().asLong();
              return sum;
            });
  }

  private static Request<byte[], byte[]> target(JsonNode target) throws Exception {
    var service = target.get("service").asText();
    var handler = target.get("handler").asText();
    var body = target.hasNonNull("body") ? target.get("body").binaryValue() : new byte[0];
    var to =
        target.hasNonNull("key")
            ? Target.virtualObject(service, target.get("key").asText(), handler)
            : Target.service(service, handler);
    var request = Request.of(to, body);
    if (target.hasNonNull("headers")) {
      target.get("headers").fields().forEachRemaining(one -> request.header(one.getKey(), one.getValue().asText()));
    }
    if (target.hasNonNull("idempotencyKey")) request.idempotencyKey(target.get("idempotencyKey").asText());
    return request.build();
  }

  private static String base64(byte[] bytes) {
    return Base64.getEncoder().encodeToString(bytes);
  }

  private static Definition proxy() {
    return Definition.service("Proxy")
        .<Context>on("call", (ctx, one) -> base64(ctx.call(target(one)).await()))
        .<Context>on(
            "send",
            (ctx, one) -> {
              var delay = one.hasNonNull("delayMs") ? Duration.ofMillis(one.get("delayMs").asLong()) : null;
              return (delay == null ? ctx.send(target(one)) : ctx.send(target(one), delay)).invocationId();
            })
        .<Context>on(
            "callMany",
            (ctx, targets) -> {
              var calls = new ArrayList<CallDurableFuture<byte[]>>();
              for (var one : targets) calls.add(ctx.call(target(one)));
              var results = Json.list();
              for (var call : calls) {
                try {
                  results.add(Map.of("ok", base64(call.await())));
                } catch (TerminalException error) {
                  results.add(Map.of("error", Support.errorText(error)));
                }
              }
              return results;
            });
  }
}
