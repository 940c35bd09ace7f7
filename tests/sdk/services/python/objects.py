"""`Counter`, `Gate` and `Events`: virtual objects with state."""

import os
from typing import Any

from restate import ObjectContext, ObjectSharedContext, VirtualObject
from restate.serde import BytesSerde

from support import maybe_fail, wait_for_file

counter = VirtualObject("Counter")
gate = VirtualObject("Gate")
events = VirtualObject("Events")


async def append(ctx: ObjectContext, seq: int) -> int:
    """Appends to the list in state `seqs` and returns its length."""
    seqs = await ctx.get("seqs") or []
    seqs.append(seq)
    ctx.set("seqs", seqs)
    return len(seqs)


async def add_to(ctx: ObjectContext, n: int) -> int:
    """Adds to state `count` and returns the sum."""
    total = (await ctx.get("count") or 0) + n
    ctx.set("count", total)
    return total


@counter.handler(name="add")
async def counter_add(ctx: ObjectContext, n: int) -> int:
    return await add_to(ctx, n)


@counter.handler(name="flakyAdd")
async def flaky_add(ctx: ObjectContext, flaky: dict[str, Any]) -> int:
    maybe_fail(flaky["failPercent"], "before")
    total = await add_to(ctx, flaky["n"])
    maybe_fail(flaky["failPercent"], "after")
    return total


@counter.handler(name="get", kind="shared")
async def counter_get(ctx: ObjectSharedContext) -> int:
    return await ctx.get("count") or 0


@counter.handler(name="keys", kind="shared")
async def counter_keys(ctx: ObjectSharedContext) -> list[str]:
    return sorted(await ctx.state_keys())


@counter.handler(name="clear")
async def counter_clear(ctx: ObjectContext) -> None:
    ctx.clear_all()


@counter.handler(name="appendSeq")
async def append_seq(ctx: ObjectContext, event: dict[str, Any]) -> int:
    return await append(ctx, event["seq"])


@counter.handler(name="seqs", kind="shared")
async def counter_seqs(ctx: ObjectSharedContext) -> list[int]:
    return await ctx.get("seqs") or []


@gate.handler()
async def hold(_ctx: ObjectContext, until: dict[str, Any]) -> str:
    await wait_for_file(until["file"])
    return "released"


@gate.handler(name="on")
async def gate_on(ctx: ObjectContext, event: dict[str, Any]) -> int:
    if event.get("hold"):
        await wait_for_file(event["hold"])
    return await append(ctx, event["seq"])


@gate.handler(name="seqs", kind="shared")
async def gate_seqs(ctx: ObjectSharedContext) -> list[int]:
    return await ctx.get("seqs") or []


@events.handler(name="on")
async def events_on(ctx: ObjectContext, event: dict[str, Any]) -> int:
    percent = float(os.environ.get("FAIL_PERCENT", "0"))
    maybe_fail(percent / 2, "before")
    length = await append(ctx, event["seq"])
    maybe_fail(percent / 2, "after")
    return length


@events.handler(name="seqs", kind="shared")
async def events_seqs(ctx: ObjectSharedContext) -> list[int]:
    return await ctx.get("seqs") or []


@events.handler(name="onRaw", accept="*/*", input_serde=BytesSerde())
async def on_raw(ctx: ObjectContext, body: bytes) -> None:
    ctx.set("raw", body, serde=BytesSerde())
    ctx.set("headers", dict(ctx.request().headers))


@events.handler(
    name="raw", kind="shared", content_type="application/octet-stream", output_serde=BytesSerde()
)
async def events_raw(ctx: ObjectSharedContext) -> bytes:
    return await ctx.get("raw", serde=BytesSerde()) or b""


@events.handler(name="headers", kind="shared")
async def events_headers(ctx: ObjectSharedContext) -> dict[str, str]:
    return await ctx.get("headers") or {}
