"""A large JSON object in steps of about a millisecond: what a parser has to see of it, without its long texts and lists.

The parser is in C and nothing else runs until it has read all that it was given. So it is given an outline: the same bytes,
but with `""` for each long string and `[]` for each long list of a field. The strings are checked in pieces, and the items
of the lists are handed out in batches. Everything else is in the outline as it came, even where it is not JSON. So the
parser accepts the outline and the batches where it would accept the whole body, and refuses one of them where it would not.

The code below looks at brackets and at long strings. Regular expressions pass over what is between them. None of them goes
back over what it has matched, so the time is linear in the size of the body.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Generator, Iterator

import msgspec

from tidegate.errors import BadRequest
from tidegate.http.edge.nesting import too_deep, too_many

LONGEST_BYTES = 512 * 1024
"""An outline, or one item of a list in it, that is longer than this is refused: parsing it takes some milliseconds."""
MOST_FIELDS = 256
"""Names of fields at the top of a large body; no engine takes half as many."""

_BLANKS = b" \t\r\n"
_LONG_RUN_BYTES = 1024
_STEPS = 256  # brackets between two pauses
_SPANNED = "messages"
# Up to 1,024 bytes and a few more lines; a longer string is read in pieces. Whether it is valid, the parser says.
# Groups are atomic and not possessive: before 3.11.5, Python matches a possessive group wrongly (gh-106052).
_SHORT = rb'"[^"\\]{0,1024}+(?>(?:\\.[^"\\]{0,256}+){0,64})"'
_RUN = re.compile(rb'(?>(?:[^"\[\]{}]++|' + _SHORT + rb")*)", re.DOTALL)
_ITEMS = re.compile(rb'(?>(?:(?>(?:[^"\[\]{},]++|' + _SHORT + rb")*),)*)", re.DOTALL)
_NAME = re.compile(_SHORT, re.DOTALL)
_SCALAR = re.compile(rb'[^",\[\]{} \t\r\n]*+')
# It never ends inside an escape, nor between the two of a character beyond U+FFFF (RFC 8259, section 7).
_PIECE = re.compile(
    rb'(?>(?:[^"\\]++|\\[^u]|\\u(?![dD][89abAB])....|\\u[dD][89abAB]..(?:\\u....|(?=[^\\]|\\[^u])))*)',
    re.DOTALL,
)
_QUOTE, _OPENING, _CLOSING = b'"'[0], frozenset(b"[{"), frozenset(b"]}")
_STRING = msgspec.json.Decoder(str)
_UNREAD = msgspec.json.Decoder(msgspec.Raw)

OnItems = Callable[[str, bytes, int], int]
"""Gets a field's name, items of its list as a JSON list, and how many came before; returns the number of those items."""


class Limits(msgspec.Struct, frozen=True):
    """What a body may be, and how much of it is read in one step: half a millisecond's worth.

    `window_bytes` is the most that one match or one piece of a string takes. Items are handed out once they are
    `batch_bytes` long.
    """

    max_depth: int = 64
    max_containers: int = 100_000
    window_bytes: int = 32 * 1024
    batch_bytes: int = 16 * 1024


