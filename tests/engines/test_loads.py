"""How busy engines say they are: their real pages, what is missing or wrong in them, and refusals that mean saturation."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from canned import canned, streamed, whole
from hypothesis import example, given
from hypothesis import strategies as st
from serving import PATIENCE_S, ask, config_to, eventually, run_gateway, wire

from tidegate import registry
from tidegate.config import EngineConfig
from tidegate.engines import pages as loads
from tidegate.engines.openai import OpenAIEngine
from tidegate.engines.pages import (
    MAX_PAGE_BYTES,
    read_llamacpp,
    read_sglang_loads,
    read_sglang_metrics,
    read_vllm,
)
from tidegate.engines.scripted.persona import Persona
from tidegate.engines.scripted.script import Fault, Script
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread
from tidegate.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from tidegate.types import Ask, Endpoint, Load

PAGES = Path(__file__).parent / "pages"
OWN = Load(running=7)


def page(name: str) -> bytes:
    return (PAGES / name).read_bytes()


# ---------------------------------------------------------------------------------------------------------------- reading


def test_vllm() -> None:
    load = read_vllm(page("vllm-metrics.txt"), OWN)
    assert (load.running, load.waiting, load.slots) == (8, 3, None)
    assert load.kv_usage == pytest.approx(0.022, abs=0.001)


def test_several_engine_cores_of_one_vllm_add_up_and_their_memory_is_averaged() -> None:
    told = b"".join(
        b'vllm:%b{engine="%d",model_name="a\\"b"} %b\n' % (name, engine, value)
        for name, values in (
            (b"num_requests_running", (b"3.0", b"4.0")),
            (b"num_requests_waiting", (b"0.0", b"NaN")),
            (b"kv_cache_usage_perc", (b"0.2", b"0.6")),
        )
        for engine, value in enumerate(values)
    )
    assert read_vllm(told, OWN) == Load(running=7, waiting=0, kv_usage=pytest.approx(0.4))


def test_a_vllm_that_keeps_no_statistics_leaves_what_the_gateway_knows() -> None:
    assert read_vllm(b"# HELP x y\npython_gc_objects_collected_total 1\n", OWN) == OWN
    assert read_vllm(b"vllm:num_requests_running 2\n", OWN) == Load(running=2)
    assert read_vllm(b"vllm:num_requests_running NaN\n", OWN) == OWN


def test_sglang_tells_the_same_in_both_places() -> None:
    expected = Load(running=16, waiting=3, kv_usage=pytest.approx(0.4), slots=128)
    assert read_sglang_loads(page("sglang-loads.json")) == expected
    gauges = read_sglang_metrics(page("sglang-metrics.txt"), OWN)
    assert gauges == msgspec.structs.replace(expected, slots=None)


def test_an_sglang_that_has_not_measured_yet() -> None:
    assert read_sglang_loads(b'{"loads":[]}') == Load()
    assert (
        read_sglang_loads(b'{"loads":[{"dp_rank":0,"max_running_requests":0,"token_usage":null}]}') == Load()
    )


def test_llamacpp() -> None:
    slots, metrics = page("llamacpp-slots.json"), page("llamacpp-metrics.txt")
    held = pytest.approx((73 + 74) / 2048)
    assert read_llamacpp(slots, metrics, OWN) == Load(running=2, waiting=2, kv_usage=held, slots=2)
    assert read_llamacpp(slots, None, OWN) == Load(running=2, kv_usage=held, slots=2)
    assert read_llamacpp(None, metrics, OWN) == Load(running=2, waiting=2)
    assert read_llamacpp(None, None, OWN) == OWN


def test_a_llamacpp_slot_that_is_done_holds_nothing_and_an_old_server_does_not_tell() -> None:
    idle = b'[{"id":0,"n_ctx":100,"is_processing":false,"n_prompt_tokens":90}]'
    assert read_llamacpp(idle, None, OWN) == Load(kv_usage=0.0, slots=1)
    assert read_llamacpp(b'[{"id":0,"n_ctx":100,"is_processing":true}]', None, OWN) == Load(
        running=1, slots=1
    )


@pytest.mark.parametrize(
    "wrong",
    [b"<html>", b"vllm:num_requests_running many\n", b"a 1\n\xff 2\n", b"{}", b"vllm:num_requests_running"],
)
def test_metrics_that_cannot_be_read(wrong: bytes) -> None:
    with pytest.raises(UpstreamError, match="metrics cannot be read"):
        read_vllm(wrong, OWN)


@pytest.mark.parametrize(
    "wrong", [b"", b"<html>", b"[1]", b'{"loads":[{"num_running_reqs":"3"}]}', b"[" * 9999]
)
def test_json_that_cannot_be_read(wrong: bytes) -> None:
    with pytest.raises(UpstreamError, match="about its load cannot be read"):
        read_sglang_loads(wrong)
    with pytest.raises(UpstreamError, match="about its load cannot be read"):
        read_llamacpp(wrong, None, OWN)


NUMBERS = st.integers() | st.floats() | st.just(10**400) | st.none()
RANKS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("num_running_reqs", "num_waiting_reqs", "token_usage"), NUMBERS)
)


@given(st.lists(RANKS, max_size=3), st.binary(max_size=40))
@example([{"num_running_reqs": 1.7e308}] * 2, b"")
def test_whatever_a_page_says_a_load_is_plausible_or_refused(
    ranks: list[dict[str, float]], junk: bytes
) -> None:
    gauges = "".join(
        f"vllm:num_requests_running{{i='{i}'}} 1\nvllm:kv_cache_usage_perc {rank.get('token_usage')}\n".replace(
            "'", '"'
        )
        for i, rank in enumerate(ranks)
    )
    pages = [
        lambda: read_sglang_loads(_json({"loads": ranks})),
        lambda: read_sglang_loads(junk),
        lambda: read_llamacpp(junk, None, OWN),
        lambda: read_llamacpp(
            _json([{"is_processing": True, "n_ctx": 5, "n_prompt_tokens": rank} for rank in (2, 9)]),
            junk,
            OWN,
        ),
        lambda: read_vllm(junk + b"\n" + gauges.encode(), OWN),
    ]
    for told in pages:
        try:
            load = told()
        except UpstreamError:
            continue
        assert load.running >= 0
        assert load.waiting is None or load.waiting >= 0
        assert load.kv_usage is None or 0 <= load.kv_usage <= 1


def _json(value: object) -> bytes:
    """As Python's json would write it, numbers that are none included."""
    return json.dumps(value).encode()


