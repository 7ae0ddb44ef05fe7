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

# Twice would mean that we and another reader may go by different ones (RFC 9112, 6.3; RFC 9110, 5.3).
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
# Of a server that is full: so many more get an answer that says so, the others are closed without a word.
STANDING_ROOM = 64

Headers = list[tuple[bytes, bytes]]


class Connection(Protocol):
    """What the edge asks of a connection to decide whether it makes room for another."""

    made_at: float

    def is_idle(self) -> bool:
        """Whether no request of it is being served."""
        ...

    def has_asked(self) -> bool:
        """Whether it ever sent a whole head."""
        ...

    def leave(self) -> None:
        """Close it."""
        ...

    def cut(self) -> None:
        """Close it at once, whatever is under way."""
        ...


class Edge:
    """The limits of one server, seconds and bytes, and the checks that go by them."""

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
        """The server's address is one of this machine only: see `HostRule`."""
        self._hosts = HostRule(self._allowed_hosts, loopback=True)

    def check_head(self, target: bytes, version: str, headers: Headers) -> dict[bytes, bytes]:
        """The headers by name. Raises GatewayError for a head that is not served; once a request, so mind the cost."""
        found = dict(headers)
        if len(found) != len(headers):
            _check_repeated(headers)
        host = found.get(b"host")
        if version == "1.1":
            if host is None:
                raise BadRequest("The header 'Host' is missing")
        elif version != "1.0":
            raise BadRequest(f"HTTP/{version} is not spoken here")
        if host is not None and (wrong := self._hosts.check(host)) is not None:
            _raise_unless_probe(target, wrong)
        if target[:1] != b"/" and (wrong := self._hosts.check_target(target)) is not None:
            raise wrong
        if b"transfer-encoding" in found:
            _check_encoding(found, version)
        return found

    def check_size(self, target: bytes, headers: Headers) -> None:
        """Raises HeadTooLarge. Needed only where so much came at once that the head may be too large."""
        size = len(target) + sum(len(name) + len(value) + 4 for name, value in headers)
        if size > self.max_head_bytes:
            raise self.too_large()

    def too_large(self) -> HeadTooLarge:
        """The error for a head over `max_head_bytes`."""
        return HeadTooLarge(f"The head of the request is larger than {self.max_head_bytes} bytes")

    def too_many(self) -> HeadTooLarge:
        """The error for more than `max_headers`."""
        return HeadTooLarge(f"The request has more than {self.max_headers} headers")

    # -- how many ----------------------------------------------------------------------------------------------------

    def is_full(self, connections: Collection[object]) -> bool:
        """Whether there are more than are served."""
        return len(connections) > self.max_connections

    def is_crowded(self, connections: Collection[object]) -> bool:
        """Whether there are so many connections that further ones are closed without an answer."""
        return len(connections) > self.max_connections + STANDING_ROOM

    def admit(self, new: Connection, connections: set[Connection]) -> bool:
        """Count a new connection; an idle one may be closed for it. Returns False if there are still too many."""
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
        """The error for a connection too many."""
        return Overloaded(f"All {self.max_connections} connections are in use", retry_after_s=1)


def is_probe(target: bytes) -> bool:
    """Health checks: they name a host by chance, and are answered while there is any room."""
    return target in _PROBES


def split_target(target: bytes) -> tuple[bytes, str, bytes]:
    """Path as it came, path, and query of a request's target. Raises NotFound, and what else makes the parser refuse it."""
    if target[:1] == b"/" and not (b"%" in target or b"?" in target or b"#" in target):
        return target, target.decode("ascii"), b""
    if b"#" in target:
        # No client sends a fragment (RFC 9112, 3.2), and what is behind it is a path to some servers and nothing to others.
        raise NotFound("No path here is written with a number sign")
    parsed = httptools.parse_url(target)
    # The path of a whole URI may be empty, and means `/` then (RFC 9112, 3.2.1).
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
    """Raises for anything but `chunked` (RFC 9112, 6.1)."""
    if headers[b"transfer-encoding"].strip().lower() != b"chunked":
        raise BadRequest("Of the transfer encodings only 'chunked' is known")
    if version != "1.1" or b"content-length" in headers:
        raise BadRequest("The length of the body is ambiguous")
