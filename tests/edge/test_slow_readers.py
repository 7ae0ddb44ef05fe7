"""Whole answers for clients that read slowly: how much memory they take, who waits, and that every byte arrives.

The gateways have no rails: nobody could check such answers within the rails' budget.
"""

from __future__ import annotations

import re
import selectors
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from canned import canned, whole
from serving import Process, Running, Wire, ask, config_to, eventually, run_gateway, serve, wire
from talking import chat, post

MIB = 2**20
BUDGET = 40 * MIB
ANSWER = 20 * MIB
READERS = 8
TLS = Path(__file__).parent.parent / "egress" / "tls"


def answer_of(size: int, text: str = "x") -> bytes:
    """A chat answer of so many bytes."""
    around = b'{"choices":[{"index":0,"message":{"content":"%b"},"finish_reason":"stop"}]}'
    room = size - len(around) + 2
    filled = text.encode() * (room // len(text.encode()))
    return around % (filled + b"x" * (room - len(filled)))


def metric(url: str, name: str) -> int:
    page = ask(f"{url}/metrics", method="GET").body.decode()
    found = re.search(rf"^tidegate_{name} (\S+)$", page, re.MULTILINE)
    assert found, page
    return int(float(found[1]))


def memory(process: Process, what: str) -> int:
    """`VmRSS` now, or `VmHWM`: the most since the last `forget_peak`."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def forget_peak(process: Process) -> None:
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")


@dataclass
class Reader:
    """A client that has asked and reads only when it is told to."""

    client: Wire
    expected: bytes
    read: int = 0
    head: bytes = b""
    wrong: list[int] = field(default_factory=list)

    def step(self, size: int) -> bool:
        """Some bytes; whether there are more to come."""
        part = self.client.connection.recv(size)
        assert part, f"the connection ended after {self.read} bytes of the body"
        if not self.read and b"\r\n\r\n" not in self.head:
            self.head += part
            _, found, part = self.head.partition(b"\r\n\r\n")
            assert not found or self.head.startswith(b"HTTP/1.1 200 "), self.head
        if part != self.expected[self.read : self.read + len(part)]:
            self.wrong.append(self.read)
        self.read += len(part)
        return self.read < len(self.expected)


@contextmanager
def asking(url: str, count: int, expected: bytes) -> Iterator[list[Reader]]:
    with ExitStack() as stack:
        readers = [
            Reader(stack.enter_context(wire(url, receive_buffer=16 * 1024)), expected) for _ in range(count)
        ]
        for reader in readers:
            reader.client.post(chat())
        yield readers


def read_all(readers: list[Reader], size: int = 128 * 1024) -> None:
    """A little for each in turn, as it comes, until all have everything."""
    with selectors.DefaultSelector() as selector:
        for reader in readers:
            selector.register(reader.client.connection, selectors.EVENT_READ, reader)
        while selector.get_map():
            ready = selector.select(20)
            assert ready, f"nothing comes: {[reader.read for reader in readers]}"
            for key, _ in ready:
                if not key.data.step(size):
                    selector.unregister(key.fileobj)


SETTINGS: dict[str, Any] = {"max_unread_answer_bytes": BUDGET}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads /proc")
@pytest.mark.parametrize("text", ["x", "é", "中", "x" * 1000 + "😀"], ids=["1", "2", "3", "mixed"])
def test_slow_readers_of_large_answers_cost_no_more_than_the_bound(text: str) -> None:
    expected = answer_of(ANSWER, text)
    with (
        canned(whole(answer_of(ANSWER // 16))) as engine,
        serve(config_to(engine.base_url, rails="none", server=SETTINGS)) as process,
    ):
        assert ask(f"{process.base_url}/chat/completions", chat()).status == 200  # all code is loaded
        engine.answer = whole(expected)
        before = memory(process, "VmRSS")
        forget_peak(process)
        with asking(process.url, READERS, expected) as readers:
            eventually(
                lambda: metric(process.url, "unread_answers_waiting") >= READERS - 2, "the others wait"
            )
            assert metric(process.url, "unread_answer_bytes") <= BUDGET
            read_all(readers)
            assert [reader.wrong for reader in readers] == [[]] * READERS
        assert memory(process, "VmHWM") - before <= BUDGET
        eventually(lambda: metric(process.url, "unread_answer_bytes") == 0, "nothing is held")
        eventually(lambda: memory(process, "VmRSS") - before <= 4 * MIB, "nothing stays behind")
        assert metric(process.url, "unread_answer_waits_total") >= READERS - 2


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads /proc")
def test_it_is_no_more_over_tls() -> None:
    """There a write goes into the connection at once, however large it is, and is held encrypted."""
    expected = answer_of(ANSWER)
    settings = {
        **SETTINGS,
        "tls": {name: str(TLS / "server.pem") for name in ("certificate_path", "key_path")},
    }
    trust = ssl.create_default_context(cafile=str(TLS / "ca.pem"))

    def read(client: Wire) -> bytes:
        _, headers = client.read_head()
        body = bytearray(client.data)
        while len(body) < int(headers["content-length"]):
            body += client.connection.recv(2**16)
        return bytes(body)

    with (
        canned(whole(answer_of(MIB))) as engine,
        serve(config_to(engine.base_url, rails="none", server=settings)) as process,
    ):

        @contextmanager
        def asked() -> Iterator[Wire]:
            with wire(process.url, receive_buffer=16 * 1024) as client:
                client.connection = trust.wrap_socket(client.connection, server_hostname="localhost")
                with client.connection:
                    client.post(chat())
                    yield client

        with asked() as first:
            read(first)
        engine.answer = whole(expected)
        before = memory(process, "VmRSS")
        forget_peak(process)
        with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
            clients = [stack.enter_context(asked()) for _ in range(4)]
            eventually(lambda: len(engine.heard) == 5, "all are asked for")
            assert all(body == expected for body in pool.map(read, clients))
        assert memory(process, "VmHWM") - before <= BUDGET


@pytest.fixture
def small() -> Iterator[tuple[Running, bytes]]:
    """A gateway with room for one of the answers and a half, and a short patience."""
    expected = answer_of(8 * MIB)
    settings = {"max_unread_answer_bytes": 12 * MIB, "send_stall_ms": 300}
    with (
        canned(whole(expected)) as engine,
        run_gateway(config_to(engine.base_url, rails="none", server=settings)) as gateway,
    ):
        yield gateway, expected


def test_readers_that_stop_are_dropped_and_make_room_for_others(small: tuple[Running, bytes]) -> None:
    gateway, expected = small
    answers = gateway.gateway.answers
    with asking(gateway.url, 2, expected) as stalled:
        eventually(lambda: answers.waiting == 1, "one is held and one waits")
        with asking(gateway.url, 2, expected) as readers:
            eventually(lambda: answers.waiting >= 1 and len(gateway.gateway.live) >= 3, "more wait")
            read_all(readers)
            assert [reader.wrong for reader in readers] == [[]] * 2
        for reader in stalled:
            with pytest.raises((AssertionError, ConnectionError)):
                read_all([reader], 2**20)
            assert reader.read < len(expected)
    eventually(lambda: (answers.held_bytes, answers.waiting) == (0, 0), "nothing is held")
    eventually(lambda: not gateway.gateway.live, "no call is left")


def test_who_leaves_the_line_or_the_answer_gives_everything_back(small: tuple[Running, bytes]) -> None:
    gateway, expected = small
    answers = gateway.gateway.answers
    with asking(gateway.url, 4, expected) as readers:
        eventually(lambda: answers.waiting == 3, "three wait")
        for reader in readers[1:3]:
            reader.client.reset()
        eventually(lambda: answers.waiting == 1, "two have left the line")
        readers[0].client.reset()
        read_all(readers[3:])
        assert readers[3].wrong == []
    eventually(lambda: (answers.held_bytes, answers.waiting) == (0, 0), "nothing is held")


def test_a_small_answer_passes_by_those_that_wait() -> None:
    large, tiny = answer_of(8 * MIB), answer_of(60_000)
    settings = {"max_unread_answer_bytes": 9 * MIB}
    with (
        canned(whole(large)) as engine,
        run_gateway(config_to(engine.base_url, rails="none", server=settings)) as gateway,
        asking(gateway.url, 2, large),
    ):
        eventually(lambda: gateway.gateway.answers.waiting == 1, "one waits")
        engine.answer = whole(tiny)
        assert post(gateway, chat()).body == tiny


def test_answers_that_do_not_say_how_long_they_are_all_end() -> None:
    """Each gets room in steps, and two of them want more than there is."""
    body = answer_of(6 * MIB)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"

    def say(connection: socket.socket) -> None:
        connection.sendall(head + body)

    settings = {"max_unread_answer_bytes": 8 * MIB}
    with (
        canned(say) as engine,
        run_gateway(config_to(engine.base_url, rails="none", server=settings)) as gateway,
    ):
        answers = gateway.gateway.answers
        with asking(gateway.url, 6, body) as readers:
            eventually(lambda: answers.waiting > 0, "some wait")
            read_all(readers)
            assert [reader.wrong for reader in readers] == [[]] * 6
        eventually(lambda: (answers.held_bytes, answers.waiting) == (0, 0), "nothing is held")


def test_an_answer_larger_than_the_whole_bound_goes_alone() -> None:
    body = answer_of(3 * MIB)
    settings = {"max_unread_answer_bytes": MIB}
    with (
        canned(whole(body)) as engine,
        run_gateway(config_to(engine.base_url, rails="none", server=settings)) as gateway,
    ):
        answers = gateway.gateway.answers
        with asking(gateway.url, 3, body) as readers:
            read_all(readers)
            assert [reader.wrong for reader in readers] == [[]] * 3
        eventually(lambda: (answers.held_bytes, answers.waiting) == (0, 0), "nothing is held")


def test_an_answer_longer_than_may_be_is_not_read_at_all() -> None:
    with (
        canned(whole(answer_of(3 * MIB))) as engine,
        run_gateway(config_to(engine.base_url, rails="none", max_response_bytes=MIB)) as gateway,
    ):
        answer = post(gateway, chat())
        assert (answer.status, answer.error["code"]) == (502, "engine_error")
        eventually(lambda: gateway.gateway.answers.held_bytes == 0, "nothing is held")
