"""A gateway in a process of its own, with a chosen queue: python -m chaos.serving_process CONFIG QUEUE."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from pathlib import Path

import uvloop

from chaos.fifo import queue_named
from tidegate.config import load
from tidegate.gateway import Gateway
from tidegate.http.edge.server import bind
from tidegate.http.serving import GatewayServer
from tidegate.runtime import Runtime


async def main(path: Path, queue: str) -> None:
    config = load(path)
    runtime = Runtime()
    if (other := queue_named(queue, time.monotonic)) is not None:
        runtime.queue = other
    listener = bind(config.server)
    async with Gateway(config, runtime=runtime) as gateway:
        server = GatewayServer(gateway, listener)

        def stop() -> None:
            gateway.stop_calls()
            server.should_exit = server.force_exit = True

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        print(f"serving on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        await server.serve([listener])


if __name__ == "__main__":
    # Refusals by the thousand are what is measured here, and not their lines on a terminal.
    logging.basicConfig(level=logging.ERROR)
    uvloop.run(main(Path(sys.argv[1]), sys.argv[2]))
