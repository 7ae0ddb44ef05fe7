"""Parses and encodes server-sent events, without I/O.

The parser follows the WHATWG HTML standard, section "Parsing an event stream": lines end in LF, CRLF or CR; a blank line
ends an event; lines that begin with a colon are comments; several `data` lines are joined with LF. The input may be split
anywhere. Each event keeps its raw bytes, and all of them joined are exactly the stream. Beyond the standard, a byte order
mark may also follow comments. The mark is an event of its own, without data, so the next event can be passed on without it.
"""

from __future__ import annotations

import re

import msgspec

# A run of blank lines ends only one event. Otherwise a stream of blank lines would become an event for every second byte.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n)(?:\r\n|\n|\r)+|\r(?!\n)(?:\r\n|\r)(?:\r\n|\n|\r)*")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A byte order mark at the beginning of the stream or after comments, which a proxy may have added before it.
_MARKED = re.compile(rb"(?>(?:(?::[^\r\n]*+)?(?:\r\n|\n|\r))*)\xef\xbb\xbf")
# A blank line is at most four bytes long. If two reads split it, it began at most three bytes before the second read.
_OVERLAP = 3


class EventTooLarge(ValueError):
    """An event is longer than the reader's limit."""


class Event(msgspec.Struct, gc=False):
    """One event. `raw` has its bytes as received. `data` has its joined data, or None if it has only comments."""

    raw: bytes
    data: bytes | None = None
    name: bytes = b""


class SseReader:
    """Splits a byte stream into events. Pass all bytes to `feed`, and read `rest` at the end of the stream."""

    def __init__(self, *, max_event_bytes: int = 4 * 2**20) -> None:
        self._max_event_bytes = max_event_bytes
        self._rest = bytearray()
        self._at_start = True

    @property
    def rest(self) -> bytes:
        """The bytes of an incomplete event. If there are any at the end of the stream, the stream was cut off."""
        return bytes(self._rest)

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that these bytes complete.

        Raises EventTooLarge. If the bytes also complete earlier events, those are returned, and the next call raises.
        """
        if self._rest or b"\r" in data or not data.endswith(b"\n\n"):
            return self._feed_in_parts(data)
        if data.startswith(b"data: ") and data.find(b"\n") == len(data) - 2:
            # Fast path: nearly every read of a live stream is one event of one line.
            self._at_start = False
            return [Event(data, data[6:-2])]
        if b"\n\n\n" in data or (self._at_start and _BYTE_ORDER_MARK in data):
            return self._feed_in_parts(data)
        blocks = data.split(b"\n\n")
        blocks.pop()
        return [self._event(block + b"\n\n") for block in blocks]

    def _feed_in_parts(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        rest = self._rest
        begin, search = 0, max(0, len(rest) - _OVERLAP)
        rest += data
        while end := _BLANK_LINE.search(rest, search):
            if self._at_start and (marked := _MARKED.match(rest, begin, end.start())):
                events.append(Event(bytes(marked[0])))
                begin = marked.end()
            events.append(self._event(bytes(rest[begin : end.end()])))
            begin = search = end.end()
        del rest[:begin]
        if len(rest) > self._max_event_bytes and not events:
            raise EventTooLarge(f"an event is longer than {self._max_event_bytes} bytes")
        return events

    def _event(self, raw: bytes) -> Event:
        if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and b"\r" not in raw:
            self._at_start = False
            return Event(raw, raw[6:-2])
        if b"data" not in raw:  # comments, blank lines
            return Event(raw)
        lines: list[bytes] = []
        name = b""
        for line in _LINE_END.split(raw):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                lines.append(value)
            elif field == b"event":
                name = value
        if not lines:
            return Event(raw, None, name)
        self._at_start = False
        return Event(raw, b"\n".join(lines), name)


def encode(data: bytes) -> bytes:
    """Return an event with this data, with a `data` field for each line."""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(_LINE_END.split(data))
    return b"data: " + data + b"\n\n"


def comment(text: bytes) -> bytes:
    """Return a comment, which readers skip. `text` must be one line."""
    return b": " + text + b"\n\n"


DONE = encode(b"[DONE]")
"""How OpenAI's streams say that they are complete."""
