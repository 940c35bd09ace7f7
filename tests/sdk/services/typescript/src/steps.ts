// `Steps` and `Sleeper`: durable steps, retries, sleeping.

import { service } from "@restatedev/restate-sdk";
import type { Context } from "@restatedev/restate-sdk";

import { logStep, pause } from "./support.ts";

type FailTimes = { key: string; times: number };

// Attempts by key. In memory on purpose: a restarted process counts anew.
const attempts = new Map<string, number>();

function countAttempt(key: string): number {
  const count = (attempts.get(key) ?? 0) + 1;
  attempts.set(key, count);
  return count;
}

function failUntil({ key, times }: FailTimes): number {
  const attempt = countAttempt(key);
  if (attempt <= times) throw new Error(`attempt ${attempt} of ${key} fails as asked`);
  return attempt;
}

// `run` lines when a step's work is done, `ack` lines once its result is durable.
async function runSteps(ctx: Context, n: number, delayMs: number): Promise<number> {
  const id = ctx.request().id;
  for (let i = 0; i < n; i++) {
    await ctx.run(`step-${i}`, async () => {
      if (delayMs > 0) await pause(delayMs);
      logStep(`run ${id} ${i}`);
    });
    logStep(`ack ${id} ${i}`);
  }
  return n;
}

export const steps = service({
  name: "Steps",
  handlers: {
    run: async (ctx: Context, n: number) => runSteps(ctx, n, 0),

    runSlow: async (ctx: Context, { n, delayMs }: { n: number; delayMs: number }) => runSteps(ctx, n, delayMs),

    failTimes: async (_ctx: Context, input: FailTimes) => failUntil(input),

    failingStep: async (ctx: Context, input: FailTimes) =>
      ctx.run("failing", () => failUntil(input), { initialRetryInterval: 10, retryIntervalFactor: 1 }),

    onEvent: async (ctx: Context, { seq }: { seq: number }) => {
      await ctx.run("event", () => logStep(`event ${seq}`));
    },
  },
});

export const sleeper = service({
  name: "Sleeper",
  handlers: {
    sleep: async (ctx: Context, ms: number) => {
      await ctx.sleep(ms);
      return "slept";
    },

    sleepThenStep: async (ctx: Context, ms: number) => {
      await ctx.sleep(ms);
      const line = `slept ${ctx.request().id}`;
      return ctx.run("after-sleep", () => {
        logStep(line);
        return line;
      });
    },
  },
});
