"""Every request field of the endpoints reaches the engine byte for byte; what is not one of them is refused by name.

The list of fields is not ours: it is the request types of the official `openai` package.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_type_hints

import msgspec
import pytest
from canned import Canned, streamed, whole
from openai.types import completion_create_params
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.embedding_create_params import EmbeddingCreateParams
from serving import Running, ask, config_to, run_gateway
from talking import CHAT, COMPLETIONS, EMBEDDINGS, ENDPOINTS, NEEDED, STREAM_END, body_of

from tidegate.engines.scripted.server import ScriptedServer

FIELDS_OF = msgspec.json.Decoder(dict[str, msgspec.Raw])


# ---------------------------------------------------------------------------------------------------------------- requests

# Beside plain values: every way to write a number, escapes that say the same as other bytes, objects in objects, white
# space, null. A value is compared byte by byte.
_TEXTS = [rb'"plain"', rb'"\u00e9 \ud83c\udf0a \"q\" \/ \\ \n"', '"é 🌊 東京"'.encode(), b'""', b"null"]
_NUMBERS = [b"1", b"1.0", b"1e0", b"0.70", b"0.1E+1", b"0", b"-0.0", b"null"]
_COUNTS = [b"1", b"64", b"null"]
_FLAGS = [b"true", b"false", b"null"]
_NESTED = rb'{ "deep" : [ 1.0, 1e2, 12345678901234567890123, {"\u00e9": null, "e": [[], {}]} ] }'
_FUNCTION = rb'{"name": "look", "description": "\u00e9", "strict": true, "parameters": ' + _NESTED + b"}"
_JSON_SCHEMA = (
    rb'{"type": "json_schema", "json_schema": {"name": "s", "strict": true, "schema": ' + _NESTED + b"}}"
)

_MESSAGES = [
    b'[{"role": "user", "content": "hi"}]',
    (
        rb'[{"role":"system","content":"\u00e9"},{"role":"user","name":"n","content":[{"type":"text","text":"a"},'
        rb'{"type":"image_url","image_url":{"url":"data:image\/png;base64,iVBORw0KGgo=","detail":"low"}},'
        rb'{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}},'
        rb'{"type":"file","file":{"file_id":"f-1","filename":"x.pdf"}}]}]'
    ),
    (
        rb'[{"role":"developer","content":"d"},{"role":"assistant","content":null,"refusal":null,"audio":{"id":"a"},'
        rb'"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"x\": 1e2}"}},'
        rb'{"id":"d","type":"custom","custom":{"name":"g","input":"y"}}],"reasoning_content":"why"},'
        rb'{"role":"tool","tool_call_id":"c","content":"42"},{"role":"function","name":"f","content":"42"},'
        rb'{"role":"assistant","function_call":{"name":"f","arguments":"{}"},"content":"x","prefix":true},'
        rb'{"role":"user","content":"\ud83c\udf0a \u2028","unknown":{"deep":[1.0]}}]'
    ),
]

_SHARED: dict[str, list[bytes]] = {
    "model": [b'"m"', rb'"m\u00e9"', b'"org/m:latest"'],
    "frequency_penalty": _NUMBERS,
    "logit_bias": [b'{"50256": -100}', b'{"1": 1.0, "2": 1e1}', b"{}", b"null"],
    "max_tokens": _COUNTS,
    "n": [b"1", b"3", b"null"],
    "presence_penalty": _NUMBERS,
    "seed": [b"0", b"-1", b"9223372036854775807", b"null"],
    "stop": [rb'"\n\n"', rb'["\u00e9", "END", ""]', b"[]", b"null"],
    "stream": [b"false", b"true", b"null"],
    "stream_options": [b'{"include_usage": true}', b'{ "include_obfuscation": false }', b"null"],
    "temperature": _NUMBERS,
    "top_p": _NUMBERS,
    "user": _TEXTS,
}

REQUESTS: dict[str, dict[str, list[bytes]]] = {
    CHAT: {
        **_SHARED,
        "messages": _MESSAGES,
        "audio": [b'{"format": "wav", "voice": {"id": "v"}}', b"null"],
        "function_call": [b'"auto"', b'{"name": "f"}'],
        "functions": [b"[" + _FUNCTION + b"]"],
        "logprobs": _FLAGS,
        "max_completion_tokens": _COUNTS,
        "metadata": [rb'{"k\u00e9y": "v", "k": "\u0000"}', b"null"],
        "modalities": [b'["text", "audio"]', b"null"],
        "moderation": [b'{"model": "omni-moderation-latest"}', b"null"],
        "parallel_tool_calls": _FLAGS,
        "prediction": [b'{"type": "content", "content": [{"type": "text", "text": "t"}]}', b"null"],
        "prompt_cache_key": _TEXTS,
        "prompt_cache_options": [b'{"mode": "explicit"}'],
        "prompt_cache_retention": [b'"24h"', b"null"],
        "reasoning_effort": [b'"minimal"', b"null"],
        "response_format": [b'{"type": "json_object"}', b'{"type": "text"}', _JSON_SCHEMA],
        "safety_identifier": _TEXTS,
        "service_tier": [b'"flex"', b"null"],
        "store": _FLAGS,
        "tool_choice": [b'"required"', b'{"type": "function", "function": {"name": "look"}}'],
        "tools": [
            b'[{"type": "function", "function": ' + _FUNCTION + b"}]",
            rb'[{"type":"custom","custom":{"name":"g","format":{"type":"grammar","grammar":{"syntax":"lark"}}}}]',
        ],
        "top_logprobs": [b"0", b"2", b"null"],
        "verbosity": [b'"low"', b"null"],
        "web_search_options": [
            b'{"user_location": {"type": "approximate", "approximate": {"city": "Z\xc3\xbcrich"}}}'
        ],
    },
    COMPLETIONS: {
        **_SHARED,
        "prompt": [b'"once"', rb'["\u00e9", "b"]'],
        "best_of": _COUNTS,
        "echo": _FLAGS,
        "logprobs": [b"0", b"2", b"null"],
        "suffix": _TEXTS,
    },
    EMBEDDINGS: {
        "model": _SHARED["model"],
        "input": [b'"text"', rb'["\u00e9", "b"]'],
        "dimensions": [b"8"],
        "encoding_format": [b'"float"', b'"base64"'],
        "user": _TEXTS[:-1],
    },
}

COMPANIONS = {"stream_options": {"stream": b"true"}}
"""Fields that only mean something together with another one."""

TABLE = [
    pytest.param(endpoint, name, value, id=f"{endpoint}-{name}-{number}")
    for endpoint, fields in REQUESTS.items()
    for name, values in fields.items()
    for number, value in enumerate(values)
]


def documented(endpoint: str) -> set[str]:
    """What the official package lets a caller send."""
    module = {CHAT: chat_create_params, COMPLETIONS: completion_create_params}.get(endpoint)
    if module is None:
        return set(get_type_hints(EmbeddingCreateParams))
    streaming, not_streaming = (
        module.CompletionCreateParamsStreaming,
        module.CompletionCreateParamsNonStreaming,
    )
    return set(get_type_hints(streaming)) | set(get_type_hints(not_streaming))


@pytest.fixture(scope="module")
def gateway(engine: ScriptedServer) -> Iterator[Running]:
    """The gateway without checks of the answer's form, which the scripted engine does not keep."""
    with run_gateway(config_to(engine.base_url, api_key="engine-key", structure={"check": False})) as gateway:
        yield gateway


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_table_forgets_no_field(endpoint: str) -> None:
    assert documented(endpoint) - REQUESTS[endpoint].keys() == set()


