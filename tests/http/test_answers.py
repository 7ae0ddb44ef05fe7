"""Every field of an answer reaches the client as the engine sent it, streamed or not.

The list of fields is not ours: it is the response types of the official `openai` package.
"""

from __future__ import annotations

import json
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from canned import Canned, streamed, whole
from openai import OpenAI
from openai.types import Completion, CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel
from serving import Running, ask, config_to, run_gateway
from talking import CHAT, COMPLETIONS, EMBEDDINGS, ENDPOINTS, NEEDED, body_of

from tidegate.engines.scripted.server import ScriptedServer


def sdk(base_url: str) -> OpenAI:
    return OpenAI(base_url=base_url, api_key="client-key", max_retries=0, timeout=20)


_TEXT = 'é 🌊 東京 "q" \\ \u2028 \u0000 </script>'


def examples(annotation: Any) -> list[Any]:
    """Values of a response type that between them fill every field with every kind of thing it may hold."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return examples(args[0])
    if origin in (Union, types.UnionType):
        return [value for arg in args for value in examples(arg)]
    if origin is Literal:
        return list(args)
    if origin is list:
        return [examples(args[0]), []]
    if origin is dict:
        return [{f"k{number}é": value for number, value in enumerate(examples(args[1]))}]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = {name: examples(field.annotation) for name, field in annotation.model_fields.items()}
        return [
            {name: values[number % len(values)] for name, values in fields.items()}
            for number in range(max(map(len, fields.values())))
        ]
    plain: dict[Any, list[Any]] = {
        str: [_TEXT],
        int: [12345678901234567890],
        float: [-0.1, 1e300],
        bool: [True],
        type(None): [None],
        object: [{"any": [1]}],
    }
    return plain[annotation]


def paths(value: Any, prefix: str = "") -> set[str]:
    """The fields in a JSON value, lists looked through."""
    if isinstance(value, list):
        return set().union(*(paths(item, prefix) for item in value)) if value else set()
    if not isinstance(value, dict):
        return set()
    return {f"{prefix}.{key}" for key in value}.union(
        *(paths(item, f"{prefix}.{key}") for key, item in value.items())
    )


def declared(annotation: Any, prefix: str = "") -> set[str]:
    """The fields that a response type declares, at any depth."""
    found: set[str] = set()
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            found |= {f"{prefix}.{name}"} | declared(field.annotation, f"{prefix}.{name}")
        return found
    for arg in get_args(annotation):
        found |= declared(arg, prefix) if not isinstance(arg, str) else set()
    return found


RESPONSES: list[tuple[str, type[BaseModel]]] = [
    (CHAT, ChatCompletion),
    (COMPLETIONS, Completion),
    (EMBEDDINGS, CreateEmbeddingResponse),
]
STREAMS: list[tuple[str, type[BaseModel]]] = [(CHAT, ChatCompletionChunk), (COMPLETIONS, Completion)]

# What engines send beside OpenAI's own fields, and bytes that only a copy keeps: numbers and escapes of every form, white
# space, a field twice.
ODD_EVENT = rb"""{ "id":"x", "\u0069d": "y","created": 1e9, "kv_transfer_params": {"a": 1.0, "b":1E+2, "c":-0.0},
"prompt_token_ids": [12345678901234567890123456789, 0.10],"prompt_logprobs":null, "provider": "\u00e9\/\ud83c\udf0a",
"choices":[ {"index":0,"delta":{"content":"\u0061b", "reasoning_content": "why", "reasoning":"\t", "annotations": [{}],
"token_ids":[1.0]}, "message": {"content": "c", "reasoning_content":"r", "annotations":[{"type":"url_citation"}]},
"text": "t", "stop_reason":  128001, "matched_stop": null, "finish_reason":"stop"}], "usage":{"prompt_tokens":10,
"completion_tokens":2, "cost": 0.000010, "prompt_tokens_details":{"cached_tokens":9,"x":{}}},"timings":{"ms":1.50}}"""


@pytest.mark.parametrize(
    ("endpoint", "model"), [*RESPONSES, *STREAMS], ids=lambda value: getattr(value, "__name__", value)
)
def test_the_examples_fill_every_field(endpoint: str, model: type[BaseModel]) -> None:
    assert declared(model)
    assert declared(model) - paths(examples(model)) == set()


@pytest.mark.parametrize("escaped", [True, False], ids=["escaped", "utf8"])
@pytest.mark.parametrize(("endpoint", "model"), RESPONSES, ids=ENDPOINTS)
def test_every_field_of_an_answer_arrives_unchanged(
    in_front: Running, sayer: Canned, endpoint: str, model: type[BaseModel], escaped: bool
) -> None:
    for example in examples(model):
        body = json.dumps(example, ensure_ascii=escaped).encode()
        sayer.answer = whole(body)
        answer = ask(f"{in_front.base_url}/{endpoint}", body_of(NEEDED[endpoint]))
        assert answer.status == 200, answer.body
        assert answer.body == body


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_answer_in_odd_bytes_arrives_in_them(
    without_rails_in_front: Running, sayer: Canned, endpoint: str
) -> None:
    sayer.answer = whole(ODD_EVENT)
    assert ask(f"{without_rails_in_front.base_url}/{endpoint}", body_of(NEEDED[endpoint])).body == ODD_EVENT


def stream_of(model: type[BaseModel], escaped: bool) -> list[bytes]:
    """An event for every example, then the end of every choice that they began.

    An event that has only token counts is left out, since this client does not ask for them.
    """
    values = [value for value in examples(model) if value["choices"] or value.get("usage") is None]
    indexes = {choice["index"] for value in values for choice in value["choices"]}
    ending = {
        **values[0],
        "choices": [{"index": i, "delta": {}, "text": "", "finish_reason": "stop"} for i in indexes],
    }
    return [json.dumps(value, ensure_ascii=escaped).encode() for value in [*values, ending]]


def events_in(body: bytes) -> bytes:
    """A streamed answer without what the gateway adds: its own comment before `[DONE]`."""
    events, found, rest = body.rpartition(b": server-timing: ")
    assert found
    assert rest.endswith(b"\n\ndata: [DONE]\n\n")
    assert rest.count(b"\n\n") == 2
    return events


@pytest.mark.parametrize("escaped", [True, False], ids=["escaped", "utf8"])
@pytest.mark.parametrize(("endpoint", "model"), STREAMS, ids=[CHAT, COMPLETIONS])
def test_every_field_of_a_stream_arrives_unchanged(
    without_rails_in_front: Running, sayer: Canned, endpoint: str, model: type[BaseModel], escaped: bool
) -> None:
    events = b"".join(b"data: " + event + b"\n\n" for event in stream_of(model, escaped))
    sayer.answer = streamed(events + b"data: [DONE]\n\n")
    answer = ask(
        f"{without_rails_in_front.base_url}/{endpoint}", body_of(NEEDED[endpoint] | {"stream": b"true"})
    )
    assert answer.status == 200, answer.body
    assert events_in(answer.body) == events


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS])
def test_events_in_odd_bytes_arrive_in_them(
    without_rails_in_front: Running, sayer: Canned, endpoint: str, end: bytes
) -> None:
    lines = ODD_EVENT.replace(b"\n", end + b"data:")
    event = b"id: 7%b: note%bevent: message%bdata:  %b%bretry: 5%b%b" % (end, end, end, lines, end, end, end)
    sayer.answer = streamed(event + event + b"data: [DONE]" + end + end)
    answer = ask(
        f"{without_rails_in_front.base_url}/{endpoint}", body_of(NEEDED[endpoint] | {"stream": b"true"})
    )
    assert answer.status == 200, answer.body
    assert events_in(answer.body) == event + event


CALLS: list[tuple[str, str, dict[str, Any]]] = [
    (CHAT, "", {"n": 3, "seed": 11, "logprobs": True, "top_logprobs": 1}),
    (CHAT, "", {"stop": ["x"], "max_tokens": 2}),
    (
        CHAT,
        """tool=look arguments='{"city": "Zürich"}' tokens=6 calls=2""",
        {"tools": [{"type": "function"}]},
    ),
    (CHAT, "text=before tool=look", {"parallel_tool_calls": True}),
    (CHAT, """text='{"answer": 42}' tokens=5""", {"response_format": {"type": "json_object"}}),
    (CHAT, "reasoning=4", {"reasoning_effort": "low"}),
    (CHAT, "reasoning=4 reasoning_field=reasoning", {}),
    (CHAT, "refusal='I would rather not.' tokens=3", {}),
    (CHAT, "prompt_tokens=2048 cached_tokens=1920", {"prompt_cache_key": "k"}),
    (
        CHAT,
        """extra='{"event":{"service_tier":"flex","x":[1.5]},"choice":{"y":null},"delta":{"z":{}},"usage":{"w":1}}'""",
        {},
    ),
    (
        CHAT,
        """extra='{"delta":{"annotations":[{"type":"url_citation"}],"audio":{"id":"a","data":"AA=="}}}'""",
        {},
    ),
    (CHAT, """extra='{"delta":{"function_call":{"name":"f","arguments":"{}"}}}' finish=function_call""", {}),
    (CHAT, "finish=content_filter tokens=0", {}),
    (COMPLETIONS, "", {"n": 2, "seed": 5, "logprobs": 1, "echo": False, "suffix": "."}),
    (COMPLETIONS, "", {"prompts": ["one", "two"], "stop": "\n"}),
]


def spoken(endpoint: str, marker: str, more: dict[str, Any]) -> bytes:
    """A request body; `prompts` come before the text with the marker."""
    text = f"Describe this. [[scripted seed=3 {marker}]]"
    if endpoint == COMPLETIONS:
        others = more.get("prompts", [])
        fields = {name: value for name, value in more.items() if name != "prompts"}
        return json.dumps({"model": "m", "prompt": [*others, text] if others else text, **fields}).encode()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    content = [{"type": "text", "text": text}, image]
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": content}], **more}).encode()


@pytest.mark.parametrize(("endpoint", "marker", "more"), CALLS)
def test_through_the_gateway_as_straight_from_the_engine(
    gateway: Running, engine: ScriptedServer, endpoint: str, marker: str, more: dict[str, Any]
) -> None:
    body = spoken(endpoint, marker, more)
    straight, through = (ask(f"{url}/{endpoint}", body) for url in (engine.base_url, gateway.base_url))
    assert (straight.status, through.status) == (200, 200)
    assert through.body == straight.body


def by_choice(events: bytes, end: bytes) -> dict[tuple[int, ...], list[bytes]]:
    """The events of each choice in their order. Those of no choice have to be the last ones."""
    found: dict[tuple[int, ...], list[bytes]] = {}
    *every, rest = events.split(end)
    assert not rest
    for event in every:
        data = b"".join(
            line.removeprefix(b"data: ") for line in event.splitlines() if line.startswith(b"data")
        )
        choices = tuple(choice["index"] for choice in json.loads(data)["choices"])
        assert choices or () not in found
        found.setdefault(choices, []).append(event)
    assert list(found)[-1] == ()
    return found


@pytest.mark.parametrize(
    "form", ["", "crlf=1", "multiline=1", "slice=7", "burst=1", "comment=1", "framing=close"]
)
@pytest.mark.parametrize(("endpoint", "marker", "more"), CALLS)
def test_a_stream_through_the_gateway_as_straight_from_the_engine(
    gateway: Running, engine: ScriptedServer, endpoint: str, marker: str, more: dict[str, Any], form: str
) -> None:
    """Byte for byte; only what nobody reads, the engine's comments, is left behind.

    The rails keep the order within each choice: an event of one choice may pass one of another choice that is held.
    """
    asked = {**more, "stream": True, "stream_options": {"include_usage": True}}
    body = spoken(endpoint, f"{marker} {form}", asked)
    straight, through = (ask(f"{url}/{endpoint}", body) for url in (engine.base_url, gateway.base_url))
    assert (straight.status, through.status) == (200, 200)
    end = b"\r\n\r\n" if form == "crlf=1" else b"\n\n"
    expected = straight.body.removesuffix(b"data: [DONE]" + end).replace(b": ping" + end, b"")
    assert by_choice(events_in(through.body), end) == by_choice(expected, end)
    assert b'"usage":{' in expected


@pytest.mark.parametrize(("endpoint", "encoding"), [(EMBEDDINGS, "float"), (EMBEDDINGS, "base64")])
def test_embeddings_through_the_gateway_as_straight_from_the_engine(
    gateway: Running, engine: ScriptedServer, endpoint: str, encoding: str
) -> None:
    body = json.dumps(
        {"model": "m", "input": ["a", "b"], "dimensions": 8, "encoding_format": encoding}
    ).encode()
    straight, through = (ask(f"{url}/{endpoint}", body) for url in (engine.base_url, gateway.base_url))
    assert straight.status == 200
    assert through.body == straight.body


def test_the_sdk_reads_the_same_through_the_gateway(gateway: Running, engine: ScriptedServer) -> None:
    words: Any = [{"role": "user", "content": '[[scripted tool=look arguments="{}" cached_tokens=7]]'}]
    with sdk(engine.base_url) as before, sdk(gateway.base_url) as behind:
        straight, through = (
            [
                event.model_dump()
                for event in client.chat.completions.create(
                    model="m",
                    messages=words,
                    n=2,
                    logprobs=True,
                    stream=True,
                    stream_options={"include_usage": True},
                )
            ]
            for client in (before, behind)
        )
    of_one = [
        [[one for one in events if at in indexes(one)] for at in (0, 1)] for events in (straight, through)
    ]
    assert of_one[0] == of_one[1]
    assert (len(through), through[-1]) == (len(straight), straight[-1])
    assert straight[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] == 7


def indexes(event: dict[str, Any]) -> list[int]:
    return [choice["index"] for choice in event["choices"]]


# ----------------------------------------------------------------------------------------------------------------- models


def test_models_have_every_field_that_must_be(engine: ScriptedServer) -> None:
    """The gateway's own answer: all that the official type requires, under the names of the config, patterns left out."""
    tree = json.loads(config_to(engine.base_url))
    tree["models"] |= {"a/b:c": tree["models"]["*"], "gpt-*": tree["models"]["*"]}
    required = {name for name, field in Model.model_fields.items() if field.is_required()}
    with run_gateway(json.dumps(tree)) as gateway:
        listed = ask(f"{gateway.base_url}/models", method="GET").json
        one = ask(f"{gateway.base_url}/models/a/b:c", method="GET").json
    assert listed == {"object": "list", "data": [one]}
    assert one.keys() == required
    assert one["id"] == "a/b:c"


@pytest.mark.parametrize("body", [b"{}", b'{"choices":null}', b'{"status":"ok"}'])
def test_what_is_no_answer_is_not_passed_on_as_one(in_front: Running, sayer: Canned, body: bytes) -> None:
    sayer.answer = whole(body)
    answer = ask(f"{in_front.base_url}/{CHAT}", spoken(CHAT, "", {}))
    assert (answer.status, answer.error["code"]) == (502, "engine_error")
