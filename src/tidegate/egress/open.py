"""Which client goes out to an engine."""

from __future__ import annotations

from tidegate.config import HttpEngineConfig
from tidegate.egress.exchange import Client, Timeouts
from tidegate.egress.pool import DirectClient


def open_client(config: HttpEngineConfig) -> Client:
    """The client that fits an engine: straight to it, or through its proxy."""
    timeouts = Timeouts.of(config.timeouts)
    ca_pem = config.ca_path.read_bytes() if config.ca_path else None
    if config.proxy:
        # The Rust wheel stays unloaded where no engine needs it.
        from tidegate.egress.proxied import ProxiedClient  # noqa: PLC0415

        return ProxiedClient(
            config.url, timeouts, proxy=config.proxy, max_connections=config.max_connections, ca_pem=ca_pem
        )
    return DirectClient(config.url, timeouts, max_connections=config.max_connections, ca_pem=ca_pem)
