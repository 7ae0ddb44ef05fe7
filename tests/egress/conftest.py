"""The roads as a fixture: a test that asks for one runs over all four."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from egress import servers
from egress.roads import Road


@pytest.fixture(params=["plain", "tls", "proxy", "tunnel"])
async def road(request: pytest.FixtureRequest) -> AsyncIterator[Road]:
    async with AsyncExitStack() as stack:
        road = Road(request.param, stack)
        if road.name in ("proxy", "tunnel"):
            relay = await stack.enter_async_context(servers.serve(servers.proxy))
            road.proxy_url = f"http://user:secret@127.0.0.1:{relay.port}"
        yield road
