"""Answers that the gateway gives itself, in the form of the endpoint: a refusal in place of the engine's answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from tidegate.errors import BadRequest
from tidegate.types import Answer, Batch, Choice, Delta, Piece, TokenCounts

_ENCODER = msgspec.json.Encoder()
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NO_TOKENS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
CONTENT_FILTER = "content_filter"
_FRAME = ("id", "created", "model", "system_fingerprint")


class Frame(NamedTuple):
    """What an answer says around its choices. `created` is in seconds since the epoch.

    With `like`, a piece of the engine's answer, the id and the rest are those of that piece, as far as it has them.
    """

    id: str
    created: int
    model: str
    like: Piece | None = None


class Saying(NamedTuple):
    """Words to say in each of some choices, and the reason why the choices end.

    `begun` says that the client has had an event of these choices already.
    """

    words: str
    finish: str = CONTENT_FILTER
    choices: Sequence[int] = (0,)
    begun: bool = False


def say_chat(saying: Saying, frame: Frame, *, stream: bool) -> Batch:
    """Say the words as an assistant's message."""
    if not stream:
        message = {"role": "assistant", "content": saying.words, "refusal": None}
        return [_whole("chat.completion", frame, saying, {"message": message})]
    steps: list[tuple[dict[str, Any], str | None]] = [({"delta": {}}, saying.finish)]
    if saying.words:
        steps.insert(0, ({"delta": {"content": saying.words}}, None))
    if not saying.begun:
        # Clients append the texts of all deltas, the role too. So it is said once.
        steps.insert(0, ({"delta": {"role": "assistant", "content": ""}}, None))
    return _events("chat.completion.chunk", frame, saying.choices, steps)


def say_completion(saying: Saying, frame: Frame, *, stream: bool) -> Batch:
    """Say the words as the text of a completion."""
    if not stream:
        return [_whole("text_completion", frame, saying, {"text": saying.words})]
    steps: list[tuple[dict[str, Any], str | None]] = [({"text": ""}, saying.finish)]
    if saying.words:
        steps.insert(0, ({"text": saying.words}, None))
    return _events("text_completion", frame, saying.choices, steps)


def say_nothing(saying: Saying, frame: Frame, *, stream: bool) -> Batch:
    """Raise BadRequest with the words, for an answer that has no text."""
    del frame, stream
    error = BadRequest(saying.words)
    error.told_code = CONTENT_FILTER
    raise error


def _whole(kind: str, frame: Frame, saying: Saying, said: Mapping[str, Any]) -> Piece:
    """Return a whole answer. The tokens that the engine has used for `like` are kept; else none were used."""
    choices = [_choice(index, said, saying.finish) for index in saying.choices]
    given, like = _members(frame.like), frame.like
    top = {**_top(kind, frame, given), "choices": choices, "usage": given.get("usage", _NO_TOKENS)}
    usage = like.answer.usage if like is not None and "usage" in given else TokenCounts(0, 0)
    return Piece(_ENCODER.encode(top), Answer([_read(one) for one in choices], usage))


def _events(
    kind: str,
    frame: Frame,
    choices: Iterable[int],
    steps: Iterable[tuple[Mapping[str, Any], str | None]],
) -> Batch:
    top, batch = _top(kind, frame, _members(frame.like)), list[Piece]()
    for index in choices:
        for said, finish in steps:
            choice = _choice(index, said, finish)
            batch.append(Piece(_ENCODER.encode({**top, "choices": [choice]}), Answer([_read(choice)])))
    return batch


def _members(like: Piece | None) -> dict[str, msgspec.Raw]:
    if like is None:
        return {}
    try:
        return _MEMBERS.decode(like.data)
    except msgspec.DecodeError:
        return {}


def _top(kind: str, frame: Frame, given: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
    known = {name: given[name] for name in _FRAME if name in given}
    return {"id": frame.id, "object": kind, "created": frame.created, "model": frame.model, **known}


def _choice(index: int, said: Mapping[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": index, **said, "logprobs": None, "finish_reason": finish}


def _read(choice: Mapping[str, Any]) -> Choice:
    delta, message = choice.get("delta"), choice.get("message")
    return Choice(
        choice["index"],
        Delta(delta.get("content")) if delta is not None else None,
        Delta(message.get("content")) if message is not None else None,
        choice.get("text"),
        choice["finish_reason"],
    )
