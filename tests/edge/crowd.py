"""A thousand clients that never say a word, a thousand that never listen, and an engine with much to say to them."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

STREAM = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"much"}]}'
WHOLE = b'{"model":"m","messages":[{"role":"user","content":"little"}]}'
_EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 3000)
_STREAMED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
_ANSWER = b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
_WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


def allow_files(count: int) -> None:
    """Raise this process's limit of open files, which its children inherit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        assert wanted == count, f"this machine allows {hard} open files, {count} are needed"


@dataclass
class Talkative:
    """What an engine says; `events` counts them in all its streams."""

    events: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = (
                    int(head.lower().partition(b"content-length:")[2].split()[0]) if b"POST" in head else 0
                )
                body = await reader.readexactly(length)
                if b'"much"' in body:
                    writer.write(_STREAMED)
                    while True:  # as long as somebody takes it
                        writer.write(_EVENT)
                        self.events += 1
                        await writer.drain()
                writer.write(_WHOLE % (len(_ANSWER), _ANSWER))
                await writer.drain()
        writer.close()


@contextlib.contextmanager
def talkative_engine(talk: Talkative | None = None) -> Iterator[str]:
    """An engine in a thread: its base URL. Who asks for `much` in a stream gets events without end."""
    loop = asyncio.new_event_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(
        socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024
    )  # else the kernel takes megabytes for each
    serve = (talk or Talkative()).serve
    server = loop.run_until_complete(asyncio.start_server(serve, sock=listener, backlog=2048))
    port = listener.getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:

        async def stop() -> None:
            server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


@contextlib.contextmanager
def clients(url: str, count: int, said: bytes) -> Iterator[list[socket.socket]]:
    """So many connections that have said this and never read."""
    parts = urlsplit(url)
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        for _ in range(count):
            one = opened.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.settimeout(30)
            one.connect((parts.hostname, parts.port))
            one.sendall(said)
            sockets.append(one)
        yield sockets


def request(body: bytes) -> bytes:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\n"
    return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)


def resident_mib(pid: int) -> float:
    """Memory of a process, as the kernel counts it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
