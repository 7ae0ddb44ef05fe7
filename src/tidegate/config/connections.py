"""The settings of a connection to another server: an engine, or a service that rails ask."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_serializer, field_validator, model_validator

from tidegate.config import urls
from tidegate.config.files import check_certificates
from tidegate.config.settings import Settings, not_empty

DEFAULT_CONNECTIONS = 1024
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2


def _breaks(text: str) -> bool:
    return "\n" in text or "\r" in text


class TimeoutsConfig(Settings):
    """How long the other side may be silent, at each step of a call."""

    connect_ms: int = Field(default=5_000, gt=0, description="Time to connect, TLS included.")
    first_byte_ms: int = Field(
        default=300_000, gt=0, description="Time from the request to the first byte of the answer."
    )
    idle_ms: int = Field(default=60_000, gt=0, description="Time between two reads of an answer.")
    total_ms: int = Field(default=600_000, gt=0, description="Time of the whole exchange.")


class ConnectionConfig(Settings):
    """A server behind a URL."""

    url: str = Field(description="Base URL.")
    api_key: SecretStr | None = Field(default=None, description="Key, sent as a bearer token.")
    headers: Mapping[str, SecretStr] = Field(
        default={}, description="Further headers sent with every request."
    )
    proxy: str | None = Field(
        default=None, description="HTTP proxy for all connections.", examples=["http://proxy:3128"]
    )
    ca_path: Path | None = Field(
        default=None, description="PEM file of a certificate authority to trust in addition to the system's."
    )
    client_certificate_path: Path | None = Field(
        default=None, description="PEM file of the certificate that the gateway shows to the server (mTLS)."
    )
    client_key_path: Path | None = Field(
        default=None,
        description="PEM file of the certificate's private key. Default: the certificate's own file.",
    )
    max_connections: int = Field(
        default=DEFAULT_CONNECTIONS,
        gt=0,
        description="Largest number of connections to the server; further calls wait in line.",
    )
    max_connection_age_s: float = Field(
        default=300,
        gt=0,
        description="A connection older than this is not used for further calls, so a changed DNS record takes effect.",
    )
    timeouts: TimeoutsConfig = Field(
        default=TimeoutsConfig(), description="How long the server may be silent."
    )

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str) -> str:
        return urls.check_base(url)

    @field_validator("proxy")
    @classmethod
    def _proxy_usable(cls, proxy: str | None) -> str | None:
        if proxy is not None:
            if not re.fullmatch(r"https?://([^\s/?#@]*@)?[^\s/?#@]+/?", proxy):
                raise ValueError("must look like http://user:password@host:port")
            urls.check_port(proxy)
        return proxy

    @field_serializer("proxy", when_used="json")
    def _proxy_without_password(self, proxy: str | None) -> str | None:
        return proxy and re.sub(r"//[^/@]*@", "//**********@", proxy)

    @field_validator("api_key")
    @classmethod
    def _key_on_one_line(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and _breaks(not_empty(key.get_secret_value(), "give the key")):
            raise ValueError("contains a line break, often the last character of the file with the key")
        return key

    @field_validator("headers")
    @classmethod
    def _headers_on_one_line(cls, headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, value in headers.items():
            if not _breaks(name) and not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a valid header name")
            if _breaks(name) or _breaks(value.get_secret_value()):
                raise ValueError(f"the header {name!r} contains a line break")
        return headers

    @field_validator("ca_path")
    @classmethod
    def _certificates(cls, path: Path | None) -> Path | None:
        return path and check_certificates(path)

    @model_validator(mode="after")
    def _client_certificate(self) -> Self:
        certificate, key = self.client_certificate_path, self.client_key_path
        if certificate is None:
            if key is not None:
                raise ValueError("client_key_path needs client_certificate_path")
            return self
        if not self.url.startswith("https:"):
            raise ValueError("client_certificate_path needs a url that begins with https://")
        try:
            # Without a password, OpenSSL would ask for one on the terminal if the key is encrypted.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password="")
        except OSError as error:
            raise ValueError(
                "the files of client_certificate_path and client_key_path cannot be used, or do not match"
            ) from error
        return self
