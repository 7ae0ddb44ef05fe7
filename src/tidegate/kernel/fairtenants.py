"""The waiting calls of one class: token fairness between its tenants. Pure.

The tenant that has been served the least work goes next: the virtual token counter of Sheng et al., "Fairness in Serving
Large Language Models" (OSDI 2024). A tenant that comes back after a pause starts at the counter of the least served tenant
that waits, so nobody saves up service. Of the calls of a tenant, the one with the earliest deadline goes first (Liu and
Layland, 1973).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from heapq import nlargest
from typing import Generic, TypeVar

_MOST_ABSENT = 1024
"""So many tenants are remembered whose calls do not wait at present."""
_LATELY = 64
"""What was served lately is about this many times the work of a call."""
_MANY = 64
"""For more tenants than this, equal parts are good enough."""
_ROUNDS = 4
"""So many steps find the max-min fair share closely enough."""


class Waiting:
    """A call in a line. `rank` orders calls by their entry; a call that is in several lines has the same rank in all.

    `work` is what the call is expected to cost. `portion` is the part of it that this line has to do, if other lines may
    serve the call as well. `deadline` and `entered_at` are in seconds of the clock. `early` becomes true if the call is
    served while calls of a class wait that goes before its own.
    """

    __slots__ = ("deadline", "early", "entered_at", "portion", "priority", "rank", "tenant", "work")

    def __init__(  # noqa: PLR0913 - a value each
        self,
        rank: int,
        priority: str,
        tenant: str = "",
        *,
        deadline: float = float("inf"),
        entered_at: float = 0.0,
        work: float = 1.0,
        lines: int = 1,
    ) -> None:
        """`priority` is the name of the call's class, and `lines` the number of lines that the call joins."""
        self.rank = rank
        self.priority = priority
        self.tenant = tenant
        self.deadline = deadline
        self.entered_at = entered_at
        self.work = work
        self.portion = work / lines
        self.early = False


W = TypeVar("W", bound=Waiting)


class _Tenant(Generic[W]):
    """The waiting calls of one tenant in one class, the earliest deadline first, and the work that it was served."""

    __slots__ = ("calls", "lately", "served", "since", "work")

    def __init__(self, served: float) -> None:
        self.served = served
        self.lately = 0.0
        self.since = 0
        self.calls: list[tuple[float, int, W]] = []
        self.work = 0.0


