"""Large request bodies: the same checks as `openai.read`, in steps of about a millisecond.

A body is read through its outline (`outline.py`), and its messages in batches. Of a long text or a long list only the place
is kept: `Call.fields` and `Call.messages` are views of the body. `Call.request` has the values that are short; a longer one
is empty there, or None.

Two limits hold for large bodies alone. One message, or one field that is no list, may hold 512 KiB beside its long texts.
The body may have 256 fields.
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
from tidegate.types import ChatMessage, ChatRequest, CompletionRequest, Endpoint, Messages, Request, Spans

LARGE_BYTES = 256 * 1024
"""A longer body is read in steps; one of this length takes a millisecond in one go."""
STEP_S = 0.001
# So much of the values that are not in the outline is decoded for `Call.request`.
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
_UNREAD = msgspec.json.Decoder(msgspec.Raw)
# In place of what `Call.request` must have and is too long for it.
_EMPTY: Mapping[str, msgspec.Raw] = MappingProxyType(
    {"messages": msgspec.Raw(b"[]"), "prompt": msgspec.Raw(b'""'), "input": msgspec.Raw(b'""')}
)
_NULL = msgspec.Raw(b"null")
_FIRST_INDEX = re.compile(r"`\$\[(\d+)\]")
_ENCODER = msgspec.json.Encoder()


async def read_in_turns(steps: Iterator[None], turn: asyncio.Lock, clock: Clock = time.monotonic) -> None:
    """Go through the steps, a millisecond in each turn of the loop. All who share `turn` share that millisecond."""
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
    """Fill a call from a request body, as `openai.read` does, with a pause after each step. Raises BadRequest."""
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
    call.is_large = True
    call.fields = {name: msgspec.Raw(view[start:end]) for name, (start, end) in outline.fields.items()}
    if isinstance(request, ChatRequest):
        if "messages" in outline.handed_out:
            if lists.repeated is not None:
                raise lists.repeated
        else:
            check_any(request.messages)
            check_repeated_keys(bytes(in_outline["messages"]), request.messages)
        call.messages = Messages(call.fields["messages"], Spans(body, outline.starts, outline.ends))
    elif isinstance(request, CompletionRequest) and "prompt" not in outline.handed_out:
        lists.prompts = count_prompts(request.prompt)
    yield
    if outline.shortened:
        request = _with_short_values(call, in_outline, outline.shortened)
    take(call, request, lists.prompts)


class _Lists:
    """The long lists of a body, read a batch at a time as the type of their field."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._typed = TYPES[endpoint].__struct_fields__
        self.repeated: BadRequest | None = None  # the first repeated key of the last `messages`
        self.prompts = 1  # in the last `prompt`
        self._tokens = False  # it is one, as a list of tokens

    def read(self, name: str, batch: bytes, before: int) -> int:
        """See `Outline`. Raises BadRequest for an item that is wrong, msgspec.DecodeError."""
        if name not in self._typed or name not in _LISTS:
            _UNREAD.decode(batch)
            return 1
        try:
            items = _LISTS[name].decode(batch)
        except msgspec.ValidationError as error:
            place = _FIRST_INDEX.sub(lambda at: f"`$.{name}[{before + int(at[1])}]", str(error))
            raise refusal(msgspec.ValidationError(place)) from error
        if name == "messages":
            self._find_repeated(batch, items, before)
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
    """The request once more, with those values that the outline has not in full and that are not long."""
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
    """Raises UnicodeDecodeError."""
    decoder, view = codecs.getincrementaldecoder("utf-8")(), memoryview(body)
    for at in range(0, len(view), window_bytes):
        decoder.decode(view[at : at + window_bytes])
        yield
    decoder.decode(b"", final=True)
