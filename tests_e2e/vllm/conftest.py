"""A real vLLM, and a gateway in front of it as a user starts it. `make e2e-vllm` runs this; `make test` does not."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openai import OpenAI
from serving import Process, eventually, serve

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "vllm"))

from vllm_server import MODEL, QUEUED, VENV, Vllm, running_vllm  # noqa: E402


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Tells whoever waits, past pytest's capture."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def say(words: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{words}", end="", flush=True)

    return say


@pytest.fixture(scope="session")
def vllm(say: Callable[[str], None]) -> Iterator[Vllm]:
    """The engine. VLLM_URL names one that runs already with the options of vllm_server.py, for whoever writes tests."""
    if url := os.environ.get("VLLM_URL"):
        yield Vllm(url)
        return
    with running_vllm(VENV / "vllm.log", say) as vllm:
        yield vllm


@pytest.fixture(autouse=True)
def _quiet(vllm: Vllm) -> Iterator[None]:
    """Every test finds vLLM idle, and leaves it so."""
    yield
    eventually(lambda: vllm.gauge("num_requests_running") + vllm.gauge("num_requests_waiting") == 0, "idle")


def config(vllm: Vllm) -> str:
    """Engines that are the same server: one gets all calls at once, of the others the gateway keeps the line itself.

    Of the last one, the gateway believes that it admits more calls than it does.
    """
    engine = {"kind": "vllm", "url": vllm.base_url, "sends_priority": True}
    return json.dumps(
        {
            "engines": {
                "gpu": engine,
                "gpu-in-line": {**engine, "max_in_flight": QUEUED},
                "gpu-overrated": {**engine, "max_in_flight": 2 * QUEUED},
            },
            "models": {
                MODEL: {"deployments": [{"engine": "gpu"}]},
                "renamed-*": {"deployments": [{"engine": "gpu", "model": MODEL}]},
                "in-line": {"deployments": [{"engine": "gpu-in-line", "model": MODEL}]},
                "overrated": {"deployments": [{"engine": "gpu-overrated", "model": MODEL}]},
                "not-there": {"deployments": [{"engine": "gpu"}]},
            },
        }
    )


@pytest.fixture(scope="session")
def gateway(vllm: Vllm) -> Iterator[Process]:
    with serve(config(vllm)) as process:
        yield process


@pytest.fixture(scope="session")
def client(gateway: Process) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.base_url, api_key="any", max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture(scope="session")
def direct(vllm: Vllm) -> Iterator[OpenAI]:
    """The same client, straight to vLLM: what it says is what the gateway has to say."""
    with OpenAI(base_url=vllm.base_url, api_key="any", max_retries=0, timeout=120) as client:
        yield client
