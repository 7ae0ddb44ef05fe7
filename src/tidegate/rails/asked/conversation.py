"""A conversation as models that judge it read it: turns of a user and an assistant, the judged text last."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from tidegate.ports import TextViews
from tidegate.rails.asked.asking import NoAnswer
from tidegate.types import Scene, Surface, Text
from tidegate.types.messages import Content, kinds_of, media_in

USER, ASSISTANT = "user", "assistant"
Part = Mapping[str, Any]
_ROLES = {"user": USER, "assistant": ASSISTANT, "tool": USER, "function": USER}
"""Models that judge conversations know two roles. What a tool returns is no text of the assistant."""

_SAID = re.compile(r"content(\[\d+\]\.text)?")
"""The channels of the texts that a turn has."""
_SHOWN = frozenset({"image_url", "input_image"})
_RESULTS = frozenset({"tool", "function"})
"""The roles of messages with the results of tools."""


class Turn(NamedTuple):
    """What one of the two says. `media` are the parts of a message that are no text, as the client sent them."""

    role: str
    text: str
    media: tuple[Part, ...] = ()


def conversation_of(views: TextViews, scene: Scene, *, most: int) -> list[Turn]:
    """Return the turns up to the text that is judged, with that text last. There are at most `most` of them.

    Messages of the system and of developers are left out: they are not part of what is judged. Turns of one side that
    follow each other are joined, and the first turn is the user's if there are several, since the templates of guard models
    demand both. A message is judged with its texts outside of the content too, such as the arguments of tool calls.
    """
    at, text = scene.where.at, views.original
    if scene.surface is Surface.OUTPUT:
        turns = [*_turns(scene.messages), Turn(ASSISTANT, text)]
    elif scene.role in _ROLES and 0 <= at < len(scene.messages):
        before, said = _turns(scene.messages[:at]), _turns(scene.messages[at : at + 1])[0]
        whole = "\n".join(one for one in (said.text, *scene.further) if one)
        turns = [*before, said._replace(text=whole or text)]
    else:
        turns = [Turn(USER, text)]
    latest = alternating(turns)[-most:]
    return latest[1:] if len(latest) > 1 and latest[0].role != USER else latest


def is_turn(text: Text) -> bool:
    """Return whether a text belongs to a message that is a turn of the conversation."""
    return text.role in _ROLES


def is_said(text: Text) -> bool:
    """Return whether a text stands in the content of its message, where `conversation_of` finds it."""
    return _SAID.fullmatch(text.where.channel) is not None


def alternating(turns: Iterable[Turn]) -> list[Turn]:
    """Join turns of one side that follow each other."""
    found: list[Turn] = []
    for turn in turns:
        if found and found[-1].role == turn.role:
            before = found[-1]
            found[-1] = Turn(turn.role, f"{before.text}\n\n{turn.text}", before.media + turn.media)
        else:
            found.append(turn)
    return found


def picture(part: Part) -> dict[str, Any]:
    """Return an image as OpenAI's endpoints take it. Raises NoAnswer for media that cannot be shown so to a guard."""
    given = part.get("image_url")
    url = cast("Part", given).get("url") if isinstance(given, dict) else given
    # An engine may read another member of the part than a guard does.
    is_alone = kinds_of(part) <= _SHOWN and "input_image" not in part
    if not isinstance(url, str) or not url or not is_alone:
        raise NoAnswer(
            "the message has an image without a URL, a video, a sound or a file, which the rail cannot see"
        )
    return {"type": "image_url", "image_url": {"url": url}}


def results_in(messages: Sequence[Any]) -> tuple[str, ...]:
    """Return the texts that tools have returned."""
    texts = [_said(one.content)[0] for one in messages if one.role in _RESULTS]
    return tuple(text for text in texts if text)


def _turns(messages: Sequence[Any]) -> list[Turn]:
    found: list[Turn] = []
    for message in messages:
        role = _ROLES.get(message.role)
        if role is not None:
            text, media = _said(message.content)
            found.append(Turn(role, text, media))
    return found


def _said(content: Content) -> tuple[str, tuple[Part, ...]]:
    """Return the text and the media of a message."""
    if content is None or isinstance(content, str):
        return content or "", ()
    texts = [cast("str", part["text"]) for part in content if isinstance(part.get("text"), str)]
    return "\n".join(texts), tuple(media_in(content))
