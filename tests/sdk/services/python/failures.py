"""More handlers of `Steps`, which fail in every way, and `NonDet`, which replays differently than it ran."""

from collections import Counter
from datetime import timedelta
from typing import Any

import restate
from restate import Context, ObjectContext, RunOptions, TerminalError, VirtualObject
from restate.logging import getLogger

from objects import counter_get
from steps import steps
from support import log_step

# Silent in replays.
logger = getLogger("steps")

non_det = VirtualObject("NonDet")

# By handler and key. In memory on purpose: a restarted process counts anew.
attempts: Counter[tuple[str, str]] = Counter()
readings: dict[str, float] = {}


def attempt(handler: str, key: str) -> int:
    attempts[handler, key] += 1
    return attempts[handler, key]


def is_first(handler: str, key: str) -> bool:
    return attempt(handler, key) == 1


async def run_until_given_up(ctx: Context, handler: str, key: str, options: RunOptions[None]) -> int:
    def always() -> None:
        raise RuntimeError(f"step {attempt(handler, key)} of {key} fails as asked")

    try:
        await ctx.run_typed("always", always, options)
    except TerminalError:
        pass
    return attempts[handler, key]


@steps.handler()
async def exhausted(ctx: Context, policy: dict[str, Any]) -> int:
    options: RunOptions[None] = RunOptions(
        max_attempts=policy["attempts"],
        initial_retry_interval=timedelta(milliseconds=10),
        retry_interval_factor=1.0,
    )
    return await run_until_given_up(ctx, "exhausted", policy["key"], options)


@steps.handler(name="outOfTime")
async def out_of_time(ctx: Context, policy: dict[str, Any]) -> int:
    options: RunOptions[None] = RunOptions(
        max_duration=timedelta(milliseconds=policy["ms"]),
        initial_retry_interval=timedelta(milliseconds=50),
        retry_interval_factor=1.0,
    )
    return await run_until_given_up(ctx, "outOfTime", policy["key"], options)


@steps.handler(name="terminalStep")
async def terminal_step(ctx: Context, failure: dict[str, Any]) -> str:
    def fail() -> str:
        raise TerminalError(failure["message"], status_code=failure["code"])

    try:
        return await ctx.run_typed("terminal", fail)
    except TerminalError as error:
        return f"{error.status_code}: {error.message}"


@steps.handler(name="sameRandom")
async def same_random(ctx: Context, one: dict[str, Any]) -> bool:
    drawn = str(ctx.uuid())
    stored = await ctx.run_typed("drawn", lambda: drawn, RunOptions(type_hint=str))
    if is_first("sameRandom", one["key"]):
        raise RuntimeError("the first attempt fails as asked")
    return drawn == stored


@steps.handler()
async def logged(ctx: Context, one: dict[str, Any]) -> None:
    logger.warning("logged %s", one["key"])
    await ctx.run_typed("behind", lambda: None)
    if is_first("logged", one["key"]):
        raise RuntimeError("the first attempt fails as asked")


@steps.handler(name="sameTime")
async def same_time(ctx: Context, one: dict[str, Any]) -> bool:
    key = one["key"]
    reading = await ctx.time()
    if key not in readings:
        readings[key] = reading
        raise RuntimeError("the first attempt fails as asked")
    return readings[key] == reading


@steps.handler()
async def parallel(ctx: Context, many: dict[str, Any]) -> int:
    n, key, invocation_id = many["n"], many["key"], ctx.request().id

    def step(i: int) -> None:
        if i == n - 1 and is_first("parallel", key):
            raise RuntimeError("the last step fails once, as asked")
        log_step(f"run {invocation_id} {i}")

    running = [ctx.run_typed(f"step-{i}", step, RunOptions(), i) for i in range(n)]
    await restate.gather(*running)
    for one in running:
        await one
    return n


async def differ(ctx: ObjectContext, kind: str, is_odd: bool) -> None:
    """What an attempt does: the odd ones one thing, the even ones another."""
    key = ctx.key()
    if kind == "command":
        if is_odd:
            await ctx.sleep(timedelta(milliseconds=1))
        else:
            await ctx.object_call(counter_get, key=key, arg=None)
    elif kind == "target":
        await ctx.object_call(counter_get, key=f"{key}-{'a' if is_odd else 'b'}", arg=None)
    else:
        ctx.set("a" if is_odd else "b", 1)
        await ctx.sleep(timedelta(milliseconds=1))


@non_det.handler()
async def run(ctx: ObjectContext, kind: str) -> int:
    number = attempt("NonDet", f"{ctx.key()} {kind}")
    await differ(ctx, kind, number % 2 == 1)
    if number < 3:
        raise RuntimeError(f"attempt {number} fails as asked")
    return number
