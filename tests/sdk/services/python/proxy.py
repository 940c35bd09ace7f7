"""`Proxy`: any handler by name, with the bytes of the request."""

import base64
from datetime import timedelta
from typing import Any

from restate import Context, Service, TerminalError

proxy = Service("Proxy")


def start(ctx: Context, target: dict[str, Any]) -> Any:
    """Makes the call and returns its future."""
    return ctx.generic_call(
        target["service"],
        target["handler"],
        base64.b64decode(target.get("body") or ""),
        key=target.get("key"),
        idempotency_key=target.get("idempotencyKey"),
        headers=target.get("headers"),
    )


@proxy.handler()
async def call(ctx: Context, target: dict[str, Any]) -> str:
    return base64.b64encode(await start(ctx, target)).decode()


@proxy.handler()
async def send(ctx: Context, target: dict[str, Any]) -> str:
    delay = target.get("delayMs")
    sent = ctx.generic_send(
        target["service"],
        target["handler"],
        base64.b64decode(target.get("body") or ""),
        key=target.get("key"),
        send_delay=None if delay is None else timedelta(milliseconds=delay),
        idempotency_key=target.get("idempotencyKey"),
        headers=target.get("headers"),
    )
    return await sent.invocation_id()


@proxy.handler(name="callMany")
async def call_many(ctx: Context, targets: list[dict[str, Any]]) -> list[dict[str, str]]:
    calls = [start(ctx, target) for target in targets]
    results = []
    for one in calls:
        try:
            results.append({"ok": base64.b64encode(await one).decode()})
        except TerminalError as error:
            results.append({"error": f"{error.status_code}: {error.message}"})
    return results
