"""What a caller is told whose call does not fit into a limit."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.errors import BadRequest, BudgetExceeded, RateLimited
from tidegate.quotas.meters import MOST_AMOUNT, Meter, Now
from tidegate.types import Limit, Per


def never_fits(limits: Sequence[Limit], amounts: Sequence[int]) -> BadRequest | None:
    """Return the error for an amount that exceeds the whole limit, or None.

    A call that exceeds a budget of money is not a mistake of the request, so it is refused as any other.
    """
    for limit, amount in zip(limits, amounts, strict=True):
        if limit.enforce and not limit.money and amount > limit.most:
            return BadRequest(
                f"This call needs {_amount(limit, amount)}, and the {_name(limit)} is {limit.most}, so it can never be"
                " admitted. Ask for less in one call, for example with a smaller max_tokens or a shorter prompt.",
                param=_param(limit),
            )
    return None


def refusal(at: int, amounts: Sequence[int], meters: Sequence[Meter], now: Now) -> RateLimited:
    """Return the error for amounts of which the one at the place `at` does not fit now.

    It names the limit for which the call has to wait longest.
    """
    wait_s: float | None = None
    for place, (amount, meter) in enumerate(zip(amounts, meters, strict=True)):
        waits_s = meter.wait_s(amount, now) if meter.limit.enforce else None
        if waits_s and waits_s > (wait_s or 0):
            at, wait_s = place, waits_s
    limit = meters[at].limit
    standings = [meter.standing(now) for meter in meters]
    left = max(0, standings[at][0])
    error = (BudgetExceeded if limit.money else RateLimited)(
        f"The {_name(limit)} is {_amount(limit, limit.most)}. This call needs {_amount(limit, amounts[at])}, and "
        f"{_amount(limit, left)} is left. {_advice(limit, wait_s)}",
        param=_param(limit),
        retry_after_s=wait_s,
    )
    if limit.per in (Per.DAY, Per.MONTH):
        error.retryable = False  # a client that tries again within seconds only repeats the refusal
    error.at, error.dimension = limit.level, limit.dimension
    error.bucket, error.needs, error.in_flight = limit.bucket, amounts[at], meters[at].held > 0
    error.left = tuple([standing[0] for standing in standings])
    return error


def _name(limit: Limit) -> str:
    return f"limit {limit.dimension} of the {limit.level.replace('_', ' ')} '{limit.tenant}'"


def _param(limit: Limit) -> str:
    return f"{limit.level}.{limit.dimension}"


def _amount(limit: Limit, amount: int) -> str:
    if amount > MOST_AMOUNT:
        return f"more than {_amount(limit, MOST_AMOUNT)}"
    return f"{amount / 1e6:.6g} USD" if limit.money else str(amount)


def _advice(limit: Limit, wait_s: float | None) -> str:
    if limit.per is Per.CALL:
        return "Wait for a call to end."
    if limit.per is Per.MINUTE:
        return f"Try again in {wait_s or 0:.1f} s."
    return f"The next {limit.per.value} begins in {wait_s or 0:.0f} s."
