"""The SDK test services in Python. The contract, with every handler's meaning, is ../README.md."""

import asyncio
import os
import signal
import socket
import threading

import restate
from hypercorn.asyncio import serve
from hypercorn.config import Config

from awakeables import awaiter, combine, holder
from blocker import blocker
from calls import caller, greeter
from failures import non_det
from interpreter import interpreter
from objects import counter, events, gate
from others import signals, tree
from proxy import proxy
from states import eager_map, lazy_map, list_object
from steps import sleeper, steps

SERVICES = [
    greeter,
    counter,
    gate,
    events,
    steps,
    sleeper,
    caller,
    proxy,
    list_object,
    eager_map,
    lazy_map,
    holder,
    awaiter,
    combine,
    blocker,
    tree,
    signals,
    non_det,
    interpreter,
]


def end_at_signals() -> None:
    """Ends the process at SIGINT and SIGTERM, as the other languages' services do.

    The SDK and the server each install a handler for SIGTERM on the event loop, where the later one replaces the
    earlier. A thread that waits for the blocked signals depends on neither.
    """
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    threading.Thread(target=lambda: os._exit(128 + signal.sigwait(signals)), daemon=True).start()


def main() -> None:
    end_at_signals()
    identity_key = os.environ.get("IDENTITY_KEY")
    identity_keys = [identity_key] if identity_key else None
    http1 = os.environ.get("HTTP1") == "1"
    app = restate.app(services=SERVICES, identity_keys=identity_keys, protocol="request_response" if http1 else "bidi")

    # Bound here, so that the port is known before the server takes over; connections wait in the backlog until then.
    listener = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "0"))), backlog=1024)
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.errorlog = "-"
    config.loglevel = "WARNING"
    # Tests keep many attempts on few connections.
    config.h2_max_concurrent_streams = 1000
    print("ready", listener.getsockname()[1], flush=True)
    # The server takes the descriptor over.
    listener.detach()
    asyncio.run(serve(app, config))


if __name__ == "__main__":
    main()
