"""A JSON answer as it arrives: stopped where no continuation can make it fit.

A stack automaton over JSON's syntax (RFC 8259) carries, for each open array and object, the alternatives that still fit.
An alternative falls if none of its next value's alternatives fits; the answer falls if none is left at the innermost
level. The members of an object may come in any order, and whitespace may be wherever JSON allows it. A key that comes
twice falls, since readers disagree about its value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from tidegate.structure.schema.alternatives import Alternative, Arrays, Node, Numbers, Objects, Strings, Words
from tidegate.structure.schema.numbers import BEGINNING, MOST_CHARS, WHOLE, reaches
from tidegate.structure.strings import Reading, is_escape, is_escape_begun, unescaped

DEEPEST = 200
"""The levels of the deepest answer."""
_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN = re.compile('[^"\\\\\x00-\x1f\ud800-\udfff]*')
_DIGITS = re.compile(r"[-+.0-9eE]*")
_WORDS = ("null", "true", "false")
_SHORT_DIGITS = 15
_FIRST_CHARS = "-0123456789"

Candidates = list[tuple[Alternative, set[int]]]
"""Alternatives of a value, each with the places of those alternatives of the level above that it would keep."""


class _Level:
    """An open array or object: what it can still be, and what it has."""

    __slots__ = ("candidates", "count", "is_object", "used")

    def __init__(self, candidates: Candidates, *, is_object: bool) -> None:
        self.candidates = candidates
        self.is_object = is_object
        self.count = 0
        self.used: set[str] = set()


class JsonPrefix:
    """The beginning of a JSON answer that has to fit a node."""

    def __init__(self, root: Node) -> None:
        self._levels: list[_Level] = []
        self._step = self._value
        self._candidates: Candidates = [(alternative, set[int]()) for alternative in root.alternatives]
        self._readings: list[Reading] = []
        self._is_key = False
        self._parts: list[str] = []
        self._length = 0
        self._escape = ""
        self._word = ""
        self._fell = not root.inhabited

    def feed(self, text: str) -> bool:
        """Take the next part of the answer. False if no continuation can fit; then it stays False."""
        at, size = 0, len(text)
        while at < size and not self._fell:
            at = self._step(text, at)
        if not self._fell:
            self._look_ahead()
        return not self._fell

    def ends(self) -> bool:
        """Whether the answer fits if it ends here."""
        if not self._fell and self._step == self._number and not self._levels:
            self._end_number()
        return not self._fell and self._step == self._nothing

    def _look_ahead(self) -> None:
        """Check a token that is not whole yet."""
        if self._step == self._number:
            self._keep([one for one in self._candidates if _reaches(one[0], self._word)])
        elif self._escape:
            value = "".join(self._parts)
            self._readings = [one for one in self._readings if one.goes_on(self._escape, value, self._length)]
            self._fell = not self._readings or not is_escape_begun(self._escape)

    def _keep(self, candidates: Candidates) -> None:
        self._candidates = candidates
        self._fell = not candidates

    def _fall(self) -> int:
        self._fell = True
        return 0

    # --------------------------------------------------------------------------------------------------------- values

    def _value(self, text: str, at: int) -> int:
        at = _after_space(text, at)
        if at == len(text):
            return at
        char = text[at]
        if char == '"':
            self._begin_string(self._candidates, is_key=False)
            return at + 1
        if char in "{[":
            return self._open(at, is_object=char == "{")
        self._word = ""
        if char in _FIRST_CHARS:
            self._keep([one for one in self._candidates if isinstance(one[0], Numbers)])
            self._step = self._number
        else:
            self._keep([one for one in self._candidates if isinstance(one[0], Words)])
            self._step = self._named
        return at

    def _open(self, at: int, *, is_object: bool) -> int:
        kind = Objects if is_object else Arrays
        kept: Candidates = [one for one in self._candidates if isinstance(one[0], kind)]
        if not kept or len(self._levels) >= DEEPEST:
            return self._fall()
        self._levels.append(_Level(kept, is_object=is_object))
        self._step = self._first
        return at + 1

    def _first(self, text: str, at: int) -> int:
        """What comes after `{` or `[`."""
        at = _after_space(text, at)
        if at == len(text):
            return at
        level = self._levels[-1]
        if text[at] == ("}" if level.is_object else "]"):
            return self._close(at)
        return self._next(at)

    def _next(self, at: int) -> int:
        """Prepare for a member or an item. Nothing of it has been read."""
        level = self._levels[-1]
        if level.is_object:
            self._keep(
                _merged((key, i) for i, one in enumerate(level.candidates) for key in _keys(one[0], level))
            )
            self._step = self._key
        else:
            self._keep(
                _merged(
                    (value, i) for i, one in enumerate(level.candidates) for value in _items(one[0], level)
                )
            )
            self._step = self._value
        return at

    def _number(self, text: str, at: int) -> int:
        end = _end(_DIGITS, text, at)
        if end > at:
            self._word += text[at:end]
            if len(self._word) > MOST_CHARS or not BEGINNING.fullmatch(self._word):
                return self._fall()
        if end < len(text):
            self._end_number()
        return end

    def _end_number(self) -> None:
        if not WHOLE.fullmatch(self._word):
            self._fell = True
            return
        try:
            value = msgspec.json.decode(self._word)
        except msgspec.DecodeError:  # greater than any double
            self._fell = True
            return
        self._ended([above for one, above in self._candidates if isinstance(one, Numbers) and one.has(value)])

    def _named(self, text: str, at: int) -> int:
        self._word += text[at]
        if not any(word.startswith(self._word) for word in _WORDS):
            return self._fall()
        self._keep(
            [
                one
                for one in self._candidates
                if isinstance(one[0], Words) and one[0].word.startswith(self._word)
            ]
        )
        if self._word in _WORDS and not self._fell:
            self._ended([above for _, above in self._candidates])
        return at + 1

    def _ended(self, above: list[set[int]]) -> None:
        """A value ended; it keeps these alternatives of the level above."""
        if not above:
            self._fell = True
        elif not self._levels:
            self._step = self._nothing
        else:
            kept = set[int]().union(*above)
            level = self._levels[-1]
            level.candidates = [one for i, one in enumerate(level.candidates) if i in kept]
            level.count += 1
            self._step = self._after

    def _after(self, text: str, at: int) -> int:
        """What comes after a member or an item."""
        at = _after_space(text, at)
        if at == len(text):
            return at
        char = text[at]
        if char == ",":
            return self._next(at + 1)
        if char == ("}" if self._levels[-1].is_object else "]"):
            return self._close(at)
        return self._fall()

    def _close(self, at: int) -> int:
        level = self._levels.pop()
        self._ended([above for one, above in level.candidates if _may_close(one, level)])
        return at + 1

    def _nothing(self, text: str, at: int) -> int:
        at = _after_space(text, at)
        return at if at == len(text) else self._fall()

    # -------------------------------------------------------------------------------------------------------- strings

    def _key(self, text: str, at: int) -> int:
        at = _after_space(text, at)
        if at == len(text):
            return at
        if text[at] != '"':
            return self._fall()
        self._begin_string(self._candidates, is_key=True)
        return at + 1

    def _begin_string(self, candidates: Candidates, *, is_key: bool) -> None:
        self._readings = [Reading(one, above) for one, above in candidates if isinstance(one, Strings)]
        self._fell = not self._readings
        self._is_key = is_key
        self._parts = []
        self._length = 0
        self._step = self._string

    def _string(self, text: str, at: int) -> int:
        if self._escape:
            return self._escaped(text, at)
        end = _end(_PLAIN, text, at)
        if end > at:
            self._take(text[at:end])
        elif text[at] == '"':
            self._end_string()
            end += 1
        elif text[at] == "\\":
            self._escape = "\\"
            end += 1
        else:
            return self._fall()
        return end

    def _take(self, part: str) -> None:
        self._length += len(part)
        value = ""
        if self._is_key or any(one.strings.choices is not None for one in self._readings):
            self._parts.append(part)
            value = "".join(self._parts)
        self._readings = [one for one in self._readings if one.takes(part, value, self._length)]
        self._fell = not self._readings

    def _escaped(self, text: str, at: int) -> int:
        self._escape += text[at]
        if not is_escape_begun(self._escape):
            return self._fall()
        if is_escape(self._escape):
            self._take(unescaped(self._escape))
            self._escape = ""
        return at + 1

    def _end_string(self) -> None:
        value = "".join(self._parts)
        above = [one.above for one in self._readings if one.ends(value, self._length)]
        if self._is_key:
            self._end_key(value, above)
        else:
            self._ended(above)

    def _end_key(self, key: str, above: list[set[int]]) -> None:
        level = self._levels[-1]
        kept = set[int]().union(*above)
        if key in level.used:
            kept.clear()
        level.used.add(key)
        level.candidates = [one for i, one in enumerate(level.candidates) if i in kept]
        self._keep(
            _merged((value, i) for i, one in enumerate(level.candidates) for value in _members(one[0], key))
        )
        self._step = self._colon

    def _colon(self, text: str, at: int) -> int:
        at = _after_space(text, at)
        if at == len(text):
            return at
        if text[at] != ":":
            return self._fall()
        self._step = self._value
        return at + 1


def _merged(found: Iterable[tuple[Alternative, int]]) -> Candidates:
    """One alternative of several of the level above is read once."""
    merged: dict[int, tuple[Alternative, set[int]]] = {}
    for alternative, above in found:
        merged.setdefault(id(alternative), (alternative, set()))[1].add(above)
    return list(merged.values())


def _keys(alternative: Alternative, level: _Level) -> Iterable[Alternative]:
    return alternative.keys(level.used) if isinstance(alternative, Objects) else ()


def _items(alternative: Alternative, level: _Level) -> Iterable[Alternative]:
    if not isinstance(alternative, Arrays) or (
        alternative.most is not None and level.count >= alternative.most
    ):
        return ()
    return alternative.item(level.count).alternatives


def _members(alternative: Alternative, key: str) -> Iterable[Alternative]:
    if not isinstance(alternative, Objects):
        return ()
    node = alternative.named.get(key) or alternative.member(key)
    return node.alternatives if node.inhabited else ()


def _may_close(alternative: Alternative, level: _Level) -> bool:
    if isinstance(alternative, Objects):
        return level.count >= alternative.least and alternative.required <= level.used
    return isinstance(alternative, Arrays) and level.count >= alternative.least


def _reaches(alternative: Alternative, beginning: str) -> bool:
    if not isinstance(alternative, Numbers):
        return False
    return _is_one(alternative, beginning) or reaches(beginning, alternative.range)


def _is_one(numbers: Numbers, beginning: str) -> bool:
    """Whether the number would fit if it ended here: the usual case, and a quick one."""
    return beginning.isdecimal() and len(beginning) <= _SHORT_DIGITS and numbers.has(int(beginning))


def _end(run: re.Pattern[str], text: str, at: int) -> int:
    found = run.match(text, at)
    return at if found is None else found.end()


def _after_space(text: str, at: int) -> int:
    return at if text[at] > " " else _end(_SPACE, text, at)
