// `Greeter` and `Caller`: plain handlers, and calls and sends to other handlers.

import { RestatePromise, TerminalError, handlers, rpc, serde, service } from "@restatedev/restate-sdk";
import type { Context } from "@restatedev/restate-sdk";

import { counter } from "./objects.ts";

type Failure = { code: number; message: string };
type Add = { key: string; n: number; delayMs?: number };

export const greeter = service({
  name: "Greeter",
  handlers: {
    greet: async (_ctx: Context, name: string) => `Hello ${name}`,

    fail: async (_ctx: Context, { code, message }: Failure): Promise<void> => {
      throw new TerminalError(message, { errorCode: code });
    },

    headers: async (ctx: Context) => Object.fromEntries(ctx.request().headers),

    echoBytes: handlers.handler(
      { accept: "*/*", input: serde.binary, output: serde.binary },
      async (_ctx: Context, body: Uint8Array) => body,
    ),
  },
});

export const caller = service({
  name: "Caller",
  handlers: {
    callCounter: async (ctx: Context, { key, n }: Add): Promise<number> => ctx.objectClient(counter, key).add(n),

    callFailing: async (ctx: Context, failure: Failure): Promise<string> => {
      try {
        await ctx.serviceClient(greeter).fail(failure);
        return "no error";
      } catch (error) {
        if (!(error instanceof TerminalError)) throw error;
        return `${error.code}: ${error.message}`;
      }
    },

    sendCounter: async (ctx: Context, { key, n }: Add): Promise<string> => {
      ctx.objectSendClient(counter, key).add(n);
      return "sent";
    },

    sendDelayed: async (ctx: Context, { key, n, delayMs }: Add): Promise<string> => {
      ctx.objectSendClient(counter, key).add(n, rpc.sendOpts({ delay: delayMs ?? 0 }));
      return "sent";
    },

    sendForId: async (ctx: Context, { key, n }: Add): Promise<string> =>
      ctx.objectSendClient(counter, key).add(n).invocationId,

    chain: async (ctx: Context, { key, depth }: { key: string; depth: number }): Promise<number> => {
      if (depth === 0) return ctx.objectClient(counter, key).add(1);
      return ctx.serviceClient<Chain>({ name: "Caller" }).chain({ key, depth: depth - 1 });
    },

    fanOut: async (ctx: Context, { key, width, n }: { key: string; width: number; n: number }): Promise<number> => {
      const calls = Array.from({ length: width }, (_, i) => ctx.objectClient(counter, `${key}-${i}`).add(n));
      return (await RestatePromise.all(calls)).reduce((sum, one) => sum + one, 0);
    },
  },
});

type Chain = { chain: (ctx: Context, link: { key: string; depth: number }) => Promise<number> };
