"""Server-sent events as a pure state machine: bytes in, events out, and back.

Follows the WHATWG HTML standard, section "Parsing an event stream": lines end in LF, CRLF or CR; a blank line ends an
event; lines that begin with a colon are comments; several `data` lines join with LF. Bytes may be cut anywhere. Each event
keeps the bytes it came in, so joining them gives the stream back exactly. Beyond the standard, a byte order mark may stand
after comments too; it is an event of its own, without data, so that the first event can be passed on without it.
"""

from __future__ import annotations

import re

import msgspec

# A whole run of them ends one event: a stream of nothing else would make an event of every second byte.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n)(?:\r\n|\n|\r)+|\r(?!\n)(?:\r\n|\r)(?:\r\n|\n|\r)*")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A byte order mark where the stream begins, or after nothing but comments, which a proxy may have put before it.
_MARKED = re.compile(rb"(?>(?:(?::[^\r\n]*+)?(?:\r\n|\n|\r))*)\xef\xbb\xbf")
# A blank line is at most four bytes long, so one cut in two began at most three bytes before the cut.
_OVERLAP = 3


class EventTooLarge(ValueError):
    """An event grew over the reader's bound before it ended."""


class Event(msgspec.Struct, gc=False):
    """One block of an event stream: `raw` as it came, `data` joined (None: the block has no data, only comments)."""

    raw: bytes
    data: bytes | None = None
    name: bytes = b""


class SseReader:
    """Cuts a byte stream into events. Feed it whatever arrives; ask for `rest` at the end."""

    def __init__(self, *, max_event_bytes: int = 4 * 2**20) -> None:
        self._max_event_bytes = max_event_bytes
        self._rest = bytearray()
        self._at_start = True

    @property
    def rest(self) -> bytes:
        """Bytes of an event that has not ended: not empty at the end of a stream means it was cut."""
        return bytes(self._rest)

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete.

        Raises EventTooLarge. Events that these bytes complete go first: the next call raises it then.
        """
        if self._rest or b"\r" in data or not data.endswith(b"\n\n"):
            return self._feed_in_parts(data)
        if data.startswith(b"data: ") and data.find(b"\n") == len(data) - 2:
            # Nearly every read of a live stream is one event of one line.
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
    """An event with this data; every line of it gets a `data` field of its own."""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(_LINE_END.split(data))
    return b"data: " + data + b"\n\n"


def comment(text: bytes) -> bytes:
    """A comment, which readers skip. `text` must be one line."""
    return b": " + text + b"\n\n"


DONE = encode(b"[DONE]")
"""How OpenAI's streams say that they are complete."""
