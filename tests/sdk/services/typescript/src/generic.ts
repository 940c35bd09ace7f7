// `Proxy`: any handler by its name, with bytes. `Signals`: what one invocation does with another.

import { RestatePromise, TerminalError, serde, service } from "@restatedev/restate-sdk";
import type { Context, InvocationId, InvocationPromise } from "@restatedev/restate-sdk";

import { errorText } from "./support.ts";

type Target = {
  service: string;
  handler: string;
  key?: string;
  body?: string;
  headers?: Record<string, string>;
  idempotencyKey?: string;
};

function request({ service, handler, key, body, headers, idempotencyKey }: Target) {
  const parameter = new Uint8Array(Buffer.from(body ?? "", "base64"));
  return { service, method: handler, key, parameter, headers, idempotencyKey, inputSerde: serde.binary };
}

function call(ctx: Context, target: Target): InvocationPromise<Uint8Array> {
  return ctx.genericCall({ ...request(target), outputSerde: serde.binary });
}

function base64(bytes?: Uint8Array): string {
  return Buffer.from(bytes ?? []).toString("base64");
}

export const proxy = service({
  name: "Proxy",
  handlers: {
    call: async (ctx: Context, target: Target): Promise<string> => base64(await call(ctx, target)),

    send: async (ctx: Context, { delayMs, ...target }: Target & { delayMs?: number }): Promise<string> =>
      ctx.genericSend({ ...request(target), delay: delayMs }).invocationId,

    callMany: async (ctx: Context, targets: Target[]) => {
      const settled = await RestatePromise.allSettled(targets.map((target) => call(ctx, target)));
      return settled.map((one) =>
        one.status === "fulfilled" ? { ok: base64(one.value) } : { error: errorText(one.reason) },
      );
    },
  },
});

type Signal = { id: string; name: string; value: string; reason: string };

export const signals = service({
  name: "Signals",
  handlers: {
    wait: async (ctx: Context, { name }: { name: string }): Promise<string> => {
      try {
        return await ctx.signal<string>(name);
      } catch (error) {
        if (!(error instanceof TerminalError)) throw error;
        return `rejected: ${error.message}`;
      }
    },

    waitTwice: async (ctx: Context, { name }: { name: string }): Promise<string[]> => [
      await ctx.signal<string>(name),
      await ctx.signal<string>(name),
    ],

    resolve: async (ctx: Context, { id, name, value }: Signal) => {
      ctx.invocation(id as InvocationId).signal<string>(name).resolve(value);
    },

    reject: async (ctx: Context, { id, name, reason }: Signal) => {
      ctx.invocation(id as InvocationId).signal<string>(name).reject(reason);
    },

    cancel: async (ctx: Context, { id }: { id: string }) => ctx.cancel(id as InvocationId),

    attach: async (ctx: Context, { id }: { id: string }) => {
      try {
        return { ok: await ctx.attach<unknown>(id as InvocationId) };
      } catch (error) {
        return { error: errorText(error) };
      }
    },
  },
});
