"""Readiness tells the truth: any answer will do, three refusals of the key in a row are no accident, why is said."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from canned import canned, whole
from hypothesis import given
from hypothesis import strategies as st
from serving import ask, config_to, eventually, run_gateway

from tidegate import config
from tidegate.config import OpenAIConfig
from tidegate.dispatch.seats import Seats
from tidegate.dispatch.standing import OUT_S, Credentials, Refusals, Standing
from tidegate.engines.openai import OpenAIEngine
from tidegate.errors import ConfigError, GatewayError, UpstreamError
from tidegate.ports import Host
from tidegate.runtime import RunningEngine
from tidegate.types import Load

pytestmark = pytest.mark.anyio


@dataclass
class Server:
    """An engine that answers each path with a status."""

    base_url: str = ""
    statuses: dict[str, int] = field(default_factory=dict[str, int])
    asked: list[str] = field(default_factory=list[str])

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split()[1].decode()
                length = re.search(rb"content-length: (\d+)", head.lower())
                await reader.readexactly(int(length[1]) if length else 0)
                self.asked.append(path)
                body = b'{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}]}'
                status = self.statuses.get(path, 200)
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(**statuses: int) -> AsyncIterator[Server]:
    """`models=401` answers /v1/models so; every other path is answered with 200."""
    engine = Server(statuses={f"/v1/{path}": status for path, status in statuses.items()})
    server = await asyncio.start_server(engine.talk, "127.0.0.1", 0)
    engine.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield engine
    finally:
        server.close()


@dataclass
class Hands:
    """A clock that stands."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def opened(
    url: str, clock: Callable[[], float] | None = None, **settings: Any
) -> AsyncIterator[RunningEngine]:
    engine = OpenAIEngine(OpenAIConfig.model_validate({"kind": "openai", "url": url, **settings}))
    await engine.open(cast("Host", SimpleNamespace(clock=clock or Hands())))
    try:
        yield RunningEngine("e", engine, Seats(), clock or Hands())
    finally:
        await engine.close()


def refusal(status: int) -> GatewayError:
    error = UpstreamError("refused")
    error.upstream.status = status
    return error


# ----------------------------------------------------------------------------------------------------------------- probes


@pytest.mark.parametrize("status", [200, 204, 301, 400, 403, 404, 405, 429, 500, 502, 503, 599])
async def test_any_answer_means_reachable(status: int) -> None:
    async with serving(models=status) as server, opened(server.base_url) as running:
        for _ in range(5):
            await running.probe()
            assert (running.ready, running.seats.ready, running.why) == (True, True, None)


async def test_a_call_that_ends_while_its_engine_is_asked_for_its_load_is_not_another_clients() -> None:
    async with serving() as server, opened(server.base_url) as running:
        asked, ended = asyncio.Event(), asyncio.Event()

        async def load() -> Load:
            asked.set()
            await ended.wait()
            return Load(running=2)

        engine: Any = running.engine
        engine.load = load
        assert running.seats.try_take()
        probe = asyncio.create_task(running.probe())
        await asked.wait()
        running.seats.release()
        ended.set()
        await probe
        of_one_call = running.seats.others_work
        running.seats.reported(Load(running=1))
        assert running.seats.others_work == of_one_call > 0


async def test_three_401_of_probes_in_a_row_take_an_engine_out_and_another_answer_takes_it_in() -> None:
    async with serving(models=401) as server, opened(server.base_url) as running:
        found: list[bool] = []
        for status in (401, 401, 200, 401, 401, 401, 401, 403, 401):
            server.statuses["/v1/models"] = status
            await running.probe()
            found.append(running.ready)
            assert running.seats.ready == running.ready
        assert found == [True, True, True, True, True, False, False, True, True]


async def test_an_engine_that_takes_calls_and_lists_no_models_stays() -> None:
    async with serving(models=401) as server, opened(server.base_url) as running:
        standing = Standing("m on e", running.credentials, Hands())
        for _ in range(3):
            await running.probe()
        assert not running.ready
        standing.answered()
        assert running.ready
        for _ in range(9):
            await running.probe()
            assert running.ready
        standing.failed(refusal(401), "")  # a call is refused too: now the probes count again
        assert not running.ready


