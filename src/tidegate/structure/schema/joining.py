"""What several subschemas say together of the values of each JSON type."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, Protocol

import jsonschema_rs
from jsonschema_rs import Validator

from tidegate.structure.schema.alternatives import (
    FREE,
    Alternative,
    Arrays,
    Node,
    Numbers,
    Objects,
    Strings,
    Words,
)
from tidegate.structure.schema.document import Document
from tidegate.structure.schema.numbers import Range, is_empty
from tidegate.structure.schema.patterns import FORMATS, automaton, regular
from tidegate.structure.schema.patterns import is_empty as matches_nothing

_TYPES = frozenset({"null", "boolean", "number", "integer", "string", "array", "object"})
_LEFT_OUT = {
    "object": (
        "propertyNames",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "unevaluatedProperties",
    ),
    "array": ("contains", "uniqueItems", "unevaluatedItems"),
    "string": ("contentEncoding", "contentMediaType"),
    "": ("not", "if", "$dynamicRef", "$recursiveRef"),
}
"""The rules that bind parts of a value to each other, by the type they are about. The end is checked for them."""
_LISTING = frozenset({"enum", "title", "description", "default", "examples"})
MOST_EXPRESSIONS = 2
"""The most expressions that one automaton joins: each one multiplies its states."""
_NUMERIC = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "type")


class Maker(Protocol):
    """Makes the nodes of the values within a value, such as `nodes.Nodes`."""

    document: Document

    def of(self, *schemas: Any) -> Node:
        """Return the node of the values that all of some subschemas accept."""
        ...

    def note(self, rule: str) -> None:
        """Note a rule that the alternatives leave out."""
        ...


class Joined:
    """The conjunction of subschemas without references and branches: those are in the list themselves.

    `values` are the values of a `const` or an `enum`, None if there is none. They may break other rules.
    """

    def __init__(self, schemas: Sequence[Any], nodes: Maker) -> None:
        self._nodes = nodes
        self._draft = nodes.document.draft
        self._schemas = [schema for schema in schemas if self._draft >= 2019 or "$ref" not in schema]
        self.values = self._listed()

    def alternatives(self) -> Iterator[Alternative]:
        """Yield what is allowed, type by type."""
        types = self._types()
        self._note_left_out(types)
        if "null" in types:
            yield Words("null")
        if "boolean" in types:
            yield from map(Words, ("true", "false"))
        if "integer" in types:
            yield from self._numbers(whole="number" not in types)
        if "string" in types:
            yield from self._strings()
        if "array" in types:
            yield self._array()
        if "object" in types:
            yield self._object()

    def _listed(self) -> list[Any] | None:
        for schema in self._schemas:
            if "const" in schema:
                return [schema["const"]]
            if "enum" in schema:
                return schema["enum"]
        return None

    @property
    def is_only_listed(self) -> bool:
        """Whether the list of values is all there is."""
        return len(self._schemas) == 1 and self._schemas[0].keys() <= _LISTING

    def _said(self, keyword: str) -> list[Any]:
        return [schema[keyword] for schema in self._schemas if keyword in schema]

    def _types(self) -> frozenset[str]:
        types = _TYPES
        for said in self._said("type"):
            allowed = {said} if isinstance(said, str) else set(said)
            types &= allowed | {"integer"} if "number" in allowed else allowed
        return types

    def _note_left_out(self, types: frozenset[str]) -> None:
        for kind, keywords in _LEFT_OUT.items():
            if kind and kind not in types:
                continue
            for keyword in keywords:
                if any(said is not False for said in self._said(keyword)):
                    self._nodes.note(f"'{keyword}'")

    # ------------------------------------------------------------------------------------------------------- scalars

    def _numbers(self, *, whole: bool) -> Iterator[Numbers]:
        lows = [(Fraction(repr(low)), above) for word, above in _LOWS for low in self._said(word)]
        highs = [(Fraction(repr(high)), -below) for word, below in _HIGHS for high in self._said(word)]
        low, above = max(lows, default=(None, 0))
        high, below = min(highs, default=(None, 0))
        steps = [Fraction(repr(step)) for step in self._said("multipleOf")] + [Fraction(1)] * whole
        joined = Range(low, high, _common(steps), bool(above), bool(below))
        if not is_empty(joined):
            yield Numbers(joined, self._numeric_validator())

    def _numeric_validator(self) -> Validator | None:
        rules = [{word: schema[word] for word in _NUMERIC if word in schema} for schema in self._schemas]
        rules = [rule for rule in rules if rule not in ({}, {"type": "number"})]
        return jsonschema_rs.validator_for({"allOf": rules}) if rules else None

    def _strings(self) -> Iterator[Strings]:
        least = max(map(int, self._said("minLength")), default=0)
        most = min(map(int, self._said("maxLength")), default=None)
        if most is not None and most < least:
            return
        expressions = [*self._patterns(), *self._formats()]
        if len(expressions) > MOST_EXPRESSIONS:
            self._nodes.note("many a 'pattern' for one string")
            expressions = expressions[:MOST_EXPRESSIONS]
        if not expressions:
            yield Strings(least=least, most=most) if least or most is not None else FREE
            return
        matcher = automaton(expressions, least, most)
        if matcher is None:
            self._nodes.note("'pattern' that is too large")
        elif matches_nothing(matcher):
            return
        yield Strings(least=least, most=most, automaton=matcher)

    def _patterns(self) -> Iterator[str]:
        for pattern in dict.fromkeys(self._said("pattern")):
            expression = regular(pattern)
            if expression:
                yield expression
            else:
                self._nodes.note("'pattern' with more than plain rules")

    def _formats(self) -> Iterator[str]:
        for name in dict.fromkeys(self._said("format")):
            if not _is_asserted(name, self._draft):
                continue
            if name in FORMATS:
                yield FORMATS[name]
            else:
                self._nodes.note(f"'format': '{name}'")

    # ---------------------------------------------------------------------------------------------------- containers

    def _array(self) -> Arrays:
        listed = [self._items(schema) for schema in self._schemas]
        longest = max((len(first) for first, _ in listed), default=0)
        columns = [[first[i] if i < len(first) else rest for first, rest in listed] for i in range(longest)]
        return Arrays(
            [self._nodes.of(*column) for column in columns],
            self._nodes.of(*(rest for _, rest in listed)),
            least=max(map(int, self._said("minItems")), default=0),
            most=min(map(int, self._said("maxItems")), default=None),
        )

    def _items(self, schema: Mapping[str, Any]) -> tuple[Sequence[Any], Any]:
        items = schema.get("items", True)
        if self._draft >= 2020:
            return schema.get("prefixItems", ()), items
        return (items, schema.get("additionalItems", True)) if isinstance(items, list) else ((), items)

    def _object(self) -> Objects:
        names = dict.fromkeys(name for said in self._said("properties") for name in said)
        members = _Members(self._schemas, self._nodes)
        return Objects(
            {name: members(name) for name in names},
            self._free(),
            members,
            required={name for said in self._said("required") for name in said},
            least=max(map(int, self._said("minProperties")), default=0),
            most=min(map(int, self._said("maxProperties")), default=None),
        )

    def _free(self) -> list[tuple[Strings, Node]]:
        """Return the kinds of keys besides the named ones, each with what its value may be."""
        patterned = [schema for schema in self._schemas if schema.get("patternProperties")]
        rest = self._nodes.of(*(schema.get("additionalProperties", True) for schema in self._schemas))
        if len(patterned) > 1:
            self._nodes.note("'patternProperties' in more than one schema")
            return [(FREE, self._nodes.of())]
        found: list[tuple[Strings, Node]] = [(FREE, rest)]
        for pattern, member in patterned[0]["patternProperties"].items() if patterned else ():
            others = (
                member if schema is patterned[0] else schema.get("additionalProperties", True)
                for schema in self._schemas
            )
            found.append((self._matching(pattern), self._nodes.of(*others)))
        return found

    def _matching(self, pattern: str) -> Strings:
        expression = regular(pattern)
        matcher = automaton([expression], 0, None) if expression else None
        if matcher is None:
            self._nodes.note("'patternProperties' with more than plain rules")
            return FREE
        return Strings(automaton=matcher)


class _Members:
    """What the value of a key may be."""

    def __init__(self, schemas: Sequence[Any], nodes: Maker) -> None:
        self._schemas = schemas
        self._nodes = nodes
        self._patterns = {
            pattern: nodes.document.pattern(pattern)
            for schema in schemas
            for pattern in schema.get("patternProperties", ())
        }

    def __call__(self, key: str) -> Node:
        return self._nodes.of(*(member for schema in self._schemas for member in self._in(schema, key)))

    def _in(self, schema: Mapping[str, Any], key: str) -> Iterator[Any]:
        found = False
        if key in schema.get("properties", ()):
            found = True
            yield schema["properties"][key]
        for pattern, member in schema.get("patternProperties", {}).items():
            if self._patterns[pattern].is_valid(key):
                found = True
                yield member
        if not found and "additionalProperties" in schema:
            yield schema["additionalProperties"]


_LOWS = (("minimum", 0), ("exclusiveMinimum", 1))
_HIGHS = (("maximum", 0), ("exclusiveMaximum", 1))


def _common(steps: Sequence[Fraction]) -> Fraction | None:
    """Return the least common multiple of the steps."""
    if not steps:
        return None
    return Fraction(
        math.lcm(*(one.numerator for one in steps)), math.gcd(*(one.denominator for one in steps))
    )


@lru_cache(maxsize=256)
def _is_asserted(name: str, draft: int) -> bool:
    """Whether a format is checked at all: unknown ones are not, and each draft has its own."""
    schema = {"$schema": _SCHEMAS.get(draft, _SCHEMAS[2020]), "format": name}
    return not jsonschema_rs.validator_for(schema, validate_formats=True).is_valid("\x00 :[")


_SCHEMAS = {
    6: "http://json-schema.org/draft-06/schema#",
    7: "http://json-schema.org/draft-07/schema#",
    2019: "https://json-schema.org/draft/2019-09/schema",
    2020: "https://json-schema.org/draft/2020-12/schema",
}
