"""One gateway with the embedded engine, as a process of the project's own environment: the clients have another one."""

from __future__ import annotations

import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
_SERVING = re.compile(r" serving .* on (https?://\S+)/v1$", re.MULTILINE)


@pytest.fixture(scope="session")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL for OpenAI clients."""
    folder = tmp_path_factory.mktemp("gateway")
    log = folder / "log"
    with log.open("wb") as out:
        gateway = subprocess.Popen(
            [ROOT / ".venv/bin/python", "-m", "tidegate", "serve", "--port", "0"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            stdout=out,
            stderr=out,
        )
    try:
        yield f"{_ready(gateway, log)}/v1"
    finally:
        gateway.terminate()
        gateway.wait()


@pytest.fixture
def example(base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples can be imported, and ask this gateway."""
    monkeypatch.setenv("TIDEGATE_URL", base_url)
    monkeypatch.syspath_prepend(str(ROOT / "examples/structured"))


def _ready(gateway: subprocess.Popen[bytes], log: Path) -> str:
    ends_at = time.monotonic() + PATIENCE_S
    while gateway.poll() is None and time.monotonic() < ends_at:
        found = _SERVING.search(log.read_text("utf-8"))
        if found and _answers(f"{found[1]}/readyz"):
            return found[1]
        time.sleep(0.2)
    raise AssertionError(f"the gateway does not serve:\n{log.read_text('utf-8')}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url) as response:
            return response.status == 200
    except urllib.error.URLError:
        return False
