"""The access log: a line for each call that has ended, as text or JSON, and nothing where it is off."""

from __future__ import annotations

import json
from typing import Any

import pytest
from canned import canned, streamed, whole
from records import a_call
from serving import ask, config_to, eventually, serve
from talking import chat, post

from tidegate.telemetry.access import AccessLog, Form
from tidegate.types import Record, Spent, Usage


def logged(record: Record, form: Form) -> str:
    written: list[str] = []
    AccessLog(form, lambda: 1_700_000_000.25, written.append).finished(record)
    (line,) = written
    assert line.endswith("\n")
    assert len(line.splitlines()) == 1
    return line.rstrip("\n")


def test_a_line_of_json_has_everything() -> None:
    record = a_call(peer="10.0.0.7", request_id="r-1", engine="gpu", waited_s=0.002)
    assert json.loads(logged(record, "json")) == {
        "time": "2023-11-14T22:13:20.250Z",
        "request_id": "r-1",
        "call": "x",
        "client": "10.0.0.7",
        "endpoint": "chat/completions",
        "model": "gpt-4o",
        "route": "gpt-*",
        "engine": "gpu",
        "purpose": "answer",
        "policy": "default",
        "key": "",
        "stream": True,
        "status": 200,
        "outcome": "ok",
        "duration_ms": 200.0,
        "waited_ms": 2.0,
        "ttft_ms": 60.0,
        "prompt_tokens": 7,
        "cached_tokens": 5,
        "completion_tokens": 11,
        "recalled": "",
    }


def test_a_continued_answer_has_one_prompt() -> None:
    parts = (
        Spent("answer", "gpu", "m", 1.0, 1.1, 1.2, outcome="engine_error", received_tokens=4),
        Spent("failed", "gpu", "m", 1.2, 0.0, 1.3, outcome="engine_unreachable"),
        Spent("continued", "gpu", "m", 1.3, 1.4, 1.5, Usage(11, 6)),
    )
    told = json.loads(logged(a_call(spent=parts), "json"))
    assert (told["prompt_tokens"], told["completion_tokens"]) == (7, 10)


def test_a_line_of_text_says_the_same_in_short() -> None:
    assert logged(a_call(engine="gpu", peer="10.0.0.7", outcome="engine_error", status=502), "text") == (
        '2023-11-14T22:13:20.250Z 10.0.0.7 x chat/completions "gpt-4o" engine=gpu 502 engine_error 200ms waited=0ms'
        " ttft=60ms tokens=7/11"
    )


@pytest.mark.parametrize("how", ["joined", "replayed"])
def test_a_call_that_got_the_answer_of_another_says_so(how: str) -> None:
    record = a_call(spent=(), engine="", recalled=how)
    assert json.loads(logged(record, "json"))["recalled"] == how
    assert f" engine={how} " in logged(record, "text")


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("model", ["a\nb", 'a" 200 ok', "a\u2028b", "\x1b[31m", "x" * 100_000])
def test_a_client_cannot_forge_a_line(form: Form, model: str) -> None:
    line = logged(a_call(model=model), form)
    assert line.isprintable()
    assert len(line) < 1000


def test_a_call_without_times_or_spending_is_told_too() -> None:
    record = a_call(spent=(), first_content_at=0.0, stream=False, model="", route="", status=400)
    found: dict[str, Any] = json.loads(logged(record, "json"))
    assert (found["ttft_ms"], found["completion_tokens"], found["status"]) == (None, 0, 400)


ENDED = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


def test_a_gateway_tells_each_call() -> None:
    with (
        canned(streamed(ENDED)) as engine,
        serve(config_to(engine.base_url, server={"access_log": "json"})) as process,
    ):
        post(process, chat(stream=True), x_request_id="first")  # type: ignore[arg-type]
        ask(f"{process.base_url}/chat/completions", b"{}", {"x-request-id": "second"})
        engine.answer = whole(b'{"error":"no"}', status=b"422 No")
        post(process, chat(), x_request_id="third")  # type: ignore[arg-type]
        eventually(lambda: '"third"' in process.log(), "the third line")
        found = [json.loads(line) for line in process.log().splitlines() if line.startswith("{")]
    told = [(one["request_id"], one["status"], one["outcome"]) for one in found]
    assert told == [
        ("first", 200, "ok"),
        ("second", 400, "invalid_request"),
        ("third", 422, "engine_rejected_request"),
    ]
    assert {one["client"] for one in found} == {"127.0.0.1"}


def test_it_is_off_unless_switched_on() -> None:
    with canned(streamed(ENDED)) as engine, serve(config_to(engine.base_url)) as process:
        post(process, chat(stream=True), x_request_id="first")  # type: ignore[arg-type]
        assert "first" not in process.log()
