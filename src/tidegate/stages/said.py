"""What the choices of an answer say: their texts, their tool calls, and why they ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec

from tidegate.types import Answer, Choice, Delta, Piece

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_CHOICES = msgspec.json.Decoder(list[msgspec.Raw])


class Called(msgspec.Struct):
    """A tool call, as far as it has arrived. `arguments` has the parts of its JSON."""

    name: str = ""
    arguments: list[str] = []


class Said(msgspec.Struct):
    """What one choice has said so far. `refuses` says that the engine has declined to answer."""

    texts: list[str] = []
    calls: dict[int, Called] = {}
    finish: str = ""
    refuses: bool = False

    @property
    def text(self) -> str:
        """The text of the choice."""
        return "".join(self.texts)

    def take(self, choice: Choice) -> str:
        """Take a part of the choice. Returns the text that is new."""
        part, text = choice.delta or choice.message, choice.text or ""
        if part is not None:
            text = text_in(part.content)
            self._take_rest(part)
        if text:
            self.texts.append(text)
        if choice.finish_reason:
            self.finish = choice.finish_reason
        return text

    def _take_rest(self, part: Delta) -> None:
        if part.refusal:
            self.refuses = True
        for position, call in enumerate(_items(part.tool_calls)):
            at = call.get("index")
            known = self.calls.setdefault(at if isinstance(at, int) else position, Called())
            function = call.get("function")
            if isinstance(function, dict):
                told = cast("dict[str, Any]", function)
                known.name += _word(told.get("name"))
                if arguments := told.get("arguments"):
                    known.arguments.append(_word(arguments))


def said_in(pieces: Iterable[Piece]) -> dict[int, Said]:
    """Return what each choice says in the pieces of an answer, by its index."""
    found: dict[int, Said] = {}
    for piece in pieces:
        for choice in piece.answer.choices or ():
            found.setdefault(choice.index, Said()).take(choice)
    return found


def only(piece: Piece, places: Sequence[int]) -> Piece:
    """Return a piece with only those of its choices that stand at these places."""
    members = _MEMBERS.decode(piece.data)
    choices = _CHOICES.decode(members["choices"])
    members["choices"] = msgspec.Raw(msgspec.json.encode([choices[at] for at in places]))
    answer, read = piece.answer, piece.answer.choices or []
    return Piece(
        msgspec.json.encode(members), Answer([read[at] for at in places], answer.usage, answer.error)
    )


def text_in(content: Any) -> str:
    """Return the text of a content: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, msgspec.Raw):
        return text_in(msgspec.json.decode(content))
    return "".join(_word(part.get("text")) for part in _items(content))


def _items(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, msgspec.Raw):
        value = msgspec.json.decode(value)
    if not isinstance(value, list):
        return []
    return [cast("dict[str, Any]", one) for one in cast("list[Any]", value) if isinstance(one, dict)]


def _word(value: Any) -> str:
    """Return a text. Some engines send the arguments of a tool call as an object."""
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()
