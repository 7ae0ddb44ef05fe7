"""The engine-side connection on a transport that is not there."""

from __future__ import annotations

import asyncio
from typing import Any

from tidegate.egress.connection import Connection
from tidegate.egress.exchange import Timeouts
from tidegate.errors import UpstreamError

NEVER_S = 1e6


class Nowhere(asyncio.Transport):
    """Takes what is written and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closing = False

    def write(self, data: Any) -> None:
        if not self.closing:
            self.written.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        self.closing = True

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...

    def is_closing(self) -> bool:
        return self.closing

    def is_reading(self) -> bool:
        return True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_protocol(self, protocol: Any) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 9), "sockname": ("127.0.0.1", 10)}.get(name, default)


async def answer_to(parts: list[bytes], watch: Any) -> tuple[object, ...]:
    """What a caller gets who asks, when these bytes come and then the end: status, headers, body and how it ended."""
    loop = asyncio.get_running_loop()
    connection, transport = Connection(Timeouts(NEVER_S, NEVER_S, NEVER_S, NEVER_S)), Nowhere()
    connection.connection_made(transport)
    caller = loop.create_task(_call(connection, loop.time() + NEVER_S))
    await asyncio.sleep(0)
    for part in parts:
        if transport.closing:
            break
        with watch:
            connection.data_received(part)
        await asyncio.sleep(0)
    connection.connection_lost(None)
    try:
        return await asyncio.wait_for(caller, 5)
    finally:
        connection.finish()


async def _call(connection: Connection, ends_at: float) -> tuple[object, ...]:
    body: list[bytes] = []
    try:
        await connection.start(b"POST / HTTP/1.1\r\n\r\n", ends_at)
        status, headers = connection.status, list(connection.headers)
        while data := await connection.read():
            body.append(data)
    except UpstreamError as error:
        error.body()
        return (type(error).__name__,)
    return status, headers, b"".join(body)
