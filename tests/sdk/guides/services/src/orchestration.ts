// The tour of microservice orchestration, chapter by chapter, with the services and requests of the tour.

import {
  RestatePromise,
  TerminalError,
  TimeoutError,
  handlers,
  object,
  rpc,
  service,
} from "@restatedev/restate-sdk";
import type { Context, ObjectContext, ObjectSharedContext } from "@restatedev/restate-sdk";

import { failUntilRepaired, happened } from "./world.ts";

type Order = { userId: string; creditCard: string; subscriptions: string[] };

function pay(order: Order, paymentId: string): string {
  happened(`${order.userId}: paid with ${order.creditCard}`);
  return `pay-${paymentId}`;
}

function subscribe(userId: string, subscription: string): string {
  if (subscription === "Netflix") failUntilRepaired("Netflix");
  if (subscription === "Disney") throw new TerminalError("Disney is not available");
  happened(`${userId}: subscribed to ${subscription}`);
  return "SUCCESS";
}

// Durable execution -------------------------------------------------------------------------------------------------

export const subscriptionService = service({
  name: "SubscriptionService",
  handlers: {
    add: async (ctx: Context, order: Order) => {
      const paymentId = ctx.rand.uuidv4();
      await ctx.run("pay", () => pay(order, paymentId));
      for (const one of order.subscriptions) await ctx.run(`add-${one}`, () => subscribe(order.userId, one));
    },
  },
});

// Sagas -------------------------------------------------------------------------------------------------------------

export const subscriptionSaga = service({
  name: "SubscriptionSaga",
  handlers: {
    add: async (ctx: Context, order: Order) => {
      const undo: (() => Promise<void>)[] = [];
      try {
        const paymentId = ctx.rand.uuidv4();
        undo.push(() => ctx.run("undo-pay", () => happened(`${order.userId}: paid back`)));
        await ctx.run("pay", () => pay(order, paymentId));
        for (const one of order.subscriptions) {
          undo.push(() => ctx.run(`undo-${one}`, () => happened(`${order.userId}: left ${one}`)));
          await ctx.run(`add-${one}`, () => subscribe(order.userId, one));
        }
      } catch (error) {
        if (error instanceof TerminalError) for (const step of undo.reverse()) await step();
        throw error;
      }
    },
  },
});

// Virtual objects ---------------------------------------------------------------------------------------------------

export const userSubscriptions = object({
  name: "UserSubscriptions",
  handlers: {
    add: async (ctx: ObjectContext, subscription: string) => {
      const all = (await ctx.get<string[]>("subscriptions")) ?? [];
      if (!all.includes(subscription)) all.push(subscription);
      ctx.set("subscriptions", all);
      ctx.set("lastUpdated", await ctx.date.toJSON());
    },

    getSubscriptions: handlers.object.shared(
      async (ctx: ObjectSharedContext) => (await ctx.get<string[]>("subscriptions")) ?? [],
    ),
  },
});

// Communication -----------------------------------------------------------------------------------------------------

type Purchase = { ticketId: string; price: number; customerEmail: string; concertDate: string };

const DAY = 24 * 60 * 60 * 1000;

export const paymentService = service({
  name: "PaymentService",
  handlers: {
    charge: async (ctx: Context, { ticketId }: Purchase): Promise<string> => {
      const id = ctx.rand.uuidv4();
      return ctx.run("charge", () => {
        happened(`${ticketId}: charged`);
        return id;
      });
    },
  },
});

export const emailService = service({
  name: "EmailService",
  handlers: {
    emailTicket: async (ctx: Context, { ticketId }: Purchase) =>
      ctx.run("ticket", () => happened(`${ticketId}: ticket mailed`)),
    sendReminder: async (ctx: Context, { ticketId }: Purchase) =>
      ctx.run("reminder", () => happened(`${ticketId}: reminded`)),
  },
});

export const concertTicketingService = service({
  name: "ConcertTicketingService",
  handlers: {
    buy: async (ctx: Context, purchase: Purchase): Promise<string> => {
      const paymentRef = await ctx.serviceClient(paymentService).charge(purchase);
      ctx.serviceSendClient(emailService).emailTicket(purchase);
      const delay = Math.max(0, Date.parse(purchase.concertDate) - DAY - (await ctx.date.now()));
      ctx.serviceSendClient(emailService).sendReminder(purchase, rpc.sendOpts({ delay }));
      return `Ticket purchased successfully with payment reference: ${paymentRef}`;
    },
  },
});

// External events, timers -------------------------------------------------------------------------------------------

type Payment = { amount: number; currency: string; customerId: string; orderId: string };
type PaymentResult = { success: boolean; transactionId?: string; errorMessage?: string };
type Confirmation = { id: string; result: PaymentResult };

/** Tells the payment provider whom to call back: a test reads it where the tour has its reader look at the logs. */
function initiate({ orderId }: Payment, confirmationId: string): string {
  happened(`${orderId}: confirm ${confirmationId}`);
  return `payRef-${orderId}`;
}

const confirm = async (ctx: Context, { id, result }: Confirmation): Promise<void> => {
  ctx.resolveAwakeable(id, result);
};

export const payments = service({
  name: "Payments",
  handlers: {
    process: async (ctx: Context, payment: Payment): Promise<PaymentResult> => {
      const confirmation = ctx.awakeable<PaymentResult>();
      await ctx.run("pay", () => initiate(payment, confirmation.id));
      return confirmation.promise;
    },
    confirm,
  },
});

export const paymentsWithTimeout = service({
  name: "PaymentsWithTimeout",
  handlers: {
    process: async (ctx: Context, payment: Payment): Promise<PaymentResult> => {
      const confirmation = ctx.awakeable<PaymentResult>();
      const ref = await ctx.run("pay", () => initiate(payment, confirmation.id));
      try {
        return await confirmation.promise.orTimeout({ seconds: 30 });
      } catch (error) {
        if (!(error instanceof TimeoutError)) throw error;
        await ctx.run("cancel-payment", () => happened(`${payment.orderId}: cancelled ${ref}`));
        return { success: false, errorMessage: "Payment timeout" };
      }
    },
    confirm,
  },
});

// Concurrent tasks --------------------------------------------------------------------------------------------------

export const parallelSubscriptionService = service({
  name: "ParallelSubscriptionService",
  handlers: {
    add: async (ctx: Context, order: Order) => {
      const paymentId = ctx.rand.uuidv4();
      const paymentRef = await ctx.run("pay", () => pay(order, paymentId));
      const adding = order.subscriptions.map((one) => ctx.run(`add-${one}`, () => subscribe(order.userId, one)));
      await RestatePromise.all(adding);
      return { success: true, paymentRef };
    },
  },
});
