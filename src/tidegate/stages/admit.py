"""The stage `admit`: a place in the queue, or a refusal at the door.

The stage itself never waits. The place gains age while later stages run, and `attempt` waits for the permit.
"""

from __future__ import annotations

from functools import partial

from tidegate.call import Call
from tidegate.dispatch.deployments import Models
from tidegate.dispatch.forecast import Outlook
from tidegate.dispatch.queue import BOUND, Queue
from tidegate.dispatch.rules import Needs
from tidegate.quotas.estimate import OutputEstimate
from tidegate.stages.counting import answer_tokens
from tidegate.stages.route import deployments_of
from tidegate.types import ANSWER

MOST_ROUGH_TOKENS = 100_000
"""A prompt that was not counted has at most so many tokens for the queue: a larger body is mostly images."""
_BYTES_PER_TOKEN = 4


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
        place = call.place = self._queue.enter(call.priority.name, partial(self.needs, call), deployments)
        if place.counted:
            call.exit.push(place.leave)

    def foretell(self, call: Call) -> str:
        """Say what the call would have to expect in the queue as it is now."""
        needs = self.needs(call)
        found = self._queue.foretell(needs, [one.seats for one in deployments_of(call, self._models)])
        work = f"{needs.prompt + needs.completion} tokens ({needs.prompt} prompt, about {needs.completion} answer)"
        longest_s = min(self._queue.rules.longest(needs.priority), call.deadline - call.arrived_at)
        return (
            f"class '{needs.priority}', {work}; {_expected(found)}; it waits {longest_s:g} s at most, and is refused if"
            f" the predicted wait is over {BOUND * longest_s:g} s"
        )

    def needs(self, call: Call) -> Needs:
        """Return what the queue has to know of a call."""
        prompt, caller, policy = call.prompt_tokens, call.caller, call.policy
        if prompt < 0:
            prompt = min(call.body_bytes // _BYTES_PER_TOKEN, MOST_ROUGH_TOKENS)
        completion = answer_tokens(call)
        expected = self._lengths.expect(caller.key, call.route) * call.choices
        if completion is None or completion > expected:
            completion = expected
        return Needs(
            call.priority.name,
            caller.organisation or caller.key,
            policy.name,
            prompt,
            completion,
            call.body_bytes,
            call.deadline,
        )


def _expected(found: Outlook) -> str:
    if not found.position:
        return "a seat at once"
    return (
        f"place {found.position}"
        if found.wait_s is None
        else f"place {found.position}, about {found.wait_s:.1f} s"
    )
