"""Parses a YAML text into plain data, and keeps facts that only the text shows.

Two properties of YAML hide mistakes: the last of two equal keys wins, and an unquoted `on` or `4` is not text. This reader
reports both. It continues after a mistake, so that one run finds all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tidegate.errors import ConfigError, Problem

EMPTY = "''"
_TOKEN = re.compile(r"'?<([a-z ]+)>'?")  # the parser's name for a token, such as `<stream end>`
_MERGE = "tag:yaml.org,2002:merge"
_PLAIN = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


class Document(NamedTuple):
    """The content of a YAML text: its data, with text for every key, and the mistakes that only the text shows.

    `unquoted` has, by path, the spelling of each value that YAML does not read as text. `doubtful` has the sections in
    which two equal keys have different values. Other mistakes found in such a section only follow from that.
    """

    tree: Any
    problems: list[Problem]
    unquoted: dict[str, str]
    doubtful: set[str]


def read(text: str, *, source: str) -> Document:
    """Read one YAML document. Raises ConfigError if the text is not valid YAML."""
    try:
        return _read(yaml.SafeLoader(text))
    except yaml.reader.ReaderError as error:
        words = f"line {_line_of(text, error.position)}: YAML must not contain control characters"
        raise ConfigError(source, [Problem("", f"not valid YAML: {words}")]) from error
    except yaml.YAMLError as error:
        raise ConfigError(source, [Problem("", f"not valid YAML: {_in_words(error)}")]) from error
    except RecursionError as error:
        raise ConfigError(source, [Problem("", "is nested too deeply, or contains itself")]) from error


def _read(loader: yaml.SafeLoader) -> Document:
    reader = _Reader(loader)
    node = loader.get_single_node()
    tree = None if node is None else reader.read(node, "")
    return Document(tree, reader.problems, reader.unquoted, reader.doubtful)


def joined(path: str, key: str | int) -> str:
    """Return the path of an entry in the form for messages: `engines.near.url`, `deployments[0]`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key or EMPTY}" if path else key


class _Reader:
    """One pass over the nodes of a document."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self.problems: list[Problem] = []
        self.unquoted: dict[str, str] = {}
        self.doubtful: set[str] = set()
        self._loader = loader
        self._made: dict[Node, Any] = {}  # a node with an anchor is read only once

    def read(self, node: Node, path: str) -> Any:
        """Return the data of a node. Raises YAMLError for a value or a tag that cannot be read."""
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if node not in self._made:
            if node.tag not in _PLAIN:
                raise _unreadable(node, f"the tag '{node.tag}' is not supported")
            self._made[node] = (
                self._mapping(node, path)
                if isinstance(node, MappingNode)
                else [self.read(item, joined(path, at)) for at, item in enumerate(node.value)]
            )
        return self._made[node]

    def _scalar(self, node: ScalarNode, path: str) -> Any:
        value = self._value(node)
        if not isinstance(value, str):
            self.unquoted[path] = node.value
        return value

    def _value(self, node: ScalarNode) -> Any:
        try:
            return self._loader.construct_object(node)  # pyright: ignore[reportUnknownMemberType]
        except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
            raise _unreadable(node, f"'{node.value}' cannot be read; write text in quotes") from error

    def _mapping(self, node: MappingNode, path: str) -> dict[str, Any]:
        inherited: dict[str, Any] = {}
        own: dict[str, Any] = {}
        lines: dict[str, list[str]] = {}
        for key_node, value_node in cast("list[tuple[Node, Node]]", node.value):
            if key_node.tag == _MERGE:  # `<<`: the section's own keys override the merged ones
                for brought in self._merged(value_node, path):
                    inherited = {**brought, **inherited}
                continue
            key = self._key(key_node, path)
            if key is None:
                continue
            value = self.read(value_node, joined(path, key))
            own[key] = self._both(own[key], value, joined(path, key), path) if key in own else value
            lines.setdefault(key, []).append(str(_line(key_node)))
        for key, places in lines.items():
            if len(places) > 1:
                times = "twice" if len(places) == 2 else f"{len(places)} times"
                where = f"{', '.join(places[:-1])} and {places[-1]}"
                self.problems.append(Problem(path, f"'{key}' is given {times}, in lines {where}"))
        return inherited | own

    def _key(self, node: Node, path: str) -> str | None:
        """Return the name of an entry as it is written, or None if the key is not usable."""
        if not isinstance(node, ScalarNode):
            self.problems.append(Problem(path, f"line {_line(node)}: a key must be a word"))
            return None
        if not node.value and node.style is None:
            self.problems.append(Problem(path, f"line {_line(node)}: a key is empty"))
            return None
        if not isinstance(self._value(node), str):
            problem = f"a name must be text: write '{node.value}' in quotes"
            self.problems.append(Problem(joined(path, node.value), problem))
        return node.value

    def _merged(self, node: Node, path: str) -> Iterator[dict[str, Any]]:
        for one in node.value if isinstance(node, SequenceNode) else [node]:
            if not isinstance(one, MappingNode):
                raise _unreadable(one, "'<<' takes a mapping, or a list of mappings")
            yield self.read(one, path)

    def _both(self, first: Any, second: Any, path: str, section: str) -> Any:
        """Return the union of the values of two equal keys, so that no setting seems to be missing."""
        if isinstance(first, dict) and isinstance(second, dict):
            one, other = cast("dict[str, Any]", first), cast("dict[str, Any]", second)
            shared = {
                key: self._both(one[key], other[key], joined(path, key), path) for key in one if key in other
            }
            return one | other | shared
        if first != second:
            self.doubtful.add(section or path)
        return cast("Any", first)


def _line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _line(node: Node) -> int:
    return node.start_mark.line + 1


def _unreadable(node: Node, words: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, words, node.start_mark)


def _in_words(error: yaml.YAMLError) -> str:
    """Return the position and the message of an error, without the parser's description of its own state."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error).partition("\n")[0]
    mark = error.problem_mark
    words = error.problem or ""
    if words.startswith("but"):  # the message continues the sentence in `context`
        words = f"{error.context}, {words}"
    words = _TOKEN.sub(r"the \1", words).replace("stream", "file")
    return f"line {mark.line + 1}, column {mark.column + 1}: {words}"
