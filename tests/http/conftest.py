"""One engine and one gateway for a file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from canned import Canned, canned
from serving import Running, config_to, eventually, run_gateway
from talking import SCRIPT

from tidegate.engines.scripted.server import ScriptedServer, run_in_thread


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=SCRIPT)) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(engine: ScriptedServer) -> Iterator[Running]:
    with run_gateway(config_to(engine.base_url, api_key="engine-key")) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def without_rails(engine: ScriptedServer) -> Iterator[Running]:
    """The gateway without rails, for tests of the path itself: see `config_to`."""
    with run_gateway(config_to(engine.base_url, api_key="engine-key", rails="none")) as gateway:
        yield gateway


@pytest.fixture
def idle(engine: ScriptedServer) -> None:
    """The test begins with an engine that nobody uses."""
    eventually(lambda: engine.record.in_flight == 0, "the engine is free")


@pytest.fixture(scope="module")
def sayer() -> Iterator[Canned]:
    """An engine that says exactly what a test puts into its mouth."""
    with canned() as server:
        yield server


@pytest.fixture(scope="module")
def in_front(sayer: Canned) -> Iterator[Running]:
    """The gateway in front of `sayer`."""
    with run_gateway(config_to(sayer.base_url)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def without_rails_in_front(sayer: Canned) -> Iterator[Running]:
    """The gateway in front of `sayer` without rails, for tests of the path itself: see `config_to`."""
    with run_gateway(config_to(sayer.base_url, rails="none")) as gateway:
        yield gateway
