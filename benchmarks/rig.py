"""The bench: measures one server on one core, fairly and repeatably.

The measured server is pinned to one core, the mock engine and the load to another. CPU time is read from the kernel's
accounting of the server's whole process tree. `run.py` decides which servers are measured and in which order. `report.py`
evaluates the figures.
"""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from sse_load import StreamReport

HERE = Path(__file__).resolve().parent
BUILD = HERE / ".build"
KEY_HEADER = {"Authorization": "Bearer the-fixed-key-of-the-rig"}
"""The key of rig.yaml, as the loads send it."""
ENGINE_URL = "http://127.0.0.1:18730/v1/chat/completions"
FLOOR_URL = "http://127.0.0.1:18732/v1/chat/completions"
STOP_SECONDS = 15  # SIGTERM to SIGKILL: longer than the drain of an idle gateway
POLL_SECONDS = 0.01  # how exactly the start is measured


class RigError(Exception):
    """The measurement cannot continue. The message says what to do."""


def free_port() -> int:
    """Return a port that is free now, for TCP and UDP. So several measurements can run on one machine."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            with contextlib.suppress(OSError):
                udp.bind(("127.0.0.1", port))
                return port


class LoadReport(msgspec.Struct, frozen=True):
    """What `http_load` prints: see the head of http_load.c."""

    rps: float
    n: int
    bad: int
    p50_ms: float
    p99_ms: float
    mean_ms: float
    max_ms: float


@dataclass(frozen=True)
class Cores:
    """The cores for the server and for the load."""

    server: int
    load: int

    @staticmethod
    def choose() -> "Cores":
        """Two of the cores that this process may use; the same twice when there is only one."""
        usable = sorted(os.sched_getaffinity(0))
        return Cores(server=usable[0], load=usable[min(1, len(usable) - 1)])


@contextlib.contextmanager
def pinned(core: int) -> Generator[None]:
    """Pin to a core every process that is started in this block, with all its threads and children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def build(name: str) -> Path:
    """Compile `name`.c if it is newer than the program. Raises RigError if there is no C compiler."""
    source, binary = HERE / f"{name}.c", BUILD / name
    if binary.exists() and binary.stat().st_mtime > source.stat().st_mtime:
        return binary
    BUILD.mkdir(exist_ok=True)
    command = ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o", str(binary), str(source)]
    try:
        subprocess.run(command, check=True)
    except FileNotFoundError as error:
        raise RigError(
            "gcc is not installed: the mock engine and the load generator are C programs"
        ) from error
    except subprocess.CalledProcessError as error:
        raise RigError(f"{source.name} does not compile") from error
    return binary


# ---- what the kernel knows about a process ----


def process_tree(pid: int) -> list[int]:
    """Return the process and all its living descendants."""
    tree = [pid]
    for parent in tree:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                tree += map(int, children.read_text().split())
    return tree


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of the process tree so far, user and kernel, including threads that have ended.

    A process's CPU clock has the id (~pid << 3) | 2 (clock_getcpuclockid(3)): nanoseconds, where /proc/PID/stat
    counts in ticks of 10 ms.
    """
    total = 0.0
    for process in process_tree(pid):
        with contextlib.suppress(OSError):
            total += time.clock_gettime((~process << 3) | 2)
    return total


def memory_mib(pid: int) -> float:
    """Return the proportional set size of the process tree: a shared page is divided among the processes that share it."""
    total_kib = 0
    for process in process_tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total_kib += int(line.split()[1])
    return total_kib / 1024


def machine_busy_seconds(cores: Cores) -> float:
    """Return the total CPU time of the bench's cores on any work, including stolen time."""
    names = {f"cpu{cores.server}", f"cpu{cores.load}"}
    ticks = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in names:  # user nice system idle iowait irq softirq steal ...
            ticks += sum(int(fields[i]) for i in (0, 1, 2, 5, 6, 7))
    return ticks / os.sysconf("SC_CLK_TCK")


# ---- servers ----


def answers_like_the_engine(url: str, headers: dict[str, str]) -> bool:
    """Send one request and check the answer. Raises OSError or HTTPException while no server answers."""
    parts = urlsplit(url)
    body = {"model": "m-d0", "messages": [{"role": "user", "content": "hello [[m-d0]]"}]}
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=5)
    try:
        sent = {"Content-Type": "application/json", **headers}
        connection.request("POST", parts.path, msgspec.json.encode(body), sent)
        return b"quick brown fox" in connection.getresponse().read()
    finally:
        connection.close()