# --------------------------------------------------------------------------------------------------------------- fetching


class Teller(ThreadingHTTPServer):
    """A server that has only pages about itself."""

    daemon_threads = True

    def __init__(self, pages: Mapping[str, tuple[int, bytes]], slow: threading.Event | None = None) -> None:
        self.pages, self.slow = pages, slow
        self.asked: list[tuple[str, str | None]] = []
        super().__init__(("127.0.0.1", 0), _Page)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Page(BaseHTTPRequestHandler):
    server: Teller
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["authorization"]))
        if self.server.slow is not None:
            self.server.slow.wait(PATIENCE_S)
        status, body = self.server.pages.get(self.path, (404, b"not found"))
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def telling(pages: Mapping[str, tuple[int, bytes]], slow: threading.Event | None = None) -> Iterator[Teller]:
    with Teller(pages, slow) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            if slow is not None:
                slow.set()
            server.shutdown()
            thread.join(PATIENCE_S)


class Host:
    """What an engine over HTTP takes of its host."""

    clock = staticmethod(time.monotonic)


def load_of(kind: str, url: str) -> Load:
    async def main() -> Load:
        engine_class = registry.find("tidegate.engines", kind)
        settings: EngineConfig = engine_class.Config(kind=kind, url=url, api_key="secret")
        engine: OpenAIEngine = engine_class(settings)
        await engine.open(Host())  # type: ignore[arg-type]
        try:
            return await engine.load()
        finally:
            await engine.close()

    return asyncio.run(main())


def ok(name: str) -> tuple[int, bytes]:
    return 200, page(name)


