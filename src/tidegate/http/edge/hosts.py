"""Which host names the gateway answers to: the header `Host`, and the host in an absolute target.

The gateway routes no request by its Host and builds no URL from it, so an unknown host does no harm by itself. DNS
rebinding is the exception: a web page can point its own host name at 127.0.0.1, and its scripts could then call a gateway
that listens on this machine only. Such requests carry the page's host name. So a gateway on a loopback address answers
only to names that cannot be registered in the public DNS.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

from tidegate.errors import BadRequest, GatewayError, Misdirected

_HOST = re.compile(
    rb"([A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253})|\[[0-9A-Fa-f:.]{2,45}(?:%25[A-Za-z0-9._~-]{1,32})?\])(?::[0-9]{0,5})?"
)
"""A name or an address, with or without a port. Non-ASCII names arrive as punycode (RFC 9110, 7.2; RFC 3986, 3.2.2)."""

_TARGET_HOST = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)
# Domains reserved for local networks: RFC 6761, RFC 6762, and ICANN's reservation of 2024.
_NEARBY = (".localhost", ".local", ".internal")
MOST_KNOWN = 1024


class HostRule:
    """The hosts that the gateway answers to. Accepted hosts are remembered, so that most requests cost one set look-up."""

    def __init__(self, allowed: Iterable[str], *, loopback: bool) -> None:
        """`loopback` counts only if `allowed` is empty: True accepts only local names, False any name."""
        self._allowed = tuple(allowed)
        self._any = "*" in self._allowed or (not self._allowed and not loopback)
        self._own = socket.gethostname().lower()
        self._known: set[bytes] = set()

    def check(self, host: bytes) -> GatewayError | None:
        """Return the error for a `Host` that is malformed or not served, or None."""
        if host in self._known:
            return None
        found = _HOST.fullmatch(host)
        if found is None:
            return BadRequest("The header 'Host' is not a host name")
        name = found[1].decode().lower().rstrip(".")
        if not (self._any or (self._listed(name) if self._allowed else self._nearby(name))):
            return Misdirected(f"The host '{name}' is not served here: add it to server.allowed_hosts")
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known.add(host)
        return None

    def check_target(self, target: bytes) -> GatewayError | None:
        """Return the error for a target that is not a path, or None.

        Of `http://host/path`, the host is checked (RFC 9112, 3.2.2). `*` means the server as a whole and has no host
        (RFC 9112, 3.2.4).
        """
        if target == b"*":
            return None
        found = _TARGET_HOST.match(target)
        return (
            BadRequest("The target of the request is not a path") if found is None else self.check(found[1])
        )

    def _listed(self, name: str) -> bool:
        return any(
            name.endswith(allowed[1:]) if allowed.startswith("*.") else name == allowed
            for allowed in self._allowed
        )

    def _nearby(self, name: str) -> bool:
        # With an IP address in Host, the client has resolved no name, so DNS rebinding is impossible.
        return "." not in name or name == self._own or name.endswith(_NEARBY) or is_address(name)


def is_address(name: str) -> bool:
    """Return whether `name` is an IP address. IPv6 addresses may be in brackets, as in `[::1]`."""
    try:
        ipaddress.ip_address(name.strip("[]").partition("%25")[0])
    except ValueError:
        return False
    return True
