"""Reads answers in the usual form in one step: those that have no other members than OpenAI's own answers of plain text.

Such an answer has text in one place for each choice. Every other answer is read member by member, see `answers.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.kernel.repeated import colons
from tidegate.types import Piece, Surface, Text, Where

_LONGEST_WORD = 256
_COUNTED = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})


class _Said(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: str | msgspec.UnsetType | None = msgspec.UNSET
    content: str | msgspec.UnsetType | None = msgspec.UNSET
    refusal: msgspec.UnsetType | None = msgspec.UNSET
    tool_calls: msgspec.UnsetType | None = msgspec.UNSET
    function_call: msgspec.UnsetType | None = msgspec.UNSET
    reasoning_content: msgspec.UnsetType | None = msgspec.UNSET
    reasoning: msgspec.UnsetType | None = msgspec.UNSET
    audio: msgspec.UnsetType | None = msgspec.UNSET


class _Choice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    index: int
    message: _Said | msgspec.UnsetType = msgspec.UNSET
    delta: _Said | msgspec.UnsetType = msgspec.UNSET
    text: str | msgspec.UnsetType = msgspec.UNSET
    logprobs: msgspec.UnsetType | None = msgspec.UNSET
    finish_reason: str | msgspec.UnsetType | None = msgspec.UNSET
    stop_reason: msgspec.UnsetType | None = msgspec.UNSET
    token_ids: msgspec.UnsetType | None = msgspec.UNSET


_Counts = dict[str, int | dict[str, int | None] | None]


class _Answer(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    choices: list[_Choice]
    id: str | msgspec.UnsetType = msgspec.UNSET
    object: str | msgspec.UnsetType = msgspec.UNSET
    created: int | msgspec.UnsetType = msgspec.UNSET
    model: str | msgspec.UnsetType = msgspec.UNSET
    system_fingerprint: str | msgspec.UnsetType | None = msgspec.UNSET
    service_tier: str | msgspec.UnsetType | None = msgspec.UNSET
    usage: _Counts | msgspec.UnsetType | None = msgspec.UNSET


_DECODER = msgspec.json.Decoder(_Answer)
_ENCODER = msgspec.json.Encoder()


def usual_texts(piece: Piece) -> Sequence[Text] | None:
    """Return the texts of an answer in the usual form, or None for any other answer."""
    data = piece.data
    try:
        answer = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not _has_names_only(answer) or _repeats_key(answer, data):
        return None
    texts: list[Text] = []
    for choice in answer.choices:
        said = choice.message or choice.delta
        channel, value = ("content", said.content) if said else ("text", choice.text)
        if value:
            texts.append(Text(Where(choice.index, channel), Surface.OUTPUT, value))
    return texts


def _repeats_key(answer: _Answer, data: bytes) -> bool:
    """Whether the bytes may have a key that is not in the answer, since it comes again."""
    shortest = _ENCODER.encode(answer)
    if len(shortest) == len(data):
        return False
    # Servers that write with blanks do so in whole answers. Events have to be in the shortest form, for their layouts.
    is_whole = bool(answer.choices and answer.choices[0].message)
    return not is_whole or colons(shortest) != colons(data)


def _has_names_only(answer: _Answer) -> bool:
    """Whether nothing but one text of each choice can be read as a sentence."""
    choices = answer.choices
    names = f"{answer.id}{answer.object}{answer.model}{answer.system_fingerprint}{answer.service_tier}"
    return (
        _is_word(names)
        and (not answer.usage or _are_words(answer.usage))
        and (len(choices) < 2 or len({choice.index for choice in choices}) == len(choices))
        and all(map(_is_usual, choices))
    )


def _is_usual(choice: _Choice) -> bool:
    said = choice.message or choice.delta
    if said and (choice.text or (choice.message and choice.delta) or not _is_word(said.role)):
        return False
    return _is_word(choice.finish_reason)


def _are_words(counts: _Counts) -> bool:
    if counts.keys() <= _COUNTED and dict not in map(type, counts.values()):
        return True  # in one step, as most are
    return all(
        _is_word(name) and (type(one) is not dict or all(map(_is_word, one))) for name, one in counts.items()
    )


def _is_word(value: str | msgspec.UnsetType | None) -> bool:
    """Whether a name or an id, or several of them together, cannot be read as a sentence."""
    return not value or (len(value) <= _LONGEST_WORD and " " not in value and value.isascii())
