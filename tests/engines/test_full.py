"""A full engine is busy, not broken: calls wait for its connections, and it stays ready."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from canned import canned, streamed, whole
from serving import PATIENCE_S, Running, ask, config_to, eventually, run_gateway
from talking import STREAM_END, chat, post, said, stream

from tidegate.config import OpenAIConfig, parse_text
from tidegate.engines.openai import OpenAIEngine
from tidegate.gateway import Gateway
from tidegate.runtime import Runtime

LAST = b"connection: close"
WHOLE = whole(b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}', LAST)
BEGUN = streamed(STREAM_END, LAST).removesuffix(b"0\r\n\r\n")


def ends_late(connection: socket.socket) -> None:
    """`[DONE]`, and the end of the stream a moment later, as an engine that still frees its memory."""
    connection.sendall(BEGUN)
    time.sleep(0.05)
    connection.sendall(b"0\r\n\r\n")


def never_ends(connection: socket.socket) -> None:
    connection.sendall(BEGUN)
    connection.recv(1)


def closes_late(connection: socket.socket) -> None:
    """A stream without a length: its end is the end of the connection."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + STREAM_END)
    time.sleep(0.05)


def says_more_after_done(connection: socket.socket) -> None:
    connection.sendall(BEGUN)
    time.sleep(0.05)
    connection.sendall(b"c\r\n: a comment\r\n0\r\n\r\n")


def resets_after_done(connection: socket.socket) -> None:
    connection.sendall(BEGUN)
    time.sleep(0.05)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def answers_slowly(connection: socket.socket) -> None:
    time.sleep(0.05)
    connection.sendall(WHOLE)


def together(gateway: Running, body: bytes, count: int = 16) -> list[tuple[int, bytes]]:
    with ThreadPoolExecutor(count) as clients:
        answers = list(clients.map(lambda _: post(gateway, body), range(count)))
    return [(answer.status, answer.body) for answer in answers]


@pytest.mark.parametrize(
    "limits",
    [
        {"max_connections": 4},
        {"max_connections": 4, "max_in_flight": 4},
        {"max_connections": 4, "max_in_flight": 16},
        {"max_connections": 1},
        {"max_connections": 4, "max_in_flight": 3, "reserved_seats": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "engine", [ends_late, never_ends, closes_late, says_more_after_done, resets_after_done]
)
def test_every_one_of_sixteen_streams_is_answered(
    engine: Callable[[socket.socket], None], limits: Mapping[str, int]
) -> None:
    with canned(engine) as upstream, run_gateway(config_to(upstream.base_url, **limits)) as gateway:
        count = 16 if limits["max_connections"] > 1 or engine is not never_ends else 6
        for status, body in together(gateway, stream(), count):
            assert status == 200, body
            assert said(body) == ""
        assert len(upstream.heard) == count


@pytest.mark.parametrize("limits", [{"max_connections": 4}, {"max_connections": 2, "max_in_flight": 9}])
def test_every_one_of_sixteen_whole_answers_comes(limits: Mapping[str, int]) -> None:
    with canned(answers_slowly) as upstream, run_gateway(config_to(upstream.base_url, **limits)) as gateway:
        assert [status for status, _ in together(gateway, chat())] == [200] * 16


def test_a_call_that_gets_no_connection_up_to_its_deadline_is_told_so() -> None:
    hold = threading.Event()

    def holds(connection: socket.socket) -> None:
        hold.wait(PATIENCE_S)
        connection.sendall(WHOLE)

    with canned(holds) as upstream:
        text = config_to(upstream.base_url, max_connections=1, server={"call_deadline_s": 2})
        with run_gateway(text) as gateway:
            assert {status for status, _ in together(gateway, chat(), 2)} == {504}
            hold.set()


# -- readiness ------------------------------------------------------------------------------------------------------------


def test_a_gateway_with_all_connections_in_use_stays_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidegate.running.PROBE_EVERY_S", 0.01)
    hold = threading.Event()

    def holds(connection: socket.socket) -> None:
        hold.wait(PATIENCE_S)
        connection.sendall(WHOLE)

    with (
        canned(holds) as upstream,
        run_gateway(config_to(upstream.base_url, max_connections=4)) as gateway,
        ThreadPoolExecutor(16) as clients,
    ):
        calls = [clients.submit(post, gateway, chat()) for _ in range(16)]
        (running,) = gateway.gateway.runtime.engines()
        eventually(lambda: len(upstream.heard) == 4 and running.seats.waiting == 12, "all are in use")
        probed = upstream.probes
        eventually(lambda: upstream.probes >= probed + 3, "it is probed under full load")
        assert ask(f"{gateway.url}/readyz", method="GET").status == 200
        hold.set()
        assert [call.result().status for call in calls] == [200] * 16


class Engine:
    """An HTTP engine whose server says of its models what a test wants, and counts who asks."""

    def __init__(self, says: Callable[[asyncio.StreamWriter], Any]) -> None:
        self.asked = 0
        self._says = says

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.asked += 1
                self._says(writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def says_nothing(_: asyncio.StreamWriter) -> None: ...


def has_a_long_list(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 600000\r\n\r\n" + b" " * 600_000)


def has_a_list_that_never_comes(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 600000\r\n\r\n")


def has_a_list_without_end(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n[1,2,\r\n")


def has_a_list_that_breaks_off(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 600000\r\n\r\n[")
    writer.close()


def has_a_short_list(writer: asyncio.StreamWriter) -> None:
    writer.write(whole(b'{"data": []}'))


@pytest.mark.anyio
@pytest.mark.parametrize(
    "says",
    [
        has_a_long_list,
        has_a_list_that_never_comes,
        has_a_list_without_end,
        has_a_list_that_breaks_off,
        has_a_short_list,
    ],
)
async def test_a_probe_is_answered_by_the_head_alone(says: Callable[[asyncio.StreamWriter], None]) -> None:
    server = await asyncio.start_server(Engine(says), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    engine = OpenAIEngine(OpenAIConfig(kind="openai", url=url, max_response_bytes=1024))
    async with Runtime() as runtime:
        await engine.open(runtime)
        for _ in range(3):
            assert await engine.ready()
        await engine.close()
    server.close()


@pytest.mark.anyio
async def test_an_engine_that_hangs_does_not_delay_the_probes_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tidegate.running.PROBE_EVERY_S", 0.001)
    hangs, lives = Engine(says_nothing), Engine(has_a_short_list)
    servers = [await asyncio.start_server(engine, "127.0.0.1", 0) for engine in (hangs, lives)]
    urls = [f"http://127.0.0.1:{one.sockets[0].getsockname()[1]}/v1" for one in servers]
    text = f"""
engines: {{hangs: {{kind: openai, url: "{urls[0]}"}}, lives: {{kind: openai, url: "{urls[1]}"}}}}
models: {{m: {{deployments: [{{engine: lives}}, {{engine: hangs}}]}}}}
"""
    async with Gateway(parse_text(text, source="x")) as gateway, asyncio.timeout(PATIENCE_S):
        while lives.asked < 20:
            await asyncio.sleep(0.001)
        assert hangs.asked == 1  # it has not answered the first yet
        assert gateway.engine_states == {"hangs": "not ready", "lives": "ready"}
    for server in servers:
        server.close()