async def test_why_an_engine_is_not_ready(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nothing listens
        async with opened(f"http://127.0.0.1:{taken.getsockname()[1]}/v1") as running:
            for _ in range(3):
                await running.probe()
            assert running.why
            assert "connection refused" in running.why
        async with opened("http://no-such-name.invalid/v1") as running:
            await running.probe()
            assert running.why
            assert "DNS" in running.why
        async with serving(models=401) as server, opened(server.base_url) as running:
            for _ in range(4):
                await running.probe()
            assert running.why
            assert "401" in running.why
            assert "api_key" in running.why
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 4, told  # once each, and that the last one was ready at first
    assert re.fullmatch(r"engine e is not ready: connection refused.*", told[0])


@pytest.mark.parametrize(
    ("probe", "path"),
    [
        ("models", "/v1/models"),
        ("health", "/v1/health"),
        ("/health", "/health"),
        ("/a/b?deep=1", "/a/b?deep=1"),
        ("v2/ready", "/v1/v2/ready"),
        ("/", "/"),
    ],
)
async def test_the_path_of_the_probe(probe: str, path: str) -> None:
    async with serving() as server, opened(server.base_url, probe=probe) as running:
        await running.probe()
        assert (running.ready, server.asked) == (True, [path])
        server.statuses[path] = 503
        await running.probe()
        assert running.ready == (probe == "models"), "a path of the server's own says what it means"
        if not running.ready:
            assert running.why == f"answered the probe, GET {probe}, with status 503"
        server.statuses[path] = 404
        await running.probe()
        assert running.ready


@pytest.mark.parametrize("probe", ["none", None, False])
async def test_an_engine_without_a_probe_is_not_asked(probe: object) -> None:
    async with serving(models=401) as server, opened(server.base_url, probe=probe) as running:
        for _ in range(4):
            await running.probe()
        assert (running.ready, server.asked) == (True, [])


@pytest.mark.parametrize("probe", ["", "http://h/health", "a b", "a#b", 3, [], "\n"])
def test_what_cannot_be_the_path_of_a_probe(probe: object) -> None:
    tree = {"engines": {"e": {"kind": "vllm", "url": "http://h/v1", "probe": probe}}, "models": {"m": {}}}
    with pytest.raises(ConfigError) as raised:
        config.parse(tree, source="x")
    assert "engines.e.probe" in {problem.path for problem in raised.value.problems}


# ------------------------------------------------------------------------------------------------------------------ calls


async def test_three_401_of_calls_in_a_row_take_an_engine_out_for_a_while() -> None:
    clock = Hands()
    async with serving() as server, opened(server.base_url, clock) as running:
        await running.probe()
        standing = Standing("m on e", running.credentials, clock)
        found: list[bool] = []
        for status in (401, 401, 200, 401, 401, 404, 401, 401, 500, 401, 401):
            if status == 200:
                standing.answered()
            else:
                standing.failed(refusal(status), "")
            found.append(running.seats.ready)
        # A 200 and a 404 take them back; what came of a 500 is not known.
        assert found == [True] * 9 + [False, False]
        await running.probe()
        assert not running.ready, "that anyone may list the models says nothing about calls"
        clock.now += OUT_S
        await running.probe()
        assert running.seats.ready
        standing.failed(refusal(401), "")
        assert not running.seats.ready, "it was on probation"
        standing.answered()
        assert running.seats.ready


def test_403_counts_for_one_deployment() -> None:
    clock = Hands()
    credentials = Credentials(clock, lambda: None)
    one, other = (Standing(name, credentials, clock) for name in ("one", "other"))
    for _ in range(3):
        one.failed(refusal(403), "")
    assert (one.out, other.out, credentials.why) == (True, False, None)
    one.answered()
    assert not one.out


def test_of_callers_that_are_known_two_have_to_be_refused() -> None:
    refusals = Refusals(Hands())
    for _ in range(9):
        assert not refusals.refused("key-a")
        assert not refusals.out
    assert refusals.refused("key-b")
    assert refusals.out
    refusals.accepted()
    assert not refusals.out


@given(st.lists(st.sampled_from(["", "a", "b", "c", "ok"]), max_size=12))
def test_out_means_three_in_a_row_of_two_callers_or_of_unknown_ones(happened: list[str]) -> None:
    refusals = Refusals(Hands())
    for what in happened:
        refusals.accepted() if what == "ok" else refusals.refused(what)
    row: list[str] = []
    expected = False
    for what in happened:
        row = [] if what == "ok" else [*row, what]
        counted = len(row) >= 3 and (len(set(row)) > 1 or set(row) == {""})
        expected = bool(row) and (expected or counted)
    assert refusals.out == expected


# ------------------------------------------------------------------------------------------------------- the whole gateway


BODY = b'{"model":"m","messages":[{"role":"user","content":"x"}]}'


def test_readyz_says_why_and_calls_that_are_refused_are_seen_at_once() -> None:
    with run_gateway(config_to("http://127.0.0.1:9/v1")) as gateway:
        eventually(
            lambda: "refused" in ask(f"{gateway.url}/readyz", method="GET").body.decode(), "it says why"
        )
        answer = ask(f"{gateway.url}/readyz", method="GET")
        assert answer.status == 503
        assert answer.json["engines"] == {"upstream": "not ready"}
        assert "connection refused" in answer.json["reasons"]["upstream"]


def test_three_calls_in_a_row_that_are_refused_make_the_gateway_unready() -> None:
    with canned(whole(b"{}", status=b"401 No")) as engine, run_gateway(config_to(engine.base_url)) as gateway:
        eventually(lambda: ask(f"{gateway.url}/readyz", method="GET").status == 200, "ready")
        for expected in (200, 200, 503, 503):
            assert ask(f"{gateway.base_url}/chat/completions", BODY).status == 502
            assert ask(f"{gateway.url}/readyz", method="GET").status == expected
        engine.answer = whole(b'{"choices":[{"index":0,"message":{},"finish_reason":"stop"}]}')
        assert ask(f"{gateway.base_url}/chat/completions", BODY).status == 200
        assert ask(f"{gateway.url}/readyz", method="GET").status == 200


def test_a_model_that_is_refused_leaves_the_engine_and_its_other_models_alone() -> None:
    good = whole(b'{"choices":[{"index":0,"message":{},"finish_reason":"stop"}]}')
    with canned(whole(b"{}", status=b"403 No")) as strict, canned(good) as open_to_all:
        text = f"""
server: {{port: 0}}
engines:
  strict: {{kind: openai, url: "{strict.base_url}"}}
  open: {{kind: openai, url: "{open_to_all.base_url}"}}
models:
  both: {{deployments: [{{engine: strict}}, {{engine: open}}]}}
  one: {{deployments: [{{engine: strict}}]}}
"""
        with run_gateway(text) as gateway:
            eventually(
                lambda: set(ask(f"{gateway.url}/readyz", method="GET").json["engines"].values()) == {"ready"},
                "both ready",
            )
            found = [
                ask(f"{gateway.base_url}/chat/completions", BODY.replace(b'"m"', b'"both"')).status
                for _ in range(16)
            ]
            assert found == [200] * 16, "the other engine makes up for it"
            assert ask(f"{gateway.url}/readyz", method="GET").json["engines"]["strict"] == "ready"
