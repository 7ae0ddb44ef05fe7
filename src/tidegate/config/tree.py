"""Every setting of Tidegate: one tree of frozen models. Units stand in the key names: `_ms`, `_s`, `_bytes`, `_tokens`."""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

import msgspec
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_serializer,
    field_validator,
    model_validator,
)


class Settings(BaseModel):
    """The base of every section: frozen, and an unknown key is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, protected_namespaces=())


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


class TimeoutsConfig(Settings):
    """How long an engine may be silent, at each step of a call."""

    connect_ms: int = Field(default=5_000, gt=0, description="To connect, TLS included.")
    first_byte_ms: int = Field(
        default=300_000, gt=0, description="From the request sent to the first byte of the answer."
    )
    idle_ms: int = Field(default=60_000, gt=0, description="Between two reads of an answer.")
    total_ms: int = Field(default=600_000, gt=0, description="For the whole exchange.")


class EngineConfig(Settings):
    """What every engine has. A part installed from outside subclasses this for its own settings."""

    kind: str = Field(description="Which adapter: see the list of engines.")
    max_in_flight: int | None = Field(
        default=None,
        gt=0,
        description="Calls the engine gets at once; more wait in line. Default: as many as it says.",
    )


_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2


def _check_port(url: str) -> None:
    """Raises ValueError for a URL whose host or port cannot be."""
    try:
        urlsplit(url).port  # noqa: B018 - reading it is the check
    except ValueError as error:
        # Not the error's own words: they may hold the password.
        raise ValueError("has a host or a port that cannot be") from error


def _breaks(text: str) -> bool:
    return "\n" in text or "\r" in text


class HttpEngineConfig(EngineConfig):
    """An engine behind a URL."""

    url: str = Field(description="Base URL, up to and with `/v1`.", examples=["http://127.0.0.1:8000/v1"])
    api_key: SecretStr | None = Field(default=None, description="Sent as a bearer token.")
    headers: Mapping[str, SecretStr] = Field(
        default={}, description="Further headers sent with every request."
    )
    allow_fields: tuple[str, ...] = Field(
        default=(), description="Request body fields let through beyond the kind's own."
    )
    proxy: str | None = Field(
        default=None, description="HTTP proxy to go through.", examples=["http://proxy:3128"]
    )
    ca_path: Path | None = Field(
        default=None, description="PEM file of a certificate authority to trust beside the system's."
    )
    max_connections: int = Field(default=1024, gt=0, description="Most connections open to this engine.")
    max_response_bytes: int = Field(
        default=64 * 2**20, gt=0, description="Largest answer taken when it is not streamed."
    )
    timeouts: TimeoutsConfig = Field(
        default=TimeoutsConfig(), description="How long the engine may be silent."
    )

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", url):
            raise ValueError("must look like http://host:port/v1, without a query, a fragment or a user name")
        _check_port(url)
        return url.rstrip("/")

    @field_validator("proxy")
    @classmethod
    def _proxy_usable(cls, proxy: str | None) -> str | None:
        if proxy is not None:
            if not re.fullmatch(r"https?://([^\s/?#@]*@)?[^\s/?#@]+/?", proxy):
                raise ValueError("must look like http://user:password@host:port")
            _check_port(proxy)
        return proxy

    @field_serializer("proxy", when_used="json")
    def _proxy_without_password(self, proxy: str | None) -> str | None:
        return proxy and re.sub(r"//[^/@]*@", "//**********@", proxy)

    @field_validator("api_key")
    @classmethod
    def _key_on_one_line(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and _breaks(key.get_secret_value()):
            raise ValueError("holds a line break, often the last character of a file it was read from")
        return key

    @field_validator("headers")
    @classmethod
    def _headers_on_one_line(cls, headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, value in headers.items():
            if not _breaks(name) and not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a header")
            if _breaks(name) or _breaks(value.get_secret_value()):
                raise ValueError(f"the header {name!r} holds a line break")
        return headers

    @field_validator("ca_path")
    @classmethod
    def _certificates(cls, path: Path | None) -> Path | None:
        if path is None:
            return None
        if not path.is_file():
            raise ValueError(f"there is no file {path}")
        try:
            # The Rust client takes a file without certificates for one that names none.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except OSError as error:
            raise ValueError(f"no certificate can be read from {path}") from error
        return path


class OpenAIConfig(HttpEngineConfig):
    """Any server that speaks the OpenAI API."""


class VllmConfig(HttpEngineConfig):
    """A vLLM server: its own request fields pass too."""


class SglangConfig(HttpEngineConfig):
    """An SGLang server: its own request fields pass too."""


class LlamaCppConfig(HttpEngineConfig):
    """A llama.cpp server that you run: its own request fields pass too."""


class LoraConfig(Settings):
    """One LoRA adapter of the embedded engine."""

    path: Path = Field(description="The adapter, GGUF.")
    scale: float = Field(default=1.0, description="How strongly it applies.")


MIN_SLOT_TOKENS = 256  # with less, llama.cpp refuses nearly every prompt


class EmbeddedConfig(EngineConfig):
    """llama.cpp as a child process of the gateway: no server needed."""

    model_path: Path | None = Field(
        default=None, description="A GGUF file; default: the installed SmolLM2-135M-Instruct."
    )
    slots: int = Field(default=4, gt=0, le=64, description="Calls served at once.")
    context_tokens: int = Field(
        default=8192,
        gt=0,
        description="Context of all slots together, divided evenly; at least 256 for each.",
    )
    threads: int | None = Field(default=None, gt=0, description="Threads that decode; default: cores - 1.")
    batch_threads: int | None = Field(
        default=None, gt=0, description="Threads that read prompts; default: cores."
    )
    cache_ram_mib: int = Field(
        default=128, ge=0, description="Memory for prompts kept beyond the slots, MiB."
    )
    speculation: Literal["none", "ngram"] = Field(
        default="none", description="`ngram` speeds up repetitive text."
    )
    lora: tuple[LoraConfig, ...] = Field(default=(), description="Adapters loaded at start.")
    share_prefixes: bool = Field(
        default=True, description="Copy a system prompt that was read once to the other slots."
    )
    start_timeout_ms: int = Field(default=60_000, gt=0, description="To load the model.")
    timeouts: TimeoutsConfig = Field(
        default=TimeoutsConfig(), description="How long the engine may be silent."
    )

    @model_validator(mode="after")
    def _room_in_every_slot(self) -> Self:
        if self.context_tokens < self.slots * MIN_SLOT_TOKENS:
            raise ValueError(
                f"context_tokens, {self.context_tokens}, is divided by slots, {self.slots}: that leaves"
                f" {self.context_tokens // self.slots} for a call, and at least {MIN_SLOT_TOKENS} are needed:"
                f" context_tokens: {self.slots * MIN_SLOT_TOKENS} or more, or fewer slots"
            )
        return self


class EmbedderConfig(EngineConfig):
    """all-MiniLM-L6-v2 in process: embeddings without a server."""


class ScriptedConfig(EngineConfig):
    """Answers by script, for tests and demonstrations of timing and faults; never a model."""

    ttft_ms: float = Field(default=0, ge=0, description="Time to the first token.")
    itl_ms: float = Field(default=0, ge=0, description="Time between tokens.")
    tokens: int = Field(default=16, ge=0, description="Tokens in an answer.")
    text: str | None = Field(default=None, description="The answer; default: made-up words.")
    fault: str | None = Field(default=None, description="A fault and its token, such as `reset@10`.")
    slots: int | None = Field(default=None, gt=0, description="Calls served at once; default: any number.")


class DeploymentConfig(Settings):
    """One place where a model is served."""

    engine: str = Field(description="Name of an engine above.")
    model: str | None = Field(
        default=None, description="The engine's name for the model; default: the name the client asked."
    )


class ModelConfig(Settings):
    """A model that clients may ask for; the least busy deployment serves."""

    deployments: tuple[DeploymentConfig, ...] = Field(min_length=1, description="Where it is served.")


class Config(Settings):
    """The whole file."""

    server: ServerConfig = Field(default=ServerConfig(), description="Listening, deadlines, draining.")
    admin: AdminConfig = Field(default=AdminConfig(), description="The admin API.")
    engines: Mapping[str, EngineConfig] = Field(default={}, description="Where answers are made, by name.")
    models: Mapping[str, ModelConfig] = Field(
        default={},
        description="What clients may ask for: a name, or a prefix and `*`. The longest match wins.",
    )


def digest(settings: Settings) -> str:
    """A fingerprint of a section, secrets and the state of the files it names included."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path) and value.is_file():
            found = value.stat()
            return [str(value), found.st_size, found.st_mtime_ns]
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

    return hashlib.sha256(
        msgspec.json.encode(settings.model_dump(mode="python"), enc_hook=plain, order="deterministic")
    ).hexdigest()