@pytest.mark.parametrize(("endpoint", "name", "value"), TABLE)
def test_a_request_field_arrives_byte_for_byte(
    gateway: Running, engine: ScriptedServer, endpoint: str, name: str, value: bytes
) -> None:
    sent = NEEDED[endpoint] | COMPANIONS.get(name, {}) | {name: value}
    answer = ask(f"{gateway.base_url}/{endpoint}", body_of(sent))
    assert answer.status == 200, answer.body
    heard = engine.record.entries[-1]
    assert heard.path == f"/v1/{endpoint}"
    assert heard.body is not None
    got = {key: bytes(raw) for key, raw in FIELDS_OF.decode(heard.body).items()}
    if sent.get("stream") == b"true":
        assert with_usage(sent.pop("stream_options", b"null")) == json.loads(got.pop("stream_options"))
    assert got == sent
    assert list(got) == list(sent)


@pytest.mark.parametrize("value", [b"[1, 2, 3]", b"[[1, 2], [3]]"])
@pytest.mark.parametrize(("endpoint", "name"), [(COMPLETIONS, "prompt"), (EMBEDDINGS, "input")])
def test_token_ids_arrive_where_there_are_no_rails(
    without_rails: Running, gateway: Running, engine: ScriptedServer, endpoint: str, name: str, value: bytes
) -> None:
    """Rails cannot read them. Who sends them is told what to do: LangChain does for embeddings, for example."""
    body = body_of(NEEDED[endpoint] | {name: value})
    assert ask(f"{without_rails.base_url}/{endpoint}", body).status == 200
    heard = engine.record.entries[-1].body
    assert heard is not None
    assert bytes(FIELDS_OF.decode(heard)[name]) == value

    refused = ask(f"{gateway.base_url}/{endpoint}", body)
    assert (refused.status, refused.error["param"]) == (400, name)
    assert "send text" in refused.error["message"]
    assert "check_embedding_ctx_length=False" in refused.error["message"]
    assert "rails: none" in refused.error["message"]


