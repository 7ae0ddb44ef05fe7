"""The messages with which an engine is asked again for an answer that does not have the demanded form."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.call import Call
from tidegate.stages.said import Said
from tidegate.structure.asked import Shape
from tidegate.types import Endpoint, Message

_MOST_CHARS = 16 * 1024
"""The most characters of an invalid answer, and of a form, that are sent back."""
_FORMS = {
    "json_object": ("a JSON object", ""),
    "json_schema": ("JSON that is valid under this JSON schema", "schema"),
    "regex": ("text that matches this regular expression from its beginning to its end", "pattern"),
    "choice": ("exactly one of these texts, without quotes", "choices"),
    "grammar": ("text of this grammar", "grammar"),
}


def may_reask(call: Call) -> bool:
    """Return whether an error can be told to the engine: in a chat that does not end with the beginning of its answer."""
    messages = call.messages
    return call.endpoint is Endpoint.CHAT and bool(messages) and messages[-1].role != "assistant"


def messages_again(
    messages: Sequence[Message], said: Said, wrong: str, untold: Shape | None
) -> list[Message]:
    """Return the messages of the request, the invalid answer, and what is wrong with it.

    `untold` is the demanded form if the engine was not told of it. The answer and the error alternate between assistant and
    user, as all templates of chats accept it. Tool calls are quoted as text: servers refuse messages with invalid calls.
    """
    words = (
        f"Your answer does not have the demanded form: {wrong}\nAnswer again in full, and say nothing else."
    )
    if untold is not None and (form := _told(untold)):
        words += f"\nThe answer has to be {form}"
    answer = _quoted(said)
    return [*messages, Message.of("assistant", answer or "(an empty answer)"), Message.of("user", words)]


def _quoted(said: Said) -> str:
    calls = [f"{one.name}({''.join(one.arguments)})" for one in said.calls.values()]
    text = "\n".join([one for one in (said.text, *calls) if one])
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]} …"


def _told(shape: Shape) -> str:
    words, name = _FORMS[shape.kind]
    if not name:
        return f"{words}."
    value = getattr(shape, name)
    form = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return f"{words}:\n{form}" if len(form) <= _MOST_CHARS else ""
