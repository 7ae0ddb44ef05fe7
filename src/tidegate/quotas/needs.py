"""What a call needs before it starts, and what it has used when it ends: pure arithmetic on tokens and money."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from tidegate.quotas.tokens import MOST_TOKENS
from tidegate.types import ANSWER, CONTINUED, FAILED, HEDGE, Amounts, Spent

REGENERATE = "regenerate"
"""The purpose of an engine call that replaces an answer which a rail has refused."""
MOST_AMOUNT = 2**53
"""A larger amount is more than any limit, and floats no longer hold it exactly."""
OF_THE_CALLER = frozenset({ANSWER, CONTINUED, REGENERATE})
"""The purposes that a caller pays for. All others are for the house, unless the policy says `internal_calls: caller`."""
OF_THE_HOUSE = frozenset({FAILED, HEDGE})
"""The purposes that a caller never pays for: the caller's answer came from another engine call."""


class Price(msgspec.Struct, frozen=True):
    """The price of a model, in micro-USD for a million tokens."""

    prompt: int
    completion: int

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int:
        """Return the cost in micro-USD, rounded up."""
        return -(-(prompt_tokens * self.prompt + completion_tokens * self.completion) // 1_000_000)


Prices = Callable[[str], Price | None]
"""Finds the price of a model by the name that the configuration gives it. None if it has no price."""


def no_prices(route: str) -> Price | None:
    """Return None: prices arrive with billing."""
    del route


class Need(msgspec.Struct, frozen=True):
    """The tokens that a call may need.

    `prompt` is counted, and `completion` is bounded by the request or estimated, in which case `estimated` is True.
    `most_prompt` is the most tokens that the prompt can have in any vocabulary; it is 0 if no limit of money is met.
    """

    prompt: int = 0
    completion: int = 0
    estimated: bool = False
    most_prompt: int = 0

    def amounts(self, price: Price | None) -> Amounts:
        """Return what to reserve. Money is reserved for the dearest outcome, whatever the estimate says."""
        money = price.cost(self.most_prompt, self.completion) if price is not None else 0
        return 1, min(self.prompt + self.completion, MOST_AMOUNT), min(money, MOST_AMOUNT)


def used(
    spent: Iterable[Spent],
    need: Need,
    price: Price | None,
    *,
    internal: bool = False,
    recalled: bool = False,
) -> Amounts:
    """Return what a call has used: all tokens that engines have reported or sent, whether or not a client got them.

    `internal` includes the calls that the gateway has made for itself, such as a judge's, but none `OF_THE_HOUSE`. A call
    that asked no engine has used nothing, unless it is `recalled`, that is, got an answer that was made for another call:
    it has used one call.
    """
    calls, tokens, money = int(recalled), 0, 0
    for one in spent:
        if one.purpose in OF_THE_CALLER or (internal and one.purpose not in OF_THE_HOUSE):
            calls = 1
            prompt, completion = _tokens(one, need)
            if one.purpose == CONTINUED and not internal:
                prompt = 0  # it was asked once more only because an engine had failed
            tokens += prompt + completion
            if price is not None:
                money += price.cost(prompt, completion)
    return calls, tokens, money


def _tokens(one: Spent, need: Need) -> tuple[int, int]:
    """The tokens of the prompt and of the answer of one engine call.

    What the engine reports counts. If it reports nothing or less than half of what has arrived, what has arrived counts.
    """
    usage = one.usage
    if usage is None:
        worked = one.first_byte_at or one.outcome in _AT_WORK
        return (need.prompt, one.received_tokens) if worked else (0, 0)
    completion, received = min(usage.completion_tokens, MOST_TOKENS), one.received_tokens
    # An answer that broke off may have reported less than has arrived since.
    if one.outcome != "ok" or not completion or 2 * completion < received - _ROUGH_TOKENS:
        completion = max(completion, received)
    return min(usage.prompt_tokens, MOST_TOKENS) or need.prompt, completion


# The engine was at work when the call was ended from this side.
_AT_WORK = frozenset({"cancelled", "deadline_exceeded", "engine_timeout", "running"})
# The length of a short answer says little about its tokens.
_ROUGH_TOKENS = 16
