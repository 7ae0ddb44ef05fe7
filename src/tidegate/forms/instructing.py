"""Words of the gateway in the instructions of a request."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.types import Message

_ROLES = frozenset({"system", "developer"})


def instructed(messages: Sequence[Message], words: str) -> list[Message]:
    """Return the messages of a chat with more words at the end of their first one, if that instructs, or before it.

    What stands before the words keeps its place, so that an engine still knows the beginning of the prompt.
    """
    first = messages[0] if messages else None
    if first is None or first.role not in _ROLES:
        return [Message.of("system", words), *messages]
    content = first.content
    if isinstance(content, list):
        return [first.with_content([*content, {"type": "text", "text": words}]), *messages[1:]]
    return [first.with_content(f"{content}\n\n{words}" if content else words), *messages[1:]]
