"""Resolves a host name and connects a socket to it. New connections use the addresses of the name in turn.

The name is looked up for each new connection, so a changed DNS record takes effect at once. If an address does not answer
within 250 ms, the next address is tried at the same time, and the first address that answers is used (RFC 8305, "Happy
Eyeballs").
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Coroutine, Iterable
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from tidegate.sockets import keep_alive

# RFC 8305, 5: the "Connection Attempt Delay".
NEXT_AFTER_S = 0.25
# An address that failed or lost a race is tried again after this many other attempts.
SET_BACK = 16


class Address(NamedTuple):
    """One address of a name, as `socket.getaddrinfo` returns it."""

    family: int
    at: tuple[Any, ...]


class Addresses:
    """The addresses of one host."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._connections = 0
        # For each address, its rank: the address with the lowest number is tried first.
        self._turns: dict[Address, int] = {}

    async def connect(self) -> socket.socket:
        """Connect to one of the addresses and return the socket.

        Raises OSError (socket.gaierror if the name is not found), or UnicodeError if the host is not a valid name.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        addresses = self._in_turn({Address(family, at): None for family, _, _, _, at in found})
        if len(addresses) == 1:
            return await self._attempt(addresses[0])
        return await self._race(addresses)

    def _in_turn(self, found: Iterable[Address]) -> list[Address]:
        """Sort addresses by their rank. Addresses of the same rank alternate between the families (RFC 8305, 4)."""
        families: dict[int, list[Address]] = {}
        for address in found:
            families.setdefault(address.family, []).append(address)
        mixed = [one for one in chain.from_iterable(zip_longest(*families.values())) if one is not None]
        self._turns = {one: self._turns.get(one, 0) for one in mixed}
        return sorted(mixed, key=self._turns.__getitem__)

    async def _race(self, addresses: Iterable[Address]) -> socket.socket:
        """Return the socket of the first address that answers. Raises the first failure if no address answers."""
        loop = asyncio.get_running_loop()
        waiting, running = deque(addresses), set[asyncio.Task[socket.socket]]()
        first_failure: BaseException | None = None
        try:
            while waiting or running:
                if waiting:
                    running.add(loop.create_task(self._attempt(waiting.popleft())))
                done, _ = await asyncio.wait(
                    running, timeout=NEXT_AFTER_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for attempt in done:
                    running.discard(attempt)
                    if (failure := attempt.exception()) is None:
                        running.update(done)  # a second address may have answered at the same moment
                        running.discard(attempt)
                        return attempt.result()
                    first_failure = first_failure or failure
        finally:
            await _abandon(running)
        assert first_failure is not None, "getaddrinfo gives at least one address"
        raise first_failure

    def _attempt(self, address: Address) -> Coroutine[Any, Any, socket.socket]:
        """Connect to one address. Its rank falls at once, so connections that start meanwhile try other addresses first."""
        self._connections += 1
        self._turns[address] = self._connections + SET_BACK
        return self._connected(address, self._connections)

    async def _connected(self, address: Address, turn: int) -> socket.socket:
        """Return a socket connected to one address. Raises OSError."""
        one = socket.socket(address.family, socket.SOCK_STREAM)
        try:
            one.setblocking(False)
            keep_alive(one)
            await asyncio.get_running_loop().sock_connect(one, address.at)
        except (OSError, asyncio.CancelledError):
            one.close()
            raise
        self._turns[address] = turn
        return one


async def _abandon(attempts: Iterable[asyncio.Task[socket.socket]]) -> None:
    """Cancel the attempts, and close the sockets of attempts that have already succeeded."""
    for attempt in attempts:
        attempt.cancel()
    for ended in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(ended, socket.socket):
            ended.close()
