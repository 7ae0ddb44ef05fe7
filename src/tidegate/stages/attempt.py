"""The engine's turn: one call to one engine. Checks on the answer, retries and fallbacks will wrap around it here."""

from __future__ import annotations

from tidegate.errors import DeadlineExceeded
from tidegate.ports import Clock
from tidegate.types import Call, Reply


class Attempt:
    """The stage `attempt`: always answers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def __call__(self, call: Call) -> Reply:
        """Hand out the engine's answer; the engine is asked when the first batch is. Raises DeadlineExceeded."""
        deployment = call.deployment
        assert deployment is not None, "route comes before attempt"
        call.sent_at = self._clock()
        if call.sent_at >= call.deadline:
            raise DeadlineExceeded("The deadline passed before the engine was asked")
        pieces = deployment.engine.stream(call, call.deadline)
        call.exit.push(lambda _: pieces.aclose())
        return Reply(pieces)
