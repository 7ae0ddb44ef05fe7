"""The sections `server` and `admin`: the addresses that the gateway listens on, and its limits for clients."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from tidegate.config.files import check_file
from tidegate.config.settings import Settings, not_empty


class TlsConfig(Settings):
    """Serve HTTPS with these PEM files."""

    certificate_path: Path = Field(description="File with the certificate chain.")
    key_path: Path = Field(description="File with the private key.")

    @field_validator("certificate_path", "key_path")
    @classmethod
    def _readable(cls, path: Path) -> Path:
        return check_file(path)

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        try:
            # Without a password, OpenSSL would ask for one on the terminal if the key is encrypted.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                self.certificate_path, self.key_path, password=""
            )
        except OSError as error:
            raise ValueError("the certificate and the key cannot be used, or do not match") from error
        return self


def check_host(host: str) -> str:
    """Return the address. Raises ValueError if it is empty, since sockets take an empty address for all addresses."""
    return not_empty(host, "127.0.0.1 accepts connections of this machine only, 0.0.0.0 of every network")


_ALLOWED_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]")


class ServerConfig(Settings):
    """The address that Tidegate listens on, and the limits for its clients."""

    host: str = Field(default="127.0.0.1", description="Address to listen on; `0.0.0.0` for all addresses.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 chooses a free port.")
    tls: TlsConfig | None = Field(
        default=None, description="Certificate files for HTTPS. Default: HTTP without TLS."
    )
    cors_origins: tuple[str, ...] = Field(
        default=(), description="Browser origins whose pages may call the gateway; `*` for any."
    )
    cors_private_network: bool = Field(
        default=False,
        description="Whether pages of these origins may call even if the gateway is in the browser's private network.",
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Host names that requests may have in `Host`: `*.example.com` for all subdomains, `*` for any name."
        " Default: on a loopback address, IP addresses and local names; on other addresses, any name.",
    )
    max_connections: int = Field(
        default=4096, gt=0, description="Largest number of client connections, per worker."
    )
    first_byte_timeout_ms: int = Field(
        default=8_000,
        gt=0,
        description="Time from the connection to the first byte of a request. With TLS, it limits the handshake, and then"
        " again the time from the handshake to the first byte.",
    )
    head_timeout_ms: int = Field(
        default=8_000, gt=0, description="Time from the first byte of a request to the end of its headers."
    )
    keep_alive_ms: int = Field(
        default=75_000, gt=0, description="Time that a connection is kept open between two requests."
    )
    max_head_bytes: int = Field(
        default=64 * 2**10, ge=1024, description="Largest size of the request line and headers together."
    )
    max_headers: int = Field(default=128, gt=0, description="Largest number of headers in a request.")
    max_body_bytes: int = Field(default=32 * 2**20, gt=0, description="Largest size of a request body.")
    max_pending_body_bytes: int = Field(
        default=512 * 2**20,
        gt=0,
        description="Largest size of all request bodies together, per worker. A body counts from its first byte to the end"
        " of its call. A value below `max_body_bytes` also limits each body. A body of up to 64 KiB is always accepted.",
    )
    body_idle_ms: int = Field(
        default=8_000,
        gt=0,
        description="Longest pause in a request body. `min_body_bytes_per_s` applies only after this time.",
    )
    min_body_bytes_per_s: int = Field(
        default=500,
        gt=0,
        description="Lowest mean rate of a request body, after the first `body_idle_ms`. A slower request is refused.",
    )
    max_json_depth: int = Field(
        default=64, gt=0, le=500, description="Deepest nesting of lists and objects in a body."
    )
    max_json_containers: int = Field(
        default=100_000, gt=0, description="Largest number of lists and objects in a body."
    )
    max_unread_answer_bytes: int = Field(
        default=256 * 2**20,
        gt=0,
        description="Largest size, per worker, of all answers over 64 KiB that are not streamed. An answer counts until its"
        " client has read it. Further answers wait before they are read from their engines.",
    )
    send_stall_ms: int = Field(
        default=30_000, gt=0, description="A client that has not read for this time is disconnected."
    )
    expose_engines: bool = Field(
        default=False,
        description="Whether the reply header `x-tidegate-route` names the engine. The names of engines can tell what is"
        " behind the gateway.",
    )
    call_deadline_s: float = Field(
        default=600, gt=0, description="Longest time a call may take, waiting included."
    )
    sse_keep_alive_s: float = Field(
        default=15, gt=0, description="Time without data on a stream after which a comment is sent."
    )
    access_log: Literal["none", "text", "json"] = Field(
        default="none",
        description="Format of the access log on standard output, which has a line for each finished call.",
    )
    drain_grace_s: float = Field(
        default=5,
        ge=0,
        description="Time after SIGTERM in which new calls are accepted although `/readyz` is not ready.",
    )
    drain_deadline_s: float = Field(
        default=600,
        ge=0,
        description="Time for running calls after `drain_grace_s`. Calls that still run are then ended with an error.",
    )

    @field_validator("host")
    @classmethod
    def _host_named(cls, host: str) -> str:
        return check_host(host)

    @field_validator("allowed_hosts")
    @classmethod
    def _only_names(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not _ALLOWED_HOST.fullmatch(host):
                raise ValueError(
                    f"{host!r} must look like example.com, *.example.com, [::1] or *, without a port"
                )
        return tuple(host.lower() for host in hosts)


class AdminConfig(Settings):
    """The admin API, and its own port: that of several workers, or of one process with `apart`."""

    host: str = Field(default="127.0.0.1", description="Address of the admin port.")
    port: int = Field(
        default=8081,
        ge=0,
        le=65535,
        description="The admin port; 0 chooses a free port.",
    )
    apart: bool = Field(
        default=False,
        description="Whether the routes below `/admin/` are served at the admin port alone, and not on the main port."
        " A change takes effect at the next start.",
    )
    token: SecretStr | None = Field(
        default=None,
        description="A key with the scopes `admin:read`, `admin:write`, `review` and `metrics`. Without any key,"
        " nothing is answered that changes the gateway.",
    )

    @field_validator("host")
    @classmethod
    def _host_named(cls, host: str) -> str:
        return check_host(host)

    @field_validator("token")
    @classmethod
    def _token_given(cls, token: SecretStr | None) -> SecretStr | None:
        # With an empty token, every client would be an administrator.
        if token is not None:
            not_empty(token.get_secret_value(), "give the token")
        return token
