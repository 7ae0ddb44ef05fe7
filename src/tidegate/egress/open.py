"""Opens the HTTP client of an engine or of a service that rails ask, from the settings of its connection."""

from __future__ import annotations

from tidegate.config import ConnectionConfig
from tidegate.egress.exchange import Client, Headers, Timeouts
from tidegate.egress.pool import HttpClient, Reuse
from tidegate.egress.tls import TlsFiles


def open_client(
    config: ConnectionConfig, *, max_connections: int | None = None, keeps_chunked: bool = True
) -> Client:
    """Return a new client for a server. `max_connections` overrides the configured number.

    `keeps_chunked` says whether the server keeps a connection open after a chunked answer.
    """
    return HttpClient(
        config.url,
        Timeouts.of(config.timeouts),
        max_connections=max_connections or config.max_connections,
        proxy=config.proxy,
        files=TlsFiles(config.ca_path, config.client_certificate_path, config.client_key_path),
        reuse=Reuse(config.max_connection_age_s, keeps_chunked),
    )


def own_headers(config: ConnectionConfig) -> Headers:
    """Return the headers that the settings of a connection add to a request: `headers`, and `api_key` as a bearer token."""
    headers = [
        (name.lower().encode(), value.get_secret_value().encode()) for name, value in config.headers.items()
    ]
    if config.api_key is not None:
        headers.append((b"authorization", b"Bearer " + config.api_key.get_secret_value().encode()))
    return headers
