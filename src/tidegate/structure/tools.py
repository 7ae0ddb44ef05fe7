"""Tool calls of answers, checked against the tools of the request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jsonschema_rs
import msgspec

from tidegate.types import Message


class Tools:
    """The tools of one request."""

    def __init__(self, schemas: dict[str, Any]) -> None:
        self._schemas = schemas

    def errors(self, calls: Sequence[tuple[str, str]]) -> str:
        """Return what is wrong with the first invalid call; empty if all are valid."""
        for name, arguments in calls:
            if name not in self._schemas:
                return f"there is no tool '{name}'"
            try:
                value = msgspec.json.decode(arguments)
            except msgspec.DecodeError as error:
                return f"the arguments of '{name}' are not JSON: {error}"
            wrong = next(jsonschema_rs.validator_for(self._schemas[name]).iter_errors(value), None)
            if wrong is not None:
                return f"{name}: {wrong.message}"
        return ""


def tools_of(raw: msgspec.Raw, messages: Sequence[Message], *, most_repeats: int) -> Tools | None:
    """Return the tools of a request."""
    tools = msgspec.json.decode(raw) or []
    return (
        Tools({one["function"]["name"]: one["function"].get("parameters", {}) for one in tools})
        if tools
        else None
    )
