"""Clients that leave, and clients that do not read."""

from __future__ import annotations

import asyncio
import logging
import random
import select
import socket
import struct
import threading
import time

import pytest
from canned import canned
from in_hand import gateway_in_hand, until
from serving import Running, Wire, config_to, eventually, run_gateway, wire
from talking import CHAT, chat, post, stream
from virtual import run

from tidegate.engines.scripted.server import ScriptedServer
from tidegate.gateway import DUE_WITHIN_S
from tidegate.http.responder import DEADLINE_GRACE_S

pytestmark = pytest.mark.usefixtures("idle")


def leave(client: Wire, *, reset: bool) -> None:
    if reset:
        client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.connection.close()


LEAVING = {
    "in mid-stream": stream("tokens=10000 itl=10"),
    "in a pause of the stream": stream("tokens=2 itl=60000"),
    "before the first token": stream("ttft=60000"),
    "before a whole answer": chat("ttft=60000"),
    "before the end of a whole answer": chat("tokens=100 itl=1000"),
    "before an embedding": b'{"model":"m","input":"[[scripted ttft=60000]]"}',
}


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("moment", LEAVING)
def test_a_client_that_leaves_frees_the_engine(
    gateway: Running, engine: ScriptedServer, moment: str, reset: bool
) -> None:
    """By the engine's own record: left alone, it would work on for longer than anybody waits here."""
    before = engine.record.cancelled
    with wire(gateway.url) as client:
        client.post(LEAVING[moment], path="/v1/embeddings" if "embedding" in moment else f"/v1/{CHAT}")
        eventually(lambda: engine.record.in_flight == 1, "the engine works")
        if "stream" in moment:
            client.read_head()
        leave(client, reset=reset)
    eventually(lambda: engine.record.cancelled == before + 1, "the engine is told")
    eventually(lambda: not gateway.gateway.live and gateway.gateway.snapshot.calls == 0, "the call is over")


def test_a_client_that_leaves_with_requests_sent_ahead_frees_the_engine(
    gateway: Running, engine: ScriptedServer
) -> None:
    before = engine.record.requests
    with wire(gateway.url) as client:
        client.post(stream("tokens=2 itl=60000"))
        client.read_head()
        client.read_chunk()  # with nothing left unread, the end comes behind what was sent
        client.post(chat())
        client.post(chat())
    eventually(lambda: engine.record.in_flight == 0, "the engine is free")
    eventually(lambda: not gateway.gateway.live, "the call is over")
    assert engine.record.requests == before + 1


def test_a_client_that_leaves_after_a_large_body_frees_the_engine(
    gateway: Running, engine: ScriptedServer
) -> None:
    """The last read of a body may be so large that reading pauses, and nobody asks for more of a body that is whole."""
    for size in range(200_000, 1_000_000, 50_000):
        with wire(gateway.url) as client:
            client.post(chat("ttft=60000") + b" " * size)
            eventually(lambda: engine.record.in_flight == 1, "the engine works")
        eventually(lambda: engine.record.in_flight == 0, "the engine is free")


def test_a_client_that_leaves_the_line_takes_no_slot(engine: ScriptedServer) -> None:
    with run_gateway(config_to(engine.base_url, max_in_flight=1)) as gateway:
        (running,) = gateway.gateway.runtime.engines()
        with wire(gateway.url) as first, wire(gateway.url) as second:
            first.post(stream("tokens=2 itl=60000"))
            first.read_head()
            before = engine.record.requests
            second.post(chat())
            eventually(lambda: running.seats.waiting == 1, "the second waits")
            second.connection.close()
            eventually(lambda: running.seats.waiting == 0, "the second has left the line")
        eventually(lambda: running.seats.in_flight == 0, "the slot is free")
        assert engine.record.requests == before
        assert post(gateway, chat()).status == 200


