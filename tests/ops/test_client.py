"""One request against a real server on a socket: what is timed, counted and called an error."""

from __future__ import annotations

import json
import time

import pytest
from canned import canned, streamed, whole

from tidegate.egress.exchange import Timeouts
from tidegate.egress.pool import HttpClient
from tidegate.engines.scripted.script import Script
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread
from tidegate.ops.load.client import Ask, ChatClient
from tidegate.ops.load.prompts import Prompt, _prompt

pytestmark = pytest.mark.anyio


async def ask(url: str, text: str = "hello", *, max_tokens: int | None = None, keep: bool = False, **how):
    limit = how.get("timeout_s", 20.0)
    client = HttpClient(url, Timeouts(5.0, limit, limit, limit), max_connections=4)
    try:
        asker = ChatClient(client, Ask(model="scripted", **how), clock=time.perf_counter)
        prompt: Prompt = _prompt([{"role": "user", "content": text}], max_tokens)
        return await asker.ask(prompt, time.perf_counter(), keep=keep)
    finally:
        await client.close()


@pytest.fixture(scope="module")
def server():
    with run_in_thread(ScriptedServer(script=Script(tokens=6))) as running:
        yield running


async def test_every_token_is_a_moment_and_usage_counts(server):
    sample, text = await ask(f"{server.url}/v1", "a b c", keep=True)
    assert (sample.error, len(sample.contents), sample.output_tokens, sample.prompt_tokens) == ("", 6, 6, 3)
    assert sample.counted
    assert len(text.split()) == 6
    assert sample.due <= sample.sent <= sample.contents[0] <= sample.contents[-1] <= sample.done


async def test_cached_tokens_and_reasoning_count_too(server):
    text = "[[scripted tokens=2 reasoning=3 prompt_tokens=40 cached_tokens=30]]"
    sample, _ = await ask(f"{server.url}/v1", text)
    assert (sample.prompt_tokens, sample.cached_tokens, len(sample.contents)) == (40, 30, 5)


async def test_a_tool_call_is_content(server):
    sample, _ = await ask(f"{server.url}/v1", "[[scripted tool=look arguments='{}' tokens=2]]")
    assert sample.ok
    assert sample.contents


async def test_an_answer_that_is_not_streamed_has_counts_and_no_moments(server):
    sample, text = await ask(f"{server.url}/v1", stream=False, keep=True)
    assert (sample.error, list(sample.contents), sample.output_tokens) == ("", [], 6)
    assert len(text.split()) == 6


async def test_the_limit_and_further_fields_are_sent(server):
    sample, _ = await ask(f"{server.url}/v1", max_tokens=2, fields={"temperature": 0})
    assert sample.output_tokens == 2


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("close@3", "broken_off"),
        ("reset@3", "broken_off"),
        ("cut_utf8@3", "truncated"),
        ("cut_json@3", "bad_answer"),
        ("missing_done", "truncated"),
        ("error_event@3", "error_event"),
        ("error_status", "http_503"),
        ("garbage", "truncated"),
        ("stall@3", "timeout"),
    ],
)
async def test_each_fault_has_its_name_and_none_passes_for_an_answer(server, fault, error):
    sample, _ = await ask(f"{server.url}/v1", f"[[scripted fault={fault}]]", timeout_s=0.5)
    assert sample.error == error
    assert sample.detail


async def test_a_refusal_is_told_in_the_servers_own_words():
    body = json.dumps({"error": {"message": "Too many requests", "code": "rate_limit_exceeded"}}).encode()
    answer = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    with canned(answer) as engine:
        sample, _ = await ask(engine.base_url)
    assert (sample.error, sample.detail) == ("http_429", "Too many requests (rate_limit_exceeded)")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('{"detail":"Not Found"}', "Not Found"),
        ('{"object":"error","message":"No such model"}', "No such model"),
        ('{"detail":[{"msg":"model: missing"}]}', "model: missing"),
        ("<h1>Not here</h1>", "Not here"),
        ("", "no message"),
    ],
)
async def test_a_refusal_of_another_form_is_told_too(said, told):
    with canned(whole(said.encode(), status=b"404 Not Found")) as engine:
        sample, _ = await ask(engine.base_url)
    assert (sample.error, sample.detail) == ("http_404", told)


async def test_a_server_that_does_not_stream_is_told_apart_from_a_broken_stream():
    with canned(whole(b'{"error": {"message": "queue full"}}')) as engine:
        sample, _ = await ask(engine.base_url)
    assert sample.error == "not_a_stream"
    assert "queue full" in sample.detail


async def test_usage_may_be_null_and_hold_nulls():
    events = b'data: {"choices": [{"delta": {"content": "a"}}], "usage": null, "error": null}\n\n'
    events += b': keep-alive\n\ndata: {"choices": [], "usage": {"prompt_tokens": null}}\n\ndata: [DONE]\n\n'
    with canned(streamed(events)) as engine:
        sample, _ = await ask(engine.base_url)
    assert (sample.error, sample.output_tokens, sample.counted) == ("", 1, False)


async def test_nobody_there_is_no_connection():
    sample, _ = await ask("http://127.0.0.1:9/v1")
    assert sample.error == "no_connection"


async def test_without_usage_chunks_are_counted():
    events = [{"choices": [{"delta": {"content": word}}]} for word in ("one", " two", "")]
    body = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(body)
    with canned(head + body) as engine:
        sample, _ = await ask(engine.base_url)
    assert (sample.error, sample.output_tokens, sample.counted) == ("", 2, False)


async def test_a_model_that_knows_the_limit_by_its_newer_name_only_gets_it_so():
    told = b"Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    refusal = json.dumps({"error": {"message": told.decode()}}).encode()
    answers = iter([whole(refusal, status=b"400 Bad Request"), streamed(b"data: [DONE]\n\n")])
    with canned(lambda connection: connection.sendall(next(answers))) as engine:
        sample, _ = await ask(engine.base_url, max_tokens=7)
        first, second = (json.loads(heard.body) for heard in engine.heard)
    assert sample.error == ""
    assert (first["max_tokens"], "max_completion_tokens" in first) == (7, False)
    assert (second["max_completion_tokens"], "max_tokens" in second) == (7, False)


@pytest.mark.parametrize(
    "data",
    [
        b'{"choices":[{"delta":{"content":"\xff\xfe"}}]}',
        b'{"choices":[{"delta":{"tool_calls":' + b"[" * 5000 + b"]" * 5000 + b"}}]}",
        b'{"choices":"none"}',
    ],
)
async def test_an_event_that_nobody_can_read_is_one_bad_answer_and_not_the_end_of_the_run(data):
    with canned(streamed(b"data: " + data + b"\n\ndata: [DONE]\n\n")) as engine:
        sample, _ = await ask(engine.base_url)
    assert sample.error == "bad_answer"
