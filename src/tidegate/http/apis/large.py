"""Reads large request bodies in steps of about a millisecond, with the same checks as `openai.read`.

A body is read through its outline (`outline.py`), and its messages in batches. Long texts and lists are not copied:
`Call.fields` and `Call.messages` are views of the body. `Call.request` has only the short values. A longer value is empty
there, or None.

Two limits apply only to large bodies. One message, or one field that is not a list, may have 512 KiB apart from its long
texts. The body may have 256 fields.
"""

from __future__ import annotations

import asyncio
import codecs
import re
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from tidegate.call import Call
from tidegate.errors import BadRequest
from tidegate.http.apis.openai import (
    FIELDS,
    REQUESTS,
    TYPES,
    UNREADABLE,
    check_any,
    count_prompts,
    refusal,
    take,
)
from tidegate.http.apis.outline import Limits, Outline
from tidegate.http.apis.repeats import check_repeated_keys
from tidegate.ports import Clock
from tidegate.types import (
    ChatMessage,
    ChatRequest,
    CheckRequest,
    CompletionRequest,
    Endpoint,
    Messages,
    Moderated,
    Request,
    Spans,
)
from tidegate.types.messages import has_images

LARGE_BYTES = 256 * 1024
"""A longer body is read in steps. Reading a body of this length at once takes a millisecond."""
STEP_S = 0.001
# The most bytes of values outside of the outline that are decoded for `Call.request`.
_REQUEST_BYTES = 256 * 1024

_LISTS: Mapping[str, msgspec.json.Decoder[list[Any]]] = MappingProxyType(
    {
        "messages": msgspec.json.Decoder(list[ChatMessage]),
        "tools": msgspec.json.Decoder(list[dict[str, Any]]),
        "stop": msgspec.json.Decoder(list[str]),
        "prompt": msgspec.json.Decoder(list[Any]),
        "input": msgspec.json.Decoder(list[Any]),
    }
)
_OF_MODERATIONS: Mapping[str, msgspec.json.Decoder[list[Any]]] = MappingProxyType(
    {"input": msgspec.json.Decoder(list[Moderated])}
)
_UNREAD = msgspec.json.Decoder(msgspec.Raw)
# These replace values of `Call.request` that are too long, and that are required or mean something by being there.
_EMPTY: Mapping[str, msgspec.Raw] = MappingProxyType(
    {
        "messages": msgspec.Raw(b"[]"),
        **dict.fromkeys(("prompt", "input", "answer", "profile"), msgspec.Raw(b'""')),
    }
)
_NULL = msgspec.Raw(b"null")
_FIRST_INDEX = re.compile(r"`\$\[(\d+)\]")
_ENCODER = msgspec.json.Encoder()


async def read_in_turns(steps: Iterator[None], turn: asyncio.Lock, clock: Clock = time.monotonic) -> None:
    """Run the steps for a millisecond in each turn of the event loop. Readers with the same `turn` share it."""
    while True:
        async with turn:
            until = clock() + STEP_S
            for _ in steps:
                if clock() >= until:
                    break
            else:
                return
            await asyncio.sleep(0)


def read_large(body: bytes, call: Call, limits: Limits) -> Iterator[None]:
    """Fill a call from a request body, as `openai.read` does, and yield after each step. Raises BadRequest."""
    lists = _Lists(call.endpoint)
    outline = Outline(body, lists.read, limits)
    try:
        yield from outline.read()
        yield from _check_utf8(body, limits.window_bytes)
        text = outline.text
        in_outline = FIELDS.decode(text)
        yield
        request = REQUESTS[call.endpoint].decode(text)
        yield
    except UNREADABLE as error:
        raise refusal(error, outline.fields) from error
    view = memoryview(body)
    call.is_large, call.has_images = True, lists.has_images
    call.fields = {name: msgspec.Raw(view[start:end]) for name, (start, end) in outline.fields.items()}
    if isinstance(request, ChatRequest | CheckRequest) and request.messages is not None:
        if "messages" in outline.handed_out:
            if lists.repeated is not None:
                raise lists.repeated
        else:
            check_any(request.messages)
            call.has_images = has_images(request.messages)
            check_repeated_keys(bytes(in_outline["messages"]), request.messages)
        call.messages = Messages(call.fields["messages"], Spans(body, outline.starts, outline.ends))
    elif isinstance(request, CompletionRequest) and "prompt" not in outline.handed_out:
        lists.prompts = count_prompts(request.prompt)
    yield
    if outline.shortened:
        request = _with_short_values(call, in_outline, outline.shortened)
    take(call, request, lists.prompts)


class _Lists:
    """The long lists of a body. Each batch of items is decoded as the type of its field."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._typed = TYPES[endpoint].__struct_fields__
        self._decoders = {**_LISTS, **(_OF_MODERATIONS if endpoint is Endpoint.MODERATIONS else {})}
        self.repeated: BadRequest | None = None  # the first repeated key of the last `messages`
        self.prompts = 1  # the number of prompts in the last `prompt`
        self.has_images = False
        self._tokens = False  # whether `prompt` is one list of tokens

    def read(self, name: str, batch: bytes, before: int) -> int:
        """Decode one batch: see `OnItems`. Raises BadRequest for a wrong item, msgspec.DecodeError for invalid JSON."""
        if name not in self._typed or name not in self._decoders:
            _UNREAD.decode(batch)
            return 1
        try:
            items = self._decoders[name].decode(batch)
        except msgspec.ValidationError as error:
            place = _FIRST_INDEX.sub(lambda at: f"`$.{name}[{before + int(at[1])}]", str(error))
            raise refusal(msgspec.ValidationError(place)) from error
        if name == "messages":
            self._find_repeated(batch, items, before)
            self.has_images = (before > 0 and self.has_images) or has_images(items)
        elif name == "prompt":
            self._tokens = isinstance(items[0], int) if not before else self._tokens
            self.prompts = 1 if self._tokens else before + len(items)
        return len(items)

    def _find_repeated(self, batch: bytes, messages: list[Any], before: int) -> None:
        if not before:
            self.repeated = None
        if self.repeated is None:
            try:
                check_repeated_keys(batch, messages, before=before)
            except BadRequest as error:
                self.repeated = error


def _with_short_values(call: Call, in_outline: Mapping[str, msgspec.Raw], shortened: set[str]) -> Request:
    """Return the request decoded again, with those values that are incomplete in the outline but not too long."""
    left, values = _REQUEST_BYTES, dict(in_outline)
    for name in shortened:
        size = len(memoryview(call.fields[name]))
        if size <= left:
            left -= size
            values[name] = call.fields[name]
        elif name == "model":
            raise BadRequest("The field 'model' is too long", param="model")
        else:
            values[name] = _EMPTY.get(name, _NULL)
    return REQUESTS[call.endpoint].decode(_ENCODER.encode(values))


def _check_utf8(body: bytes, window_bytes: int) -> Iterator[None]:
    """Raise UnicodeDecodeError if the body is not UTF-8. Yields after each step."""
    decoder, view = codecs.getincrementaldecoder("utf-8")(), memoryview(body)
    for at in range(0, len(view), window_bytes):
        decoder.decode(view[at : at + window_bytes])
        yield
    decoder.decode(b"", final=True)