class Server:
    """A measured process, or one that runs beside it, from its start to its end."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        answers: Callable[[], bool] | None = None,
    ) -> None:
        """`answers` says whether the server is ready; without it, whether it answers as the mock engine does."""
        self.name = name
        self.url = url
        self.headers = headers or {}
        self._answers = answers or partial(answers_like_the_engine, url, self.headers)
        self.start_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._log = BUILD / f"{name}.log"

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    def start(
        self, command: list[str], *, core: int, wait_s: float, env: dict[str, str] | None = None
    ) -> None:
        """Start the server on `core` and wait until it answers as the engine does. Sets `start_s` to that time."""
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                raise RigError(f"port {self.port} is taken: end what listens there, {self.name} needs it")
        BUILD.mkdir(exist_ok=True)
        started = time.monotonic()
        with pinned(core), self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=env)
        self._wait(started, wait_s=wait_s)
        self.start_s = time.monotonic() - started

    def _wait(self, started: float, *, wait_s: float) -> None:
        problem: object = "it did not answer"
        while time.monotonic() - started < wait_s:
            try:
                if self._answers():
                    return
                problem = "it answered, but not with the engine's text"
            except (OSError, http.client.HTTPException) as error:
                problem = error
            if self._process and self._process.poll() is not None:
                raise RigError(f"{self.name} ended with {self._process.returncode}: {self._last_words()}")
            time.sleep(POLL_SECONDS)
        raise RigError(f"{self.name} is not ready after {wait_s:g} s ({problem}): {self._last_words()}")

    def _last_words(self) -> str:
        return f"see {self._log}\n{self._log.read_text(errors='replace')[-1500:]}"

    @property
    def pid(self) -> int:
        """The pid of the started process. Raises RigError if none runs."""
        if self._process is None:
            raise RigError(f"{self.name} does not run")
        return self._process.pid

    def cpu_s(self) -> float:
        return cpu_seconds(self._process.pid) if self._process else 0.0

    def memory_mib(self) -> float:
        return memory_mib(self._process.pid) if self._process else 0.0

    def stop(self) -> None:
        if not self._process:
            return
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
                break
        self._process = None


# ---- load ----


@dataclass(frozen=True)
class Requests:
    """Closed-loop load: each of `connections` clients sends its next request when it has its answer."""

    model: str
    connections: int
    seconds: float
    stream: bool = False
    prompt_chars: int = 0


@dataclass(frozen=True)
class Streams:
    """Streaming load: each of `streams` clients repeatedly reads 100 chunks that are 20 ms apart."""

    streams: int
    seconds: float
    prompt_chars: int = 0


class Bench:
    """Applies load to one server at a time, from the load core, and measures the server's CPU time for it."""

    def __init__(self, cores: Cores) -> None:
        self.cores = cores
        self._http_load = build("http_load")

    def requests(self, server: Server, load: Requests) -> tuple[LoadReport, float]:
        """The load's own report, and the server's CPU seconds."""
        command = [str(self._http_load), "--model", load.model, "--connections", str(load.connections)]
        command += ["--stream"] if load.stream else []
        command += ["--prompt-chars", str(load.prompt_chars)]
        output, cpu_s = self._measure(server, command, load.seconds)
        return msgspec.json.decode(output, type=LoadReport), cpu_s

    def streams(self, server: Server, load: Streams) -> tuple[StreamReport, float]:
        """The load's own report, and the server's CPU seconds."""
        command = [
            sys.executable,
            str(HERE / "sse_load.py"),
            "--model",
            "m-n100-g20",
            "--streams",
            str(load.streams),
            "--prompt-chars",
            str(load.prompt_chars),
        ]
        output, cpu_s = self._measure(server, command, load.seconds)
        return msgspec.json.decode(output, type=StreamReport), cpu_s

    def _measure(self, server: Server, command: list[str], seconds: float) -> tuple[bytes, float]:
        path = urlsplit(server.url).path
        command = [*command, "--port", str(server.port), "--path", path, "--seconds", str(seconds)]
        for name, value in server.headers.items():
            command += ["--header", f"{name}: {value}"]
        self._settle(server)
        before = server.cpu_s()
        with pinned(self.cores.load):
            done = subprocess.run(command, capture_output=True, check=False)
        spent = server.cpu_s() - before
        if done.returncode:
            raise RigError(f"the load on {server.name} failed: {done.stderr.decode(errors='replace')[-500:]}")
        return done.stdout, spent

    def _settle(self, server: Server) -> None:
        """Wait, for at most 6 s, until the server has finished the work of the last load."""
        for _ in range(30):
            before = server.cpu_s()
            time.sleep(0.2)
            if server.cpu_s() - before < 0.02:
                return
