"""Values that know the spec that made them, faults in them, and their JSON with the place of each value in it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

START, CLOSE, AFTER = "start", "close", "after"
"""Where a broken value can be seen at the latest: at its first character, at its last one, at the one that follows."""


@dataclass
class Value:
    """A value with the spec that made it. `inside` has the members of an object or the items of an array.

    `types` are those that another branch allows in its place. `is_tagged` says that a fault may be seen only at its end,
    since until then it may be of another branch.
    """

    spec: Spec
    plain: Any = None
    inside: dict[str, Value] | list[Value] | None = None
    types: frozenset[str] = frozenset()
    is_tagged: bool = False


@dataclass
class Fault:
    """A replacement of a value, and when it can be seen. `key` marks the member or item to look at instead of the value."""

    plain: Any
    seen: str
    key: str | int | None = None
    key_only: bool = False


@dataclass
class Answer:
    text: str
    fault: str = ""
    dead_at: int | None = None


@dataclass
class Spec:
    schema: Any
    make: Callable[[random.Random], Value]
    broken: Callable[[random.Random, Value], Fault]
    types: frozenset[str]
    name: str = ""


@dataclass
class Made:
    """A whole schema."""

    spec: Spec
    defs: dict[str, Any] = field(default_factory=dict)

    @property
    def schema(self) -> Any:
        return {**self.spec.schema, "$defs": self.defs} if self.defs else self.spec.schema

    def valid(self, rng: random.Random) -> Answer:
        return Answer(written(rng, plain(self.spec.make(rng)))[0])

    def invalid(self, rng: random.Random) -> tuple[Answer, str]:
        """Return an answer with one fault, and the valid one that it was."""
        value = self.spec.make(rng)
        places = list(_places(value, ()))
        path, place = rng.choice(places)
        fault = place.spec.broken(rng, place)
        good = plain(value)
        seed = rng.random()
        text, spans = written(random.Random(seed), replaced(good, path, fault.plain))
        good_text = written(random.Random(seed), good)[0]
        start, end = spans[path if fault.key is None else (*path, fault.key)]
        if fault.key_only:
            start, end = spans[(*path, fault.key, "key")]
        dead_at = {START: start, CLOSE: end - 1, AFTER: end}[fault.seen]
        tagged = [at for at, one in places if one.is_tagged and at == path[: len(at)]]
        dead_at = max([dead_at, *(spans[at][1] - 1 for at in tagged)])
        return Answer(text, f"{place.spec.name} at {path}", dead_at), good_text


def plain(value: Value) -> Any:
    if isinstance(value.inside, dict):
        return {name: plain(member) for name, member in value.inside.items()}
    if isinstance(value.inside, list):
        return [plain(item) for item in value.inside]
    return value.plain


def _places(value: Value, path: tuple) -> Iterator[tuple[tuple, Value]]:
    yield path, value
    if isinstance(value.inside, dict):
        for name, member in value.inside.items():
            yield from _places(member, (*path, name))
    elif isinstance(value.inside, list):
        for i, item in enumerate(value.inside):
            yield from _places(item, (*path, i))


def replaced(value: Any, path: tuple, new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


class Raw(str):
    """A number as it is to be written."""

    __slots__ = ()


def written(rng: random.Random, value: Any) -> tuple[str, dict[tuple, tuple[int, int]]]:
    """Return JSON with any whitespace and escapes, and the place of each value and key in it."""
    out: list[str] = []
    spans: dict[tuple, tuple[int, int]] = {}

    def size() -> int:
        return sum(map(len, out))

    def space() -> None:
        out.append(rng.choice(["", "", "", " ", "\n  ", "\t"]))

    def text(value: str) -> None:
        escaped = rng.random() < 0.2
        if escaped:
            out.append('"' + "".join(_escaped(rng, char) for char in value) + '"')
        else:
            out.append(json.dumps(value, ensure_ascii=rng.random() < 0.3))

    def write(value: Any, path: tuple) -> None:
        start = size()
        if isinstance(value, Raw):
            out.append(str(value))
        elif isinstance(value, str):
            text(value)
        elif isinstance(value, dict):
            out.append("{")
            for i, (name, member) in enumerate(value.items()):
                out.append("," if i else "")
                space()
                key_at = size()
                text(name)
                spans[(*path, name, "key")] = (key_at, size())
                space()
                out.append(":")
                space()
                write(member, (*path, name))
                space()
            out.append("}")
        elif isinstance(value, list):
            out.append("[")
            for i, item in enumerate(value):
                out.append("," if i else "")
                space()
                write(item, (*path, i))
                space()
            out.append("]")
        else:
            out.append(json.dumps(value))
        spans[path] = (start, size())

    space()
    write(value, ())
    return "".join(out), spans


def _escaped(rng: random.Random, char: str) -> str:
    if ord(char) > 0xFFFF or rng.random() < 0.5:
        return json.dumps(char)[1:-1]
    return f"\\u{ord(char):04{rng.choice('xX')}}"
