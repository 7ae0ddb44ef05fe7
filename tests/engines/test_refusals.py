"""An engine's error of any shape is read field by field, and the same failure is the same error however it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.engines.refusals import Explanation, explanation, judge, wait_s
from tidegate.errors import GatewayError

INNER = {"message": "no", "type": "t_error", "code": "c_d", "param": "p"}
SHAPES: list[tuple[Any, Explanation]] = [
    ({"error": INNER}, Explanation("no", "p", "c_d", "t_error")),
    ({"error": "no"}, Explanation("no")),
    ([{"error": INNER}], Explanation("no", "p", "c_d", "t_error")),
    ([{"error": {"code": 400, "message": "no", "status": "INVALID"}}], Explanation("no", None, 400, "INVALID", 400)),
    ({"detail": "no"}, Explanation("no")),
    (
        {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "no", "type": "missing"}]},
        Explanation("no", "messages[0].role", None, "missing"),
    ),
    ({"detail": [{"msg": "a"}, {"msg": "b"}]}, Explanation("a; b")),
    ({"detail": {"error": "no", "code": "c_d"}}, Explanation("no", None, "c_d")),
    ({"errors": [{"message": "a", "code": 7}, {"message": "b"}]}, Explanation("a; b", None, 7)),
    ({"errors": ["a", "b"]}, Explanation("a; b")),
    ({"error": {"error": {"error": INNER}}}, Explanation("no", "p", "c_d", "t_error")),
    ({"error": {"message": INNER}}, Explanation("no", "p", "c_d", "t_error")),
    ({"error": {"message": json.dumps({"error": INNER}), "code": 400}}, Explanation("no", "p", "c_d", "t_error", 400)),
    ({"error": json.dumps({"detail": "no"})}, Explanation("no")),
    ({"error": {"message": {"text": 1}}}, Explanation('{"text":1}')),
    ({"error": {"message": ["a", "b"]}}, Explanation("a; b")),
    ({"object": "error", "message": "no", "code": 404}, Explanation("no", None, 404, None, 404)),
    ({"type": "error", "error": {"type": "t_error", "message": "no"}}, Explanation("no", None, None, "t_error")),
    ({"error": "Bad Request", "message": "no", "statusCode": 400}, Explanation("no", None, None, None, 400)),
    ({"error": "no", "error_type": "validation"}, Explanation("no", None, None, "validation")),
    ({"ERROR": {"Message": "no", "Code": "c_d"}}, Explanation("no", None, "c_d")),
    ({"error": {"message": "", "detail": "no", "code": "429"}}, Explanation("no", None, 429, None, 429)),
    (
        {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": '{"error":{"param":"p"}}'}}},
        Explanation("Provider returned error", "p", 400, None, 400),
    ),
    ({"error": {"code": "content_filter", "innererror": {"code": "Policy"}}}, Explanation(None, None, "content_filter")),
    ({"message": "line\nbreak\u0007"}, Explanation("line break")),
    ({"error": True}, Explanation()),
    ({}, Explanation()),
    ([], Explanation()),
    (17, Explanation()),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), SHAPES, ids=[json.dumps(body)[:60] for body, _ in SHAPES])
def test_every_shape_is_read(body: Any, expected: Explanation) -> None:
    found = explanation(json.dumps(body).encode())
    if expected.message is None and found.message is not None:
        assert found.message.startswith("{")  # an object in an unknown shape is told as it is
        found.message = None
    assert found == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"upstream connect error\r\n", "upstream connect error"),
        (b"<html><head><title>502 Bad\nGateway</title></head></html>", "502 Bad Gateway"),
        (b"<!DOCTYPE html><h1>Not here</h1>", "Not here"),
        (b"<html><body></body></html>", None),
        (b"", None),
        (b"\xff\xfe no text", "\ufffd\ufffd no text"),
        (b'{"error": "half', '{"error": "half'),
        (b'{"error": "lone \\ud83c half"}', "lone \ufffd half"),
        (b"x" * 5000, "x" * 2000),
    ],
)
def test_what_is_no_json_is_words(body: bytes, message: str | None) -> None:
    assert explanation(body).message == message


NAMES = tuple("error errors detail message msg code type param loc status metadata raw innererror x".split())  # noqa: SIM905

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "errors",
                    "detail",
                    "message",
                    "msg",
                    "code",
                    "type",
                    "param",
                    "loc",
                    "status",
                    "metadata",
                    "raw",
                    "innererror",
                    "x",
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON.map(json.dumps).map(str.encode) | st.binary(), st.none() | st.integers(300, 599))
@example(b"[" * 5000, 400)
@example(b'{"error":' * 900 + b"1" + b"}" * 900, 400)
def test_anything_is_read_and_judged(body: bytes, status: int | None) -> None:
    told = explanation(body)
    error = judge(status, told)
    assert 400 <= error.status < 600
    found = json.loads(error.body())["error"]
    assert isinstance(found["message"], str)
    assert found["message"]
    assert "\n" not in error.cause
    error.headers()


# ------------------------------------------------------------------------------------------- the same however it is told


def told_as(error: GatewayError) -> tuple[int, str]:
    return error.status, json.loads(error.body())["error"]["code"]


def judged(status: int | None, body: Any) -> GatewayError:
    return judge(status, explanation(json.dumps(body).encode()))


CONTEXT = (400, "context_length_exceeded")
QUOTA = (429, "insufficient_quota")
BUSY = (503, "engine_overloaded")
MODEL = (404, "model_not_found")
FAILED = (502, "engine_error")
JUDGED: list[tuple[int | None, Any, tuple[int, str]]] = [
    # too long
    (400, {"error": {"message": "x", "code": "context_length_exceeded"}}, CONTEXT),
    (None, {"error": {"message": "x", "code": "context_length_exceeded"}}, CONTEXT),
    (400, {"error": {"message": "x", "type": "exceed_context_size_error"}}, CONTEXT),
    (500, {"error": {"message": "the request exceeds the available context size"}}, CONTEXT),
    (400, {"object": "error", "message": "This model's maximum context length is 2048 tokens. However, you"}, CONTEXT),
    (400, {"error": "The decoder prompt (length 3000) is longer than the maximum model length of 2048."}, CONTEXT),
    (400, {"error": {"message": "Requested token count exceeds the model's maximum context length of 4096"}}, CONTEXT),
    (422, {"error": "`inputs` tokens + `max_new_tokens` must be <= 4096", "error_type": "validation"}, CONTEXT),
    (400, {"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}}, CONTEXT),
    (400, {"error": {"message": "The input (9 tokens) is longer than the model's context length (8 tokens)."}}, CONTEXT),
    (None, {"error": {"code": 400, "message": "input length exceeds the context length"}}, CONTEXT),
    # the model
    (404, {"error": "model 'x' not found, try pulling it first"}, MODEL),
    (404, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404}, MODEL),
    (404, {"error": {"message": "gone"}}, MODEL),
    (403, {"error": {"message": "no access", "code": "model_not_found"}}, MODEL),
    (400, {"error": {"message": "x", "code": "model_not_found"}}, MODEL),
    (None, {"error": {"message": "x", "code": "model_not_found"}}, MODEL),
    (404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist"}}, MODEL),
    # the path: the operator's
    (404, {"detail": "Not Found"}, (502, "engine_misconfigured")),
    (404, {"error": {"message": "Invalid URL (POST /v1/v1/chat/completions)"}}, (502, "engine_misconfigured")),
    (404, {}, (502, "engine_misconfigured")),
    (307, {}, (502, "engine_misconfigured")),
    # the account
    (429, {"error": {"message": "x", "type": "insufficient_quota", "code": "insufficient_quota"}}, QUOTA),
    (429, {"error": {"message": "You exceeded your current quota, please check your plan"}}, QUOTA),
    (400, {"error": {"type": "invalid_request_error", "message": "Your credit balance is too low"}}, QUOTA),
    (402, {"error": {"message": "Insufficient Balance"}}, QUOTA),
    (403, {"error": {"message": "x", "code": "billing_hard_limit_reached"}}, QUOTA),
    (None, {"error": {"message": "x", "code": "insufficient_quota"}}, QUOTA),
    # capacity
    (429, {"error": {"message": "x", "type": "tokens", "code": "rate_limit_exceeded"}}, BUSY),
    (503, {}, BUSY),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, BUSY),
    (500, {"error": {"type": "overloaded_error", "message": "Overloaded"}}, BUSY),
    (None, {"error": {"code": 503, "message": "x"}}, BUSY),
    (None, {"error": {"code": "429", "message": "x"}}, BUSY),
    (None, {"error": {"type": "rate_limit_error", "message": "x"}}, BUSY),
    (None, {"error": {"status": "RESOURCE_EXHAUSTED", "message": "x"}}, BUSY),
    (None, {"error": "The engine is currently busy"}, BUSY),
    # what clients act on
    (400, {"error": {"message": "x", "code": "content_filter"}}, (400, "content_filter")),
    (None, {"error": {"message": "x", "code": "content_filter"}}, (400, "content_filter")),
    (400, {"error": {"message": "x", "code": "unsupported_value"}}, (400, "unsupported_value")),
    (413, {"error": {"message": "x", "code": "rate_limit_exceeded"}}, (413, "engine_rejected_request")),
    (400, {"error": {"message": "x", "code": "some_code_of_its_own"}}, (400, "engine_rejected_request")),
    (422, {"detail": [{"loc": ["body"], "msg": "x", "type": "missing"}]}, (422, "engine_rejected_request")),
    (None, {"error": {"message": "x", "type": "invalid_request_error"}}, (400, "engine_rejected_request")),
    # credentials and the rest
    (401, {}, FAILED),
    (400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}], FAILED),
    (None, {"error": {"type": "authentication_error", "message": "x"}}, FAILED),
    (500, {"error": {"message": "boom"}}, FAILED),
    (None, {"error": {"message": "boom"}}, FAILED),
    (None, {"error": {"code": 500, "message": "too many requests"}}, FAILED),
    (504, {}, (504, "engine_timeout")),
    (None, {"error": {"message": "Request timed out."}}, (504, "engine_timeout")),
    (501, {}, (501, "not_supported")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "expected"), JUDGED, ids=[f"{s}-{json.dumps(b)[:50]}" for s, b, _ in JUDGED]
)
def test_code_type_status_and_words_are_judged_alike(
    status: int | None, body: Any, expected: tuple[int, str]
) -> None:
    assert told_as(judged(status, body)) == expected


@pytest.mark.parametrize(
    "phrase",
    [
        "This model's maximum context length is 2048 tokens. However, you requested 3000 tokens.",
        "request (3040 tokens) exceeds the available context size (2048 tokens), try increasing it",
    ],
)
def test_too_long_keeps_the_engines_phrase(phrase: str) -> None:
    assert judged(400, {"error": {"message": phrase}}).message == phrase


def test_what_never_succeeds_is_not_to_be_tried_again() -> None:
    for status, body in [
        (404, {"error": "model 'x' not found"}),
        (429, {"error": {"code": "insufficient_quota", "message": "x"}}),
        (404, {"detail": "Not Found"}),
        (400, {"error": {"message": "maximum context length is 5"}}),
    ]:
        assert (b"x-should-retry", b"false") in judged(status, body).headers()


# ------------------------------------------------------------------------------------------------------ when to come back

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({b"retry-after": b"7"}, 7.0),
        ({b"retry-after": b" 7 "}, 7.0),
        ({b"retry-after": b"0.25"}, 0.25),
        ({b"retry-after": b"1.5"}, 1.5),
        ({b"retry-after": b"Tue, 14 Nov 2023 22:13:30 GMT"}, 10.0),
        ({b"retry-after": b"Tuesday, 14-Nov-23 22:13:30 GMT"}, 10.0),
        ({b"retry-after": b"Tue Nov 14 22:13:30 2023"}, 10.0),
        ({b"retry-after": b"Tue, 14 Nov 2023 22:13:00 GMT"}, 0.0),
        ({b"retry-after": b"Wed, 15 Nov 2023 22:13:20 GMT"}, 60.0),
        ({b"retry-after": b"86400"}, 60.0),
        ({b"retry-after": b"9" * 5000}, 60.0),
        ({b"retry-after-ms": b"350"}, 0.35),
        ({b"retry-after-ms": b"350.5", b"retry-after": b"1"}, 0.3505),
        ({b"retry-after-ms": b"soon", b"retry-after": b"2"}, 2.0),
        ({b"retry-after": b"-5"}, None),
        ({b"retry-after": b"1_0"}, None),
        ({b"retry-after": b"nan"}, None),
        ({b"retry-after": b"soon"}, None),
        ({b"retry-after": b"\xff"}, None),
        ({b"retry-after": b""}, None),
        ({}, None),
    ],
)
def test_when_to_come_back(headers: dict[bytes, bytes], expected: float | None) -> None:
    assert wait_s(headers, NOW) == (pytest.approx(expected) if expected is not None else None)


@given(st.binary(max_size=40))
def test_any_retry_after_is_a_time_or_none(said: bytes) -> None:
    found = wait_s({b"retry-after": said}, NOW)
    assert found is None or 0 <= found <= 60
