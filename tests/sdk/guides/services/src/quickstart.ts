// Quickstart, Kafka quickstart: a greeter with two durable steps around a durable sleep.

import { service } from "@restatedev/restate-sdk";
import type { Context } from "@restatedev/restate-sdk";

import { happened } from "./world.ts";

/** Alice's mails fail now and then: here each first try of a step, so that a run shows it for certain. */
const tried = new Set<string>();

function mail(kind: string, greetingId: string, name: string): void {
  const step = `${kind} ${greetingId}`;
  if (name === "Alice" && !tried.has(step)) {
    tried.add(step);
    throw new Error(`could not send the ${kind}`);
  }
  happened(`${kind} for ${name}`);
}

export const greeter = service({
  name: "Greeter",
  handlers: {
    greet: async (ctx: Context, { name }: { name: string }) => {
      const greetingId = ctx.rand.uuidv4();
      await ctx.run("Notification", () => mail("notification", greetingId, name));
      await ctx.sleep({ seconds: 1 });
      await ctx.run("Reminder", () => mail("reminder", greetingId, name));
      return { result: `You said hi to ${name}!` };
    },
  },
});
