"""Handles large requests and answers without a second copy of their texts.

A large request is sent to the engine in parts that are views of the client's bytes. Of a large answer that is not
streamed, only the fields that the gateway needs are parsed.

The long parts of a message stay unparsed in the `Delta`, as views of the answer's bytes. The long text of a completion is
put there too. As a Python string, a text would take up to four bytes a character.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import Any

import msgspec

from tidegate.types import Answer, Choice, Delta, TokenCounts

# A value of at most this size is parsed as usual.
_SHORT_BYTES = 1024
_SLICE_BYTES = 256 * 1024
_NULL = msgspec.Raw(b"null")
_ENCODER = msgspec.json.Encoder()


class _Parts(msgspec.Struct):
    """A `Delta` with every part unparsed."""

    content: msgspec.Raw = _NULL
    tool_calls: msgspec.Raw = _NULL
    reasoning_content: msgspec.Raw = _NULL
    reasoning: msgspec.Raw = _NULL
    refusal: msgspec.Raw = _NULL
    function_call: msgspec.Raw = _NULL

    def as_delta(self) -> Delta:
        """Return a `Delta` with short parts parsed and long parts unparsed."""
        return Delta(*(_if_short(getattr(self, name)) for name in self.__struct_fields__))


class _LargeChoice(msgspec.Struct):
    index: int = 0
    delta: _Parts | None = None
    message: _Parts | None = None
    text: msgspec.Raw = _NULL
    finish_reason: str | None = None


class _LargeAnswer(msgspec.Struct):
    choices: list[_LargeChoice] | None = None
    usage: TokenCounts | None = None
    error: Any = None


_DECODER = msgspec.json.Decoder(_LargeAnswer)
_TEXT = msgspec.json.Decoder(str | None)


def in_parts(fields: Mapping[str, msgspec.Raw]) -> list[bytes | memoryview]:
    """Return the JSON object of these fields in parts. A long value is a part of its own, and is not copied."""
    parts: list[bytes | memoryview] = []
    between = bytearray(b"{")
    for name, raw in fields.items():
        between += b"%b:" % _ENCODER.encode(name)
        value = memoryview(raw)
        if len(value) <= _SHORT_BYTES:
            between += value
        else:
            parts += [bytes(between), value]
            between.clear()
        between += b","
    if fields:
        del between[-1:]
    parts.append(bytes(between + b"}"))
    return parts


def decode_large(data: bytes) -> Answer:
    """Decode an answer, leaving long parts unparsed. Raises what msgspec raises for data that is not such an answer."""
    found = _DECODER.decode(data)
    choices = None if found.choices is None else [_choice(one) for one in found.choices]
    return Answer(choices, found.usage, found.error)


def check_utf8(data: bytes) -> None:
    """Raise UnicodeDecodeError if the data is not UTF-8."""
    if data.isascii():
        return
    decoder, view = codecs.getincrementaldecoder("utf-8")(), memoryview(data)
    for at in range(0, len(view), _SLICE_BYTES):
        decoder.decode(view[at : at + _SLICE_BYTES])
    decoder.decode(b"", final=True)


def _choice(found: _LargeChoice) -> Choice:
    delta = found.delta and found.delta.as_delta()
    message = found.message and found.message.as_delta()
    text: str | None = None
    if len(memoryview(found.text)) <= _SHORT_BYTES:
        text = _TEXT.decode(found.text)
    elif memoryview(found.text)[0] == ord('"'):
        message = Delta(content=found.text)
    else:
        raise msgspec.ValidationError("Expected `str | null` - at `$.choices[...].text`")
    return Choice(found.index, delta, message, text, found.finish_reason)


def _if_short(part: msgspec.Raw) -> Any:
    return msgspec.json.decode(part) if len(memoryview(part)) <= _SHORT_BYTES else part
