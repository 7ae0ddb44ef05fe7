"""Every text of an answer is listed, what is put back changes nothing else, and unknown shapes are refused."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.engines.answers import read_answer
from tidegate.engines.scripted import answer as scripted
from tidegate.engines.scripted.script import Question, Script
from tidegate.forms import UnknownShape, form_of
from tidegate.forms.answers import texts_of
from tidegate.forms.usual import usual_texts
from tidegate.types import Answer, Endpoint, Piece, Surface, Text, Where

CHAT, COMPLETIONS, EMBEDDINGS = Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS
PLANT = re.compile(r"plant \w+")
CONTENT = Where(0, "content")


def piece(value: bytes | dict[str, Any]) -> Piece:
    """A piece as an engine gives it."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Piece(data, read_answer(data), b"data: %b\n\n" % data)


def delta(index: int = 0, **members: Any) -> Piece:
    return piece({"id": "x", "choices": [{"index": index, "delta": members, "finish_reason": None}]})


def texts(one: Piece, endpoint: Endpoint = CHAT) -> dict[Where, str]:
    return {text.where: text.value for text in form_of(endpoint).texts_out(one)}


# ------------------------------------------------------------------------------ what engines send, from their own sources

VLLM = rb"""{"id":"chatcmpl-a","object":"chat.completion.chunk","created":1767225600,"model":"m","choices":[{"index":0,
"delta":{"reasoning":"plant a1","reasoning_content":"plant a2"},"logprobs":{"content":[{"token":"plant","logprob":-0.1,
"bytes":[112],"top_logprobs":[]}]},"finish_reason":null,"stop_reason":null,"token_ids":[1,2]}],"prompt_token_ids":[3]}"""
VLLM_WHOLE = rb"""{"id":"chatcmpl-a","object":"chat.completion","created":1767225600,"model":"m","choices":[{"index":0,
"message":{"role":"assistant","content":"plant b1","refusal":null,"annotations":null,"audio":null,"function_call":null,
"tool_calls":[{"id":"chatcmpl-tool-1","type":"function","function":{"name":"plant b2","arguments":"{\"a\": \"plant b3\"}"}},
{"id":"chatcmpl-tool-2","type":"function","function":{"name":"f","arguments":"{}"}}],"reasoning":"plant b4"},
"logprobs":null,"finish_reason":"tool_calls","stop_reason":128001,"token_ids":null,"routed_experts":[[1]]}],
"service_tier":null,"system_fingerprint":null,"usage":{"prompt_tokens":3,"total_tokens":5,"completion_tokens":2,
"prompt_tokens_details":null},"prompt_logprobs":[null,{"1":{"logprob":-1.0,"rank":1,"decoded_token":"plant"}}],
"prompt_token_ids":null,"kv_transfer_params":null}"""
SGLANG = rb"""{"id":"a","object":"chat.completion.chunk","created":1767225600,"model":"m","choices":[{"index":1,"delta":
{"role":null,"content":"plant c1","reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":"stop",
"matched_stop":"END OF TEXT","hidden_states":[0.5]}],"usage":null,"metadata":{"weight_version":"default"}}"""
LLAMACPP = rb"""{"choices":[{"finish_reason":null,"index":0,"delta":{"tool_calls":[{"index":1,"id":"KcA","type":"function",
"function":{"name":"plant d1","arguments":"{\"city"}}]}}],"created":1767225600,"id":"chatcmpl-k","model":"m",
"system_fingerprint":"b1-x","object":"chat.completion.chunk","timings":{"prompt_n":2,"predicted_ms":3.5},
"prompt_progress":{"total":9,"cache":0,"processed":9,"time_ms":4},"__verbose":{"content":"plant"}}"""
LLAMACPP_TEXT = rb"""{"choices":[{"text":"plant e1","index":0,"logprobs":{"content":[{"id":1,"token":"plant"}]},
"finish_reason":"length"}],"created":1,"model":"m","object":"text_completion","usage":{"completion_tokens":1},
"id":"x","completion_probabilities":[{"token":"plant"}],"tokens":[1,2]}"""
OPENAI = rb"""{"id":"chatcmpl-B","object":"chat.completion.chunk","created":1,"model":"gpt","service_tier":"default",
"system_fingerprint":"fp","choices":[{"index":0,"delta":{"role":"assistant","content":null,"audio":{"id":"audio_1",
"data":"UklG","transcript":"plant f1"},"refusal":"plant f2"},"logprobs":null,"finish_reason":null}],
"obfuscation":"a b"}"""
OPENAI_WHOLE = rb"""{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"plant g1","annotations":[
{"type":"url_citation","url_citation":{"end_index":9,"start_index":1,"title":"plant g2","url":"http://plant g3"}}],
"function_call":{"name":"plant g4","arguments":"plant g5"},"tool_calls":[{"id":"c","type":"custom","custom":{"name":
"plant g6","input":"plant g7"}}]},"finish_reason":"stop","content_filter_results":{"hate":{"severity":"safe"}}}],
"prompt_filter_results":[{"prompt_index":0,"content_filter_results":{}}],"usage":{},"metadata":{"k":"v"}}"""
OPENROUTER = rb"""{"id":"gen-1","model":"m","object":"chat.completion.chunk","created":1,"choices":[{"index":0,
"delta":{"role":"assistant","content":"","reasoning":null,"reasoning_details":[{"type":"reasoning.text","text":"plant h1",
"signature":"abc def","format":"anthropic-claude-v1","index":0},{"type":"reasoning.encrypted","data":"QUJD"},
{"type":"reasoning.summary","summary":"plant h2","index":2}],"images":[{"image_url":{"url":"data:,x y"}}]},
"finish_reason":null,"native_finish_reason":"end turn","logprobs":null}],"citations":["plant h3"]}"""
MISTRAL = rb"""{"id":"x","choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":
"plant i1"}]},{"type":"text","text":"plant i2, "},{"type":"text","text":"plant i3"}]},"finish_reason":null}]}"""

