"""Source trees of the gateway beside each other: how one is started, and how two are compared.

A tree is a folder `src` of some checkout; the packages it needs come from the environment that runs the bench. Every
server gets a port of its own, so trees run beside each other, and beside whatever else the machine does.
"""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from rig import BUILD, HERE, RigError, Server, build, free_port

SOURCE = HERE.parent / "src"
FLOOR, BEFORE, AFTER = "floor", "before", "after"
CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Target:
    """A server, and how to start it."""

    server: Server
    command: list[str]
    env: dict[str, str]


@dataclass
class Engine:
    """A mock engine on a port of its own."""

    name: str = "engine"
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.server = Server(self.name, f"http://127.0.0.1:{self.port}{CHAT}")

    def start(self, *, core: int) -> None:
        self.server.start([str(build("mock_engine")), str(self.port)], core=core, wait_s=5)


def environment(**added: str) -> dict[str, str]:
    """The same for every tree: equal hashes, and no bytecode written into a tree that is only read."""
    fixed = {"PYTHONHASHSEED": "0", "PYTHONPYCACHEPREFIX": str(BUILD / "pycache")}
    return os.environ | fixed | added


def floor(engine_port: int) -> Target:
    port = free_port()
    command = [
        *(sys.executable, "-P", "-m", "uvicorn", "--app-dir", str(HERE), "--host", "127.0.0.1"),
        *("--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log"),
        *("--log-level", "warning", "floor:app"),
    ]
    server = Server(FLOOR, f"http://127.0.0.1:{port}{CHAT}")
    return Target(server, command, environment(FLOOR_ENGINE_PORT=str(engine_port)))


def check_source(source: Path) -> None:
    """Raises RigError when the folder holds no gateway."""
    if not (source / "tidegate" / "__main__.py").exists():
        raise RigError(f"{source} holds no tidegate: name the folder src of a checkout, or the checkout")


def gateway(name: str, source: Path, engine_port: int) -> Target:
    """`tidegate serve` from the tree, with rig.yaml on free ports. Raises RigError when it holds no gateway."""
    source = source.resolve()
    check_source(source)
    port = free_port()
    config = BUILD / f"{name}-{port}.yaml"
    BUILD.mkdir(exist_ok=True)
    text = (HERE / "rig.yaml").read_text()
    config.write_text(text.replace("8080", str(port)).replace("18730", str(engine_port)))
    command = [sys.executable, "-P", "-m", "tidegate", "serve", "--config", str(config)]
    server = Server(name, f"http://127.0.0.1:{port}{CHAT}")
    return Target(server, command, environment(PYTHONPATH=str(source)))


def source_of(folder: Path) -> Path:
    """The folder itself, or `src` in it: a checkout may be named as well as its sources."""
    return folder / "src" if (folder / "src" / "tidegate").is_dir() else folder
