"""Chat messages with their own bytes. Pure: nothing here waits or sends.

A message that nothing changes is sent as it came, so every key that the gateway does not read is kept, and an engine that
has read the beginning of a chat recognises it. Only a changed message is encoded again.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, overload

import msgspec

Content = str | list[dict[str, Any]] | None


class ChatMessage(msgspec.Struct, gc=False):
    """What the gateway reads of one message. Other keys stay in the request's bytes."""

    role: str
    content: Content = None


class Message(ChatMessage, gc=False):
    """One message and its JSON. `raw` is what is sent; it holds the keys that the gateway does not read, too."""

    raw: msgspec.Raw = msgspec.Raw(b"{}")

    @classmethod
    def read(cls, raw: msgspec.Raw) -> Message:
        """The message in this JSON. Raises what msgspec raises for anything else."""
        read = _READ.decode(raw)
        return cls(read.role, read.content, raw)

    @classmethod
    def of(cls, role: str, content: Content) -> Message:
        """A message of the gateway's own."""
        raw = msgspec.Raw(_ENCODER.encode(ChatMessage(role, content)))
        return cls(role, content, raw)

    def with_content(self, content: Content) -> Message:
        """The same message with another content. Its other keys keep their place and their bytes."""
        members = {**_MEMBERS.decode(self.raw), "content": msgspec.Raw(_ENCODER.encode(content))}
        return Message(self.role, content, msgspec.Raw(_ENCODER.encode(members)))


class Spans(Sequence[msgspec.Raw]):
    """Parts of one text, by where each starts and ends: two numbers each, and no object until one is asked for."""

    __slots__ = ("_ends", "_starts", "_text")

    def __init__(self, text: bytes, starts: array[int], ends: array[int]) -> None:
        self._text = memoryview(text)
        self._starts = starts
        self._ends = ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> msgspec.Raw: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[msgspec.Raw]: ...
    def __getitem__(self, index: int | slice) -> msgspec.Raw | Sequence[msgspec.Raw]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return msgspec.Raw(self._text[self._starts[index] : self._ends[index]])


class Messages(Sequence[Message]):
    """The messages of a request, each read from its own bytes when it is asked for.

    `raws` are those bytes, one for each message. To change messages, make a list of them, change that, and give it to
    `Call.put_messages`.
    """

    __slots__ = ("_raws", "_whole")

    def __init__(self, whole: msgspec.Raw, raws: Sequence[msgspec.Raw] | None = None) -> None:
        """`whole` is the list as JSON; it has been checked. `raws` are its items, where they are known already."""
        self._whole = whole
        self._raws = raws

    @property
    def raws(self) -> Sequence[msgspec.Raw]:
        """The JSON of each message, as it came."""
        if self._raws is None:
            self._raws = _ITEMS.decode(self._whole)
        return self._raws

    def __len__(self) -> int:
        return len(self.raws)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | Sequence[Message]:
        if isinstance(index, slice):
            return [Message.read(raw) for raw in self.raws[index]]
        return Message.read(self.raws[index])


def joined(messages: Iterable[Message]) -> msgspec.Raw:
    """The JSON list of these messages, made of their own bytes."""
    return msgspec.Raw(b"[%b]" % b",".join([memoryview(message.raw) for message in messages]))


_READ = msgspec.json.Decoder(ChatMessage)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_ENCODER = msgspec.json.Encoder()
