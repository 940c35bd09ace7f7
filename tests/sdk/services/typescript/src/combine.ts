// `Combine`: several things awaited at once. `NonDet`: handlers that do not do twice the same.

import { RestatePromise, TerminalError, object, service } from "@restatedev/restate-sdk";
import type { Context, ObjectContext, ObjectSharedContext } from "@restatedev/restate-sdk";

import { sleeper } from "./steps.ts";
import { Attempts, failedAsAsked } from "./support.ts";
import { held, rejected } from "./waiting.ts";

type Held = { key: string; n: number };

async function awakeables(ctx: Context, { key, n }: Held): Promise<RestatePromise<string>[]> {
  const promises = [];
  for (let i = 0; i < n; i++) promises.push((await held(ctx, `${key}-${i}`)).promise);
  return promises;
}


/** Index of the one that completes first. */
function first(promises: RestatePromise<unknown>[]): RestatePromise<number> {
  return RestatePromise.race(promises.map((promise, i) => promise.map(() => i)));
}

const winners = new Attempts();

export const combine = service({
  name: "Combine",
  handlers: {
    all: async (ctx: Context, input: Held) => RestatePromise.all(await awakeables(ctx, input)).catch(rejected),

    any: async (ctx: Context, input: Held) =>
      RestatePromise.any(await awakeables(ctx, input)).catch((error) => {
        if (error instanceof AggregateError || error instanceof TerminalError) return "all rejected";
        throw error;
      }),

    race: async (ctx: Context, input: Held) => RestatePromise.race(await awakeables(ctx, input)).catch(rejected),

    allSettled: async (ctx: Context, input: Held) => {
      const settled = await RestatePromise.allSettled(await awakeables(ctx, input));
      return settled.map((one) => (one.status === "fulfilled" ? one.value : rejected(one.reason)));
    },

    select: async (ctx: Context, input: Held) => first(await awakeables(ctx, input)),

    order: async (ctx: Context, delays: number[]) => {
      let pending = delays.map((delay, i) => ({ i, promise: ctx.sleep(delay).map(() => i) }));
      const order = [];
      while (pending.length > 0) {
        const winner = await RestatePromise.race(pending.map(({ promise }) => promise));
        pending = pending.filter(({ i }) => i !== winner);
        order.push(winner);
      }
      return order;
    },

    timeout: async (ctx: Context, ms: number) => ctx.awakeable<string>().promise.orTimeout(ms).catch(rejected),

    sameWinner: async (ctx: Context, { key }: { key: string }) => {
      const promises = await awakeables(ctx, { key, n: 2 });
      const winner = await first(promises);
      const stored = await ctx.run("winner", () => winner);
      if (winners.count(key) === 1) failedAsAsked(1, key);
      return winner === stored && (await first(promises)) === stored;
    },

    cancelLoser: async (ctx: Context) => {
      const calls = [3_600_000, 1].map((ms) => ctx.serviceClient(sleeper).sleep(ms));
      const winner = await first(calls);
      const loser = await calls[1 - winner]!.invocationId;
      ctx.cancel(loser);
      return loser;
    },
  },
});

const tries = new Attempts();

type Counter = { get: (ctx: ObjectSharedContext) => Promise<number> };

async function swap(ctx: ObjectContext, kind: string, isA: boolean): Promise<unknown> {
  const count = (key: string) => ctx.objectClient<Counter>({ name: "Counter" }, key).get();
  switch (kind) {
    case "command":
      return isA ? ctx.sleep(1) : count(ctx.key);
    case "target":
      return count(`${ctx.key}-${isA ? "a" : "b"}`);
    case "state":
      ctx.set(isA ? "a" : "b", 1);
      return ctx.sleep(1);
  }
  throw new TerminalError(`there is no kind ${kind}`);
}

export const nonDet = object({
  name: "NonDet",
  handlers: {
    run: async (ctx: ObjectContext, kind: string): Promise<number> => {
      const attempt = tries.count(`${ctx.key} ${kind}`);
      await swap(ctx, kind, attempt % 2 === 1);
      if (attempt <= 2) failedAsAsked(attempt, ctx.key);
      return attempt;
    },
  },
});
