"""What happens after a failed round: another deployment, the same one after a pause, a fallback model, or nothing.

Another healthy deployment is tried at once, since that adds load only where there is room. Everything else is a retry,
and each takes one from the budget of the deployment that failed (10 % of its requests and three). The same deployment is
asked again only if it cannot have worked on the call: it was not reached, or it had no capacity. Such a retry waits for a
random time ("full jitter", Brooker, Exponential Backoff and Jitter, 2015), or for as long as the
engine asks for. A call has three rounds at the most.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec

from tidegate.call import Call
from tidegate.dispatch.deployments import NO_FALLBACKS, Deployment, Group, Models
from tidegate.egress.connection import Disconnected
from tidegate.errors import (
    Again,
    BadRequest,
    ContentRefused,
    ContextExceeded,
    GatewayError,
    UpstreamBusy,
    UpstreamMisconfigured,
    UpstreamModelNotFound,
    UpstreamUnreachable,
)
from tidegate.ports import Clock
from tidegate.stages.demanded import enforcing
from tidegate.stages.route import takers
from tidegate.stages.wants import able_of

MOST_ROUNDS = 3
SAME_ENGINE_AGAIN = 2
"""A round that cannot have cost work at its engine is begun there again, so often at the most."""
BASE_S, MOST_PAUSE_S = 0.1, 2.0
"""The first pause is up to `BASE_S` long, each further one up to twice as long. A longer pause is left to the client."""


class Failover(msgspec.Struct):
    """The deployments that are left for a call, round after round."""

    call: Call
    clock: Clock
    models: Models
    jitter: Callable[[], float] = random.random
    tried: list[Deployment] = []
    rounds: int = 1
    same: int = 0
    only: Deployment | None = None
    pause_s: float = 0.0
    chain: str = ""
    at: int = 0

    def candidates(self) -> Sequence[Deployment]:
        """Return the deployments of the next round: of the first group that has any which are well, those that are well.

        If all are out, those of the first group are tried all the same: the last deployment is never given up.
        """
        if self.only is not None:
            return (self.only,)
        groups, now = self.call.groups, self.clock()
        first = groups[0].deployments
        if not self.tried and (len(first) == 1 == len(groups) or _are_well(first, now)):
            return first
        last: Sequence[Deployment] = ()
        for at, group in enumerate(groups):
            left = [one for one in group.deployments if not self._was_tried(one)]
            if well := [one for one in left if not one.is_out(now)]:
                self.at = at
                return well
            if left and not last:
                self.at, last = at, left
        return last

    @property
    def group(self) -> Group:
        """The group that `candidates` has chosen."""
        return self.call.groups[self.at]

    def beside(self, slow: Deployment) -> Sequence[Deployment]:
        """Return the deployments of the same group that may be asked while one of them is slow: well, on other engines."""
        if self.rounds >= MOST_ROUNDS:
            return ()
        now = self.clock()
        others = (one for one in self.group.deployments if one.seats is not slow.seats)
        return [one for one in others if not one.out and not one.is_out(now) and not self._was_tried(one)]

    def lost(self, failed: Deployment) -> None:
        """Take in a failed round whose call was made beside another one, so that it counts and is not tried again."""
        self.rounds += 1
        self.tried.append(failed)

    def goes_on(self, error: GatewayError, failed: Deployment) -> bool:
        """Take in the failure of a round before its first byte. Return whether another round begins."""
        self.only, self.pause_s = None, 0.0
        if self.clock() >= self.call.deadline:
            return False
        again = self._again(error, failed)
        if again is Again.SAME and self.same < SAME_ENGINE_AGAIN:
            self.same += 1
            self.only = failed
            return True
        if self.rounds >= MOST_ROUNDS:
            return False
        self.rounds += 1
        if self._takes_detour(error):
            return True
        if again is Again.NO:
            return False
        self.tried.append(failed)
        return self._finds_another(failed) or self._tries_same_again(error, failed)

    def resumes(self, error: GatewayError, failed: Deployment) -> bool:
        """Take in that an answer broke off after its first byte. Return whether a round for the rest of it begins.

        From now on, only deployments that continue answers take part, and those of other models do not. The one that failed
        is asked again only if nothing but the connection is known to have failed.
        """
        self.only, self.pause_s = None, 0.0
        if error.again is Again.NO or self.rounds >= MOST_ROUNDS or self.clock() >= self.call.deadline:
            return False
        groups = [
            Group(group.model, able, "continued", group.tier)
            for group in self.call.groups
            if (able := [one for one in group.deployments if one.continues])
        ]
        if not groups:
            return False
        self.rounds += 1
        self.chain, self.call.groups, self.at = "continued", groups, 0
        self.tried.append(failed)
        if self._finds_another(failed):
            return True
        if not failed.continues or not isinstance(error, Disconnected) or not _takes_one(failed):
            return False
        self.only, self.pause_s = failed, self._random_pause_s()
        return True

    def instead(self, last: Deployment | None) -> list[Group]:
        """Return the deployments that can answer the call instead of the last one, whose answers cannot be used."""
        self.tried = [] if last is None else [last]
        groups = self._untried(self.call.groups)
        if groups or self.chain:
            return groups
        names = self.models.fallbacks.get(self.call.route, NO_FALLBACKS).models
        return self._untried([Group(name, self._able(name), "structure") for name in names])

    def _untried(self, groups: Sequence[Group]) -> list[Group]:
        left = [(one, [other for other in one.deployments if not self._was_tried(other)]) for one in groups]
        return [Group(one.model, others, "structure", one.tier) for one, others in left if others]

    def _random_pause_s(self) -> float:
        return min(MOST_PAUSE_S, BASE_S * 2**self.rounds) * self.jitter()

    def _again(self, error: GatewayError, failed: Deployment) -> Again:
        if isinstance(error, UpstreamModelNotFound) and failed.model not in (None, self.call.model):
            return Again.ELSEWHERE  # the configuration named the model, not the client
        return error.again

    def _takes_detour(self, error: GatewayError) -> bool:
        """Go to the models that the configuration has for a prompt that is too long, or for a refusal of its content."""
        fallbacks = self.models.fallbacks.get(self.call.route, NO_FALLBACKS)
        if isinstance(error, ContextExceeded):
            return self._follow(fallbacks.on_context, "context")
        if isinstance(error, ContentRefused):
            return self._follow(fallbacks.on_refusal, "refusal")
        return False

    def _follow(self, names: Sequence[str], why: str) -> bool:
        """Go on with other models. A call follows one chain of them at the most. Return whether there are any."""
        if self.chain or not names:
            return False
        groups = [Group(name, able, why) for name in names if (able := self._able(name))]
        if not groups:
            return False
        self.chain, self.call.groups, self.at = why, groups, 0
        self.tried.clear()
        return True

    def _able(self, name: str) -> list[Deployment]:
        """Return the deployments of a model that can serve the call."""
        able = takers(self.call, self.models.named(name))
        try:
            return list(enforcing(self.call, able_of(self.call, able))) if able else []
        except BadRequest:  # none of them can do what the request needs
            return []

    def _finds_another(self, failed: Deployment) -> bool:
        others = self.candidates()
        if not others or others[0].is_out(self.clock()):
            fallbacks = self.models.fallbacks.get(self.call.route, NO_FALLBACKS)
            if self._follow(fallbacks.models, "fallback"):
                others = self.candidates()
        if not others:
            return False
        return not others[0].is_out(self.clock()) or _takes_one(failed)

    def _tries_same_again(self, error: GatewayError, failed: Deployment) -> bool:
        if not isinstance(error, UpstreamUnreachable | UpstreamBusy):
            return False  # the engine may have worked on the call, and would do it again
        pause_s = self._random_pause_s()
        if error.retry_after_s is not None:
            pause_s = max(pause_s, error.retry_after_s)
        if pause_s > min(MOST_PAUSE_S, self.call.deadline - self.clock()) or not _takes_one(failed):
            return False
        self.only, self.pause_s = failed, pause_s
        return True

    def _was_tried(self, one: Deployment) -> bool:
        return any(one.engine_name == other.engine_name and one.model == other.model for other in self.tried)


def _are_well(deployments: Sequence[Deployment], now: float) -> bool:
    for one in deployments:  # noqa: SIM110 - a generator would cost more than the loop, and each call runs it
        if one.health is not None and one.health.is_out(now):
            return False
    return True


def _takes_one(failed: Deployment) -> bool:
    """Take a retry from the budget of the deployment that failed."""
    return failed.health is None or failed.health.budget.take()


def misnamed(error: UpstreamModelNotFound, route: str) -> UpstreamMisconfigured:
    """Convert the error for the case that `models.ROUTE` of the configuration, not the client, named the model."""
    what = f"the engine does not know the model that models.{route} names; the operator has to fix it"
    found = UpstreamMisconfigured(what)
    found.cause, found.upstream = error.cause, error.upstream
    return found
