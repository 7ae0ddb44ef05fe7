"""A line of calls that wait for one engine, and the order in which they get its seats. Pure.

Three rules decide, one inside the other:

* Between classes, the class that comes first in the configuration goes first, with two exceptions. A class that has got
  less than its reserved share of the work while it was waiting goes before it. And a class whose next call has waited for
  0.8 of the longest wait of its class goes before all of them.
* Between the tenants of a class, the one that has been served the least work goes first; between the calls of a tenant, the
  one with the earliest deadline (`fairtenants.py`).

Work is measured in tokens of input, where a token of output counts as two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, NamedTuple

from tidegate.kernel.fairtenants import Tenants, W

AGED = 0.8
"""A call that has waited for this share of the longest wait of its class goes before all other classes."""
INPUT, OUTPUT = 1, 2
"""The work of one token."""
OWN = ""
"""The class of the gateway's own calls. It goes before all others."""


class Rule(NamedTuple):
    """A class of calls. `share` is the part of the work, 0 to 1, that it gets at least while its calls wait."""

    name: str
    share: float = 0.0
    longest_wait_s: float = float("inf")


class _Class(Tenants[W]):
    """The waiting calls of one class, and what it is owed of its share."""

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule = rule
        self.owed = 0.0
        """The part of the reserved share that the class has not got yet; negative if it got more."""

    def remove(self, call: W) -> bool:
        found = super().remove(call)
        if found and not self.size:
            self.owed = min(self.owed, 0.0)
        return found


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
