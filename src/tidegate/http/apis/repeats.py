"""Refuses a key that is repeated in an object: the gateway would read the last value, the engine perhaps the first.

A request body is rebuilt from its top-level fields, so only the messages, which are passed on unchanged, have to be
checked.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.errors import BadRequest
from tidegate.kernel.repeated import colons, repeats_key
from tidegate.types import ChatMessage


def check_repeated_keys(raw: bytes, messages: Sequence[ChatMessage], *, before: int = 0) -> None:
    """Raise BadRequest if an object in the messages repeats a key.

    `raw` is the JSON of `messages`. `before` is the number of messages that precede these in the request.
    """
    # Most messages have a role and a text and nothing else.
    if all(type(message.content) is str for message in messages):
        expected = 2 * len(messages)
        if raw.count(b":") == expected or colons(raw) == expected:
            return
    for at, message in enumerate(msgspec.json.decode(raw, type=list[msgspec.Raw]), before):
        one = bytes(message)
        if repeats_key(one, msgspec.json.decode(one)):
            raise BadRequest(
                f"An object in 'messages[{at}]' has a key twice; give it once", param=f"messages[{at}]"
            )
