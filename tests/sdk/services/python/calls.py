"""`Greeter` and `Caller`: plain handlers, and calls and sends to other handlers."""

from datetime import timedelta
from typing import Any

from restate import Context, Service, TerminalError
from restate.serde import BytesSerde

import objects

greeter = Service("Greeter")
caller = Service("Caller")


@greeter.handler()
async def greet(_ctx: Context, name: str) -> str:
    return f"Hello {name}"


@greeter.handler()
async def fail(_ctx: Context, failure: dict[str, Any]) -> None:
    raise TerminalError(failure["message"], status_code=failure["code"])


@greeter.handler()
async def headers(ctx: Context) -> dict[str, str]:
    return dict(ctx.request().headers)


@greeter.handler(
    name="echoBytes",
    accept="*/*",
    content_type="application/octet-stream",
    input_serde=BytesSerde(),
    output_serde=BytesSerde(),
)
async def echo_bytes(_ctx: Context, body: bytes) -> bytes:
    return body


@caller.handler(name="callCounter")
async def call_counter(ctx: Context, add: dict[str, Any]) -> int:
    return await ctx.object_call(objects.counter_add, key=add["key"], arg=add["n"])


@caller.handler(name="callFailing")
async def call_failing(ctx: Context, failure: dict[str, Any]) -> str:
    try:
        await ctx.service_call(fail, arg=failure)
    except TerminalError as error:
        return f"{error.status_code}: {error.message}"
    return "no error"


@caller.handler(name="sendCounter")
async def send_counter(ctx: Context, add: dict[str, Any]) -> str:
    ctx.object_send(objects.counter_add, key=add["key"], arg=add["n"])
    return "sent"


@caller.handler(name="sendDelayed")
async def send_delayed(ctx: Context, add: dict[str, Any]) -> str:
    delay = timedelta(milliseconds=add["delayMs"])
    ctx.object_send(objects.counter_add, key=add["key"], arg=add["n"], send_delay=delay)
    return "sent"


@caller.handler(name="sendForId")
async def send_for_id(ctx: Context, add: dict[str, Any]) -> str:
    sent = ctx.object_send(objects.counter_add, key=add["key"], arg=add["n"])
    return await sent.invocation_id()


@caller.handler()
async def chain(ctx: Context, link: dict[str, Any]) -> int:
    if link["depth"] == 0:
        return await ctx.object_call(objects.counter_add, key=link["key"], arg=1)
    return await ctx.service_call(chain, arg={"key": link["key"], "depth": link["depth"] - 1})


@caller.handler(name="fanOut")
async def fan_out(ctx: Context, fan: dict[str, Any]) -> int:
    calls = [
        ctx.object_call(objects.counter_add, key=f"{fan['key']}-{i}", arg=fan["n"]) for i in range(fan["width"])
    ]
    # One after the other: gathering looks at all of them each time one is there, which a thousand make felt.
    return sum([await call for call in calls])
