"""How much work a schema can make of one value, so that no schema keeps the gateway busy.

Rules such as `anyOf` check one value several times, and each time the values in it. A chain of references doubles that at
each step, so a schema of a few lines can ask for more checks than there is time for.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

MOST_CHECKS = 2_000
"""The most subschemas that are checked on one value."""
_SAME_VALUE_LISTS = ("allOf", "anyOf", "oneOf")
_SAME_VALUE = ("not", "if", "then", "else")
_SAME_VALUE_NAMED = ("dependentSchemas", "dependencies")
_INTO_VALUE = frozenset(
    {
        "properties",
        "patternProperties",
        "additionalProperties",
        "items",
        "prefixItems",
        "additionalItems",
        "contains",
        "unevaluatedItems",
        "unevaluatedProperties",
        "propertyNames",
    }
)

Resolve = Callable[[Any], Any]


class EndlessError(Exception):
    """A schema refers to itself without going into the value, or checks one value too often."""


def forks(parts: Iterator[Mapping[str, Any]], resolve: Resolve) -> int:
    """Return how many times a value inside of a value may be checked for one check of the outer one.

    Raises EndlessError.
    """
    known: dict[int, tuple[int, int]] = {}
    return max((_counted(part, resolve, known)[1] for part in parts), default=0)


def _counted(schema: Any, resolve: Resolve, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return the checks of one value, and those of them that go into it. Iterative: chains of references may be long."""
    left = [schema]
    opened: dict[int, None] = {}
    while left:
        part = left[-1]
        if id(part) in known:
            left.pop()
            continue
        below = list(_same_value(part, resolve))
        if id(part) in opened:
            checks = 1 + sum(known[id(one)][0] for one in below)
            inner = any(word in _INTO_VALUE for word in part) + sum(known[id(one)][1] for one in below)
            if checks > MOST_CHECKS:
                raise EndlessError
            known[id(part)] = (checks, inner)
            left.pop()
            continue
        opened[id(part)] = None
        waiting = [one for one in below if id(one) not in known]
        if any(id(one) in opened for one in waiting):
            raise EndlessError
        left.extend(waiting)
    return known[id(schema)]


def _same_value(part: Mapping[str, Any], resolve: Resolve) -> Iterator[Mapping[str, Any]]:
    found: list[Any] = [resolve(part["$ref"])] if "$ref" in part else []
    for word in _SAME_VALUE_LISTS:
        branches = part.get(word)
        found.extend(branches if isinstance(branches, list) else ())
    found.extend(part.get(word) for word in _SAME_VALUE)
    for word in _SAME_VALUE_NAMED:
        named = part.get(word)
        found.extend(named.values() if isinstance(named, dict) else ())
    yield from (one for one in found if isinstance(one, dict))
