package services;

import dev.restate.sdk.ObjectContext;
import dev.restate.sdk.SharedObjectContext;
import java.util.ArrayList;
import java.util.List;

/** `ListObject`, `MapObject` and `LazyMap`: every way to use state, with and without its being sent along. */
final class States {
  private States() {}

  static List<Definition> definitions() {
    return List.of(list(), map(Definition.object("MapObject")), map(Definition.object("LazyMap").lazy()));
  }

  private static List<String> listOf(SharedObjectContext ctx) {
    return Json.get(ctx, "list").map(Json::strings).orElse(new ArrayList<>());
  }

  private static Definition list() {
    return Definition.object("ListObject")
        .<ObjectContext>on(
            "append",
            (ctx, value) -> {
              var list = listOf(ctx);
              list.add(value.asText());
              Json.set(ctx, "list", list);
              return list.size();
            })
        .<SharedObjectContext>shared("get", States::listOf)
        .<ObjectContext>on(
            "clear",
            ctx -> {
              var list = listOf(ctx);
              Json.clear(ctx, "list");
              return list;
            });
  }

  private static Object entry(SharedObjectContext ctx, String name) {
    return Json.get(ctx, name).orElse(null);
  }

  private static Definition map(Definition map) {
    return map.<ObjectContext>on(
            "set",
            (ctx, entry) -> {
              Json.set(ctx, entry.get("name").asText(), entry.get("value"));
              return null;
            })
        .<ObjectContext>on(
            "setMany",
            (ctx, entries) -> {
              for (var entry : entries) Json.set(ctx, entry.get("name").asText(), entry.get("value"));
              return null;
            })
        .<SharedObjectContext>shared("get", (ctx, name) -> entry(ctx, name.asText()))
        .<ObjectContext>on("getExclusive", (ctx, name) -> entry(ctx, name.asText()))
        .<ObjectContext>on(
            "clear",
            (ctx, name) -> {
              Json.clear(ctx, name.asText());
              return null;
            })
        .<ObjectContext>on(
            "clearAll",
            ctx -> {
              var names = Json.names(ctx);
              ctx.clearAll();
              return names;
            })
        .<SharedObjectContext>shared("keys", Json::names)
        .<SharedObjectContext>shared("entries", Json::entries)
        .<ObjectContext>on(
            "churn",
            (ctx, input) -> {
              var name = input.asText();
              var seen = Json.list(entry(ctx, name));
              Json.set(ctx, name, "1");
              seen.add(entry(ctx, name));
              Json.clear(ctx, name);
              seen.add(entry(ctx, name));
              Json.set(ctx, name, "2");
              ctx.clearAll();
              seen.add(entry(ctx, name));
              seen.add(Json.names(ctx));
              Json.set(ctx, name, "3");
              return seen;
            });
  }
}
