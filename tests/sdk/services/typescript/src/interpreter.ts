// `Interpreter`: an object that executes programs.

import { RestatePromise, TerminalError, handlers, object, serde } from "@restatedev/restate-sdk";
import type { ObjectContext, ObjectSharedContext } from "@restatedev/restate-sdk";

import { Attempts, failedAsAsked } from "./support.ts";

type Program = Command[];

type Branch =
  | { op: "sleep"; ms: number }
  | { op: "step"; value: number }
  | { op: "call" | "attach"; key: string; program: Program }
  | { op: "awakeable"; key: string; value: number };

type Command =
  | Branch
  | { op: "set" | "add"; name: string; value: number }
  | { op: "get" | "clear"; name: string }
  | { op: "keys" }
  | { op: "flaky"; times: number; value: number }
  | { op: "crash"; times: number }
  | { op: "fail"; code: number; message: string }
  | { op: "try"; body: Program }
  | { op: "send"; key: string; program: Program; ms?: number }
  | { op: "idempotent"; key: string; idempotencyKey: string; program: Program }
  | { op: "cancel" | "rejected"; key: string }
  | { op: "resolve"; id: string; value: number }
  | { op: "reject"; id: string }
  | { op: "parallel" | "race"; branches: Branch[] };

const HOUR = 3_600_000;
const failures = new Attempts();

class Execution {
  acc = 0;
  readonly ctx: ObjectContext;

  constructor(ctx: ObjectContext) {
    this.ctx = ctx;
  }

  async program(commands: Program, around: string): Promise<void> {
    for (const [i, command] of commands.entries()) await this.command(command, `${around}${i}`);
  }

  private async command(command: Command, at: string): Promise<void> {
    const { ctx } = this;
    switch (command.op) {
      case "set":
        return ctx.set(command.name, command.value);
      case "add":
        return ctx.set(command.name, (await this.state(command.name)) + command.value);
      case "get":
        this.acc += await this.state(command.name);
        return;
      case "clear":
        return ctx.clear(command.name);
      case "keys":
        await ctx.stateKeys();
        return;
      case "flaky": {
        const flaky = () => {
          const attempt = failures.count(`${ctx.request().id} ${at}`);
          if (attempt <= command.times) failedAsAsked(attempt, at);
          return command.value;
        };
        this.acc += await ctx.run(`flaky-${at}`, flaky, { initialRetryInterval: 10, retryIntervalFactor: 1 });
        return;
      }
      case "crash": {
        const attempt = failures.count(`${ctx.request().id} ${at}`);
        if (attempt <= command.times) failedAsAsked(attempt, at);
        return;
      }
      case "fail":
        throw new TerminalError(command.message, { errorCode: command.code });
      case "try":
        if (await this.fails(() => this.program(command.body, `${at}.`))) this.acc += 1000;
        return;
      case "send":
        this.send(command.key, command.program, command.ms);
        return;
      case "idempotent":
        for (let i = 0; i < 2; i++) this.acc += await this.call(command.key, command.program, command.idempotencyKey);
        return;
      case "cancel": {
        const id = await this.send(command.key, [{ op: "sleep", ms: HOUR }]).invocationId;
        ctx.cancel(id);
        if (await this.fails(() => ctx.attach<number>(id))) this.acc += 1;
        return;
      }
      case "rejected": {
        const { id, promise } = ctx.awakeable<number>();
        this.send(command.key, [{ op: "reject", id }]);
        if (await this.fails(() => promise)) this.acc += 1;
        return;
      }
      case "resolve":
        return ctx.resolveAwakeable(command.id, command.value);
      case "reject":
        return ctx.rejectAwakeable(command.id, "rejected");
      case "parallel": {
        const started = await this.start(command.branches, at);
        for (const branch of started) this.acc += await branch;
        return;
      }
      case "race": {
        const started = await this.start(command.branches, at);
        await RestatePromise.race(started.map((branch) => branch.map(() => 0)));
        for (const branch of started) this.acc += await branch;
        return;
      }
      default: {
        const [branch] = await this.start([command], at);
        this.acc += await branch!;
      }
    }
  }

  /** Starts each of them; what they add comes later. */
  private async start(branches: Branch[], at: string): Promise<RestatePromise<number>[]> {
    const started = [];
    for (const [i, branch] of branches.entries()) started.push((await this.branch(branch, `${at}.${i}`)).promise);
    return started;
  }

  // In a box: a bare promise would be awaited on the way out.
  private async branch(branch: Branch, at: string): Promise<{ promise: RestatePromise<number> }> {
    const { ctx } = this;
    switch (branch.op) {
      case "sleep":
        return { promise: ctx.sleep(branch.ms).map((_, failure) => orThrow(0, failure)) };
      case "step":
        return { promise: ctx.run(`step-${at}`, () => branch.value) };
      case "call":
        return { promise: this.call(branch.key, branch.program) };
      case "attach":
        return { promise: ctx.attach<number>(await this.send(branch.key, branch.program).invocationId) };
      case "awakeable": {
        const { id, promise } = ctx.awakeable<number>();
        this.send(branch.key, [{ op: "resolve", id, value: branch.value }]);
        return { promise };
      }
    }
  }

  private async state(name: string): Promise<number> {
    return (await this.ctx.get<number>(name)) ?? 0;
  }

  private call(key: string, program: Program, idempotencyKey?: string) {
    return this.ctx.genericCall<Program, number>({ ...target(key, program), idempotencyKey });
  }

  private send(key: string, program: Program, delay?: number) {
    return this.ctx.genericSend<Program>({ ...target(key, program), delay });
  }

  /** It ended in a terminal error. */
  private async fails(action: () => Promise<unknown>): Promise<boolean> {
    try {
      await action();
      return false;
    } catch (error) {
      if (error instanceof TerminalError) return true;
      throw error;
    }
  }
}

function orThrow<T>(value: T, failure?: TerminalError): T {
  if (failure) throw failure;
  return value;
}

function target(key: string, parameter: Program) {
  return { service: "Interpreter", method: "run", key, parameter, inputSerde: serde.json, outputSerde: serde.json };
}

export const interpreter = object({
  name: "Interpreter",
  handlers: {
    run: async (ctx: ObjectContext, program: Program): Promise<number> => {
      const execution = new Execution(ctx);
      await execution.program(program, "");
      return execution.acc;
    },

    state: handlers.object.shared(async (ctx: ObjectSharedContext) => {
      const state: Record<string, number | null> = {};
      for (const name of (await ctx.stateKeys()).sort()) state[name] = await ctx.get<number>(name);
      return state;
    }),
  },
});