def test_clients_that_leave_at_any_moment_leave_nothing_behind(
    gateway: Running, engine: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """No call, no slot, and not a word of it in the log: leaving is no fault of anybody."""

    def come_and_go(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(25):
            with wire(gateway.url) as client:
                marker = f"tokens={chance.choice([5, 50, 200])} itl={chance.choice([0, 1])}"
                client.post(chat(marker, stream=chance.random() < 0.7))
                time.sleep(chance.random() * 0.04)
                leave(client, reset=chance.random() < 0.5)

    threads = [threading.Thread(target=come_and_go, args=(seed,)) for seed in range(8)]
    with caplog.at_level(logging.WARNING):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        eventually(lambda: engine.record.in_flight == 0 and not gateway.gateway.live, "all is over")
    assert gateway.gateway.snapshot.calls == 0
    (running,) = gateway.gateway.runtime.engines()
    assert running.seats.in_flight == 0
    assert [record.getMessage() for record in caplog.records] == []


# -------------------------------------------------------------------------------------------------------- a client too slow

OFFERED_BYTES = 64 * 2**20
HELD_BYTES = 24 * 2**20
"""What kernel buffers on four sockets and ours may take; without a bound the gateway would take all that is offered."""


def is_stuck(pouring: socket.socket, gateway: Running) -> bool:
    """Whether the kernel takes no more of the engine, and the gateway makes no room although it has every opportunity."""

    async def turns() -> None:
        for _ in range(100):
            await asyncio.sleep(0)

    def is_full() -> bool:
        return not select.select([], [pouring], [], 0)[1]

    if not is_full():
        return False
    gateway.run(turns())
    return is_full()


def test_a_slow_reader_makes_the_engine_wait() -> None:
    event = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 16_000)
    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    count = OFFERED_BYTES // len(event)
    sent = [0]
    pouring: list[socket.socket] = []

    def pour(connection: socket.socket) -> None:
        pouring.append(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        for _ in range(count):
            connection.sendall(event)
            sent[0] += len(event)
        connection.sendall(end)

    with (
        canned(pour) as engine,
        run_gateway(config_to(engine.base_url, server={"sse_keep_alive_s": 600})) as gateway,
        wire(gateway.url, receive_buffer=8192) as client,
    ):
        client.post(stream())
        client.read_head()
        eventually(lambda: sent[0] > HELD_BYTES or is_stuck(pouring[0], gateway), "the engine waits")
        assert 0 < sent[0] <= HELD_BYTES
        client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 2**20)
        body = b"".join(client.read_chunks())
    assert body.count(b"data: {") == count + 1
    assert body.endswith(b"data: [DONE]\n\n")


def test_not_reading_is_not_silence() -> None:
    """Comments would only be more to read."""

    async def scene() -> bytes:
        async with gateway_in_hand({"sse_keep_alive_s": 1}) as gateway:
            client = gateway.connect()
            client.post(stream("tokens=9 itl=500"))
            await until(lambda: client.received.count(b'"content"') == 4, "a part of it")
            client.wire.takes = False
            await asyncio.sleep(20)  # the engine says one more, which nobody takes
            client.wire.takes = True
            client.wire.take(client.wire.held_bytes)
            await until(lambda: client.is_answered, "the rest")
            return client.received

    received = run(scene())
    assert b"keep-alive" not in received
    assert b"data: [DONE]" in received


def test_a_client_that_never_reads_keeps_its_slot_until_the_deadline() -> None:
    async def scene() -> tuple[float, bytes, bytes]:
        settings = {"call_deadline_s": 5, "send_stall_ms": 20_000}
        async with gateway_in_hand(settings, max_in_flight=1) as gateway:
            (running,) = gateway.gateway.runtime.engines()
            client = gateway.connect()
            client.wire.takes = False
            client.post(stream("tokens=90 itl=1"))
            await until(lambda: client.wire.held_bytes > 0, "its answer begins")
            assert running.seats.in_flight == 1
            freed_at = await until(lambda: running.seats.in_flight == 0, "the slot is free")
            await until(lambda: not gateway.gateway.live, "the client is dropped, and the call is over")
            other = gateway.connect()
            other.send(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await until(lambda: bool(other.received), "the metrics")
            return freed_at, client.received, other.received

    freed_at, received, metrics = run(scene())
    assert freed_at == pytest.approx(5 + DEADLINE_GRACE_S + DUE_WITHIN_S / 2, abs=DUE_WITHIN_S / 2 + 0.1)
    assert b'outcome="deadline_exceeded"' in metrics
    # Had the client read on, it would have found out.
    assert b'"timeout_error"' in received
    assert b"[DONE]" not in received


def test_a_body_that_does_not_come_is_waited_for_until_the_deadline(engine: ScriptedServer) -> None:
    settings = {"call_deadline_s": 0.3}
    body = chat()
    with run_gateway(config_to(engine.base_url, server=settings)) as gateway, wire(gateway.url) as client:
        lines = (f"POST /v1/{CHAT} HTTP/1.1", "host: g", "content-type: application/json")
        client.send("\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body[:5])
        status, headers = client.read_head()
        assert status == 504
        assert headers["connection"] == "close"  # where the next request begins, nobody can say
        assert b"body" in client.read_exactly(int(headers["content-length"]))
        client.send(body[5:])
        client.post(chat())
        assert client.read_to_end() == b""


def test_a_slow_body_is_answered_as_any_other(gateway: Running, engine: ScriptedServer) -> None:
    """And who sent it is missed when it leaves."""
    body = stream("tokens=2 itl=60000")
    with wire(gateway.url) as client:
        lines = (f"POST /v1/{CHAT} HTTP/1.1", "host: g", "content-type: application/json")
        client.send("\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body[:5])
        eventually(lambda: bool(gateway.gateway.live), "the gateway waits for the rest")
        client.send(body[5:])
        assert client.read_head()[0] == 200
    eventually(lambda: engine.record.in_flight == 0, "the engine is free")
