"""Every raw case of the corpus, against a gateway with an engine that records what reached it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from edge.corpus import CASES, Case
from edge.sending import ANSWER_WITHIN_S, Outcome, send
from serving import Running, config_to, eventually, run_gateway
from talking import SCRIPT, chat, post

from tidegate.config import ServerConfig
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread

SHORT_MS = 1500
SHORT = {"first_byte_timeout_ms": SHORT_MS, "head_timeout_ms": SHORT_MS, "body_idle_ms": SHORT_MS}


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=SCRIPT)) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(engine: ScriptedServer) -> Iterator[Running]:
    with run_gateway(config_to(engine.base_url, server=SHORT)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def outcomes(gateway: Running) -> dict[str, Outcome]:
    """All cases, a few at a time: the first test pays for all of them."""
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda case: send(gateway.url, case), CASES)
        return {case.name: outcome for case, outcome in zip(CASES, found, strict=True)}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_hostile_request_is_refused(case: Case, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[case.name]
    assert outcome.took_s < ANSWER_WITHIN_S
    if outcome.statuses:
        assert outcome.statuses[0] in case.statuses
    else:
        assert outcome.closed
        assert not case.must_answer
    assert len(outcome.statuses) <= case.answers, "answered twice"


def test_nothing_was_smuggled(outcomes: dict[str, Outcome], engine: ScriptedServer) -> None:
    assert len(outcomes) == len(CASES), "two cases have one name"
    assert engine.record.requests <= sum(case.calls for case in CASES)
    assert [entry.body for entry in engine.record.entries if b"smuggled" in bytes(entry.body or b"")] == []


def test_the_gateway_still_serves(outcomes: dict[str, Outcome], gateway: Running) -> None:
    assert post(gateway, chat()).status == 200
    eventually(lambda: not gateway.gateway.live, "the end of every call")


def test_the_shipped_limits_are_under_ten_seconds() -> None:
    shipped = ServerConfig()
    for limit_ms in (shipped.first_byte_timeout_ms, shipped.head_timeout_ms, shipped.body_idle_ms):
        assert limit_ms / 1000 < ANSWER_WITHIN_S - 1
