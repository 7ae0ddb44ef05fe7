"""What a call needs before it starts, and what it has used when it ends: pure arithmetic on tokens and money."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from tidegate.types import ANSWER, Amounts, Spent

REGENERATE = "regenerate"
"""The purpose of an engine call that replaces an answer which a rail has refused."""
OF_THE_CALLER = frozenset({ANSWER, REGENERATE})
"""The purposes that a caller pays for. All others are for the house, unless the policy says `internal_calls: caller`."""


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
        return 1, self.prompt + self.completion, money


def used(spent: Iterable[Spent], need: Need, price: Price | None, *, internal: bool = False) -> Amounts:
    """Return what a call has used: all tokens that engines have reported or sent, whether or not a client got them.

    `internal` includes the calls that the gateway has made for itself. A call that asked no engine has used nothing.
    """
    calls = tokens = money = 0
    for one in spent:
        if internal or one.purpose in OF_THE_CALLER:
            calls = 1
            prompt, completion = _tokens(one, need)
            tokens += prompt + completion
            if price is not None:
                money += price.cost(prompt, completion)
    return calls, tokens, money


def _tokens(one: Spent, need: Need) -> tuple[int, int]:
    """The tokens of the prompt and of the answer of one engine call."""
    usage = one.usage
    if usage is not None and usage.prompt_tokens + usage.completion_tokens > 0:
        # An answer that broke off may have reported less than has arrived since.
        completion = usage.completion_tokens
        return usage.prompt_tokens, completion if one.outcome == "ok" else max(
            completion, one.received_tokens
        )
    if one.first_byte_at or one.outcome in _LEFT:
        return need.prompt, one.received_tokens
    return 0, 0


# The engine was at work when the call was ended from this side.
_LEFT = frozenset({"cancelled", "deadline_exceeded", "running"})
