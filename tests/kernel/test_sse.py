"""Server-sent events: whatever way a stream is cut, the same events come out, and no byte is lost or changed."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidegate.kernel import sse
from tidegate.kernel.sse import Event, EventTooLarge, SseReader

ENDS = (b"\n", b"\r\n", b"\r")
LINE_END = re.compile(rb"\r\n|\n|\r")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def values() -> st.SearchStrategy[bytes]:
    """What may follow a colon: any text without line ends, spaces and colons at every place included."""
    alphabet = st.one_of(
        st.sampled_from(' :"{}[]\\\u2028\u0085\ufeff\u00e9\u6771\U0001f30a'),
        st.characters(exclude_characters="\r\n", exclude_categories=("Cs",)),
    )
    return st.text(alphabet, max_size=12).map(str.encode)


FIELDS = st.one_of(
    st.tuples(
        st.sampled_from([b"data", b"data", b"data", b"event", b"id", b"retry", b"", b"date", b"DATA"]),
        st.sampled_from([b":", b": ", b":  "]),
        values(),
    ).map(b"".join),
    st.just(b"data"),
    values().map(lambda text: b": " + text),
)

BLOCKS = st.lists(st.tuples(FIELDS, st.sampled_from(ENDS)), max_size=5).flatmap(
    lambda lines: st.sampled_from(ENDS).map(lambda end: b"".join(line + e for line, e in lines) + end)
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """An event stream, perhaps with a byte order mark, perhaps cut off inside its last event."""
    mark = BYTE_ORDER_MARK if draw(st.booleans()) else b""
    stream = mark + b"".join(draw(st.lists(BLOCKS, max_size=8)))
    return stream if draw(st.booleans()) else stream[: draw(st.integers(0, len(stream)))]


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream and the same bytes in parts, some of them empty."""
    stream = draw(streams())
    edges = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return stream, parts_of(stream, edges)


def parts_of(stream: bytes, edges: list[int]) -> list[bytes]:
    return [stream[begin:end] for begin, end in zip([0, *edges], [*edges, len(stream)], strict=True)]


def fed(parts: list[bytes]) -> tuple[list[Event], bytes]:
    reader = SseReader()
    return [event for part in parts for event in reader.feed(part)], reader.rest


def said(events: list[Event]) -> list[tuple[bytes, bytes]]:
    """What a reader of the stream gets to know: names and data, blocks without data left out."""
    return [(event.name, event.data) for event in events if event.data is not None]


def by_the_standard(stream: bytes) -> list[tuple[bytes, bytes]]:
    """The WHATWG algorithm, line by line, from its text: slow, whole streams only."""
    found: list[tuple[bytes, bytes]] = []
    data: list[bytes] = []
    name = b""
    *lines, _unfinished = LINE_END.split(stream.removeprefix(BYTE_ORDER_MARK))
    for line in lines:
        if not line:
            if data:
                found.append((name, b"\n".join(data)))
            data, name = [], b""
        elif not line.startswith(b":"):
            field, _, value = line.partition(b":")
            value = value[1:] if value.startswith(b" ") else value
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value
    return found


