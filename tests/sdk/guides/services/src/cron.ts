// Cron: a job is an object that sends itself its next execution with a delay, and can be looked at and ended by its id.

import { TerminalError, handlers, object, rpc, serde, service } from "@restatedev/restate-sdk";
import type { Context, InvocationId, ObjectContext, ObjectSharedContext } from "@restatedev/restate-sdk";
import { CronExpressionParser } from "cron-parser";

import { happened } from "./world.ts";

type JobRequest = { cronExpression: string; service: string; method: string; key?: string; payload?: string };
type Job = { request: JobRequest; next_execution_time: string; next_execution_id: InvocationId };

const JOB = "job-state";

async function schedule(ctx: ObjectContext, request: JobRequest): Promise<Job> {
  // From the journal: a replay computes the same time.
  const now = await ctx.date.now();
  let next: Date;
  try {
    next = CronExpressionParser.parse(request.cronExpression, { currentDate: now }).next().toDate();
  } catch (error) {
    throw new TerminalError(`Invalid cron expression: ${(error as Error).message}`);
  }
  const delay = rpc.sendOpts({ delay: next.getTime() - now });
  const execution = ctx.objectSendClient(cronJob, ctx.key).execute(delay);
  const job = { request, next_execution_time: next.toString(), next_execution_id: await execution.invocationId };
  ctx.set(JOB, job);
  return job;
}

export const cronJob = object({
  name: "CronJob",
  handlers: {
    initiate: async (ctx: ObjectContext, request: JobRequest): Promise<Job> => {
      if (await ctx.get<Job>(JOB)) throw new TerminalError("Job already exists for this ID.");
      return schedule(ctx, request);
    },

    execute: async (ctx: ObjectContext): Promise<void> => {
      const job = await ctx.get<Job>(JOB);
      if (!job) throw new TerminalError("Job not found.");
      const { service, method, key, payload } = job.request;
      if (payload === undefined) {
        ctx.genericSend({ service, method, key, parameter: undefined, inputSerde: serde.empty });
      } else {
        ctx.genericSend({ service, method, key, parameter: payload, inputSerde: serde.json });
      }
      await schedule(ctx, job.request);
    },

    cancel: async (ctx: ObjectContext): Promise<void> => {
      const job = await ctx.get<Job>(JOB);
      if (job) ctx.cancel(job.next_execution_id);
      ctx.clearAll();
    },

    getInfo: handlers.object.shared(async (ctx: ObjectSharedContext) => ctx.get<Job>(JOB)),
  },
});

export const cronJobInitiator = service({
  name: "CronJobInitiator",
  handlers: {
    create: async (ctx: Context, request: JobRequest): Promise<string> => {
      const id = ctx.rand.uuidv4();
      const job = await ctx.objectClient(cronJob, id).initiate(request);
      return `Job created with ID ${id} and next execution time ${job.next_execution_time}`;
    },
  },
});

/** What the job runs. */
export const taskService = service({
  name: "TaskService",
  handlers: {
    executeTask: async (ctx: Context, task: string): Promise<void> => ctx.run("task", () => happened(`task ${task}`)),
  },
});
