"""An issuer of tokens for tests: keys, signed tokens of any shape, and a server on the loopback interface with its key set.

with issuer() as idp:
    token = idp.token(sub="ann")
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from serving import PATIENCE_S

AUDIENCE = "tidegate"
PrivateKey = RSAKey | ECKey | OKPKey


def b64(data: bytes | str) -> str:
    raw = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign(header: Mapping[str, Any], claims: Mapping[str, Any] | bytes, key: PrivateKey) -> str:
    """Sign claims with the algorithm of the header, whatever the header has besides."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    signed = f"{b64(json.dumps(header))}.{b64(payload)}"
    signature = JWSRegistry.algorithms[header["alg"]].sign(signed.encode(), key)
    return f"{signed}.{b64(signature)}"


def rsa(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid})


class Idp(ThreadingHTTPServer):
    """The server, and the keys that it publishes. `answer` replaces the key set: its bytes, or a function that sends."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.keys: dict[str, PrivateKey] = {"one": rsa("one")}
        self.answer: bytes | Callable[[BaseHTTPRequestHandler], None] | None = None
        self.discovery: dict[str, Any] | None = None
        self.asked: list[str] = []
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}"

    @property
    def fetches(self) -> int:
        """How often the key set was asked for."""
        return self.asked.count("/keys")

    def key_set(self) -> bytes:
        listed = [{**key.as_dict(private=False), "kid": kid, "use": "sig"} for kid, key in self.keys.items()]
        return json.dumps({"keys": listed}).encode()

    def settings(self, **more: Any) -> dict[str, Any]:
        """The section `auth` of a configuration."""
        return {"jwt": {"issuer": self.url, "audience": AUDIENCE, **more}}

    def claims(self, **more: Any) -> dict[str, Any]:
        """Good claims, changed by `more`; a claim that is given as None is left out."""
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 600}
        return {name: value for name, value in {**good, **more}.items() if value is not None}

    def token(
        self, *, kid: str = "one", alg: str = "RS256", header: Mapping[str, Any] = {}, **claims: Any
    ) -> str:
        """A token with a good signature."""
        return sign({"alg": alg, "kid": kid, **header}, self.claims(**claims), self.keys[kid])


class _Request(BaseHTTPRequestHandler):
    server: Idp
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        idp = self.server
        idp.asked.append(self.path)
        if self.path == "/.well-known/openid-configuration":
            self.send(
                json.dumps(idp.discovery or {"issuer": idp.url, "jwks_uri": f"{idp.url}/keys"}).encode()
            )
        elif callable(idp.answer):
            idp.answer(self)
        else:
            self.send(idp.answer if idp.answer is not None else idp.key_set())

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def issuer(certificate: Path | None = None) -> Iterator[Idp]:
    """Run an issuer, over TLS if a PEM file with a certificate and its key is given."""
    with Idp() as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
            server.scheme = "https"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="issuer", daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(PATIENCE_S)
