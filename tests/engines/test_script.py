from __future__ import annotations

import base64
import contextlib
import math
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.engines.scripted.answer import beats, embedding, whole
from tidegate.engines.scripted.script import (
    Fault,
    Question,
    Script,
    cut,
    override,
    read_ask,
    read_options,
    script_for,
)
from tidegate.errors import BadRequest
from tidegate.types import Endpoint, Message

CHAT, COMPLETIONS, EMBEDDINGS = Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS
decode = msgspec.json.decode


def ask(text: str = "hello", **fields: Any) -> Question:
    return Question(messages=[Message("user", text)], **fields)


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
    with pytest.raises(BadRequest, match="does not end"):
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
def test_the_stream_adds_up_to_the_whole_answer(script: Script, ask: Question) -> None:
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
    request = Question(prompt=["one", "two"], n=n, logprobs=logprobs)
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
    plain = decode(whole(Script(), Question(input=["a", "b"], dimensions=3), EMBEDDINGS).events[0])
    packed = decode(
        whole(
            Script(), Question(input=["a", "b"], dimensions=3, encoding_format="base64"), EMBEDDINGS
        ).events[0]
    )
    for one, other in zip(plain["data"], packed["data"], strict=True):
        assert struct.unpack("<3f", base64.b64decode(other["embedding"])) == pytest.approx(one["embedding"])
    assert plain["usage"] == packed["usage"] == {"prompt_tokens": 2, "total_tokens": 2}
