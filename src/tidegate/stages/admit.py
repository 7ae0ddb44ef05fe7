"""The stage `admit`: a place in the queue, or a refusal at the door.

The stage itself never waits. The place gains age while later stages run, and `attempt` waits for the permit.
"""

from __future__ import annotations

from functools import partial

from tidegate.call import Call
from tidegate.dispatch.deployments import Models
from tidegate.dispatch.forecast import Forecast
from tidegate.dispatch.queue import BOUND, Queue
from tidegate.quotas.estimate import OutputEstimate
from tidegate.stages.needs import needs_of
from tidegate.stages.route import deployments_of
from tidegate.types import ANSWER


class Admit:
    """Gives each call a place in the queue."""

    def __init__(self, queue: Queue, models: Models, lengths: OutputEstimate) -> None:
        """`lengths` knows how long answers are."""
        self._queue = queue
        self._models = models
        self._lengths = lengths

    def __call__(self, call: Call) -> None:
        """Enter the queue and set the call's place. Raises Overloaded, ModelNotFound."""
        if call.purpose != ANSWER:
            call.place = self._queue.enter_own(bound=call.parent is not None)
            return
        deployments = deployments_of(call, self._models)
        place = call.place = self._queue.enter(
            call.priority.name, partial(needs_of, call, self._lengths), deployments
        )
        if place.counted:
            call.exit.push(place.leave)

    def foretell(self, call: Call) -> str:
        """Say what the call would have to expect in the queue as it is now."""
        needs = needs_of(call, self._lengths)
        expected = self._queue.foretell(needs, deployments_of(call, self._models))
        work = f"{needs.prompt + needs.completion} tokens ({needs.prompt} prompt, about {needs.completion} answer)"
        return f"class '{needs.priority}', {work}; {_expected(expected)}"


def _expected(expected: Forecast) -> str:
    if not expected.wait_s:
        return "a seat at once"
    return (
        f"place {expected.position}, about {expected.wait_s:.1f} s; it is refused if that is over {BOUND:g} of the"
        " time that it can wait"
    )
