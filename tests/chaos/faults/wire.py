"""The parts of an engine's answer as they travel: its head, and its chunks or halves."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CHARACTER = re.compile(rb"[\xc2-\xf4]")
"""The first byte of a character of several bytes."""


@dataclass(frozen=True)
class Part:
    """A part of a body. `size_line` is empty if the body has no chunks; `is_last` marks the end of the chunks."""

    data: bytes
    size_line: bytes = b""
    is_last: bool = False

    @property
    def raw(self) -> bytes:
        return self.size_line + self.data + (b"\r\n" if self.size_line else b"")

    def begun(self, size: int) -> bytes:
        """The first bytes of the part as a body that ends there, with all of its chunks in order."""
        data = self.data[:size]
        return b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if self.size_line else data

    @property
    def inside_a_character(self) -> int | None:
        """A place inside a character of several bytes; None if there is none."""
        found = _CHARACTER.search(self.data)
        return None if found is None else found.end()


def length_of(head: bytes) -> int:
    found = _LENGTH.search(head)
    return int(found[1]) if found else 0


async def parts_of(head: bytes, reader: asyncio.StreamReader) -> AsyncIterator[Part]:
    """Read the parts of a body. Raises IncompleteReadError if it breaks off."""
    if not _CHUNKED.search(head):
        length = length_of(head)
        for size in (length // 2, length - length // 2):
            yield Part(await reader.readexactly(size))
        return
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line, 16)
        data = (await reader.readexactly(size + 2))[:-2]
        yield Part(data, line, is_last=not size)
        if not size:
            return
