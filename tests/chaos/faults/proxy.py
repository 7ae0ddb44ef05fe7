"""A proxy between a gateway and an engine that breaks answers as a plan says. It knows HTTP, chunks and events.

async with FaultProxy("a", engine_port, plan) as proxy:   # proxy.url is what the gateway gets
    proxy.plan = always(Fault(Kind.RESET, after=3))        # from the next exchange on
    await proxy.refuse()                                   # no connection any more, until `listen`

Only calls (POST) meet the plan. Whatever else a gateway asks, such as probes, passes.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import time
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from chaos.faults.history import Passed
from chaos.faults.plan import BREAKS_OFF, SOUND, Fault, Kind, Plan, sound
from chaos.faults.wire import Part, length_of, parts_of

HOST = "127.0.0.1"
_SLICE = 64
_OP = re.compile(rb"op-(\d+)")
_GATEWAY = re.compile(rb"\r\nx-chaos-gateway: *(\S+)", re.IGNORECASE)


class FaultProxy:
    """The proxy of one engine. `passed` has every call that came, in order."""

    def __init__(self, name: str, engine_port: int, plan: Plan = sound) -> None:
        self.name = name
        self.plan = plan
        self.passed: list[Passed] = []
        self.port = 0
        self._engine_port = engine_port
        self._server: asyncio.Server | None = None
        self._sides: set[_GatewaySide] = set()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/v1"

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()

    async def listen(self) -> None:
        """Accept connections, on the same port as before."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _GatewaySide(self), HOST, self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Refuse connections, as if no process had the port, and reset those that there are."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        tasks = [side.task for side in self._sides]
        for side in list(self._sides):
            side.reset()
        await asyncio.gather(*tasks, return_exceptions=True)

    def joined(self, side: _GatewaySide) -> None:
        self._sides.add(side)
        side.task.add_done_callback(lambda _: self._sides.discard(side))

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(HOST, self._engine_port)


