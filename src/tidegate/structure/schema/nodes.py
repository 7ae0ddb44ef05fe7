"""From a JSON schema to alternatives.

A node is the conjunction of some subschemas of the document. Its alternatives come from choosing one branch of each `anyOf`
and `oneOf` in it, and from joining what all the chosen subschemas say of one type. Nodes are made once for each set of
subschemas, so a recursive schema has finitely many.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, starmap
from typing import Any

import msgspec

from tidegate.structure.schema.alternatives import Alternative, Anything, Node, below, is_possible, literal
from tidegate.structure.schema.document import Document
from tidegate.structure.schema.joining import Joined

MOST_NODES = 1_500
MOST_BRANCHES = 64
"""The most combinations of branches in one node. Beyond, the choices are left to the end."""
MOST_COMPARED = 20
"""The most branches of a `oneOf` that are compared with each other."""
MOST_PASSES = 50


class Conjunction:
    """A node: the values that all of some subschemas accept."""

    __slots__ = ("_alternatives", "_nodes", "inhabited", "numbers")

    def __init__(self, numbers: frozenset[int], nodes: Nodes) -> None:
        self.numbers = numbers
        self.inhabited = -2 not in numbers
        self._nodes = nodes
        self._alternatives: Sequence[Alternative] | None = None

    @property
    def alternatives(self) -> Sequence[Alternative]:
        """The alternatives; once the node is settled, those that are possible."""
        if self._alternatives is None:
            self._alternatives = self._nodes.expanded(self.numbers)
        return self._alternatives

    @alternatives.setter
    def alternatives(self, possible: Sequence[Alternative]) -> None:
        self._alternatives = possible


class TooLargeError(Exception):
    """A schema has more nodes than can be followed."""


class Nodes:
    """The nodes of one document. `unsupported` collects the rules that the alternatives leave out."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.unsupported: dict[str, None] = {}
        self._made: dict[frozenset[int], Node] = {frozenset(): Anything()}
        self._settled: dict[int, Node] = {}
        self._one_ofs: dict[int, Sequence[Any]] = {}
        self._is_complete = False

    def of(self, *schemas: Any) -> Node:
        """Return the node of the values that all the schemas accept."""
        return self.node(frozenset(self.document.number(schema) for schema in schemas))

    def node(self, numbers: frozenset[int]) -> Node:
        """Return the node of a set of subschemas."""
        numbers = frozenset(number for number in numbers if number != -1)
        made = self._made.get(numbers)
        if made is None:
            if len(self._made) >= MOST_NODES:
                if self._is_complete:  # a key that no one foresaw, while an answer is read
                    return self._made[frozenset()]
                raise TooLargeError
            made = self._made[numbers] = Conjunction(numbers, self)
        return made

    def complete(self, root: Node) -> None:
        """Make all the nodes below a root. Raises TooLargeError."""
        self._settle(root)
        checked = 0
        while checked < len(self._one_ofs):  # comparing branches can find more of them
            branches = list(self._one_ofs.values())[checked]
            checked += 1
            if len(branches) > MOST_COMPARED or not all(starmap(self._are_apart, combinations(branches, 2))):
                self.note("'oneOf' with branches that may both hold")
        self._is_complete = True

    def _settle(self, root: Node) -> None:
        """Find out which of the nodes below a root can hold a value: the least set that is closed under the schema."""
        found = self._reachable(root)
        for node in found:
            node.inhabited = False
        for _ in range(MOST_PASSES):
            changed = False
            for node in reversed(found):
                if not node.inhabited and any(map(is_possible, node.alternatives)):
                    node.inhabited = changed = True
            if not changed:
                break
        else:
            raise TooLargeError
        for node in found:
            node.alternatives = [one for one in node.alternatives if is_possible(one)]
        self._settled.update((id(node), node) for node in found)

    def note(self, rule: str) -> None:
        """Remember a rule that only the end is checked for."""
        self.unsupported[rule] = None

    def _reachable(self, root: Node) -> list[Node]:
        found: dict[int, Node] = {}
        left = [root]
        while left:
            node = left.pop()
            if id(node) in found or id(node) in self._settled:
                continue
            found[id(node)] = node
            for alternative in node.alternatives:
                left.extend(below(alternative))
        return list(found.values())

    # ------------------------------------------------------------------------------------------------------- branches

    def expanded(self, numbers: frozenset[int]) -> Sequence[Alternative]:
        """Return the alternatives of a conjunction."""
        values: dict[bytes, Any] = {}
        found: list[Alternative] = []
        for flat in self._flat(numbers):
            joined = Joined([self.document.schema(number) for number in flat], self)
            if joined.values is None:
                found.extend(joined.alternatives())
                continue
            fitting = (
                value for value in joined.values if all(self.document.accepts(n, value) for n in numbers)
            )
            values.update((msgspec.json.encode(value), value) for value in fitting)
        return [*found, *literal(list(values.values()), self.note).alternatives]

    def _fitting(self, values: Sequence[Any], numbers: frozenset[int]) -> list[Any]:
        return [value for value in values if all(self.document.accepts(number, value) for number in numbers)]

    def _flat(self, numbers: frozenset[int]) -> list[tuple[int, ...]]:
        """Return the sets of subschemas of which one has to hold as a whole, references and branches included."""
        flats: list[dict[int, None]] = []
        left: list[tuple[list[int], dict[int, None]]] = [(list(numbers), {})]
        while left:
            pending, done = left.pop()
            if not pending:
                flats.append(done)
            elif len(left) + len(flats) > MOST_BRANCHES:
                self.note("combinations of 'anyOf' and 'oneOf'")
                return [tuple(numbers)]
            else:
                left.extend(self._step(pending, done))
        return [tuple(flat) for flat in flats]

    def _step(self, pending: list[int], done: dict[int, None]) -> Iterator[tuple[list[int], dict[int, None]]]:
        number, rest = pending[0], pending[1:]
        if number == -2:
            return
        if number == -1 or number in done:
            yield rest, done
            return
        schema = self.document.schema(number)
        done = {**done, number: None}
        also = [*rest, *map(self.document.number, self._conjuncts(schema))]
        choices = [branches for branches in map(schema.get, ("anyOf", "oneOf")) if isinstance(branches, list)]
        if self._is_only_reference(schema):
            choices = []
        if "oneOf" in schema and choices:
            self._one_ofs[number] = schema["oneOf"]
        for chosen in _products(choices):
            yield [*also, *map(self.document.number, chosen)], done

    def _is_only_reference(self, schema: Any) -> bool:
        """Up to draft 7, nothing beside `$ref` counts."""
        return self.document.draft < 2019 and "$ref" in schema

    def _conjuncts(self, schema: Any) -> list[Any]:
        found: list[Any] = []
        if "$ref" in schema:
            target = self.document.resolved(schema["$ref"])
            if target is None:
                self.note("'$ref' to a schema with a base of its own")
            else:
                found.append(target)
            if self._is_only_reference(schema):
                return found
        return [*found, *schema.get("allOf", ())]

    def _are_apart(self, one: Any, other: Any) -> bool:
        """Whether no value fits two branches; then `oneOf` means the same as `anyOf`."""
        both = self.of(one, other)
        if id(both) not in self._settled:
            self._settle(both)
        return not both.inhabited


def _products(choices: list[list[Any]]) -> Iterator[list[Any]]:
    if not choices:
        yield []
        return
    for branch in choices[0]:
        for others in _products(choices[1:]):
            yield [branch, *others]
