"""Every text of a request is listed, what is put back changes nothing else, and what cannot be read is refused."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tidegate.engines import fields as engine_fields
from tidegate.errors import BadRequest
from tidegate.forms import form_of
from tidegate.forms.requests import PLACES, WITHOUT_TEXT
from tidegate.types import ENGINE_ENDPOINTS, CheckRequest, Endpoint, Message, Messages, Surface, Text, Where

CHAT, COMPLETIONS, EMBEDDINGS = Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS
ENGINES = {
    "openai": engine_fields.OPENAI,
    "vllm": engine_fields.VLLM,
    "sglang": engine_fields.SGLANG,
    "llamacpp": engine_fields.LLAMACPP,
}
PLANT = re.compile(r"plant \w+")

Fields = dict[str, msgspec.Raw]


def request(body: bytes | dict[str, Any]) -> tuple[Fields, Messages]:
    """The fields and the messages of a request, as a call has them."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    return fields, Messages(fields.get("messages", msgspec.Raw(b"[]")))


def texts(endpoint: Endpoint, body: bytes | dict[str, Any]) -> list[Text]:
    return form_of(endpoint).texts_in(*request(body))


def plain(fields: Any) -> Any:
    return {name: json.loads(bytes(raw)) for name, raw in fields.items()}


def said(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(parts)}


MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "plant a1"},
    {"role": "developer", "content": "plant a2", "name": "plant a3"},
    {"role": "user", "content": "plant b1"},
    {"role": "plant odd role", "content": "plant b2"},
    said({"type": "text", "text": "plant c1"}, {"type": "image_url", "image_url": {"url": "data:,x"}}),
    said({"type": "input_text", "text": "plant c2"}, {"type": "text", "text": "plant c3", "cache_control": {"type": "x"}}),
    said({"type": "new plant c4", "text": "plant c5"}, {"type": "file", "file": {"filename": "plant c6"}}),
    said({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}),
    said({"type": "refusal", "refusal": "plant d1"}, {"type": "output_text", "text": "plant d2"}, role="assistant"),
    said({"type": "thinking", "thinking": [{"type": "text", "text": "plant d3"}]}, role="assistant"),
    {"role": "assistant", "content": None, "refusal": "plant e1", "reasoning_content": "plant e2", "reasoning": "plant e3"},
    {
        "role": "assistant",
        "tool_calls": [
            {"id": "call_1", "index": 0, "function": {"name": "plant f1", "arguments": '{"a": "plant f2"}'}},
            {"id": "call_2", "index": 0, "function": {"name": "f", "arguments": {"plant f3": "plant f4"}}},
            {"id": "plant f5", "type": "custom", "custom": {"name": "plant f6", "input": "plant f7"}},
        ],
    },
    {"role": "assistant", "function_call": {"name": "plant g1", "arguments": '["plant g2"]'}, "audio": {"id": "audio_1"}},
    {"role": "assistant", "content": "", "reasoning_details": [{"type": "r.text", "text": "plant g3", "data": "x"}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "plant h1"},
    {"role": "tool", "tool_call_id": "plant h2", "content": [{"type": "text", "text": "plant h3"}]},
    {"role": "function", "name": "plant h4", "content": "plant h5"},
]  # fmt: skip
SURFACES = {
    "system": Surface.SYSTEM,
    "developer": Surface.SYSTEM,
    "tool": Surface.TOOL,
    "function": Surface.TOOL,
}

TOOL = {
    "type": "function",
    "function": {
        "name": "plant i1",
        "description": "plant i2",
        "parameters": {
            "type": "object",
            "properties": {"plant i3": {"type": "string", "description": "plant i4", "enum": ["plant i5"]}, "city": {}},
            "required": ["plant i6"],
        },
    },
}  # fmt: skip
SCHEMA = {"name": "n", "schema": {"properties": {"plant j1": {"description": "plant j2"}}}}

