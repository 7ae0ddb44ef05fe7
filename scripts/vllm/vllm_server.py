"""Start the vLLM of `.venv-vllm` and end it: for the tests in tests_e2e/vllm and for benchmarks/vllm.py."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

VENV = Path(__file__).resolve().parent.parent.parent / ".venv-vllm"
MODEL = "smollm2"
SLOTS = 8
QUEUED = 12  # running ones included
CONTEXT_TOKENS = 2048
START_S = 300
END_S = 20

ENVIRONMENT = {
    "VLLM_TARGET_DEVICE": "cpu",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # One core is left to the gateway and the client. OpenMP's threads wait for each other at every step of every token:
    # with as many as there are cores, a token takes a second as soon as anything else runs.
    "OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) - 1)),
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
OPTIONS = [
    *("--served-model-name", MODEL),
    *("--max-model-len", str(CONTEXT_TOKENS)),
    *("--max-num-seqs", str(SLOTS)),
    *("--max-num-queued-reqs", str(QUEUED)),
    *("--scheduling-policy", "priority"),
    *("--tool-call-parser", "hermes"),
    "--enable-auto-tool-choice",
    "--enable-prefix-caching",
    "--enable-prompt-tokens-details",
    "--enforce-eager",
]


@dataclass(frozen=True)
class Vllm:
    """A vLLM that serves."""

    url: str
    started_in_s: float = 0.0
    pid: int | None = None

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    def gauge(self, name: str) -> float:
        """One of its gauges, as its own page says it."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"vllm:{name}{{"))


@contextmanager
def running_vllm(log_path: Path, say: Callable[[str], None] = print) -> Iterator[Vllm]:
    """A vLLM on a free port of the loopback; what it says goes to `log_path`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        VENV / "bin" / "vllm",
        "serve",
        VENV / "model",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        *OPTIONS,
    ]
    say(f"==> vLLM starts, which takes about a minute (its log: {log_path})")
    began_at = time.monotonic()
    with log_path.open("wb") as log:
        # A group of its own: its workers end with it even where it cannot end them itself.
        process = subprocess.Popen(
            command, env={**os.environ, **ENVIRONMENT}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_it_serves(process, url, log_path, say)
        started_in_s = time.monotonic() - began_at
        say(f"==> vLLM serves after {started_in_s:.0f} s")
        yield Vllm(url, started_in_s, process.pid)
    finally:
        end(process)


def wait_until_it_serves(
    process: subprocess.Popen[bytes], url: str, log_path: Path, say: Callable[[str], None]
) -> None:
    began_at = told_at = time.monotonic()
    while True:
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(f"{url}/health", timeout=2).close()
            return
        now = time.monotonic()
        if process.poll() is not None or now - began_at > START_S:
            end_of_log = "\n".join(log_path.read_text(errors="replace").splitlines()[-20:])
            raise SystemExit(f"vLLM does not start; its log ends so:\n{end_of_log}")
        if now - told_at > 10:
            say(f"    ... {now - began_at:.0f} s")
            told_at = now
        time.sleep(0.2)


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
