package services;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import dev.restate.common.Request;
import dev.restate.common.RequestBuilder;
import dev.restate.common.Target;
import dev.restate.sdk.CallDurableFuture;
import dev.restate.sdk.Context;
import dev.restate.sdk.InvocationHandle;
import dev.restate.sdk.ObjectContext;
import dev.restate.sdk.SharedObjectContext;
import dev.restate.sdk.common.StateKey;
import dev.restate.serde.Serde;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** Values, state and calls as JSON. */
final class Json {
  /** `Map.of` has another order in each process, and a replay must write the same bytes. */
  private static final ObjectMapper MAPPER =
      new ObjectMapper().configure(SerializationFeature.ORDER_MAP_ENTRIES_BY_KEYS, true);

  /** Reads anything, also an empty body, as a node. */
  static final Serde<JsonNode> NODE =
      Serde.using("application/json", MAPPER::writeValueAsBytes, bytes -> MAPPER.readTree(bytes));

  /** Writes anything. */
  static final Serde<Object> ANY =
      Serde.using("application/json", MAPPER::writeValueAsBytes, bytes -> MAPPER.readTree(bytes));

  private Json() {}

  /** A list as JSON writes it; unlike `List.of` it may hold nulls. */
  static List<Object> list(Object... values) {
    return new ArrayList<>(Arrays.asList(values));
  }

  static List<String> strings(JsonNode list) {
    var strings = new ArrayList<String>();
    list.forEach(one -> strings.add(one.asText()));
    return strings;
  }

  // State.

  static Optional<JsonNode> get(SharedObjectContext context, String name) {
    return context.get(StateKey.of(name, NODE));
  }

  static void set(ObjectContext context, String name, Object value) {
    context.set(StateKey.of(name, ANY), value);
  }

  static void clear(ObjectContext context, String name) {
    context.clear(StateKey.of(name, NODE));
  }

  static List<String> names(SharedObjectContext context) {
    return context.stateKeys().stream().sorted().toList();
  }

  static Map<String, JsonNode> entries(SharedObjectContext context) {
    var entries = new TreeMap<String, JsonNode>();
    for (var name : names(context)) get(context, name).ifPresent(value -> entries.put(name, value));
    return entries;
  }

  // Calls.

  static RequestBuilder<?, JsonNode> request(Target target, Object input) {
    return input == null
        ? Request.of(target, Serde.VOID, NODE, null)
        : Request.of(target, ANY, NODE, input);
  }

  static CallDurableFuture<JsonNode> call(Context context, String service, String handler, Object input) {
    return context.call(request(Target.service(service, handler), input));
  }

  static CallDurableFuture<JsonNode> call(
      Context context, String service, String key, String handler, Object input) {
    return context.call(request(Target.virtualObject(service, key, handler), input));
  }

  static InvocationHandle<JsonNode> send(
      Context context, String service, String key, String handler, Object input) {
    return context.send(request(Target.virtualObject(service, key, handler), input));
  }
}
