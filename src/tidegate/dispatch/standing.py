"""Counts consecutive refusals, to detect that an engine no longer accepts the gateway's credentials.

A single refusal proves little: many servers accept a key for calls but not for listing models, and a caller may ask for
something that only other callers may have. Three consecutive refusals count. A 401 counts for the engine, a 403 for one
model on it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from tidegate.errors import GatewayError
from tidegate.ports import Clock

IN_A_ROW = 3
# How long calls go to other deployments before one call tries this one again. A key that was fixed at the engine is thus
# used again soon.
OUT_S = 30.0

log = logging.getLogger(__name__)


class Refusals:
    """The consecutive refusals of calls to an engine or a deployment.

    `out` becomes true after three refusals. If callers are known, the refused calls must come from at least two callers.
    After half a minute `out` is false again, and the next refusal makes it true at once. `count` is the number of refusals;
    an accepted call resets it to 0.
    """

    def __init__(self, clock: Clock) -> None:
        self.count = 0
        self._clock = clock
        self._callers: set[str] = set()  # at most two, since the rule only asks whether there are two
        self._until = 0.0

    @property
    def out(self) -> bool:
        """Whether calls should go to other deployments now."""
        return self._until > 0 and self._clock() < self._until

    def refused(self, caller: str) -> bool:
        """Count a refused call, and return whether it made `out` true.

        `caller` is the key of the caller, empty if callers are not known.
        """
        self.count += 1
        if len(self._callers) < 2:
            self._callers.add(caller)
        if self.out or self.count < IN_A_ROW or (caller and self._callers == {caller}):
            return False
        self._until = self._clock() + OUT_S
        return True

    def accepted(self) -> None:
        """Reset the count, because a call was not refused."""
        self.count, self._until = 0, 0.0
        self._callers.clear()


class Credentials:
    """Tells whether an engine accepts the gateway's credentials. `changed` is called when the result may have changed.

    Probes and calls are counted separately, since some servers let anyone list the models, and others refuse the list to a
    key that may call. Once a call is accepted while probes are refused, refused probes are ignored. `count` is the number
    of refusals that an accepted call resets to 0.
    """

    def __init__(self, clock: Clock, changed: Callable[[], None]) -> None:
        self.count = 0
        self._calls = Refusals(clock)
        self._probes = 0
        self._probes_differ = False
        self._changed = changed

    @property
    def why(self) -> str | None:
        """The reason why the engine does not accept the credentials, or None if it is not known to refuse them."""
        if self._calls.out:
            return f"it refused the gateway's credentials in {IN_A_ROW} calls in a row (401): see api_key and headers"
        if self._probes >= IN_A_ROW and not self._probes_differ:
            return f"it refused the gateway's credentials in {IN_A_ROW} probes in a row (401): see api_key and headers"
        return None

    def probed(self, *, refused: bool) -> None:
        """Count the result of a probe."""
        self._probes = self._probes + 1 if refused else 0
        self._probes_differ = self._probes_differ and refused
        self._recount()

    def refused(self, caller: str) -> None:
        """Count a call that was answered with 401."""
        self._probes_differ = False
        self._calls.refused(caller)
        self._recount()
        self._changed()

    def accepted(self) -> None:
        """Reset the count of calls, because a call was not answered with 401."""
        self._probes_differ = self._probes > 0
        self._calls.accepted()
        self._recount()
        self._changed()

    def _recount(self) -> None:
        self.count = self._calls.count + (0 if self._probes_differ else self._probes)


class Standing:
    """The refusals of one deployment's calls: a 401 counts for its engine, a 403 only for this deployment."""

    def __init__(self, label: str, credentials: Credentials, clock: Clock) -> None:
        """Start without refusals. `label` is the deployment's name in the log."""
        self.credentials = credentials
        self.model = Refusals(clock)
        self._label = label

    @property
    def out(self) -> bool:
        """Whether calls should try the model's other deployments first."""
        return self.model.out

    def answered(self) -> None:
        """Reset the counts, because a call was answered."""
        if self.model.count:
            self.model.accepted()
        if self.credentials.count:
            self.credentials.accepted()

    def failed(self, error: GatewayError, caller: str) -> None:
        """Count a failed call if it was refused. `caller` is the key of the caller, empty if callers are not known."""
        status = error.upstream.status
        if status == 401:
            self.credentials.refused(caller)
        elif status == 403:
            if self.model.refused(caller):
                log.warning(
                    "%s refused %d calls in a row (403): calls go to other deployments first",
                    self._label,
                    IN_A_ROW,
                )
        elif 400 <= status < 500 and status != 407:  # 407 comes from the proxy
            self.answered()