class Tenants(Generic[W]):
    """The waiting calls of one class, by tenant."""

    def __init__(self) -> None:
        self.size = 0
        self.work = 0.0
        self.tenants: dict[str, _Tenant[W]] = {}
        # The tenants with waiting calls, the least served first; equals in the order in which they began to wait.
        self._order: list[tuple[float, int, str]] = []
        self._floor = 0.0
        self._lately = 0.0
        """The work that was served lately: the sum of that of the tenants."""

    def add(self, call: W) -> None:
        """Put a call in line."""
        tenant = self.tenants.get(call.tenant)
        if tenant is None:
            tenant = self.tenants[call.tenant] = _Tenant(self._floor)
        if not tenant.calls:
            if self._order:
                self._floor = self._order[0][0]
            tenant.served = max(tenant.served, self._floor)
            tenant.since = call.rank
            insort(self._order, self._key(call.tenant, tenant))
        insort(tenant.calls, (call.deadline, call.rank, call))
        tenant.work += call.portion
        self.work += call.portion
        self.size += 1

    def remove(self, call: W) -> bool:
        """Take a call out of the line, and return whether it was there."""
        tenant = self.tenants.get(call.tenant)
        if tenant is None:
            return False
        at = bisect_left(tenant.calls, (call.deadline, call.rank))
        if at == len(tenant.calls) or tenant.calls[at][2] is not call:
            return False
        del tenant.calls[at]
        tenant.work -= call.portion
        self.work -= call.portion
        self.size -= 1
        if not tenant.calls:
            tenant.work = 0.0
            self._forget(self._key(call.tenant, tenant))
        if not self.size:
            self.work = 0.0
        return True

    def charge(self, name: str, work: float) -> None:
        """Count work that a tenant was served. A negative amount takes back what was counted too much."""
        tenant = self.tenants.get(name)
        if tenant is None:
            return
        waits = bool(tenant.calls)
        if waits:
            self._forget(self._key(name, tenant))
        tenant.served += work
        if waits:
            insort(self._order, self._key(name, tenant))

    def note_served(self, call: W) -> None:
        """Count the work of a call as served. Old work counts less, once a few dozen calls have been served since."""
        self.charge(call.tenant, call.work)
        self.tenants[call.tenant].lately += call.work
        self._lately += call.work
        if self._lately > _LATELY * max(1.0, call.work):
            self._lately = 0.0
            for tenant in self.tenants.values():
                tenant.lately /= 2
                self._lately += tenant.lately

    @property
    def head(self) -> W:
        """The next call of the class, which must not be empty."""
        return self.tenants[self._order[0][2]].calls[0][2]

    def ahead(self, name: str, deadline: float) -> tuple[float, int]:
        """Return the work, and the number of calls, that go before a new call of a tenant.

        The higher one of two estimates holds: that the other tenants only get done what waits now, or that they keep
        getting the part of the work that they got lately. A tenant gets its equal part in any case.
        """
        own = self.tenants.get(name)
        served = max(own.served if own else 0.0, self._order[0][0] if self._order else self._floor)
        work, calls, others = 0.0, 0, len(self._order)
        if own is not None and own.calls:
            before = bisect_left(own.calls, (deadline, 1 << 62))
            calls = before
            work = own.work if before == len(own.calls) else own.work * before / len(own.calls)
            others -= 1
        part = self._part_of(name, others) if self._lately else 1.0
        lasting, lasting_calls = work / part, round(calls / part)
        # The others are served up to the level at which this tenant will be, and one call more where they are below it.
        level = served + work
        for other, _, other_name in self._order:
            if other > level:
                break
            if other_name != name:
                tenant = self.tenants[other_name]
                mean = tenant.work / len(tenant.calls) or 1.0
                theirs = min(tenant.work, level - other + mean)
                work += theirs
                calls += round(theirs / mean)
        return max(work, lasting), max(calls, lasting_calls)

    def _part_of(self, name: str, waiting: int) -> float:
        """Return the part of the work that a tenant gets from now on, if the others go on as they did lately.

        It is the max-min fair share (Bertsekas and Gallager, Data Networks, 1992): a tenant that wants less than an equal
        part leaves the rest to the others. `waiting` other tenants have waiting calls.
        """
        equal = 1 / (waiting + 1)
        if len(self.tenants) > _MANY:
            return equal
        others = [one.lately / self._lately for key, one in self.tenants.items() if key != name]
        part = equal
        for _ in range(_ROUNDS):
            part = max(1 - sum(min(one, part) for one in others), 1 / (len(others) + 1))
        return part

    def newest(self) -> W:
        """The call that entered last, of the tenant with the most work waiting. The class must not be empty."""
        most = max((self.tenants[name] for _, _, name in self._order), key=lambda tenant: tenant.work)
        return max((call for _, _, call in most.calls), key=lambda call: call.rank)

    def work_of(self, name: str) -> float:
        """Return the work of a tenant that waits."""
        tenant = self.tenants.get(name)
        return tenant.work if tenant is not None else 0.0

    def calls(self) -> Iterator[W]:
        """Yield every waiting call, in no order."""
        for tenant in self.tenants.values():
            yield from (call for _, _, call in tenant.calls)

    def _key(self, name: str, tenant: _Tenant[W]) -> tuple[float, int, str]:
        return tenant.served, tenant.since, name

    def _forget(self, key: tuple[float, int, str]) -> None:
        del self._order[bisect_left(self._order, key)]
        if not self._order:
            self._floor = max(self._floor, key[0])
        if len(self.tenants) > 2 * len(self._order) + _MOST_ABSENT:
            self._forget_absent()

    def _forget_absent(self) -> None:
        """Forget tenants without waiting calls. What one was served matters as long as it is more than the others were."""
        level = self._order[0][0] if self._order else self._floor
        absent = [(one.served, name) for name, one in self.tenants.items() if not one.calls]
        kept = {name for _, name in nlargest(_MOST_ABSENT // 2, (one for one in absent if one[0] > level))}
        self.tenants = {name: one for name, one in self.tenants.items() if one.calls or name in kept}