PERPLEXITY = rb"""{"id":"x","model":"sonar","choices":[{"index":0,"delta":{"role":"assistant","content":"plant j1"},
"message":{"role":"assistant","content":""},"finish_reason":null}],"citations":["plant j2"],"search_results":[{"title":
"plant j3","url":"https://a/plant j4","date":"2025-01-01","snippet":"plant j5"}],"related_questions":["plant j6"],
"images":[{"image_url":"https://plant j7","height":10}],"usage":{"prompt_tokens":1,"search_context_size":"low"}}"""
GROQ = rb"""{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"plant k1","reasoning":"plant k2",
"executed_tools":[{"index":0,"type":"search","arguments":"{\"query\": \"plant k3\"}","output":"plant k4"}]},
"logprobs":null,"finish_reason":"stop"}],"x_groq":{"id":"req 1","usage":{"queue_time":0.1}},"service_tier":"on_demand"}"""
GEMINI = rb"""{"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":"plant l1","extra_content":{"google":
{"thought":true,"thought_signature":"a b c"}}},"finish_reason":null}],"object":"chat.completion.chunk","usage":null}"""
TOGETHER = rb"""{"id":"x","object":"chat.completion","prompt":[{"text":"plant"}],"choices":[{"index":0,"seed":5,"message":
{"role":"assistant","content":"plant m1","tool_calls":[]},"finish_reason":"eos","logprobs":null}],"warnings":[]}"""
AZURE = rb"""{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"plant n1","end_turn":true,"context":
{"citations":[{"content":"plant n2","title":"plant n3","chunk_id":"0"}],"intent":"[\"plant n4\"]"}},"finish_reason":"stop",
"content_filter_results":{"jailbreak":{"detected":false}}}],"prompt_filter_results":[{"prompt_index":0}]}"""
LITELLM = rb"""{"id":"x","choices":[{"index":0,"delta":{"content":"plant o1","provider_specific_fields":{"thinking_blocks":
[{"type":"thinking","thinking":"plant o2"}]}},"finish_reason":null}],"x_request_id":"req-1"}"""
MISTRAL_CITES = rb"""{"id":"x","choices":[{"index":0,"delta":{"content":[{"type":"text","text":"plant p1"},{"type":
"reference","reference_ids":[1,2]}]},"finish_reason":null}],"p":"abcdefgh"}"""

