"""`Steps` and `Sleeper`: durable steps, retries, sleeping."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

from restate import Context, RunOptions, Service

from support import log_step

steps = Service("Steps")
sleeper = Service("Sleeper")

# Attempts by handler and key. In memory on purpose: a restarted process counts anew.
attempts: Counter[tuple[str, str]] = Counter()


def fail_until(handler: str, fail: dict[str, Any]) -> int:
    """Raises in the first `times` attempts of `key`, then returns the attempt's number."""
    place = (handler, fail["key"])
    attempts[place] += 1
    if attempts[place] <= fail["times"]:
        raise RuntimeError(f"attempt {attempts[place]} of {fail['key']} fails as asked")
    return attempts[place]


async def run_steps(ctx: Context, n: int, delay: float) -> int:
    """`run` lines when a step's work is done, `ack` lines once its result is durable."""
    invocation_id = ctx.request().id

    async def step(i: int) -> None:
        if delay > 0:
            await asyncio.sleep(delay)
        log_step(f"run {invocation_id} {i}")

    for i in range(n):
        await ctx.run_typed(f"step-{i}", step, RunOptions(), i)
        log_step(f"ack {invocation_id} {i}")
    return n


@steps.handler()
async def run(ctx: Context, n: int) -> int:
    return await run_steps(ctx, n, 0)


@steps.handler(name="runSlow")
async def run_slow(ctx: Context, slow: dict[str, Any]) -> int:
    return await run_steps(ctx, slow["n"], slow["delayMs"] / 1000)


@steps.handler(name="failTimes")
async def fail_times(_ctx: Context, fail: dict[str, Any]) -> int:
    return fail_until("failTimes", fail)


@steps.handler(name="failingStep")
async def failing_step(ctx: Context, fail: dict[str, Any]) -> int:
    options: RunOptions[int] = RunOptions(
        initial_retry_interval=timedelta(milliseconds=10), retry_interval_factor=1.0
    )
    return await ctx.run_typed("failing", fail_until, options, "failingStep", fail)


@steps.handler(name="onEvent")
async def on_event(ctx: Context, event: dict[str, Any]) -> None:
    await ctx.run_typed("event", log_step, RunOptions(), f"event {event['seq']}")


@sleeper.handler()
async def sleep(ctx: Context, ms: int) -> str:
    await ctx.sleep(timedelta(milliseconds=ms))
    return "slept"


@sleeper.handler(name="sleepThenStep")
async def sleep_then_step(ctx: Context, ms: int) -> str:
    await ctx.sleep(timedelta(milliseconds=ms))
    line = f"slept {ctx.request().id}"

    def step() -> str:
        log_step(line)
        return line

    return await ctx.run_typed("after-sleep", step)
