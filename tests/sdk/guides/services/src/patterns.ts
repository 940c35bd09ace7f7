// Parallelizing work, durable webhooks, and events from Kafka that are enriched with state.

import { RestatePromise, TerminalError, handlers, object, service } from "@restatedev/restate-sdk";
import type { Context, ObjectContext, ObjectSharedContext } from "@restatedev/restate-sdk";

import { happened } from "./world.ts";

// Fan out, fan in ---------------------------------------------------------------------------------------------------

type Task = { description: string };
type Results = { results: string[] };

export const worker = service({
  name: "worker",
  handlers: {
    run: async (ctx: Context, task: Task): Promise<Results> => {
      const parts = await ctx.run("split task", () => task.description.split(",").map((part) => part.trim()));
      const running = parts.map((description) => ctx.serviceClient<Worker>({ name: "worker" }).runSubtask({ description }));
      return { results: await RestatePromise.all(running) };
    },

    runSubtask: async (ctx: Context, { description }: Task): Promise<string> => {
      happened(`started ${description}`);
      // As long as the longest takes all of them together, or they would not be side by side.
      await ctx.sleep({ seconds: 1 });
      return ctx.run("work", () => {
        happened(`finished ${description}`);
        return `${description}: DONE`;
      });
    },
  },
});

type Worker = { runSubtask: (ctx: Context, task: Task) => Promise<string> };

// Webhooks ----------------------------------------------------------------------------------------------------------

type PaymentEvent = { type: string; data: { object: { id: string } } };

export const paymentTracker = object({
  name: "PaymentTracker",
  handlers: {
    onPaymentFailed: async (ctx: ObjectContext, event: PaymentEvent) => {
      ctx.set("failures", ((await ctx.get<number>("failures")) ?? 0) + 1);
      ctx.set("status", event.type);
    },

    onPaymentSuccess: async (ctx: ObjectContext, event: PaymentEvent) => {
      ctx.set("status", event.type);
    },

    look: handlers.object.shared(async (ctx: ObjectSharedContext) => ({
      status: await ctx.get<string>("status"),
      failures: (await ctx.get<number>("failures")) ?? 0,
    })),
  },
});

export const webhookCallbackRouter = service({
  name: "WebhookCallbackRouter",
  handlers: {
    onStripeEvent: async (ctx: Context, event: PaymentEvent) => {
      const tracker = ctx.objectSendClient(paymentTracker, event.data.object.id);
      if (event.type === "invoice.payment_failed") tracker.onPaymentFailed(event);
      if (event.type === "invoice.payment_succeeded") tracker.onPaymentSuccess(event);
    },
  },
});

// Events ------------------------------------------------------------------------------------------------------------

type Location = { timestamp: string; lat: number; long: number };
type Delivery = { finalDestination: string; locations?: Location[] };

/** One delivery: its registration from one topic, joined with its positions from another. */
export const deliveryTracker = object({
  name: "delivery-tracker",
  handlers: {
    register: async (ctx: ObjectContext, delivery: Delivery) => ctx.set("delivery", delivery),

    setLocation: async (ctx: ObjectContext, location: Location) => {
      const delivery = await ctx.get<Delivery>("delivery");
      if (!delivery) throw new TerminalError("Delivery not found");
      ctx.set("delivery", { ...delivery, locations: [...(delivery.locations ?? []), location] });
    },

    getDelivery: handlers.object.shared(async (ctx: ObjectSharedContext) => ctx.get<Delivery>("delivery")),
  },
});

/** Looks at posts by id; in the process, as the content moderation it stands for would be somewhere else. */
const looks = new Map<string, number>();

/** A workflow from Kafka: posts of a user one after the other, each waits for its moderation. */
export const userFeed = object({
  name: "userFeed",
  handlers: {
    processPost: async (ctx: ObjectContext, post: { content: string }) => {
      const user = ctx.key;
      const id = ctx.rand.uuidv4();
      await ctx.run("create", () => happened(`${user}: post created: ${post.content}`));
      const isPending = () => {
        looks.set(id, (looks.get(id) ?? 0) + 1);
        return looks.get(id) === 1;
      };
      while (await ctx.run("status", isPending)) await ctx.sleep({ seconds: 1 });
      await ctx.run("publish", () => happened(`${user}: in the feed: ${post.content}`));
    },
  },
});