@given(streams())
@example(b"data: a\n\n\ndata: b\n\n")
@example(b"data: a\n\n\n")
@example(b"data: a\r\n\r\ndata: b\r\rdata: c\n\r\n")
@example(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n")
def test_events_are_those_of_the_standard(stream: bytes) -> None:
    events, _ = fed([stream])
    assert said(events) == by_the_standard(stream)


@given(cut_streams())
@settings(max_examples=400)
@example((b"data: a\n\n\n", [b"data: a\n\n\n"]))
@example((b"data: a\r\n\r\n", [b"data: a\r\n\r", b"\n"]))
@example((b"data: a\r\rdata: b\r\r", [b"data: a\r", b"\rdata: b\r", b"\r"]))
def test_any_split_gives_the_same_events_and_every_byte_back(case: tuple[bytes, list[bytes]]) -> None:
    stream, parts = case
    uncut, _ = fed([stream])
    events, rest = fed(parts)
    assert said(events) == said(uncut)
    assert b"".join(event.raw for event in events) + rest == stream


@given(streams())
def test_byte_by_byte_gives_the_same_events(stream: bytes) -> None:
    events, rest = fed([stream[at : at + 1] for at in range(len(stream))])
    assert said(events) == said(fed([stream])[0])
    assert b"".join(event.raw for event in events) + rest == stream


@given(st.lists(st.text(), min_size=1), st.integers(1, 7))
def test_what_was_encoded_is_decoded(texts: list[str], step: int) -> None:
    """Any data comes back; a carriage return comes back as the line end it is."""
    pieces = [text.encode(errors="replace") for text in texts]
    stream = b"".join(sse.encode(piece) for piece in pieces)
    events, rest = fed([stream[at : at + step] for at in range(0, len(stream), step)])
    assert [event.data for event in events] == [LINE_END.sub(b"\n", piece) for piece in pieces]
    assert rest == b""


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",))), max_size=8))
def test_what_was_decoded_is_encoded_byte_for_byte(texts: list[str]) -> None:
    """Of an event in the usual form, decoding and encoding leaves every byte where it was."""
    stream = b"".join(b"data: " + text.encode() + b"\n\n" for text in texts)
    events, _ = fed([stream])
    assert b"".join(sse.encode(event.data) for event in events if event.data is not None) == stream


@given(values())
def test_comments_are_read_by_nobody(text: bytes) -> None:
    events, rest = fed([sse.comment(text) + sse.encode(b"x")])
    assert said(events) == [(b"", b"x")]
    assert rest == b""


def test_names_and_lines() -> None:
    events, _ = fed([b"event: error\ndata: {\ndata:  1}\nid: 7\nretry: 5\n\n"])
    assert events == [Event(b"event: error\ndata: {\ndata:  1}\nid: 7\nretry: 5\n\n", b"{\n 1}", b"error")]


def test_an_event_that_has_not_ended_is_in_the_rest() -> None:
    reader = SseReader()
    assert reader.feed(b"data: a\n\ndata: b\n") == [Event(b"data: a\n\n", b"a")]
    assert reader.rest == b"data: b\n"


def feed_all(reader: SseReader, stream: bytes, step: int) -> None:
    for at in range(0, len(stream), step):
        assert reader.feed(stream[at : at + step]) == []
        assert len(reader.rest) <= 100


@pytest.mark.parametrize("step", [1, 7, 100])
@pytest.mark.parametrize("stream", [b"data: " + b"x" * 200, b": ping\n" * 30], ids=["event", "comments"])
def test_what_does_not_end_is_refused(stream: bytes, step: int) -> None:
    with pytest.raises(EventTooLarge):
        feed_all(SseReader(max_event_bytes=100), stream, step)


def test_the_bound_is_for_one_event_not_for_the_stream() -> None:
    reader = SseReader(max_event_bytes=100)
    stream = sse.encode(b"x" * 80) * 50
    assert sum(len(reader.feed(stream[at : at + 33])) for at in range(0, len(stream), 33)) == 50


class Counting:
    """A compiled pattern that counts the bytes it was given to look at."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern = pattern
        self.looked_at = 0

    def search(self, data: bytearray, begin: int) -> re.Match[bytes] | None:
        self.looked_at += len(data) - begin
        return self._pattern.search(data, begin)


@pytest.mark.parametrize("line", [b"data: " + b"x" * 65_530, b"data: x\n" * 8_192, b": ping\r\n" * 8_192])
def test_work_is_linear_in_bytes(monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    """64 kB in one event, a byte a time: looking at all of it each time would make two thousand million bytes."""
    counting = Counting(sse._BLANK_LINE)
    monkeypatch.setattr(sse, "_BLANK_LINE", counting)
    reader = SseReader()
    for at in range(len(line)):
        assert reader.feed(line[at : at + 1]) == []
    assert len(reader.feed(b"\n\n")) == 1
    assert len(line) >= 65_536 - 10
    assert counting.looked_at <= 5 * len(line)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_a_run_of_blank_lines_is_not_a_run_of_events(line_end: bytes):
    # It was: 64 kB of them cost 50 ms.
    stream = b"data: a" + line_end * 1000 + b"data: b" + line_end * 2
    events, rest = fed([stream])
    assert said(events) == [(b"", b"a"), (b"", b"b")]
    assert len(events) == 2
    assert b"".join(event.raw for event in events) + rest == stream


def test_a_block_without_data_has_no_name_either():
    events, _ = fed([b"event: ping\n\nevent: pong\ndata:\n\n"])
    assert [(event.name, event.data) for event in events] == [(b"", None), (b"pong", b"")]