def with_usage(options: bytes) -> dict[str, Any]:
    """What the gateway makes of a client's `stream_options`: it always asks for the token counts."""
    return {**(json.loads(options) or {}), "include_usage": True}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_all_request_fields_together(gateway: Running, engine: ScriptedServer, endpoint: str) -> None:
    sent = {name: values[0] for name, values in REQUESTS[endpoint].items()}
    if "stream" in sent:
        sent["stream"] = b"true"
    assert ask(f"{gateway.base_url}/{endpoint}", body_of(sent)).status == 200
    body = engine.record.entries[-1].body
    assert body is not None
    assert {key: bytes(raw) for key, raw in FIELDS_OF.decode(body).items()} == sent


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_body_of_any_layout_arrives(gateway: Running, engine: ScriptedServer, endpoint: str) -> None:
    """White space between the fields and escapes in their names mean nothing; the values keep theirs."""
    needed = NEEDED[endpoint]
    name = next(name for name in needed if name != "model")
    body = b' \r\n\t{ "mod\\u0065l"\n:\t"m" ,"%b" : %b } \n' % (name.encode(), needed[name])
    assert ask(f"{gateway.base_url}/{endpoint}", body).status == 200
    heard = engine.record.entries[-1].body
    assert heard is not None
    assert {key: bytes(raw) for key, raw in FIELDS_OF.decode(heard).items()} == needed


def test_only_the_model_is_changed_where_the_engine_has_its_own_name(engine: ScriptedServer) -> None:
    tree = json.loads(config_to(engine.base_url))
    tree["models"]["public"] = {"deployments": [{"engine": "upstream", "model": 'own "name" é'}]}
    sent = {"temperature": b"1e0", **NEEDED[CHAT], "model": b'"public"', "seed": b"7"}
    with run_gateway(json.dumps(tree)) as gateway:
        assert ask(f"{gateway.base_url}/{CHAT}", body_of(sent)).status == 200
    heard = engine.record.entries[-1]
    assert heard.body is not None
    got = {key: bytes(raw) for key, raw in FIELDS_OF.decode(heard.body).items()}
    assert got == sent | {"model": '"own \\"name\\" é"'.encode()}
    assert list(got) == list(sent)


# ---------------------------------------------------------------------------------------------------- what does not pass

INTERNALS = [
    "priority",
    "cache_salt",
    "api_base",
    "api_key",
    "base_url",
    "extra_body",
    "extra_headers",
    "extra_query",
    "chat_template",
    "chat_template_kwargs",
    "id_slot",
    "slot_id",
    "cache_prompt",
    "kv_transfer_params",
    "vllm_xargs",
    "mm_processor_kwargs",
    "request_id",
    "lora",
    "adapter",
    "model_path",
    "data_parallel_rank",
    "custom_llm_provider",
    "mock_response",
    "timeout",
    "num_retries",
    "fallbacks",
    "Model",
    "messages\\u0000",
    "__proto__",
]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("name", INTERNALS)
def test_engine_internals_never_pass(
    gateway: Running, engine: ScriptedServer, endpoint: str, name: str
) -> None:
    before = engine.record.requests
    answer = ask(f"{gateway.base_url}/{endpoint}", body_of(NEEDED[endpoint] | {name: b'{"x": 1}'}))
    assert answer.status == 400
    assert answer.error["param"] == json.loads(f'"{name}"')
    assert answer.error["type"] == "invalid_request_error"
    assert answer.headers["x-should-retry"] == "false"
    assert engine.record.requests == before


@pytest.mark.parametrize("name", ["stream", "messages", "temperature"])
def test_fields_of_other_endpoints_are_refused(gateway: Running, engine: ScriptedServer, name: str) -> None:
    before = engine.record.requests
    answer = ask(f"{gateway.base_url}/{EMBEDDINGS}", body_of(NEEDED[EMBEDDINGS] | {name: b"1"}))
    assert (answer.status, answer.error["param"]) == (400, name)
    assert engine.record.requests == before


KIND_FIELDS = {
    "vllm": {
        "top_k": b"5",
        "min_p": b"0.05",
        "repetition_penalty": b"1.10",
        "structured_outputs": b'{"choice": ["a"]}',
    },
    "llamacpp": {"top_k": b"5", "min_p": b"0.05", "repeat_penalty": b"1.10", "grammar": rb'"root ::= \"a\""'},
}


