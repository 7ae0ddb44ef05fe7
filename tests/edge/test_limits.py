"""The limits of the edge, each at its border: what is still let through, and what no longer."""

from __future__ import annotations

import asyncio
import json
import select
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from canned import canned, streamed
from hypothesis import given
from hypothesis import strategies as st
from in_hand import InHand, gateway_in_hand, until
from serving import PATIENCE_S, Wire, ask, config_to, eventually, run_gateway, wire
from talking import CHAT, SCRIPT, chat, post, said, stream
from virtual import run

from tidegate.config import parse_text
from tidegate.config.exposure import is_loopback
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread
from tidegate.errors import BadRequest, ConfigError
from tidegate.http.edge.hosts import HostRule
from tidegate.http.edge.nesting import check_nesting


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=SCRIPT)) as server:
        yield server


def head(length: int, *lines: str, host: str = "g") -> bytes:
    about = [f"POST /v1/{CHAT} HTTP/1.1", f"host: {host}", "content-type: application/json", *lines]
    return "\r\n".join([*about, f"content-length: {length}", "", ""]).encode()


def pour(client: Wire) -> None:
    """Sends for as long as it can, and as anything here may take."""
    began = time.monotonic()
    while time.monotonic() < began + PATIENCE_S:
        client.send(b" " * 10_000)
        time.sleep(0.01)


def error_code(client: Wire) -> str:
    _, headers = client.read_head()
    body = client.read_exactly(int(headers["content-length"])).decode()
    return body.partition('"code":"')[2].partition('"')[0]


# ------------------------------------------------------------------------------------------------------------------ hosts

NEARBY = (
    "localhost",
    "127.0.0.1:80",
    "[::1]:8080",
    "192.168.1.7",
    "[fe80::1%25eth0]",
    "gateway",
    "LOCALHOST.",
    "a.local",
)
STRANGE = (
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "1.2.3",
    "a.localhost.com",
    "0x7f.1",
)


def answered(rule: HostRule, host: str) -> bool:
    first, again = rule.check(host.encode()), rule.check(host.encode())
    assert (first is None) == (again is None)
    return first is None


def test_on_a_loopback_address_only_names_are_answered_that_nobody_can_buy() -> None:
    rule = HostRule((), loopback=True)
    assert [host for host in NEARBY if not answered(rule, host)] == []
    assert [host for host in STRANGE if answered(rule, host)] == []


def test_elsewhere_any_name_is_answered_that_is_one() -> None:
    rule = HostRule((), loopback=False)
    assert all(answered(rule, host) for host in (*NEARBY, *STRANGE))
    assert not answered(rule, "x/health?y=")


def test_a_list_is_the_whole_of_it() -> None:
    rule = HostRule(("llm.example.com", "*.example.org"), loopback=True)
    for host in ("llm.example.com", "LLM.example.com:443", "a.example.org", "a.b.example.org."):
        assert answered(rule, host)
    for host in ("example.org", "xexample.org", "llm.example.com.evil.example", "localhost", "127.0.0.1"):
        assert not answered(rule, host)
    assert answered(HostRule(("*",), loopback=True), "evil.example")


def test_what_is_remembered_of_hosts_is_bounded() -> None:
    rule = HostRule((), loopback=False)
    for number in range(3000):
        assert rule.check(b"host-%d" % number) is None
    assert len(rule._known) <= 1024  # no other way to see it


def test_the_addresses_of_this_machine_only() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.7")))


def test_a_health_check_may_call_us_anything(engine: ScriptedServer) -> None:
    settings = {"allowed_hosts": ["llm.example.com"]}
    with run_gateway(config_to(engine.base_url, server=settings)) as gateway:
        # Whether it is ready yet is another question: the first look at the engine may still be under way.
        told = {"/healthz": {200}, "/readyz": {200, 503}, "/metrics": {421}, "/v1/models": {421}}
        for path, statuses in told.items():
            assert ask(gateway.url + path, method="GET", headers={"host": "10.1.2.3"}).status in statuses
        told = post(gateway, chat(), host="evil.example")
        assert (told.status, told.error["code"]) == (421, "host_not_allowed")
        assert "server.allowed_hosts" in told.error["message"]
        assert post(gateway, chat(), host="llm.example.com").status == 200


@pytest.mark.parametrize("host", ["", "http://a", "a:80", "a/b", "*.", "a.*"])
def test_a_list_with_what_is_no_host_is_a_mistake(host: str) -> None:
    with pytest.raises(ConfigError, match="allowed_hosts"):
        parse_text(config_to("http://127.0.0.1:1/v1", server={"allowed_hosts": [host]}), source="the test")


# ---------------------------------------------------------------------------------------------------------------- nesting


def naive(body: str) -> tuple[int, int]:
    """Depth and containers, one character after the other."""
    depth = deepest = count = 0
    in_string = escaped = False
    for char in body:
        if in_string:
            in_string = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth, count = depth + 1, count + 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest, count


