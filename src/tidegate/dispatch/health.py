"""The health of one model on one engine: whether calls should go elsewhere, and how many retries its failures allow."""

from __future__ import annotations

import logging

from tidegate.errors import Again, GatewayError, Overloaded, UpstreamError
from tidegate.kernel.breaker import Breaker, BreakerRules
from tidegate.kernel.latencies import Latencies
from tidegate.kernel.retrybudget import RetryBudget
from tidegate.ports import Clock

MOST_PAUSE_S = 60.0
"""An engine that says when to come back is left alone for so long at the most."""
TRIAL_S = 5.0
"""After that time one call goes first. The others follow once it is answered, or after so many seconds."""

log = logging.getLogger(__name__)


class Health:
    """The breaker, the retry budget and the pause of a deployment, and how long its small answers take.

    It belongs to the process and survives reloads.
    """

    def __init__(self, label: str, clock: Clock) -> None:
        """`label` is the deployment's name in the log."""
        self.breaker = Breaker()
        self.budget = RetryBudget()
        self.slow_s = float("inf")
        """A stream whose first byte takes longer counts as slow."""
        self.latencies = Latencies()
        """From asking the engine to the whole answer, for the calls that may be hedged."""
        self.retries = self.failovers = self.continuations = 0
        """How often a call was tried again here, was tried elsewhere, and was continued, because it had failed here."""
        self.hedges = 0
        """How often another engine was asked too because this one was slow."""
        self._label = label
        self._clock = clock
        self._paused_until = self._trial_until = float("-inf")
        self._was_paused = False

    def set_rules(self, rules: BreakerRules, *, slow_s: float = float("inf")) -> None:
        """Set when the breaker opens. What has been counted so far is kept."""
        self.breaker.rules, self.slow_s = rules, slow_s

    def is_out(self, now: float) -> bool:
        """Whether calls should go elsewhere now, if they can."""
        return now < self._paused_until or now < self._trial_until or not self.breaker.allows(now)

    def begins(self, now: float, *, again: bool = False) -> bool:
        """A call begins. Return whether it is the probe of the breaker. `again` says that it has failed before."""
        if not again:
            self.budget.requested()
        if self._was_paused and now >= self._paused_until:
            self._was_paused, self._trial_until = False, now + TRIAL_S
        return self.breaker.begins(now)

    def answered(self, now: float, *, after_s: float, probe: bool) -> None:
        """The first byte is there, so long after the engine was asked."""
        self._trial_until = float("-inf")
        if probe:
            log.info("%s answers again: calls go to it as before", self._label)
        self.breaker.succeeded(now, probe=probe, slow=after_s > self.slow_s)

    def failed(self, error: GatewayError, now: float, *, probe: bool) -> bool:
        """A call ended with an error. Return whether calls should go elsewhere from now on."""
        self._trial_until = float("-inf")
        if (
            error.again is Again.SAME
        ):  # such as a kept-alive connection that closed: that says nothing of the engine
            self.breaker.abandoned(probe=probe)
            return False
        if isinstance(error, UpstreamError):
            if self.breaker.failed(now, probe=probe):
                log.warning(
                    "%s fails: calls go to other deployments for a while, where there are any", self._label
                )
                return True
            return False
        if isinstance(error, Overloaded):  # it works, and has no capacity left
            self.breaker.abandoned(probe=probe)
            if error.retry_after_s is not None:
                self._paused_until = max(self._paused_until, now + min(error.retry_after_s, MOST_PAUSE_S))
                self._was_paused = True
            return False
        # It answered that the request is wrong.
        self.breaker.succeeded(now, probe=probe)
        return False

    def abandoned(self, *, probe: bool) -> None:
        """A call ended without saying anything of the engine, such as when its client has left."""
        self.breaker.abandoned(probe=probe)
