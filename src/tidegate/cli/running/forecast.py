"""Asks a running gateway what a request would have to expect in its queue, for `tidegate check --explain`."""

from __future__ import annotations

import asyncio

import msgspec

from tidegate.cli.explain import Explained
from tidegate.cli.running.admin import GatewayFailed, RunningGateway
from tidegate.cli.running.queue import asking, read_queue
from tidegate.dispatch.forecast import Outlook

OPTION = "--gateway"


def foretold(told: Explained, url: str) -> Explained:
    """Return the explanation with what the gateway at a URL foretells. Raises GatewayFailed."""
    queued = told.queue
    if queued is None:
        return told
    path = asking(
        model=told.model, priority=queued.priority, tenant=queued.tenant or None, tokens=round(queued.work)
    )
    found = asyncio.run(_ask(RunningGateway(url, option=OPTION), path))
    if (found.wait_s or 0.0) > queued.refused_over_s and not found.refused:
        # The gateway does not know the deadline of the call.
        found = msgspec.structs.replace(found, refused="wait")
    return msgspec.structs.replace(told, queue=msgspec.structs.replace(queued, forecast=found))


async def _ask(gateway: RunningGateway, path: str) -> Outlook:
    try:
        found = read_queue(await gateway.get(path)).forecast
    finally:
        await gateway.close()
    if found is None:
        raise GatewayFailed(f"{gateway.url} has no forecast now: none of its workers answered")
    return found
