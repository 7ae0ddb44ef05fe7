"""Keeps one llama.cpp server alive: starts it, waits until it serves, restarts it when it dies, and stops it at the end.

The server is a separate process (`child.py`), so that a crash in C++ costs one restart and not the gateway. `child.py`
sets the parameters of llama.cpp. The engine (`engine.py`) sends the requests.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import msgspec

from tidegate.engines.embedded.slot_folder import make_slot_folder
from tidegate.engines.embedded.weights import check_gguf
from tidegate.errors import ConfigError, Problem, UpstreamError, UpstreamUnreachable
from tidegate.kernel.backoff import Backoff
from tidegate.ports import Clock

log = logging.getLogger(__name__)

_TAIL_LINES = 50
_HEALTH_TIMEOUT_S = 2.0
_HEALTH_EVERY_S = 0.05
_CHILD = Path(__file__).with_name("child.py")
# The whole environment of the child. The child parses untrusted text in C++, so it gets none of the gateway's secrets. Its
# threads wait for each other hundreds of times a token. By default OpenMP spins while waiting, which is very slow when
# another process needs the core (four streams beside one busy process on two cores: 6-40 tokens/s). With a short spin it
# was about 50 tokens/s, and as fast as before on idle cores.
_CHILD_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "GOMP_SPINCOUNT": "1000"}


class LlamaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one llama.cpp server.

    `context_tokens` is the total, divided evenly among the `slots`. `threads` is the number of threads that decode one
    stream; 0 means all cores but one, since decoding on every core stalls as soon as another process needs one.
    `batch_threads` is the number of threads that read prompts and decode several streams at once; 0 means all cores.
    `speculation` is "none" or "ngram". With "ngram", tokens are guessed from the text so far, which helps with repetitive
    text. `lora` has pairs of path and scale.
    """

    model_path: str
    alias: str
    slots: int = 4
    context_tokens: int = 8192
    threads: int = 0
    batch_threads: int = 0
    cache_ram_mib: int = 128
    speculation: str = "none"
    lora: tuple[tuple[str, float], ...] = ()
    start_timeout_s: float = 60.0
    socket_timeout_s: int = 600


class Served(msgspec.Struct, frozen=True):
    """The address and key of one run of a server. `slot_dir` is the folder in which the server saves its slots."""

    url: str
    api_key: str
    generation: int
    slot_dir: str


