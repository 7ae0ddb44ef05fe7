"""Engines that answer with exactly the bytes a test gives them, for answers that the scripted engine cannot give.

with canned(whole(b'{"choices": []}')) as engine: ...
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

from serving import PATIENCE_S


@dataclass
class Heard:
    """One request as a canned engine received it. Header names are in lower case."""

    line: bytes
    headers: dict[bytes, bytes]
    body: bytes


def requests(stream: BinaryIO) -> Iterator[Heard]:
    """Yield the requests that a connection brings, one after the other."""
    while line := stream.readline():
        headers: dict[bytes, bytes] = {}
        while header := stream.readline().strip():
            name, _, value = header.partition(b":")
            headers[name.lower()] = value.strip()
        yield Heard(line.strip(), headers, stream.read(int(headers.get(b"content-length", b"0"))))


class Canned(socketserver.ThreadingTCPServer):
    """An engine whose answer is given as bytes, or as a function that writes to the socket."""

    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def __init__(self, answer: bytes | Callable[[socket.socket], None]) -> None:
        self.answer = answer
        self.heard: list[Heard] = []
        self.probes = 0
        super().__init__(("127.0.0.1", 0), _CannedConnection)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _CannedConnection(socketserver.StreamRequestHandler):
    server: Canned

    def handle(self) -> None:
        with suppress(ConnectionError):
            for heard in requests(self.rfile):
                if heard.line.startswith(b"GET"):  # the gateway's probes
                    self.server.probes += 1
                    self.connection.sendall(whole(b"{}"))
                    continue
                self.server.heard.append(heard)
                answer = self.server.answer
                if isinstance(answer, bytes):
                    self.connection.sendall(answer)
                else:
                    answer(self.connection)
                    return


@contextmanager
def canned(answer: bytes | Callable[[socket.socket], None] = b"") -> Iterator[Canned]:
    """Run an engine that answers every POST with these bytes. `answer` may be changed between requests."""
    with Canned(answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="canned", daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(PATIENCE_S)


def whole(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Return a complete HTTP answer with a JSON body."""
    lines = (
        b"HTTP/1.1 " + status,
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        *headers,
    )
    return b"\r\n".join([*lines, b"", body])


def streamed(body: bytes, *headers: bytes) -> bytes:
    """Return a complete HTTP answer that is an event stream, in one chunk."""
    lines = (
        b"HTTP/1.1 200 OK",
        b"content-type: text/event-stream",
        b"transfer-encoding: chunked",
        *headers,
    )
    return b"\r\n".join([*lines, b"", b"%x" % len(body), body, b"0", b"", b""])
