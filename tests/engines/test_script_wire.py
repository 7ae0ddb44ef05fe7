from __future__ import annotations

from typing import Any

import httptools
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.engines.scripted.answer import beats
from tidegate.engines.scripted.script import Fault, Question, Script, override
from tidegate.engines.scripted.wire import Ending, Performance, perform
from tidegate.kernel.sse import SseReader
from tidegate.types import Endpoint, Message

CHAT, COMPLETIONS = Endpoint.CHAT, Endpoint.COMPLETIONS
decode = msgspec.json.decode


def ask(text: str = "hello", **fields: Any) -> Question:
    return Question(messages=[Message("user", text)], **fields)


class Reading:
    """What an HTTP client makes of a performance's bytes."""

    def __init__(self, performance: Performance) -> None:
        self.body = b""
        self.complete = False
        self._parser = httptools.HttpResponseParser(self)
        for write in performance.writes:
            self._parser.feed_data(write.data)

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True

    def events(self) -> list[bytes]:
        return [event.data for event in SseReader().feed(self.body) if event.data is not None]


forms = st.fixed_dictionaries(
    {
        "crlf": st.booleans(),
        "comment": st.booleans(),
        "multiline": st.booleans(),
        "slice": st.integers(0, 9),
        "burst": st.booleans(),
        "early": st.booleans(),
        "framing": st.sampled_from(["chunked", "close"]),
        "fault": st.sampled_from([Fault.NONE, Fault.SLOW_HEADERS]),
    }
)


@given(forms, st.integers(0, 4), st.sampled_from([CHAT, COMPLETIONS]))
def test_every_form_carries_the_same_events(form: dict[str, Any], tokens: int, endpoint: Endpoint) -> None:
    request = ask(stream=True)
    performance = perform(Script(tokens=tokens, **form), request, endpoint)
    *events, last = Reading(performance).events()
    plain = [event for beat in beats(Script(tokens=tokens), request, endpoint) for event in beat.events]
    assert [decode(event) for event in events] == [decode(event) for event in plain]
    assert last == b"[DONE]"
    assert sum(write.tokens for write in performance.writes) == tokens
    assert Reading(performance).complete == (form["framing"] == "chunked")
    assert performance.ending is (Ending.KEEP if form["framing"] == "chunked" else Ending.CLOSE)
    if form["slice"]:
        assert max(len(write.data) for write in performance.writes[1:-1] or performance.writes[:0]) <= 9 + 20


def test_times_follow_the_script_and_do_not_add_up_errors() -> None:
    performance = perform(Script(ttft_ms=50, itl_ms=5, tokens=4), ask(stream=True), CHAT)
    assert [write.due_s for write in performance.writes] == [0.05, 0.055, 0.06, 0.065, 0.065]
    assert perform(Script(ttft_ms=50, itl_ms=5, tokens=4), ask(), CHAT).writes[0].due_s == 0.065


BROKEN = [
    (Fault.CLOSE, Ending.CLOSE),
    (Fault.RESET, Ending.RESET),
    (Fault.STALL, Ending.STALL),
    (Fault.TRUNCATED_BODY, Ending.CLOSE),
    (Fault.CUT_UTF8, Ending.KEEP),
    (Fault.CUT_JSON, Ending.KEEP),
    (Fault.ERROR_EVENT, Ending.KEEP),
]


@pytest.mark.parametrize(("fault", "ending"), BROKEN)
@pytest.mark.parametrize("place", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("burst", [False, True])
def test_a_fault_comes_after_so_many_tokens(fault: Fault, ending: Ending, place: int, burst: bool) -> None:
    script = Script(tokens=4, ttft_ms=10, itl_ms=10, fault=fault, fault_at=place, burst=burst)
    performance = perform(script, ask(stream=True), CHAT)
    reading = Reading(performance)
    told = [event for event in reading.events() if event.startswith(b'{"id"') and event.endswith(b"}")]
    contents = [decode(event)["choices"][0] for event in told]
    assert sum(1 for choice in contents if choice["delta"].get("content")) == min(place, 4)
    assert all(choice["finish_reason"] is None for choice in contents)
    assert b"[DONE]" not in reading.body
    assert performance.ending is ending
    assert performance.ending_due_s == pytest.approx(0.01 + min(place, 4) * 0.01)
    assert reading.complete == (ending is Ending.KEEP)


def test_cut_utf8_ends_inside_a_character() -> None:
    body = Reading(perform(Script(fault=Fault.CUT_UTF8), ask(stream=True), CHAT)).body
    with pytest.raises(UnicodeDecodeError, match="unexpected end of data"):
        body.decode()


def test_cut_json_is_a_whole_event_with_half_an_object() -> None:
    last = Reading(perform(Script(fault=Fault.CUT_JSON), ask(stream=True), CHAT)).events()[-1]
    with pytest.raises(msgspec.DecodeError):
        decode(last)


def test_done_is_missing_or_doubled() -> None:
    missing = Reading(perform(Script(fault=Fault.MISSING_DONE), ask(stream=True), CHAT))
    doubled = Reading(perform(Script(fault=Fault.DOUBLE_DONE), ask(stream=True), CHAT))
    assert (missing.complete, doubled.complete) == (True, True)
    assert decode(missing.events()[-1])["choices"][0]["finish_reason"] == "stop"
    assert doubled.events()[-2:] == [b"[DONE]", b"[DONE]"]


@pytest.mark.parametrize("fault", [Fault.CLOSE, Fault.RESET, Fault.STALL])
@pytest.mark.parametrize("stream", [True, False])
def test_at_0_nothing_is_sent(fault: Fault, stream: bool) -> None:
    assert perform(Script(fault=fault, fault_at=0), ask(stream=stream), CHAT).writes == []


def test_early_headers_go_out_before_the_first_token() -> None:
    writes = perform(Script(ttft_ms=50, early=True), ask(stream=True), CHAT).writes
    assert writes[0].due_s == 0
    assert writes[0].data.endswith(b"\r\n\r\n")
    assert writes[1].due_s == 0.05


def test_slow_headers_drip() -> None:
    writes = perform(Script(fault=Fault.SLOW_HEADERS, drip_ms=100), ask(), CHAT).writes
    assert [len(write.data) for write in writes[:-1]] == [1] * (len(writes) - 1)
    assert [write.due_s for write in writes[:3]] == [0, 0.1, 0.2]


@pytest.mark.parametrize(
    ("options", "line", "wait"),
    [
        ({}, b"503 Service Unavailable", b"retry-after: 1\r\n"),
        ({"status": "429", "retry_after": "7"}, b"429 Too Many Requests", b"retry-after: 7\r\n"),
        ({"status": "400"}, b"400 Bad Request", None),
        ({"status": "499"}, b"499 Scripted", None),
    ],
)
def test_error_status(options: dict[str, str], line: bytes, wait: bytes | None) -> None:
    script = override(Script(fault=Fault.ERROR_STATUS, ttft_ms=5), options)
    [write] = perform(script, ask(stream=True), CHAT).writes
    assert write.due_s == 0.005
    assert write.data.startswith(b"HTTP/1.1 " + line + b"\r\n")
    assert (wait in write.data) if wait else (b"retry-after" not in write.data)
