"""The llama.cpp servers of the embedded engines. The supervisor owns them, and all workers use them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import msgspec

from tidegate.config import Config, digest
from tidegate.engines.embedded.llama import prepare
from tidegate.engines.embedded.server import LlamaServer, Served
from tidegate.errors import ConfigError, GatewayError, Problem
from tidegate.runtime import Runtime
from tidegate.workers.shares import embedded, part


class Loan(msgspec.Struct, frozen=True):
    """The state of one llama.cpp server, as the supervisor sends it to the workers."""

    engine: str
    served: Served
    ready: bool


class Llamas:
    """The servers: one for each embedded engine of a configuration.

    `news` is called whenever a server starts or stops serving.
    """

    def __init__(self, config: Config, news: Callable[[Loan], None]) -> None:
        self._configs = embedded(config)
        self._news = news
        self._servers: dict[str, LlamaServer] = {}

    async def open(self, runtime: Runtime, opened: AsyncExitStack) -> None:
        """Start all servers. Closing `opened` stops them. Raises ConfigError if a server cannot serve."""
        for name, config in self._configs.items():
            changed = partial(self._changed, name)
            try:
                server = self._servers[name] = await prepare(config, runtime.clock, changed=changed)
                opened.push_async_callback(server.stop)
                await server.start()
            except GatewayError as error:
                raise ConfigError("cannot start", [Problem(f"engines.{name}", error.message)]) from error
            runtime.spawn(server.run(), name="keep llama.cpp alive")

    def loans(self) -> list[Loan]:
        """Return the state of every server, for a new worker."""
        return [Loan(name, server.served, server.ready) for name, server in self._servers.items()]

    def forget(self, worker: int, of: int) -> None:
        """Delete the saved slots of a worker that has ended, since the process that replaces it does not know them."""
        for name, server in self._servers.items():
            for slot in part(self._configs[name].slots, worker, of):
                for file in Path(server.served.slot_dir).glob(f"slots-{slot}-*"):
                    file.unlink(missing_ok=True)

    def refuse_change(self, config: Config) -> None:
        """Raise ConfigError if a configuration needs servers other than the running ones."""
        following = embedded(config)
        problems = [
            Problem(f"engines.{name}", "restart to change an embedded engine while several workers run")
            for name in sorted(self._configs.keys() | following.keys())
            if name not in self._configs
            or name not in following
            or digest(self._configs[name]) != digest(following[name])
        ]
        if problems:
            raise ConfigError("reload", problems)

    def _changed(self, name: str) -> None:
        server = self._servers[name]
        self._news(Loan(name, server.served, server.ready))
