"""What the queue has to know of a call: its class, its tenant and the work that it is expected to cost."""

from __future__ import annotations

from tidegate.call import Call
from tidegate.dispatch.rules import Needs
from tidegate.quotas.estimate import OutputEstimate
from tidegate.stages.counting import answer_tokens

MOST_ROUGH_TOKENS = 100_000
"""A prompt that was not counted has at most so many tokens for the queue: a larger body is mostly images."""
_BYTES_PER_TOKEN = 4


def needs_of(call: Call, lengths: OutputEstimate) -> Needs:
    """Return the needs of a call. `lengths` knows how long answers are. Raises BadRequest."""
    caller = call.caller
    return Needs(
        call.priority.name,
        caller.organisation or caller.key,
        call.policy.name,
        prompt_tokens(call),
        expected_tokens(call, lengths),
        call.body_bytes,
        call.deadline,
    )


def expected_tokens(call: Call, lengths: OutputEstimate) -> int:
    """Return the expected tokens of an answer, in all of its choices. Raises BadRequest."""
    most, expected = answer_tokens(call), lengths.expect(call.caller.key, call.route) * call.choices
    return expected if most is None or most > expected else most


def prompt_tokens(call: Call) -> int:
    """Return the tokens of a prompt: as `limit` has counted them, or else by the size of the body."""
    if call.prompt_tokens >= 0:
        return call.prompt_tokens
    return min(call.body_bytes // _BYTES_PER_TOKEN, MOST_ROUGH_TOKENS)
