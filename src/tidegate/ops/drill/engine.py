"""One scripted engine as a process of its own: python -m tidegate.ops.drill.engine PORT TTFT_MS ITL_MS.

The process prints its address. Each line of standard input has options of the script, such as `ttft=1200 itl=150`, which
hold from then on; a line may be empty. The answer to each line is the number of requests so far. The process ends when its
input ends, so it does not outlive the drill.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

from tidegate.engines.scripted.script import Script, override, read_options
from tidegate.engines.scripted.server import ScriptedServer


async def main(port: int, script: Script) -> None:
    """Serve until the end of standard input."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    server = ScriptedServer(script=script, port=port)
    await server.start()
    try:
        _tell(server.url)
        async for line in reader:
            server.script = override(server.script, read_options(line.decode()))
            _tell(str(server.record.requests))
    finally:
        await server.stop()


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    at, ttft_ms, itl_ms = sys.argv[1:]
    # `max_tokens` of each request ends its answer.
    answers = Script(ttft_ms=float(ttft_ms), itl_ms=float(itl_ms), tokens=1000)
    uvloop.run(main(int(at), answers))
