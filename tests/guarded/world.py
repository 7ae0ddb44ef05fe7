"""A whole gateway under rails that ask a scripted guard over HTTP.

async with guarded({"kind": "llama_guard"}, server) as world:   # within `asyncio.run`
    found = await world.checked({"input": "hello"})
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from in_hand import GatewayInHand, InHand
from railed.world import Answer
from serving import PATIENCE_S
from talking import CHAT

from guarded.server import Guard
from tidegate.config import parse_text
from tidegate.gateway import Gateway
from tidegate.http.app import create_app
from tidegate.http.edge.server import EdgeServer
from tidegate.ports import Detects
from tidegate.runtime import Runtime
from tidegate.types import Record

GUARD = "guard"
"""The name of the guard's model and engine."""


@dataclass
class GuardedWorld:
    """The gateway, and the records of the calls that have ended."""

    in_hand: GatewayInHand
    logged: list[Record] = field(default_factory=list)

    @property
    def gateway(self) -> Gateway:
        return self.in_hand.gateway

    def send(self, body: Any, *headers: str, path: str = CHAT) -> InHand:
        """Send a request, and do not wait for its answer."""
        data = json.dumps(body).encode()
        client = self.in_hand.connect()
        client.begin(len(data), "connection: close", *headers, path=f"/v1/{path}")
        client.send(data)
        return client

    async def ask(self, body: Any, *headers: str, path: str = CHAT) -> Answer:
        """Send a request and return its answer."""
        client = self.send(body, *headers, path=path)
        async with asyncio.timeout(PATIENCE_S):
            while client.wire.closed_at is None:
                await asyncio.sleep(0.002)
        return Answer(client)

    async def checked(self, body: Any) -> dict[str, Any]:
        """Return what `POST /v1/checks` says of texts."""
        answer = await self.ask(body, path="checks")
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json
        return found


@asynccontextmanager
async def guarded(
    rails: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    server: Guard,
    *,
    profile: Mapping[str, Any] | None = None,
    profiles: Mapping[str, Any] | None = None,
    section: Mapping[str, Any] | None = None,
    engine: Mapping[str, Any] | None = None,
    detector: Detects | None = None,
    **sections: Any,
) -> AsyncGenerator[GuardedWorld]:
    """Run a gateway whose callers are under these rails. Rails that ask a model ask the guard.

    Clients' own calls, for the model `m`, are answered by the scripted engine. `engine` has further settings of the
    guard's engine, `section` those of the section `rails`. `detector` takes the place of the real one.
    """
    listed = [rails] if isinstance(rails, Mapping) else list(rails)
    tree = {
        "engines": {
            "script": {"kind": "scripted"},
            GUARD: {"kind": "vllm", "url": server.base_url, "probe": "none", **(engine or {})},
        },
        "models": {
            "m": {"deployments": [{"engine": "script"}]},
            GUARD: {"deployments": [{"engine": GUARD}]},
        },
        "rails": {
            **(section or {}),
            "profiles": {"p": {"rails": listed, **(profile or {})}, **(profiles or {})},
        },
        "policies": {"default": {"rails": "p"}},
        **sections,
    }
    config = parse_text(json.dumps(tree), source="the test")
    runtime = Runtime()
    if detector is not None:
        runtime.detector = detector
    async with Gateway(config, runtime=runtime) as gateway:
        world = GuardedWorld(GatewayInHand(gateway, EdgeServer(create_app(gateway), config.server)))
        finished = runtime.metrics.finished

        def note(record: Record) -> None:
            world.logged.append(record)
            finished(record)

        runtime.metrics.finished = note  # type: ignore[method-assign]
        yield world
