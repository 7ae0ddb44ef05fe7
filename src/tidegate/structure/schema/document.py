"""A JSON schema as a document: whether it may be used, what its references mean, and what it says of a whole value.

A reference is followed inside the document and never outside of it: no schema makes the gateway read a file or a network.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

import jsonschema_rs
from jsonschema_rs import FancyRegexOptions, RegexOptions, Validator

from tidegate.errors import BadRequest
from tidegate.structure.schema.work import MOST_CHECKS, EndlessError, forks

DEEPEST = 64
"""The levels of the deepest schema."""
MOST_PARTS = 5_000
"""The values in the largest schema: objects, arrays and scalars."""
MOST_PATTERN_CHARS = 1_000
"""The characters of the longest pattern."""
MOST_PATTERNS = 200
_LINEAR = RegexOptions(size_limit=1 << 20)
_BACKTRACKING = FancyRegexOptions(backtrack_limit=10_000, size_limit=1 << 20)
"""Only for patterns that look around or refer back. One that needs more steps than this does not match."""
_DRAFTS = {"draft-04": 4, "draft-06": 6, "draft-07": 7, "2019-09": 2019, "2020-12": 2020}
_DATA = ("const", "enum", "default", "examples")
_URI = "%#/:?&=;,.!~*'()@+$[]-_"
_OWN_BASE = ("$dynamicRef", "$recursiveRef", "$dynamicAnchor", "$recursiveAnchor")


class Document:
    """One schema. Raises BadRequest, which names `field`, if it cannot be used."""

    def __init__(self, schema: Any, field: str) -> None:
        _bounded(schema, field)
        self._root = schema = _with_uris(schema)
        self._field = field
        self._anchors: dict[str, Any] = {}
        self._has_bases = False
        self.draft = _draft(schema)
        for part in _parts(schema):
            self._index(part)
        self.forks = self._work()
        self._whole = self._validator(schema)
        self._validators: dict[int, Validator] = {}
        self._numbers: dict[int, int] = {}
        self._schemas: list[Any] = []

    def _work(self) -> int:
        try:
            return forks(_parts(self._root), self.resolved)
        except EndlessError as error:
            raise BadRequest(
                f"The schema in '{self._field}' checks one value endlessly or more than {MOST_CHECKS} times;"
                " take out references that lead back to themselves or repeat each other",
                param=self._field,
            ) from error

    @property
    def root(self) -> Any:
        """The whole schema, with every reference in the spelling of RFC 3986."""
        return self._root

    @property
    def validator(self) -> Validator:
        """The check of a whole value."""
        return self._whole

    def number(self, schema: Any) -> int:
        """Return a number for a subschema: the same one for the same place in the document."""
        if schema is True or schema is False:
            return -1 if schema else -2
        number = self._numbers.get(id(schema))
        if number is None:
            number = self._numbers[id(schema)] = len(self._schemas)
            self._schemas.append(schema)
        return number

    def schema(self, number: int) -> Any:
        """Return the subschema of a number."""
        return number == -1 if number < 0 else self._schemas[number]

    def accepts(self, number: int, value: Any) -> bool:
        """Whether a subschema accepts a value."""
        if number < 0:
            return number == -1
        validator = self._validators.get(number)
        if validator is None:
            validator = self._validators[number] = self._part_validator(self._schemas[number])
        return validator.is_valid(value)

    def pattern(self, pattern: str) -> Validator:
        """Return the check that a string matches a pattern."""
        return self._validator({"pattern": pattern})

    def resolved(self, reference: Any) -> Any:
        """Return the subschema that `$ref` names, or None if its meaning depends on more than this document's text."""
        if not isinstance(reference, str) or self._has_bases or not reference.startswith("#"):
            return None
        fragment = unquote(reference[1:])
        if not fragment.startswith("/"):
            return self._root if not fragment else self._anchors.get(fragment)
        here = self._root
        for step in fragment[1:].split("/"):
            here = _below(here, step.replace("~1", "/").replace("~0", "~"))
        return here if isinstance(here, (dict, bool)) else None

    def _index(self, part: Mapping[str, Any]) -> None:
        anchor = part.get("$anchor")
        if isinstance(anchor, str):
            self._anchors[anchor] = part
        base = part.get("$id")
        if isinstance(base, str):
            if base.startswith("#"):  # the anchors of draft 6 and 7
                self._anchors[base[1:]] = part
            elif part is not self._root:
                self._has_bases = True
        if any(word in part for word in _OWN_BASE):
            self._has_bases = True

    def _part_validator(self, schema: Mapping[str, Any]) -> Validator:
        """A part is checked as the whole document with another beginning, so that its references mean the same."""
        if not any("$ref" in part for part in _parts(schema)):
            marked = {"$schema": self._root["$schema"], **schema} if "$schema" in self._root else schema
            return self._validator(marked)
        homes = {
            name: self._root[name]
            for name in ("$schema", "$id", "$defs", "definitions")
            if name in self._root
        }
        clear = not any(name in schema for name in homes)
        outside = any(not _is_in_homes(part.get("$ref", "#/$defs/")) for part in _parts(homes))
        outside = outside or any(not _is_in_homes(part.get("$ref", "#/$defs/")) for part in _parts(schema))
        if clear and not outside:
            return self._validator({**homes, **schema})
        registry = jsonschema_rs.Registry([("urn:tidegate:schema", self._root)])
        pointer = next(path for path, part in _pointers(self._root, "") if part is schema)
        return self._validator({"$ref": f"urn:tidegate:schema#{pointer}"}, registry)

    def _validator(self, schema: Any, registry: jsonschema_rs.Registry | None = None) -> Validator:
        try:
            return _made(schema, registry, _LINEAR)
        except jsonschema_rs.ValidationError as error:
            if "regex" not in error.message:
                raise _unusable(self._field, error) from error
        except ValueError as error:
            raise BadRequest(
                f"The schema in '{self._field}' cannot be used: {error}", param=self._field
            ) from error
        try:
            return _made(schema, registry, _BACKTRACKING)
        except jsonschema_rs.ValidationError as error:
            raise _unusable(self._field, error) from error


