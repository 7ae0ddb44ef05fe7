"""A gateway with a scripted engine whose callers have limits, on the clock of the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from in_hand import GatewayInHand, InHand, gateway_in_hand, until

ANN = "ann-sends-this-key"
BOB = "bob-sends-this-key"
KEYS = {
    "ann": {"secret": ANN, "organisation": "acme", "team": "blue", "user": "ann"},
    "bob": {"secret": BOB, "organisation": "acme", "team": "blue"},
}


def sections(limits: Mapping[str, Any] | None = None, **policy: Any) -> dict[str, Any]:
    """Keys of two members of a team. Both have the policy `default`, and so each has its limits for itself."""
    named = {"limits": limits} if limits is not None else {}
    return {"keys": KEYS, "policies": {"default": {**named, **policy}}, "organisations": tree()}


def tree(**policies: str) -> dict[str, Any]:
    def named(level: str) -> dict[str, str]:
        return {"policy": policies[level]} if level in policies else {}

    users = {"ann": named("user")}
    return {"acme": {**named("organisation"), "teams": {"blue": {**named("team"), "users": users}}}}


class Limited:
    """A gateway whose callers have limits."""

    def __init__(self, gateway: GatewayInHand) -> None:
        self.in_hand = gateway
        self.gateway = gateway.gateway
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    @property
    def now(self) -> float:
        """The seconds since the gateway was started."""
        return self._loop.time() - self._began

    def send(self, body: bytes, key: str = ANN) -> InHand:
        client = self.in_hand.connect()
        client.post(body, f"authorization: Bearer {key}", "connection: close")
        return client

    async def ask(self, body: bytes, key: str = ANN) -> Answered:
        client = self.send(body, key)
        await until(lambda: client.wire.closed_at is not None, "the answer")
        return Answered(client)

    def used(self) -> dict[str, int]:
        found = self.gateway.runtime.quotas.limiter.consumption()
        return {f"{one.limit.level} {one.limit.dimension}": one.used for one in found}


class Answered:
    def __init__(self, client: InHand) -> None:
        head, _, self.body = client.received.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])
        }
        if self.headers.get("transfer-encoding") == "chunked":
            self.body = unchunked(self.body)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]


def unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        whole, body = whole + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return whole


@asynccontextmanager
async def limited(limits: Mapping[str, Any] | None = None, **more: Any) -> AsyncIterator[Limited]:
    tree = sections(limits, **more.pop("policy", {})) | more.pop("sections", {})
    async with gateway_in_hand(sections=tree, **more) as gateway:
        yield Limited(gateway)