@pytest.mark.parametrize(
    ("kind", "pages", "expected"),
    [
        ("vllm", {"/metrics": ok("vllm-metrics.txt")}, (8, 3)),
        ("vllm", {}, (0, None)),
        ("sglang", {"/v1/loads?include=core": ok("sglang-loads.json")}, (16, 3)),
        ("sglang", {"/metrics": ok("sglang-metrics.txt")}, (16, 3)),
        ("sglang", {}, (0, None)),
        ("llamacpp", {"/slots": ok("llamacpp-slots.json"), "/metrics": ok("llamacpp-metrics.txt")}, (2, 2)),
        ("llamacpp", {"/slots": (501, b"{}"), "/metrics": (501, b"{}")}, (0, None)),
        ("openai", {"/metrics": ok("vllm-metrics.txt")}, (0, None)),
    ],
)
def test_each_kind_asks_where_its_engine_tells(
    kind: str, pages: dict[str, tuple[int, bytes]], expected: tuple[int, int | None]
) -> None:
    with telling(pages) as server:
        load = load_of(kind, server.base_url)
    assert (load.running, load.waiting) == expected
    assert {key for _, key in server.asked} <= {"Bearer secret"}
    assert bool(server.asked) == (kind != "openai")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((500, b"oh"), "status 500"),
        ((401, b"who?"), "status 401"),
        ((200, b"x" * (MAX_PAGE_BYTES + 1)), "larger than"),
        ((200, b"<html>"), "cannot be read"),
    ],
)
def test_a_page_that_cannot_be_had(answer: tuple[int, bytes], told: str) -> None:
    with telling({"/metrics": answer}) as server, pytest.raises(UpstreamError, match=told):
        load_of("vllm", server.base_url)


def test_a_page_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loads, "PAGE_TIMEOUT_S", 0.05)
    with telling({}, threading.Event()) as server, pytest.raises(UpstreamTimeout):
        load_of("vllm", server.base_url)


def test_an_engine_that_is_not_there() -> None:
    with telling({}) as server:
        url = server.base_url
    with pytest.raises(UpstreamUnreachable):
        load_of("vllm", url)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("vllm", Load(running=2, waiting=0, kv_usage=0.5)),
        ("sglang", Load(running=2, waiting=0, kv_usage=0.5, slots=4)),
        ("llamacpp", Load(running=2, waiting=0, kv_usage=0.25, slots=4)),
        ("openai", Load()),
    ],
)
def test_a_scripted_server_can_tell_its_load_as_any_of_them(kind: str, expected: Load) -> None:
    """Calls that somebody else has sent there count too, where the engine tells."""
    script = Script(fault=Fault.STALL, fault_at=0)
    server = ScriptedServer(script=script, slots=4, like=Persona(kind))
    with run_in_thread(server), ExitStack() as clients:
        for _ in range(2):
            client = clients.enter_context(wire(server.url))
            client.post(STREAM)
        eventually(lambda: server.record.in_flight == 2, "both are there")
        assert load_of(kind, server.base_url) == expected


def test_what_a_gateway_knows_of_an_engine_that_tells_nothing() -> None:
    letting_go = threading.Event()

    def slow(connection: object) -> None:
        letting_go.wait(PATIENCE_S)

    with canned(slow) as engine, run_gateway(config_to(engine.base_url)) as gateway:
        (running,) = gateway.gateway.runtime.engines()
        caller = threading.Thread(
            target=lambda: ask(f"{gateway.base_url}/chat/completions", CHAT), daemon=True
        )
        caller.start()
        eventually(lambda: bool(engine.heard), "the engine has the call")
        assert gateway.run(running.engine.load()) == Load(running=1)
        letting_go.set()
        caller.join(PATIENCE_S)
        assert gateway.run(running.engine.load()) == Load()


# -------------------------------------------------------------------------------------------- refusals for want of room

CHAT = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
STREAM = CHAT[:-1] + b',"stream":true}'
VLLM_BUSY = (
    b'{"error":{"message":"The engine is currently busy and cannot accept new requests. Please try again later or on a'
    b' different instance.","type":"Service Unavailable","param":null,"code":503}}'
)
VLLM_BACKLOG = (
    b'{"error":{"message":"The engine has reached its prefill token backlog limit. Please try again later or on a'
    b' different instance.","type":"Service Unavailable","param":null,"code":503}}'
)
SGLANG_FULL = (
    b'{"object":"error","message":"The request queue is full.","type":"503","param":null,"code":503}'
)
SGLANG_FULL_STREAM = (
    b'data: {"error": {"object": "error", "message": "The request queue is full.", "type": "SERVICE_UNAVAILABLE",'
    b' "param": null, "code": 503}}\n\ndata: [DONE]\n\n'
)


