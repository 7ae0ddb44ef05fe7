"""What becomes of an engine's failure: a status before the first byte, the last event after it."""

from __future__ import annotations

import json
import socket

import pytest
from serving import Running, config_to, eventually, run_gateway
from talking import chat, data_of, post, stream

from tidegate.engines.scripted.server import ScriptedServer

pytestmark = pytest.mark.usefixtures("idle")

STATUSES = [
    (400, 400, "engine_rejected_request"),
    (401, 502, "engine_error"),
    (403, 502, "engine_error"),
    (404, 404, "model_not_found"),
    (408, 504, "engine_timeout"),
    (413, 413, "engine_rejected_request"),
    (422, 422, "engine_rejected_request"),
    (429, 503, "engine_overloaded"),
    (500, 502, "engine_error"),
    (501, 501, "not_supported"),
    (502, 502, "engine_error"),
    (503, 503, "engine_overloaded"),
    (504, 504, "engine_timeout"),
    (529, 502, "engine_error"),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("engines", "ours", "code"), STATUSES)
def test_an_engines_status_becomes_ours(
    gateway: Running, engines: int, ours: int, code: str, streamed: bool
) -> None:
    answer = post(gateway, chat(f"fault=error_status status={engines} retry_after=7", stream=streamed))
    assert answer.status == ours
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.error) == {"message", "type", "code", "param"}
    assert answer.error["code"] == code
    assert answer.headers.get("retry-after") == ("7" if ours == 503 else None)
    never = ours in (400, 404, 413, 422, 501)
    assert answer.headers.get("x-should-retry") == ("false" if never else None)
    # Only what the client can mend is told in the engine's own words.
    assert (answer.error["message"] == "scripted failure") == (code == "engine_rejected_request")


BEFORE = ["close@0", "reset@0", "garbage", "error_event@0", "cut_json@0", "cut_utf8@0"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("fault", BEFORE)
def test_a_failure_before_the_first_byte_is_a_status(gateway: Running, fault: str, streamed: bool) -> None:
    answer = post(gateway, chat(f"fault={fault}", stream=streamed))
    assert (answer.status, answer.error["code"]) == (502, "engine_error")


AFTER = ["close@2", "reset@2", "error_event@2", "cut_json@2", "cut_utf8@2", "truncated_body@2", "no_finish"]


@pytest.mark.parametrize("fault", AFTER)
def test_a_failure_after_the_first_byte_is_the_last_event(gateway: Running, fault: str) -> None:
    answer = post(gateway, stream(f"fault={fault} itl=5"))
    assert answer.status == 200
    *events, last = data_of(answer.body)
    assert [event for event in events if b'"choices"' not in event] == []
    error = json.loads(last)["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert error["code"] == "engine_error"
    assert b"[DONE]" not in answer.body
    assert "scripted failure" not in error["message"]


def test_no_engine_at_all_is_503() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with run_gateway(config_to(url)) as gateway:
            answer = post(gateway, chat())
    assert (answer.status, answer.error["code"]) == (503, "engine_unreachable")
    assert answer.headers["retry-after"] == "1"


def test_an_engine_that_is_silent_is_504(engine: ScriptedServer) -> None:
    with run_gateway(config_to(engine.base_url, timeouts={"first_byte_ms": 150, "idle_ms": 150})) as gateway:
        answer = post(gateway, chat("fault=stall@0"))
        assert (answer.status, answer.error["code"]) == (504, "engine_timeout")
        assert answer.error["type"] == "timeout_error"
        body = post(gateway, stream("fault=stall@2")).body
    assert json.loads(data_of(body)[-1])["error"]["code"] == "engine_timeout"
    assert b"[DONE]" not in body


def test_the_deadline_is_504_before_the_first_byte_and_an_event_after(engine: ScriptedServer) -> None:
    with run_gateway(config_to(engine.base_url, server={"call_deadline_s": 0.25})) as gateway:
        answer = post(gateway, chat("ttft=60000"))
        assert (answer.status, answer.error["type"]) == (504, "timeout_error")
        body = post(gateway, stream("tokens=2 itl=60000")).body
    *events, last = data_of(body)
    assert events
    assert json.loads(last)["error"]["type"] == "timeout_error"
    eventually(lambda: engine.record.in_flight == 0, "the engine is free")


def test_the_deadline_counts_the_wait_for_a_slot(engine: ScriptedServer) -> None:
    with run_gateway(config_to(engine.base_url, server={"call_deadline_s": 0.2}, max_in_flight=1)) as gateway:
        (running,) = gateway.gateway.runtime.engines()
        assert running.seats.try_take()
        before = engine.record.requests
        answer = post(gateway, chat())
        assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
        assert engine.record.requests == before
        assert running.seats.waiting == 0
