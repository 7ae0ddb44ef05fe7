"""Decompresses bytes as they arrive, in steps of a bounded size: gzip (RFC 1952), deflate (RFC 1950 and 1951)."""

from __future__ import annotations

import zlib

_GZIP_OR_ZLIB = 47
_RAW = -15
_ENCODINGS = frozenset({b"gzip", b"x-gzip", b"deflate"})


class CannotInflate(ValueError):
    """The bytes are not in this encoding, or the encoding is not known."""


class Inflater:
    """Decompresses one body.

    Call `put` with each part of the body, then `take` until it returns no bytes. At the end of the body, `whole` tells
    whether the compressed data is complete.
    """

    def __init__(self, encoding: bytes) -> None:
        """Start to decompress. Raises CannotInflate for an encoding other than gzip and deflate."""
        if encoding.strip().lower() not in _ENCODINGS:
            raise CannotInflate(encoding.decode("latin-1"))
        self._machine = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._waiting = b""
        self._begun = False

    @property
    def whole(self) -> bool:
        """Whether the compressed data is complete."""
        return self._machine.eof and not self._waiting

    def put(self, data: bytes) -> None:
        """Add the next part of the body."""
        self._waiting += data

    def take(self, most: int) -> bytes:
        """Return up to `most` decompressed bytes, or none if more of the body is needed. Raises CannotInflate."""
        if self._machine.eof and self._waiting:  # a gzip file may have several members
            self._machine = zlib.decompressobj(_GZIP_OR_ZLIB)
        try:
            found = self._machine.decompress(self._waiting, most)
        except zlib.error as error:
            if self._begun:
                raise CannotInflate(str(error)) from error
            return self._take_raw(most)
        self._begun = self._begun or bool(found)
        self._waiting = self._machine.unused_data if self._machine.eof else self._machine.unconsumed_tail
        return found

    def _take_raw(self, most: int) -> bytes:
        """Decompress like `take`, also deflate without zlib's header and checksum, which some servers send."""
        self._begun = True
        self._machine = zlib.decompressobj(_RAW)
        return self.take(most)
