"""What a client meets on the wire: streams and their silence, errors before and after the first byte, leaving, limits."""

from __future__ import annotations

import json
import logging
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from serving import Answer, Running, Wire, ask, canned, config_to, eventually, run_gateway, whole, wire

from tidegate.engines.script import Script
from tidegate.engines.scripted_server import ScriptedServer, run_in_thread
from tidegate.kernel.sse import SseReader

CHAT = "chat/completions"
FREED_MS = 250
KEEP_ALIVE_S = 0.15
MAX_BODY_BYTES = 64 * 1024 * 1024


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=Script(text="The tide turns.", tokens=3))) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(engine: ScriptedServer) -> Iterator[Running]:
    server = {"sse_keep_alive_s": KEEP_ALIVE_S, "max_body_bytes": MAX_BODY_BYTES}
    with run_gateway(config_to(engine.base_url, server=server)) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def idle(engine: ScriptedServer) -> None:
    """Each test begins with an engine that nobody uses."""
    eventually(lambda: engine.record.in_flight == 0, "the engine is free")


def chat(marker: str = "", **more: Any) -> bytes:
    text = f"[[scripted {marker}]]"
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **more}).encode()


def stream(marker: str = "", **more: Any) -> bytes:
    return chat(marker, stream=True, **more)


def post(gateway: Running, body: bytes, endpoint: str = CHAT, **headers: str) -> Answer:
    return ask(
        f"{gateway.base_url}/{endpoint}", body, {name.replace("_", "-"): v for name, v in headers.items()}
    )


def data_of(body: bytes) -> list[bytes]:
    reader = SseReader()
    events = reader.feed(body)
    assert reader.rest == b""
    return [event.data for event in events if event.data is not None]


def said(body: bytes) -> str:
    """The text of a whole stream; fails unless it ends as it must."""
    *events, done = data_of(body)
    assert done == b"[DONE]"
    return "".join(json.loads(event)["choices"][0]["delta"].get("content", "") for event in events)


# ----------------------------------------------------------------------------------------------------------------- writes


def test_events_that_arrive_together_leave_together(gateway: Running) -> None:
    """A chunk of the response is one write: fifty events in one, the end of the stream in another."""
    with wire(gateway.url) as client:
        client.post(stream(f"tokens=48 text='{'x' * 48}' burst=1"))
        client.read_head()
        first, last = client.read_chunks()
    assert len(data_of(first)) == 50
    assert data_of(last) == [b"[DONE]"]


def test_the_head_leaves_with_the_first_event(gateway: Running) -> None:
    """One segment on the wire, so one read: 50 reads in a row would not find them together by luck."""
    for _ in range(50):
        with wire(gateway.url) as client:
            client.post(stream("tokens=2 itl=5"))
            head, found, body = client.read().partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert found
            assert b"data: {" in body


def test_an_event_leaves_before_the_next_arrives(gateway: Running, engine: ScriptedServer) -> None:
    with wire(gateway.url) as client:
        client.post(stream("text=ab tokens=2 itl=60000"))
        client.read_head()
        assert json.loads(data_of(client.read_chunk())[-1])["choices"][0]["delta"]["content"] == "a"
        assert engine.record.in_flight == 1


def test_a_silent_stream_is_kept_alive_by_comments(gateway: Running) -> None:
    with wire(gateway.url) as client:
        client.post(stream("ttft=400 itl=400 text=ab tokens=2"))
        status, headers = client.read_head()
        assert status == 200
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert "server-timing" in headers
        chunks = client.read_chunks()
    comments = [number for number, chunk in enumerate(chunks) if chunk == b": keep-alive\n\n"]
    said_at = [
        number
        for number, chunk in enumerate(chunks)
        if b'"content":"' in chunk and b'"content":""' not in chunk
    ]
    first = next(number for number, chunk in enumerate(chunks) if b"data: " in chunk)
    assert comments[0] < first
    assert any(first < number < said_at[-1] for number in comments)
    assert said(b"".join(chunks)) == "ab"


