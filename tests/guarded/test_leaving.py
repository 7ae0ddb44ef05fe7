"""Calls that end while a guard is asked: by their client, by another rail, or as the last ones of a configuration."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from in_hand import InHand, until

from guarded.server import answers, chat, guard, silent
from guarded.world import GUARD, guarded
from tidegate.config import parse_text
from tidegate.rails.remote.service import Service

HELLO = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
LLAMA_GUARD = {"kind": "llama_guard", "model": GUARD}


def _leave(client: InHand) -> None:
    client.wire.abort()


@pytest.mark.parametrize("race", [False, True])
@pytest.mark.parametrize("rail", [LLAMA_GUARD, {"kind": "self_check", "model": GUARD, "votes": 3}])
def test_a_client_that_leaves_ends_the_call_of_the_guard(rail: dict[str, Any], race: bool) -> None:
    asked = rail.get("votes", 1)

    async def run() -> None:
        with guard(silent) as server:
            async with guarded(
                rail, server, profile={"race": race}, engine={"max_in_flight": 4, "reserved_seats": 3}
            ) as world:
                snapshot = world.gateway.snapshot
                seats = snapshot.engines[GUARD].seats
                client = world.send(HELLO)
                await until(lambda: len(server.heard) == asked, "the guard is asked")
                assert seats.in_flight == asked
                _leave(client)
                await until(lambda: seats.in_flight == 0 and snapshot.calls == 0, "all has ended")

    asyncio.run(run())


def test_a_block_ends_the_calls_of_the_other_guards() -> None:
    def says(heard: Any) -> Any:
        is_second = b"BAD" in heard.body
        return answers(chat("unsafe\nS1"))(heard) if is_second else silent(heard)

    async def run() -> None:
        with guard(says) as server:
            async with guarded(LLAMA_GUARD, server) as world:
                talk = [{"role": "user", "content": "hello"}, {"role": "user", "content": "BAD"}]
                assert (await world.checked({"messages": talk}))["status"] == "blocked"
                snapshot = world.gateway.snapshot
                seats = snapshot.engines[GUARD].seats
                await until(lambda: seats.in_flight == 0 and snapshot.calls == 0, "all has ended")

    asyncio.run(run())


def test_rails_of_a_configuration_are_closed_after_its_last_call(monkeypatch: pytest.MonkeyPatch) -> None:

    closed: list[Service] = []
    close: Callable[[Service], Any] = Service.close

    async def noted(service: Service) -> None:
        closed.append(service)
        await close(service)

    monkeypatch.setattr(Service, "close", noted)

    async def run() -> None:
        with guard(silent) as server:
            rail = {"kind": "nemo_jailbreak", "url": server.base_url, "timeouts": {"total_ms": 60_000}}
            async with guarded(rail, server) as world:
                client = world.send(HELLO)
                await until(lambda: len(server.heard) == 1, "the service is asked")
                tree = {
                    "engines": {"script": {"kind": "scripted"}},
                    "models": {"m": {"deployments": [{"engine": "script"}]}},
                }
                following = await world.gateway.prepare(parse_text(json.dumps(tree), source="the test"))
                world.gateway.put_in_force(following)
                for _ in range(20):
                    await asyncio.sleep(0)
                assert not closed
                _leave(client)
                await until(lambda: len(closed) == 1, "the rail is closed")

    asyncio.run(run())