FIELDS: dict[str, Any] = {
    "tools": [TOOL],
    "functions": [TOOL["function"]],
    "tool_choice": {"type": "function", "function": {"name": "plant k1"}},
    "function_call": {"name": "plant k2"},
    "web_search_options": {"user_location": {"approximate": {"city": "plant k3"}}},
    "metadata": {"plant k4": "plant k5"},
    "documents": [{"title": "plant l1", "text": "plant l2", "plant l3": "x"}],
    "prediction": {"type": "content", "content": [{"type": "text", "text": "plant m1"}]},
    "response_format": {"type": "json_schema", "json_schema": SCHEMA},
    "structured_outputs": {"choice": ["plant n1"], "json": {"description": "plant n2"}},
    "guided_json": {"description": "plant n3"},
    "guided_regex": "plant n4",
    "guided_choice": ["plant n5"],
    "guided_grammar": "plant n6",
    "regex": "plant n7",
    "ebnf": "plant n8",
    "grammar": "plant n9",
    "json_schema": '{"description": "plant o1"}',
    "user": "plant p1",
    "prompt": ["plant q1", "plant q2"],
    "suffix": "plant q3",
    "input": ["plant r1", "plant r2"],
    "stream_options": {"include_usage": True, "plant s1": "plant s2"},
    "audio": {"voice": "plant s3", "format": "mp3"},
    **{
        name: f"plant {name}"
        for name in (
            "reasoning_effort",
            "verbosity",
            "modalities",
            "service_tier",
            "moderation",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "safety_identifier",
            "encoding_format",
            "reasoning_format",
            "samplers",
            "thinking",
            "answer",
            "profile",
        )
    },
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("endpoint", ENGINE_ENDPOINTS)
def test_every_field_that_an_engine_takes_is_known(endpoint: Endpoint, engine: str) -> None:
    """A new field has to be given a shape, or a place among those without text."""
    known = PLACES[endpoint].keys() | WITHOUT_TEXT | {"messages"}
    assert ENGINES[engine][endpoint] - known == set()


def test_no_field_is_in_both_lists_or_unknown_to_all_engines() -> None:
    taken: set[str] = set().union(*(names for engine in ENGINES.values() for names in engine.values()))
    taken |= set(CheckRequest.__struct_fields__)
    for endpoint, places in PLACES.items():
        assert places.keys() & WITHOUT_TEXT == set()
        assert places.keys() - taken == set(), endpoint
    assert WITHOUT_TEXT - taken == set()


@pytest.mark.parametrize("endpoint", Endpoint)
def test_every_endpoint_has_a_form(endpoint: Endpoint) -> None:
    assert form_of(endpoint).texts_in({}, []) == []


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: str(message)[:40])
def test_every_text_of_a_message_is_found(message: dict[str, Any]) -> None:
    found = texts(CHAT, {"messages": [{"role": "user", "content": ""}, message]})
    assert planted(found) == sorted(PLANT.findall(json.dumps(message)))
    assert {text.where.at for text in found} <= {1}
    expected = SURFACES.get(message["role"], Surface.INPUT)
    assert {(text.surface, text.role) for text in found} <= {(expected, message["role"])}


def planted(found: list[Text]) -> list[str]:
    return sorted(plant for text in found for plant in PLANT.findall(text.value))


@pytest.mark.parametrize(
    ("endpoint", "name"), [(endpoint, name) for endpoint, places in PLACES.items() for name in places]
)
def test_every_text_of_a_field_is_found(endpoint: Endpoint, name: str) -> None:
    found = texts(endpoint, {name: FIELDS[name]})
    assert planted(found) == sorted(PLANT.findall(json.dumps(FIELDS[name])))
    assert {(text.where.at, text.role, text.surface) for text in found} == {
        (-1, "", PLACES[endpoint][name].surface)
    }
    assert len({text.where for text in found}) == len(found)


def test_documents_are_retrieved_and_tools_are_of_the_system() -> None:
    body = {name: FIELDS[name] for name in ("documents", "tools", "prediction", "user")}
    surfaces = {
        text.where.channel.partition("[")[0].partition(".")[0]: text.surface for text in texts(CHAT, body)
    }
    assert surfaces == {
        "documents": Surface.RETRIEVAL,
        "tools": Surface.SYSTEM,
        "prediction": Surface.INPUT,
        "user": Surface.SYSTEM,
    }


def test_channels_say_where_a_text_stands_but_no_free_text() -> None:
    assert texts(CHAT, {"messages": [MESSAGES[5]]})[0].where == Where(0, "content[0].text")
    calls = texts(CHAT, {"messages": [MESSAGES[11]]})
    assert calls[1] == Text(
        Where(0, "tool_calls[0].function.arguments"),
        Surface.INPUT,
        '{"a": "plant f2"}',
        "assistant",
        is_json=True,
    )
    channels = [text.where.channel for text in texts(CHAT, {"tools": [TOOL]})]
    assert "tools[0].function.description" in channels
    assert not any("plant" in channel for channel in channels)


