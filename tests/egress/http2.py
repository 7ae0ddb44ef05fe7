"""As much of an HTTP/2 server as the egress tests need (RFC 9113): frames, flow control, no header decoding."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from egress.servers import Peer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4
STATUS_200 = b"\x88"  # an entry of HPACK's static table (RFC 7541, appendix A)


@dataclass
class Stream:
    """One request; `body` is whole when the answer begins."""

    link: Link
    number: int
    body: bytes = b""
    window: int = 0
    sent: int = 0
    reset: asyncio.Event = field(default_factory=asyncio.Event)

    def frame(self, kind: int, flags: int = 0, payload: bytes = b"") -> None:
        self.link.frame(kind, flags, self.number, payload)

    def headers(self, *, end: bool = False) -> None:
        self.frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), STATUS_200)

    async def data(self, payload: bytes, *, end: bool = False) -> None:
        """Send as the client's windows allow."""
        while len(payload) > min(self.window, self.link.window):
            self.link.more.clear()
            await self.link.more.wait()
        self.window -= len(payload)
        self.link.window -= len(payload)
        self.sent += len(payload)
        self.frame(DATA, END_STREAM if end else 0, payload)
        await self.link.peer.writer.drain()


@dataclass
class Link:
    """One connection."""

    peer: Peer
    streams: dict[int, Stream] = field(default_factory=dict)
    window: int = 65535
    initial: int = 65535
    more: asyncio.Event = field(default_factory=asyncio.Event)

    def frame(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
        self.peer.writer.write(head + payload)

    def settings(self, payload: bytes) -> None:
        for i in range(0, len(payload), 6):
            if int.from_bytes(payload[i : i + 2], "big") == INITIAL_WINDOW_SIZE:
                self.initial = int.from_bytes(payload[i + 2 : i + 6], "big")

    def take(self, kind: int, flags: int, number: int, payload: bytes) -> Stream | None:
        """A frame from the client; the stream whose request it made whole."""
        stream = self.streams.get(number)
        if kind == SETTINGS and not flags & ACK:
            self.settings(payload)
            self.frame(SETTINGS, ACK, 0)
        elif kind == PING and not flags & ACK:
            self.frame(PING, ACK, 0, payload)
        elif kind == WINDOW_UPDATE:
            size = int.from_bytes(payload, "big")
            if number == 0:
                self.window += size
            elif stream is not None:
                stream.window += size
            self.more.set()
        elif kind == HEADERS:
            stream = self.streams[number] = Stream(self, number, window=self.initial)
        elif kind == DATA and stream is not None:
            stream.body += payload
        elif kind == RST_STREAM and stream is not None:
            stream.reset.set()
        return stream if kind in (HEADERS, DATA) and flags & END_STREAM else None


def script(
    answer: Callable[[Stream], Awaitable[None]], links: list[Link], *, most: int = 100
) -> Callable[[Peer], Awaitable[None]]:
    """A server's script: every request is answered in a task of its own."""

    async def run(peer: Peer) -> None:
        link = Link(peer)
        links.append(link)
        assert await peer.reader.readexactly(len(PREFACE)) == PREFACE
        link.frame(SETTINGS, 0, 0, MAX_CONCURRENT_STREAMS.to_bytes(2, "big") + most.to_bytes(4, "big"))
        tasks: list[asyncio.Future[None]] = []
        try:
            while True:
                head = await peer.reader.readexactly(9)
                payload = await peer.reader.readexactly(int.from_bytes(head[:3], "big"))
                stream = link.take(head[3], head[4], int.from_bytes(head[5:9], "big") & 2**31 - 1, payload)
                if stream is not None:
                    tasks.append(asyncio.ensure_future(answer(stream)))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return run
