from __future__ import annotations

import base64
import contextlib
import math
import struct
from typing import Any

import httptools
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.engines.script import Ask, Fault, Script, cut, override, read_ask, read_options, script_for
from tidegate.engines.script_answer import beats, embedding, whole
from tidegate.engines.script_wire import Ending, Performance, perform
from tidegate.errors import BadRequest
from tidegate.kernel.sse import SseReader
from tidegate.types import Endpoint, Message

CHAT, COMPLETIONS, EMBEDDINGS = Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS
decode = msgspec.json.decode


def ask(text: str = "hello", **fields: Any) -> Ask:
    return Ask(messages=[Message("user", text)], **fields)


def scripted(text: str, base: Script | None = None) -> Script:
    return script_for(base or Script(), ask(text))


# ----------------------------------------------------------------------------------------------------------- the marker


def test_a_marker_sets_what_it_names() -> None:
    base = Script(ttft_ms=1, tokens=3, text="from the config")
    found = scripted('Say: [[scripted ttft=50 itl=2.5 fault=reset@10 seed=7 text="à tous"]] please', base)
    assert found == Script(
        ttft_ms=50, itl_ms=2.5, tokens=3, text="à tous", fault=Fault.RESET, fault_at=10, seed=7
    )


def test_without_a_marker_the_script_stays() -> None:
    base = Script(tokens=3)
    assert scripted("nothing [[scriptedly]] here", base) is base


def test_the_last_marker_counts() -> None:
    assert scripted("[[scripted tokens=1 ttft=9]] then [[scripted tokens=2]]") == Script(tokens=2)


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":[{"role":"user","content":[{"type":"text","text":"[[scripted tokens=5]]"}]}]}',
        b'{"messages":[{"role":"user","content":"[[scripted tokens=5]]"},{"role":"assistant","content":null}]}',
        b'{"prompt":["a","[[scripted tokens=5]]"]}',
        b'{"input":"[[scripted tokens=5]]"}',
    ],
)
def test_markers_are_found_in_every_text(body: bytes) -> None:
    assert script_for(Script(), read_ask(body)).tokens == 5


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("tokens=many", "`tokens=many`"),
        ("tokens=-1", "`tokens=-1`"),
        ("ttft=nan", "`ttft=nan`"),
        ("fault=oops@3", "cut_utf8"),
        ("fault=close@x", "fault=close@x"),
        ("crlf=yes", "`crlf=yes`"),
        ("status=200", "`status=200`"),
        ("colour=red", "`colour`"),
        ("fault_at=3", "`fault_at`"),
        ("ttft_ms=3", "`ttft_ms`"),
        ("tokens=1 tokens=2", "`tokens` is given twice"),
        ("tokens", "`tokens`"),
        ("text=a b", "`b`"),
        (r'text="\x"', "`text`"),
        ("extra=3", "`extra=3`"),
        ("extra='{\"choices\":{}}'", "`choices`"),
        ("framing=open", "`framing=open`"),
    ],
)
def test_a_bad_marker_is_refused_by_name(options: str, named: str) -> None:
    with pytest.raises(BadRequest) as caught:
        scripted(f"[[scripted {options}]]")
    assert named in caught.value.message


