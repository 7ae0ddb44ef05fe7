"""Seats: judges and answers on one engine with few seats, and the configurations in which they could wait in a circle."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from canned import Heard, whole
from railed.world import Step, chat, railed, read, says
from virtual import run

from guarded.examples import verdict
from guarded.server import Part, guard
from guarded.world import GUARD, guarded
from tidegate.cli.check import _cannot_start
from tidegate.errors import ConfigError
from tidegate.policy import plans_of
from tidegate.rails.asked.seating import crowded
from tidegate.types import Ask, Record

CLIENTS, SEATS = 32, 4
IN = {"kind": "self_check", "name": "in", "surfaces": ["input"], "cache_s": 0}
OUT = {"kind": "judge_commitments", "name": "out", "cache_s": 0}
WORDS = ["The shop opens at nine. ", "We close at five. ", "On Sundays we are closed. "]


def judged(record: Record) -> Counter[str]:
    """The tokens of the calls of a record by purpose."""
    found: Counter[str] = Counter()
    for one in record.spent:
        if one.usage is not None:
            found[one.purpose] += one.usage.prompt_tokens + one.usage.completion_tokens
    return found


@pytest.mark.parametrize("race", [False, True])
def test_judges_and_answers_share_an_engine(race: bool) -> None:
    async def main() -> None:
        engine = {"kind": "scripted", "max_in_flight": SEATS, "reserved_seats": 1, "adapts": False}
        rails = [{**one, "model": "m"} for one in (IN, OUT)]
        more: dict[str, Any] = {"profile": {"race": race}, "section": {"judge_budget_ms": 300_000}}
        most = 0
        async with railed(rails, engines={"script": engine}, **more) as world:

            def respond(ask: Ask) -> Iterable[Step]:
                nonlocal most
                most = max(most, sum(one.state == "running" for one in world.engine.asked))
                if ask.stream:
                    return says(*WORDS, itl_s=0.05, usage=True)(ask)
                return says('{"verdict": "no"}', ttft_s=0.2)(ask)

            world.engine.says = respond
            clients = [world.ask(chat(f"When, {at}?", stream=True)) for at in range(CLIENTS)]
            for answer in await asyncio.gather(*clients):
                assert answer.status == 200, answer.body
                assert answer.text == "".join(WORDS)
                assert answer.is_done
            assert most == SEATS
            assert len(world.logged) == CLIENTS
            for record in world.logged:
                tokens = judged(record)
                assert tokens.keys() == {"answer", "judge:in", "judge:out"}
                assert all(tokens.values())

    run(main())


def test_checks_wait_for_a_seat_of_a_busy_guard_without_reserved_ones() -> None:
    async def main() -> None:
        engine = {"kind": "scripted", "max_in_flight": SEATS, "adapts": False}
        more: dict[str, Any] = {"section": {"judge_budget_ms": 300_000}}
        async with railed([{**IN, "model": "m"}], engines={"script": engine}, **more) as world:
            world.engine.says = says('{"verdict": "no"}', ttft_s=0.2)
            clients = [world.ask(chat(f"When, {at}?")) for at in range(CLIENTS)]
            for answer in await asyncio.gather(*clients):
                assert (answer.status, answer.finish) == (200, {0: "stop"}), answer.body

    run(main())


def test_judges_and_answers_share_an_engine_over_http() -> None:
    def respond(heard: Heard) -> list[Part]:
        body = json.loads(heard.body)
        if not body.get("stream"):
            return [whole(json.dumps(verdict("no")).encode())]
        events = [
            {"id": "g", "object": "chat.completion.chunk", "created": 1, "model": GUARD, "choices": [one]}
            for one in (
                *({"index": 0, "delta": {"content": word}, "finish_reason": None} for word in WORDS),
                {"index": 0, "delta": {}, "finish_reason": "stop"},
            )
        ]
        data = b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in events) + b"data: [DONE]\n\n"
        return [whole(data).replace(b"application/json", b"text/event-stream", 1)]

    async def main() -> None:
        rails = [{**one, "model": GUARD} for one in (IN, OUT)]
        engine = {"max_in_flight": SEATS, "reserved_seats": 1, "adapts": False}
        section = {"judge_budget_ms": 300_000}
        with guard(respond) as server:
            async with guarded(rails, server, engine=engine, section=section) as world:
                body = {"model": GUARD, "messages": [{"role": "user", "content": "When?"}], "stream": True}
                for answer in await asyncio.gather(*(world.ask(body) for _ in range(CLIENTS))):
                    assert answer.status == 200, answer.body
                    assert answer.text == "".join(WORDS)
                purposes = Counter(one.purpose for record in world.logged for one in record.spent)
                assert purposes["answer"] == purposes["judge:in"] == CLIENTS
                assert purposes["judge:out"] >= CLIENTS
                tokens = sum((judged(record) for record in world.logged), Counter[str]())
                assert tokens["judge:in"] == 203 * CLIENTS

    asyncio.run(main())


# --------------------------------------------------------------------------------------------- what is told at the start


def problems(
    engine: dict[str, Any], *rails: dict[str, Any], judge: str = "m", slots: int | None = None, **more: Any
) -> list[str]:
    tree = {
        "engines": {
            "e": {"kind": "vllm", "url": "http://localhost:1/v1", **engine},
            "free": {"kind": "vllm", "url": "http://localhost:2/v1"},
        },
        "models": {"m": {"deployments": [{"engine": "e"}]}, "j": {"deployments": [{"engine": "free"}]}},
        "rails": {
            "profiles": {
                "p": {"rails": [{"model": judge, **one} for one in rails], **more.pop("profile", {})}
            }
        },
        "policies": {"default": {"rails": "p"}},
        **more,
    }
    config = read(tree)
    return [f"{one.path}: {one.message}" for one in crowded(config, plans_of(config), {"e": slots}.get)]


@pytest.mark.parametrize(
    ("engine", "more"),
    [
        ({"max_in_flight": 4}, {}),
        ({"max_in_flight": 1}, {}),
        ({}, {"slots": 4}),
        ({"reserved_seats": 1}, {"slots": 1}),
        ({"max_in_flight": 4}, {"judge": "m", "policies": {"default": {"rails": "p", "models": ["m*"]}}}),
        ({"max_in_flight": 4}, {"policies": {"default": {"rails": "none", "stricter_rails": ["p"]}}}),
    ],
)
def test_an_engine_without_a_seat_for_judges_of_streams_is_told(
    engine: dict[str, Any], more: dict[str, Any]
) -> None:
    [told] = problems(engine, OUT, **more)
    assert told.startswith("engines.e.reserved_seats: the rail 'out' of the profile 'p' asks the model 'm'")
    assert (
        "set reserved_seats to 1 or more and max_in_flight to 2 or more, or `hold: whole` for the rail"
        in told
    )


def test_an_engine_without_a_seat_for_judges_that_race_is_told() -> None:
    [told] = problems({"max_in_flight": 4}, IN, profile={"race": True})
    assert "`race: false` for the profile" in told


@pytest.mark.parametrize(
    ("engine", "rail", "more"),
    [
        ({"max_in_flight": 4, "reserved_seats": 1}, OUT, {}),
        ({"max_in_flight": 4}, {**OUT, "hold": "whole"}, {}),
        ({"max_in_flight": 4}, IN, {}),
        ({"max_in_flight": 4}, OUT, {"judge": "j"}),
        ({"max_in_flight": 4}, OUT, {"policies": {"default": {"rails": "p", "models": ["j"]}}}),
        ({"max_in_flight": 4}, OUT, {"policies": {"default": {"rails": "none"}}}),
        ({}, OUT, {}),
    ],
)
def test_others_are_fine(engine: dict[str, Any], rail: dict[str, Any], more: dict[str, Any]) -> None:
    assert problems(engine, rail, **more) == []


def test_the_gateway_does_not_start_and_check_says_so() -> None:
    async def main() -> None:
        engines = {"script": {"kind": "scripted", "max_in_flight": 4}}
        async with railed([{**OUT, "model": "m"}], engines=engines):
            pass

    with pytest.raises(ConfigError, match=r"engines\.script\.reserved_seats"):
        run(main())
    tree = {
        "engines": {"script": {"kind": "scripted", "slots": 4}},
        "models": {"m": {"deployments": [{"engine": "script"}]}},
        "rails": {"profiles": {"p": {"rails": [{**OUT, "model": "m"}]}}},
        "policies": {"default": {"rails": "p"}},
    }
    [told] = _cannot_start(read(tree))
    assert told.path == "engines.script.reserved_seats"
