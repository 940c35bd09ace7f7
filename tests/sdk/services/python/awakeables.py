"""`Holder`, `Awaiter` and `Combine`: awakeables, who completes them, and several at once."""

from collections import Counter
from datetime import timedelta
from typing import Any

import restate
from restate import Context, ObjectContext, ObjectSharedContext, RunOptions, Service, TerminalError, VirtualObject

import steps
from support import MaybeSerde

holder = VirtualObject("Holder")
awaiter = Service("Awaiter")
combine = Service("Combine")

# Attempts by key. In memory on purpose: a restarted process counts anew.
attempts: Counter[str] = Counter()


@holder.handler()
async def hold(ctx: ObjectContext, awakeable: str) -> None:
    ctx.set("id", awakeable)


@holder.handler(kind="shared", output_serde=MaybeSerde())
async def held(ctx: ObjectSharedContext) -> object:
    return await ctx.get("id")


async def take(ctx: ObjectContext) -> str:
    awakeable = await ctx.get("id")
    if awakeable is None:
        raise TerminalError("nothing held", status_code=404)
    ctx.clear("id")
    return awakeable


@holder.handler()
async def unlock(ctx: ObjectContext, value: str) -> None:
    ctx.resolve_awakeable(await take(ctx), value)


@holder.handler()
async def refuse(ctx: ObjectContext, reason: str) -> None:
    ctx.reject_awakeable(await take(ctx), reason)


async def text(future: Any) -> str:
    """The value, or the text of the rejection."""
    try:
        return await future
    except TerminalError as error:
        return f"rejected: {error.message}"


async def make(ctx: Context, key: str) -> Any:
    """An awakeable whose id `Holder/<key>` holds."""
    awakeable, value = ctx.awakeable(type_hint=str)
    await ctx.object_call(hold, key=key, arg=awakeable)
    return value


@awaiter.handler(name="await")
async def await_it(ctx: Context, wait: dict[str, Any]) -> str:
    return await text(await make(ctx, wait["key"]))


@awaiter.handler(name="awaitTimeout")
async def await_timeout(ctx: Context, wait: dict[str, Any]) -> str:
    value = await make(ctx, wait["key"])
    timeout = ctx.sleep(timedelta(milliseconds=wait["ms"]))
    completed, _ = await restate.wait_completed(value, timeout)
    return await text(value) if value in completed else "timeout"


@awaiter.handler(name="awaitLate")
async def await_late(ctx: Context, wait: dict[str, Any]) -> str:
    value = await make(ctx, wait["key"])
    await ctx.sleep(timedelta(milliseconds=wait["ms"]))
    return await text(value)


async def make_many(ctx: Context, many: dict[str, Any]) -> list[Any]:
    return [await make(ctx, f"{many['key']}-{i}") for i in range(many["n"])]


async def first_of(futures: list[Any]) -> int:
    """Index of the first that is completed."""
    completed, _ = await restate.wait_completed(*futures)
    return futures.index(completed[0])


@combine.handler(name="all")
async def all_of(ctx: Context, many: dict[str, Any]) -> object:
    values = await make_many(ctx, many)
    async for value in restate.as_completed(*values):
        try:
            await value
        except TerminalError:
            return await text(value)
    return [await value for value in values]


@combine.handler(name="any")
async def any_of(ctx: Context, many: dict[str, Any]) -> str:
    async for value in restate.as_completed(*await make_many(ctx, many)):
        try:
            return await value
        except TerminalError:
            pass
    return "all rejected"


@combine.handler()
async def race(ctx: Context, many: dict[str, Any]) -> str:
    values = await make_many(ctx, many)
    return await text(values[await first_of(values)])


@combine.handler(name="allSettled")
async def all_settled(ctx: Context, many: dict[str, Any]) -> list[str]:
    values = await make_many(ctx, many)
    await restate.gather(*values)
    return [await text(value) for value in values]


@combine.handler()
async def select(ctx: Context, many: dict[str, Any]) -> int:
    return await first_of(await make_many(ctx, many))


@combine.handler()
async def order(ctx: Context, naps: list[int]) -> list[int]:
    sleeps = [ctx.sleep(timedelta(milliseconds=ms)) for ms in naps]
    return [sleeps.index(one) async for one in restate.as_completed(*sleeps)]


@combine.handler()
async def timeout(ctx: Context, ms: int) -> str:
    _, never = ctx.awakeable(type_hint=str)
    limit = ctx.sleep(timedelta(milliseconds=ms))
    return "timeout" if await first_of([never, limit]) == 1 else "completed"


@combine.handler(name="sameWinner")
async def same_winner(ctx: Context, one: dict[str, Any]) -> bool:
    key = one["key"]
    winner = await first_of(await make_many(ctx, {"key": key, "n": 2}))
    stored = await ctx.run_typed("winner", lambda: winner, RunOptions(type_hint=int))
    attempts[key] += 1
    if attempts[key] == 1:
        raise RuntimeError(f"the first attempt of {key} fails as asked")
    return winner == stored


@combine.handler(name="cancelLoser")
async def cancel_loser(ctx: Context) -> str:
    calls = [ctx.service_call(steps.sleep, arg=ms) for ms in (3_600_000, 1)]
    loser = await calls[1 - await first_of(calls)].invocation_id()
    ctx.cancel_invocation(loser)
    return loser
