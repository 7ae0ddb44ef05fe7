"""A whole gateway, engine included, behind one client connection that is not there."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, Self

from exchanges import Nowhere

from tidegate.config import parse_text
from tidegate.gateway import Gateway
from tidegate.http.app import create_app
from tidegate.http.edge.server import EdgeServer

CONFIG = json.dumps(
    {
        "server": {"port": 0},
        "engines": {"script": {"kind": "scripted", "tokens": 2}},
        "models": {"*": {"deployments": [{"engine": "script"}]}},
    }
)
# A status line is followed by a header; inside JSON no line ends so.
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n(?=[\w-]+: )", re.ASCII)
TURNS = 400
"""Turns of the loop that a client waits for its answers before it leaves."""


class Front:
    """One gateway for many connections, one after the other."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._server = EdgeServer(create_app(gateway))
        self._problems: list[str] = []

    @classmethod
    async def open(cls) -> Self:
        gateway = Gateway(parse_text(CONFIG, source="the edge harness"))
        await gateway.__aenter__()
        front = cls(gateway)
        asyncio.get_running_loop().set_exception_handler(front._on_exception)
        return front

    async def close(self) -> None:
        await self._gateway.__aexit__(None, None, None)

    def _on_exception(self, _: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
        self._problems.append(f"{about.get('message')}: {about.get('exception')!r}")

    async def talk(self, parts: list[bytes], watch: Any) -> str | None:
        """Send, wait a little, leave. What went wrong, or None."""
        transport = Nowhere()
        config, state = self._server.config, self._server.server_state
        protocol: Any = config.http_protocol_class(config=config, server_state=state, app_state={})
        protocol.connection_made(transport)
        for part in parts:
            if transport.closing:
                break
            with watch:
                protocol.data_received(part)
            await asyncio.sleep(0)
        await self._until_answered(TURNS)
        transport.closing = True
        protocol.connection_lost(None)
        await self._until_answered(TURNS)
        return self._judge(b"".join(transport.written), b"".join(parts))

    async def _until_answered(self, turns: int) -> None:
        while turns and self._server.server_state.tasks:
            turns -= 1
            await asyncio.sleep(0)

    def _judge(self, written: bytes, sent: bytes) -> str | None:
        if self._server.server_state.tasks:
            return "the client is gone and its request goes on"
        if self._gateway.live:
            return "a call is never over"
        if self._problems:
            return self._problems.pop(0)
        # A marker in the prompt may ask the scripted engine to fail; 501 is the answer to a strange method.
        failed = [found for found in _STATUS.findall(written) if found >= b"5" and found != b"501"]
        if failed and (b"500" in failed or b"scripted" not in sent):
            return f"status {failed[0].decode()}: {written[-300:]!r}"
        return None