def test_a_stream_that_flows_has_no_comments(engine: ScriptedServer) -> None:
    """Longer than the silence after which a comment would come, and never silent for so long."""
    with run_gateway(config_to(engine.base_url, server={"sse_keep_alive_s": 0.4})) as gateway:
        body = post(gateway, stream(f"text={'x' * 60} tokens=60 itl=10")).body
    assert said(body) == "x" * 60
    assert b"keep-alive" not in body


def test_an_engines_own_comments_stay_behind(gateway: Running) -> None:
    answer = post(gateway, stream("comment=1"))
    assert b": ping" not in answer.body
    assert said(answer.body) == "The tide turns."


# ---------------------------------------------------------------------------------------------------------------- headers

OWN_ID = re.compile(r"req_[0-9a-f]{16,}")


def replies(gateway: Running) -> dict[str, Answer]:
    """One reply of every sort."""
    url = gateway.base_url
    return {
        "chat": post(gateway, chat()),
        "stream": post(gateway, stream()),
        "silent stream": post(gateway, stream("ttft=300")),
        "embeddings": post(gateway, b'{"model":"m","input":"a"}', "embeddings"),
        "broken stream": post(gateway, stream("fault=close@1")),
        "bad request": post(gateway, b"{}"),
        "engine error": post(gateway, chat("fault=error_status status=500")),
        "too large": ask(f"{url}/{CHAT}", b"{}", {"content-length": "999999999"}),
        "wrong type": post(gateway, b"{}", content_type="text/plain"),
        "wrong method": ask(f"{url}/{CHAT}", method="GET"),
        "no such path": ask(f"{gateway.url}/nowhere", method="GET"),
        "models": ask(f"{url}/models", method="GET"),
        "health": ask(f"{gateway.url}/healthz", method="GET"),
        "metrics": ask(f"{gateway.url}/metrics", method="GET"),
        "admin": ask(f"{gateway.url}/admin/reload"),
    }


def test_every_reply_has_an_id_of_its_own_and_its_time(gateway: Running) -> None:
    found = replies(gateway)
    ids = [answer.headers["x-request-id"] for answer in found.values()]
    assert [request_id for request_id in ids if not OWN_ID.fullmatch(request_id)] == []
    assert len(set(ids)) == len(ids)
    timings = {name: answer.headers.get("server-timing", "") for name, answer in found.items()}
    assert {
        name: timing for name, timing in timings.items() if not re.search(r"total;dur=\d+\.\d{3}$", timing)
    } == {}


@pytest.mark.parametrize("given", ["abc", "req:1-2_3.4", "x" * 128])
def test_a_clients_own_id_is_kept(gateway: Running, given: str) -> None:
    assert post(gateway, chat(), x_request_id=given).headers["x-request-id"] == given
    assert post(gateway, stream(), x_request_id=given).headers["x-request-id"] == given
    assert post(gateway, b"{}", x_request_id=given).headers["x-request-id"] == given


@pytest.mark.parametrize(
    "given", ["", "x" * 129, "a b", "a;b", 'a"b', "<script>", "a\tb", "é", "a/b", "{}", "%00"]
)
def test_a_malformed_id_is_replaced(gateway: Running, given: str) -> None:
    assert OWN_ID.fullmatch(post(gateway, chat(), x_request_id=given).headers["x-request-id"])


def test_a_figure_for_every_stage(gateway: Running) -> None:
    timing = post(gateway, chat("ttft=30")).headers["server-timing"]
    figures = {name: float(value) for name, value in re.findall(r"(\w+);dur=([\d.]+)", timing)}
    assert list(figures) == ["account", "route", "attempt", "total"]
    assert figures["total"] >= 30
    assert figures["total"] == pytest.approx(
        figures["account"] + figures["route"] + figures["attempt"], abs=1
    )


def test_the_last_comment_of_a_stream_tells_its_times(gateway: Running) -> None:
    body = post(gateway, stream("ttft=30 itl=10 tokens=3")).body
    found = re.search(
        rb"\n\n: server-timing: ttft;dur=([\d.]+), itl;dur=([\d.]+), total;dur=([\d.]+)\n\ndata: \[DONE\]\n\n$",
        body,
    )
    assert found, body
    ttft, itl, total = map(float, found.groups())
    assert 30 <= ttft <= total
    assert itl >= 8
    assert total >= 50


