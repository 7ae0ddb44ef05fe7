"""Limits of money at a fixed price. No configuration can set prices yet, so the stage gets them from the test."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tidegate.call import Call
from tidegate.config import parse_text
from tidegate.dispatch.deployments import Models
from tidegate.errors import BudgetExceeded, Forbidden
from tidegate.http.apis import openai
from tidegate.policy import compile_policies
from tidegate.quotas.needs import Price
from tidegate.quotas.process import Quotas
from tidegate.stages.counting import Counting
from tidegate.stages.limit import Limiting
from tidegate.types import Endpoint, Exit, Spent, Usage

PRICES = {"large": Price(prompt=10_000_000, completion=40_000_000)}
"""10 and 40 US dollars for a million tokens."""


class Till:
    """The stage with prices, a policy with a limit of money, and a clock that stands still."""

    def __init__(self, **limits: float) -> None:
        tree = {"policies": {"default": {"limits": limits}}}
        config = parse_text(json.dumps(tree), source="the test")
        self.policy = compile_policies(config, config.server).default
        models: Any = Models({"large": [object()], "free": [object()]})  # type: ignore[list-item]
        self.quotas = Quotas(lambda: 5.0, lambda: 1_780_000_000.0)
        self.stage = Limiting(self.quotas, Counting(models), lambda: 5.0, prices=PRICES.get)

    def call(self, model: str = "large", **fields: Any) -> Call:
        call = Call(
            id="1",
            endpoint=Endpoint.CHAT,
            exit=Exit(),
            arrived_at=5,
            received_at=5,
            deadline=9,
            policy=self.policy,
        )
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}
        openai.read(json.dumps(body).encode(), call)
        call.spent, call.reply_headers = [], []
        waiting = self.stage(call)
        assert waiting is None
        return call

    def used(self) -> int:
        """Micro-USD."""
        [one] = self.quotas.limiter.consumption()
        return one.used


def end(call: Call, prompt: int, completion: int) -> None:
    call.spent.append(Spent("answer", "e", "m", 5.0, 5.0, 5.0, Usage(prompt, completion), "ok"))

    async def leave() -> None:
        async with call.exit:
            pass

    asyncio.run(leave())


def test_the_dearest_outcome_is_reserved_and_what_was_used_is_charged() -> None:
    till = Till(usd_per_day=1)
    call = till.call(max_tokens=1000)
    # A token for each byte of the prompt, and four for the message.
    assert till.used() == (2 + 4) * 10 + 1000 * 40
    end(call, 3, 5)
    assert till.used() == 3 * 10 + 5 * 40


def test_a_call_that_could_exceed_the_budget_is_refused_even_if_it_would_not() -> None:
    till = Till(usd_per_day=0.05)
    first = till.call(max_tokens=1000)
    with pytest.raises(BudgetExceeded) as raised:
        till.call(max_tokens=1000)
    error = raised.value
    assert (error.status, error.code, error.param) == (429, "insufficient_quota", "policy.usd_per_day")
    assert (b"x-should-retry", b"false") in error.headers()
    assert "0.05 USD" in error.message
    end(first, 3, 5)
    till.call(max_tokens=1000)


def test_an_answer_without_a_bound_gets_one_where_money_is_limited() -> None:
    till = Till(usd_per_month=1)
    call = till.call()
    assert bytes(call.fields["max_tokens"]) == b"4096"
    assert (b"x-tidegate-max-tokens", b"4096") in call.reply_headers
    assert till.used() == 60 + 4096 * 40


def test_choices_cost_as_often() -> None:
    till = Till(usd_per_month=1)
    till.call(max_tokens=10, n=3)
    assert till.used() == 60 + 30 * 40


def test_a_model_without_a_price_is_refused_where_money_is_limited() -> None:
    till = Till(usd_per_day=1)
    with pytest.raises(Forbidden, match="The model 'free' has no price"):
        till.call("free", max_tokens=1)
    assert not till.quotas.limiter.consumption() or till.used() == 0
