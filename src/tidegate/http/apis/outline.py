"""Shortens a large JSON object to an outline without its long texts and lists, in steps of about a millisecond.

The parser is in C, and nothing else runs until it has read all of its input. So it gets an outline: the same bytes, but
with `""` for each long string and `[]` for each long list of a field. The strings are checked in pieces, and the items of
the lists are passed on in batches. Everything else is copied into the outline unchanged, even if it is not JSON. So the
parser accepts the outline and all batches if it would accept the whole body. Otherwise it refuses the outline or a batch.

The code below handles brackets and long strings. Regular expressions skip the text between them. The expressions never
backtrack, so the time is linear in the size of the body.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Generator, Iterator

import msgspec

from tidegate.errors import BadRequest
from tidegate.http.edge.nesting import too_deep, too_many

LONGEST_BYTES = 512 * 1024
"""The longest outline, and the longest item of a list, that is accepted. Parsing it takes some milliseconds."""
MOST_FIELDS = 256
"""The most top-level fields of a large body. No engine takes half as many."""

_BLANKS = b" \t\r\n"
_LONG_RUN_BYTES = 1024
_STEPS = 256  # brackets between two pauses
_SPANNED = "messages"
# A string of up to 1,024 bytes, or a little more if it has escapes. A longer string is read in pieces. The parser checks
# whether the string is valid.
# Groups are atomic and not possessive: before 3.11.5, Python matches a possessive group wrongly (gh-106052).
_SHORT = rb'"[^"\\]{0,1024}+(?>(?:\\.[^"\\]{0,256}+){0,64})"'
_RUN = re.compile(rb'(?>(?:[^"\[\]{}]++|' + _SHORT + rb")*)", re.DOTALL)
_ITEMS = re.compile(rb'(?>(?:(?>(?:[^"\[\]{},]++|' + _SHORT + rb")*),)*)", re.DOTALL)
_NAME = re.compile(_SHORT, re.DOTALL)
_SCALAR = re.compile(rb'[^",\[\]{} \t\r\n]*+')
# A piece never ends inside an escape, nor between the two escapes of a character beyond U+FFFF (RFC 8259, section 7).
_PIECE = re.compile(
    rb'(?>(?:[^"\\]++|\\[^u]|\\u(?![dD][89abAB])....|\\u[dD][89abAB]..(?:\\u....|(?=[^\\]|\\[^u])))*)',
    re.DOTALL,
)
_QUOTE, _OPENING, _CLOSING = b'"'[0], frozenset(b"[{"), frozenset(b"]}")
_STRING = msgspec.json.Decoder(str)
_UNREAD = msgspec.json.Decoder(msgspec.Raw)

OnItems = Callable[[str, bytes, int], int]
"""Takes a field's name, a JSON list of items and the number of that field's earlier items. Returns the number of items."""


class Limits(msgspec.Struct, frozen=True):
    """The limits of a body, and how much of the body is read in one step of about half a millisecond.

    `window_bytes` is the most that one match or one piece of a string may have. Items of a list are passed on once they
    are `batch_bytes` long.
    """

    max_depth: int = 64
    max_containers: int = 100_000
    window_bytes: int = 32 * 1024
    batch_bytes: int = 16 * 1024


class Outline:
    """The outline of a body, with the places of its fields and messages.

    `fields` maps a field's name to the start and end of its value in the body. `shortened` has the names of the fields
    whose values are incomplete in the outline. `handed_out` has the names of the fields whose lists were passed on in
    batches and are empty in the outline. `starts` and `ends` are the places in the body of the items of `messages` that
    are objects or lists.
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
        # For the list of the current field: the index in `_parts` of its first item, the length of the outline before it,
        # and the number of items passed on so far.
        self._first_part = self._length_before = self._before = 0

    @property
    def text(self) -> bytes:
        """The outline, complete once `read` has ended."""
        return b"".join(self._parts)

    def read(self) -> Iterator[None]:
        """Read the body, and yield after each step.

        Raises BadRequest for an exceeded limit, msgspec.DecodeError for text that is not JSON, and what `on_items` raises.
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
        # Either the object ends here, or the text is invalid and the parser will report it.
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
        self.handed_out.discard(self._name)  # of a repeated field, the last value counts
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
        """Skip white space. In the outline, one blank replaces all of it."""
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
        """Read the list of a field: into the outline if it is short, otherwise in batches to `on_items`."""
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
        """Read up to the bracket that closes the container of depth `own`, or to the end of the body.

        `items` is True for a list whose items are passed on in batches if they are many.
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
        """Copy the opening bracket at `at`, and the text before it, into the outline."""
        self._depth += 1
        self._containers += 1
        if self._containers > self._limits.max_containers:
            raise too_many(self._limits.max_containers)
        if self._depth > self._limits.max_depth:
            raise too_deep(self._limits.max_depth)
        self._take(at + 1)

    def _close(self, at: int) -> None:
        """Copy the closing bracket at `at` into the outline. The parser will notice a wrong or missing bracket."""
        self._depth -= 1
        self._take(at + 1)

    def _cut(self, end: int) -> None:
        """Pass on the items before the last comma between the current place and `end`, if there is such a comma."""
        comma = self._body.rfind(b",", self._at, end)
        after = self._body[comma:end]
        if b'"' in after:  # the comma may be inside a string
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

    # -- strings, and text that is copied unchanged -------------------------------------------------------------------

    def _string(self) -> Iterator[None]:
        """Read a string that is long or extends over two windows. A member's name is copied whole, a value is left out."""
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
        """Return the end of the pattern's match at the current place, within one window. Every pattern can match ""."""
        found = pattern.match(self._body, self._at, self._at + self._window)
        return found.end() if found else self._at

    def _take(self, end: int) -> None:
        """Copy the text up to `end` into the outline. White space around a long run is shortened to one blank."""
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