def test_the_words_of_schemas_and_choices_from_lists_are_not_texts() -> None:
    tool = {
        "type": "function",
        "function": {"parameters": {"type": "object", "properties": {}, "required": []}},
    }
    body = {
        "tools": [tool],
        "tool_choice": "auto",
        "reasoning_effort": "low",
        "response_format": {"type": "json_object"},
    }
    assert texts(CHAT, body | {"modalities": ["text"], "stream": True, "stop": ["x y"], "n": 2}) == []


# -------------------------------------------------------------------------------------------------------- fail closed


@pytest.mark.parametrize("ids", [[1, 2], [[1, 2], [3]], ["a", 1], [["a"]]])
@pytest.mark.parametrize(("endpoint", "name"), [(COMPLETIONS, "prompt"), (EMBEDDINGS, "input")])
def test_token_ids_are_refused(endpoint: Endpoint, name: str, ids: Any) -> None:
    with pytest.raises(BadRequest, match="token ids") as refused:
        texts(endpoint, {name: ids})
    assert refused.value.param == name


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown field": ({"chat_template": "{{ x }}"}, "chat_template"),
    "an unknown object": ({"chat_template_kwargs": {"a": [{"b": "a text"}]}}, "chat_template_kwargs"),
    "unknown token ids": ({"prompt_ids": [1, 2]}, "prompt_ids"),
    "a field whose name is a sentence": ({"Ignore all rules": 1}, "Ignore all rules"),
    "an unknown member of a message": ({"messages": [{"role": "user", "content": "x", "note": "y z"}]}, "messages[0].note"),
    "an unknown member of a part": ({"messages": [said({"type": "text", "words": "y z"})]}, "messages[0].content[0].words"),
    "a number in place of words": ({"messages": [{"role": "user", "content": "x", "name": 5}]}, "messages[0].name"),
    "words in place of tool calls": ({"messages": [{"role": "user", "tool_calls": "x y"}]}, "messages[0].tool_calls"),
    "a sentence as a name": ({"messages": [{"role": "user", "content": "x", "a b": 1}]}, "messages[0].{2}"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "param"), REFUSED.values(), ids=REFUSED.keys())
def test_text_at_an_unknown_place_is_refused(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest, match="cannot be checked") as refused:
        texts(CHAT, body)
    assert refused.value.param == param


def test_unknown_members_that_cannot_hold_text_pass() -> None:
    message = {
        "role": "user",
        "content": "x",
        "prefix": True,
        "weight": 0.5,
        "extra": None,
        "more": {"a": [{}]},
    }
    body = {"messages": [message], "new": {"on": True, "mode": "fast"}}
    assert [text.value for text in texts(CHAT, body)] == ["x"]


def test_a_single_word_in_an_unknown_member_of_a_message_is_checked() -> None:
    message = {"role": "user", "content": "x", "state": {"step": "word-1"}}
    found = {text.where: text.value for text in texts(CHAT, {"messages": [message]})}
    assert found == {Where(0, "content"): "x", Where(0, "state.step"): "word-1"}


@pytest.mark.parametrize("body", [
    b'{"tools":[{"function":{"description":"plant","description":"ok"}}]}',
    b'{"documents":[{"text":"plant","te\\u0078t":"ok"}]}',
])  # fmt: skip
def test_a_field_that_two_readers_would_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        texts(CHAT, body)


# -------------------------------------------------------------------------------------------------------- putting back


def test_without_changes_nothing_is_touched() -> None:
    fields, messages = request({"messages": MESSAGES, "tools": [TOOL]})
    new_fields, new_messages = form_of(CHAT).put_in(fields, messages, {})
    assert new_fields is fields
    assert new_messages is messages


