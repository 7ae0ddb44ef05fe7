"""Gateways and clients for end-to-end tests, on real sockets of the loopback interface.

with run_gateway(config_to(engine.base_url)) as gateway:   # in a thread of this process
with serve(config_to(engine.base_url)) as process:         # `tidegate serve`, for signals and kills
with canned(answer) as engine:                             # an engine that answers with exactly these bytes
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import uvloop

from tidegate.config import parse_text
from tidegate.gateway import Gateway
from tidegate.http.edge.server import bind
from tidegate.http.serving import GatewayServer
from tidegate.runtime import Runtime

T = TypeVar("T")

PATIENCE_S = 30.0
"""The longest time in seconds that a helper waits before a failure, even on a busy machine; half a test's time limit."""


# -------------------------------------------------------------------------------------------------------- configurations


def config_to(
    url: str,
    *,
    server: Mapping[str, Any] | None = None,
    kind: str = "openai",
    rails: str | None = None,
    structure: Mapping[str, Any] | None = None,
    **engine: Any,
) -> str:
    """Return a config that sends every model to one engine. `engine`, `server` and `structure` have further settings.

    Calls are under the default rails, as in production. Only a test of the path itself takes `rails="none"`: rails refuse
    bytes that two readers would read differently, and token ids, and hold back text that may become a match.
    """
    return json.dumps(
        {
            "server": {"port": 0, **(server or {})},
            "engines": {"upstream": {"kind": kind, "url": url, **engine}},
            "models": {"*": {"deployments": [{"engine": "upstream"}], "structure": structure or {}}},
            **({} if rails is None else {"policies": {"default": {"rails": rails}}}),
        }
    )


# -------------------------------------------------------------------------------------------------- a gateway in a thread


@dataclass
class Running:
    """A gateway on its own event loop. `gateway` belongs to that loop: read from it only, and call it with `run`."""

    gateway: Gateway
    loop: asyncio.AbstractEventLoop
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """The base URL for an OpenAI client."""
        return f"{self.url}/v1"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the gateway's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)


@contextmanager
def run_gateway(text: str, runtime: Runtime | None = None) -> Iterator[Running]:
    """Serve the gateway of a YAML text in a thread, like `tidegate serve` but without signals.

    `runtime` is one with clocks of the test.
    """
    config = parse_text(text, source="the test")
    listener = bind(config.server)
    started = threading.Event()
    found: list[tuple[Running, GatewayServer]] = []

    async def main() -> None:
        async with Gateway(config, runtime=runtime) as gateway:
            server = GatewayServer(gateway, listener)
            running = Running(gateway, asyncio.get_running_loop(), listener.getsockname()[1])
            found.append((running, server))
            started.set()
            await server.serve([listener])

    def thread() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(main())
        finally:
            started.set()

    worker = threading.Thread(target=thread, name="gateway", daemon=True)
    worker.start()
    assert started.wait(PATIENCE_S)
    assert found, "the gateway did not start; its traceback is above"
    running, server = found[0]
    try:
        yield running
    finally:
        running.loop.call_soon_threadsafe(_stop, running.gateway, server)
        worker.join(PATIENCE_S)
        assert not worker.is_alive(), "the gateway does not stop"


def _stop(gateway: Gateway, server: GatewayServer) -> None:
    gateway.stop_calls()
    server.should_exit = server.force_exit = True


# ----------------------------------------------------------------------------------------------------- a gateway process

_SERVING = re.compile(r" serving .* on (https?://\S+)/v1$", re.MULTILINE)


