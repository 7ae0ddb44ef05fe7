"""Starts source trees of the gateway beside each other, for a comparison.

A tree is the folder `src` of a checkout. The packages that it needs come from the environment that runs the bench. Every
server gets its own port, so trees can run beside each other and beside other servers of the machine.
"""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from rig import BUILD, HERE, KEY_HEADER, RigError, Server, build, free_port

SOURCE = HERE.parent / "src"
FLOOR, BEFORE, AFTER = "floor", "before", "after"
CHAT = "/v1/chat/completions"
OPEN, LIMITED, SEVERAL, RAILED = "open.yaml", "rig.yaml", "several.yaml", "rig-rails.yaml"
"""Configurations without keys and limits, with them, without them but with two deployments of each model, and with keys,
limits and the profile `rules`.
"""
RAILS_PROMPT_CHARS = 300
"""The length of prompts where rails are measured: their cost depends on it."""
RAILS_BOUNDS = {"request": 1.1, "chunk": 0.3}
"""What the profile `rules` may add to a request and to a chunk, as shares of the floor."""


@dataclass(frozen=True)
class Target:
    """A server and the command that starts it."""

    server: Server
    command: list[str]
    env: dict[str, str]
    prompt_chars: int = 0  # of the load; 0 leaves that to the load


@dataclass
class Engine:
    """A mock engine on its own port."""

    name: str = "engine"
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.server = Server(self.name, f"http://127.0.0.1:{self.port}{CHAT}")

    def start(self, *, core: int) -> None:
        self.server.start([str(build("mock_engine")), str(self.port)], core=core, wait_s=5)


def environment(**added: str) -> dict[str, str]:
    """Return the environment, the same for every tree: a fixed hash seed, and no bytecode written into the tree."""
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
    """Raise RigError if the folder does not contain a gateway."""
    if not (source / "tidegate" / "__main__.py").exists():
        raise RigError(f"{source} holds no tidegate: name the folder src of a checkout, or the checkout")


def gateway(name: str, source: Path, engine_port: int, *, config: str = OPEN) -> Target:
    """Return `tidegate serve` of a tree on free ports. Raises RigError if the tree contains no gateway.

    `config` is the file beside this one with the gateway's configuration. The key of rig.yaml is sent in any case.
    """
    source = source.resolve()
    check_source(source)
    port = free_port()
    path = BUILD / f"{name}-{port}.yaml"
    BUILD.mkdir(exist_ok=True)
    text = (HERE / config).read_text()
    if not (
        source / "tidegate" / "config" / "rails.py"
    ).exists():  # an older tree, which has no rails to switch off
        text = "".join(line for line in text.splitlines(keepends=True) if "rails: none" not in line)
    path.write_text(text.replace("8080", str(port)).replace("18730", str(engine_port)))
    command = [sys.executable, "-P", "-m", "tidegate", "serve", "--config", str(path)]
    server = Server(name, f"http://127.0.0.1:{port}{CHAT}", headers=KEY_HEADER)
    return Target(server, command, environment(PYTHONPATH=str(source)))


def source_of(folder: Path) -> Path:
    """Return the folder itself, or `src` in it: a checkout may be given as well as its sources."""
    return folder / "src" if (folder / "src" / "tidegate").is_dir() else folder