def refused(body: bytes, **limits: int) -> bool:
    try:
        check_nesting(body, **{"max_depth": 64, "max_containers": 1000, **limits})
    except BadRequest:
        return True
    return False


json_values = st.recursive(
    st.text(alphabet='[]{}"\\a', max_size=8) | st.integers(0, 9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('[]{"\\', max_size=3), inner, max_size=4)
    ),
    max_leaves=40,
)


@given(value=json_values, max_depth=st.integers(1, 6), max_containers=st.integers(3, 12))
def test_depth_and_number_are_found_as_by_counting(
    value: object, max_depth: int, max_containers: int
) -> None:
    text = json.dumps(value)
    depth, count = naive(text)
    strings = text.count('"') // 2 > 4 * max_containers  # then it may be refused for its strings
    found = refused(text.encode(), max_depth=max_depth, max_containers=max_containers)
    assert found == (depth > max_depth or count > max_containers) or (found and strings)


def test_the_limits_of_nesting_are_told(engine: ScriptedServer) -> None:
    body = '{"model":"m","messages":[{"role":"user","content":"hi"}],"metadata":%s%s}'
    with run_gateway(config_to(engine.base_url, server={"max_json_containers": 200})) as gateway:
        assert post(gateway, (body % ("[" * 63, "]" * 63)).encode()).status == 200
        deep = post(gateway, (body % ("[" * 64, "]" * 64)).encode())
        many = post(gateway, (body % ("[" + "{}," * 200 + "1", "]")).encode())
    assert (deep.status, many.status) == (400, 400)
    assert "64 levels" in deep.error["message"]
    assert "200 lists" in many.error["message"]


def test_brackets_in_a_text_are_text(engine: ScriptedServer) -> None:
    with run_gateway(config_to(engine.base_url)) as gateway:
        for text in ("[" * 5000, '{"a":[' * 900, '\\"[{' * 300, "]" * 100):
            assert post(gateway, chat(user=text)).status == 200


# ------------------------------------------------------------------------------------------------------------------- time


@pytest.mark.parametrize(("bytes_at_once", "status"), [(400, 200), (1, 408)], ids=["slow", "a trickle"])
def test_a_slow_upload_goes_through_and_a_trickle_does_not(bytes_at_once: int, status: int) -> None:
    """Slow: 4 kB/s, no pause over the limit. Trickle: as often, and under the rate."""
    settings = {"body_idle_ms": 300, "min_body_bytes_per_s": 1000}
    body = chat(user="x" * 4000)

    async def scene() -> tuple[InHand, float]:
        async with gateway_in_hand(settings) as gateway:
            client, loop = gateway.connect(), asyncio.get_running_loop()
            began = loop.time()
            client.begin(len(body))
            for at in range(0, len(body), bytes_at_once):
                client.send(body[at : at + bytes_at_once])
                await asyncio.sleep(0.1)
                if client.received:
                    break
            answered_at = await until(lambda: bool(client.received), "an answer")
            await until(lambda: not gateway.gateway.live, "the call is over")
            await asyncio.sleep(10)
            return client, answered_at - began

    client, took_s = run(scene())
    assert client.status == status
    assert (took_s > 1.0) == (status == 200)
    if status != 200:
        assert 0.3 <= took_s <= 0.5
        assert b"request_timeout" in client.received
        assert client.wire.closed_at is not None


def test_a_body_that_stops_is_counted(engine: ScriptedServer) -> None:
    with (
        run_gateway(config_to(engine.base_url, server={"body_idle_ms": 100})) as gateway,
        wire(gateway.url) as client,
    ):
        client.send(head(100) + b"{")
        assert error_code(client) == "request_timeout"
        eventually(lambda: not gateway.gateway.live, "the call is over")
        page = ask(f"{gateway.url}/metrics", method="GET").body.decode()
    assert 'outcome="request_timeout"' in page


def test_a_refused_upload_is_heard_out_for_a_moment_only(engine: ScriptedServer) -> None:
    """The client reads the 413 although it was still sending; nobody reads on for ever."""
    with (
        run_gateway(config_to(engine.base_url, server={"max_body_bytes": 1000})) as gateway,
        wire(gateway.url) as client,
    ):
        client.send(head(10**9))
        for _ in range(20):
            client.send(b" " * 10_000)
        assert error_code(client) == "payload_too_large"
        assert client.read_to_end() == b""
        with pytest.raises(ConnectionError):
            pour(client)


def test_who_is_refused_before_the_body_came_is_not_read_on(engine: ScriptedServer) -> None:
    with run_gateway(config_to(engine.base_url)) as gateway, wire(gateway.url) as client:
        client.send(head(5000, "content-encoding: gzip"))
        status, headers = client.read_head()
        assert (status, headers["connection"]) == (415, "close")
        assert b"uncompressed" in client.read_to_end()


