"""A line of calls that wait for one engine, and the order in which they get its seats. Pure.

Three rules decide, one inside the other:

* Between classes, the class that comes first in the configuration goes first, with two exceptions. A class that has got
  less than its reserved share of the work while it was waiting goes before it. And a class whose next call has waited for
  0.8 of the longest wait of its class goes before all of them.
* Between the tenants of a class, the one that has been served the least work goes first: the virtual token counter of Sheng
  et al., "Fairness in Serving Large Language Models" (OSDI 2024). A tenant that comes back after a pause starts at the
  counter of the least served tenant that waits, so nobody saves up service.
* Between the calls of a tenant, the one with the earliest deadline goes first (Liu and Layland, 1973).

Work is measured in tokens of input, where a token of output counts as two.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from heapq import nlargest
from typing import Generic, NamedTuple, TypeVar

AGED = 0.8
"""A call that has waited for this share of the longest wait of its class goes before all other classes."""
INPUT, OUTPUT = 1, 2
"""The work of one token."""
_MOST_ABSENT = 1024
"""So many tenants are remembered whose calls do not wait at present."""
_LATELY = 64
_MANY = 64
"""For more tenants than this, equal parts are good enough."""
_ROUNDS = 4
OWN = ""
"""The class of the gateway's own calls. It goes before all others."""


class Rule(NamedTuple):
    """A class of calls. `share` is the part of the work, 0 to 1, that it gets at least while its calls wait."""

    name: str
    share: float = 0.0
    longest_wait_s: float = float("inf")


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