# ----------------------------------------------------------------------------------------------------------------- errors

STATUSES = [
    (400, 400, "engine_rejected_request"),
    (401, 502, "engine_error"),
    (403, 502, "engine_error"),
    (404, 502, "engine_error"),
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
    never = ours in (400, 413, 422, 501)
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
        gateway.run(running.slots.take(1))
        before = engine.record.requests
        answer = post(gateway, chat())
        assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
        assert engine.record.requests == before
        assert running.slots.waiting == 0


# ---------------------------------------------------------------------------------------------------------------- leaving


def left_at(client: Wire, *, reset: bool) -> float:
    if reset:
        client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.connection.close()
    return time.monotonic()


LEAVING = {
    "in mid-stream": stream("tokens=1000 itl=10"),
    "in a pause of the stream": stream("tokens=2 itl=60000"),
    "before the first token": stream("ttft=60000"),
    "before a whole answer": chat("ttft=60000"),
    "before the end of a whole answer": chat("tokens=100 itl=1000"),
    "before an embedding": b'{"model":"m","input":"[[scripted ttft=60000]]"}',
}


def leave(gateway: Running, engine: ScriptedServer, moment: str, *, reset: bool) -> float:
    """A client comes and leaves; how long after that the engine was told, in milliseconds."""
    before = engine.record.cancelled
    with wire(gateway.url) as client:
        client.post(LEAVING[moment], path="/v1/embeddings" if "embedding" in moment else f"/v1/{CHAT}")
        eventually(lambda: engine.record.in_flight == 1, "the engine works")
        if "stream" in moment:
            client.read_head()
        left = left_at(client, reset=reset)
    eventually(lambda: engine.record.cancelled == before + 1, "the engine is told")
    return (engine.record.cancelled_at[-1] - left) * 1000


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("moment", LEAVING)
def test_a_client_that_leaves_frees_the_engine(
    gateway: Running, engine: ScriptedServer, moment: str, reset: bool
) -> None:
    """A machine that is busy with something else may delay one of three, the gateway none."""
    took_ms = [leave(gateway, engine, moment, reset=reset)]
    while took_ms[-1] > FREED_MS and len(took_ms) < 3:
        took_ms.append(leave(gateway, engine, moment, reset=reset))
    assert min(took_ms) <= FREED_MS
    eventually(lambda: not gateway.gateway.live and gateway.gateway.snapshot.calls == 0, "the call is over")


def test_a_client_that_leaves_the_line_takes_no_slot(engine: ScriptedServer) -> None:
    with run_gateway(config_to(engine.base_url, max_in_flight=1)) as gateway:
        (running,) = gateway.gateway.runtime.engines()
        with wire(gateway.url) as first, wire(gateway.url) as second:
            first.post(stream("tokens=2 itl=60000"))
            first.read_head()
            before = engine.record.requests
            second.post(chat())
            eventually(lambda: running.slots.waiting == 1, "the second waits")
            second.connection.close()
            eventually(lambda: running.slots.waiting == 0, "the second has left the line")
        eventually(lambda: running.slots.in_flight == 0, "the slot is free")
        assert engine.record.requests == before
        assert post(gateway, chat()).status == 200


def test_clients_that_leave_at_any_moment_leave_nothing_behind(
    gateway: Running, engine: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """No call, no slot, and not a word of it in the log: leaving is no fault of anybody."""

    def come_and_go(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(25):
            with wire(gateway.url) as client:
                marker = f"tokens={chance.choice([5, 50, 200])} itl={chance.choice([0, 1])}"
                client.post(chat(marker, stream=chance.random() < 0.7))
                time.sleep(chance.random() * 0.04)
                left_at(client, reset=chance.random() < 0.5)

    threads = [threading.Thread(target=come_and_go, args=(seed,)) for seed in range(8)]
    with caplog.at_level(logging.WARNING):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        eventually(lambda: engine.record.in_flight == 0 and not gateway.gateway.live, "all is over")
    assert gateway.gateway.snapshot.calls == 0
    (running,) = gateway.gateway.runtime.engines()
    assert running.slots.in_flight == 0
    assert [record.getMessage() for record in caplog.records] == []


# -------------------------------------------------------------------------------------------------------- a client too slow

OFFERED_BYTES = 64 * 2**20
HELD_BYTES = 24 * 2**20
"""What kernel buffers on four sockets and ours may take; without a bound the gateway would take all that is offered."""


def test_a_slow_reader_makes_the_engine_wait() -> None:
    event = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 16_000)
    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    count = OFFERED_BYTES // len(event)
    sent = [0]

    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        for _ in range(count):
            connection.sendall(event)
            sent[0] += len(event)
        connection.sendall(end)

    with (
        canned(pour) as engine,
        run_gateway(config_to(engine.base_url, server={"sse_keep_alive_s": 0.05})) as gateway,
        wire(gateway.url, receive_buffer=8192) as client,
    ):
        client.post(stream())
        client.read_head()
        still = 0
        while still < 10:  # until nothing has moved for half a second
            before = sent[0]
            time.sleep(0.05)
            still = still + 1 if sent[0] == before else 0
        assert 0 < sent[0] <= HELD_BYTES
        client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 2**20)
        body = b"".join(client.read_chunks())
    assert body.count(b"data: {") == count + 1
    assert body.endswith(b"data: [DONE]\n\n")
    # Not reading is not silence: comments would only be more to read.
    assert body.count(b"keep-alive") <= 1


# ------------------------------------------------------------------------------------------------------------ connections


def test_a_connection_serves_one_request_after_the_other(gateway: Running) -> None:
    with wire(gateway.url) as client:
        for number in range(20):
            if number % 3 == 0:
                client.post(stream())
                client.read_head()
                assert said(b"".join(client.read_chunks())) == "The tide turns."
            elif number % 3 == 1:
                client.post(chat())
                _, headers = client.read_head()
                assert b"The tide turns." in client.read_exactly(int(headers["content-length"]))
            else:
                client.post(b"{}")
                status, headers = client.read_head()
                assert status == 400
                client.read_exactly(int(headers["content-length"]))


def test_requests_sent_ahead_are_answered_in_order(gateway: Running) -> None:
    with wire(gateway.url) as client:
        for number in range(5):
            client.post(chat(f"text=answer-{number} ttft={20 - number * 4}"))
        for number in range(5):
            _, headers = client.read_head()
            assert b'"answer-%d"' % number in client.read_exactly(int(headers["content-length"]))


def test_http_1_0_gets_its_answer_and_the_end_of_the_connection(gateway: Running) -> None:
    with wire(gateway.url) as client:
        client.post(chat(), version="1.0")
        status, headers = client.read_head()
        body = client.read_to_end()
    assert status == 200
    assert len(body) == int(headers["content-length"])
    assert b"The tide turns." in body


def test_a_body_in_chunks_is_taken(gateway: Running) -> None:
    body = chat()
    head = f"POST /v1/{CHAT} HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    with wire(gateway.url) as client:
        client.send(head.encode())
        for at in range(0, len(body), 7):
            part = body[at : at + 7]
            client.send(b"%x\r\n%b\r\n" % (len(part), part))
        client.send(b"0\r\n\r\n")
        assert client.read_head()[0] == 200


def test_a_client_may_ask_before_it_sends(gateway: Running) -> None:
    body = chat()
    with wire(gateway.url) as client:
        client.post(b"", "expect: 100-continue", f"x-length: {len(body)}")
        assert client.read_head()[0] in (100, 400)


def test_browsers_are_told_nothing_unless_the_config_says_so(
    gateway: Running, engine: ScriptedServer
) -> None:
    ours = {"origin": "https://app.example"}
    asking = {
        **ours,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    url = f"{gateway.base_url}/{CHAT}"
    for answer in (ask(url, chat(), ours), ask(url, headers=asking, method="OPTIONS")):
        assert [name for name in answer.headers if name.startswith("access-control")] == []

    with run_gateway(
        config_to(engine.base_url, server={"cors_origins": ["https://app.example"]})
    ) as open_gateway:
        url = f"{open_gateway.base_url}/{CHAT}"
        answer = ask(url, stream(), ours)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()
        assert said(answer.body) == "The tide turns."
        preflight = ask(url, headers=asking, method="OPTIONS")
        assert preflight.status == 200
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        stranger = ask(url, chat(), {"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in stranger.headers


# ------------------------------------------------------------------------------------------------------------ bad requests

DEEP = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"metadata":%b%b}'
REFUSED: dict[str, tuple[bytes, str | None]] = {
    "empty": (b"", None),
    "not JSON": (b"hello", None),
    "cut": (b'{"model":"m","messages":[', None),
    "an array": (b"[]", None),
    "a string": (b'"x"', None),
    "null": (b"null", None),
    "two values": (b"{}{}", None),
    "NaN": (b'{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":NaN}', None),
    "leading zero": (b'{"model":"m","messages":[{"role":"user","content":"x"}],"metadata":{"a":01}}', None),
    "a raw line end in a string": (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"user":"a\nb"}',
        None,
    ),
    "half a surrogate": (rb'{"model":"m","messages":[{"role":"user","content":"\ud83c"}]}', None),
    "UTF-8 cut": (b'{"model":"m","messages":[{"role":"user","content":"\xf0\x9f"}]}', None),
    "UTF-8 wrong in a field nobody reads": (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"metadata":{"a":"\xff"}}',
        None,
    ),
    "UTF-8 overlong": (b'{"model":"m","messages":[{"role":"user","content":"x"}],"user":"\xc0\xaf"}', None),
    "UTF-16": ('{"model":"m","messages":[]}'.encode("utf-16"), None),
    "5 M brackets": (b"[" * 5_000_000, None),
    "5 M brackets in a field": (DEEP % (b"[" * 5_000_000, b""), None),
    "100 k levels, closed": (DEEP % (b"[" * 100_000, b"]" * 100_000), None),
    "100 k objects": (DEEP % (b'{"a":' * 100_000, b"1" + b"}" * 100_000), None),
    "no model": (b'{"messages":[{"role":"user","content":"x"}]}', "model"),
    "empty model": (b'{"model":"","messages":[{"role":"user","content":"x"}]}', "model"),
    "model null": (b'{"model":null,"messages":[{"role":"user","content":"x"}]}', "model"),
    "no messages": (b'{"model":"m"}', "messages"),
    "empty messages": (b'{"model":"m","messages":[]}', "messages"),
    "messages a string": (b'{"model":"m","messages":"hi"}', "messages"),
    "no role": (b'{"model":"m","messages":[{"content":"x"}]}', "messages[0].role"),
    "content a number": (
        b'{"model":"m","messages":[{"role":"user","content":"x"},{"role":"user","content":7}]}',
        "messages[1].content",
    ),
    "temperature a string": (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":"1"}',
        "temperature",
    ),
    "n zero": (b'{"model":"m","messages":[{"role":"user","content":"x"}],"n":0}', "n"),
    "stream a string": (b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":"yes"}', "stream"),
    "stream_options without a stream": (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream_options":{}}',
        "stream_options",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_body_is_400_and_goes_nowhere(gateway: Running, engine: ScriptedServer, case: str) -> None:
    body, param = REFUSED[case]
    before = engine.record.requests
    answer = post(gateway, body)
    assert answer.status == 400, answer.body
    assert set(answer.error) == {"message", "type", "code", "param"}
    assert (answer.error["type"], answer.error["code"]) == ("invalid_request_error", "invalid_request")
    assert answer.error["param"] == param
    assert answer.headers["x-should-retry"] == "false"
    assert engine.record.requests == before


TWICE = [
    ('"model":"first","model":"second"', "model", '"second"'),
    ('"model":"m","temperature":2,"temperature":0.50', "temperature", "0.50"),
    ('"model":"m","n":2,"n":1', "n", "1"),
    ('"model":"m","mod\\u0065l":"\\u006d2"', "model", '"\\u006d2"'),
    ('"model":"m","user":"a","us\\u0065r":"b"', "user", '"b"'),
]


@pytest.mark.parametrize(("fields", "name", "value"), TWICE)
def test_of_a_field_sent_twice_the_engine_gets_the_one_that_was_checked(
    gateway: Running, engine: ScriptedServer, fields: str, name: str, value: str
) -> None:
    """The last counts, and the engine sees no other: what it is sent has each field once."""
    body = b'{%b,"messages":[{"role":"user","content":"x"}]}' % fields.encode()
    assert post(gateway, body).status == 200
    heard = engine.record.entries[-1].body
    assert heard is not None
    pairs = json.loads(bytes(heard), object_pairs_hook=list)
    assert [key for key, _ in pairs].count(name) == 1
    assert f'"{name}":{value}'.encode() in bytes(heard)


def test_a_field_that_hides_behind_another_is_refused(gateway: Running, engine: ScriptedServer) -> None:
    before = engine.record.requests
    for fields in ('"stream":"yes","stream":false', '"priority":1,"user":"x"', '"messages":[],"messages":[]'):
        body = b'{"model":"m","messages":[{"role":"user","content":"x"}],%b}' % fields.encode()
        assert post(gateway, body).status == 400
    assert engine.record.requests == before


def test_the_model_that_was_checked_is_the_model_that_is_asked(engine: ScriptedServer) -> None:
    tree = json.loads(config_to(engine.base_url))
    tree["models"] = {"allowed": tree["models"]["*"]}
    with run_gateway(json.dumps(tree)) as gateway:
        hidden = b'{"model":"allowed","messages":[{"role":"user","content":"x"}],"model":"other"}'
        answer = post(gateway, hidden)
        assert (answer.status, answer.error["code"]) == (404, "model_not_found")
        assert answer.error["param"] == "model"
        shown = b'{"model":"other","messages":[{"role":"user","content":"x"}],"model":"allowed"}'
        assert post(gateway, shown).status == 200
    assert engine.record.entries[-1].fields["model"] == "allowed"


def test_a_body_over_the_limit_is_413(engine: ScriptedServer) -> None:
    with run_gateway(config_to(engine.base_url, server={"max_body_bytes": 1000})) as gateway:
        assert post(gateway, chat("text=" + "x" * 800)).status == 200
        told = post(gateway, chat("text=" + "x" * 1000))
        with wire(gateway.url) as client:
            client.send(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\n"
            )
            client.send(b"transfer-encoding: chunked\r\n\r\n")
            client.send(b"400\r\n" + b" " * 1024 + b"\r\n")
            untold, _ = client.read_head()
    assert (told.status, told.error["code"], untold) == (413, "payload_too_large", 413)


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "text/json"]
)
def test_a_body_that_is_not_called_json_is_415(gateway: Running, kind: str) -> None:
    answer = post(gateway, chat(), content_type=kind)
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=UTF-8"]
)
def test_json_by_any_of_its_names_is_taken(gateway: Running, kind: str) -> None:
    assert post(gateway, chat(), content_type=kind).status == 200


def test_a_compressed_body_is_415(gateway: Running) -> None:
    assert post(gateway, b"\x1f\x8b", content_encoding="gzip").status == 415


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/nothing", "/v1/chat/completions/", "/v1/responses", "/V1/models", "//v1/models"]
)
def test_a_path_that_is_not_there_is_404(gateway: Running, path: str) -> None:
    for answer in (ask(gateway.url + path, method="GET"), ask(gateway.url + path, chat())):
        assert (answer.status, answer.error["code"]) == (404, "not_found")
        assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/completions"),
        ("PUT", "/v1/embeddings"),
        ("POST", "/v1/models"),
        ("DELETE", "/v1/models/m"),
        ("GET", "/admin/reload"),
    ],
)
def test_a_method_that_is_not_taken_is_405(gateway: Running, method: str, path: str) -> None:
    answer = ask(gateway.url + path, method=method)
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")


def test_a_whole_answer_over_the_limit_is_refused() -> None:
    with (
        canned(whole(b'{"choices":[],"x":"%b"}' % (b"x" * 5000))) as engine,
        run_gateway(config_to(engine.base_url, max_response_bytes=5000)) as gateway,
    ):
        answer = post(gateway, chat())
    assert (answer.status, answer.error["code"]) == (502, "engine_error")