@dataclass
class Process:
    """A running `tidegate serve`. Signals are sent only to this process, never to a process group."""

    popen: subprocess.Popen[bytes]
    config_path: Path
    url: str
    _log_path: Path

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def pid(self) -> int:
        return self.popen.pid

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def log(self) -> str:
        """Its standard output and standard error so far."""
        return self._log_path.read_text("utf-8", errors="replace")

    def wait_for_log(self, words: str) -> None:
        """Wait until the log contains `words`."""
        eventually(lambda: words in self.log(), f"'{words}' in the log")

    def rewrite(self, text: str) -> None:
        """Replace its config file atomically."""
        following = self.config_path.with_suffix(".new")
        following.write_text(text, "utf-8")
        following.replace(self.config_path)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait for its end and return its exit status."""
        return self.popen.wait(timeout_s)


@contextmanager
def serve(
    text: str | None, *, args: tuple[str, ...] = (), env: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Run `tidegate serve` on a free port, in its own folder. `text` is its config; None means the built-in config."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config_path, log_path = folder / "tidegate.yaml", folder / "log"
        if text is not None:
            config_path.write_text(text, "utf-8")
        command = [sys.executable, "-m", "tidegate", "serve", "--port", "0", *args]
        with log_path.open("wb") as log:
            popen = subprocess.Popen(
                command, cwd=folder, env={**os.environ, **(env or {})}, stdout=log, stderr=log
            )
        try:
            yield Process(popen, config_path, _url_of(popen, log_path), log_path)
        finally:
            for _ in range(50):  # the second signal skips the wait; sent at once, the two would count as one
                if popen.poll() is not None:
                    break
                popen.terminate()
                with suppress(subprocess.TimeoutExpired):
                    popen.wait(0.1)
            popen.kill()
            popen.wait()


def _url_of(popen: subprocess.Popen[bytes], log_path: Path) -> str:
    ends_at = time.monotonic() + PATIENCE_S
    while popen.poll() is None and time.monotonic() < ends_at:
        if found := _SERVING.search(log_path.read_text("utf-8")):
            return found[1]
        time.sleep(0.01)
    raise AssertionError(f"tidegate serve does not listen:\n{log_path.read_text('utf-8')}")


# ---------------------------------------------------------------------------------------------------------------- clients


@dataclass
class Answer:
    """A complete HTTP response. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]


def ask(
    url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, *, method: str = "POST"
) -> Answer:
    """Send one request on a new connection. Its content type is JSON unless `headers` says otherwise."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_S)
    kinds = {"content-type": "application/json"} if body is not None else {}
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, target, body, {**kinds, **(headers or {})})
        response = connection.getresponse()
        return Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )
    finally:
        connection.close()


@dataclass
class Wire:
    """A TCP connection to a gateway, for tests of bytes that an HTTP client would hide."""

    connection: socket.socket
    data: bytes = field(default=b"", repr=False)

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def post(
        self, body: bytes, *headers: str, path: str = "/v1/chat/completions", version: str = "1.1"
    ) -> None:
        lines = [
            f"POST {path} HTTP/{version}",
            "host: gateway",
            "content-type: application/json",
            f"content-length: {len(body)}",
            *headers,
        ]
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def read(self, size: int = 65536) -> bytes:
        """Read more bytes, return them and add them to `data`. Returns b"" at the end."""
        part = self.connection.recv(size)
        self.data += part
        return part

    def read_until(self, mark: bytes) -> bytes:
        """Read up to and including `mark`, and remove those bytes from `data`."""
        while mark not in self.data:
            assert self.read(), f"the connection ended before {mark!r}: {self.data!r}"
        found, _, self.data = self.data.partition(mark)
        return found + mark

    def read_head(self) -> tuple[int, dict[str, str]]:
        """Read a head and return its status and headers, with names in lower case."""
        line, *lines = self.read_until(b"\r\n\r\n").decode().splitlines()
        pairs = (item.partition(": ") for item in lines if item)
        return int(line.split()[1]), {name.lower(): value for name, _, value in pairs}

    def read_exactly(self, size: int) -> bytes:
        while len(self.data) < size:
            assert self.read(), "the connection ended early"
        found, self.data = self.data[:size], self.data[size:]
        return found

    def read_chunk(self) -> bytes:
        """Read one chunk of a chunked body, which is one write of the gateway. Returns b"" at the end of the body."""
        size = int(self.read_until(b"\r\n"), 16)
        return self.read_exactly(size + 2)[:-2]

    def read_chunks(self) -> list[bytes]:
        """Read all chunks up to the end of the body."""
        return list(iter(self.read_chunk, b""))

    def read_to_end(self) -> bytes:
        """Read until the gateway closes the connection."""
        while self.read():
            pass
        found, self.data = self.data, b""
        return found

    def reset(self) -> None:
        """Close the connection with a reset."""
        self.connection.close()


@contextmanager
def wire(url: str, *, receive_buffer: int | None = None) -> Iterator[Wire]:
    """Open a raw connection. `receive_buffer` limits the bytes that the kernel accepts for a client that does not read."""
    parts = urlsplit(url)
    with socket.socket() as connection:
        connection.settimeout(PATIENCE_S)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect((parts.hostname, parts.port))
        yield Wire(connection)


def eventually(reached: Callable[[], bool], what: str) -> None:
    """Wait until `reached()` is true. Fails after PATIENCE_S, which is longer than any machine needs."""
    ends_at = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < ends_at, f"never happened: {what}"
        time.sleep(0.002)
