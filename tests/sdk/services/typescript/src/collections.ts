// `ListObject`, `MapObject` and `LazyMap`: state in every way it can be touched.

import { handlers, object } from "@restatedev/restate-sdk";
import type { ObjectContext, ObjectSharedContext } from "@restatedev/restate-sdk";

type Entry = { name: string; value: string };

async function sortedKeys(ctx: ObjectSharedContext): Promise<string[]> {
  return (await ctx.stateKeys()).sort();
}

const { shared } = handlers.object;

const list = async (ctx: ObjectSharedContext): Promise<string[]> => (await ctx.get<string[]>("list")) ?? [];

export const listObject = object({
  name: "ListObject",
  handlers: {
    append: async (ctx: ObjectContext, value: string): Promise<number> => {
      const values = [...(await list(ctx)), value];
      ctx.set("list", values);
      return values.length;
    },

    get: shared(list),

    clear: async (ctx: ObjectContext): Promise<string[]> => {
      const values = await list(ctx);
      ctx.clear("list");
      return values;
    },
  },
});

const map = {
  set: async (ctx: ObjectContext, { name, value }: Entry) => ctx.set(name, value),

  setMany: async (ctx: ObjectContext, entries: Entry[]) => entries.forEach(({ name, value }) => ctx.set(name, value)),

  get: shared(async (ctx: ObjectSharedContext, name: string) => ctx.get<string>(name)),

  getExclusive: async (ctx: ObjectContext, name: string) => ctx.get<string>(name),

  clear: async (ctx: ObjectContext, name: string) => ctx.clear(name),

  clearAll: async (ctx: ObjectContext): Promise<string[]> => {
    const keys = await sortedKeys(ctx);
    ctx.clearAll();
    return keys;
  },

  keys: shared(sortedKeys),

  entries: shared(async (ctx: ObjectSharedContext) => {
    const entries: Record<string, string | null> = {};
    for (const name of await sortedKeys(ctx)) entries[name] = await ctx.get<string>(name);
    return entries;
  }),

  churn: async (ctx: ObjectContext, name: string) => {
    const a = await ctx.get<string>(name);
    ctx.set(name, "1");
    const b = await ctx.get<string>(name);
    ctx.clear(name);
    const c = await ctx.get<string>(name);
    ctx.set(name, "2");
    ctx.clearAll();
    const d = await ctx.get<string>(name);
    const e = await sortedKeys(ctx);
    ctx.set(name, "3");
    return [a, b, c, d, e];
  },
};

export const mapObject = object({ name: "MapObject", handlers: map });

export const lazyMap = object({ name: "LazyMap", handlers: map, options: { enableLazyState: true } });
