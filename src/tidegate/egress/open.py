"""Opens the HTTP client of an engine from the engine's settings."""

from __future__ import annotations

from tidegate.config import HttpEngineConfig
from tidegate.egress.exchange import Client, Timeouts
from tidegate.egress.pool import HttpClient, Reuse
from tidegate.egress.tls import TlsFiles


def open_client(
    config: HttpEngineConfig, *, max_connections: int | None = None, keeps_chunked: bool = True
) -> Client:
    """Return a new client for an engine. `max_connections` overrides the configured number.

    `keeps_chunked` says whether the engine keeps a connection open after a chunked answer.
    """
    return HttpClient(
        config.url,
        Timeouts.of(config.timeouts),
        max_connections=max_connections or config.max_connections,
        proxy=config.proxy,
        files=TlsFiles(config.ca_path, config.client_certificate_path, config.client_key_path),
        reuse=Reuse(config.max_connection_age_s, keeps_chunked),
    )
