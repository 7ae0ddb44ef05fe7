"""One connection and the application behind it: what is written when, what an application must not do, how it ends."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from virtual import run
from wire import Wire

from tidegate.config import ServerConfig, parse_text
from tidegate.gateway import Gateway
from tidegate.http.app import create_app
from tidegate.http.edge.server import EdgeServer

App = Callable[[Any, Any, Any], Awaitable[None]]

KEEP_ALIVE_S = 5.0
LENGTH = (b"content-length", b"2")


def request(method: str = "GET", version: str = "1.1", more: str = "", body: str = "") -> bytes:
    return f"{method} /any HTTP/{version}\r\nhost: here\r\n{more}\r\n{body}".encode()


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


def saying(*messages: dict[str, Any]) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        for message in messages:
            await send(message)

    return app


class Client:
    """A connection to an application, its bytes in our hands."""

    def __init__(self, app: App) -> None:
        server = EdgeServer(app, ServerConfig(keep_alive_ms=int(KEEP_ALIVE_S * 1000)))
        self.wire = Wire()
        self.tasks = server.server_state.tasks
        self._protocol: Any = server.config.http_protocol_class(
            config=server.config, server_state=server.server_state, app_state={}
        )
        self._protocol.connection_made(self.wire)

    def receive(self, data: bytes) -> None:
        """One read of the event loop."""
        self._protocol.data_received(data)

    async def send(self, data: bytes) -> list[bytes]:
        """The writes that these bytes bring, once everything rests."""
        before = len(self.wire.written)
        self._protocol.data_received(data)
        if self.tasks:
            await asyncio.wait(self.tasks)
        await asyncio.sleep(0)
        return self.wire.written[before:]


def talk(app: App, *parts: bytes) -> tuple[list[bytes], Wire]:
    """The writes in answer to the last of the parts, and the wire."""

    async def conversation() -> tuple[list[bytes], Wire]:
        client = Client(app)
        writes: list[bytes] = []
        for one in parts:
            writes = await client.send(one)
        return writes, client.wire

    return run(conversation())


def body_of(data: bytes) -> bytes:
    return data.partition(b"\r\n\r\n")[2]


# -- what is written -------------------------------------------------------------------------------------------------


def test_a_whole_response_is_one_write_and_the_connection_stays() -> None:
    writes, wire = talk(saying(start(LENGTH), part(b"ok")), request())
    assert len(writes) == 1
    assert body_of(writes[0]) == b"ok"
    assert writes[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.closed_at is None


def test_what_a_stream_says_in_one_turn_is_one_write() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        await send(start())
        await send(part(b"one", more=True))
        await asyncio.sleep(1)
        await send(part(b"two", more=True))
        await send(part(b"three"))

    writes, _ = talk(app, request())
    assert [body_of(writes[0]), writes[1]] == [b"3\r\none\r\n", b"3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"]
    assert b"transfer-encoding: chunked\r\n" in writes[0]
    assert len(writes) == 2


def test_an_old_client_gets_no_chunks_and_the_end_of_the_connection() -> None:
    writes, wire = talk(saying(start(), part(b"one", more=True), part(b"two")), request(version="1.0"))
    answer = b"".join(writes)
    assert body_of(answer) == b"onetwo"
    assert b"chunked" not in answer
    assert b"connection: close\r\n" in answer
    assert wire.closed_at is not None


@pytest.mark.parametrize("headers", [[LENGTH], []])
def test_head_is_answered_without_a_body(headers: list[tuple[bytes, bytes]]) -> None:
    writes, wire = talk(saying(start(*headers), part(b"ok")), request("HEAD"))
    assert body_of(b"".join(writes)) == b""
    assert (b"content-length: 2" in writes[0]) == bool(headers)
    assert wire.closed_at is None


def test_the_body_is_asked_for_when_the_application_reads() -> None:
    asked: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope
        while (message := await receive())["more_body"]:
            asked.append(message["body"])
        asked.append(message["body"])
        await send(start(LENGTH))
        await send(part(b"ok"))

    async def conversation() -> list[bytes]:
        client = Client(app)
        head = request("POST", more="expect: 100-continue\r\ncontent-length: 4\r\n")
        client._protocol.data_received(head)
        await asyncio.sleep(0.001)
        client._protocol.data_received(b"bo")
        await asyncio.sleep(0.001)
        await client.send(b"dy")
        return client.wire.written

    written = run(conversation())
    assert written[0] == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b"".join(asked) == b"body"
    assert body_of(written[1]) == b"ok"


@pytest.mark.parametrize(("status", "line"), [(404, b"404 Not Found"), (499, b"499 "), (599, b"599 ")])
def test_a_status_that_no_standard_knows_is_passed_on(status: int, line: bytes) -> None:
    writes, _ = talk(saying(start(LENGTH, status=status), part(b"no")), request())
    assert writes[0].startswith(b"HTTP/1.1 " + line + b"\r\n")


# -- what an application must not do ------------------------------------------------------------------------------------

BAD_BEFORE_THE_HEAD = {
    "says nothing": [],
    "a body without a head": [part(b"ok")],
    "a line break in a value": [start((b"x", b"a\r\nset-cookie: b"), LENGTH), part(b"ok")],
    "a bare return in a value": [start((b"x", b"a\rb"), LENGTH), part(b"ok")],
    "a line break in a name": [start((b"x\n", b"a"), LENGTH), part(b"ok")],
}
BAD_BEHIND_IT = {
    "ends early": [start(), part(b"ok", more=True)],
    "longer than it said": [start(LENGTH), part(b"o", more=True), part(b"kay")],
    "shorter than it said": [start(LENGTH), part(b"o", more=True), part(b"")],
    "a second head": [start(), part(b"ok", more=True), start()],
}


@pytest.mark.parametrize("messages", BAD_BEFORE_THE_HEAD.values(), ids=BAD_BEFORE_THE_HEAD.keys())
def test_before_anything_is_sent_a_bug_is_a_500(messages: list[dict[str, Any]]) -> None:
    writes, wire = talk(quiet(saying(*messages)), request())
    answer = b"".join(writes)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"set-cookie" not in answer
    assert b"internal_error" in body_of(answer)
    assert wire.closed_at is not None


@pytest.mark.parametrize("messages", BAD_BEHIND_IT.values(), ids=BAD_BEHIND_IT.keys())
def test_behind_the_head_a_bug_ends_the_connection_and_not_the_body(messages: list[dict[str, Any]]) -> None:
    writes, wire = talk(quiet(saying(*messages)), request())
    assert not b"".join(writes).endswith(b"0\r\n\r\n")
    assert wire.closed_at is not None


def test_a_bug_is_in_the_log_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("told")

    async def conversation() -> None:
        client = Client(broken)
        await client.send(request())
        await asyncio.sleep(0)

    gc.disable()
    try:
        run(conversation())
        assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["told"]
    finally:
        gc.enable()


def test_a_failed_head_is_answered_without_a_body() -> None:
    writes, _ = talk(saying(), request("HEAD"))
    assert b"".join(writes).endswith(b"\r\n\r\n")


def test_any_asgi_server_takes_our_application_for_one() -> None:
    config = uvicorn.Config(create_app(Gateway(parse_text("", source="a test"))), lifespan="off")
    config.load()
    assert config.interface == "asgi3"


def quiet(app: App) -> App:
    """Its exceptions are expected: the loop need not speak of them."""

    async def quieted(scope: Any, receive: Any, send: Any) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        await app(scope, receive, send)

    return quieted


# -- how it ends -------------------------------------------------------------------------------------------------------


def test_an_idle_connection_is_closed_after_its_last_request_not_its_first() -> None:
    async def conversation() -> float | None:
        client = Client(saying(start(LENGTH), part(b"ok")))
        for at in (1.0, 3.0, 7.0):
            loop = asyncio.get_running_loop()
            await asyncio.sleep(at - loop.time())
            await client.send(request())
        await asyncio.sleep(60)
        return client.wire.closed_at

    assert run(conversation()) == pytest.approx(7.0 + KEEP_ALIVE_S, abs=0.02)


def test_a_request_that_runs_longer_than_the_keep_alive_is_not_idle() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if not slow_from.pop():
            await asyncio.sleep(10 * KEEP_ALIVE_S)
        await saying(start(LENGTH), part(b"ok"))(scope, receive, send)

    slow_from = [False, True]
    writes, wire = talk(slow, request(), request())
    assert body_of(writes[0]) == b"ok"
    assert wire.closed_at is None


def test_half_a_head_is_not_idle_but_has_its_own_end() -> None:
    async def conversation() -> tuple[float, float | None]:
        client = Client(saying(start(LENGTH), part(b"ok")))
        await client.send(request())
        await asyncio.sleep(KEEP_ALIVE_S - 1)
        client._protocol.data_received(request()[:20])
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(600)
        return began, client.wire.closed_at

    began, closed_at = run(conversation())
    assert closed_at == pytest.approx(began + ServerConfig().head_timeout_ms / 1000, abs=0.02)


def test_a_blank_line_is_no_sign_of_life() -> None:
    async def conversation() -> float | None:
        client = Client(saying(start(LENGTH), part(b"ok")))
        await client.send(request())
        for _ in range(3):
            await asyncio.sleep(1)
            await client.send(b"\r\n")
        await asyncio.sleep(600)
        return client.wire.closed_at

    assert run(conversation()) == pytest.approx(KEEP_ALIVE_S, abs=0.02)


def test_a_lost_connection_needs_no_garbage_collector() -> None:
    async def conversation() -> bool:
        client = Client(saying(start(LENGTH), part(b"ok")))
        await client.send(request() + request())
        protocol = client._protocol
        client.wire.close()
        protocol.connection_lost(None)
        left = weakref.ref(protocol)
        del client, protocol
        await asyncio.sleep(0.01)
        return left() is None

    gc.collect()
    gc.disable()
    try:
        assert run(conversation())
    finally:
        gc.enable()


def test_bodies_that_are_sent_ahead_are_read_only_so_far() -> None:
    """However fast the requests before them are answered: each answer lets the connection be read again."""
    one = request("POST", more="content-length: 60000\r\n", body="x" * 60_000)
    flood, read_bytes = one * 200, 256 * 1024

    async def conversation() -> int:
        turns, answered, fed, most = asyncio.Semaphore(0), 0, 0, 0

        async def app(scope: Any, receive: Any, send: Any) -> None:
            del scope
            while (await receive())["more_body"]:
                pass
            await turns.acquire()
            await send(start(LENGTH))
            await send(part(b"ok"))

        client = Client(app)
        while answered < 100:
            while client.wire.reading:
                client.receive(flood[fed : fed + read_bytes])
                fed += read_bytes
                for _ in range(5):
                    await asyncio.sleep(0)
            most = max(most, fed - answered * len(one))
            turns.release()
            answered += 1
            while len(client.wire.written) < answered:
                await asyncio.sleep(0)
        for task in client.tasks:
            task.cancel()
        await asyncio.sleep(0)
        return most

    assert run(conversation()) <= 2 * read_bytes
