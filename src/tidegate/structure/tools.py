"""Tool calls of an answer against the request's `tools`, results that answer no call, and the same call again and again.

The form is OpenAI's (https://platform.openai.com/docs/guides/function-calling). Only functions have arguments in
JSON; the calls of other kinds of tools are not read.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tidegate.errors import BadRequest
from tidegate.structure.asked import LARGEST_BYTES, Shape
from tidegate.structure.check import Checker
from tidegate.structure.checker import checker_of


class ToolCall(msgspec.Struct, frozen=True):
    """One call of a function. `arguments` is JSON as the model wrote it."""

    id: str
    name: str
    arguments: str

    @property
    def sameness(self) -> tuple[str, bytes]:
        """What two calls share if they are the same: the name, and the arguments in any order and spacing."""
        try:
            value = msgspec.json.decode(self.arguments)
            return self.name, msgspec.json.encode(value, order="deterministic")
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return self.name, self.arguments.strip().encode(errors="replace")


class Tools:
    """The functions that a request offers, each with the check of its arguments."""

    def __init__(self, checkers: Mapping[str, Checker]) -> None:
        self._checkers = checkers

    def checker(self, name: str) -> Checker | None:
        """Return the check of the arguments of a function, None if the request does not offer it."""
        return self._checkers.get(name)

    def errors(self, calls: Iterable[ToolCall]) -> str:
        """Return what is wrong with the calls of an answer; empty if all of them are right."""
        return "; ".join(filter(None, map(self._wrong, calls)))

    def _wrong(self, call: ToolCall) -> str:
        checker = self._checkers.get(call.name)
        if checker is None:
            offered = ", ".join(sorted(self._checkers))[:200]
            return f"No tool is called {call.name[:64]!r}; there are: {offered}"
        wrong = checker.errors(call.arguments or "{}")  # no text is how some models write no arguments
        return f"The arguments of {call.name!r} are wrong: {wrong}" if wrong else ""


def tools_of(fields: Mapping[str, msgspec.Raw]) -> Tools | None:
    """Return the functions that the fields of a request offer, None if they offer none.

    Raises BadRequest, which names the field, if a schema of parameters cannot be used.
    """
    checkers = {
        name: _checker(schema, at)
        for field in ("tools", "functions")
        for name, schema, at in _offered(fields, field)
    }
    return Tools(checkers) if checkers else None


def calls_of(tool_calls: Any) -> list[ToolCall]:
    """Return the calls in the `tool_calls` of a message. What is no call of a function is left out."""
    found = [_call(one) for one in tool_calls] if isinstance(tool_calls, list) else []
    return [call for call in found if call is not None]


def stray_results(messages: Sequence[msgspec.Raw]) -> str:
    """Return which `tool` message answers no call of an earlier message; empty if each answers one."""
    known: set[str] = set()
    for at, message in enumerate(_read(messages)):
        known.update(call.id for call in calls_of(message.tool_calls))
        if message.role == "tool" and message.tool_call_id not in known:
            return f"'messages[{at}].tool_call_id' answers no tool call of an earlier message"
    return ""


def repeated(messages: Sequence[msgspec.Raw], calls: Iterable[ToolCall], most: int) -> str:
    """Return which of an answer's calls comes more than `most` times since the user's last message; empty if none.

    What a user asks for again may well need the same calls again.
    """
    counted = Counter[tuple[str, bytes]]()
    for message in _read(messages):
        if message.role == "user":
            counted.clear()
        counted.update(call.sameness for call in calls_of(message.tool_calls))
    for call in calls:
        counted[call.sameness] += 1
        if counted[call.sameness] > most:
            times = "once" if most == 1 else f"{most} times"
            return (
                f"{call.name!r} was called with the same arguments more than {times};"
                " the setting 'structure.most_repeats' allows no more"
            )
    return ""


class _Message(msgspec.Struct):
    role: str = ""
    tool_calls: Any = None
    tool_call_id: Any = None


_MESSAGE = msgspec.json.Decoder(_Message)


def _read(messages: Sequence[msgspec.Raw]) -> Iterator[_Message]:
    return map(_MESSAGE.decode, messages)


def _call(said: Any) -> ToolCall | None:
    function = said.get("function") if isinstance(said, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return None
    arguments = function.get("arguments")
    if isinstance(arguments, dict):  # some engines send an object instead of its text
        arguments = msgspec.json.encode(arguments).decode()
    identity = said.get("id")
    return ToolCall(
        identity if isinstance(identity, str) else "",
        function["name"],
        arguments if isinstance(arguments, str) else "",
    )


def _offered(fields: Mapping[str, msgspec.Raw], field: str) -> Iterator[tuple[str, Any, str]]:
    """Yield the name of each function, its schema, and the place of the schema."""
    raw = fields.get(field)
    if raw is None:
        return
    if len(memoryview(raw)) > 4 * LARGEST_BYTES:
        raise BadRequest(f"'{field}' is larger than {4 * LARGEST_BYTES} bytes; send fewer tools", param=field)
    try:
        tools = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRequest(f"'{field}' cannot be read: {error}", param=field) from error
    for i, tool in enumerate(tools if isinstance(tools, list) else ()):
        function, at = (
            (_function(tool), f"{field}[{i}].function") if field == "tools" else (tool, f"{field}[{i}]")
        )
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            yield function["name"], function.get("parameters"), f"{at}.parameters"


def _function(tool: Any) -> Any:
    return tool.get("function") if isinstance(tool, dict) else None


def _checker(schema: Any, at: str) -> Checker:
    if schema is None or schema == {}:
        return checker_of(Shape("json_object", field=at))
    if not isinstance(schema, (dict, bool)):
        raise BadRequest(f"'{at}' has to be a JSON schema: an object", param=at)
    return checker_of(Shape("json_schema", schema=schema, field=at))
