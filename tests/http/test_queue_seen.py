"""The queue as an operator sees it: `GET /admin/queue`, `/readyz` and the metrics, while calls wait for a busy engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from in_hand import GatewayInHand, InHand, gateway_in_hand, until
from limited import Answered
from prometheus_client.parser import text_string_to_metric_families
from talking import chat
from virtual import run

from tidegate.dispatch.state import QueueState

OPS, CLERK = "ops-sends-this-key", "clerk-sends-this-key"
KEYS = {
    "ann": {"secret": "ann-sends-this-key", "organisation": "acme", "policy": "fast"},
    "bob": {"secret": "bob-sends-this-key", "policy": "slow"},
    "eve": {"secret": "eve-sends-this-key"},
    "ops": {"secret": OPS, "scopes": ["admin:read", "metrics"]},
    "clerk": {"secret": CLERK, "scopes": ["inference", "metrics", "admin:write"]},
}
SECTIONS: dict[str, Any] = {
    "keys": KEYS,
    "policies": {
        "default": {},
        "fast": {"defaults": {"priority": "interactive"}},
        "slow": {"defaults": {"priority": "batch"}},
    },
    "organisations": {"acme": {}},
}
LONG = "ttft=1000 tokens=4"


@asynccontextmanager
async def busy(**queue: Any) -> AsyncIterator[GatewayInHand]:
    """A gateway with one seat, which has served two calls of a second, one of which waited, and now serves a third."""
    sections = SECTIONS | ({"queue": queue} if queue else {})
    async with gateway_in_hand(sections=sections, max_in_flight=1) as gateway:
        await until(gateway.gateway.ready, "the first probe")
        for client in (send(gateway, "eve"), send(gateway, "eve")):
            assert (await answer(client)).status == 200
        send(gateway, "eve")
        await asyncio.sleep(0.1)
        yield gateway


def send(gateway: GatewayInHand, name: str) -> InHand:
    client = gateway.connect()
    client.post(chat(LONG), f"authorization: Bearer {KEYS[name]['secret']}", "connection: close")
    return client


async def answer(client: InHand) -> Answered:
    await until(lambda: client.wire.closed_at is not None, "the answer")
    return Answered(client)


async def get(gateway: GatewayInHand, path: str, key: str = OPS) -> Answered:
    client = gateway.connect()
    head = (
        f"GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
    )
    client.send(head.encode())
    return await answer(client)


async def samples(gateway: GatewayInHand) -> dict[str, float]:
    text = (await get(gateway, "/metrics")).body.decode()
    return {
        f"{sample.name.removeprefix('tidegate_')}{[value for _, value in sorted(sample.labels.items())]}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_waits_is_told_by_class_tenant_and_engine() -> None:
    async def scene() -> None:
        longest = {"interactive": 30, "default": 60, "batch": 600}
        classes = {name: {"longest_wait_s": seconds} for name, seconds in longest.items()}
        async with busy(classes=classes) as gateway:
            clients = [send(gateway, name) for name in ("bob", "ann", "ann", "eve")]
            await asyncio.sleep(0.1)
            page = (await get(gateway, "/admin/queue")).json
            assert (page["state"], page["size"], page["max_size"], page["rejected"]) == (
                "healthy",
                4,
                1000,
                0,
            )
            assert page["utilization"] == 4 / 1000
            assert page["bytes"] == 4 * len(chat(LONG))
            assert (page["workers"], page["silent_workers"], page["forecast"]) == ([], 0, None)
            classes = page["classes"]
            assert [one["class"] for one in classes] == ["interactive", "default", "batch"]
            assert [one["waiting"] for one in classes] == [2, 1, 1]
            assert [one["longest_wait_s"] for one in classes] == [30, 60, 600]
            assert [one["share"] for one in classes] == [0.05] * 3
            assert sum(one["work"] for one in classes) == pytest.approx(page["work"])
            tenants = {(one["tenant"], one["class"]): one["waiting"] for one in page["tenants"]}
            assert tenants == {("acme", "interactive"): 2, ("bob", "batch"): 1, ("eve", "default"): 1}
            assert page["tenants"][0]["tenant"] == "acme"  # the most work first
            (engine,) = page["engines"]
            assert (engine["engine"], engine["in_flight"], engine["waiting"]) == ("script", 1, 4)
            assert (engine["limit"], engine["most"], engine["reserved"], engine["why"]) == (
                1,
                1,
                0,
                "settings",
            )
            assert engine["rate"] > 0
            forecast = {one["class"]: one for one in engine["forecast"]}
            # A tenant of which no call waits goes before the second call of the other one.
            assert [forecast[name]["position"] for name in ("interactive", "default", "batch")] == [2, 4, 5]
            waits = [forecast[name]["wait_s"] for name in ("interactive", "default", "batch")]
            assert waits == sorted(waits)
            assert waits[0] > 1
            for client in clients:
                assert (await answer(client)).status == 200
            page = (await get(gateway, "/admin/queue")).json
            assert (page["size"], page["work"], page["bytes"], page["tenants"]) == (0, 0, 0, [])

    run(scene())


def test_the_forecast_of_one_call_is_what_that_call_then_hears() -> None:
    async def scene() -> None:
        async with busy() as gateway:
            send(gateway, "eve")
            await asyncio.sleep(0.1)
            ask = "/admin/queue?model=m&priority=interactive&tenant=acme&tokens=300"
            told = (await get(gateway, ask)).json["forecast"]
            assert (told["class"], told["position"], told["refused"]) == ("interactive", 1, "")
            ann = send(gateway, "ann")
            header = (await answer(ann)).headers["x-tidegate-queue"]
            heard = dict(one.split("=") for one in header.split(";"))
            assert (heard["class"], heard["position"]) == ("interactive", "1")
            assert float(heard["predicted_ms"]) / 1000 == pytest.approx(told["wait_s"], abs=0.05)

    run(scene())


def test_a_call_that_would_be_refused_is_foretold_with_the_reason_and_the_retry() -> None:
    async def scene() -> None:
        classes = {"interactive": {"longest_wait_s": 0.5}, "default": {}, "batch": {}}
        async with busy(classes=classes) as gateway:
            told = (await get(gateway, "/admin/queue?model=m&priority=interactive")).json["forecast"]
            assert told["refused"] == "wait"
            refused = await answer(send(gateway, "ann"))
            assert refused.status == 503
            retry_s = float(refused.headers["retry-after"])
            assert told["retry_after_s"] <= retry_s <= 1.3 * told["retry_after_s"] + 1
            page = (await get(gateway, "/admin/queue")).json
            assert (page["state"], page["rejected"]) == ("overloaded", 1)
            assert page["rejections"] == [{"class": "interactive", "reason": "wait", "calls": 1}]

    run(scene())


@pytest.mark.parametrize(
    ("queue", "tokens", "reason"),
    [
        ({"max_size": 1}, 10, "size"),
        ({"max_work_tokens": 2000}, 1999, "work"),
        ({"max_work_tokens": 2000}, 10, ""),
        ({"max_size": 2}, 10, ""),
    ],
)
def test_a_full_queue_is_foretold(queue: dict[str, int], tokens: int, reason: str) -> None:
    async def scene() -> None:
        async with busy(**queue) as gateway:
            send(gateway, "eve")
            await asyncio.sleep(0.1)
            told = (await get(gateway, f"/admin/queue?model=m&priority=batch&tokens={tokens}")).json
            assert told["forecast"]["refused"] == reason
            # A call of a class that goes before takes the place of the one that waits.
            told = (await get(gateway, f"/admin/queue?model=m&priority=interactive&tokens={tokens}")).json
            assert told["forecast"]["refused"] == ""
            assert (told["size"], told["rejected"]) == (1, 0)  # asking changes nothing

    run(scene())


def test_before_anything_was_measured_only_the_place_is_foretold() -> None:
    async def scene() -> None:
        async with gateway_in_hand(sections=SECTIONS, max_in_flight=1) as gateway:
            send(gateway, "eve")
            send(gateway, "eve")
            await asyncio.sleep(0.1)
            told = (await get(gateway, "/admin/queue?model=m")).json["forecast"]
            assert (told["position"], told["wait_s"], told["refused"]) == (2, None, "")

    run(scene())


def test_a_free_seat_means_no_wait() -> None:
    async def scene() -> None:
        async with gateway_in_hand(sections=SECTIONS, max_in_flight=1) as gateway:
            page = (await get(gateway, "/admin/queue?model=m&tokens=5")).json
            assert page["forecast"] == {
                "class": "default",
                "position": 0,
                "wait_s": 0,
                "refused": "",
                "retry_after_s": 0,
            }
            assert page["engines"][0]["rate"] is None

    run(scene())


@pytest.mark.parametrize(
    ("query", "param", "words"),
    [
        ("priority=batch", "model", "give the name that a client would send"),
        ("model=", "model", "give the name"),
        ("model=nope", "model", "There is no model 'nope'"),
        ("model=m&priority=bacth", "priority", "did you mean 'batch'"),
        ("model=m&priority=", "priority", "there are: interactive, default, batch"),
        ("model=m&tenant=", "tenant", "give a name"),
        ("model=m&tokens=-1", "tokens", "whole number"),
        ("model=m&tokens=1e3", "tokens", "whole number"),
        ("model=m&tokens=", "tokens", "whole number"),
        ("model=m&tokens=%D9%A3", "tokens", "whole number"),
        ("model=m&token=5", "token", "did you mean 'tokens'"),
        ("x=1", "x", "there are: model, priority, tenant, tokens"),
        ("model=m&model=m", "model", "twice"),
    ],
)
def test_a_wrong_parameter_is_named(query: str, param: str, words: str) -> None:
    async def scene() -> None:
        models = {"models": {name: {"deployments": [{"engine": "script"}]} for name in ("m", "g*")}}
        async with gateway_in_hand(sections=SECTIONS | models) as gateway:
            refused = await get(gateway, f"/admin/queue?{query}")
            assert (refused.status, refused.error["param"]) == (400, param)
            assert words in refused.error["message"]
            for model in ("m", "g", "gpt", "g*"):
                assert (await get(gateway, f"/admin/queue?model={model}")).status == 200

    run(scene())


def test_it_needs_the_scope_admin_read() -> None:
    async def scene() -> None:
        async with gateway_in_hand(sections=SECTIONS) as gateway:
            refused = await get(gateway, "/admin/queue", CLERK)
            assert (refused.status, "admin:read" in refused.error["message"]) == (403, True)
            assert (await get(gateway, "/admin/queue", "nobody-has-this-key")).status == 401

    run(scene())


def test_an_overloaded_gateway_says_so_and_stays_ready() -> None:
    async def scene() -> None:
        async with busy(max_size=2, warn_threshold=0.4) as gateway:
            states: list[tuple[int, str]] = []
            for _ in range(4):
                told = await get(gateway, "/readyz")
                states.append((told.status, told.json["queue"]["state"]))
                send(gateway, "eve")
                await asyncio.sleep(0.01)
            assert states == [(200, "healthy"), (200, "degraded"), (200, "degraded"), (200, "overloaded")]
            queue = (await get(gateway, "/readyz")).json["queue"]
            assert queue == {
                "state": "overloaded",
                "utilization": 1,
                "size": 2,
                "max_size": 2,
                "rejected": 2,
            }
            assert (await get(gateway, "/readyz", CLERK)).json == {"status": "ready"}
            await asyncio.sleep(60)
            assert (await get(gateway, "/readyz")).json["queue"]["state"] == "healthy"

    run(scene())


def test_the_metrics_tell_the_same() -> None:
    async def scene() -> None:
        async with busy(max_size=2) as gateway:
            clients = [send(gateway, name) for name in ("ann", "bob", "bob", "eve")]
            await asyncio.sleep(0.1)
            found = await samples(gateway)
            # A call of the class `default` has taken the place of one of the class `batch`.
            assert found["queue_size['interactive']"] == 1
            assert found["queue_size['default']"] == 1
            assert found["queue_size['batch']"] == 0
            assert found["queue_work_tokens['interactive']"] > 0
            assert found["queue_work_tokens['batch']"] == 0
            assert found["queue_bytes[]"] == 2 * len(chat(LONG))
            assert found["queue_utilization[]"] == 1
            states = [found[f"queue_state['{name}']"] for name in ("healthy", "degraded", "overloaded")]
            assert states == [0, 0, 1]
            assert found["queue_rejected_total['batch', 'size']"] == 1
            assert found["queue_rejected_total['batch', 'shed']"] == 1
            assert found["engine_limit['script']"] == 1
            statuses = [(await answer(client)).status for client in clients]
            assert statuses == [200, 503, 503, 200]
            found = await samples(gateway)
            assert found["queue_wait_seconds_count['interactive', 'fast']"] == 1
            assert found["queue_wait_seconds_count['default', 'default']"] == 2  # with one before
            assert 0.5 < found["queue_wait_seconds_sum['interactive', 'fast']"] < 1.5
            assert found["queue_predicted_ratio_count['interactive']"] == 1
            assert 0.5 < found["queue_predicted_ratio_sum['interactive']"] < 2
            assert found["queue_size['interactive']"] == 0
            assert not any("eve" in name or "acme" in name for name in found)

    run(scene())


def test_changes_of_a_limit_are_counted_with_their_reason() -> None:
    async def scene() -> None:
        async with gateway_in_hand(sections=SECTIONS, max_in_flight=8) as gateway:
            assert not any("engine_limit_changes_total" in name for name in await samples(gateway))
            seats = gateway.gateway.snapshot.engines["script"].seats
            for limit, why in ((4, "slow"), (4, "slow"), (2, "slow"), (3, "probing")):
                seats.move(limit, why)
            found = await samples(gateway)
            assert found["engine_limit['script']"] == 3
            assert found["engine_limit_changes_total['script', 'slow']"] == 2
            assert found["engine_limit_changes_total['script', 'probing']"] == 1
            (engine,) = (await get(gateway, "/admin/queue")).json["engines"]
            assert (engine["limit"], engine["most"], engine["why"]) == (3, 8, "probing")

    run(scene())


def test_the_state_is_json_that_a_worker_can_send() -> None:
    async def scene() -> None:
        async with busy() as gateway:
            send(gateway, "ann")
            await asyncio.sleep(0.1)
            state = await gateway.gateway.queue_state()
            assert msgspec.json.decode(msgspec.json.encode(state), type=QueueState) == state
            assert json.loads(msgspec.json.encode(state))["size"] == 1

    run(scene())
