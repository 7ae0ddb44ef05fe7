"""What an engine says when it fails, as the client hears it: its words, its code, and whether to try again."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from canned import Canned, canned, streamed, whole
from openai import OpenAI
from serving import Answer, Running, ask, config_to, run_gateway
from talking import CHAT, COMPLETIONS, EMBEDDINGS, NEEDED, body_of, chat, data_of, post

WORDS: Any = [{"role": "user", "content": "x"}]


def says(body: Any, *headers: bytes, status: bytes = b"400 Bad Request") -> bytes:
    return whole(json.dumps(body).encode(), *headers, status=status)


def never(answer: Answer) -> bool:
    return answer.headers.get("x-should-retry") == "false"


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        ({"error": {"message": "no", "param": "seed"}}, "no", "seed"),
        ({"error": "no"}, "no", None),
        ([{"error": {"message": "no"}}], "no", None),
        ({"detail": [{"loc": ["body", "seed"], "msg": "no", "type": "int"}]}, "no", "seed"),
        ({"detail": "no"}, "no", None),
        ({"errors": [{"message": "no"}]}, "no", None),
        ({"error": {"error": {"message": "no"}}}, "no", None),
        ({"error": {"message": {"detail": "no"}}}, "no", None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_the_clients_mistake_in_the_engines_words(
    in_front: Running, sayer: Canned, body: Any, message: str, param: str | None, stream: bool
) -> None:
    sayer.answer = says(body)
    answer = post(in_front, chat(stream=stream))
    assert (answer.status, answer.error["message"], answer.error["param"]) == (400, message, param)
    assert never(answer)


def test_plain_text_is_the_engines_words_too(in_front: Running, sayer: Canned) -> None:
    sayer.answer = whole(b"temperature must be below 2\n", status=b"422 No")
    answer = post(in_front, chat())
    assert (answer.status, answer.error["message"]) == (422, "temperature must be below 2")


@pytest.mark.parametrize("code", ["content_filter", "unsupported_value", "invalid_image_url"])
def test_codes_that_clients_act_on_pass(in_front: Running, sayer: Canned, code: str) -> None:
    sayer.answer = says({"error": {"message": "no", "code": code}})
    assert post(in_front, chat()).error["code"] == code


@pytest.mark.parametrize("kind", ["openai", "vllm", "sglang", "llamacpp"])
@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (
            {"error": {"code": 400, "type": "exceed_context_size_error", "message": "request (30 tokens) exceeds the"
             " available context size (20 tokens), try increasing it"}},
            "exceeds the available context size",
        ),
        (
            {"object": "error", "message": "This model's maximum context length is 20 tokens. However, you requested 30"},
            "maximum context length is 20 tokens",
        ),
    ],
)  # fmt: skip
def test_too_long_is_told_as_openai_tells_it(kind: str, said: Any, kept: str) -> None:
    with canned(says(said)) as engine, run_gateway(config_to(engine.base_url, kind=kind)) as gateway:
        answer = post(gateway, chat())
        assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
        assert kept in answer.error["message"]
        assert "increas" not in answer.error["message"] or kind != "llamacpp"
        engine.answer = streamed(b"data: " + json.dumps(said).encode() + b"\n\n")
        answer = post(gateway, chat(stream=True))
        assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")


# ------------------------------------------------------------------------------------------------- a model that is not the

NO_MODEL = says({"error": {"message": "The model `m` does not exist"}}, status=b"404 Not Found")


def ask_with_the_sdk(gateway: Running) -> None:
    with OpenAI(base_url=gateway.base_url, api_key="k", max_retries=2, timeout=20) as client:
        client.chat.completions.create(model="m", messages=WORDS)


def test_a_model_that_the_client_named_is_404_and_asked_for_once() -> None:
    with canned(NO_MODEL) as engine, run_gateway(config_to(engine.base_url)) as gateway:
        with pytest.raises(openai.NotFoundError) as raised:
            ask_with_the_sdk(gateway)
        assert len(engine.heard) == 1
    assert raised.value.code == "model_not_found"
    assert "The model `m` does not exist" in raised.value.message


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS, EMBEDDINGS])
def test_so_it_is_at_every_endpoint(in_front: Running, sayer: Canned, endpoint: str) -> None:
    sayer.answer = NO_MODEL
    answer = ask(f"{in_front.base_url}/{endpoint}", body_of(NEEDED[endpoint]))
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")
    assert never(answer)


def test_a_model_that_the_configuration_names_is_the_operators_and_asked_for_once() -> None:
    with canned(NO_MODEL) as engine:
        tree = json.loads(config_to(engine.base_url))
        tree["models"] = {"m": {"deployments": [{"engine": "upstream", "model": "other"}]}}
        with run_gateway(json.dumps(tree)) as gateway:
            with pytest.raises(openai.APIStatusError) as raised:
                ask_with_the_sdk(gateway)
            assert len(engine.heard) == 1
    assert (raised.value.status_code, raised.value.code) == (502, "engine_misconfigured")
    assert "models.m" in raised.value.message


def test_a_path_that_the_engine_does_not_have_is_the_operators(in_front: Running, sayer: Canned) -> None:
    sayer.answer = says({"detail": "Not Found"}, status=b"404 Not Found")
    answer = post(in_front, chat())
    assert (answer.status, answer.error["code"]) == (502, "engine_misconfigured")
    assert never(answer)


# -------------------------------------------------------------------------------------------------------- an empty account

NO_QUOTA = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}


@pytest.mark.parametrize(
    "said",
    [
        says(NO_QUOTA, status=b"429 Too Many Requests"),
        says({"error": {"message": "Insufficient Balance"}}, status=b"402 Payment Required"),
        says({"error": {"message": "Your credit balance is too low to access the API"}}),
        whole(json.dumps(NO_QUOTA).encode()),
    ],
)
def test_an_empty_account_reaches_the_client_once_and_counts_as_the_engines(said: bytes) -> None:
    with canned(said) as engine, run_gateway(config_to(engine.base_url)) as gateway:
        with pytest.raises(openai.RateLimitError) as raised:
            ask_with_the_sdk(gateway)
        assert len(engine.heard) == 1
        page = ask(f"{gateway.url}/metrics", method="GET").body.decode()
    assert raised.value.code == "insufficient_quota"
    assert 'engine="upstream",model="*",outcome="insufficient_quota"} 1.0' in page


# --------------------------------------------------------------------------------------- errors that come with status 200

INSIDE: list[tuple[Any, int, str]] = [
    ({"error": {"message": "x", "code": 429}}, 503, "engine_overloaded"),
    ({"error": {"message": "x", "code": "rate_limit_exceeded"}}, 503, "engine_overloaded"),
    ({"error": {"message": "x", "type": "overloaded_error"}}, 503, "engine_overloaded"),
    ({"error": {"message": "The engine is currently overloaded"}}, 503, "engine_overloaded"),
    ({"error": {"message": "x", "type": "invalid_request_error"}}, 400, "engine_rejected_request"),
    ({"error": {"message": "maximum context length is 4 tokens"}}, 400, "context_length_exceeded"),
    ({"error": "model 'm' not found"}, 404, "model_not_found"),
    ({"object": "error", "message": "x", "code": 400}, 400, "engine_rejected_request"),
    ({"detail": "out of memory"}, 502, "engine_error"),
    ({"error": {"message": "out of memory"}}, 502, "engine_error"),
]


@pytest.mark.parametrize(("said", "status", "code"), INSIDE)
@pytest.mark.parametrize(
    "form", ["whole", "first event", "named event", "JSON for a stream", "JSON on lines"]
)
def test_an_error_inside_a_200_is_the_same_error(
    in_front: Running, sayer: Canned, said: Any, status: int, code: str, form: str
) -> None:
    body = json.dumps(said).encode()
    sayer.answer = {
        "whole": whole(body),
        "first event": streamed(b": hi\n\ndata: " + body + b"\n\ndata: [DONE]\n\n"),
        "named event": streamed(b"event: error\ndata: " + body + b"\n\n"),
        "JSON for a stream": whole(body),
        "JSON on lines": streamed(json.dumps(said, indent=1).replace("\n", "\n\n").encode() + b"\n\n"),
    }[form]
    answer = post(in_front, chat(stream=form != "whole"))
    assert (answer.status, answer.error["code"]) == (status, code)


def test_a_whole_answer_is_no_stream(in_front: Running, sayer: Canned) -> None:
    sayer.answer = whole(b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}')
    answer = post(in_front, chat(stream=True))
    assert (answer.status, answer.error["code"]) == (502, "engine_error")
    assert "in place of a stream" in answer.error["message"]


def test_an_error_in_the_middle_of_a_stream_has_its_code(in_front: Running, sayer: Canned) -> None:
    begun = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
    sayer.answer = streamed(begun + b'data: {"error":{"message":"x","code":"content_filter"}}\n\n')
    first, last = data_of(post(in_front, chat(stream=True)).body)
    assert b"Hi" in first
    assert json.loads(last)["error"]["code"] == "content_filter"


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ((b"retry-after: 7",), "7"),
        ((b"retry-after: 1.5",), "2"),
        ((b"retry-after-ms: 2500",), "3"),
        ((b"retry-after-ms: 2500", b"retry-after: 60"), "3"),
        ((b"retry-after: Fri, 31 Dec 2100 23:59:59 GMT",), "60"),
        ((b"retry-after: Fri, 31 Dec 1999 23:59:59 GMT",), "1"),
        ((b"retry-after: later",), "1"),
        ((), "1"),
    ],
)
def test_when_to_come_back_in_every_form(
    in_front: Running, sayer: Canned, headers: tuple[bytes, ...], told: str
) -> None:
    sayer.answer = says({}, *headers, status=b"429 Too Many Requests")
    answer = post(in_front, chat())
    assert (answer.status, answer.headers["retry-after"]) == (503, told)


@pytest.mark.parametrize("size", [70_000, 3_000_000])
def test_a_refusal_on_a_long_page_keeps_its_status(in_front: Running, sayer: Canned, size: int) -> None:
    sayer.answer = whole(b"<title>Request Entity Too Large</title>" + b" " * size, status=b"413 Too Large")
    answer = post(in_front, chat())
    assert (answer.status, answer.error["message"]) == (413, "Request Entity Too Large")


def test_a_refusal_whose_body_breaks_off_keeps_its_status(in_front: Running, sayer: Canned) -> None:
    sayer.answer = lambda connection: connection.sendall(
        b'HTTP/1.1 422 No\r\ncontent-length: 999\r\n\r\n{"detail"'
    )
    assert post(in_front, chat()).status == 422
