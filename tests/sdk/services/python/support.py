"""What several of the services need."""

import asyncio
import json
import os
import random
from typing import Any

from restate.serde import Serde


class MaybeSerde(Serde[Any]):
    """JSON in which nothing is `null`; the SDK's own makes it an empty body."""

    def deserialize(self, buf: bytes) -> Any:
        return json.loads(buf) if buf else None

    def serialize(self, obj: Any) -> bytes:
        return json.dumps(obj).encode()


def log_step(line: str) -> None:
    """Appends one line to the file that STEP_LOG names, in one write; without STEP_LOG nothing happens."""
    path = os.environ.get("STEP_LOG")
    if path:
        with open(path, "ab", buffering=0) as log:
            log.write(f"{line}\n".encode())


def maybe_fail(percent: float, place: str) -> None:
    """Fails the attempt with a retryable error in `percent` of 100 calls."""
    if random.random() * 100 < percent:
        raise RuntimeError(f"random failure {place} the change")


async def wait_for_file(file: str) -> None:
    """Hangs, with no durable command, until the file exists."""
    while not os.path.exists(file):
        await asyncio.sleep(0.02)
