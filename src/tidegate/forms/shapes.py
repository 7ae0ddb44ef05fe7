"""Describes where text stands in JSON objects, and finds it there.

A shape says for each member of an object what it holds: words, code, other members, or nothing that is text. A member that
no shape knows is refused if it could carry a sentence, so that no text passes unseen. A single word in it, such as the name
of a state, is a text by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, cast

from tidegate.forms.paths import Key, Path, step

UNKNOWN = "it may have text at a place that the gateway does not know"


class Unlisted(Exception):
    """There is text at a place that no shape lists. `channel` is the place, and `why` says what is wrong there."""

    def __init__(self, channel: str, why: str = UNKNOWN) -> None:
        super().__init__(channel)
        self.channel = channel
        self.why = why


class Part(NamedTuple):
    """A text at one place. Several places with one channel are parts of one text."""

    path: Path
    channel: str
    value: str
    is_json: bool = False


class Finds:
    """What shapes have found: the parts of texts in their order, and the paths of values that say the text once more."""

    __slots__ = ("echoes", "parts")

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.echoes: list[Path] = []


def gathered(finds: Finds) -> dict[str, list[Part]]:
    """Return the parts of each text, by its channel."""
    texts: dict[str, list[Part]] = {}
    for part in finds.parts:
        texts.setdefault(part.channel, []).append(part)
    return texts


def said_in(parts: list[Part]) -> str:
    """Return the text of these parts."""
    return parts[0].value if len(parts) == 1 else "".join([part.value for part in parts])


def replacing(parts: list[Part], new: str) -> dict[Path, str]:
    """Return the changes that replace a text: its first part gets the new text, and the other parts are emptied."""
    return {part.path: "" if number else new for number, part in enumerate(parts)}


class Shape(Protocol):
    """A description of one value. `find` adds the value's texts to `finds`; it raises Unlisted for text elsewhere."""

    def find(self, value: Any, path: Path, channel: str, finds: Finds) -> None: ...


_WORD = re.compile(r"[\w.:/+=-]{1,100}", re.ASCII)
_SHORT = re.compile(r"[\w.:/+=-]{1,64}", re.ASCII)
_SCHEMA_WORDS = frozenset(
    """
    type object array string number integer boolean null properties required description enum items title default format
    additionalProperties anyOf oneOf allOf const pattern minimum maximum minItems maxItems minLength maxLength $ref $defs
    $schema function name parameters strict schema json_schema json_object text auto none
    """.split()  # noqa: SIM905 - a list of words reads better than a list of strings
)
_MANY_DIGITS = 10**6


def carries_text(value: Any) -> bool:
    """Return whether an unknown value could carry a sentence: in a string, in a name, or in a list of token ids."""
    return _words_in(value, (), "") is None


def _words_in(value: Any, path: Path, channel: str) -> list[Part] | None:
    """Return the single words in an unknown value, or None if it could carry more."""
    # The loop replaces a recursion: the depth of the value is not ours.
    words: list[Part] = []
    rest = [(value, path, channel)]
    while rest:
        one, at, name = rest.pop()
        if isinstance(one, str):
            if _SHORT.fullmatch(one):
                words.append(Part(at, name, one))
            elif one:
                return None
        elif isinstance(one, list):
            items = cast("list[Any]", one)
            if any(type(item) is int for item in items):
                return None
            rest += [(item, (*at, i), f"{name}[{i}]") for i, item in enumerate(items)]
        elif isinstance(one, dict):
            members = cast("dict[str, Any]", one)
            if not all(map(_WORD.fullmatch, members)):
                return None
            inner = enumerate(members.items())
            rest += [(item, (*at, key), step(name, key, number)) for number, (key, item) in inner]
    return words


