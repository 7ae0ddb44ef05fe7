"""Requests that narrow their class and their deadline by headers: the deadline holds for every wait of the call.

Most tests run on a virtual clock, where the policy allows ten minutes: only the header can end a wait so early.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

import msgspec
import pytest
from canned import canned, whole
from in_hand import GatewayInHand, InHand, gateway_in_hand, until
from limited import ANN, Answered, limited
from serving import ask, config_to, run_gateway
from talking import CHAT, COMPLETIONS, EMBEDDINGS, ENDPOINTS, NEEDED, body_of, chat, stream
from virtual import run

from tidegate.errors import DeadlineExceeded
from tidegate.gateway import DUE_WITHIN_S
from tidegate.http.responder import DEADLINE_GRACE_S
from tidegate.types import Caller, Parent

NEVER = "ttft=500000"
ALMOST_S = 0.1
"""Turns of the virtual loop take some time too."""
CLOSE = "connection: close"


def deadline(milliseconds: int | str) -> str:
    return f"x-tidegate-deadline-ms: {milliseconds}"


async def end_of(client: InHand) -> float:
    """When the connection is closed, in seconds since the loop began."""
    return await until(lambda: client.wire.closed_at is not None, "the answer")


def posted(gateway: GatewayInHand, body: bytes, *headers: str, path: str = CHAT) -> InHand:
    client = gateway.connect()
    client.begin(len(body), CLOSE, *headers, path=f"/v1/{path}")
    client.send(body)
    return client


def soon(due_s: float) -> object:
    return pytest.approx(due_s, abs=ALMOST_S)


# --------------------------------------------------------------------------------------------------------------- every wait


def test_a_call_that_waits_for_a_seat_ends_at_its_own_deadline() -> None:
    async def scene() -> None:
        async with gateway_in_hand(max_in_flight=1) as gateway:
            posted(gateway, chat(NEVER))
            client = posted(gateway, chat(), deadline(2000))
            assert await end_of(client) == soon(2)
            assert (Answered(client).status, Answered(client).error["code"]) == (504, "deadline_exceeded")
            [running] = gateway.gateway.runtime.engines()
            assert running.seats.waiting == 0

    run(scene())


@pytest.mark.parametrize(("asked_ms", "told_s"), [(2000, 1.9), (50, 0.0)])
def test_a_call_that_waits_at_a_limit_is_told_of_it_before_its_own_deadline(
    asked_ms: int, told_s: float
) -> None:
    async def scene() -> None:
        async with limited({"concurrent_calls": 1}, policy={"on_limit": "wait"}) as one:
            one.send(chat(NEVER))
            client = one.in_hand.connect()
            client.post(chat(), f"authorization: Bearer {ANN}", CLOSE, deadline(asked_ms))
            await end_of(client)
            assert one.now == soon(told_s)
            assert (Answered(client).status, Answered(client).error["code"]) == (429, "rate_limit_exceeded")
            assert one.gateway.runtime.quotas.lines.waiting == 0

    run(scene())


@pytest.mark.parametrize("body", [chat(NEVER), stream(NEVER)])
def test_an_engine_that_does_not_begin_is_left_at_the_deadline(body: bytes) -> None:
    async def scene() -> None:
        async with gateway_in_hand(max_in_flight=1) as gateway:
            client = posted(gateway, body, deadline(2000))
            assert await end_of(client) == soon(2)
            assert (Answered(client).status, Answered(client).error["code"]) == (504, "deadline_exceeded")
            [running] = gateway.gateway.runtime.engines()
            assert running.seats.in_flight == 0

    run(scene())


def test_a_stream_that_has_begun_ends_with_an_error_event() -> None:
    async def scene() -> None:
        async with gateway_in_hand({"sse_keep_alive_s": 600}) as gateway:
            client = posted(gateway, stream("tokens=90 itl=1000"), deadline(2500))
            assert await end_of(client) == soon(2.5)
            answer = Answered(client)
            *events, last = [part for part in answer.body.split(b"\n\n") if part]
            assert answer.status == 200
            assert len(events) >= 2
            assert b'"timeout_error"' in last
            assert b"[DONE]" not in answer.body

    run(scene())


def test_calls_of_the_gateways_own_end_with_the_call_that_they_are_for() -> None:
    async def scene() -> None:
        async with gateway_in_hand() as gateway:
            loop = asyncio.get_running_loop()
            parent = Parent("c", Caller(), loop.time() + 2, [])
            fields = msgspec.json.decode(chat(NEVER), type=dict[str, msgspec.Raw])
            del fields["model"]
            began = loop.time()
            with pytest.raises(DeadlineExceeded):
                await gateway.gateway.ask("m", fields, purpose="judge:x", of=parent, deadline=inf)
            assert loop.time() - began == soon(2)

    run(scene())


@contextmanager
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: 100\r\n\r\n"
STREAMED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    b'data: {"choices":[{"index":0,"delta":{"content":"!"}}]}\n\n'  # nothing that the rails hold back
)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_never_answers_or_never_shakes_hands_is_left_at_the_deadline(scheme: str) -> None:
    with silent() as port:
        config = config_to(f"{scheme}://127.0.0.1:{port}/v1", probe="none", timeouts={"connect_ms": 100_000})
        with run_gateway(config) as gateway:
            answer = ask(f"{gateway.base_url}/{CHAT}", chat(), {"x-tidegate-deadline-ms": "200"})
            counted = ask(f"{gateway.url}/metrics", method="GET").body.decode()
    assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
    assert 'outcome="deadline_exceeded"' in counted  # and no failure of the engine
    assert "engine_" not in "".join(part for part in counted.split("\n") if "outcome=" in part)


@pytest.mark.parametrize(
    ("said", "body", "status"),
    [(HEAD % b"application/json" + b'{"choices"', chat(), 504), (STREAMED, stream(), 200)],
)
def test_an_answer_that_stops_is_left_at_the_deadline(said: bytes, body: bytes, status: int) -> None:
    over = threading.Event()

    def stop(connection: socket.socket) -> None:
        connection.sendall(said)
        over.wait(30)

    with canned(stop) as engine, run_gateway(config_to(engine.base_url)) as gateway:
        answer = ask(f"{gateway.base_url}/{CHAT}", body, {"x-tidegate-deadline-ms": "300"})
        over.set()
    assert answer.status == status
    assert b'"deadline_exceeded"' in answer.body
    assert b"[DONE]" not in answer.body


# -------------------------------------------------------------------------------------------------- while the body arrives


@pytest.mark.parametrize("given", [0, 5])
def test_a_body_that_does_not_come_is_waited_for_until_the_calls_own_deadline(given: int) -> None:
    async def scene() -> None:
        async with gateway_in_hand({"body_idle_ms": 600_000}) as gateway:
            client, body = gateway.connect(), chat()
            client.begin(len(body), deadline(2000))
            client.send(body[:given])
            due = 2 + DEADLINE_GRACE_S + DUE_WITHIN_S / 2
            answered_at = await until(lambda: bool(client.received), "the answer")
            assert answered_at == pytest.approx(due, abs=DUE_WITHIN_S / 2 + ALMOST_S)
            assert (client.status, b"whole request's body" in client.received) == (504, True)

    run(scene())


@pytest.mark.parametrize(("marker", "status"), [("ttft=400", 200), ("ttft=600", 504)])
def test_the_time_in_which_the_body_came_counts_for_a_deadline_of_the_request(
    marker: str, status: int
) -> None:
    """The deadline of a policy counts from the end of the body: what it allows does not depend on the client's line."""

    async def scene(*headers: str, **server: float) -> tuple[int, float]:
        async with gateway_in_hand(server) as gateway:
            client, body = gateway.connect(), chat(marker)
            client.begin(len(body), CLOSE, *headers)
            await asyncio.sleep(1.5)
            client.send(body)
            return await end_of(client) and Answered(client).status, asyncio.get_running_loop().time()

    own, ended_at = run(scene(deadline(2000)))
    assert (own, ended_at) == (status, soon(min(2.0, 1.5 + int(marker[5:]) / 1000)))
    assert run(scene(call_deadline_s=2))[0] == 200