SAMPLES = {
    "perplexity": (PERPLEXITY, CHAT), "groq": (GROQ, CHAT), "gemini": (GEMINI, CHAT), "together": (TOGETHER, CHAT),
    "azure": (AZURE, CHAT), "litellm": (LITELLM, CHAT), "mistral cites": (MISTRAL_CITES, CHAT),
    "vllm": (VLLM, CHAT), "vllm whole": (VLLM_WHOLE, CHAT), "sglang": (SGLANG, CHAT), "llama.cpp": (LLAMACPP, CHAT),
    "llama.cpp text": (LLAMACPP_TEXT, COMPLETIONS), "openai": (OPENAI, CHAT), "openai whole": (OPENAI_WHOLE, CHAT),
    "openrouter": (OPENROUTER, CHAT), "mistral": (MISTRAL, CHAT),
}  # fmt: skip


@pytest.mark.parametrize(("data", "endpoint"), SAMPLES.values(), ids=SAMPLES.keys())
def test_every_text_of_a_real_answer_is_found(data: bytes, endpoint: Endpoint) -> None:
    found = form_of(endpoint).texts_out(piece(data))
    listed = sorted(plant for text in found for plant in PLANT.findall(text.value))
    assert listed == sorted(PLANT.findall(data.decode()))
    assert {text.surface for text in found} == {Surface.OUTPUT}


@pytest.mark.parametrize(("data", "endpoint"), SAMPLES.values(), ids=SAMPLES.keys())
def test_only_the_changed_texts_and_the_echoes_change(data: bytes, endpoint: Endpoint) -> None:
    form, before = form_of(endpoint), piece(data)
    for text in filter(lambda text: PLANT.search(text.value), form.texts_out(before)):
        after = form.put_out(before, {text.where: "new words"})
        left = {where: value for where, value in texts(before, endpoint).items() if where != text.where}
        assert texts(after, endpoint) == {**left, text.where: "new words"}
        assert after.event is None
        assert after.answer == read_answer(after.data)
        assert without_echoes(after.data) == without_echoes(data).replace(written(text.value), "new words")


ECHOES = (
    "logprobs",
    "token_ids",
    "prompt_logprobs",
    "prompt_token_ids",
    "completion_probabilities",
    "tokens",
    "hidden_states",
    "__verbose",
    "prompt",
)


