"""The supervisor's handle on a worker process."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from asyncio.subprocess import Process
from contextlib import suppress

from tidegate.ports import Spawn
from tidegate.workers.line import Handlers, Line

_WORKER = "tidegate.workers.worker"


class Member:
    """One process and the line to it.

    `serving` is true from the moment the process listens until it has ended. `dismissed` is true once the process was told
    to end because another process replaces it.
    """

    def __init__(self, number: int, process: Process, *, line: Line, patience_s: float) -> None:
        self.number = number
        self.line = line
        self.serving = self.dismissed = False
        self._process = process
        self._patience_s = patience_s

    @classmethod
    async def spawn(cls, number: int, handlers: Handlers, *, spawn: Spawn, patience_s: float) -> Member:
        """Start the process in its own session, so that Ctrl-C reaches only the supervisor, which passes it on.

        `patience_s` is how long the process may take to end after `dismiss`.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            # -P: files in the working directory cannot shadow a module.
            command = (sys.executable, "-P", "-m", _WORKER)
            process = await asyncio.create_subprocess_exec(
                *command, stdin=theirs.fileno(), start_new_session=True
            )
        line = await Line.over(ours, handlers, spawn)
        spawn(line.listen(), name=f"listen to worker {number}")
        return cls(number, process, line=line, patience_s=patience_s)

    async def ended(self) -> int:
        """Wait until the process has ended and return its exit code, negative for a signal."""
        code = await self._process.wait()
        self.serving = False
        return code

    def dismiss(self) -> None:
        """Tell the process to finish its calls and end. It is killed if it still runs after `patience_s`."""
        self.dismissed = True
        self.send(signal.SIGTERM)
        asyncio.get_running_loop().call_later(self._patience_s, self.send, signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process if it still runs."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
