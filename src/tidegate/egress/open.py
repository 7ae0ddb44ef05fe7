"""The client that goes out to an engine, as its settings say."""

from __future__ import annotations

from tidegate.config import HttpEngineConfig
from tidegate.egress.exchange import Client, Timeouts
from tidegate.egress.pool import HttpClient
from tidegate.egress.tls import TlsFiles


def open_client(config: HttpEngineConfig, *, max_connections: int | None = None) -> Client:
    """A client of its own for an engine; `max_connections` instead of the configured number."""
    return HttpClient(
        config.url,
        Timeouts.of(config.timeouts),
        max_connections=max_connections or config.max_connections,
        proxy=config.proxy,
        files=TlsFiles(config.ca_path, config.client_certificate_path, config.client_key_path),
        max_age_s=config.max_connection_age_s,
    )