def without_echoes(data: bytes) -> str:
    """The JSON with null for the echoes. Texts of several parts are written in one."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: None if name in ECHOES else plain(item) for name, item in value.items()}
        return list(map(plain, value)) if isinstance(value, list) else value

    text = written(plain(json.loads(data))).replace(', {"type": "text", "text": ""}', "")
    return text.replace('i2, "}, {"type": "text", "text": "plant i3', "i2, plant i3")


def written(value: Any) -> str:
    return json.dumps(value).strip('"')


def test_the_index_is_the_choices_own() -> None:
    assert texts(piece(SGLANG)) == {Where(1, "content"): "plant c1"}
    assert texts(piece(LLAMACPP)) == {
        Where(0, "tool_calls[1].function.name"): "plant d1",
        Where(0, "tool_calls[1].function.arguments"): '{"city',
    }


def test_tool_arguments_are_json() -> None:
    flags = {text.where.channel: text.is_json for text in form_of(CHAT).texts_out(piece(VLLM_WHOLE))}
    assert flags["tool_calls[0].function.arguments"]
    assert flags["tool_calls[1].function.arguments"]
    assert not flags["content"]


def test_parts_of_one_text_are_one_text() -> None:
    assert texts(piece(MISTRAL)) == {Where(0, "content.thinking"): "plant i1", CONTENT: "plant i2, plant i3"}
    changed = form_of(CHAT).put_out(piece(MISTRAL), {CONTENT: "new"})
    _, second, third = json.loads(changed.data)["choices"][0]["delta"]["content"]
    assert (second["text"], third["text"]) == ("new", "")


def test_two_choices_in_one_event() -> None:
    both = piece(
        {
            "choices": [
                {"index": 1, "text": "b", "logprobs": {"x": 1}},
                {"index": 0, "text": "a", "logprobs": {}},
            ]
        }
    )
    assert texts(both, COMPLETIONS) == {Where(1, "text"): "b", Where(0, "text"): "a"}
    after = form_of(COMPLETIONS).put_out(both, {Where(1, "text"): "c"})
    assert json.loads(after.data)["choices"] == [
        {"index": 1, "text": "c", "logprobs": None},
        {"index": 0, "text": "a", "logprobs": {}},
    ]


def test_what_says_a_changed_text_once_more_goes() -> None:
    form = form_of(CHAT)
    after = json.loads(form.put_out(piece(VLLM), {Where(0, "reasoning"): "x"}).data)
    (choice,) = after["choices"]
    assert (choice["logprobs"], choice["token_ids"], after["prompt_token_ids"]) == (None, None, None)
    assert b"plant" not in form.put_out(piece(LLAMACPP_TEXT), {Where(0, "text"): "x"}).data
    later = form.without_echoes(piece(VLLM), {0})
    assert json.loads(later.data) == {**json.loads(VLLM), **after, "choices": later_choices(later)}
    assert later.answer == read_answer(later.data)
    assert texts(later) == texts(piece(VLLM))


def later_choices(later: Piece) -> Any:
    (choice,) = json.loads(later.data)["choices"]
    assert (choice["logprobs"], choice["token_ids"]) == (None, None)
    return [choice]


@pytest.mark.parametrize(("data", "endpoint"), SAMPLES.values(), ids=SAMPLES.keys())
def test_a_text_that_is_put_back_as_it_was_is_no_change(data: bytes, endpoint: Endpoint) -> None:
    one = piece(data)
    assert form_of(endpoint).put_out(one, texts(one, endpoint)) is one


def test_what_has_no_echo_stays_the_same_piece() -> None:
    one = piece(SGLANG)
    form = form_of(CHAT)
    assert form.put_out(one, {}) is one
    assert form.without_echoes(one, {0}) is one
    assert form.without_echoes(piece(VLLM), ()).data == VLLM
    assert form.without_echoes(piece(VLLM), {7}).answer == piece(VLLM).answer


def test_other_members_keep_their_order_and_bytes() -> None:
    data = rb'{"z":1e9, "choices":[{"x":1.0,"delta":{"content":"a","id" : "\u0061"},"index":0}],"usage":{"a":1E+2}}'
    after = form_of(CHAT).put_out(piece(data), {CONTENT: "é"})
    expected = (
        r'{"z":1e9,"choices":[{"x":1.0,"delta":{"content":"é","id":"\u0061"},"index":0}],"usage":{"a":1E+2}}'
    )
    assert after.data == expected.encode()


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS])
def test_the_scripted_engines_answers(endpoint: Endpoint, whole: bool) -> None:
    script = Script(tokens=6, tool="f" if endpoint is CHAT else None, text="one two", reasoning=2)
    ask = Question(model="m", prompt="p", n=2, logprobs=1)
    pieces = [piece(data) for data in events_of(script, ask, endpoint, whole=whole)]
    form, joined = form_of(endpoint), dict[Where, str]()
    for one in pieces:
        for text in form.texts_out(one):
            joined[text.where] = joined.get(text.where, "") + text.value
    for index in (0, 1):
        assert "one two" in joined.values()
        assert any(where.at == index for where in joined)


def events_of(script: Script, ask: Question, endpoint: Endpoint, *, whole: bool) -> Sequence[bytes]:
    if whole:
        return scripted.whole(script, ask, endpoint).events
    return [event for beat in scripted.beats(script, ask, endpoint) for event in beat.events]


def test_embeddings_say_nothing() -> None:
    data = b'{"object":"list","data":[{"embedding":[0.5]}],"model":"m"}'
    one = Piece(data, Answer())
    assert form_of(EMBEDDINGS).texts_out(one) == []
    assert form_of(EMBEDDINGS).without_echoes(one, {0}) is one


# -------------------------------------------------------------------------------------------------------- fail closed

UNKNOWN: dict[str, Any] = {
    "a member of the delta": {"choices": [{"delta": {"note": "x y"}}]},
    "a member of the delta, nested": {"choices": [{"delta": {"note": [{"a": {"b": "x y"}}]}}]},
    "token ids": {"choices": [{"delta": {"ids": [5]}}]},
    "a member of the choice": {"choices": [{"words": "x y", "delta": {}}]},
    "a member of the event": {"choices": [], "output": [{"text": "x y"}]},
    "an event of another API": {"type": "response.output_text.delta", "delta": "x"},
    "a long word": {"choices": [{"delta": {"note": "x" * 65}}]},
    "a name that is a sentence": {"choices": [{"delta": {"a b": 1}}]},
    "another case": {"choices": [{"delta": {"Content": "x y"}}]},
    "a member of a tool call": {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"body": "x y"}}]}}]},
    "words in place of tool calls": {"choices": [{"delta": {"tool_calls": "x y"}}]},
    "a part": {"choices": [{"delta": {"content": [{"type": "text", "words": "x y"}]}}]},
    "an object in place of words": {"choices": [{"delta": {"refusal": {"text": "x y"}}}]},
}  # fmt: skip


@pytest.mark.parametrize("value", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_text_at_an_unknown_place_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(UnknownShape, match="cannot be checked by rails"):
        texts(piece(value))


def test_single_words_at_unknown_places_are_checked() -> None:
    one = piece(
        {"request": "r-1", "choices": [{"index": 0, "state": "x", "delta": {"note": [{"a": "b", "n": 1.5}]}}]}
    )
    assert texts(one) == {Where(-1, "request"): "r-1", Where(0, "state"): "x", Where(0, "note[0].a"): "b"}


@pytest.mark.parametrize("data", [
    b'{"choices":[{"delta":{"content":"plant","content":"ok"}}]}',
    b'{"choices":[{"delta":{"content":"plant"}}],"choices":[]}',
    b'{"choices":[{"delta":{"content":"plant","c\\u006fntent":"ok"}}]}',
    b'["x"]', b'"x"', b"{",
])  # fmt: skip
def test_what_two_readers_would_read_differently_is_refused(data: bytes) -> None:
    with pytest.raises(UnknownShape):
        texts(Piece(data, Answer([])))


ODD = {
    "the delta is text": ({"choices": [{"index": 0, "delta": "plant"}]}, {CONTENT: "plant"}),
    "the index is text": ({"choices": [{"index": "3", "delta": {"content": "a"}}]}, {Where(3, "content"): "a"}),
    "no index": ({"choices": [{"index": None, "text": "a"}]}, {Where(0, "text"): "a"}),
    "a ping": ({"type": ""}, {}),
    "no choices": ({"usage": {"prompt_tokens": 1}, "choices": None}, {}),
    "one name for delta and message": (
        {"choices": [{"delta": {"content": "a"}, "message": {"content": "b"}}]},
        {CONTENT: "ab"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("value", "found"), ODD.values(), ids=ODD.keys())
def test_odd_answers_are_read(value: dict[str, Any], found: dict[Where, str]) -> None:
    one = piece(value)
    assert texts(one) == found
    for where in found:
        after = form_of(CHAT).put_out(one, {where: "new"})
        assert texts(after) == {where: "new"}
        assert [choice.index for choice in after.answer.choices or ()] == [where.at]


def test_halves_of_a_character_are_read_as_replaced() -> None:
    one = piece(b'{"choices":[{"index":0,"delta":{"content":"a\\ud83c"}}]}')
    assert texts(one) == {CONTENT: "a\ufffd"}
    assert texts(form_of(CHAT).put_out(one, {CONTENT: "b"})) == {CONTENT: "b"}


def test_a_large_answer_is_read_in_full() -> None:
    data = json.dumps({"choices": [{"index": 0, "message": {"content": "x" * 70_000}}]}).encode()
    one = Piece(data, read_answer(data, large=True))
    assert texts(one) == {CONTENT: "x" * 70_000}
    after = form_of(CHAT).put_out(one, {CONTENT: "y"})
    assert after.answer == read_answer(after.data)


# --------------------------------------------------------------------------------------------- events by their layout

VALUES = st.text(max_size=6) | st.sampled_from(
    ["", '"', "\\", "\n", '","refusal":"x', "content", "é", "\u2028", "a"]
)
EXTRA = st.sampled_from([
    "", ',"refusal":"x"', ',"content":"b"', ',"note":"x"', ',"role":"assistant"', ',"tool_calls":[]', '},"delta":{',
])  # fmt: skip


@st.composite
def raw_events(draw: st.DrawFn) -> bytes:
    """An event in one of a few layouts, in which the text may be written in several ways, and more may stand beside it."""
    name = draw(st.sampled_from(["content", "content", "reasoning", "text"]))
    said = json.dumps(draw(VALUES), ensure_ascii=draw(st.booleans()))
    if "\\" not in said and draw(st.integers(0, 9)) == 0:
        said = said.replace("a", "\\u0061")
    space, extra = draw(st.sampled_from(["", " "])), draw(st.just("") | EXTRA)
    more = draw(
        st.sampled_from(["", "", ',"logprobs":null', ',"logprobs":{"content":[]}', ',"obfuscation":"x"'])
    )
    member = f'"{name}":{space}{said}'
    inner = member if name == "text" else f'"delta":{{{member}{extra}}}'
    return f'{{"choices":[{{"index":{draw(st.integers(0, 1))},{inner}}}]{more}}}'.encode()


def reading(form: Any, one: Piece) -> list[Text] | str:
    try:
        return form.texts_out(one)
    except UnknownShape as error:
        return str(error)


@settings(max_examples=150)
@given(st.lists(raw_events(), min_size=2, max_size=6))
def test_an_event_known_by_its_layout_reads_as_in_full(events: list[bytes]) -> None:
    """One form reads them all, and remembers layouts; another one reads each of them in full."""
    form = form_of(CHAT)
    for data in events:
        one = piece(data)
        assert reading(form, one) == reading(form_of(CHAT), one)


LIKE = b'{"choices":[{"index":0,"delta":{"content":"a"},"stop_reason":null}]}'
ALMOST_LIKE = {
    "a text behind it": b'{"choices":[{"index":0,"delta":{"content":"b","refusal":"x"},"stop_reason":null}]}',
    "an unknown text behind it": b'{"choices":[{"index":0,"delta":{"content":"b","note":"x"},"stop_reason":null}]}',
    "a text of its length behind it": b'{"choices":[{"index":0,"delta":{"content":"b"},"some_reason":"xy"}]}',
    "a text of its length before it": b'{"choices":[{"idx":"x","delta":{"content":"b"},"stop_reason":null}]}',
    "another choice of its length": b'{"choices":[{"index":1,"delta":{"content":"b"},"stop_reason":null}]}',
    "another name of its length": b'{"choices":[{"index":0,"delta":{"refusal":"b"},"stop_reason":null}]}',
    "the text twice": b'{"choices":[{"index":0,"delta":{"content":"bc","content":"d"},"stop_reason":null}]}',
    "a second delta": b'{"choices":[{"index":0,"delta":{"content":"b"},"delta":{"content":"c"},"stop_reason":null}]}',
    "a second choice": b'{"choices":[{"index":0,"delta":{"content":"b"}},{"index":1,"text":"c","stop_reason":null}]}',
    "more than a choice": b'{"choices":[{"index":0,"delta":{"content":"b"},"stop_reason":null}],"output":"x"}',
    "escapes": rb'{"choices":[{"index":0,"delta":{"content":"\u0062\n"},"stop_reason":null}]}',
    "no text": b'{"choices":[{"index":0,"delta":{"content":""},"stop_reason":null}]}',
    "null": b'{"choices":[{"index":0,"delta":{"content":null},"stop_reason":null}]}',
}


@pytest.mark.parametrize("data", ALMOST_LIKE.values(), ids=ALMOST_LIKE.keys())
def test_an_event_almost_like_the_one_before_is_read_in_full(data: bytes) -> None:
    form = form_of(CHAT)
    assert form.texts_out(piece(LIKE)) == form.texts_out(piece(LIKE))
    assert reading(form, piece(data)) == reading(form_of(CHAT), piece(data))


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS])
def test_the_layout_of_an_event_behind_the_first_is_known(endpoint: Endpoint) -> None:
    """The first event of a stream often has a role as well, and none of the others is like it."""

    def event(text: str, **more: Any) -> Piece:
        said = {"delta": {**more, "content": text}} if endpoint is CHAT else {"text": text, **more}
        raw = msgspec.json.encode({"id": "x", "choices": [{"index": 0, **said}]})
        return piece(raw)

    first = {"role": "assistant"} if endpoint is CHAT else {"logprobs": None}
    form = form_of(endpoint)
    form.texts_out(event("one", **first))
    assert form.known_text(event(" two")) is None
    [second] = form.texts_out(event(" two"))
    third = form.known_text(event(" three"))
    assert third is not None
    assert (third.value, third.where) == (" three", second.where)


def test_a_usual_event_is_not_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    form = form_of(CHAT)
    form.texts_out(delta(content="one"))
    form.texts_out(delta(tool_calls=[{"index": 0, "function": {"arguments": "{"}}]))
    monkeypatch.setattr("tidegate.forms.form.texts_of", None)
    with pytest.raises(TypeError):
        form.texts_out(delta(content="two", refusal="no"))
    assert (
        form.texts_out(delta(tool_calls=[{"index": 0, "function": {"arguments": '"a"'}}]))[0].value == '"a"'
    )


words = st.sampled_from(["chatcmpl-1", "stop", "a sentence here", "", "m", "é"])
said = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["assistant", "a b", None]),
        "content": st.one_of(st.none(), st.text(max_size=8)),
        "refusal": st.sampled_from([None, "no"]),
        "tool_calls": st.sampled_from([None, []]),
        "extra": st.sampled_from([None, 1, "a text in it"]),
    },
)


@given(
    st.fixed_dictionaries(
        {
            "choices": st.lists(
                st.fixed_dictionaries(
                    {"index": st.integers(0, 1)},
                    optional={
                        "message": said,
                        "delta": said,
                        "text": st.text(max_size=6),
                        "finish_reason": st.one_of(st.none(), words),
                        "logprobs": st.none(),
                    },
                ),
                max_size=2,
            )
        },
        optional={
            "id": words,
            "model": words,
            "usage": st.dictionaries(
                st.sampled_from(["prompt_tokens", "a b c"]), st.integers(0, 9), max_size=2
            ),
        },
    ),
    st.sampled_from(["", "repeated"]),
)
def test_an_answer_in_the_usual_form_reads_as_in_full(answer: dict[str, Any], more: str) -> None:
    data = msgspec.json.encode(answer)
    if more:
        data = data[:-1] + b',"id":"twice","id":"twice"}'
    one = piece(data)
    usual = usual_texts(one)
    if usual is not None:
        full = texts_of(one)
        assert {text.where: text.value for text in usual} == {
            where: "".join(part.value for part in parts) for where, parts in full.items()
        }