class _Class(Generic[W]):
    """The waiting calls of one class."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.size = 0
        self.work = 0.0
        self.owed = 0.0
        """The part of the reserved share that the class has not got yet; negative if it got more."""
        self.tenants: dict[str, _Tenant[W]] = {}
        # The tenants with waiting calls, the least served first; equals in the order in which they began to wait.
        self._order: list[tuple[float, int, str]] = []
        self._floor = 0.0
        self._lately = 0.0
        """The work that was served lately: the sum of that of the tenants."""

    def add(self, call: W) -> None:
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
            self.work, self.owed = 0.0, min(self.owed, 0.0)
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
        tenant = self.tenants.get(name)
        return tenant.work if tenant is not None else 0.0

    def calls(self) -> Iterator[W]:
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


class FairQueue(Generic[W]):
    """The calls that wait for one engine."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        """`rules` are the classes in order: an earlier class goes before a later one."""
        self._classes: dict[str, _Class[W]] = {}
        self._rules: tuple[Rule, ...] = ()
        self.size = 0
        self.configure(rules)

    def configure(self, rules: Sequence[Rule]) -> None:
        """Set the classes. Calls of a class that no longer exists keep waiting, behind all others."""
        self._rules = (Rule(OWN), *rules)
        names = {rule.name for rule in self._rules}
        kept = [one.rule._replace(share=0.0) for one in self._classes.values() if one.size]
        before, self._classes = self._classes, {}
        for rule in (*self._rules, *(rule for rule in kept if rule.name not in names)):
            self._classes[rule.name] = kind = before.get(rule.name) or _Class(rule)
            kind.rule = rule

    def add(self, call: W) -> None:
        """Put a call in line. A call of an unknown class waits behind all others."""
        kind = self._classes.get(call.priority)
        if kind is None:
            kind = self._classes[call.priority] = _Class(Rule(call.priority))
        kind.add(call)
        self.size += 1

    def remove(self, call: W) -> None:
        """Take a call out of the line, if it is in line."""
        kind = self._classes.get(call.priority)
        if kind is not None and kind.remove(call):
            self.size -= 1

    def next(self, now: float) -> W | None:
        """Return the call that goes next, and leave it in line. None if no call waits."""
        found = self._choose(now)
        return found[0].head if found is not None else None

    def serve(self, call: W, now: float) -> None:
        """Take a call out of the line that `next` has returned just now, and count its work as served."""
        chosen = self._choose(now)
        reserved = chosen is not None and chosen[1]
        first = None
        for kind in self._classes.values():
            if kind.size:
                first = first or kind.rule.name
                kind.owed += kind.rule.share * call.work
            elif kind.owed < 0:  # what a class got too much is forgotten at the rate of its share
                kind.owed = min(0.0, kind.owed + kind.rule.share * call.work)
        call.early = first != call.priority
        kind = self._classes[call.priority]
        if reserved:
            kind.owed -= call.work
        elif kind.owed > 0:
            kind.owed = max(0.0, kind.owed - call.work)
        kind.note_served(call)
        self.remove(call)

    def charge(self, priority: str, tenant: str, work: float) -> None:
        """Count further work that a tenant was served. A negative amount takes back what was counted too much."""
        found = self._classes.get(priority)
        if found is not None:
            found.charge(tenant, work)

    def ahead(self, priority: str, tenant: str, deadline: float) -> Ahead:
        """Return what goes before a new call. Calls that enter later are not known, and so not in it."""
        before, work, calls = True, 0.0, 0
        own = 0.0, 0
        higher: list[str] = []
        behind: list[Rule] = []
        for name, one in self._classes.items():
            if name == priority:
                before = False
                own = one.ahead(tenant, deadline) if one.size else own
            elif before:
                higher.append(name)
                work += one.work
                calls += one.size
            elif one.size:
                behind.append(one.rule)
        found = self._classes.get(priority)
        rule = found.rule if found is not None else Rule(priority)
        debt = max(0.0, -found.owed) if found is not None else 0.0
        return Ahead(
            *own, work, calls, rule.share, debt, AGED * rule.longest_wait_s, tuple(higher), tuple(behind)
        )

    def newest(self, priority: str, tenant: str) -> W | None:
        """Return the call that has to leave so that a new call can enter a full line. None if the new call has to leave.

        It is the newest call of the last class behind that of the new call. If no call of such a class waits, it is one of
        the tenant with the most work in the same class, if that tenant has more waiting than the new call's.
        """
        for name, one in reversed(self._classes.items()):
            if name in (priority, OWN):
                break
            if one.size:
                return one.newest()
        same = self._classes.get(priority)
        if same is None or not same.size or priority == OWN:
            return None
        found = same.newest()
        return found if found.tenant != tenant and same.work_of(found.tenant) > same.work_of(tenant) else None

    def sizes(self) -> dict[str, tuple[int, float]]:
        """Return the number of calls and their work, by class."""
        return {name: (one.size, one.work) for name, one in self._classes.items()}

    def calls(self) -> Iterator[W]:
        """Yield every call in line, in no order."""
        for kind in self._classes.values():
            yield from kind.calls()

    def _choose(self, now: float) -> tuple[_Class[W], bool] | None:
        """Return the class that goes next, and whether it does because of its share."""
        waiting = [kind for kind in self._classes.values() if kind.size]
        if not waiting:
            return None
        first = waiting[0]
        if first.rule.name == OWN or len(waiting) == 1:
            return first, False
        aged = _most_aged(waiting, now)
        if aged is not None:
            return aged, False
        owed = max(waiting, key=lambda kind: kind.owed)
        return (owed, True) if owed.owed > 0 else (first, False)


class Ahead(NamedTuple):
    """What goes before a new call.

    `own` and `own_calls` are the work and the calls in its class, `higher` and `higher_calls` those of the classes before
    it. `share` is the reserved share of its class, of which it got `debt` too much, in work. A call goes before the other
    classes once it has waited for `aged_s`. `before` names the classes before it, and `behind` has the classes behind it
    whose calls wait.
    """

    own: float
    own_calls: int
    higher: float
    higher_calls: int
    share: float
    debt: float
    aged_s: float
    before: tuple[str, ...]
    behind: tuple[Rule, ...]


def _most_aged(waiting: Iterable[_Class[W]], now: float) -> _Class[W] | None:
    """Return the class whose next call has aged and has the least time left; None if no next call has aged."""
    found, least = None, float("inf")
    for kind in waiting:
        longest = kind.rule.longest_wait_s
        waited = now - kind.head.entered_at
        if waited >= AGED * longest and longest - waited < least:
            found, least = kind, longest - waited
    return found
