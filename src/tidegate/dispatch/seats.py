"""The seats of an engine: they limit how many calls the engine gets at once.

Seats belong to an engine's name and last as long as the process, so calls from before and after a reload share one limit.
Calls over the limit wait in the engine's line.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from tidegate.kernel.adaptive import AdaptiveLimit
from tidegate.kernel.drain import Drain
from tidegate.kernel.fairqueue import FairQueue, Rule
from tidegate.kernel.fairtenants import Waiting
from tidegate.ports import Clock
from tidegate.types import Load

_CALL_TOKENS = 1000
"""The work of another client's call, as long as nothing is known of calls."""


class Waiter(Waiting):
    """One call in the lines of every engine that could serve it. `turn` gets the seats of which it has one.

    `give_way` refuses the call, so that another one can wait in its place.
    """

    __slots__ = ("give_way", "internal", "seats", "turn")

    seats: Sequence[Seats]
    internal: bool
    turn: asyncio.Future[Seats]
    give_way: Callable[[], None]

    def leave(self) -> None:
        """Leave all lines."""
        for seats in self.seats:
            seats.line.remove(self)


class Seats:
    """The seats of one engine. `limit` None means that the gateway sets no limit.

    `most` is the limit of the configuration. `limit` may be lower while the engine cannot keep up; `why` is the reason of
    its last change, such as `settings`.
    `reserved` is the number of seats that only internal calls may take. `ready` tells whether the engine is ready. `line`
    has the calls that wait, and `drain` measures how fast the engine works.
    """

    def __init__(
        self,
        limit: int | None = None,
        *,
        reserved: int = 0,
        rules: Sequence[Rule] = (),
        clock: Clock = time.monotonic,
    ) -> None:
        """`rules` are the classes of calls, in the order in which they go."""
        self.limit = self.most = limit
        self.why = "settings"
        self.changes: dict[str, int] = {}
        """How often another limit took the place of a limit, by the reason."""
        self.reserved = reserved
        self.adaptive: AdaptiveLimit | None = None
        """What lowers the limit; None if the limit is fixed."""
        self.in_flight = 0
        self.work = 0
        """The work of the calls in flight, in tokens, as it was expected."""
        self.others_work = 0.0
        """The work of other clients' calls that the engine reported last, in tokens, estimated."""
        self.pressure = 1.0
        """From 1 to 2: how full the engine's key-value cache was when it reported last."""
        self.ready = False
        self.line = FairQueue[Waiter](rules)
        self.drain = Drain(clock())
        self._internal = 0
        self._clock = clock

    @property
    def waiting(self) -> int:
        """The number of calls in line."""
        return self.line.size

    def set_limit(self, limit: int | None, *, reserved: int = 0, adapts: bool = False) -> None:
        """Set a new limit. A higher limit lets waiting calls continue at once. A lower limit ends no running call.

        A limit that `adapts` is lowered while the engine cannot keep up, though never below `reserved` and one.
        """
        self.reserved, self.most = reserved, limit
        if limit is None or not adapts:
            self.adaptive = None
        elif self.adaptive is None:
            self.adaptive = AdaptiveLimit(least=reserved + 1, most=limit)
        else:
            self.adaptive.set_bounds(reserved + 1, limit)
        self.move(limit if self.adaptive is None else self.adaptive.limit, "settings")

    def move(self, limit: int | None, why: str) -> None:
        """Set a limit for now, up to `most`. `why` is one of a few words. Waiting calls get the seats that become free."""
        if limit != self.limit:
            if self.limit is not None and limit is not None:
                self.changes[why] = self.changes.get(why, 0) + 1
            self.limit, self.why = limit, why
        self.serve_line()

    def has_free(self, *, internal: bool = False) -> bool:
        """Whether a call could take a seat now."""
        limit = self.limit
        if limit is None:
            return True
        if internal:
            return self.in_flight < limit
        return self.in_flight < limit and self.in_flight - self._internal < limit - self.reserved

    def try_take(self, *, internal: bool = False) -> bool:
        """Take a seat if one is free, even while calls wait in line. Return whether a seat was taken."""
        if not self.has_free(internal=internal):
            return False
        self.in_flight += 1
        self._internal += internal
        return True

    def release(self, *, internal: bool = False) -> None:
        """Give a seat back. The call in line that goes next and may use the seat gets it."""
        self.in_flight -= 1
        self._internal -= internal
        if self.adaptive is not None:
            self.follow()
        if self.line.size:
            self.serve_line()

    def follow(self) -> None:
        """Set the limit that fits the engine as it is now, if the limit adapts."""
        adaptive = self.adaptive
        if adaptive is not None:
            adaptive.update(self._clock(), in_flight=self.in_flight, wanted=self.line.size > 0)
            if adaptive.limit != self.limit:
                self.move(adaptive.limit, adaptive.why)

    def shun(self) -> None:
        """Have calls in line wait for other engines alone, if there are any left that could serve them."""
        for waiter in list(self.line.calls()):
            if len(waiter.seats) > 1:
                self.line.remove(waiter)
                waiter.seats = [one for one in waiter.seats if one is not self]

    def refused(self) -> None:
        """Note that the engine refused a call for lack of capacity."""
        if self.adaptive is not None:
            self.adaptive.refused(self.in_flight, self._clock())
            self.follow()

    def reported(self, load: Load, own: int = 0) -> None:
        """Note what the engine reports of its load, which may be due to other clients.

        `own` is how many calls this process had there when the engine was asked. One that has ended since is in the report
        all the same, and would else count as another client's until the next one.
        """
        own = max(own, self.in_flight)
        others = max(0, load.running + (load.waiting or 0) - own)
        mean = self.work / self.in_flight if self.in_flight else self.drain.mean_work() or _CALL_TOKENS
        self.others_work, self.pressure = others * mean, 1 + (load.kv_usage or 0.0)
        if self.adaptive is not None:
            self.adaptive.reported(
                running=load.running,
                waiting=load.waiting,
                kv_usage=load.kv_usage,
                own=own,
                now=self._clock(),
            )
            self.follow()

    def rate(self, now: float) -> float:
        """Return the work for clients that the engine gets through in a second if all its seats are busy."""
        if self.limit is None:
            return float("inf")
        return self.drain.rate(max(1, self.limit - self.reserved), self.in_flight, now)

    def serve_line(self) -> None:
        """Give the free seats to the calls in line."""
        now = self._clock()
        while (waiter := self.line.next(now)) is not None:
            if waiter.turn.done():  # its task was cancelled in this turn of the loop, and has not run since
                waiter.leave()
                continue
            if not self.try_take(internal=waiter.internal):
                break
            self.line.serve(waiter, now)
            waiter.leave()
            waiter.turn.set_result(self)
