"""The client's address behind proxies that the operator trusts (RFC 7239, 7.4; the header is `X-Forwarded-For`)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping


class Proxies:
    """The proxies whose word is taken for a client's address."""

    def __init__(self, networks: Iterable[str]) -> None:
        """`networks` are addresses and networks such as `10.0.0.0/8`."""
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def client(self, peer: str, headers: Mapping[bytes, bytes]) -> str:
        """The address of the client: the nearest one that is not a trusted proxy's.

        `peer` is the address at the other end of the connection. What stands in the header to the left of an address that
        is not trusted may be invented, so it is never used.
        """
        named = headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
        while self._trusts(peer) and named:
            before = named.pop().strip()
            if not _is_address(before):
                break
            peer = before
        return peer

    def _trusts(self, address: str) -> bool:
        if not _is_address(address):
            return False
        found = ipaddress.ip_address(address)
        return any(found in network for network in self._networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
