"""`Interpreter`: executes programs of commands, so that a test can make up what a handler does."""

from collections import Counter
from datetime import timedelta
from typing import Any

import restate
from restate import ObjectContext, ObjectSharedContext, RunOptions, TerminalError, VirtualObject

interpreter = VirtualObject("Interpreter")

Command = dict[str, Any]
Program = list[Command]

# How often a command failed, by invocation id and place. In memory on purpose: a restarted process counts anew.
failed: Counter[str] = Counter()


def fail_at_first(ctx: ObjectContext, at: str, times: int) -> None:
    place = f"{ctx.request().id} {at}"
    if failed[place] < times:
        failed[place] += 1
        raise RuntimeError(f"{at} fails as asked")


class Run:
    """One execution of a program, with what it has added up."""

    def __init__(self, ctx: ObjectContext) -> None:
        self.ctx = ctx
        self.acc = 0

    async def execute(self, program: Program, around: str) -> None:
        for i, command in enumerate(program):
            await getattr(self, f"op_{command['op']}")(command, f"{around}{i}")

    # State.

    async def op_set(self, command: Command, _at: str) -> None:
        self.ctx.set(command["name"], command["value"])

    async def op_add(self, command: Command, _at: str) -> None:
        name = command["name"]
        self.ctx.set(name, (await self.ctx.get(name) or 0) + command["value"])

    async def op_get(self, command: Command, _at: str) -> None:
        self.acc += await self.ctx.get(command["name"]) or 0

    async def op_clear(self, command: Command, _at: str) -> None:
        self.ctx.clear(command["name"])

    async def op_keys(self, _command: Command, _at: str) -> None:
        await self.ctx.state_keys()

    # What can also be a branch: starts it, and gives back what to await.

    async def start(self, command: Command, at: str) -> Any:
        ctx, op = self.ctx, command["op"]
        if op == "sleep":
            return ctx.sleep(timedelta(milliseconds=command["ms"]))
        if op == "step":
            value = command["value"]
            return ctx.run_typed(f"step {at}", lambda: value, RunOptions(type_hint=int))
        if op == "call":
            return ctx.object_call(run, key=command["key"], arg=command["program"])
        if op == "attach":
            sent = ctx.object_send(run, key=command["key"], arg=command["program"])
            return ctx.attach_invocation(await sent.invocation_id(), type_hint=int)
        if op == "awakeable":
            awakeable, value = ctx.awakeable(type_hint=int)
            program = [{"op": "resolve", "id": awakeable, "value": command["value"]}]
            ctx.object_send(run, key=command["key"], arg=program)
            return value
        raise TerminalError(f"{op} cannot be a branch", status_code=400)

    async def finish(self, command: Command, at: str) -> None:
        self.acc += await (await self.start(command, at)) or 0

    op_sleep = op_step = op_call = op_attach = op_awakeable = finish

    async def op_parallel(self, command: Command, at: str) -> None:
        running = [await self.start(branch, f"{at}.{i}") for i, branch in enumerate(command["branches"])]
        for one in running:
            self.acc += await one or 0

    async def op_race(self, command: Command, at: str) -> None:
        running = [await self.start(branch, f"{at}.{i}") for i, branch in enumerate(command["branches"])]
        async for one in restate.as_completed(*running):
            self.acc += await one or 0

    # Failures.

    async def op_flaky(self, command: Command, at: str) -> None:
        def step() -> int:
            fail_at_first(self.ctx, at, command["times"])
            return command["value"]

        options: RunOptions[int] = RunOptions(
            initial_retry_interval=timedelta(milliseconds=10), retry_interval_factor=1.0
        )
        self.acc += await self.ctx.run_typed(f"flaky {at}", step, options)

    async def op_crash(self, command: Command, at: str) -> None:
        fail_at_first(self.ctx, at, command["times"])

    async def op_fail(self, command: Command, _at: str) -> None:
        raise TerminalError(command["message"], status_code=command["code"])

    async def op_try(self, command: Command, at: str) -> None:
        try:
            await self.execute(command["body"], f"{at}.")
        except TerminalError:
            self.acc += 1000

    # Other invocations.

    async def op_send(self, command: Command, _at: str) -> None:
        delay = command.get("ms")
        self.ctx.object_send(
            run,
            key=command["key"],
            arg=command["program"],
            send_delay=None if delay is None else timedelta(milliseconds=delay),
        )

    async def op_idempotent(self, command: Command, _at: str) -> None:
        for _ in range(2):
            self.acc += await self.ctx.object_call(
                run, key=command["key"], arg=command["program"], idempotency_key=command["idempotencyKey"]
            )

    async def op_cancel(self, command: Command, _at: str) -> None:
        sent = self.ctx.object_send(run, key=command["key"], arg=[{"op": "sleep", "ms": 3_600_000}])
        invocation_id = await sent.invocation_id()
        self.ctx.cancel_invocation(invocation_id)
        try:
            await self.ctx.attach_invocation(invocation_id, type_hint=int)
        except TerminalError:
            self.acc += 1

    async def op_rejected(self, command: Command, _at: str) -> None:
        awakeable, value = self.ctx.awakeable(type_hint=int)
        self.ctx.object_send(run, key=command["key"], arg=[{"op": "reject", "id": awakeable}])
        try:
            await value
        except TerminalError:
            self.acc += 1

    async def op_resolve(self, command: Command, _at: str) -> None:
        self.ctx.resolve_awakeable(command["id"], command["value"])

    async def op_reject(self, command: Command, _at: str) -> None:
        self.ctx.reject_awakeable(command["id"], "rejected")


@interpreter.handler()
async def run(ctx: ObjectContext, program: Program) -> int:
    execution = Run(ctx)
    await execution.execute(program, "")
    return execution.acc


@interpreter.handler(kind="shared")
async def state(ctx: ObjectSharedContext) -> dict[str, int]:
    return {name: await ctx.get(name) for name in await ctx.state_keys()}
