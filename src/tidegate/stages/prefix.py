"""The key of a call's prompt: equal for calls that share the beginning of their prompts, and so an engine's cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

from tidegate.call import Call
from tidegate.types import ChatMessage, ChatRequest, Endpoint, Message, Messages

_CHAT = Endpoint.CHAT  # the look-up of a member costs a call in Python 3.11
_FIRST = frozenset({"system", "developer"})
MOST_CHARS = 64 * 1024
"""So many characters of a message, or bytes of the tools, are read."""


def key_of(call: Call, affinity: str) -> int | None:
    """Return the key of a call for an affinity other than `none`. It is None if the call may go anywhere.

    With `prefix`, the key covers the model, the tools and the system prompt, which is all messages before the first one
    of another role. Without a system prompt, it covers the first message, since later turns of the same chat begin with
    that message too. With `adapter`, the key covers only the name of the model.
    """
    if affinity == "prefix" and call.endpoint is not _CHAT:
        return None
    key = crc32(call.model.encode("utf-8", "surrogatepass"))
    if affinity == "adapter":
        return key
    if "tools" in call.fields:
        key = crc32(memoryview(call.fields["tools"])[:MOST_CHARS], key)
    request = call.request
    if call.is_large or type(request) is not ChatRequest:
        return _large(call, key)
    return _of_messages(request.messages, key)


def _of_messages(messages: Sequence[ChatMessage], key: int) -> int:
    first = True
    for message in messages:
        system = message.role in _FIRST
        if not (first or system):
            break
        content = message.content
        text = content if isinstance(content, str) else _texts(content)
        key = crc32(text[:MOST_CHARS].encode("utf-8", "surrogatepass"), key)
        first = False
        if not system:
            break
    return key


def _large(call: Call, key: int) -> int:
    """The key of a request whose messages are decoded one at a time. A message that is too long ends it."""
    read: list[ChatMessage] = []
    raws = call.messages.raws if isinstance(call.messages, Messages) else [one.raw for one in call.messages]
    for raw in raws:
        if len(memoryview(raw)) > MOST_CHARS:
            return crc32(memoryview(raw)[:MOST_CHARS], _of_messages(read, key))
        read.append(Message.read(raw))
        if read[-1].role not in _FIRST:
            break
    return _of_messages(read, key)


def _texts(content: Sequence[dict[str, Any]] | None) -> str:
    texts = [part.get("text") for part in content or ()]
    return "".join(one for one in texts if isinstance(one, str))
