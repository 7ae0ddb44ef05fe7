"""A transport without a network. It keeps all writes in a list."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any


class Wire(asyncio.Transport):
    """A transport that keeps its writes. `closed_at` is when it was closed, on the loop's clock; None while it is open."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed_at: float | None = None
        self.reading = True

    def write(self, data: Any) -> None:
        assert self.closed_at is None, "written to after it was closed"
        self.written.append(bytes(data))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        if self.closed_at is None:
            self.closed_at = asyncio.get_running_loop().time()

    abort = close

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...

    def is_closing(self) -> bool:
        return self.closed_at is not None

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0
