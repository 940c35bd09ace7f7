// `Steps` and `Sleeper`: durable steps, retries, sleeping.

import { RestatePromise, TerminalError, service } from "@restatedev/restate-sdk";
import type { Context, RunOptions } from "@restatedev/restate-sdk";

import { Attempts, errorText, failedAsAsked, logStep, pause } from "./support.ts";

type FailTimes = { key: string; times: number };

// Each handler counts its own attempts.
const attempts = {
  failTimes: new Attempts(),
  failingStep: new Attempts(),
  failing: new Attempts(),
  sameRandom: new Attempts(),
  logged: new Attempts(),
  parallel: new Attempts(),
};
const readings = new Map<string, number>();

function failUntil(counted: Attempts, { key, times }: FailTimes): number {
  const attempt = counted.count(key);
  if (attempt <= times) failedAsAsked(attempt, key);
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

/** How often a step ran that always fails, once its retries are used up. */
async function failing(ctx: Context, key: string, policy: RunOptions<void>): Promise<number> {
  try {
    await ctx.run("failing", () => failedAsAsked(attempts.failing.count(key), key), policy);
  } catch (error) {
    if (!(error instanceof TerminalError)) throw error;
  }
  return attempts.failing.counted(key);
}

export const steps = service({
  name: "Steps",
  handlers: {
    run: async (ctx: Context, n: number) => runSteps(ctx, n, 0),

    runSlow: async (ctx: Context, { n, delayMs }: { n: number; delayMs: number }) => runSteps(ctx, n, delayMs),

    failTimes: async (_ctx: Context, input: FailTimes) => failUntil(attempts.failTimes, input),

    failingStep: async (ctx: Context, input: FailTimes) =>
      ctx.run("failing", () => failUntil(attempts.failingStep, input), { initialRetryInterval: 10, retryIntervalFactor: 1 }),

    onEvent: async (ctx: Context, { seq }: { seq: number }) => {
      await ctx.run("event", () => logStep(`event ${seq}`));
    },

    exhausted: async (ctx: Context, { key, attempts: max }: { key: string; attempts: number }) =>
      failing(ctx, key, { initialRetryInterval: 10, retryIntervalFactor: 1, maxRetryAttempts: max }),

    outOfTime: async (ctx: Context, { key, ms }: { key: string; ms: number }) =>
      failing(ctx, key, { initialRetryInterval: 50, retryIntervalFactor: 1, maxRetryDuration: ms }),

    terminalStep: async (ctx: Context, { code, message }: { code: number; message: string }) => {
      try {
        await ctx.run("terminal", () => {
          throw new TerminalError(message, { errorCode: code });
        });
        return "no error";
      } catch (error) {
        return errorText(error);
      }
    },

    sameRandom: async (ctx: Context, { key }: { key: string }) => {
      const random = ctx.rand.uuidv4();
      const stored = await ctx.run("random", () => random);
      if (attempts.sameRandom.count(key) === 1) failedAsAsked(1, key);
      return random === stored;
    },

    sameTime: async (ctx: Context, { key }: { key: string }) => {
      const now = await ctx.date.now();
      const remembered = readings.get(key);
      if (remembered !== undefined) return remembered === now;
      readings.set(key, now);
      return failedAsAsked(1, key);
    },

    logged: async (ctx: Context, { key }: { key: string }) => {
      ctx.console.warn(`logged ${key}`);
      await ctx.run("behind", () => {});
      if (attempts.logged.count(key) === 1) failedAsAsked(1, key);
    },

    mapped: async (_ctx: Context, { code, message }: { code: number; message: string }): Promise<void> => {
      throw new RangeError(message, { cause: code });
    },

    parallel: async (ctx: Context, { key, n }: { key: string; n: number }) => {
      const id = ctx.request().id;
      const attempt = attempts.parallel.count(key);
      const step = (i: number) => () => {
        if (i === n - 1 && attempt === 1) failedAsAsked(attempt, key);
        logStep(`run ${id} ${i}`);
      };
      await RestatePromise.all(Array.from({ length: n }, (_, i) => ctx.run(`step-${i}`, step(i))));
      return n;
    },
  },
  options: {
    asTerminalError: (error) =>
      error instanceof RangeError ? new TerminalError(error.message, { errorCode: error.cause as number }) : undefined,
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
