// The tour of workflows, chapter by chapter: one signup, told seven ways.

import { RestatePromise, TerminalError, service, workflow } from "@restatedev/restate-sdk";
import type { Context, WorkflowContext, WorkflowSharedContext } from "@restatedev/restate-sdk";

import { failUntilRepaired, happened } from "./world.ts";

type User = { name: string; email: string };

function createUser(id: string): boolean {
  happened(`${id}: created`);
  return true;
}

const activateUser = (id: string) => happened(`${id}: activated`);

function welcome(id: string, user: User): void {
  if (user.name === "Alice") {
    happened(`${id}: welcome tried`);
    failUntilRepaired("the mail server");
  }
  happened(`${id}: welcomed`);
}

/** The mail with the link: a test reads the secret where the tour has its reader look at the logs. */
const verify = (id: string, secret: string) => happened(`${id}: secret ${secret}`);

export const signupWorkflow = workflow({
  name: "SignupWorkflow",
  handlers: {
    run: async (ctx: WorkflowContext, user: User) => {
      const success = await ctx.run("create", () => createUser(ctx.key));
      if (!success) return { success };
      await ctx.run("activate", () => activateUser(ctx.key));
      await ctx.run("welcome", () => welcome(ctx.key, user));
      return { success };
    },
  },
});

export const userService = service({
  name: "UserService",
  handlers: {
    createUser: async (ctx: Context, { userId }: { userId: string; user: User }) =>
      ctx.run("create", () => createUser(userId)),
  },
});

export const signupWithActivities = workflow({
  name: "SignupWithActivitiesWorkflow",
  handlers: {
    run: async (ctx: WorkflowContext, user: User) => {
      const userId = ctx.key;
      const success = await ctx.serviceClient(userService).createUser({ userId, user });
      if (!success) return { success };
      await ctx.run("activate", () => activateUser(userId));
      await ctx.run("welcome", () => welcome(userId, user));
      return { success };
    },
  },
});

export const signupWithQueries = workflow({
  name: "SignupWithQueriesWorkflow",
  handlers: {
    run: async (ctx: WorkflowContext, user: User) => {
      ctx.set("user", user);
      const success = await ctx.run("create", () => createUser(ctx.key));
      ctx.set("status", success ? "created" : "failed");
      if (!success) return { success };
      await ctx.run("activate", () => activateUser(ctx.key));
      await ctx.run("welcome", () => welcome(ctx.key, user));
      return { success };
    },

    getStatus: async (ctx: WorkflowSharedContext) => ({
      status: await ctx.get<string>("status"),
      user: await ctx.get<User>("user"),
    }),
  },
});

const verifyEmail = async (ctx: WorkflowSharedContext, { secret }: { secret: string }): Promise<void> =>
  ctx.promise<string>("email-verified").resolve(secret);

export const signupWithSignals = workflow({
  name: "SignupWithSignalsWorkflow",
  handlers: {
    run: async (ctx: WorkflowContext, _user: User) => {
      const secret = ctx.rand.uuidv4();
      await ctx.run("verify", () => verify(ctx.key, secret));
      const clicked = await ctx.promise<string>("email-verified");
      return { success: clicked === secret };
    },
    verifyEmail,
  },
});

export const signupWithEvents = workflow({
  name: "SignupWithEventsWorkflow",
  handlers: {
    run: async (ctx: WorkflowContext, user: User) => {
      const success = await ctx.run("create", () => createUser(ctx.key));
      if (!success) {
        await ctx.promise<string>("user-created").reject("Creation failed.");
        return { success };
      }
      await ctx.promise<string>("user-created").resolve("User created.");
      await ctx.run("activate", () => activateUser(ctx.key));
      await ctx.run("welcome", () => welcome(ctx.key, user));
      return { success };
    },

    waitForUserCreation: async (ctx: WorkflowSharedContext) => ctx.promise<string>("user-created").get(),
  },
});

export const signupWithTimers = workflow({
  name: "SignupWithTimersWorkflow",
  handlers: {
    run: async (ctx: WorkflowContext, _user: User) => {
      const secret = ctx.rand.uuidv4();
      await ctx.run("verify", () => verify(ctx.key, secret));
      const clicked = ctx.promise<string>("email-verified").get();
      const timeout = ctx.sleep({ days: 1 });
      for (;;) {
        const first = await RestatePromise.race([
          clicked.map(() => "verified"),
          ctx.sleep({ seconds: 15 }).map(() => "reminder"),
          timeout.map(() => "timeout"),
        ]);
        if (first === "verified") return { success: (await clicked) === secret };
        if (first === "timeout") throw new TerminalError("Email verification timed out after 24 hours");
        await ctx.run("send reminder", () => happened(`${ctx.key}: reminded`));
      }
    },
    verifyEmail,
  },
});

export const signupWithRetries = workflow({
  name: "SignupWithRetriesWorkflow",
  handlers: {
    run: async (ctx: WorkflowContext, user: User) => {
      const success = await ctx.run("create", () => createUser(ctx.key));
      if (!success) return { success };
      await ctx.run("activate", () => activateUser(ctx.key));
      try {
        const policy = { maxRetryAttempts: 3, initialRetryInterval: { seconds: 1 } };
        await ctx.run("welcome", () => welcome(ctx.key, user), policy);
      } catch (error) {
        if (!(error instanceof TerminalError)) throw error;
        happened(`${ctx.key}: no welcome`);
      }
      return { success };
    },
  },
});

export const signupWithSagas = workflow({
  name: "SignupWithSagasWorkflow",
  handlers: {
    run: async (ctx: WorkflowContext, user: User) => {
      const undo: (() => Promise<void>)[] = [];
      try {
        undo.push(() => ctx.run("delete", () => happened(`${ctx.key}: deleted`)));
        await ctx.run("create", () => createUser(ctx.key));
        undo.push(() => ctx.run("deactivate", () => happened(`${ctx.key}: deactivated`)));
        await ctx.run("activate", () => activateUser(ctx.key)).orTimeout({ minutes: 5 });
        undo.push(() => ctx.run("unsubscribe", () => happened(`${ctx.key}: unsubscribed`)));
        await ctx.run("subscribe", () => {
          if (user.name === "Alice") throw new TerminalError("Subscription plan not available");
          happened(`${ctx.key}: subscribed`);
        });
      } catch (error) {
        if (!(error instanceof TerminalError)) throw error;
        for (const step of undo.reverse()) await step();
        return { success: false };
      }
      return { success: true };
    },
  },
});