class LlamaServer:
    """One supervised server. The owner calls `start` once, then spawns `run`, and calls `stop` at the end.

    `changed` is called whenever the server starts or stops serving. `generation` counts the successful starts: when it
    changes, all knowledge of the server's slots is out of date.
    """

    def __init__(
        self,
        settings: LlamaSettings,
        *,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        backoff: Backoff | None = None,
        stop_grace_s: float = 5.0,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.api_key = secrets.token_urlsafe(32)
        self.url = ""
        self.generation = 0
        self.slot_dir: Path | None = None
        self._clock = clock
        self._sleep = sleep
        self._backoff = backoff or Backoff()
        self._grace_s = stop_grace_s
        self._changed = changed
        self._child: _Child | None = None
        self._serving = asyncio.Event()
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The process id of the child, or None if no child runs."""
        return self._child.pid if self._child is not None and self._child.alive else None

    @property
    def ready(self) -> bool:
        """Whether the server has answered its health check and has not died since."""
        return self._serving.is_set() and self.pid is not None

    @property
    def served(self) -> Served:
        """The address and key of the latest run, even if it no longer serves."""
        return Served(self.url, self.api_key, self.generation, str(self.slot_dir))

    async def start(self) -> None:
        """Start the server and wait until it serves.

        Raises ConfigError if llama.cpp cannot use the model or a setting, and UpstreamError if the start takes too long or
        the child is killed.
        """
        await asyncio.to_thread(check_gguf, Path(self.settings.model_path))
        if self.slot_dir is None:
            self.slot_dir = await asyncio.to_thread(make_slot_folder)
        child = self._child = await _Child.spawn(self._line_for_child())
        child.exit.add_done_callback(self._ended)
        try:
            if self._stopping:  # `stop` was called while the process was being created
                raise UpstreamError("the engine is being stopped")
            async with asyncio.timeout(self.settings.start_timeout_s):
                self.url = await child.listening()
                while not await _healthy(self.url):
                    await self._sleep(_HEALTH_EVERY_S)
        except TimeoutError as error:
            raise UpstreamError(
                f"llama.cpp did not serve within {self.settings.start_timeout_s:g} s", retry_after_s=5
            ) from error
        except _EndedEarly as error:
            raise self._explain(child, error) from error
        else:
            self.generation += 1
            self._serving.set()
            self._changed()
        finally:
            if not self._serving.is_set():
                await child.end(grace_s=0.0)
                if not self.generation:  # after a failed first start, `stop` is not called
                    await self._remove_saved()

    async def run(self) -> None:
        """Restart the server whenever it dies, until `stop` is called. The owner spawns this task after `start`."""
        failures = 0
        while self._child is not None and not self._stopping:
            began = self._clock()
            code = await self._child.ended()
            if self._stopping:
                return
            well = self._clock() - began >= self._backoff.reset_after_s
            failures = 1 if well else failures + 1
            delay = self._backoff.delay(failures)
            log.warning(
                "llama.cpp with %s ended (%s); restart in %.2f s", self.settings.alias, _how(code), delay
            )
            await self._sleep(delay)
            await self._restart()

    async def await_ready(self, deadline: float) -> None:
        """Wait until the server serves. Raises UpstreamUnreachable at `deadline`, a time in seconds on the clock."""
        if not self.ready:
            await until_serving(self._serving, deadline - self._clock())

    async def stop(self) -> None:
        """End the child, reap it and remove its saved slots.

        The child is told to end by closing its stdin. It is killed if it still runs after `stop_grace_s`.
        """
        self._stopping = True
        self._serving.clear()
        if self._child is not None:
            await self._child.end(grace_s=self._grace_s)
        await self._remove_saved()

    def _ended(self, _: object) -> None:
        self._serving.clear()
        self._changed()

    async def _remove_saved(self) -> None:
        if self.slot_dir is not None:
            await asyncio.to_thread(shutil.rmtree, self.slot_dir, ignore_errors=True)
            self.slot_dir = None

    async def _restart(self) -> None:
        if self._stopping:
            return
        try:
            await self.start()
        except (
            UpstreamError,
            ConfigError,
            OSError,
        ) as error:  # OSError if the system cannot create a process
            # `run` notices that the child is dead and tries again, with growing pauses.
            log.error("llama.cpp with %s did not start: %s", self.settings.alias, error)  # noqa: TRY400

    def _line_for_child(self) -> bytes:
        cores = _usable_cores()
        settings = {
            **msgspec.to_builtins(self.settings),
            "threads": self.settings.threads or max(1, cores - 1),
            "batch_threads": self.settings.batch_threads or cores,
            "api_key": self.api_key,
            "slot_dir": str(self.slot_dir),
            "parent": os.getpid(),
        }
        return msgspec.json.encode(settings) + b"\n"

    def _explain(self, child: _Child, error: _EndedEarly) -> Exception:
        said = "\n".join(f"    {line}" for line in child.tail)
        if error.code == 1:  # llama.cpp ended by itself, so the cause is the model or a setting
            what = f"llama.cpp cannot serve {self.settings.model_path}; it said:\n{said}"
            return ConfigError("embedded engine", [Problem("model", what)])
        return UpstreamError(f"llama.cpp ended while starting ({_how(error.code)}); it said:\n{said}")


class _Listening(msgspec.Struct):
    url: str


class _EndedEarly(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Child(asyncio.SubprocessProtocol):
    """One run of the process. Unlike streams, a protocol needs no task that reads the child's output."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._first_line: asyncio.Future[bytes] = loop.create_future()
        self.exit: asyncio.Future[int] = loop.create_future()
        self._transport: asyncio.SubprocessTransport | None = None
        self._rest = {1: b"", 2: b""}

    @classmethod
    async def spawn(cls, settings: bytes) -> _Child:
        """Start the child and send it the settings."""
        loop = asyncio.get_running_loop()
        # Run by path, because the child imports no module of this package. `-P` keeps the modules beside the file from
        # shadowing others.
        command = (sys.executable, "-P", str(_CHILD))
        transport, child = await loop.subprocess_exec(cls, *command, env=_CHILD_ENVIRONMENT)
        child._transport = transport  # noqa: SLF001  (an instance of this class)
        stdin = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
        stdin.write(settings)  # stdin stays open: its end-of-file tells the child that the gateway ended
        return child

    @property
    def pid(self) -> int | None:
        return self._transport.get_pid() if self._transport is not None else None

    @property
    def alive(self) -> bool:
        return not self.exit.done()

    async def listening(self) -> str:
        """Wait for the URL that the server listens on, and return it. Raises _EndedEarly, UpstreamError."""
        await asyncio.wait((self._first_line, self.exit), return_when=asyncio.FIRST_COMPLETED)
        if not self._first_line.done():
            raise _EndedEarly(self.exit.result())
        try:
            return msgspec.json.decode(self._first_line.result(), type=_Listening).url
        except msgspec.DecodeError as error:
            raise UpstreamError("llama.cpp did not report the address it listens on") from error

    async def ended(self) -> int:
        """Wait for the end of the child and return its exit code, negative for a signal."""
        return await asyncio.shield(self.exit)

    async def end(self, *, grace_s: float) -> None:
        """End the child and reap it."""
        if self._transport is None:
            return
        if self.alive and grace_s > 0:
            # The child ignores SIGTERM, because that may reach every process of a service at once.
            cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0)).close()
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self.ended()
        if self.alive:
            with suppress(ProcessLookupError):  # the child has just ended by itself
                self._transport.kill()
            await self.ended()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *lines, self._rest[fd] = (self._rest[fd] + data).split(b"\n")
        if fd == 2:
            self.tail.extend(line.decode(errors="replace") for line in lines)
        elif lines and not self._first_line.done():
            self._first_line.set_result(lines[0])

    def process_exited(self) -> None:
        # The pipes may still have unread output. `connection_lost` is called once all output is read.
        pass

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        code = None
        if self._transport is not None:
            code = self._transport.get_returncode()
            self._transport.close()
        if not self.exit.done():
            self.exit.set_result(code if code is not None else -signal.SIGKILL)


async def until_serving(serving: asyncio.Event, patience_s: float) -> None:
    """Wait at most `patience_s` until a server serves. Raises UpstreamUnreachable after that."""
    try:
        async with asyncio.timeout(max(0.0, patience_s)):
            await serving.wait()
    except TimeoutError as error:
        raise UpstreamUnreachable("the engine is starting", retry_after_s=2) from error


async def _healthy(url: str) -> bool:
    """Return whether `/health` answers 200. The path needs no API key."""
    where = urlsplit(url)
    try:
        async with asyncio.timeout(_HEALTH_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            try:
                writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                return (await reader.readline()).split(b" ")[1:2] == [b"200"]
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def _usable_cores() -> int:
    """Return the number of cores this process may run on, or of all cores if the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
