// `Counter`, `Gate` and `Events`: virtual objects with state.

import { handlers, object, serde } from "@restatedev/restate-sdk";
import type { ObjectContext, ObjectSharedContext } from "@restatedev/restate-sdk";

import { maybeFail, waitForFile } from "./support.ts";

type Event = { seq: number; hold?: string };

async function appendSeq(ctx: ObjectContext, seq: number): Promise<number> {
  const seqs = (await ctx.get<number[]>("seqs")) ?? [];
  seqs.push(seq);
  ctx.set("seqs", seqs);
  return seqs.length;
}

async function addTo(ctx: ObjectContext, n: number): Promise<number> {
  const sum = ((await ctx.get<number>("count")) ?? 0) + n;
  ctx.set("count", sum);
  return sum;
}

const seqs = handlers.object.shared(async (ctx: ObjectSharedContext) => (await ctx.get<number[]>("seqs")) ?? []);

export const counter = object({
  name: "Counter",
  handlers: {
    add: async (ctx: ObjectContext, n: number) => addTo(ctx, n),

    flakyAdd: async (ctx: ObjectContext, { n, failPercent }: { n: number; failPercent: number }) => {
      maybeFail(failPercent, "before");
      const sum = await addTo(ctx, n);
      maybeFail(failPercent, "after");
      return sum;
    },

    get: handlers.object.shared(async (ctx: ObjectSharedContext) => (await ctx.get<number>("count")) ?? 0),

    keys: handlers.object.shared(async (ctx: ObjectSharedContext) => (await ctx.stateKeys()).sort()),

    clear: async (ctx: ObjectContext) => ctx.clearAll(),

    appendSeq: async (ctx: ObjectContext, { seq }: Event) => appendSeq(ctx, seq),

    seqs,
  },
});

export const gate = object({
  name: "Gate",
  handlers: {
    hold: async (_ctx: ObjectContext, { file }: { file: string }) => {
      await waitForFile(file);
      return "released";
    },

    on: async (ctx: ObjectContext, { seq, hold }: Event) => {
      if (hold) await waitForFile(hold);
      return appendSeq(ctx, seq);
    },

    seqs,
  },
});

export const events = object({
  name: "Events",
  handlers: {
    on: async (ctx: ObjectContext, { seq }: Event) => {
      const percent = Number(process.env.FAIL_PERCENT ?? 0);
      maybeFail(percent / 2, "before");
      const length = await appendSeq(ctx, seq);
      maybeFail(percent / 2, "after");
      return length;
    },

    seqs,

    onRaw: handlers.object.exclusive(
      { accept: "*/*", input: serde.binary },
      async (ctx: ObjectContext, body: Uint8Array) => {
        ctx.set("raw", body, serde.binary);
        ctx.set("headers", Object.fromEntries(ctx.request().headers));
      },
    ),

    raw: handlers.object.shared(
      { output: serde.binary },
      async (ctx: ObjectSharedContext) => (await ctx.get("raw", serde.binary)) ?? new Uint8Array(),
    ),

    headers: handlers.object.shared(
      async (ctx: ObjectSharedContext) => (await ctx.get<Record<string, string>>("headers")) ?? {},
    ),
  },
});
