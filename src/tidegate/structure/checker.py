"""Whether an answer has the form that a request demands: while it arrives, and at its end.

The beginning of a JSON answer is checked by `prefix`, its end by jsonschema-rs, with formats on. A regular expression and a
grammar are automata of llguidance for both.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from tidegate.structure.asked import Shape
from tidegate.structure.check import Checker, Prefix
from tidegate.structure.prefix import DEEPEST, JsonPrefix
from tidegate.structure.schema.alternatives import Anything, Node
from tidegate.structure.schema.document import Document
from tidegate.structure.schema.nodes import Nodes, TooLargeError
from tidegate.structure.schema.numbers import MOST_CHARS
from tidegate.structure.texts import ChoiceChecker, of_grammar, of_regex

MOST_WORK = 200_000
"""The checks of values that one answer may cost at its end."""
MOST_ERRORS = 3
_KEPT_BYTES = 32 * 1024
"""The largest form whose check is kept for the next request with the same one."""
_QUOTED_CHARS = 200
_TOKENS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[-0-9][-+.0-9eE]*', re.DOTALL)


def checker_of(shape: Shape) -> Checker:
    """Return the check of a form: for a form that is not large, the same for every request.

    Raises BadRequest, which names the field, if the form cannot be checked.
    """
    encoded = msgspec.json.encode(shape)
    return _kept(encoded) if len(encoded) <= _KEPT_BYTES else _made(encoded)


__all__ = ["Checker", "JsonChecker", "Prefix", "checker_of"]


@lru_cache(maxsize=64)
def _kept(encoded: bytes) -> Checker:
    return _made(encoded)


def _made(encoded: bytes) -> Checker:
    shape = msgspec.json.decode(encoded, type=Shape)
    match shape.kind:
        case "json_object":
            return JsonChecker({"type": "object"}, shape.field)
        case "json_schema":
            return JsonChecker(shape.schema, shape.field)
        case "choice":
            return ChoiceChecker(shape.choices)
        case "regex":
            return of_regex(shape)
        case _:
            return of_grammar(shape)


# ---------------------------------------------------------------------------------------------------------------- JSON


class JsonChecker:
    """The check of a JSON schema. Raises BadRequest, which names `field`, if the schema cannot be used.

    Two rules are stricter than JSON: no object has a key twice, since readers disagree about its value, and no number has
    more than 400 characters. An answer has at most 200 levels.
    """

    def __init__(self, schema: Any, field: str) -> None:
        self.streams = True
        self._document = Document(schema, field)
        self._root, self.unsupported = _followed(self._document)

    def begin(self) -> JsonPrefix:
        """Begin with a new answer."""
        return JsonPrefix(self._root)

    def errors(self, text: str) -> str:
        """Return what is wrong with a whole answer, and where; empty if it is valid. Values are not quoted."""
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            return f"The answer is not JSON: {error}"
        except RecursionError:
            return f"The answer is nested deeper than {DEEPEST} levels"
        depth, keys = _measured(value)
        if depth > DEEPEST:
            return f"The answer is nested deeper than {DEEPEST} levels"
        strict = _strictly_wrong(text, keys)
        return strict or (self._wrong(value) if self._is_affordable(depth) else self._wrong_by_prefix(text))

    def _is_affordable(self, depth: int) -> bool:
        return self._document.forks <= 1 or self._document.forks**depth <= MOST_WORK

    def _wrong(self, value: Any) -> str:
        validator = self._document.validator
        if validator.is_valid(value):
            return ""
        found: list[str] = []
        for error in validator.iter_errors(value):
            found.append(f"{_path(error.instance_path)}: {error.message[:_QUOTED_CHARS]}")
            if len(found) == MOST_ERRORS:
                break
        return "; ".join(found)

    def _wrong_by_prefix(self, text: str) -> str:
        """Check a value for which the validator would take too long. It is refused if some rule cannot be checked so."""
        beginning = self.begin()
        if not beginning.feed(text) or not beginning.ends():
            return "$: the value does not fit the schema"
        return f"$: the value is nested too deeply to check {self.unsupported}" if self.unsupported else ""


def _followed(document: Document) -> tuple[Node, str]:
    """Return the node of a whole schema, and what it leaves out."""
    if document.draft < 6:
        return Anything(), "everything but JSON's syntax: the schema is of draft 4"
    nodes = Nodes(document)
    try:
        root = nodes.of(document.root)
        nodes.complete(root)
    except TooLargeError:
        return Anything(), "everything but JSON's syntax: the schema has too many combinations"
    return root, ", ".join(nodes.unsupported)


def _measured(value: Any) -> tuple[int, int]:
    """Return the levels of a value, and the keys in it."""
    depth = keys = 0
    level: list[Any] = [value]
    while level := [one for one in level if isinstance(one, (dict, list))]:
        depth += 1
        following: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                keys += len(one)
                following.extend(one.values())
            else:
                following.extend(one)
        level = following
    return depth, keys


def _strictly_wrong(text: str, keys: int) -> str:
    """Return what is wrong with JSON that can be read. `keys` is how many keys were read."""
    written = 0
    for token in _TOKENS.finditer(text):
        written += token[1] is not None
        if token.end() - token.start() > MOST_CHARS and text[token.start()] != '"':
            return f"The answer has a number of more than {MOST_CHARS} characters"
    return "The answer has an object with the same key twice" if written != keys else ""


def _path(steps: Sequence[str | int]) -> str:
    named = (f"[{step}]" if isinstance(step, int) else f".{step[:64]}" for step in steps)
    return "$" + "".join(named)
