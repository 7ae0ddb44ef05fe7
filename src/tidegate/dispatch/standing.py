"""Whether an engine still takes the gateway's credentials, judged by its refusals in a row.

One refusal proves little: many servers let a key call and not list, and a caller may ask for what only others may have.
Three in a row are no accident. A 401 speaks of the engine, a 403 of one model on it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from tidegate.errors import GatewayError
from tidegate.ports import Clock

IN_A_ROW = 3
# How long calls go elsewhere before one of them tries again: a key that an engine's operator mends is soon in use.
OUT_S = 30.0

log = logging.getLogger(__name__)


class Refusals:
    """The refusals in a row that calls have met. Out: three of them, of at least two callers where callers are known.

    After half a minute it is in again, on probation: the next refusal puts it out once more. `count` is how many an
    accepted call would take back.
    """

    def __init__(self, clock: Clock) -> None:
        self.count = 0
        self._clock = clock
        self._callers: set[str] = set()  # two at the most: more would tell nothing more
        self._until = 0.0

    @property
    def out(self) -> bool:
        """Whether calls should go elsewhere."""
        return self._until > 0 and self._clock() < self._until

    def refused(self, caller: str) -> bool:
        """A call of the caller with this key was refused; whether that puts it out. An empty key: nobody is known."""
        self.count += 1
        if len(self._callers) < 2:
            self._callers.add(caller)
        if self.out or self.count < IN_A_ROW or (caller and self._callers == {caller}):
            return False
        self._until = self._clock() + OUT_S
        return True

    def accepted(self) -> None:
        """A call was not refused: what was counted is taken back."""
        self.count, self._until = 0, 0.0
        self._callers.clear()


class Credentials:
    """Whether an engine takes the gateway's credentials. `changed` is called when the answer may be another one.

    Probes are counted apart from calls: that anyone may list the models says nothing about calls. And where calls are
    taken while probes are refused, the refusals of probes say nothing about calls. `count` is how many refusals an accepted
    call would take back.
    """

    def __init__(self, clock: Clock, changed: Callable[[], None]) -> None:
        self.count = 0
        self._calls = Refusals(clock)
        self._probes = 0
        self._probes_differ = False
        self._changed = changed

    @property
    def why(self) -> str | None:
        """Why the engine is of no use with them; None where it takes them, as far as is known."""
        if self._calls.out:
            return f"it refused the gateway's credentials in {IN_A_ROW} calls in a row (401): see api_key and headers"
        if self._probes >= IN_A_ROW and not self._probes_differ:
            return f"it refused the gateway's credentials in {IN_A_ROW} probes in a row (401): see api_key and headers"
        return None

    def probed(self, *, refused: bool) -> None:
        """What a probe found."""
        self._probes = self._probes + 1 if refused else 0
        self._probes_differ = self._probes_differ and refused
        self._recount()

    def refused(self, caller: str) -> None:
        """A call was answered with 401."""
        self._probes_differ = False
        self._calls.refused(caller)
        self._recount()
        self._changed()

    def accepted(self) -> None:
        """A call was answered otherwise."""
        self._probes_differ = self._probes > 0
        self._calls.accepted()
        self._recount()
        self._changed()

    def _recount(self) -> None:
        self.count = self._calls.count + (0 if self._probes_differ else self._probes)


class Standing:
    """What one deployment's calls have shown: 401 counts for its engine, 403 for this deployment alone."""

    def __init__(self, label: str, credentials: Credentials, clock: Clock) -> None:
        """`label` is what the log calls the deployment."""
        self.credentials = credentials
        self.model = Refusals(clock)
        self._label = label

    @property
    def out(self) -> bool:
        """Whether other deployments of the model should be asked first."""
        return self.model.out

    def answered(self) -> None:
        """A call was answered: what was counted is taken back."""
        if self.model.count:
            self.model.accepted()
        if self.credentials.count:
            self.credentials.accepted()

    def failed(self, error: GatewayError, caller: str) -> None:
        """A call failed; `caller` is its key, empty where nobody is known."""
        status = error.upstream.status
        if status == 401:
            self.credentials.refused(caller)
        elif status == 403:
            if self.model.refused(caller):
                log.warning(
                    "%s was refused %d times in a row (403): others come first", self._label, IN_A_ROW
                )
        elif 400 <= status < 500 and status != 407:  # 407 is the proxy's
            self.answered()
