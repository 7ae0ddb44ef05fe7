"""Which host names the gateway answers to: the header `Host`, and the host in an absolute target.

Nothing here is routed or built by the Host, so a strange one does no harm by itself. One kind of request must not be
answered all the same: a page that a browser has open can point its own name at 127.0.0.1 (DNS rebinding) and would then
talk to a gateway that listens for this machine only. Its requests carry that name, so on a loopback address only names are
answered that nobody can own in the public DNS.
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
"""A name or an address, and a port; letters of other scripts come as punycode (RFC 9110, 7.2; RFC 3986, 3.2.2)."""

_TARGET_HOST = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)
# Reserved for machines near by: RFC 6761, RFC 6762, and ICANN's reservation of 2024.
_NEARBY = (".localhost", ".local", ".internal")
MOST_KNOWN = 1024


class HostRule:
    """Which hosts are answered. Remembers the good ones, so that a request pays for a look-up only."""

    def __init__(self, allowed: Iterable[str], *, loopback: bool) -> None:
        """`loopback` is what holds where `allowed` is empty: only nearby names instead of any."""
        self._allowed = tuple(allowed)
        self._any = "*" in self._allowed or (not self._allowed and not loopback)
        self._own = socket.gethostname().lower()
        self._known: set[bytes] = set()

    def check(self, host: bytes) -> GatewayError | None:
        """What is wrong with a `Host`, None for nothing."""
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
        """The same for a target that is not a path: `http://host/path` counts by its host (RFC 9112, 3.2.2).

        `*` stands for the server as a whole and has no host (RFC 9112, 3.2.4).
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
        # An address in Host was typed or configured as one: no name was resolved that could be turned round.
        return "." not in name or name == self._own or name.endswith(_NEARBY) or is_address(name)


def is_address(name: str) -> bool:
    """Whether it is an IP address, `[::1]` included."""
    try:
        ipaddress.ip_address(name.strip("[]").partition("%25")[0])
    except ValueError:
        return False
    return True
