"""A stand-alone server with the OpenAI API that answers by a script, sends faulty bytes, and records its requests.

The server is for tests and load tests. Each call follows the server's script, changed by a marker in the call's prompt
(`script.py` has the grammar). Besides the three POST endpoints there are `GET /v1/models`, `GET /health`, `GET /record`
(figures, see `record.py`) and `DELETE /record`, which resets the figures. A client that closes its side of the connection,
even only for writing, counts as having left. Any client that can connect can read the record, so let the server listen on
loopback only.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import cast

import httptools
import msgspec

from tidegate.engines.scripted.persona import Persona, page, refusal
from tidegate.engines.scripted.record import Entry, Record
from tidegate.engines.scripted.script import Fault, Script, read_ask, script_for
from tidegate.engines.scripted.wire import Ending, Performance, perform, respond
from tidegate.errors import (
    BadRequest,
    GatewayError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    UpstreamBusy,
)
from tidegate.types import ENGINE_ENDPOINTS, Endpoint

MAX_BODY_BYTES = 64 * 2**20
MAX_PIPELINED = 64
# Timers may fire this much early (uvloop counts whole milliseconds), so a write that is due this soon is sent now.
_TIMER_SLACK_S = 0.0005
# The most writes per turn of the event loop, so that a long answer cannot starve the other connections.
_WRITES_A_TURN = 32
_ENDPOINTS = {f"/v1/{endpoint.value}": endpoint for endpoint in ENGINE_ENDPOINTS}
_MODELS = b'{"object":"list","data":[{"id":"scripted","object":"model","created":1700000000,"owned_by":"tidegate"}]}'


class Request(msgspec.Struct, frozen=True):
    """One complete HTTP request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


