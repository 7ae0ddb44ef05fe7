"""Clients that end their side of the connection after their request, and read on: they get their answers."""

from __future__ import annotations

import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serving import Running, Wire, config_to, eventually, run_gateway, wire
from talking import CHAT, TEXT, chat, said, stream

from tidegate.engines.scripted.server import ScriptedServer

pytestmark = pytest.mark.usefixtures("idle")


def end_our_side(client: Wire) -> None:
    client.connection.shutdown(socket.SHUT_WR)


def read_answer(client: Wire) -> tuple[int, dict[str, str]]:
    """Status and headers of the final answer: interim ones come before it (RFC 9110, 15.2)."""
    status, headers = client.read_head()
    while status < 200:
        status, headers = client.read_head()
    return status, headers


@pytest.mark.parametrize("marker", ["", "ttft=200", "tokens=20 itl=10"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_whole_answer(gateway: Running, marker: str, version: str) -> None:
    with wire(gateway.url) as client:
        client.post(chat(marker), version=version)
        end_our_side(client)
        status, headers = read_answer(client)
        body = client.read_to_end()
    assert status == 200
    assert len(body) == int(headers["content-length"])
    assert b'"finish_reason"' in body


@pytest.mark.parametrize("marker", ["", "ttft=200", "tokens=20 itl=10"])
@pytest.mark.parametrize("when", ["at once", "after the first event"])
def test_a_stream(gateway: Running, marker: str, when: str) -> None:
    with wire(gateway.url) as client:
        client.post(stream(marker))
        first = b""
        if when == "at once":
            end_our_side(client)
            assert read_answer(client)[0] == 200
        else:
            assert read_answer(client)[0] == 200
            first = client.read_chunk()
            end_our_side(client)
        body = first + b"".join(client.read_chunks())
        assert client.read_to_end() == b""  # the answer was the last
    assert said(body).startswith(TEXT.split()[0])


def test_a_stream_over_http_1_0(gateway: Running) -> None:
    with wire(gateway.url) as client:
        client.post(stream("tokens=5 itl=10"), version="1.0")
        end_our_side(client)
        assert read_answer(client)[0] == 200
        assert said(client.read_to_end()).startswith(TEXT.split()[0])


def test_requests_that_were_sent_ahead_are_answered_in_order(gateway: Running) -> None:
    with wire(gateway.url) as client:
        client.post(chat("ttft=100"))
        client.post(stream("tokens=3"))
        client.post(chat())
        end_our_side(client)
        status, headers = read_answer(client)
        assert status == 200
        client.read_exactly(int(headers["content-length"]))
        assert read_answer(client)[0] == 200
        client.read_chunks()
        status, headers = read_answer(client)
        assert (status, headers["connection"]) == (200, "close")
        assert len(client.read_to_end()) == int(headers["content-length"])


def test_a_request_for_which_no_engine_is_asked(gateway: Running) -> None:
    for path, status in (("/healthz", 200), ("/v1/models", 200), ("/nowhere", 404)):
        with wire(gateway.url) as client:
            client.send(f"GET {path} HTTP/1.1\r\nhost: gateway\r\n\r\n".encode())
            end_our_side(client)
            assert read_answer(client)[0] == status


def test_a_client_in_line_keeps_its_place(engine: ScriptedServer) -> None:
    with run_gateway(config_to(engine.base_url, max_in_flight=1)) as gateway, ThreadPoolExecutor(1) as other:
        (running,) = gateway.gateway.runtime.engines()
        with wire(gateway.url) as first, wire(gateway.url) as second:
            first.post(chat("tokens=20 itl=20"))
            eventually(lambda: running.seats.in_flight == 1, "the first is served")
            second.post(chat())
            end_our_side(second)
            assert other.submit(read_answer, second).result()[0] == 200
            assert read_answer(first)[0] == 200


def test_half_a_request_is_no_request(gateway: Running, engine: ScriptedServer) -> None:
    before = engine.record.requests
    for part in (b"POST /v1/chat/completions HTTP/1.1\r\nhost: g", b"", b"POST / HTTP/1.1\r\nhost: g\r\n"):
        with wire(gateway.url) as client:
            client.send(part)
            end_our_side(client)
            assert client.read_to_end() == b""
    with wire(gateway.url) as client:
        head = b"host: g\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n"
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\n" + head + b"{")
        end_our_side(client)
        client.read_to_end()
    assert engine.record.requests == before


def test_one_that_reads_for_a_while_and_then_leaves_frees_the_engine(
    gateway: Running, engine: ScriptedServer
) -> None:
    before = engine.record.cancelled
    with wire(gateway.url) as client:
        client.post(stream("tokens=10000 itl=10"), path=f"/v1/{CHAT}")
        end_our_side(client)
        read_answer(client)
        client.read_chunk()
    eventually(lambda: engine.record.cancelled == before + 1, "the engine is told")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_listening_socket_accepts_has_tcp_keep_alive(gateway: Running) -> None:
    with wire(gateway.url) as client:
        client.send(b"GET /healthz HTTP/1.1\r\nhost: gateway\r\n\r\n")
        client.read_head()
        timers = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        port = f":{client.connection.getpeername()[1]:04X}"
        ours = f":{client.connection.getsockname()[1]:04X}"
        (row,) = [row for row in timers if row[1].endswith(port) and row[2].endswith(ours)]
        assert row[5].startswith("02:")  # a keep-alive timer runs
