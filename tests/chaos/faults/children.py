"""Child processes that can be killed, stopped and started again on the same port. Signals go to their own ids only."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path

PATIENCE_S = 30.0
TESTS = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Child:
    """A Python module as a process. It has started when its log has the words `started`."""

    def __init__(self, name: str, command: list[str], log: Path, *, started: str) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._started = started
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def log(self) -> str:
        """What it has said since its last start."""
        return self._log.read_text("utf-8", errors="replace")

    async def start(self) -> float:
        """Start it, and wait until it has started. Return the seconds that took."""
        began = time.monotonic()
        path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *self._command,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path},
            )
        while self._started not in self.log():
            waits = self.runs and time.monotonic() < began + PATIENCE_S
            assert waits, f"{self.name} did not start:\n{self.log()}"
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    def signal(self, number: signal.Signals) -> None:
        if self.runs:
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """Kill it, as kill -9 does, and wait for its end. A stopped process ends too."""
        if self._process is None:
            return
        self.signal(signal.SIGKILL)
        await self._process.wait()
