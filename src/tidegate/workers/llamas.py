"""The llama.cpp servers behind the embedded engines, kept by the supervisor and lent to every worker."""

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
    """News of one llama.cpp server that the supervisor owns."""

    engine: str
    served: Served
    ready: bool


class Llamas:
    """One server for each embedded engine of a configuration; `news` is told whenever one begins or ceases to serve."""

    def __init__(self, config: Config, news: Callable[[Loan], None]) -> None:
        self._configs = embedded(config)
        self._news = news
        self._servers: dict[str, LlamaServer] = {}

    async def open(self, runtime: Runtime, opened: AsyncExitStack) -> None:
        """Start them, to be stopped by `opened`. Raises ConfigError for one that cannot serve."""
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
        """What a new worker has to know."""
        return [Loan(name, server.served, server.ready) for name, server in self._servers.items()]

    def forget(self, worker: int, of: int) -> None:
        """A worker has ended: remove what it saved of its slots, since its successor does not know of it."""
        for name, server in self._servers.items():
            for slot in part(self._configs[name].slots, worker, of):
                for file in Path(server.served.slot_dir).glob(f"slots-{slot}-*"):
                    file.unlink(missing_ok=True)

    def refuse_change(self, config: Config) -> None:
        """Raises ConfigError when a configuration wants other servers than those that run."""
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
