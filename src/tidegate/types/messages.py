"""Chat messages that keep their bytes. This module does no I/O.

An unchanged message is sent exactly as it arrived. So keys that the gateway does not read are kept, and the engine's prefix
cache still recognises the beginning of a chat. Only a changed message is encoded again.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import msgspec

Content = str | list[dict[str, Any]] | None


class ChatMessage(msgspec.Struct, gc=False):
    """The keys that the gateway reads from one message. Other keys stay in the request's bytes."""

    role: str
    content: Content = None


class Message(ChatMessage, gc=False):
    """One message with its JSON. `raw` is the JSON that is sent. It also has the keys that the gateway does not read."""

    raw: msgspec.Raw = msgspec.Raw(b"{}")

    @classmethod
    def read(cls, raw: msgspec.Raw) -> Message:
        """Parse a message from JSON. Raises msgspec.DecodeError or msgspec.ValidationError if `raw` is not a message."""
        read = _READ.decode(raw)
        return cls(read.role, read.content, raw)

    @classmethod
    def of(cls, role: str, content: Content) -> Message:
        """Make a new message."""
        raw = msgspec.Raw(_ENCODER.encode(ChatMessage(role, content)))
        return cls(role, content, raw)

    def with_content(self, content: Content) -> Message:
        """Return a copy of the message with another content. The other keys keep their order and their bytes."""
        members = {**_MEMBERS.decode(self.raw), "content": msgspec.Raw(_ENCODER.encode(content))}
        return Message(self.role, content, msgspec.Raw(_ENCODER.encode(members)))


_PICTURES = frozenset(
    {"image_url", "image", "input_image", "image_pil", "image_embeds", "video_url", "input_video"}
)
"""The types of the parts of a message that only models with eyes can read, as engines name them."""
_MEDIA = _PICTURES | {
    "images",
    "video",
    "input_audio",
    "audio_url",
    "audio_embeds",
    "audio",
    "file",
    "input_file",
}
"""The types of all parts that are no text."""


def has_images(messages: Iterable[ChatMessage]) -> bool:
    """Return whether a message has an image or a video."""
    for message in messages:
        content = message.content
        if type(content) is list and any(kinds_of(part) & _PICTURES for part in content):
            return True
    return False


def media_in(content: Content) -> list[dict[str, Any]]:
    """Return the parts of a content that are no text: images, videos, sounds and files."""
    return [part for part in content if kinds_of(part)] if type(content) is list else []


def kinds_of(part: Mapping[str, Any]) -> frozenset[str]:
    """Return the media that a part may be: by its type, and by its members, since some engines do without the type."""
    kind = part.get("type")
    return _MEDIA.intersection((*part, kind) if type(kind) is str else part)


class Spans(Sequence[msgspec.Raw]):
    """Parts of one text, stored as two arrays of positions. The object for a part is made only when it is accessed."""

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
    """The messages of a request. Each message is parsed when it is accessed.

    `raws` has the JSON of each message. To change messages, make a list of them, change the list, and pass it to
    `Call.put_messages`.
    """

    __slots__ = ("_raws", "_whole")

    def __init__(self, whole: msgspec.Raw, raws: Sequence[msgspec.Raw] | None = None) -> None:
        """Wrap the JSON list `whole`, which has been validated. `raws` are its items, if they are already known."""
        self._whole = whole
        self._raws = raws

    @property
    def raws(self) -> Sequence[msgspec.Raw]:
        """The JSON of each message, as it arrived."""
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
    """Return the JSON list of the messages, joined from their bytes."""
    return msgspec.Raw(b"[%b]" % b",".join([memoryview(message.raw) for message in messages]))


_READ = msgspec.json.Decoder(ChatMessage)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_ENCODER = msgspec.json.Encoder()
