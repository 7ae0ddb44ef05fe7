"""The sections `server` and `admin`: where the gateway listens, and what it allows those who connect."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from tidegate.config.settings import Settings


class TlsConfig(Settings):
    """Serve HTTPS with these PEM files."""

    certificate_path: Path = Field(description="Certificate chain, PEM.")
    key_path: Path = Field(description="Private key, PEM.")

    @field_validator("certificate_path", "key_path")
    @classmethod
    def _readable(cls, path: Path) -> Path:
        if not path.is_file():
            raise ValueError(f"there is no file {path}")
        return path

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        try:
            # A password keeps OpenSSL from asking for one on the terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                self.certificate_path, self.key_path, password=""
            )
        except OSError as error:
            raise ValueError("the certificate and the key cannot be used, or not together") from error
        return self


_ALLOWED_HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]")


class ServerConfig(Settings):
    """Where Tidegate listens, and how it treats its clients."""

    host: str = Field(default="127.0.0.1", description="Address to listen on; `0.0.0.0` for all.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    tls: TlsConfig | None = Field(default=None, description="Certificate files; without them plain HTTP.")
    cors_origins: tuple[str, ...] = Field(
        default=(), description="Browser origins that may call; `*` for any."
    )
    cors_private_network: bool = Field(
        default=False,
        description="Pages of those origins may also call where this is an address of their browser's private network.",
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Names in `Host` that are answered: `*.example.com` for all below one, `*` for any. Default: on a"
        " loopback address only addresses and the names of this machine and its network, elsewhere any.",
    )
    max_connections: int = Field(
        default=4096, gt=0, description="Client connections at once; with several workers, of each."
    )
    first_byte_timeout_ms: int = Field(
        default=8_000,
        gt=0,
        description="From the connection to the first byte of a request; with TLS also to the end of the handshake, from"
        " which it counts anew.",
    )
    head_timeout_ms: int = Field(
        default=8_000, gt=0, description="From the first byte of a request to the end of its headers."
    )
    keep_alive_ms: int = Field(
        default=75_000, gt=0, description="How long a connection is kept between two requests."
    )
    max_head_bytes: int = Field(
        default=64 * 2**10, ge=1024, description="Largest request line and headers together."
    )
    max_headers: int = Field(default=128, gt=0, description="Most headers of a request.")
    max_body_bytes: int = Field(default=32 * 2**20, gt=0, description="Largest request body taken.")
    max_pending_body_bytes: int = Field(
        default=512 * 2**20,
        gt=0,
        description="Request bodies that are held at once, from their first byte to the end of their call; with several"
        " workers, by each. Less than `max_body_bytes` makes that smaller. A body of up to 64 KiB is always taken.",
    )
    body_idle_ms: int = Field(
        default=8_000,
        gt=0,
        description="Longest pause in a request body; also its head start over the rate below.",
    )
    min_body_bytes_per_s: int = Field(
        default=500,
        gt=0,
        description="Mean rate under which a body is given up, once the head start is used up.",
    )
    max_json_depth: int = Field(
        default=64, gt=0, le=500, description="Deepest nesting of lists and objects in a body."
    )
    max_json_containers: int = Field(default=100_000, gt=0, description="Most lists and objects in a body.")
    max_unread_answer_bytes: int = Field(
        default=256 * 2**20,
        gt=0,
        description="Answers over 64 KiB that are not streamed and are held at once, until their clients have read them;"
        " with several workers, by each. Beyond it, answers are not read from the engine yet.",
    )
    send_stall_ms: int = Field(
        default=30_000, gt=0, description="A client that has read nothing for so long is dropped."
    )
    call_deadline_s: float = Field(
        default=600, gt=0, description="Longest time a call may take, waiting included."
    )
    sse_keep_alive_s: float = Field(
        default=15, gt=0, description="Silence on a stream after which a comment is sent."
    )
    drain_grace_s: float = Field(
        default=5, ge=0, description="After SIGTERM: time still accepting while `/readyz` says no."
    )
    drain_deadline_s: float = Field(
        default=600,
        ge=0,
        description="After the grace: time for running calls before they are ended with an error.",
    )

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
    """Who may change the running gateway, and where several workers are seen as one."""

    host: str = Field(
        default="127.0.0.1", description="With several workers: the address of their common admin port."
    )
    port: int = Field(
        default=8081, ge=0, le=65535, description="With several workers: that port; 0 picks a free one."
    )
    token: SecretStr | None = Field(
        default=None, description="Bearer token of `POST /admin/reload`; without one the admin API is closed."
    )
