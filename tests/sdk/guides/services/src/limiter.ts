// Rate limiting: a token bucket in an object, and a client with which handlers wait for their turn.

import { TerminalError, object, service } from "@restatedev/restate-sdk";
import type { Context, ObjectContext } from "@restatedev/restate-sdk";

import { happened } from "./world.ts";

/** Tokens a second, how many there may be at most, and how many there were at `last` (Unix time in milliseconds). */
type Bucket = { limit: number; burst: number; tokens: number; last: number; lastEvent: number };
type Reservation = { ok: boolean; tokens: number; creationDate: number; dateToAct: number; limit: number };

const SECOND = 1000;

const tokensIn = (limit: number, millis: number) => (limit > 0 ? (millis / SECOND) * limit : 0);
const timeFor = (limit: number, tokens: number) => (limit > 0 ? (tokens / limit) * SECOND : Infinity);

function tokensAt(bucket: Bucket, now: number): number {
  const gained = tokensIn(bucket.limit, Math.max(0, now - bucket.last));
  return Math.min(bucket.burst, bucket.tokens + gained);
}

async function bucketOf(ctx: ObjectContext): Promise<Bucket> {
  return (await ctx.get<Bucket>("state")) ?? { limit: 0, burst: 0, tokens: 0, last: 0, lastEvent: 0 };
}

export const limiter = object({
  name: "limiter",
  handlers: {
    state: async (ctx: ObjectContext): Promise<Bucket> => bucketOf(ctx),

    tokens: async (ctx: ObjectContext): Promise<number> => tokensAt(await bucketOf(ctx), await ctx.date.now()),

    reserve: async (
      ctx: ObjectContext,
      { n = 1, waitLimitMillis }: { n?: number; waitLimitMillis?: number },
    ): Promise<Reservation> => {
      const bucket = await bucketOf(ctx);
      const now = await ctx.date.now();
      const tokens = tokensAt(bucket, now) - n;
      const wait = tokens < 0 ? timeFor(bucket.limit, -tokens) : 0;
      if (n > bucket.burst || wait > (waitLimitMillis ?? Infinity)) {
        return { ok: false, tokens: 0, creationDate: now, dateToAct: 0, limit: bucket.limit };
      }
      ctx.set("state", { ...bucket, tokens, last: now, lastEvent: now + wait });
      return { ok: true, tokens: n, creationDate: now, dateToAct: now + wait, limit: bucket.limit };
    },

    setRate: async (ctx: ObjectContext, { newLimit, newBurst }: { newLimit?: number; newBurst?: number }) => {
      const bucket = await bucketOf(ctx);
      const now = await ctx.date.now();
      const tokens = tokensAt(bucket, now);
      ctx.set("state", {
        ...bucket,
        tokens,
        last: now,
        limit: newLimit ?? bucket.limit,
        burst: newBurst ?? bucket.burst,
      });
    },

    /** Gives back what nobody after this reservation has been promised already. */
    cancelReservation: async (ctx: ObjectContext, reservation: Reservation) => {
      const bucket = await bucketOf(ctx);
      const now = await ctx.date.now();
      if (reservation.dateToAct < now) return;
      const promised = tokensIn(reservation.limit, bucket.lastEvent - reservation.dateToAct);
      const back = reservation.tokens - promised;
      if (back <= 0) return;
      const tokens = Math.min(bucket.burst, tokensAt(bucket, now) + back);
      const before = reservation.dateToAct - timeFor(reservation.limit, reservation.tokens);
      const wasLast = reservation.dateToAct === bucket.lastEvent && before >= now;
      ctx.set("state", { ...bucket, tokens, last: now, lastEvent: wasLast ? before : bucket.lastEvent });
    },
  },
});

/** Waits until `n` tokens are there, and gives them back when the invocation is cancelled meanwhile. */
async function waitFor(ctx: Context, id: string, n = 1): Promise<void> {
  const reservation = await ctx.objectClient(limiter, id).reserve({ n });
  if (!reservation.ok) throw new TerminalError(`${n} are more than the limiter ever has`, { errorCode: 429 });
  const delay = Math.floor(reservation.dateToAct - reservation.creationDate);
  if (delay <= 0) return;
  try {
    await ctx.sleep(delay);
  } catch (error) {
    ctx.objectSendClient(limiter, id).cancelReservation(reservation);
    throw error;
  }
}

const LIMITER = "myService-expensiveMethod";

export const myService = service({
  name: "myService",
  handlers: {
    expensiveMethod: async (ctx: Context) => {
      await waitFor(ctx, LIMITER);
      happened("expensive!");
    },

    expensiveMethodBatch: async (ctx: Context, size: number = 20) => {
      await waitFor(ctx, LIMITER, size);
      for (let i = 0; i < size; i++) happened("expensive!");
    },
  },
});
