"""The bound on request bodies that are held at once: who is refused, who is not, and when there is room again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from serving import Running, Wire, ask, config_to, eventually, run_gateway, wire
from talking import CHAT, SCRIPT, chat, post

from tidegate.engines.scripted.server import ScriptedServer, run_in_thread

KIB = 1024
BUDGET = 1024 * KIB


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=SCRIPT)) as server:
        yield server


@pytest.fixture
def gateway(engine: ScriptedServer) -> Iterator[Running]:
    settings = {"max_pending_body_bytes": BUDGET, "body_idle_ms": 60_000}
    with run_gateway(config_to(engine.base_url, server=settings)) as gateway:
        yield gateway


def padded(size: int, marker: str = "") -> bytes:
    body = chat(marker)
    return body + b" " * (size - len(body))


def head(*lines: str) -> bytes:
    about = [f"POST /v1/{CHAT} HTTP/1.1", "host: g", "content-type: application/json"]
    return "\r\n".join([*about, *lines, "", ""]).encode()


def metric(gateway: Running, name: str) -> int:
    page = ask(f"{gateway.url}/metrics", method="GET").body.decode()
    found = re.search(rf"^tidegate_{name} (\S+)$", page, re.MULTILINE)
    assert found, page
    return int(float(found[1]))


@contextmanager
def arriving(gateway: Running, size: int) -> Iterator[Wire]:
    """A body of which so much has arrived and a rest has not."""
    before = gateway.gateway.bodies.held_bytes
    with wire(gateway.url) as client:
        client.send(head("transfer-encoding: chunked") + b"%x\r\n" % size + b" " * size + b"\r\n")
        eventually(lambda: gateway.gateway.bodies.held_bytes == before + size, "the bytes are held")
        yield client


def test_a_body_that_does_not_fit_is_refused_before_it_comes(gateway: Running) -> None:
    with arriving(gateway, 600 * KIB), wire(gateway.url) as late:
        late.send(head(f"content-length: {500 * KIB}", "expect: 100-continue"))
        status, headers = late.read_head()
        assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
        assert b"overloaded" in late.read_to_end()
        assert metric(gateway, "pending_body_bytes") == 600 * KIB
        assert metric(gateway, "pending_body_refusals_total") == 1
        # What fits is taken as ever.
        assert post(gateway, padded(400 * KIB)).status == 200
    eventually(lambda: gateway.gateway.bodies.held_bytes == 0, "nothing is held")
    assert post(gateway, padded(900 * KIB)).status == 200
    eventually(lambda: gateway.gateway.bodies.held_bytes == 0, "nothing is held")


def test_a_body_without_a_length_is_refused_when_it_has_grown_too_large(gateway: Running) -> None:
    with arriving(gateway, 600 * KIB), arriving(gateway, 400 * KIB) as second:
        second.send(b"%x\r\n" % (100 * KIB) + b" " * 100 * KIB)
        status, headers = second.read_head()
        assert (status, headers["retry-after"]) == (503, "1")
        eventually(lambda: gateway.gateway.bodies.held_bytes == 600 * KIB, "its bytes are free")


def test_a_small_body_is_always_taken(gateway: Running) -> None:
    with arriving(gateway, BUDGET):
        for _ in range(3):
            assert post(gateway, padded(64 * KIB)).status == 200
        assert post(gateway, padded(64 * KIB + 1)).status == 503
    eventually(lambda: gateway.gateway.bodies.held_bytes == 0, "nothing is held")


def test_a_length_that_is_only_promised_takes_nothing_from_others(gateway: Running) -> None:
    with ExitStack() as clients:
        for _ in range(4):
            clients.enter_context(wire(gateway.url)).send(head(f"content-length: {600 * KIB}") + b"{")
        eventually(lambda: gateway.gateway.bodies.held_bytes == 4, "they have begun")
        assert post(gateway, padded(900 * KIB)).status == 200


def test_a_body_is_held_until_its_call_ends(gateway: Running, engine: ScriptedServer) -> None:
    """That is also while the call waits for its engine; who leaves gives it back."""
    with wire(gateway.url) as client:
        client.post(padded(700 * KIB, "ttft=60000"))
        eventually(lambda: engine.record.in_flight == 1, "the engine has it")
        assert metric(gateway, "pending_body_bytes") == 700 * KIB
        refused = post(gateway, padded(700 * KIB))
        assert (refused.status, refused.error["code"]) == (503, "overloaded")
    eventually(lambda: gateway.gateway.bodies.held_bytes == 0, "nothing is held")
    assert post(gateway, padded(700 * KIB)).status == 200


@pytest.mark.parametrize("bad", [b"{" * 100 * KIB, b"x" * 100 * KIB])
def test_a_body_that_is_refused_for_what_it_says_is_not_held(gateway: Running, bad: bytes) -> None:
    assert post(gateway, bad).status == 400
    eventually(lambda: gateway.gateway.bodies.held_bytes == 0, "nothing is held")
