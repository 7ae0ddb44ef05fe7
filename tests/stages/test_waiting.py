"""Calls that wait for quota: when they are called, in which order, how many there may be, and what refused ones hear."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from in_hand import InHand, until
from limited import ANN, BOB, KEYS, Answered, Limited, limited, sections, tree
from talking import chat
from virtual import run

from tidegate.config import parse_text

WAIT = {"on_limit": "wait"}


async def answered(client: InHand) -> Answered:
    await until(lambda: client.wire.closed_at is not None, "the answer")
    return Answered(client)


def waiting(one: Limited) -> int:
    return one.gateway.runtime.quotas.lines.waiting


def many_keys(count: int, **of_each: str) -> dict[str, Any]:
    return {f"k{at}": {"secret": f"the-secret-of-key-{at}", **of_each} for at in range(count)}


def secret(at: int) -> str:
    return f"the-secret-of-key-{at}"


# ------------------------------------------------------------------------------------------- called when something is back


@pytest.mark.parametrize("deadline_s", [None, 30, 3])
@pytest.mark.parametrize(
    "limits", [{"tokens_per_minute": 6000}, {"tokens_per_minute": 6000, "burst_tokens": 50}]
)
def test_a_call_is_answered_when_an_earlier_one_gives_back_what_it_did_not_use(
    limits: Mapping[str, int], deadline_s: float | None
) -> None:
    async def scene() -> None:
        policy = WAIT | ({"defaults": {"deadline_s": deadline_s}} if deadline_s else {})
        async with limited(limits, policy=policy) as one:
            body = chat("ttft=1000 tokens=3", max_tokens=5500)
            first, second = one.send(body), one.send(body)
            assert (await answered(first)).status == 200
            assert (await answered(second)).status == 200
            assert one.now < 2.5

    run(scene())


def test_all_calls_of_a_line_are_answered_as_earlier_ones_give_back() -> None:
    async def scene() -> None:
        async with limited({"tokens_per_minute": 6000}, policy=WAIT) as one:
            clients = [one.send(chat("ttft=1000 tokens=3", max_tokens=5500)) for _ in range(6)]
            times = list[float]()
            for client in clients:
                assert (await answered(client)).status == 200
                times.append(one.now)
            assert [round(time) for time in times] == [1, 2, 3, 4, 5, 6]

    run(scene())


@pytest.mark.parametrize("calls", [1, 3])
def test_a_call_that_waits_for_another_to_end_is_called_at_that_moment(calls: int) -> None:
    async def scene() -> None:
        async with limited({"concurrent_calls": calls}, policy=WAIT) as one:
            clients = [one.send(chat("ttft=1000")) for _ in range(4 * calls)]
            for at, client in enumerate(clients):
                assert (await answered(client)).status == 200
                assert one.now == pytest.approx(1 + at // calls, abs=0.1)

    run(scene())


def test_a_client_that_leaves_calls_the_next_one() -> None:
    async def scene() -> None:
        async with limited({"concurrent_calls": 1}, policy=WAIT) as one:
            clients = [one.send(chat("ttft=60000")), *[one.send(chat()) for _ in range(3)]]
            await until(lambda: waiting(one) == 3, "the line")
            clients[1].wire.abort()  # the first of the line
            await until(lambda: waiting(one) == 2, "its leaving")
            clients[0].wire.abort()
            assert [(await answered(client)).status for client in clients[2:]] == [200, 200]
            assert one.now < 1

    run(scene())


def test_a_call_that_was_called_and_left_at_once_passes_it_on() -> None:
    async def scene() -> None:
        async with limited({"concurrent_calls": 1}, policy=WAIT) as one:
            first, second, third = (
                one.send(chat("ttft=60000")),
                one.send(chat("ttft=60000")),
                one.send(chat()),
            )
            await until(lambda: waiting(one) == 2, "the line")
            first.wire.abort()
            second.wire.abort()
            assert (await answered(third)).status == 200
            assert one.now < 1

    run(scene())


def test_a_small_call_of_another_key_does_not_wait_for_a_large_one() -> None:
    async def scene() -> None:
        policies = {"team": {"limits": {"tokens_per_minute": 6000}}, "default": WAIT}
        names = tree(team="team")
        more = {"policies": {**policies, "team": {**policies["team"], **WAIT}}, "organisations": names}
        async with limited(sections=more) as one:
            assert (await one.ask(chat("tokens=900", max_tokens=900))).status == 200
            running = one.send(chat("ttft=2000 tokens=3", max_tokens=4000))  # when the bucket is full again
            large = one.send(chat(max_tokens=5900))
            await until(lambda: waiting(one) == 2, "the line")
            small = one.send(chat(max_tokens=10), BOB)
            assert (await answered(small)).status == 200
            assert one.now < 15
            assert running.wire.closed_at is None or one.now > 3
            assert (await answered(running)).status == (await answered(large)).status == 200

    run(scene())


def test_a_settlement_tries_few_calls_however_many_keys_wait() -> None:
    async def scene() -> None:
        keys = many_keys(300)
        for at in range(300):
            keys[f"k{at}"]["organisation"] = f"o{at % 7}"
        models = {"*": {"deployments": [{"engine": "script"}], "limits": {"concurrent_calls": 2}}}
        more = {"keys": keys, "models": models, "organisations": {f"o{at}": {} for at in range(7)}}
        async with limited(policy=WAIT, sections=more) as one:
            limiter, tries = one.gateway.runtime.quotas.limiter, 0
            reserve = limiter.reserve

            def counted(*args: Any, **named: Any) -> Any:
                nonlocal tries
                tries += 1
                return reserve(*args, **named)

            limiter.reserve = counted  # type: ignore[method-assign]
            clients = [one.send(chat("ttft=100"), secret(at)) for at in range(300)]
            for client in clients:
                assert (await answered(client)).status == 200
            assert one.now < 300 / 2 * 0.1 + 2
            assert tries < 300 * 8

    run(scene())


# ------------------------------------------------------------------------------------------------------- the deadline


@pytest.mark.parametrize(
    ("limits", "marker"),
    [
        ({"concurrent_calls": 1}, "ttft=60000"),
        ({"tokens_per_minute": 6000}, "ttft=60000"),
        ({"tokens_per_minute": 6000, "concurrent_calls": 1}, "ttft=60000"),
    ],
)
def test_a_call_for_which_nothing_comes_back_is_refused_before_its_deadline(
    limits: Mapping[str, int], marker: str
) -> None:
    async def scene() -> None:
        async with limited(limits, policy=WAIT | {"defaults": {"deadline_s": 20}}) as one:
            first = one.send(chat(marker, max_tokens=5500))
            await asyncio.sleep(10)
            others = [one.send(chat(max_tokens=5500)) for _ in range(3)]
            await answered(first)
            began = one.now
            for other in others:
                refused = await answered(other)
                assert refused.status in (200, 429)
                if refused.status == 429:
                    assert refused.error["code"] == "rate_limit_exceeded"
                    assert int(refused.headers["retry-after-ms"]) > 0
            assert one.now <= max(began, 30)

    run(scene())


def test_every_call_that_waits_in_vain_is_told_of_the_limit() -> None:
    async def scene() -> None:
        long = {"default": {"limits": {"concurrent_calls": 1}, **WAIT, "defaults": {"deadline_s": 5}}}
        async with limited(sections={"policies": long}) as one:
            holders = [one.send(chat("ttft=4000"))]
            await asyncio.sleep(1)
            clients = [one.send(chat("ttft=10000")) for _ in range(5)]
            statuses = [(await answered(client)).status for client in clients]
            assert Answered(holders[0]).status == 200
            assert statuses == [504, 429, 429, 429, 429]  # the first of them got the place and was too slow
            assert one.now < 6.5

    run(scene())


def test_nothing_in_flight_and_a_time_after_the_deadline_is_refused_at_once() -> None:
    async def scene() -> None:
        async with limited({"tokens_per_minute": 600}, policy=WAIT | {"defaults": {"deadline_s": 10}}) as one:
            assert (await one.ask(chat("tokens=500", max_tokens=500))).status == 200
            began = one.now
            refused = await one.ask(chat(max_tokens=500))
            assert refused.status == 429
            assert 30_000 < int(refused.headers["retry-after-ms"]) < 70_000
            assert one.now - began < 1

    run(scene())


def test_no_call_waits_for_the_next_day() -> None:
    async def scene() -> None:
        async with limited({"tokens_per_day": 1000}, policy=WAIT) as one:
            running = one.send(chat("ttft=1000", max_tokens=900))
            await asyncio.sleep(0.5)
            assert (await one.ask(chat(max_tokens=900))).status == 429
            assert (await answered(running)).status == 200

    run(scene())


# ---------------------------------------------------------------------------------------------------- lines and their order


def test_a_call_does_not_wait_behind_one_that_waits_at_a_limit_which_it_does_not_meet() -> None:
    async def scene() -> None:
        deployments = {"deployments": [{"engine": "script"}]}
        models = {"a": {**deployments, "limits": {"concurrent_calls": 1}}, "b": deployments}
        policy = WAIT | {"limits": {"requests_per_minute": 600, "concurrent_calls": 10}}
        async with limited(sections={"models": models, "policies": {"default": policy}}) as one:
            clients = [one.send(chat("ttft=5000", model="a")) for _ in range(3)]
            await until(lambda: waiting(one) == 2, "the line")
            assert [(await one.ask(chat(model="b"))).status for _ in range(3)] == [200] * 3
            assert one.now < 1
            assert [(await answered(client)).status for client in clients] == [200] * 3

    run(scene())


def test_a_later_call_of_a_key_does_not_overtake_at_the_same_limit() -> None:
    async def scene() -> None:
        async with limited({"tokens_per_minute": 6000, "burst_tokens": 1000}, policy=WAIT) as one:
            assert (await one.ask(chat("tokens=900", max_tokens=900))).status == 200
            large = one.send(chat(max_tokens=950))
            await until(lambda: waiting(one) == 1, "the line")
            small = one.send(chat(max_tokens=1))
            await answered(large)
            assert small.wire.closed_at is None or one.now > 5
            assert (await answered(small)).status == 200

    run(scene())


@pytest.mark.parametrize(
    "limits", [{"concurrent_calls": 1}, {"requests_per_minute": 60, "burst_requests": 1}]
)
def test_keys_at_one_limit_take_turns(limits: Mapping[str, int]) -> None:
    async def scene() -> None:
        team = {"team": {"limits": limits, **WAIT}}
        names = tree(team="team")
        async with limited(sections={"policies": team, "organisations": names}) as one:
            anns = [one.send(chat("ttft=1000")) for _ in range(9)]
            await until(lambda: waiting(one) == 8, "the line")
            bobs = [one.send(chat("ttft=1000"), BOB) for _ in range(2)]
            for bob in bobs:
                assert (await answered(bob)).status == 200
            assert one.now < 6.5
            for ann in anns:
                assert (await answered(ann)).status == 200
            assert one.now < 13

    run(scene())


def test_a_reload_to_a_lower_rate_holds_for_the_calls_that_wait() -> None:
    async def scene() -> None:
        async with limited({"requests_per_minute": 60, "burst_requests": 1}, policy=WAIT) as one:
            old = [one.send(chat()) for _ in range(10)]
            await asyncio.sleep(0.5)
            await reload(one, {"requests_per_minute": 6, "burst_requests": 1}, **WAIT)
            new = [one.send(chat()) for _ in range(3)]
            await asyncio.sleep(60)
            done = [client for client in [*old, *new] if client.wire.closed_at is not None]
            assert 5 <= len(done) <= 1 + 7
            for client in [*old, *new]:
                client.wire.abort()

    run(scene())


def test_a_reload_to_a_higher_rate_reaches_the_calls_that_wait() -> None:
    async def scene() -> None:
        async with limited({"requests_per_minute": 1, "burst_requests": 1}, policy=WAIT) as one:
            old = [one.send(chat()) for _ in range(3)]
            await asyncio.sleep(0.5)
            await reload(one, {"requests_per_minute": 600, "burst_requests": 10}, **WAIT)
            assert (await one.ask(chat(), BOB)).status == 200
            fresh = one.send(chat())
            for client in [*old, fresh]:
                assert (await answered(client)).status == 200
            assert one.now < 12

    run(scene())


async def reload(one: Limited, limits: Mapping[str, Any], **policy: Any) -> None:
    tree = {
        "engines": {"script": {"kind": "scripted"}},
        "models": {"*": {"deployments": [{"engine": "script"}]}},
        **sections(limits, **policy),
    }
    one.gateway.put_in_force(await one.gateway.prepare(parse_text(json.dumps(tree), source="the test")))


# --------------------------------------------------------------------------------------------------------- room to wait


async def fill(one: Limited, keys: Sequence[int], calls: int) -> list[InHand]:
    """Send calls that never end: one runs for each key, and the others wait."""
    clients = [one.send(chat("ttft=500000"), secret(at)) for at in keys for _ in range(calls + 1)]
    await asyncio.sleep(2)
    return clients


def test_a_full_line_of_a_key_and_of_an_organisation_are_told_apart() -> None:
    async def scene() -> None:
        keys = many_keys(10, organisation="acme") | {"bob": {"secret": BOB, "organisation": "other"}}
        more = {"keys": keys, "organisations": {"acme": {}, "other": {}}}
        async with limited({"concurrent_calls": 1}, policy=WAIT, sections=more) as one:
            await fill(one, [0], 100)
            refused = await one.ask(chat(), secret(0))
            assert (refused.status, refused.error["param"]) == (429, "key.waiting_calls")
            assert "100 calls of this key already wait" in refused.error["message"]
            assert "Send fewer calls at once" in refused.error["message"]
            await fill(one, range(1, 10), 99)
            assert waiting(one) == 500
            refused = await one.ask(chat(), secret(9))
            assert (refused.status, refused.error["param"]) == (429, "organisation.waiting_calls")
            assert "500 calls of this organisation already wait" in refused.error["message"]
            assert refused.headers["retry-after"] == "2"
            assert 1000 <= int(refused.headers["retry-after-ms"]) <= 2000
            assert refused.headers.get("x-should-retry") != "false"
            # Another organisation finds room.
            running = one.send(chat("ttft=1000"), BOB)
            waits = one.send(chat(), BOB)
            assert (await answered(running)).status == (await answered(waits)).status == 200
            page = (await one.gateway.scrape()).decode()
            assert 'quota_refusals_total{dimension="waiting_calls",level="key"} 1.0' in page
            assert 'quota_refusals_total{dimension="waiting_calls",level="organisation"}' in page
            assert "quota_waiting 500.0" in page

    run(scene())


def test_keys_without_an_organisation_leave_room_for_one_another() -> None:
    async def scene() -> None:
        more = {"keys": many_keys(14), "organisations": {}}
        async with limited({"concurrent_calls": 1}, policy=WAIT, sections=more) as one:
            await fill(one, range(13), 100)
            assert 900 < waiting(one) < 1000
            running = one.send(chat("ttft=1000"), secret(13))
            waits = one.send(chat(), secret(13))
            assert (await answered(running)).status == (await answered(waits)).status == 200

    run(scene())


@pytest.mark.parametrize("on_limit", ["refuse", "wait"])
def test_a_call_refused_for_concurrent_calls_is_told_a_time_at_random(on_limit: str) -> None:
    async def scene() -> None:
        policy = {"on_limit": on_limit, "defaults": {"deadline_s": 20}}
        async with limited({"concurrent_calls": 1}, policy=policy) as one:
            times: set[int] = set()
            one.send(chat("ttft=100000"))
            await asyncio.sleep(10)  # the others have a later deadline
            for client in [one.send(chat("ttft=100000")) for _ in range(6)]:
                refused = await answered(client)
                if refused.status == 429:
                    times.add(int(refused.headers["retry-after-ms"]))
                    assert refused.headers["retry-after"] == "2"
            assert len(times) > 3
            assert all(1000 < time <= 2000 for time in times)

    run(scene())


def test_no_key_is_left_over_when_nobody_waits() -> None:
    async def scene() -> None:
        async with limited({"concurrent_calls": 1}, policy=WAIT) as one:
            clients = [one.send(chat("ttft=100"), key) for key in (ANN, BOB) for _ in range(5)]
            clients[3].wire.abort()
            for client in clients[:3] + clients[4:]:
                assert (await answered(client)).status == 200
            lines = one.gateway.runtime.quotas.lines
            assert (lines.waiting, lines._at, lines._of) == (0, {}, {})
            assert KEYS

    run(scene())
