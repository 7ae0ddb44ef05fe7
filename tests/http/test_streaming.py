"""How a stream leaves: its writes, its silences, its headers, and its last comment."""

from __future__ import annotations

import json
import re

import pytest
from in_hand import gateway_in_hand, until
from serving import Answer, Running, ask, config_to, run_gateway, wire
from talking import CHAT, chat, data_of, post, said, stream
from virtual import run

from tidegate.engines.scripted.server import ScriptedServer

pytestmark = pytest.mark.usefixtures("idle")


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
        client.post(
            stream("text=!b tokens=2 itl=60000")
        )  # a letter may begin what the rails mask, and is held
        client.read_head()
        assert json.loads(data_of(client.read_chunk())[-1])["choices"][0]["delta"]["content"] == "!"
        assert engine.record.in_flight == 1


@pytest.mark.parametrize("silence", ["ttft=60000", "itl=60000 tokens=2"], ids=["before it", "within it"])
def test_a_silent_stream_is_kept_alive_by_comments(engine: ScriptedServer, silence: str) -> None:
    with (
        run_gateway(config_to(engine.base_url, server={"sse_keep_alive_s": 0.15})) as gateway,
        wire(gateway.url) as client,
    ):
        client.post(stream(silence))
        status, headers = client.read_head()
        assert status == 200
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert "server-timing" in headers
        if "ttft" not in silence:
            while b'"content":"The' not in client.read_chunk():
                pass
        assert [client.read_chunk() for _ in range(3)] == [b": keep-alive\n\n"] * 3


def test_comments_come_in_silence_and_only_then() -> None:
    """One after each two seconds of silence: none where the stream flows, though the whole is longer than that."""

    async def comments(marker: str) -> int:
        async with gateway_in_hand({"sse_keep_alive_s": 2}) as gateway:
            client = gateway.connect()
            client.post(stream(marker))
            await until(lambda: client.is_answered, "its end")
            assert client.received.count(b'"content":"z"') == marker.count("z")
            return client.received.count(b"\r\n: keep-alive\n\n\r\n")

    assert run(comments(f"text={'z' * 60} tokens=60 itl=1900")) == 0
    assert run(comments("text=zz tokens=2 ttft=5000 itl=5000")) == 4


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


def test_every_reply_has_an_id_of_its_own_and_its_time(engine: ScriptedServer) -> None:
    # So short a silence that one of the streams begins with a comment.
    with run_gateway(config_to(engine.base_url, server={"sse_keep_alive_s": 0.15})) as gateway:
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


def test_a_figure_for_every_stage() -> None:
    async def scene() -> str:
        async with gateway_in_hand() as gateway:
            client = gateway.connect()
            client.post(chat("ttft=30"))
            await until(lambda: bool(client.received), "its answer")
            return client.received.decode().partition("server-timing: ")[2].partition("\r\n")[0]

    timing = run(scene())
    figures = {name: float(value) for name, value in re.findall(r"(\w+);dur=([\d.]+)", timing)}
    stages = ["observe", "authenticate", "screen", "recall", "admit", "route", "attempt", "total"]
    assert list(figures) == stages
    assert 30 <= figures["attempt"] <= 31
    assert figures["total"] == pytest.approx(sum(figures.values()) - figures["total"], abs=0.1)


def test_the_last_comment_of_a_stream_tells_its_times(gateway: Running) -> None:
    body = post(gateway, stream("ttft=30 itl=10 tokens=3")).body
    found = re.search(
        rb"\n\n: server-timing: ttft;dur=([\d.]+), itl;dur=([\d.]+), total;dur=([\d.]+)\n\ndata: \[DONE\]\n\n$",
        body,
    )
    assert found, body
    ttft, itl, total = map(float, found.groups())
    assert 30 <= ttft <= total
    # No lower bound of its own: a first event that comes late is nearer to the second.
    assert ttft + itl <= total
    assert total >= 50
