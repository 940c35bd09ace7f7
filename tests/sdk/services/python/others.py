"""`Tree` and `Signals`: invocations that wait for each other, are cancelled, and signal each other."""

from datetime import timedelta
from typing import Any

from restate import Context, ObjectContext, Service, TerminalError, VirtualObject

from awakeables import text
from states import list_append

tree = VirtualObject("Tree")
signals = Service("Signals")

HOUR = timedelta(hours=1)


async def wait_forever(ctx: ObjectContext, how: str) -> None:
    if how == "sleep":
        await ctx.sleep(HOUR)
    elif how == "awakeable":
        await ctx.awakeable(type_hint=str)[1]
    else:
        await ctx.signal("never", type_hint=str)


@tree.handler()
async def grow(ctx: ObjectContext, node: dict[str, Any]) -> None:
    key, level = node["key"], node["level"]
    if level == 0:
        await ctx.object_call(list_append, key=key, arg="ready")
    try:
        if level == 0:
            await wait_forever(ctx, node["wait"])
        else:
            await ctx.object_call(grow, key=f"{key}-{level - 1}", arg={**node, "level": level - 1})
    except TerminalError as error:
        await ctx.object_call(list_append, key=key, arg=f"undo {level} {error.status_code}")
        raise


@tree.handler()
async def idle(_ctx: ObjectContext) -> str:
    return "idle"


@signals.handler()
async def wait(ctx: Context, signal: dict[str, Any]) -> str:
    return await text(ctx.signal(signal["name"], type_hint=str))


@signals.handler(name="waitTwice")
async def wait_twice(ctx: Context, signal: dict[str, Any]) -> list[str]:
    return [await text(ctx.signal(signal["name"], type_hint=str)) for _ in range(2)]


@signals.handler()
async def resolve(ctx: Context, to: dict[str, Any]) -> None:
    ctx.resolve_signal(to["id"], to["name"], to["value"])


@signals.handler()
async def reject(ctx: Context, to: dict[str, Any]) -> None:
    ctx.reject_signal(to["id"], to["name"], to["reason"])


@signals.handler()
async def cancel(ctx: Context, to: dict[str, Any]) -> None:
    ctx.cancel_invocation(to["id"])


@signals.handler()
async def attach(ctx: Context, to: dict[str, Any]) -> dict[str, object]:
    try:
        return {"ok": await ctx.attach_invocation(to["id"])}
    except TerminalError as error:
        return {"error": f"{error.status_code}: {error.message}"}