@pytest.mark.parametrize(
    ("kind", "answer", "body"),
    [
        ("vllm", whole(VLLM_BUSY, status=b"503 Service Unavailable"), CHAT),
        ("vllm", whole(VLLM_BUSY, status=b"503 Service Unavailable"), STREAM),
        ("vllm", whole(VLLM_BACKLOG, status=b"503 Service Unavailable"), CHAT),
        ("sglang", whole(SGLANG_FULL, status=b"503 Service Unavailable"), CHAT),
        ("sglang", streamed(SGLANG_FULL_STREAM), STREAM),
    ],
)
def test_a_full_queue_is_saturation_and_not_a_broken_engine(kind: str, answer: bytes, body: bytes) -> None:
    with canned(answer) as engine, run_gateway(config_to(engine.base_url, kind=kind)) as gateway:
        got = ask(f"{gateway.base_url}/chat/completions", body)
    assert (got.status, got.error["code"]) == (503, "engine_overloaded")
    assert got.headers["retry-after"] == "1"


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
@pytest.mark.parametrize("body", [CHAT, STREAM])
def test_a_scripted_server_refuses_in_their_words(kind: str, body: bytes) -> None:
    server = ScriptedServer(script=Script(fault=Fault.STALL, fault_at=0), slots=1, like=Persona(kind))
    with (
        run_in_thread(server),
        run_gateway(config_to(server.base_url, kind=kind)) as gateway,
        wire(server.url) as other,
    ):
        other.post(STREAM)
        eventually(lambda: server.record.in_flight == 1, "the only slot is taken")
        got = ask(f"{gateway.base_url}/chat/completions", body)
    assert (got.status, got.error["code"]) == (503, "engine_overloaded")
    assert server.record.outcomes["refused"] >= 1, "the gateway asks again, within its budget"


# ------------------------------------------------------------------------------------------------- a call's place in line


@pytest.mark.parametrize(
    ("kind", "settings", "priority", "sent"),
    [
        ("vllm", {"sends_priority": True}, 1, 1),
        ("vllm", {"sends_priority": True}, 5, 5),
        ("vllm", {"sends_priority": True}, -1, -1),
        ("vllm", {"sends_priority": True}, 0, None),  # what vLLM takes it to be
        ("vllm", {}, 1, None),  # by default it may refuse the call
        ("vllm", {"sends_priority": False}, -1, None),
        ("sglang", {}, 1, -1),
        ("sglang", {}, 5, -5),
        ("sglang", {}, -1, 1),
        ("sglang", {}, 0, 0),  # without one, a call would go behind those of the class `batch`
        ("sglang", {"sends_priority": True}, -2, 2),
        ("sglang", {"sends_priority": False}, 1, None),
        ("sglang", {"sends_priority": False}, 0, None),
        ("openai", {}, 5, None),
    ],
)
def test_a_priority_means_the_same_to_every_engine(
    kind: str, settings: Mapping[str, bool], priority: int, sent: int | None
) -> None:
    engine_class = registry.find("tidegate.engines", kind)
    made = engine_class.Config(kind=kind, url="http://127.0.0.1:9/v1", **settings)
    engine: OpenAIEngine = engine_class(made)
    asked = Ask("1", Endpoint.CHAT, "m", {"model": msgspec.Raw(b'"m"')}, [], [], 1.0, priority=priority)
    assert msgspec.json.decode(engine.body(asked)).get("priority") == sent


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
@pytest.mark.parametrize(
    "field", ["priority", "cache_salt", "data_parallel_rank", "kv_transfer_params", "lora_path"]
)
def test_no_client_reaches_into_the_engine(kind: str, field: str) -> None:
    with canned() as engine, run_gateway(config_to(engine.base_url, kind=kind)) as gateway:
        got = ask(f"{gateway.base_url}/chat/completions", CHAT[:-1] + b',"%b":1}' % field.encode())
    assert (got.status, got.error["param"]) == (400, field)
    assert engine.heard == []