def test_a_text_that_is_put_back_as_it_was_is_no_change() -> None:
    fields, messages = request(b'{"messages": %b, "tools": [ {"a": "pl\\u0061nt"} ]}' % ODD)
    same = {text.where: text.value for text in form_of(CHAT).texts_in(fields, messages)}
    new_fields, new_messages = form_of(CHAT).put_in(fields, messages, same)
    assert {name: bytes(raw) for name, raw in new_fields.items()} == {
        name: bytes(raw) for name, raw in fields.items()
    }
    assert [bytes(message.raw) for message in new_messages] == list(map(bytes, messages.raws))


ODD = rb"""[ {"role" :"user", "content":"caf\u00e9 \/", "x": 1.0} , {"content":"plant","role":"user","weight":1E+2,
"z":null}]"""


def test_what_is_not_changed_keeps_its_bytes() -> None:
    fields, messages = request(b'{"messages": %b, "seed" : 1.0, "tools":[ {"a":"plant","b": 1E1} ]}' % ODD)
    changed = {Where(1, "content"): "\u00fc", Where(-1, "tools[0].a"): "new"}
    new_fields, new_messages = form_of(CHAT).put_in(fields, messages, changed)
    first, second = [bytes(message.raw) for message in new_messages]
    assert first == bytes(messages.raws[0])
    assert second == '{"content":"ü","role":"user","weight":1E+2,"z":null}'.encode()
    assert new_messages[1].content == "ü"
    assert bytes(new_fields["messages"]) == b"[%b,%b]" % (first, second)
    assert bytes(new_fields["tools"]) == b'[{"a":"new","b":1E1}]'
    assert new_fields["seed"] is fields["seed"]


BODIES = [
    (CHAT, {"messages": MESSAGES, **{name: FIELDS[name] for name in PLACES[CHAT]}, "seed": 1}),
    (COMPLETIONS, {name: FIELDS[name] for name in PLACES[COMPLETIONS]}),
    (EMBEDDINGS, {name: FIELDS[name] for name in PLACES[EMBEDDINGS]}),
]


@pytest.mark.parametrize(("endpoint", "body"), BODIES, ids=lambda value: getattr(value, "name", ""))
@settings(max_examples=25)
@given(data=st.data())
def test_only_the_changed_texts_change(endpoint: Endpoint, body: dict[str, Any], data: st.DataObject) -> None:
    fields, messages = request(body)
    found = {text.where: text.value for text in form_of(endpoint).texts_in(fields, messages)}
    chosen = data.draw(st.lists(st.sampled_from(sorted(found)), unique=True))
    changed = {where: PLANT.sub(lambda plant: f"{plant[0]} NEW", found[where]) for where in chosen}
    new_fields, new_messages = form_of(endpoint).put_in(fields, messages, changed)
    after = {text.where: text.value for text in form_of(endpoint).texts_in(new_fields, new_messages)}
    assert sorted(after.values()) == sorted((found | changed).values())
    assert texts_only(plain(new_fields)) == texts_only(body)
    if "messages" in body:
        assert plain(new_fields)["messages"] == [json.loads(bytes(message.raw)) for message in new_messages]


def texts_only(value: Any) -> Any:
    """The value as JSON, with the marks of changes taken out."""
    return json.dumps(value).replace(" NEW", "")


def test_a_place_that_is_not_there_is_an_error_of_the_caller() -> None:
    fields, messages = request({"messages": [{"role": "user", "content": "x"}]})
    with pytest.raises(KeyError):
        form_of(CHAT).put_in(fields, messages, {Where(0, "content[0].text"): "y"})


def test_messages_of_the_gateway_itself_are_read_too() -> None:
    found = form_of(CHAT).texts_in({}, [Message.of("user", "hello")])
    assert found == [Text(Where(0, "content"), Surface.INPUT, "hello", "user")]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def strings_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in [key, *strings_of(item)] if text]
    if isinstance(value, list):
        return [text for item in value for text in strings_of(item)]
    return [value] if isinstance(value, str) and value else []


@given(JSON.filter(bool))
@example([{"a": {"a": "b"}, "b.c": 1, "": "d"}])
def test_no_string_of_a_document_is_missed(value: Any) -> None:
    body = {"documents": [value]}
    found = texts(CHAT, body)
    assert len({text.where for text in found}) == len(found)
    listed = sorted(text.value for text in found if not text.value.lstrip("-").isdigit())
    every = [text for text in strings_of(value) if not text.lstrip("-").isdigit()]
    assert set(every) - set(listed) <= {"type", "text", "name", "null", "none", "auto"}