class Outline:
    """What is found in a body: its fields, its outline, and where the messages are.

    `fields` is name to start and end of the value. `shortened` are the names of fields whose values are not whole in the
    outline; of those in `handed_out` the list is empty there. `starts` and `ends` are those of the lists and objects that
    are items of `messages`.
    """

    def __init__(self, body: bytes, on_items: OnItems, limits: Limits) -> None:
        self.fields: dict[str, tuple[int, int]] = {}
        self.shortened: set[str] = set()
        self.handed_out: set[str] = set()
        self.starts, self.ends = array("Q"), array("Q")
        self._body, self._size = body, len(body)
        self._on_items = on_items
        self._limits = limits
        self._window = limits.window_bytes
        self._at = self._depth = self._containers = 0
        self._parts: list[bytes] = []
        self._length = 0
        self._name = ""
        # The list of a field: where its items begin in `_parts`, the length before them, how many were handed out.
        self._first_part = self._length_before = self._before = 0

    @property
    def text(self) -> bytes:
        """The outline; whole when `read` has ended."""
        return b"".join(self._parts)

    def read(self) -> Iterator[None]:
        """Go through the body, with a pause after each step.

        Raises BadRequest for a limit that is passed, msgspec.DecodeError for what is not JSON, and what `on_items` raises.
        """
        yield from self._skip_blanks()
        if self._body[self._at : self._at + 1] != b"{":
            raise BadRequest("The body must be a JSON object")
        self._open(self._at)
        yield from self._skip_blanks()
        members = 0
        while found := _NAME.match(self._body, self._at, self._at + self._window):
            self._take(found.end())
            self._name = _STRING.decode(found[0])
            yield from self._skip_blanks()
            if self._body[self._at : self._at + 1] != b":":
                raise msgspec.DecodeError(f"JSON is malformed: expected ':' (byte {self._at})")
            self._take(self._at + 1)
            yield from self._skip_blanks()
            yield from self._value()
            members += 1
            if members > MOST_FIELDS:
                raise BadRequest(f"The body has more than {MOST_FIELDS} fields")
            yield from self._skip_blanks()
            if self._body[self._at : self._at + 1] == b",":
                self._take(self._at + 1)
                yield from self._skip_blanks()
        # The end of the object, or something wrong that the parser will see.
        if self._body[self._at : self._at + 1] == b'"':
            raise msgspec.DecodeError(
                f"a field has a very long name, or one that does not end (byte {self._at})"
            )
        self._take(self._at + 1)
        yield from self._skip_blanks()
        if self._at < self._size:
            raise msgspec.DecodeError(f"JSON is malformed: trailing characters (byte {self._at})")

    def _value(self) -> Iterator[None]:
        start = self._at
        self.handed_out.discard(self._name)  # where it stands twice, the last one counts
        match self._body[start : start + 1]:
            case b"[":
                yield from self._list()
            case b"{":
                self._open(start)
                yield from self._inside(self._depth)
                self._close(self._at)
            case b'"':
                yield from self._string()
            case _:
                while (end := self._match(_SCALAR)) > self._at:
                    self._take(end)
                    yield
        self.fields[self._name] = (start, self._at)

    def _skip_blanks(self) -> Iterator[None]:
        """One blank in the outline stands for all of them."""
        end = yield from self._after_blanks(self._at)
        if end > self._at:
            self._add(b" ")
        self._at = end

    def _after_blanks(self, at: int) -> Generator[None, None, int]:
        while at < self._size:
            window = self._body[at : at + self._window]
            rest = len(window.lstrip(_BLANKS))
            at += len(window) - rest
            if rest:
                break
            yield
        return at

    # -- lists and objects --------------------------------------------------------------------------------------------

    def _list(self) -> Iterator[None]:
        """The list of a field: in the outline if it is short, else handed out in batches."""
        self._open(self._at)
        self._first_part, self._length_before, self._before = len(self._parts), self._length, 0
        if self._name == _SPANNED:
            self.starts, self.ends = array("Q"), array("Q")
        yield from self._inside(self._depth, items=True)
        if self._before:
            self._hand_out()
            self.handed_out.add(self._name)
            self.shortened.add(self._name)
        self._close(self._at)

    def _inside(self, own: int, *, items: bool = False) -> Iterator[None]:
        """Up to the bracket that closes the container of depth `own`, or to the end of the body.

        `items` says that it is a list whose items are handed out where there are many.
        """
        body, size, window, match = self._body, self._size, self._window, _RUN.match
        spans, batch_bytes = items and self._name == _SPANNED, self._limits.batch_bytes
        steps = 0
        while self._at < size:
            start = self._at
            found = match(body, start, start + window)
            end = found.end() if found else start
            if items and self._depth == own and self._length - self._length_before >= batch_bytes:
                self._cut(end)
            mark = body[end] if end < size else 0
            if mark in _OPENING:
                self._open(end)
                if spans and self._depth == own + 1:
                    self.starts.append(end)
            elif mark in _CLOSING:
                if self._depth == own:
                    self._take(end)
                    return
                self._close(end)
                if spans and self._depth == own:
                    self.ends.append(self._at)
            else:
                self._take(end)
                if mark == _QUOTE:
                    yield from self._string()
                else:
                    yield
            steps += 1
            if not steps % _STEPS:
                yield

    def _open(self, at: int) -> None:
        """Take the bracket at `at`, and what is before it."""
        self._depth += 1
        self._containers += 1
        if self._containers > self._limits.max_containers:
            raise too_many(self._limits.max_containers)
        if self._depth > self._limits.max_depth:
            raise too_deep(self._limits.max_depth)
        self._take(at + 1)

    def _close(self, at: int) -> None:
        """Take whichever bracket is there, or none: the parser will see it."""
        self._depth -= 1
        self._take(at + 1)

    def _cut(self, end: int) -> None:
        """Hand out the items before the last comma, where the text up to `end` is between items."""
        comma = self._body.rfind(b",", self._at, end)
        after = self._body[comma:end]
        if b'"' in after:  # it may be in a string
            found = _ITEMS.match(self._body, self._at, end)
            comma = found.end() - 1 if found else -1
        if comma >= self._at:
            self._take(comma)
            self._hand_out()
            self._at += 1

    def _hand_out(self) -> None:
        text = b"".join(self._parts[self._first_part :])
        if not text.strip(_BLANKS):
            raise msgspec.DecodeError(f"JSON is malformed: a comma without an item (byte {self._at})")
        del self._parts[self._first_part :]
        self._length = self._length_before
        self._before += self._on_items(self._name, b"[%b]" % text, self._before)

    # -- strings, and what is taken as it is --------------------------------------------------------------------------

    def _string(self) -> Iterator[None]:
        """A string that is long, or lies across two windows. The name of a member stays whole."""
        start = self._at
        self._at += 1
        while True:
            end = self._match(_PIECE)
            piece = self._body[self._at : end]
            _UNREAD.decode(b'"%b"' % piece)
            self._at = end
            if self._body[end : end + 1] == b'"':
                break
            if not piece:
                raise msgspec.DecodeError("Input data was truncated")
            yield
        end += 1
        after = yield from self._after_blanks(end)
        if self._body[after : after + 1] == b":":
            self._at = start
            self._take(end)
        else:
            self._at = end
            self._add(b'""')
            self.shortened.add(self._name)

    def _match(self, pattern: re.Pattern[bytes]) -> int:
        """The end of what matches here in one window. All patterns match at least nothing."""
        found = pattern.match(self._body, self._at, self._at + self._window)
        return found.end() if found else self._at

    def _take(self, end: int) -> None:
        """Put into the outline what stands before `end`; blanks around a long run are no use to the parser."""
        text = self._body[self._at : end]
        self._at += len(text)
        if len(text) >= _LONG_RUN_BYTES and (text[0] in _BLANKS or text[-1] in _BLANKS):
            text = b" %b " % text.strip(_BLANKS)
        self._add(text)

    def _add(self, text: bytes) -> None:
        self._parts.append(text)
        self._length += len(text)
        if self._length > LONGEST_BYTES:
            raise BadRequest(
                f"The field '{self._name}' holds more than {LONGEST_BYTES} bytes in one item beside its long texts",
                param=self._name,
            )
