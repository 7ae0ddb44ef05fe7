"""Calls that wait for quota, under a policy with `on_limit: wait`.

A call waits at the limit that has refused it. The calls of a key that wait at the same limit form a line: first come, first
served. Of several keys at one limit, each has a line of its own, and their first calls take turns. When something of the
limit is given back, the first call in turn is called. It tries, and calls the next one if there may be more for it.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import count

from tidegate.errors import RateLimited
from tidegate.types import Caller, Limit, Per, Ticket

MOST_WAITING = 1000
"""The calls that may wait for quota at the same time."""
MOST_OF_A_KEY = 100
"""The calls of one key that may wait at the same time."""
LOOK_AGAIN_S = 5.0
"""A call tries again after this time at the latest: reservations can expire, and a reload can raise a limit."""
TURNS_S = 1.0
"""The calls of many keys that wait at one limit try one after another within this time, not all at once."""

_Keys = dict[str, "list[Place]"]
"""The lines at one limit by their keys. The key whose turn is next is the first."""


class Lines:
    """All lines. They are bounded, and a call that finds no place has to be refused.

    A tenant may have as many waiting calls as places are still free. So one tenant gets half of the places at most, and
    places are left for others. A tenant is an organisation here, or a key without one.
    """

    def __init__(self, *, most: int = MOST_WAITING, most_of_a_key: int = MOST_OF_A_KEY) -> None:
        self._most = most
        self._most_of_a_key = most_of_a_key
        self._at: dict[str, _Keys] = {}  # by the buckets of the limits
        self._of: dict[tuple[str, str], int] = {}  # the waiting calls of each key and of each organisation
        self._numbers = count()
        self.waiting = 0

    def behind(self, key: str, limits: Sequence[Limit]) -> str:
        """Return the bucket of a limit at which calls of a key wait, or "". A later call has to wait behind them."""
        for limit in limits:
            if key in self._at.get(limit.bucket, ()):
                return limit.bucket
        return ""

    def full(self, caller: Caller) -> RateLimited | None:
        """Return the error for a call that finds no place, or None."""
        of_key, tenant = self._of.get(("key", caller.key), 0), _tenant(caller)
        of_tenant, free = self._of.get(tenant, 0), self._most - self.waiting
        if of_key >= self._most_of_a_key:
            return _no_place("key", f"{of_key} calls of this key already wait for quota, as many as may wait")
        if of_tenant < free:
            return None
        if of_tenant:
            level = tenant[0]
            return _no_place(
                level, f"{of_tenant} calls of this {level} already wait for quota, and {free} places are free"
            )
        return _no_place("gateway", f"{self.waiting} calls of other callers already wait for quota")

    @contextmanager
    def place(self, caller: Caller) -> Generator[Place]:
        """Give a call a place. It leaves the place at the end of the block."""
        place = Place(self._at, caller.key, next(self._numbers))
        counted = {("key", caller.key), _tenant(caller)}
        for each in counted:
            self._of[each] = self._of.get(each, 0) + 1
        self.waiting += 1
        try:
            yield place
        finally:
            place.leave()
            self.waiting -= 1
            for each in counted:
                self._of[each] -= 1
                if not self._of[each]:
                    del self._of[each]

    def given_back(self, ticket: Ticket, used: Sequence[int]) -> None:
        """Call the calls that may fit now because a reservation has ended."""
        for limit, amount, figure in zip(ticket.limits, ticket.amounts, used, strict=False):
            if figure < amount or limit.per is Per.CALL:
                keys = self._at.get(limit.bucket)
                if keys is not None:
                    _call(keys)


class Place:
    """The place of a waiting call. `needs` is what it needs of the limit at which it waits."""

    __slots__ = ("_at", "_bucket", "_called", "_key", "_number", "_wake", "needs")

    def __init__(self, at: dict[str, _Keys], key: str, number: int) -> None:
        self._at = at
        self._key = key
        self._number = number  # by the time of arrival
        self._bucket = ""
        self._called = False
        self._wake = asyncio.Event()
        self.needs = 0

    def __lt__(self, other: Place) -> bool:
        return self._number < other._number

    async def wait(self, bucket: str, needs: int, fits_s: float | None, *, most_s: float) -> None:
        """Wait at a limit until the call should try again: it is called, or its time has come. At most `most_s`.

        `fits_s` are the seconds until the call fits if nothing is given back before; None if that is not known, and 0 for a
        call that has not tried yet.
        """
        called, self._called = self._called, False
        if bucket != self._bucket:
            called = False  # leaving calls the next one
            self.leave()
            self._join(bucket)
        self.needs = needs
        keys = self._at[bucket]
        if called:
            _call(keys, less_than=needs)
        sleep_s = most_s
        if keys[self._key][0] is self:
            if fits_s == 0:
                return
            sleep_s = min(most_s, self._turn_s(keys, fits_s))
        timer = asyncio.get_running_loop().call_later(sleep_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
        self._wake.clear()

    def call(self) -> None:
        """Have the call try again."""
        self._called = True
        self._wake.set()

    def leave(self) -> None:
        """Leave the line. If the call was the first, it calls the next ones."""
        keys = self._at.get(self._bucket)
        if keys is None:
            return
        line = keys[self._key]
        was_first = line[0] is self
        line.remove(self)
        if was_first:
            del keys[self._key]
            if line:
                keys[self._key] = line  # as the last, since this was its turn
            _call(keys)
            if line:
                line[0].call()
        if not keys:
            del self._at[self._bucket]
        self._bucket = ""

    def _join(self, bucket: str) -> None:
        self._bucket = bucket
        insort(self._at.setdefault(bucket, {}).setdefault(self._key, []), self)

    def _turn_s(self, keys: _Keys, fits_s: float | None) -> float:
        if fits_s is None:
            return LOOK_AGAIN_S
        if next(iter(keys)) != self._key:
            # The first in turn tries at its time. The others would be refused then, so they try less often.
            fits_s = min(fits_s * len(keys), max(fits_s, TURNS_S))
        return min(fits_s, LOOK_AGAIN_S)


def _call(keys: _Keys, *, less_than: int | None = None) -> None:
    """Call the first call in turn, or the first one that needs less than another call, for which there was not enough."""
    for line in keys.values():
        if less_than is None or line[0].needs < less_than:
            line[0].call()
            return


def _tenant(caller: Caller) -> tuple[str, str]:
    return ("organisation", caller.organisation) if caller.organisation else ("key", caller.key)


def _no_place(level: str, why: str) -> RateLimited:
    error = RateLimited(
        f"{why}. Send fewer calls at once, or try again when some of them have ended.",
        param=f"{level}.waiting_calls",
    )
    error.at, error.dimension = level, "waiting_calls"
    return error