@pytest.mark.parametrize("kind", KIND_FIELDS)
def test_a_kind_takes_what_its_users_rely_on_and_not_its_internals(engine: ScriptedServer, kind: str) -> None:
    sent = NEEDED[CHAT] | KIND_FIELDS[kind]
    with run_gateway(config_to(engine.base_url, kind=kind, structure={"check": False})) as gateway:
        assert ask(f"{gateway.base_url}/{CHAT}", body_of(sent)).status == 200
        body = engine.record.entries[-1].body
        assert body is not None
        assert {key: bytes(raw) for key, raw in FIELDS_OF.decode(body).items()} == sent
        for internal in ("priority", "cache_salt", "chat_template", "id_slot", "kv_transfer_params"):
            answer = ask(f"{gateway.base_url}/{CHAT}", body_of(NEEDED[CHAT] | {internal: b"1"}))
            assert (answer.status, answer.error["param"]) == (400, internal)


def test_the_operator_may_allow_a_field(engine: ScriptedServer) -> None:
    with run_gateway(config_to(engine.base_url, allow_fields=["priority"])) as gateway:
        assert ask(f"{gateway.base_url}/{CHAT}", body_of(NEEDED[CHAT] | {"priority": b"1.0"})).status == 200
    body = engine.record.entries[-1].body
    assert body is not None
    assert bytes(FIELDS_OF.decode(body)["priority"]) == b"1.0"


# ---------------------------------------------------------------------------------------------------------------- headers

TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=1,b=2"}
FOREIGN = {
    "authorization": "Bearer client-key",
    "api-key": "client-key",
    "x-api-key": "client-key",
    "cookie": "session=client-key",
    "proxy-authorization": "Basic client-key",
    "openai-organization": "org",
    "openai-project": "project",
    "x-request-id": "from-the-client",
    "x-forwarded-for": "10.0.0.1",
    "x-stainless-os": "Linux",
    "user-agent": "a client",
    "accept": "text/event-stream",
    "accept-encoding": "gzip",
    "te": "trailers",
    "x-anything": "else",
}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_of_the_clients_headers_only_the_trace_reaches_the_engine(
    gateway: Running, engine: ScriptedServer, endpoint: str
) -> None:
    ask(f"{gateway.base_url}/{endpoint}?api_key=client-key", body_of(NEEDED[endpoint]), {**FOREIGN, **TRACE})
    heard = engine.record.entries[-1]
    own = {"host", "accept-encoding", "content-type", "content-length", "authorization"}
    assert heard.headers.keys() == own | TRACE.keys()
    assert {name: heard.headers[name] for name in TRACE} == TRACE
    assert heard.headers["authorization"] == "Bearer engine-key"
    assert heard.headers["accept-encoding"] == "identity"
    assert "client-key" not in str(heard)


def test_without_a_key_of_its_own_the_engine_gets_none(in_front: Running, sayer: Canned) -> None:
    sayer.answer = whole(EMPTY)
    ask(f"{in_front.base_url}/{CHAT}", body_of(NEEDED[CHAT]), FOREIGN)
    assert sayer.heard[-1].headers.keys() == {b"host", b"accept-encoding", b"content-type", b"content-length"}
    assert sayer.heard[-1].line == b"POST /v1/chat/completions HTTP/1.1"


EMPTY = b'{"choices":[]}'
ENGINE_HEADERS = (
    b"set-cookie: secret=1",
    b"server: engine/9.9",
    b"x-request-id: the-engines-own",
    b"openai-organization: org",
    b"x-ratelimit-remaining-tokens: 7",
    b"access-control-allow-origin: *",
    b"server-timing: engine;dur=1",
    b"via: 1.1 internal-host",
    b"x-internal-host: 10.0.0.7",
)


@pytest.mark.parametrize("stream", [False, True])
def test_the_engines_headers_do_not_pass(in_front: Running, sayer: Canned, stream: bool) -> None:
    sayer.answer = streamed(STREAM_END, *ENGINE_HEADERS) if stream else whole(EMPTY, *ENGINE_HEADERS)
    more = {"stream": b"true"} if stream else {}
    answer = ask(f"{in_front.base_url}/{CHAT}", body_of(NEEDED[CHAT] | more))
    assert answer.status == 200
    own = {"date", "content-type", "x-request-id", "server-timing"}
    own |= {"x-tidegate-queue", "x-tidegate-rails", "x-tidegate-route"}
    framing = {"cache-control", "x-accel-buffering", "transfer-encoding"} if stream else {"content-length"}
    assert answer.headers.keys() == own | framing
    assert answer.headers["x-request-id"] != "the-engines-own"
    assert "engine;dur" not in answer.headers["server-timing"]
