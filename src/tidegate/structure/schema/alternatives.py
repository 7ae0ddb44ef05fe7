"""What a place in an answer may hold, as alternatives of one JSON type each.

An alternative is made of rules that do not depend on each other, so a beginning fits exactly if each of its parts does.
Rules that do, such as `not`, are left out of the alternatives, which then allow more than the schema.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Protocol

import jsonschema_rs
import msgspec
from jsonschema_rs import Validator
from llguidance import LLMatcher

from tidegate.structure.schema.numbers import Range


class Node(Protocol):
    """What one value may be: any of its alternatives."""

    inhabited: bool
    """Whether any value is allowed at all."""

    @property
    def alternatives(self) -> Sequence[Alternative]: ...

    @alternatives.setter
    def alternatives(self, possible: Sequence[Alternative], /) -> None: ...


class Words:
    """`null`, `true` or `false`."""

    __slots__ = ("word",)

    def __init__(self, word: str) -> None:
        self.word = word


class Numbers:
    """The numbers of a range. `validator` says whether a whole number is one of them."""

    __slots__ = ("range", "validator")

    def __init__(self, range: Range, validator: Validator | None) -> None:
        self.range = range
        self.validator = validator

    def has(self, value: Any) -> bool:
        """Whether a whole number is allowed."""
        return self.validator is None or self.validator.is_valid(value)


class Strings:
    """The strings among `choices` (if given), of a length, that an automaton accepts (if given)."""

    __slots__ = ("automaton", "choices", "least", "most")

    def __init__(
        self,
        choices: Iterable[str] | None = None,
        *,
        least: int = 0,
        most: int | None = None,
        automaton: LLMatcher | None = None,
    ) -> None:
        self.choices = None if choices is None else sorted(choices)
        self.least = least
        self.most = most
        self.automaton = automaton

    @property
    def is_free(self) -> bool:
        """Whether every string is allowed."""
        return self.choices is None and self.automaton is None and not self.least and self.most is None

    def chosen(self, beginning: str) -> Sequence[str]:
        """Return the choices that begin so."""
        choices = self.choices or []
        first = bisect.bisect_left(choices, beginning)
        last = bisect.bisect_right(choices, beginning + "\U0010ffff", first)
        return choices[first:last]


class Arrays:
    """The arrays of a length whose items fit: `first` for the items at the beginning, then `rest`."""

    __slots__ = ("_limit", "first", "least", "longest", "rest")

    def __init__(self, first: Sequence[Node], rest: Node, *, least: int = 0, most: int | None = None) -> None:
        self.first = first
        self.rest = rest
        self.least = least
        self.longest = most
        self._limit: int | None = -1

    def item(self, index: int) -> Node:
        """Return what an item may be."""
        return self.first[index] if index < len(self.first) else self.rest

    def is_full(self, count: int) -> bool:
        """Whether nothing can follow after so many items. For nodes that are settled."""
        if self._limit == -1:
            self._limit = self.most
        return self._limit is not None and count >= self._limit

    @property
    def most(self) -> int | None:
        """The most items, since no array goes on after an item that cannot be."""
        limit = next((i for i, node in enumerate(self.first) if not node.inhabited), len(self.first))
        if limit == len(self.first) and self.rest.inhabited:
            return self.longest
        return limit if self.longest is None else min(limit, self.longest)


class Objects:
    """The objects whose members fit.

    `named` has the members with a name of their own, `free` the keys besides those (`None` for any key), each with what its
    value may be, and `member` says what the value of any key may be.
    """

    __slots__ = ("_keys", "free", "least", "member", "most", "named", "required")

    def __init__(
        self,
        named: Mapping[str, Node],
        free: Sequence[tuple[Strings, Node]],
        member: Callable[[str], Node],
        *,
        required: Collection[str] = (),
        least: int = 0,
        most: int | None = None,
    ) -> None:
        self.named = named
        self.free = free
        self.member = member
        self.required = frozenset(required)
        self.least = least
        self.most = most
        self._keys: tuple[Strings | None, list[Strings]] | None = None

    def keys(self, used: Collection[str]) -> list[Strings]:
        """Return the keys that the next member may have."""
        missing = self.required.difference(used)
        room = None if self.most is None else self.most - len(used)
        if room is not None and room <= len(missing):
            return [Strings(missing)] if missing and room == len(missing) else []
        if self._keys is None:
            self._keys = self._possible()
        names, free = self._keys
        if names is None or not used:
            return free if names is None else [names, *free]
        left = [name for name in names.choices or () if name not in used]
        return [Strings(left), *free] if left else free

    def _possible(self) -> tuple[Strings | None, list[Strings]]:
        """Return the names and the free keys whose values can be. Names do not matter if every key is free."""
        free = [strings for strings, node in self.free if node.inhabited]
        if any(strings.is_free for strings in free):
            return None, [FREE]
        return Strings(name for name, node in self.named.items() if node.inhabited), free


class Literal:
    """A node for some values and no others."""

    __slots__ = ("alternatives", "inhabited")

    def __init__(self, alternatives: Sequence[Alternative]) -> None:
        self.alternatives = alternatives
        self.inhabited = bool(alternatives)


class Anything:
    """The node for every value."""

    __slots__ = ("alternatives", "inhabited")

    def __init__(self) -> None:
        self.inhabited = True
        words = map(Words, ("null", "true", "false"))
        self.alternatives = [*words, FREE, Numbers(Range(), None), Arrays((), self), _any_object(self)]


Alternative = Words | Numbers | Strings | Arrays | Objects


FREE = Strings()
"""Every string."""
MOST_LITERALS = 64
"""The most numbers, arrays and objects in an `enum` that are told apart while they arrive."""


_NOTHING = Literal(())


def _any_object(member: Node) -> Objects:
    return Objects({}, ((FREE, member),), lambda _: member)


def literal(values: Sequence[Any], note: Callable[[str], None]) -> Literal:
    """Return the node for some values. `note` is told if they are too many to be told apart while they arrive."""
    found: list[Alternative] = [
        Words(msgspec.json.encode(one).decode()) for one in values if one is None or isinstance(one, bool)
    ]
    texts = [value for value in values if isinstance(value, str)]
    others = [
        value
        for value in values
        if isinstance(value, (int, float, list, dict)) and not isinstance(value, bool)
    ]
    if texts:
        found.append(Strings(texts))
    if len(others) > MOST_LITERALS:
        note("an 'enum' with many numbers, arrays or objects")
        anything = Anything()
        return Literal([*found, Numbers(Range(), None), Arrays((), anything), _any_object(anything)])
    found.extend(_literal(value, note) for value in others)
    return Literal(found)


def _literal(value: Any, note: Callable[[str], None]) -> Alternative:
    if isinstance(value, list):
        items = [literal([item], note) for item in value]
        return Arrays(items, Literal(()), least=len(items), most=len(items))
    if isinstance(value, dict):
        members = {name: literal([member], note) for name, member in value.items()}
        return Objects(members, (), lambda name: members.get(name, _NOTHING), required=members)
    exact = Fraction(repr(value))
    return Numbers(Range(exact, exact), jsonschema_rs.validator_for({"const": value}))


def is_possible(alternative: Alternative) -> bool:
    """Whether an alternative allows any value, as far as is known of the nodes below it."""
    if isinstance(alternative, Arrays):
        most = alternative.most
        return most is None or alternative.least <= most
    if not isinstance(alternative, Objects):
        return True
    if alternative.most is not None and max(alternative.least, len(alternative.required)) > alternative.most:
        return False
    if any(not alternative.member(name).inhabited for name in alternative.required):
        return False
    if any(node.inhabited for _, node in alternative.free):
        return True
    named = sum(node.inhabited for node in alternative.named.values())
    return named >= alternative.least


def below(alternative: Alternative) -> list[Node]:
    """Return the nodes that an alternative is made of."""
    if isinstance(alternative, Arrays):
        return [*alternative.first, alternative.rest]
    if isinstance(alternative, Objects):
        required = [alternative.member(name) for name in alternative.required]
        return [*alternative.named.values(), *(node for _, node in alternative.free), *required]
    return []