class _GatewaySide(asyncio.Protocol):
    """One connection of a gateway. Its task passes one exchange after the other, and ends when the gateway leaves."""

    transport: Any
    task: asyncio.Task[None]

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self._sent = asyncio.StreamReader()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    # ------------------------------------------------------------------------------------------- called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.task = asyncio.get_running_loop().create_task(self._run())
        self._proxy.joined(self)

    def data_received(self, data: bytes) -> None:
        self._sent.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.task.cancel()

    # -------------------------------------------------------------------------------------------------- exchanges

    async def _run(self) -> None:
        try:
            while await self._exchange():
                pass
            self.transport.close()
        except asyncio.IncompleteReadError as error:  # the engine's answer breaks off, and so does this one
            self.transport.write(error.partial)
            self.transport.close()
        except ConnectionError:
            self.reset()
        except asyncio.CancelledError:
            self.transport.abort()
        finally:
            self._leave_engine()

    async def _exchange(self) -> bool:
        """Pass one request and its answer. Return whether another one may follow on this connection."""
        head = await self._sent.readuntil(b"\r\n\r\n")
        body = await self._sent.readexactly(length_of(head))
        if not head.startswith(b"POST"):
            return await self._pass(SOUND, head + body, Passed(engine=self._proxy.name))
        passed = self._note(head, body)
        try:
            return await self._pass(self._proxy.plan(passed.number), head + body, passed)
        finally:
            passed.ended_at = time.monotonic()

    def _note(self, head: bytes, body: bytes) -> Passed:
        op, gateway = _OP.search(body), _GATEWAY.search(head)
        passed = Passed(
            engine=self._proxy.name,
            gateway=gateway[1].decode() if gateway else "",
            op=int(op[1]) if op else -1,
            number=len(self._proxy.passed),
            received_at=time.monotonic(),
        )
        self._proxy.passed.append(passed)
        return passed

    async def _pass(self, fault: Fault, request: bytes, passed: Passed) -> bool:
        if fault.kind is Kind.STATUS:
            await asyncio.sleep(fault.seconds)
            self._met(fault, passed)
            self.transport.write(_refusal(fault))
            return True
        if fault.kind is Kind.REFUSE:
            self._met(fault, passed)
            return self.reset()
        reader = await self._ask(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if fault.kind in BREAKS_OFF and not fault.after:
            return await self._break_off(fault, Part(b""), passed)
        await self._write_head(fault, head, passed)
        before = 0
        async for part in parts_of(head, reader):
            if fault.kind in BREAKS_OFF and before >= fault.after and _fits(fault, part):
                return await self._break_off(fault, part, passed)
            await self._write(fault, part.raw)
            before += 1
        return True

    async def _ask(self, request: bytes) -> asyncio.StreamReader:
        if self._reader is None or self._writer is None or self._reader.at_eof():
            self._leave_engine()
            self._reader, self._writer = await self._proxy.connect()
        self._writer.write(request)
        return self._reader

    # ----------------------------------------------------------------------------------------------------- faults

    async def _write_head(self, fault: Fault, head: bytes, passed: Passed) -> None:
        if fault.kind in {Kind.LATENCY, Kind.BANDWIDTH, Kind.SLOW_HEADERS}:
            self._met(fault, passed)
        if fault.kind is Kind.LATENCY:
            await asyncio.sleep(fault.seconds)
        if fault.kind is not Kind.SLOW_HEADERS:
            self.transport.write(head)
            return
        for at in range(len(head)):
            self.transport.write(head[at : at + 1])
            await asyncio.sleep(fault.seconds / len(head))

    async def _write(self, fault: Fault, data: bytes) -> None:
        if fault.kind is not Kind.BANDWIDTH:
            self.transport.write(data)
            return
        for at in range(0, len(data), _SLICE):
            self.transport.write(data[at : at + _SLICE])
            await asyncio.sleep(_SLICE / fault.bytes_per_s)

    async def _break_off(self, fault: Fault, part: Part, passed: Passed) -> bool:
        """Break the answer off at this part of it. Return whether the connection is still good."""
        self._met(fault, passed)
        match fault.kind:
            case Kind.RESET:
                return self.reset()
            case Kind.STALL:
                await asyncio.Event().wait()
            case Kind.HALF_OPEN:
                self._leave_engine()
                await asyncio.Event().wait()
            case Kind.CUT_EVENT:
                self.transport.write(part.begun(len(part.data) // 2))
            case Kind.CUT_CHARACTER:
                self.transport.write(part.begun(part.inside_a_character or 1))
            case Kind.CUT_CHUNK:
                self.transport.write(part.size_line[:1])
                return False
            case _:
                return False
        self._leave_engine()  # the rest of its answer is not read
        return bool(part.size_line)

    def _met(self, fault: Fault, passed: Passed) -> None:
        passed.fault, passed.after = fault.kind.value, fault.after

    def reset(self) -> bool:
        """Close the connection with RST. Return False: no further exchange follows."""
        found: socket.socket | None = self.transport.get_extra_info("socket")
        if found is not None and not self.transport.is_closing():
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
        return False

    def _leave_engine(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None


def _fits(fault: Fault, part: Part) -> bool:
    """Whether the fault can be at this part of an answer."""
    match fault.kind:
        case Kind.CUT_EVENT:
            return len(part.data) > 1
        case Kind.CUT_CHARACTER:
            return part.inside_a_character is not None
        case Kind.CUT_CHUNK:
            return bool(part.size_line)
        case _:
            return True


def _refusal(fault: Fault) -> bytes:
    body = b'{"error":{"message":"a fault of the test","type":"server_error","code":null,"param":null}}'
    lines = [
        f"HTTP/1.1 {fault.status} {HTTPStatus(fault.status).phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    if fault.retry_after_s is not None:
        lines.append(f"retry-after: {fault.retry_after_s:g}")
    return "\r\n".join([*lines, "", ""]).encode() + body
