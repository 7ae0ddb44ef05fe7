"""Puts the deployments of a model in the order in which a call tries them.

A tier is tried only when no deployment of an earlier tier is left. Deployments that are not ready are tried last. Within a
tier, one of two rules decides which deployment is the first:

- **Load.** Of two deployments, drawn in proportion to their weights, the one with less work goes first (Mitzenmacher, "The
  power of two choices in randomized load balancing", 2001). So weights decide while all are idle, and load does otherwise.
- **Affinity.** Calls with equal keys go to the same deployment, whose engine then has the beginning of the prompt in its
  cache. The order for a key is that of `kernel/rendezvous.py`. A deployment with more than 1.25 times its share of the work
  is passed over (Mirrokni, Thorup and Zadimoghaddam, "Consistent hashing with bounded loads", 2018).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tidegate.dispatch.deployments import Deployment, Group, in_header
from tidegate.kernel.rendezvous import ranked
from tidegate.types import Headers

ROUTE = b"x-tidegate-route"
"""The header that says how a call was routed."""
MOST_SHARE = 1.25
"""A deployment with more than so many times the mean work per weight is passed over in spite of its affinity."""
_GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, are spread evenly (Weyl, 1916), so that short runs of calls also keep to the weights."""
_MOST_KEYS = 4096


class Choice:
    """The choice for one configured model. `name` is the model's configured name.

    `affinity` is `prefix` or `adapter` if calls have keys, and else `none`.
    """

    def __init__(
        self,
        name: str,
        deployments: Sequence[Deployment],
        *,
        affinity: str = "none",
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`draw` returns a number from 0 to 1."""
        self.name = name
        self.deployments = deployments
        self.has_several = len(deployments) > 1
        self.affinity = affinity if self.has_several else "none"
        self.restricts = any(one.can.restricts for one in deployments)
        """Whether a deployment cannot do everything, so that it matters what a request needs."""
        self._told: dict[tuple[str, int, str], tuple[bytes, bytes]] = {}
        self._one_tier = len({one.tier for one in deployments}) == 1
        self._alone = (self._only(deployments),) if len(deployments) == 1 else ()
        self._by_load = [(self._led_by(deployments, at, "load"),) for at in range(len(deployments))]
        """For each deployment, all of them as one group with this one first. What most calls need is made only once."""
        self._by_key: dict[int, tuple[Group]] = {}
        self._weights = [(one.engine_name, one.weight) for one in deployments]
        self._draw = draw
        self._at = 0.0

    def groups(self, able: Sequence[Deployment], key: int | None = None, work: int = 0) -> Sequence[Group]:
        """Return the groups of a call that these deployments can serve, the best one first.

        `key` is equal for calls that should go to the same deployment, and None for a call that may go anywhere. `work` is
        the work of the call.
        """
        if able is self.deployments and self._alone:
            return self._alone
        if len(able) == 1:
            return (self._only(able),)
        if self._one_tier and able is self.deployments and _are_all_in(able):
            if key is None:
                return self._by_load[self._lightest(able)]
            groups = self._by_key.get(key) or self._order(key)
            order = groups[0].deployments
            at = _within_share(order, work)
            return (self._led_by(order, at, "share"),) if at else groups
        order = self.deployments
        if key is not None:
            order = (self._by_key.get(key) or self._order(key))[0].deployments
        tiers: dict[tuple[bool, int], list[Deployment]] = {}
        for one in order:
            if able is self.deployments or any(one is other for other in able):
                tiers.setdefault((one.out, one.tier), []).append(one)
        return [self._group(tiers[at], key, work) for at in sorted(tiers)]

    def _group(self, tier: Sequence[Deployment], key: int | None, work: int) -> Group:
        if len(tier) == 1:
            return self._only(tier)
        if key is None:
            return self._led_by(tier, self._lightest(tier), "load")
        at = _within_share(tier, work)
        return self._led_by(tier, at, "share" if at else self.affinity)

    def _led_by(self, tier: Sequence[Deployment], at: int, why: str) -> Group:
        """A group of which the deployment at this index is the first. The others keep their order."""
        order = [tier[at], *tier[:at], *tier[at + 1 :]]
        return Group(self.name, order, why, order[0].tier, self._header(why, order[0]))

    def _only(self, one: Sequence[Deployment]) -> Group:
        return Group(self.name, one, "only", one[0].tier, self._header("only", one[0]))

    def _header(self, why: str, first: Deployment) -> tuple[bytes, bytes]:
        key = why, first.tier, first.shown
        found = self._told.get(key)
        if found is None:
            found = self._told[key] = _header(self.name, why, first, 1)
        return found

    def _lightest(self, tier: Sequence[Deployment]) -> int:
        """Return the index of the one with less work of two that are drawn."""
        first = self._drawn(tier)
        second = int(self._draw() * (len(tier) - 1)) % (len(tier) - 1)
        second += second >= first
        return second if tier[second].load < tier[first].load else first

    def _drawn(self, tier: Sequence[Deployment]) -> int:
        self._at = (self._at + _GOLDEN) % 1.0
        left = self._at * sum(one.weight for one in tier)
        for at, one in enumerate(tier):
            left -= one.weight
            if left < 0:
                return at
        return len(tier) - 1

    def _order(self, key: int) -> tuple[Group]:
        """Return all deployments in the order for a key, as one group."""
        if len(self._by_key) >= _MOST_KEYS:
            self._by_key.clear()
        order = [self.deployments[at] for at in ranked(key, self._weights)]
        found = self._by_key[key] = (self._led_by(order, 0, self.affinity),)
        return found


# The next two run for each call, and read attributes in place of the properties of Deployment, which cost a call each.


def _are_all_in(deployments: Sequence[Deployment]) -> bool:
    """Whether none of the deployments is out."""
    for one in deployments:  # a generator would cost more
        if not one.seats.ready or (
            one.standing is not None and one.standing.model.count and one.standing.out
        ):
            return False
    return True


def _within_share(tier: Sequence[Deployment], work: int) -> int:
    """Return the index of the first deployment that has at most its share of the work, and a new call on top of that."""
    whole = weights = 0.0
    for one in tier:
        seats = one.seats
        whole += (seats.work + seats.others_work) * seats.pressure
        weights += one.weight
    most = MOST_SHARE * whole / weights
    for at, one in enumerate(tier):
        if one.load <= most + work / one.weight:
            return at
    return 0


def tell_route(
    headers: Headers, group: Group, deployment: Deployment, tries: int, again: str = "retry"
) -> None:
    """Set the header `x-tidegate-route` for a call that goes to this deployment of the group now.

    `tries` is the number of engine calls, this one included. The reason is that of the group, except that it is `again`
    after the first try, and `seat` for a deployment that gets the call because those before it had no free seat.
    """
    if tries > 1:
        told = _header(group.model, again, deployment, tries)
    elif deployment is group.deployments[0]:
        told = group.told or _header(group.model, group.why, deployment, tries)
    else:
        told = _header(group.model, "seat", deployment, tries)
    for at, (name, _) in enumerate(headers):  # an answer that is made again has the header already
        if name == ROUTE:
            headers[at] = told
            return
    headers.append(told)


def _header(model: str, why: str, deployment: Deployment, tries: int) -> tuple[bytes, bytes]:
    told = f"model={in_header(model)}{deployment.shown};why={why};tier={deployment.tier};tries={tries}"
    return ROUTE, told.encode()