def test_a_body_whose_last_byte_comes_after_the_deadline_reaches_no_engine() -> None:
    async def scene() -> None:
        async with gateway_in_hand() as gateway:
            client, body = gateway.connect(), chat()
            client.begin(len(body), CLOSE, deadline(1000))
            await asyncio.sleep(1 + DEADLINE_GRACE_S / 2)
            client.send(body)
            await end_of(client)
            assert Answered(client).status == 504
            assert b"before the engine was asked" in client.received

    run(scene())


# ---------------------------------------------------------------------------------------------------- what the headers say


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS])
def test_the_deadline_holds_on_every_endpoint(path: str) -> None:
    fields = {
        CHAT: chat(NEVER),
        COMPLETIONS: b'{"model":"m","prompt":"[[scripted %b]]"}' % NEVER.encode(),
        EMBEDDINGS: b'{"model":"m","input":"[[scripted %b]]"}' % NEVER.encode(),
    }

    async def scene() -> None:
        async with gateway_in_hand() as gateway:
            client = posted(gateway, fields[path], deadline(2000), path=path)
            assert await end_of(client) == soon(2)
            assert Answered(client).status == 504

    run(scene())


@pytest.mark.parametrize(
    ("headers", "ended_s"),
    [
        ([deadline(700_000)], 3),  # later than the policy's
        ([deadline("9" * 5000)], 3),
        ([deadline("  2000  ")], 2),
        ([deadline("0002000")], 2),
        (["X-Tidegate-Deadline-MS: 2000"], 2),
        ([deadline(1000), deadline(2000)], 2),  # of a repeated header the last one counts, as everywhere
        ([deadline(1)], 0),
    ],
)
def test_the_earlier_deadline_counts(headers: list[str], ended_s: float) -> None:
    async def scene() -> None:
        async with gateway_in_hand({"call_deadline_s": 3}) as gateway:
            client = posted(gateway, chat(NEVER), *headers)
            assert await end_of(client) == soon(ended_s)
            assert Answered(client).status == 504

    run(scene())


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(
    ("header", "fix"),
    [
        ("x-tidegate-priority: urgent", "interactive, default, batch"),
        ("x-tidegate-priority:", "interactive, default, batch"),
        *((deadline(value), "whole number") for value in ("0", "-5", "1.5", "soon", "", "1e3", "1,2")),
    ],
)
def test_a_header_that_cannot_be_read_is_refused_before_the_body_comes(
    path: str, header: str, fix: str
) -> None:
    async def scene() -> None:
        async with gateway_in_hand() as gateway:
            client = gateway.connect()
            client.begin(1000, header, path=f"/v1/{path}")
            await end_of(client)
            answer = Answered(client)
            assert (answer.status, answer.error["code"]) == (400, "invalid_request")
            assert f"'{header.partition(':')[0]}'" in answer.error["message"]
            assert fix in answer.error["message"]

    run(scene())


