"""The limits that all connections of one server share, and the rules for the head of a request.

The parser (llhttp, strict) rejects malformed HTTP. This module rejects valid HTTP that is ambiguous or too large: two
values of `Host`, of `Authorization` or of the body's length, and heads that are larger than a head needs to be.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable
from typing import Protocol
from urllib.parse import unquote

import httptools

from tidegate.config import ServerConfig
from tidegate.errors import BadRequest, GatewayError, HeadTooLarge, NotFound, Overloaded
from tidegate.http.edge.hosts import HostRule
from tidegate.http.edge.refusals import Refusals

# These must not be repeated: the gateway and another server could use different values (RFC 9112, 6.3; RFC 9110, 5.3).
_ONCE = (
    b"host",
    b"authorization",
    b"x-api-key",
    b"api-key",
    b"content-length",
    b"transfer-encoding",
    b"content-type",
    b"content-encoding",
    b"expect",
)
_PROBES = (b"/healthz", b"/readyz", b"/health")
# A full server answers this many further connections with an error. Connections beyond these are closed without an answer.
STANDING_ROOM = 64

Headers = list[tuple[bytes, bytes]]


class Connection(Protocol):
    """What the edge needs of a connection to decide whether it can be closed in favour of a new one."""

    made_at: float

    def is_idle(self) -> bool:
        """Return whether no request of the connection is being served."""
        ...

    def has_asked(self) -> bool:
        """Return whether the client ever sent a complete head."""
        ...

    def leave(self) -> None:
        """Close the idle connection."""
        ...

    def cut(self) -> None:
        """Close the connection at once, with any requests that are still in flight."""
        ...


class Edge:
    """The limits of one server, in seconds and bytes, and the checks against these limits."""

    def __init__(self, settings: ServerConfig, refusals: Refusals) -> None:
        self.first_byte_s = settings.first_byte_timeout_ms / 1000
        self.head_s = settings.head_timeout_ms / 1000
        self.max_head_bytes = settings.max_head_bytes
        self.max_headers = settings.max_headers
        self.body_idle_s = settings.body_idle_ms / 1000
        self.min_body_bytes_per_s = settings.min_body_bytes_per_s
        self.send_stall_s = settings.send_stall_ms / 1000
        self.max_connections = settings.max_connections
        self.refusals = refusals
        self._allowed_hosts = settings.allowed_hosts
        self._hosts = HostRule(self._allowed_hosts, loopback=False)

    def listens_on_loopback(self) -> None:
        """Apply the stricter host rule of a server that is reachable only from this machine: see `HostRule`."""
        self._hosts = HostRule(self._allowed_hosts, loopback=True)

    def check_head(self, target: bytes, version: str, headers: Headers) -> dict[bytes, bytes]:
        """Return the headers by name. Raises GatewayError for a head that must be refused.

        This runs for every request, so keep it cheap.
        """
        found = dict(headers)
        if len(found) != len(headers):
            _check_repeated(headers)
        host = found.get(b"host")
        if version == "1.1":
            if host is None:
                raise BadRequest("The header 'Host' is missing")
        elif version != "1.0":
            raise BadRequest(f"HTTP/{version} is not supported; use HTTP/1.1")
        if host is not None and (wrong := self._hosts.check(host)) is not None:
            _raise_unless_probe(target, wrong)
        if target[:1] != b"/" and (wrong := self._hosts.check_target(target)) is not None:
            raise wrong
        if b"transfer-encoding" in found:
            _check_encoding(found, version)
        return found

    def check_size(self, target: bytes, headers: Headers) -> None:
        """Raise HeadTooLarge if the head is too large. Needed only if more bytes were read than a head may have."""
        size = len(target) + sum(len(name) + len(value) + 4 for name, value in headers)
        if size > self.max_head_bytes:
            raise self.too_large()

    def too_large(self) -> HeadTooLarge:
        """Return the error for a head over `max_head_bytes`."""
        return HeadTooLarge(f"The head of the request is larger than {self.max_head_bytes} bytes")

    def too_many(self) -> HeadTooLarge:
        """Return the error for more than `max_headers` headers."""
        return HeadTooLarge(f"The request has more than {self.max_headers} headers")

    # -- number of connections ---------------------------------------------------------------------------------------

    def is_full(self, connections: Collection[object]) -> bool:
        """Return whether there are more connections than `max_connections`."""
        return len(connections) > self.max_connections

    def is_crowded(self, connections: Collection[object]) -> bool:
        """Return whether there are so many connections that further ones are closed without an answer."""
        return len(connections) > self.max_connections + STANDING_ROOM

    def admit(self, new: Connection, connections: set[Connection]) -> bool:
        """Count a new connection, and close idle ones if the server is full. Return False if there are still too many."""
        connections.add(new)
        if self.is_full(connections):
            self.make_room(connections - {new})
        return not self.is_crowded(connections)

    def make_room(self, connections: Iterable[Connection]) -> None:
        """Close some idle connections: first those that never sent a request, then the oldest.

        Several are closed at once, so that in a flood of connections one search makes room for many.
        """
        idle = [one for one in connections if one.is_idle()]
        for one in heapq.nsmallest(
            1 + self.max_connections // 32, idle, key=lambda one: (one.has_asked(), one.made_at)
        ):
            one.leave()

    def full(self) -> Overloaded:
        """Return the error for a connection over `max_connections`."""
        return Overloaded(f"All {self.max_connections} connections are in use", retry_after_s=1)


def is_probe(target: bytes) -> bool:
    """Return whether the target is a health check, which may name any host and is answered by a full server too."""
    return target in _PROBES


def split_target(target: bytes) -> tuple[bytes, str, bytes]:
    """Return the raw path, the decoded path and the query of a request's target.

    Raises NotFound for a fragment, and httptools.HttpParserError or UnicodeDecodeError for a malformed target.
    """
    if target[:1] == b"/" and not (b"%" in target or b"?" in target or b"#" in target):
        return target, target.decode("ascii"), b""
    if b"#" in target:
        # Clients must not send a fragment (RFC 9112, 3.2), and servers disagree on whether it belongs to the path.
        raise NotFound("No path of this server contains '#'")
    parsed = httptools.parse_url(target)
    # An empty path in an absolute URI means `/` (RFC 9112, 3.2.1).
    raw_path: bytes = parsed.path or b"/"
    path = raw_path.decode("ascii")
    return raw_path, unquote(path) if "%" in path else path, parsed.query or b""


def _check_repeated(headers: Headers) -> None:
    names = [name for name, _ in headers]
    for name in _ONCE:
        if names.count(name) > 1:
            raise BadRequest(f"The header '{name.decode()}' came more than once")


def _raise_unless_probe(target: bytes, wrong: GatewayError) -> None:
    if not (is_probe(target) and wrong.status == 421):
        raise wrong


def _check_encoding(headers: dict[bytes, bytes], version: str) -> None:
    """Raise BadRequest for any transfer encoding but `chunked`, and for `chunked` with a length (RFC 9112, 6.1)."""
    if headers[b"transfer-encoding"].strip().lower() != b"chunked":
        raise BadRequest("The only transfer encoding supported is 'chunked'")
    if version != "1.1" or b"content-length" in headers:
        raise BadRequest("The length of the body is ambiguous")