def _made(
    schema: Any, registry: jsonschema_rs.Registry | None, patterns: RegexOptions | FancyRegexOptions
) -> Validator:
    return jsonschema_rs.validator_for(
        schema,
        validate_formats=True,
        mask="the value",
        registry=registry,
        pattern_options=patterns,
        offline=True,
    )


def _unusable(field: str, error: jsonschema_rs.ValidationError) -> BadRequest:
    said = error.message if len(error.message) <= 200 else f"{error.message[:200]}…"
    at = ".".join(map(str, error.instance_path)) or "its top"
    if "meta-schema" in said:
        told = "has a '$schema' that is no draft of JSON Schema; leave it out"
    elif "registry" in said:
        told = "refers outside of itself; put what it refers to into its '$defs'"
    else:
        told = f"cannot be used: {said} (at {at})"
    return BadRequest(f"The schema in '{field}' {told}", param=field)


def _draft(schema: Any) -> int:
    said = schema.get("$schema") if isinstance(schema, dict) else None
    if not isinstance(said, str):
        return 2020
    return next((draft for name, draft in _DRAFTS.items() if name in said), 2020)


def _bounded(schema: Any, field: str) -> None:
    """Refuse a schema that would take long to compile, before anything compiles it."""
    parts = patterns = 0
    level = [schema]
    for _ in range(DEEPEST):
        parts += len(level)
        if parts > MOST_PARTS:
            raise BadRequest(
                f"The schema in '{field}' has more than {MOST_PARTS} values; send a smaller one", param=field
            )
        for part in level:
            patterns += _patterns(part, field)
        level = [child for part in level for child in _children(part)]
        if not level:
            break
    else:
        raise BadRequest(
            f"The schema in '{field}' is nested deeper than {DEEPEST} levels; use '$defs' and '$ref'",
            param=field,
        )
    if patterns > MOST_PATTERNS:
        raise BadRequest(
            f"The schema in '{field}' has more than {MOST_PATTERNS} patterns; send fewer", param=field
        )


def _patterns(part: Any, field: str) -> int:
    if not isinstance(part, dict):
        return 0
    named = part.get("patternProperties")
    found = [part.get("pattern"), *(named if isinstance(named, dict) else ())]
    texts = [pattern for pattern in found if isinstance(pattern, str)]
    if any(len(text) > MOST_PATTERN_CHARS for text in texts):
        raise BadRequest(
            f"The schema in '{field}' has a pattern of more than {MOST_PATTERN_CHARS} characters; shorten it",
            param=field,
        )
    return len(texts)


def _children(part: Any) -> Iterator[Any]:
    if isinstance(part, dict):
        yield from part.values()
    elif isinstance(part, list):
        yield from part


def _parts(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Yield each object in a schema, also those that are data: too many for a search of `$id`, never too few."""
    left = [schema]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            yield part
        left.extend(_children(part))


def _with_uris(schema: Any) -> Any:
    """Quote what no URI may contain: clients name definitions in their own language, and refer to them unquoted."""
    if isinstance(schema, list):
        return [_with_uris(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        word: quote(said, safe=_URI)
        if word == "$ref" and isinstance(said, str)
        else said
        if word in _DATA
        else _with_uris(said)
        for word, said in schema.items()
    }


def _pointers(part: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, part
    steps = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for step, child in steps:
        name = str(step).replace("~", "~0").replace("/", "~1")
        yield from _pointers(child, f"{path}/{_quoted(name)}")


def _quoted(name: str) -> str:
    return name.replace("%", "%25").replace("#", "%23").replace(" ", "%20").replace('"', "%22")


def _is_in_homes(reference: Any) -> bool:
    return isinstance(reference, str) and reference.startswith(("#/$defs/", "#/definitions/"))


def _below(here: Any, step: str) -> Any:
    if isinstance(here, dict):
        return here.get(step)
    if isinstance(here, list) and step.isdecimal() and int(step) < len(here):
        return here[int(step)]
    return None