def test_a_key_comes_before_the_headers() -> None:
    async def scene() -> None:
        async with limited() as one:
            client = one.in_hand.connect()
            client.post(chat(), "authorization: Bearer nobodys", CLOSE, deadline("soon"))
            await end_of(client)
            assert Answered(client).status == 401

    run(scene())


def test_no_engine_gets_the_headers() -> None:
    told = {"x-tidegate-priority": "batch", "x-tidegate-deadline-ms": "60000"}
    answer = whole(b'{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}')
    with canned(answer) as engine, run_gateway(config_to(engine.base_url)) as gateway:
        assert ask(f"{gateway.base_url}/{CHAT}", body_of(NEEDED[CHAT]), told).status == 200
    [heard] = engine.heard
    assert not [name for name in heard.headers if b"tidegate" in name]
    assert b"priority" not in heard.body


def test_pages_of_other_origins_may_send_them() -> None:
    asking = {
        "origin": "https://app.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-tidegate-deadline-ms,x-tidegate-priority",
    }
    server = {"cors_origins": ["https://app.example"]}
    with canned() as engine, run_gateway(config_to(engine.base_url, server=server)) as gateway:
        answer = ask(f"{gateway.base_url}/{CHAT}", headers=asking, method="OPTIONS")
    assert answer.status == 200
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert "x-tidegate-deadline-ms" in allowed
    assert "x-tidegate-priority" in allowed