def test_a_reader_that_stops_is_dropped(engine: ScriptedServer) -> None:
    event = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 16_000)
    with (
        canned(streamed(event * 2000)) as sayer,
        run_gateway(config_to(sayer.base_url, server={"send_stall_ms": 200})) as gateway,
        wire(gateway.url, receive_buffer=4096) as client,
    ):
        client.post(stream())
        eventually(lambda: bool(sayer.heard), "its call has begun")
        eventually(lambda: not gateway.gateway.live, "the call is over")
        eventually(lambda: gateway.gateway.snapshot.calls == 0, "its slot is free")


def test_a_reader_that_is_only_slow_is_served() -> None:
    """Often enough it takes a little, for many times as long as a stall; then nothing more, and is dropped."""

    async def scene() -> tuple[float | None, float, float | None]:
        async with gateway_in_hand({"send_stall_ms": 500}) as gateway:
            client, loop = gateway.connect(), asyncio.get_running_loop()
            client.wire.takes = False
            client.post(stream(f"text={'x' * 4000} tokens=2"))
            await until(lambda: client.wire.held_bytes > 0, "it begins")
            for _ in range(20):
                await asyncio.sleep(0.45)
                client.wire.take(10)
            closed_at, stopped_at = client.wire.closed_at, loop.time()
            await asyncio.sleep(10)
            return closed_at, stopped_at, client.wire.closed_at

    while_slow, stopped_at, dropped_at = run(scene())
    assert while_slow is None
    assert dropped_at is not None
    assert 0 < dropped_at - stopped_at <= 1.01


def test_an_answer_read_in_small_parts_is_whole(engine: ScriptedServer) -> None:
    event = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % (b"x" * 16_000)
    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    with (
        canned(streamed(event * 24 + end)) as sayer,
        run_gateway(config_to(sayer.base_url)) as gateway,
        wire(gateway.url, receive_buffer=4096) as client,
    ):
        client.post(stream())
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            part = client.connection.recv(20_000)
            assert part, "dropped"
            received += part
    assert received.count(b'"content"') == 24


# ----------------------------------------------------------------------------------------------------------------- places


def test_who_asks_nothing_makes_room_for_who_does(engine: ScriptedServer) -> None:
    settings = {"max_connections": 3, "first_byte_timeout_ms": 600_000}
    with run_gateway(config_to(engine.base_url, server=settings)) as gateway, ExitStack() as opened:
        silent = [opened.enter_context(wire(gateway.url)).connection for _ in range(3)]
        with wire(gateway.url) as busy:
            busy.post(stream("tokens=2 itl=60000"))
            assert busy.read_head()[0] == 200
            for _ in range(9):
                assert post(gateway, chat()).status == 200
            assert busy.read_chunk()
        eventually(lambda: bool(select.select(silent, [], [], 0)[0]), "one of them had to leave")


def test_who_has_been_silent_longest_leaves_first() -> None:
    async def scene() -> list[list[bool]]:
        settings = {"max_connections": 3, "first_byte_timeout_ms": 600_000}
        async with gateway_in_hand(settings) as gateway:
            silent: list[InHand] = []
            for _ in range(3):
                silent.append(gateway.connect())
                await asyncio.sleep(1)
            left: list[list[bool]] = []
            for _ in range(3):
                gateway.connect().post(stream("tokens=2 itl=60000"))
                await asyncio.sleep(1)
                left.append([one.wire.closed_at is not None for one in silent])
            return left

    assert run(scene()) == [[True, False, False], [True, True, False], [True, True, True]]


def test_when_all_are_busy_more_are_told_so(engine: ScriptedServer) -> None:
    with (
        run_gateway(config_to(engine.base_url, server={"max_connections": 2})) as gateway,
        wire(gateway.url) as first,
        wire(gateway.url) as second,
    ):
        for client in (first, second):
            client.post(stream("tokens=2 itl=60000"))
            assert client.read_head()[0] == 200
        refusal = post(gateway, chat())
        assert (refusal.status, refusal.error["code"]) == (503, "overloaded")
        assert int(refusal.headers["retry-after"]) >= 1
        assert ask(f"{gateway.url}/healthz", method="GET").status == 200
        assert ask(f"{gateway.url}/readyz", method="GET").status == 200
        first.reset()
        eventually(lambda: post(gateway, chat()).status == 200, "there is room again")


# ------------------------------------------------------------------------------------------------------------- HTTP/1.0


def test_http_1_0_gets_its_stream_without_chunks(engine: ScriptedServer) -> None:
    with run_gateway(config_to(engine.base_url)) as gateway, wire(gateway.url) as client:
        client.post(stream("text=plain tokens=2"), version="1.0")
        status, headers = client.read_head()
        assert status == 200
        assert "transfer-encoding" not in headers
        assert said(client.read_to_end()) == "plain"
