"""A worker's process as its supervisor sees it."""

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

    `serving` from when it listens until it has ended; `dismissed` from when it was told to end, so that another follows.
    """

    def __init__(self, number: int, process: Process, *, line: Line, patience_s: float) -> None:
        self.number = number
        self.line = line
        self.serving = self.dismissed = False
        self._process = process
        self._patience_s = patience_s

    @classmethod
    async def spawn(cls, number: int, handlers: Handlers, *, spawn: Spawn, patience_s: float) -> Member:
        """Start the process, in a session of its own: Ctrl-C reaches the supervisor alone, which passes it on.

        `patience_s` is how long it may take to end once it is dismissed.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            # -P: what lies in the working directory does not shadow a module.
            command = (sys.executable, "-P", "-m", _WORKER)
            process = await asyncio.create_subprocess_exec(
                *command, stdin=theirs.fileno(), start_new_session=True
            )
        line = await Line.over(ours, handlers, spawn)
        spawn(line.listen(), name=f"listen to worker {number}")
        return cls(number, process, line=line, patience_s=patience_s)

    async def ended(self) -> int:
        """Its exit code, once it has ended; negative for a signal."""
        code = await self._process.wait()
        self.serving = False
        return code

    def dismiss(self) -> None:
        """Have it finish its calls and end; when its time for that is over, it is killed."""
        self.dismissed = True
        self.send(signal.SIGTERM)
        asyncio.get_running_loop().call_later(self._patience_s, self.send, signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """A signal to the process, if it is still there."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