def as_text(value: Any) -> str | None:
    """Return the text of a leaf, or None if it has none. Whole numbers of seven digits or more count: cards, phones."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _MANY_DIGITS:
        return str(value)
    return None


class _Harmless:
    """A value that is not text and that the model does not read as text, such as a number or a picture."""

    def find(self, value: Any, path: Path, channel: str, finds: Finds) -> None:
        """Find nothing."""


class _Echo:
    """A value that says the text of the answer once more, such as `logprobs`."""

    def find(self, value: Any, path: Path, channel: str, finds: Finds) -> None:
        del channel
        if value is not None:
            finds.echoes.append(path)


class _Words:
    """A text. It may be a JSON document itself."""

    def __init__(self, *, is_json: bool = False) -> None:
        self._is_json = is_json

    def find(self, value: Any, path: Path, channel: str, finds: Finds) -> None:
        if type(value) is str:
            if value:
                finds.parts.append(Part(path, channel, value, self._is_json))
        elif value:
            raise Unlisted(channel)


class _Every:
    """A value of any form: each string in it is a text, each name of a member, and each number of seven digits or more.

    `plain` and `plain_name` return whether a string or a name is left out: it cannot hold a sentence, or is known.
    """

    def __init__(self, plain: Callable[[str], object], plain_name: Callable[[str], object]) -> None:
        self._plain = plain
        self._plain_name = plain_name

    def find(self, value: Any, path: Path, channel: str, finds: Finds) -> None:
        # The loop replaces a recursion: the depth of the value is not ours.
        rest: list[tuple[Any, Path, str]] = [(value, path, channel)]
        while rest:
            one, at, name = rest.pop()
            if isinstance(one, dict):
                inner: list[tuple[Any, Path, str]] = []
                for position, (key, item) in enumerate(cast("dict[str, Any]", one).items()):
                    channel = step(name, key, position)
                    inner.append((item, (*at, key), channel))
                    if key and not self._plain_name(key):
                        finds.parts.append(Part((*at, Key(key)), f"{channel}(key)", key))
                rest += reversed(inner)
            elif isinstance(one, list):
                items = cast("list[Any]", one)
                rest += reversed([(item, (*at, i), f"{name}[{i}]") for i, item in enumerate(items)])
            elif (text := as_text(one)) and not self._plain(text):
                finds.parts.append(Part(at, name, text))


class _Unknown:
    """A value that no shape knows. Single words in it are texts, so that they are checked; more is refused."""

    def find(self, value: Any, path: Path, channel: str, finds: Finds) -> None:
        words = _words_in(value, path, channel)
        if words is None:
            raise Unlisted(channel)
        finds.parts += words


class _Refused:
    """A value that no shape knows, where even a single word may be a part of a longer text."""

    def find(self, value: Any, path: Path, channel: str, finds: Finds) -> None:
        del finds
        if _words_in(value, path, channel) != []:
            raise Unlisted(channel)


HARMLESS = _Harmless()
REFUSED = _Refused()
_UNKNOWN = _Unknown()


class Keys:
    """An object with known members. Members in `through` do not show in the channel of what is in them.

    `unknown` is the shape of the other members.
    """

    def __init__(
        self,
        shapes: Mapping[str, Shape],
        *,
        through: frozenset[str] = frozenset(),
        unknown: Shape = _UNKNOWN,
    ) -> None:
        self.shapes = shapes
        self._through = through
        self._unknown = unknown
        self._harmless = frozenset(name for name, shape in shapes.items() if shape is HARMLESS)

    def find(self, value: Any, path: Path, channel: str, finds: Finds) -> None:
        if type(value) is not dict:
            _UNKNOWN.find(value, path, channel, finds)
            return
        for position, (name, member) in enumerate(cast("dict[str, Any]", value).items()):
            if name in self._harmless:
                continue
            shape = self.shapes.get(name)
            if shape is None:
                inner = step(channel, name, position)
                if not _WORD.fullmatch(name):
                    raise Unlisted(inner)
                self._unknown.find(member, (*path, name), inner, finds)
            elif member:
                inner = channel if name in self._through else f"{channel}.{name}" if channel else name
                shape.find(member, (*path, name), inner, finds)


class Many:
    """A list of values of one shape. `by` says what their channels show: the position, the item's `index`, or nothing.

    With `nothing`, the texts of all items are one text.
    """

    def __init__(self, shape: Shape, *, by: str = "position") -> None:
        self._shape = shape
        self._by = by

    def find(self, value: Any, path: Path, channel: str, finds: Finds) -> None:
        if type(value) is not list:
            _UNKNOWN.find(value, path, channel, finds)
            return
        for position, item in enumerate(cast("list[Any]", value)):
            name = channel if self._by == "nothing" else f"{channel}[{self._number(item, position)}]"
            self._shape.find(item, (*path, position), name, finds)

    def _number(self, item: Any, position: int) -> int:
        index = (
            cast("dict[str, Any]", item).get("index") if self._by == "index" and type(item) is dict else None
        )
        return index if type(index) is int else position


class ByType:
    """A value whose shape depends on its JSON type."""

    def __init__(
        self, *, text: Shape | None = None, items: Shape | None = None, members: Shape | None = None
    ) -> None:
        self._shapes: dict[object, Shape | None] = {str: text, list: items, dict: members}

    def find(self, value: Any, path: Path, channel: str, finds: Finds) -> None:
        shape = self._shapes.get(cast("object", type(value))) or _UNKNOWN
        shape.find(value, path, channel, finds)


class Called:
    """A value whose channel has a fixed name."""

    def __init__(self, channel: str, shape: Shape) -> None:
        self._channel = channel
        self._shape = shape

    def find(self, value: Any, path: Path, channel: str, finds: Finds) -> None:
        del channel
        self._shape.find(value, path, self._channel, finds)


ECHO = _Echo()
WORDS = _Words()
JSON_WORDS = _Words(is_json=True)
CODE = _Every(_WORD.fullmatch, _WORD.fullmatch)
"""Names, ids and choices from a list. What looks like a sentence all the same is a text."""
EVERY = _Every(_SCHEMA_WORDS.__contains__, _SCHEMA_WORDS.__contains__)
"""Anything. Only the words that every JSON Schema and every tool has are left out."""
VALUES = _Every(lambda _: False, _WORD.fullmatch)
"""Anything, in objects whose members have fixed names."""
LEAVES = _Every(lambda _: False, lambda _: False)
"""Anything, with nothing left out."""
