"""The stage `admit`: a place in the queue, or a refusal at the door.

The stage itself never waits. The place gains age while later stages run, and `attempt` waits for the permit.
"""

from __future__ import annotations

from functools import partial

from tidegate.call import Call
from tidegate.dispatch.deployments import Models, seats_of
from tidegate.dispatch.forecast import Outlook
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
            call.place = self._queue.enter_own()
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
        found = self._queue.foretell(needs, seats_of(deployments_of(call, self._models)))
        work = f"{needs.prompt + needs.completion} tokens ({needs.prompt} prompt, about {needs.completion} answer)"
        longest_s = min(self._queue.rules.longest(needs.priority), call.deadline - call.arrived_at)
        return (
            f"class '{needs.priority}', {work}; {_expected(found)}; it waits {longest_s:g} s at most, and is refused if"
            f" the predicted wait is over {BOUND * longest_s:g} s"
        )


def _expected(found: Outlook) -> str:
    if not found.position:
        return "a seat at once"
    return (
        f"place {found.position}"
        if found.wait_s is None
        else f"place {found.position}, about {found.wait_s:.1f} s"
    )
