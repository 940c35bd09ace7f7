// `Holder` and `Awaiter`: awakeables. `Blocker`: a workflow with promises. `Tree`: calls that are cancelled or killed.

import { TerminalError, TimeoutError, handlers, object, service, workflow } from "@restatedev/restate-sdk";
import type {
  Context,
  ObjectContext,
  ObjectSharedContext,
  RestatePromise,
  WorkflowContext,
  WorkflowSharedContext,
} from "@restatedev/restate-sdk";

import { listObject } from "./collections.ts";

async function takeId(ctx: ObjectContext): Promise<string> {
  const id = await ctx.get<string>("id");
  if (id === null) throw new TerminalError("nothing held", { errorCode: 404 });
  ctx.clear("id");
  return id;
}

export const holder = object({
  name: "Holder",
  handlers: {
    hold: async (ctx: ObjectContext, id: string) => ctx.set("id", id),

    held: handlers.object.shared(async (ctx: ObjectSharedContext) => ctx.get<string>("id")),

    unlock: async (ctx: ObjectContext, value: string) => ctx.resolveAwakeable(await takeId(ctx), value),

    refuse: async (ctx: ObjectContext, reason: string) => ctx.rejectAwakeable(await takeId(ctx), reason),
  },
});

/** An awakeable whose id is held by `Holder/<key>`; in a box, because a bare promise would be awaited on the way out. */
export async function held(ctx: Context, key: string): Promise<{ promise: RestatePromise<string> }> {
  const { id, promise } = ctx.awakeable<string>();
  await ctx.objectClient(holder, key).hold(id);
  return { promise };
}

/** The text of a terminal error that stands for a value. */
export function rejected(error: unknown): string {
  if (!(error instanceof TerminalError)) throw error;
  return error instanceof TimeoutError ? "timeout" : `rejected: ${error.message}`;
}

type Await = { key: string; ms: number };

export const awaiter = service({
  name: "Awaiter",
  handlers: {
    await: async (ctx: Context, { key }: Await) => (await held(ctx, key)).promise.catch(rejected),

    awaitTimeout: async (ctx: Context, { key, ms }: Await) =>
      (await held(ctx, key)).promise.orTimeout(ms).catch(rejected),

    awaitLate: async (ctx: Context, { key, ms }: Await) => {
      const { promise } = await held(ctx, key);
      await ctx.sleep(ms);
      return promise.catch(rejected);
    },
  },
});

const { shared } = handlers.workflow;
const gate = (ctx: WorkflowSharedContext) => ctx.promise<string>("gate");
const done = (ctx: WorkflowSharedContext) => ctx.promise<string>("done");

type Run = { run: (ctx: WorkflowContext, input: string) => Promise<string> };

export const blocker = workflow({
  name: "Blocker",
  handlers: {
    run: async (ctx: WorkflowContext, input: string): Promise<string> => {
      ctx.set("stage", "waiting");
      ctx.set("input", input);
      const output = `${input} ${await gate(ctx)}`;
      ctx.set("stage", "passed");
      await done(ctx).resolve(output);
      return output;
    },

    stage: shared(async (ctx: WorkflowSharedContext) => ctx.get<string>("stage")),

    resolve: shared(async (ctx: WorkflowSharedContext, value: string) => gate(ctx).resolve(value)),

    reject: shared(async (ctx: WorkflowSharedContext, reason: string) => gate(ctx).reject(reason)),

    peek: shared(async (ctx: WorkflowSharedContext) => (await gate(ctx).peek()) ?? null),

    awaitGate: shared(async (ctx: WorkflowSharedContext) => gate(ctx)),

    awaitDone: shared(async (ctx: WorkflowSharedContext) => done(ctx)),

    submit: shared(
      async (ctx: WorkflowSharedContext, { key, input }: { key: string; input: string }): Promise<string> =>
        ctx.workflowClient<Run>({ name: "Blocker" }, key).run(input),
    ),
  },
});

const HOUR = 3_600_000;

type Grow = { key: string; level: number; wait: "sleep" | "awakeable" | "signal" };
type Nodes = { grow: (ctx: ObjectContext, grow: Grow) => Promise<void> };

async function grow(ctx: ObjectContext, { key, level, wait }: Grow): Promise<unknown> {
  if (level > 0) {
    return ctx.objectClient<Nodes>({ name: "Tree" }, `${key}-${level - 1}`).grow({ key, level: level - 1, wait });
  }
  await ctx.objectClient(listObject, key).append("ready");
  switch (wait) {
    case "sleep":
      return ctx.sleep(HOUR);
    case "awakeable":
      return ctx.awakeable().promise;
    case "signal":
      return ctx.signal("never");
  }
}

export const tree = object({
  name: "Tree",
  handlers: {
    grow: async (ctx: ObjectContext, input: Grow): Promise<void> => {
      try {
        await grow(ctx, input);
      } catch (error) {
        if (error instanceof TerminalError) {
          await ctx.objectClient(listObject, input.key).append(`undo ${input.level} ${error.code}`);
        }
        throw error;
      }
    },

    idle: async (_ctx: ObjectContext) => "idle",
  },
});
