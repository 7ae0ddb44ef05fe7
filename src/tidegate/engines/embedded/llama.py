"""The llama.cpp server as the embedded engine sees it: its own server, or a server that another process owns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from tidegate.config import EMBEDDED_MODEL, EmbeddedConfig
from tidegate.engines.embedded.server import LlamaServer, LlamaSettings, Served, until_serving
from tidegate.engines.embedded.weights import find_smollm2
from tidegate.ports import Clock, Host


class Llama(Protocol):
    """What an engine needs of its server. `slots` are the numbers of the slots that the engine may use."""

    slots: Sequence[int]

    @property
    def ready(self) -> bool:
        """Whether the server serves."""
        ...

    @property
    def served(self) -> Served:
        """The address and key of the server's latest run."""
        ...

    async def open(self, host: Host) -> None:
        """Wait until the server serves.

        Raises ConfigError for a model that llama.cpp cannot use, and UpstreamError if the server does not start.
        """
        ...

    async def await_ready(self, deadline: float) -> None:
        """Wait until the server serves. Raises UpstreamUnreachable at `deadline`, a time in seconds on the clock."""
        ...

    async def close(self) -> None:
        """Stop using the server."""
        ...


class OwnLlama:
    """A server that its engine starts and stops. Satisfies `Llama`."""

    def __init__(self, config: EmbeddedConfig) -> None:
        self.slots: Sequence[int] = range(config.slots)
        self._config = config
        self._server: LlamaServer

    @property
    def ready(self) -> bool:
        """Whether the server serves."""
        return self._server.ready

    @property
    def served(self) -> Served:
        """The address and key of the server's latest run."""
        return self._server.served

    async def open(self, host: Host) -> None:
        """Start the server. Raises what `LlamaServer.start` raises."""
        self._server = await prepare(self._config, host.clock)
        await self._server.start()
        host.spawn(self._server.run(), name="keep llama.cpp alive")

    async def await_ready(self, deadline: float) -> None:
        """See `Llama`."""
        await self._server.await_ready(deadline)

    async def close(self) -> None:
        """Stop the server."""
        await self._server.stop()


class LentLlama:
    """A server that another process owns and several processes use. Satisfies `Llama`; `slots` are this process's part."""

    def __init__(self, served: Served, slots: Sequence[int]) -> None:
        self.served = served
        self.slots = slots
        self._serving = asyncio.Event()
        self._clock: Clock

    @property
    def ready(self) -> bool:
        """Whether the server serves, according to the owner's last message."""
        return self._serving.is_set()

    def tell(self, served: Served, *, ready: bool) -> None:
        """Update the state of the server from its owner's message."""
        self.served = served
        if ready:
            self._serving.set()
        else:
            self._serving.clear()

    async def open(self, host: Host) -> None:
        """Keep the host's clock. The server's owner has already started the server."""
        self._clock = host.clock

    async def await_ready(self, deadline: float) -> None:
        """See `Llama`."""
        if not self.ready:
            await until_serving(self._serving, deadline - self._clock())

    async def close(self) -> None:
        """Do nothing: the server's owner stops the server."""


async def prepare(
    config: EmbeddedConfig, clock: Clock, *, changed: Callable[[], None] = lambda: None
) -> LlamaServer:
    """Return the server of a configuration without starting it. Raises ConfigError if the weights are missing."""
    # Off the event loop, because the checksum of the weights takes a tenth of a second.
    return LlamaServer(await asyncio.to_thread(_settings, config), clock=clock, changed=changed)


def _settings(config: EmbeddedConfig) -> LlamaSettings:
    model = config.model_path or find_smollm2()
    return LlamaSettings(
        model_path=str(model),
        alias=model.stem.lower() if config.model_path else EMBEDDED_MODEL,
        slots=config.slots,
        context_tokens=config.context_tokens,
        threads=config.threads or 0,
        batch_threads=config.batch_threads or 0,
        cache_ram_mib=config.cache_ram_mib,
        speculation=config.speculation,
        lora=tuple((str(adapter.path), adapter.scale) for adapter in config.lora),
        start_timeout_s=config.start_timeout_ms / 1000,
    )
