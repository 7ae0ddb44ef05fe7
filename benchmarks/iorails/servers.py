"""Starts what is measured, each server pinned to a core: the mock engines, NeMo Guardrails, and Tidegate twice.

The gateways share one core and are measured in turn. The engines and the load share another.
"""

import http.client
import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from rig import BUILD, Cores, RigError, Server, free_port
from trees import CHAT, environment

from iorails.mock_llms import APP_MODEL, FORBIDDEN_ANSWER, FORBIDDEN_PROMPT, MISBEHAVE

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
NEMO_PYTHON = ROOT / ".venv-nemo" / "bin" / "python"
NEMO, TIDEGATE, RACE, CHAIN = "nemo", "tidegate", "race", "chain"
HELLO = "Hello, when does the ferry to the islands leave?"


class Latencies(msgspec.Struct, frozen=True):
    """How long the engines take, in seconds."""

    app_s: float
    guard_s: float

    @property
    def floor_s(self) -> float:
        """A prompt's check, the answer, its check: one after the other."""
        return self.app_s + 2 * self.guard_s


class Counts(msgspec.Struct, frozen=True):
    """Completions that each engine has been asked for."""

    app: int
    guard: int

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(self.app - other.app, self.guard - other.guard)


@dataclass(frozen=True)
class Setup:
    """What is compared: the Python of NeMo's environment, the tree of Tidegate, and its configuration."""

    nemo_python: Path
    source: Path
    config: Path

    def check(self) -> None:
        """Raise RigError if a part is missing."""
        if not self.nemo_python.exists():
            raise RigError(
                f"{self.nemo_python} does not exist: `make bench-rails` sets it up, or name one by --nemo"
            )
        if not (self.source / "tidegate" / "__main__.py").exists():
            raise RigError(f"{self.source} holds no tidegate: name the folder src of a checkout by --src")


def post(url: str, text: str) -> tuple[int, bytes]:
    """Ask a gateway. Raises OSError or HTTPException while no server answers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=30)
    body = json.dumps({"model": APP_MODEL, "messages": [{"role": "user", "content": text}]})
    try:
        connection.request("POST", parts.path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def answers(url: str) -> Callable[[], bool]:
    def ready() -> bool:
        status, body = post(url, HELLO)
        return status == 200 and b"longer pier" in body

    return ready


class Servers:
    """The running servers of one pair of latencies."""

    def __init__(self, setup: Setup, latencies: Latencies, cores: Cores) -> None:
        self.latencies = latencies
        self._setup = setup
        self._cores = cores
        self._app_port, self._guard_port = free_port(), free_port()
        self._engine_urls = [f"http://127.0.0.1:{port}{CHAT}" for port in (self._app_port, self._guard_port)]
        self.engines = Server("mock_llms", self._engine_urls[0], answers=answers(self._engine_urls[0]))
        self.gateways: dict[str, Server] = {}
        for name in (NEMO, TIDEGATE, RACE):
            url = f"http://127.0.0.1:{free_port()}{CHAT}"
            self.gateways[name] = Server(name, url, answers=answers(url))

    def urls(self, target: str) -> list[str]:
        """What the load asks: a gateway, or for the chain the guard model, the application's, the guard model."""
        app, guard = self._engine_urls
        return [guard, app, guard] if target == CHAIN else [self.gateways[target].url]

    @property
    def running(self) -> list[Server]:
        return [self.engines, *self.gateways.values()]

    def start(self, names: list[str]) -> None:
        """Start the engines and these gateways. Raises RigError if one does not answer."""
        engines = [
            *(sys.executable, "-P", str(HERE / "mock_llms.py")),
            *("--app-port", str(self._app_port), "--guard-port", str(self._guard_port)),
            *("--app-s", str(self.latencies.app_s), "--guard-s", str(self.latencies.guard_s)),
        ]
        self.engines.start(engines, core=self._cores.load, wait_s=20)
        for name in names:
            gateway = self.gateways[name]
            command = self._nemo(gateway) if name == NEMO else self._tidegate(gateway, race=name == RACE)
            env = environment(PYTHONPATH="" if name == NEMO else str(self._setup.source))
            gateway.start(command, core=self._cores.server, wait_s=120, env=env)

    def stop(self) -> None:
        for server in self.running:
            server.stop()

    def _ported(self, source: Path, name: str) -> str:
        text = source.read_text()
        for port, ours in (("19481", self._app_port), ("19482", self._guard_port)):
            text = text.replace(port, str(ours))
        return text.replace("19480", str(self.gateways[name].port))

    def _nemo(self, server: Server) -> list[str]:
        folder = BUILD / "content_safety"
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted((HERE / "nemo" / "content_safety").iterdir()):
            (folder / file.name).write_text(self._ported(file, NEMO))
        return [
            *(str(self._setup.nemo_python), str(HERE / "nemo" / "serve.py")),
            *("--port", str(server.port), str(folder)),
        ]

    def _tidegate(self, server: Server, *, race: bool) -> list[str]:
        text = self._ported(self._setup.config, server.name)
        if race:
            text = text.replace("race: false", "race: true")
        path = BUILD / f"iorails-{server.name}.yaml"
        path.write_text(text)
        return [sys.executable, "-P", "-m", "tidegate", "serve", "--config", str(path)]

    def counts(self) -> Counts:
        parts = urlsplit(self._engine_urls[0])
        connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=30)
        try:
            connection.request("GET", "/counts")
            return msgspec.json.decode(connection.getresponse().read(), type=Counts)
        finally:
            connection.close()

    def verify(self, name: str) -> None:
        """Raise RigError unless the gateway guards: each verdict is asked for once, and obeyed."""
        for what, text, asked, passes in (
            ("a harmless prompt", HELLO, Counts(app=1, guard=2), True),
            ("a forbidden prompt", f"Tell me about {FORBIDDEN_PROMPT}", Counts(app=0, guard=1), False),
            ("a forbidden answer", f"Hello {MISBEHAVE}", Counts(app=1, guard=2), False),
        ):
            before = self.counts()
            _, body = post(self.gateways[name].url, text)
            calls = self.counts() - before
            shown = b"longer pier" in body or FORBIDDEN_ANSWER.encode() in body
            if shown != passes:
                raise RigError(f"{name} {'shows' if shown else 'refuses'} {what}: {body[:300]!r}")
            # A race may have begun to ask the engine for the answer to a forbidden prompt.
            if calls != asked and not (name == RACE and not passes):
                raise RigError(f"{name} makes {calls} for {what}, and {asked} is right")


@contextmanager
def started(setup: Setup, latencies: Latencies, cores: Cores, names: list[str]) -> Generator[Servers]:
    """Servers that answer, and have been found to guard. Raises RigError."""
    servers = Servers(setup, latencies, cores)
    BUILD.mkdir(exist_ok=True)
    try:
        servers.start(names)
        for name in names:
            servers.verify(name)
        yield servers
    finally:
        servers.stop()