@pytest.mark.parametrize(
    "text", ["[[scripted tokens=1", '[[scripted text="open]] end', "[[scripted text='open]]"]
)
def test_a_marker_without_end_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="no end"):
        scripted(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_passes_in_double_quotes(text: str) -> None:
    quoted = msgspec.json.encode(text).decode()
    assert scripted(f"[[scripted text={quoted} tokens=4]]") == Script(text=text, tokens=4)


@given(st.text(st.characters(exclude_characters="'", exclude_categories=["Cs"])))
def test_any_text_but_a_quote_passes_in_single_quotes(text: str) -> None:
    assert scripted(f"[[scripted text='{text}' tokens=4]]") == Script(text=text, tokens=4)


@given(st.text())
def test_any_prompt_is_a_script_or_a_bad_request(text: str) -> None:
    for prompt in (text, f"[[scripted {text}]]", f"[[scripted {text}"):
        with contextlib.suppress(BadRequest):
            assert isinstance(scripted(prompt), Script)


def test_options_serve_a_command_line_too() -> None:
    assert override(Script(), {"fault": "stall"}) == Script(fault=Fault.STALL)
    assert read_options(" a=1  b='x y' ") == {"a": "1", "b": "x y"}


@given(st.text(), st.integers(0, 50))
def test_cutting_loses_nothing(text: str, count: int) -> None:
    pieces = cut(text, count)
    assert len(pieces) == min(count, len(text))
    assert "".join(pieces) == (text if count else "")
    assert not pieces or max(map(len, pieces)) - min(map(len, pieces)) <= 1
    assert all(pieces)


# ---------------------------------------------------------------------------------------------------------- the answers

scripts = st.builds(
    Script,
    tokens=st.integers(0, 12),
    text=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    reasoning=st.integers(0, 3),
    reasoning_field=st.sampled_from(["reasoning", "reasoning_content"]),
    refusal=st.none() | st.just("I would rather not"),
    tool=st.none() | st.just("look_up"),
    arguments=st.sampled_from(["{}", '{"city":"Kraków"}']),
    calls=st.integers(1, 2),
)
asks = st.builds(
    ask,
    n=st.none() | st.integers(1, 3),
    logprobs=st.sampled_from([None, False, True]),
    max_tokens=st.none() | st.integers(0, 9),
    seed=st.none() | st.integers(),
    stream_options=st.just(read_ask(b'{"stream_options":{"include_usage":true}}').stream_options),
)


def add_up(events: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The messages that a reader of the stream puts together, by index."""
    messages: dict[int, dict[str, Any]] = {}
    for choice in (choice for event in events for choice in event["choices"]):
        message = messages.setdefault(choice["index"], {"calls": {}, "logprobs": []})
        for field, value in choice["delta"].items():
            if field == "tool_calls":
                for call in value:
                    known = message["calls"].setdefault(call["index"], [call.get("id"), ""])
                    known[1] += call["function"]["arguments"]
            else:
                message[field] = message.get(field, "") + value
        message["logprobs"] += (choice["logprobs"] or {}).get("content", [])
        message["finish"] = choice["finish_reason"]
    return messages


@given(scripts, asks)
def test_the_stream_adds_up_to_the_whole_answer(script: Script, ask: Ask) -> None:
    score = beats(script, ask, CHAT)
    events = [decode(event) for beat in score for event in beat.events]
    streamed, answer = add_up(events), decode(whole(script, ask, CHAT).events[0])
    assert len(streamed) == len(answer["choices"]) == (ask.n or 1)
    for choice in answer["choices"]:
        parts, message = streamed[choice["index"]], choice["message"]
        for field in ("role", "content", "refusal", "reasoning", "reasoning_content"):
            assert parts.get(field, "") == (message.get(field) or "")
        calls = [[call["id"], call["function"]["arguments"]] for call in message.get("tool_calls", [])]
        assert list(parts["calls"].values()) == calls
        assert parts["finish"] == choice["finish_reason"]
        assert parts["logprobs"] == (choice["logprobs"] or {"content": []})["content"]
    assert events[-1]["usage"] == answer["usage"]
    assert sum(beat.tokens for beat in score) == answer["usage"]["completion_tokens"]


@given(st.integers(1, 3), st.integers(0, 9), st.sampled_from([None, 0, 1]))
def test_completions_add_up_too(n: int, tokens: int, logprobs: int | None) -> None:
    request = Ask(prompt=["one", "two"], n=n, logprobs=logprobs)
    script = Script(tokens=tokens)
    texts: dict[int, str] = {}
    for event in (decode(event) for beat in beats(script, request, COMPLETIONS) for event in beat.events):
        for choice in event["choices"]:
            if choice["logprobs"]:
                assert choice["logprobs"]["text_offset"] == [len(texts.get(choice["index"], ""))]
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
    answer = decode(whole(script, request, COMPLETIONS).events[0])
    assert texts == {choice["index"]: choice["text"] for choice in answer["choices"]}
    assert len(texts) == 2 * n


def test_the_same_request_gets_the_same_bytes() -> None:
    one, two = ask("hello", n=2), ask("hello", n=2, seed=1)
    assert whole(Script(), one, CHAT) == whole(Script(), one, CHAT)
    first, second = decode(whole(Script(), one, CHAT).events[0])["choices"]
    assert first["message"]["content"] != second["message"]["content"]
    assert whole(Script(), one, CHAT) != whole(Script(), two, CHAT)
    assert whole(Script(seed=1), one, CHAT).events[0] != whole(Script(), one, CHAT).events[0]


@pytest.mark.parametrize(
    ("script", "limit", "finish"),
    [
        (Script(), None, "stop"),
        (Script(), 16, "stop"),
        (Script(), 15, "length"),
        (Script(tool="f"), None, "tool_calls"),
        (Script(finish="content_filter"), 2, "content_filter"),
        (Script(fault=Fault.NO_FINISH), None, None),
    ],
)
def test_finish_reasons(script: Script, limit: int | None, finish: str | None) -> None:
    answer = decode(whole(script, ask(max_completion_tokens=limit), CHAT).events[0])
    assert answer["choices"][0]["finish_reason"] == finish


def test_usage_counts_the_words_of_the_prompt_or_what_the_script_says() -> None:
    def usage(text: str, **fields: Any) -> dict[str, Any]:
        request = ask(text)
        return decode(whole(script_for(Script(**fields), request), request, CHAT).events[0])["usage"]

    assert usage("three words here [[scripted tokens=2]]") == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    counted = usage("[[scripted prompt_tokens=100 cached_tokens=64 reasoning=3 tokens=4]]")
    assert (counted["prompt_tokens"], counted["completion_tokens"]) == (100, 7)
    assert counted["prompt_tokens_details"] == {"cached_tokens": 64}
    assert counted["completion_tokens_details"] == {"reasoning_tokens": 3}


@pytest.mark.parametrize("stream", [True, False])
def test_extra_reaches_every_level(stream: bool) -> None:
    parts = {"event": {"x": 1}, "choice": {"stop_reason": 2}, "delta": {"annotations": []}, "usage": {"y": 4}}
    script, request = Script(tokens=1, extra=parts), ask(stream_options=None)
    answer = decode(
        beats(script, request, CHAT)[0].events[-1] if stream else whole(script, request, CHAT).events[0]
    )
    assert answer["x"] == 1
    assert answer["choices"][0]["stop_reason"] == 2
    assert answer["choices"][0]["delta" if stream else "message"]["annotations"] == []
    assert stream or answer["usage"]["y"] == 4


@given(st.text(), st.integers(1, 64))
def test_embeddings_are_unit_vectors_that_depend_on_the_text_alone(text: str, dimensions: int) -> None:
    vector = embedding(text, dimensions)
    assert len(vector) == dimensions
    assert math.isclose(math.fsum(value * value for value in vector), 1, rel_tol=1e-9)
    assert embedding(text, dimensions) == vector != embedding(text + "x", dimensions + 1)


def test_embeddings_in_base64_are_the_same_vectors() -> None:
    plain = decode(whole(Script(), Ask(input=["a", "b"], dimensions=3), EMBEDDINGS).events[0])
    packed = decode(
        whole(Script(), Ask(input=["a", "b"], dimensions=3, encoding_format="base64"), EMBEDDINGS).events[0]
    )
    for one, other in zip(plain["data"], packed["data"], strict=True):
        assert struct.unpack("<3f", base64.b64decode(other["embedding"])) == pytest.approx(one["embedding"])
    assert plain["usage"] == packed["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


# -------------------------------------------------------------------------------------------------------------- the wire


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