class ScriptedServer:
    """A scripted server. Call `start` in a running event loop, or use `run_in_thread`.

    `slots` is the number of calls served at once; further calls get a 503 with Retry-After. `record` has the live figures
    of `GET /record`. `like` makes the server imitate an engine's load pages and its response to a call without a slot.
    """

    def __init__(
        self,
        *,
        script: Script,
        port: int = 0,
        host: str = "127.0.0.1",
        slots: int | None = None,
        like: Persona = Persona.OPENAI,
    ) -> None:
        self.script = script
        self.record = Record()
        self.stopping = False
        self._gone = asyncio.Event()
        self._host = host
        self._port = port
        self._slots = slots
        self._like = like
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    @property
    def url(self) -> str:
        """The address of the server without a path, such as `http://127.0.0.1:9000`."""
        return f"http://{self._host}:{self._port}"

    @property
    def base_url(self) -> str:
        """The base URL for an OpenAI client."""
        return f"{self.url}/v1"

    async def start(self) -> None:
        """Start listening. Port 0 chooses a free port. Raises OSError if the port is in use."""
        loop = asyncio.get_running_loop()
        self.stopping = False
        self._server = await loop.create_server(
            lambda: _Connection(self), self._host, self._port, backlog=4096
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and abort every connection."""
        if self._server is None:
            return
        server, self._server = self._server, None
        self.stopping = True
        server.close()
        self._gone.clear()
        for connection in self._connections:
            connection.abort()
        if self._connections:
            await self._gone.wait()
        await server.wait_closed()

    def joined(self, connection: _Connection) -> None:
        """Note a new connection."""
        self._connections.add(connection)
        self.record.opened()

    def left(self, connection: _Connection) -> None:
        """Note a connection that has closed."""
        self._connections.discard(connection)
        self.record.closed()
        if not self._connections:
            self._gone.set()

    def answer(self, request: Request) -> tuple[Performance, Entry | None]:
        """Return the response to a request, and its entry in the record if the request is now in flight."""
        try:
            if endpoint := _ENDPOINTS.get(request.path):
                return self._answer_call(request, endpoint)
            return self._answer_about_itself(request), None
        except GatewayError as error:
            return respond(error.status, error.body(), retry_after_s=error.retry_after_s), None

    def _answer_call(self, request: Request, endpoint: Endpoint) -> tuple[Performance, Entry | None]:
        if request.method != "POST":
            raise MethodNotAllowed(f"{request.path} takes POST")
        record = self.record
        entry = record.received(request.path, request.headers)
        try:
            ask = read_ask(request.body)
            record.understood(entry, request.body)
            if self._slots is not None and record.in_flight >= self._slots:
                if refused := refusal(self._like, stream=bool(ask.stream)):
                    record.turned_away(entry, "refused")
                    return refused, None
                raise UpstreamBusy("all slots are taken", retry_after_s=1)
            script = script_for(self.script, ask)
        except GatewayError as error:
            record.turned_away(entry, "rejected" if isinstance(error, BadRequest) else "refused")
            raise
        performance = perform(script, ask, endpoint)
        record.began(entry, script.fault.value)
        return performance, entry

    def _answer_about_itself(self, request: Request) -> Performance:
        match request.method, request.path:
            case "GET", "/health":
                return respond(200, b'{"status":"ok"}')
            case "GET", "/v1/models":
                return respond(200, _MODELS)
            case "GET", "/record":
                return respond(200, msgspec.json.encode(self.record.figures()))
            case "DELETE", "/record":
                self.record.reset()
                return respond(200, msgspec.json.encode(self.record.figures()))
            case _, "/health" | "/v1/models" | "/record":
                raise MethodNotAllowed(f"{request.path} does not take {request.method}")
            case method, path:
                running = self.record.in_flight
                if method == "GET" and (told := page(self._like, path, running=running, slots=self._slots)):
                    return told
                raise NotFound(f"there is no {request.path}")


class _Player:
    """A sender for one performance. Each write is sent at its time, but not before the client has read earlier writes."""

    def __init__(
        self,
        transport: asyncio.Transport,
        performance: Performance,
        *,
        began_at: float,
        delivered: Callable[[int], None],
        ended: Callable[[Ending], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._performance = performance
        self._delivered = delivered
        self._ended = ended
        self._began_at = began_at
        self._next = 0
        self._timer: asyncio.Handle | None = None

    def play(self) -> None:
        """Send the writes that are due, and set a timer for the next one."""
        self._timer = None
        writes = self._performance.writes
        for _ in range(_WRITES_A_TURN):
            if self._transport.get_write_buffer_size() or self._transport.is_closing():
                return  # `resume` continues once the client has read
            finished = self._next == len(writes)
            due_s = self._performance.ending_due_s if finished else writes[self._next].due_s
            if not (finished and self._performance.ending is Ending.KEEP) and self._wait_until(due_s):
                return
            if finished:
                self._ended(self._performance.ending)
                return
            write = writes[self._next]
            self._next += 1
            self._transport.write(write.data)
            if write.tokens:
                self._delivered(write.tokens)
        self._timer = self._loop.call_soon(self.play)

    def _wait_until(self, due_s: float) -> bool:
        due_at = self._began_at + due_s
        if due_at <= self._loop.time() + _TIMER_SLACK_S:
            return False
        self._timer = self._loop.call_at(due_at, self.play)
        return True

    def resume(self) -> None:
        """Continue after the client has read."""
        if self._timer is None:
            self._timer = self._loop.call_soon(self.play)

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()


class _Connection(asyncio.Protocol):
    """One connection. It reads requests, sends the answers in order, and notices when the client disconnects."""

    def __init__(self, server: ScriptedServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._player: _Player | None = None
        self._entry: Entry | None = None
        self._keep_alive = True
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()

    # ------------------------------------------------------------------------------------------- called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's class does not inherit from it
        # There is no write buffer, so each write waits until the kernel has accepted the previous token. A buffered token
        # would be counted as delivered.
        self._transport.set_write_buffer_limits(0)
        self._server.joined(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        if self._player is not None:
            self._player.stop()
        if self._entry is not None:
            self._server.record.ended(self._entry, "stopped" if self._server.stopping else "cancelled")
            self._entry = None
        self._server.left(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._give_up(BadRequest("the request is not valid HTTP/1.1"))

    def eof_received(self) -> bool:
        if self._player is not None:
            self.abort()
        return False

    def resume_writing(self) -> None:
        if self._player is not None:
            self._player.resume()

    # ----------------------------------------------------------------------------------------- called by the parser

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", {}, bytearray()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > MAX_BODY_BYTES:
            self._give_up(PayloadTooLarge(f"the body is over {MAX_BODY_BYTES} bytes"))

    def on_message_complete(self) -> None:
        request = Request(
            method=self._parser.get_method().decode(),
            path=self._url.partition(b"?")[0].decode("latin-1"),
            headers=self._headers,
            body=bytes(self._body),
            keep_alive=self._parser.should_keep_alive(),
        )
        if self._player is None:
            self._play(request)
        elif len(self._waiting) < MAX_PIPELINED:
            self._waiting.append(request)
        else:
            self.abort()

    # -------------------------------------------------------------------------------------------------------- answers

    def _play(self, request: Request) -> None:
        began_at = asyncio.get_running_loop().time()
        performance, self._entry = self._server.answer(request)
        self._keep_alive = request.keep_alive
        self._player = _Player(
            self._transport, performance, began_at=began_at, delivered=self._delivered, ended=self._ended
        )
        self._player.play()

    def _delivered(self, tokens: int) -> None:
        if self._entry is not None:
            self._server.record.delivered(self._entry, tokens)

    def _ended(self, ending: Ending) -> None:
        if ending is Ending.STALL:
            return  # the request stays in flight until the client leaves
        if self._entry is not None:
            faulted = self._entry.fault != Fault.NONE.value
            self._server.record.ended(self._entry, "faulted" if faulted else "finished")
        self._player = self._entry = None
        if ending is Ending.RESET:
            linger = struct.pack("ii", 1, 0)  # linger on, for 0 s: closing sends RST in place of FIN
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.abort()
        elif ending is Ending.CLOSE or not self._keep_alive:
            self._transport.close()
        elif self._waiting:
            self._play(self._waiting.popleft())

    def _give_up(self, error: GatewayError) -> None:
        if self._player is None and not self._transport.is_closing():
            self._transport.write(respond(error.status, error.body()).writes[0].data)
        self._transport.close()

    def abort(self) -> None:
        """Abort the connection."""
        self._transport.abort()


@contextlib.contextmanager
def run_in_thread(server: ScriptedServer) -> Generator[ScriptedServer]:
    """Run the server on an event loop in another thread, for callers that block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="scripted-server", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def serve(server: ScriptedServer, *, listening: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. `listening` is called with the URL once the server accepts connections."""
    loop = asyncio.get_running_loop()
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop.set)
    try:
        await server.start()
        listening(server.url)
        await asked_to_stop.wait()
    finally:
        await server.stop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
