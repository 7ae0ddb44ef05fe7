"""The stage `limit`: reserves quota for a call at every level, and settles it once when the call ends.

It reserves one call, the tokens of the prompt, and the tokens that the answer may have: `max_tokens`, or an estimate that
is learned from earlier answers. In the end it charges what the engines have reported, or else what has arrived from them. A
call that the gateway refuses before it asks an engine costs nothing.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import msgspec

from tidegate.call import Call
from tidegate.errors import Forbidden, Overloaded, RateLimited
from tidegate.policy import Policy
from tidegate.ports import Clock
from tidegate.quotas.levels import NO_LIMITS, Plan
from tidegate.quotas.needs import Need, Price, Prices, no_prices, used
from tidegate.quotas.process import Quotas
from tidegate.quotas.refusals import never_fits
from tidegate.stages.counting import Counting, answer_tokens, made
from tidegate.stages.route import deployments_of
from tidegate.types import ANSWER, OWN_ENDPOINTS, Headers, Limit, Ticket

HOLD_S = 30.0
"""A reservation expires so long after the deadline of its call, in case its holder has died."""
REFUSE_S = 0.1
"""A call that still waits so long before its deadline is refused, so that its client is told of the limit."""
JITTER = 0.1
"""`Retry-After` is longer than needed by up to this share, so that refused clients do not come back all at once."""
MOST_JITTER_S = 60.0
"""The wait for the next day is prolonged by no more than this."""
UNKNOWN_S = 1.0
"""`Retry-After` where the time is not known, for example until another call ends; up to twice as long at random."""
STRICT_MAX_TOKENS = 4096
"""The most `max_tokens` that a call gets which has to have a bound and names none."""


class Limiting:
    """Reserves quota for the calls of callers with limits. All other calls pass at once."""

    def __init__(
        self,
        quotas: Quotas,
        counting: Counting,
        clock: Clock,
        *,
        idle: bool = False,
        prices: Prices = no_prices,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`idle` says that no policy and no model has limits. `jitter` returns a number from 0 to 1."""
        self.idle = idle
        self._limiter = quotas.limiter
        self._estimate = quotas.estimate
        self._lines = quotas.lines
        self._tally = quotas.tally
        self._models = counting.models
        self.counting = counting
        self._clock = clock
        self._prices = prices
        self._jitter = jitter

    def __call__(self, call: Call) -> Awaitable[None] | None:
        """Reserve what the call may need.

        Raises RateLimited if that does not fit now, BadRequest if it can never fit, ModelNotFound, Forbidden for a limit of
        money and a model without a price, and Overloaded if there are too many limits to count.
        """
        if call.policy.limits is NO_LIMITS:
            return None
        plan = self._plan(call)
        if not plan.limits:
            return None
        if not plan.counts_tokens or not call.model:
            return self._reserve(_Held(self, call, plan, Need()))
        counted = self.counting.count(call, money=plan.counts_money)
        if isinstance(counted, tuple):
            return self._reserve(self._held(call, plan, *counted))
        return self._reserve_later(call, plan, counted)

    def foretell(self, call: Call) -> str:
        """Say what would be reserved, and of which limits. Raises BadRequest for a call that can never fit."""
        if call.policy.limits is NO_LIMITS:
            return "no limits apply"
        plan = self._plan(call)
        if not plan.limits:
            return "no limits apply to this model"
        given = answer_tokens(call) is not None
        held = _Held(self, call, plan, Need())
        if plan.counts_tokens:
            held = self._held(call, plan, *self.counting.at_once(call, money=plan.counts_money))
        never = never_fits(plan.limits, plan.of_each(held.need.amounts(held.price)))
        if never is not None:
            raise never
        waits = "; it waits if they do not fit" if call.policy.on_limit == "wait" else ""
        limits = "".join(f"\n{_named(limit)}" for limit in plan.limits)
        asks = "; the engine would be asked to count the prompt" if call.policy.count == "engine" else ""
        tokens = f"{_tokens(held.need, given=given)}{asks}" if plan.counts_tokens else ""
        return f"reserves 1 call{tokens}{waits}, of{limits}"

    async def standing(self, policy: Policy) -> Headers:
        """Return the headers for a reply to a caller under a policy which is not the reply to a call."""
        plan = policy.limits.general
        if not plan.limits:
            return []
        try:
            ticket = self._limiter.reserve("", plan.limits, plan.of_each((0, 0, 0)), until=self._clock())
            if not isinstance(ticket, Ticket):
                ticket = await ticket
        except RateLimited as error:
            return plan.headers.told(error.left, self._limiter.resets_s)
        except Overloaded:
            return []  # nothing is known of a limit for which there is no place
        self._limiter.settle(ticket, [0] * len(plan.limits))
        return plan.headers.told(ticket.left, self._limiter.resets_s)

    # -- what a call needs ---------------------------------------------------------------------------------------------

    def _plan(self, call: Call) -> Plan:
        if call.model:
            deployments_of(call, self._models)
        user = call.request.user if call.request is not None else None
        return call.policy.limits.plan(call.model, call.route, user or "")

    def _held(self, call: Call, plan: Plan, prompt: int, most_prompt: int) -> _Held:
        """Return the call with what it needs. `max_tokens` is set if the policy wants a bound and the request has none."""
        call.prompt_tokens = prompt
        completion = answer_tokens(call)
        estimated = completion is None
        if completion is None:
            if call.policy.strict or plan.counts_money:
                each, estimated = self._bound(call, plan, prompt), False
                call.put_max_tokens(each)
                call.reply_headers.append((b"x-tidegate-max-tokens", b"%d" % each))
            else:
                each = self._estimate.expect(call.caller.key, call.route)
            completion = each * made(call)
            if estimated and plan.most_tokens is not None:
                # A call is never refused for good because of a guess.
                completion = max(0, min(completion, plan.most_tokens - prompt))
        return _Held(self, call, plan, Need(prompt, completion, estimated, most_prompt))

    def _bound(self, call: Call, plan: Plan, prompt: int) -> int:
        if plan.most_tokens is None:
            return STRICT_MAX_TOKENS
        return max(1, min(STRICT_MAX_TOKENS, (plan.most_tokens - prompt) // made(call)))

    def price(self, route: str) -> Price:
        """Return the price of a model. Raises Forbidden if it has none, because its calls cannot be charged then."""
        price = self._prices(route)
        if price is None:
            raise Forbidden(
                f"The model '{route}' has no price, which a limit of money needs; the operator has to set one"
            )
        return price

    # -- reserving -----------------------------------------------------------------------------------------------------

    def _reserve(self, held: _Held) -> Awaitable[None] | None:
        """Reserve at once if that is possible; otherwise return the rest of the work."""
        call, lines = held.call, self._lines
        if lines.waiting and call.policy.on_limit == "wait":
            bucket = lines.behind(call.caller.key, held.plan.limits)
            if bucket:
                # Also for the earlier calls, which may be of an older snapshot.
                self._limiter.adopt(held.plan.limits)
                return self._wait(held, bucket, 0, 0.0)
        try:
            ticket = self._try(held)
        except RateLimited as error:
            if not self._may_wait(call, error):
                raise self._refused(held, error) from None
            return self._wait(held, error.bucket, error.needs, error.retry_after_s)
        if isinstance(ticket, Ticket):
            self._take(held, ticket)
            return None
        return self._reserve_elsewhere(held, ticket)

    async def _reserve_later(self, call: Call, plan: Plan, counted: Awaitable[tuple[int, int]]) -> None:
        rest = self._reserve(self._held(call, plan, *await counted))
        if rest is not None:
            await rest

    async def _reserve_elsewhere(self, held: _Held, ticket: Awaitable[Ticket]) -> None:
        try:
            self._take(held, await ticket)
        except RateLimited as error:
            if not self._may_wait(held.call, error):
                raise self._refused(held, error) from None
            await self._wait(held, error.bucket, error.needs, error.retry_after_s)

    async def _wait(self, held: _Held, bucket: str, needs: int, fits_s: float | None) -> None:
        """Wait until the call fits. It has no seat meanwhile.

        It waits at the limit with this bucket first, of which it `needs` something. `fits_s` is that of `Place.wait`.
        """
        call, began = held.call, self._clock()
        full = self._lines.full(call.caller)
        if full is not None:
            raise self._refused(held, full)
        with self._lines.place(call.caller) as place:
            while held.ticket is None:
                await place.wait(bucket, needs, fits_s, most_s=self._left_s(call))
                try:
                    ticket = self._try(held)
                    self._take(held, ticket if isinstance(ticket, Ticket) else await ticket)
                except RateLimited as error:
                    if not self._may_wait(call, error):
                        raise self._refused(held, error) from None
                    bucket, needs, fits_s = error.bucket, error.needs, error.retry_after_s
        call.waited_s += self._clock() - began

    def _try(self, held: _Held) -> Ticket | Awaitable[Ticket]:
        call = held.call
        amounts = held.plan.of_each(held.need.amounts(held.price))
        return self._limiter.reserve(call.id, held.plan.limits, amounts, until=call.deadline + HOLD_S)

    def _may_wait(self, call: Call, error: RateLimited) -> bool:
        """Whether a call may wait: it fits within its deadline, or running calls may give something back."""
        if call.policy.on_limit != "wait" or not error.retryable:
            return False
        left_s, wait_s = self._left_s(call), error.retry_after_s
        return left_s > 0 and (error.in_flight or (wait_s is not None and wait_s < left_s))

    def _left_s(self, call: Call) -> float:
        """Return how long a call may still wait."""
        return call.deadline - REFUSE_S - self._clock()

    def _refused(self, held: _Held, error: RateLimited) -> RateLimited:
        """Return the error with its headers. Some of the time to wait is added at random."""
        if error.retry_after_s is None:
            error.retry_after_s = UNKNOWN_S * (1 + self._jitter())
        else:
            error.retry_after_s += min(JITTER * error.retry_after_s, MOST_JITTER_S) * self._jitter()
        if error.left:
            held.call.reply_headers += held.plan.headers.told(error.left, self._limiter.resets_s)
        self._tally.refused(error)
        return error

    def _take(self, held: _Held, ticket: Ticket) -> None:
        held.ticket = ticket
        call = held.call
        call.exit.push(held.settle)
        call.reply_headers += held.plan.headers.told(ticket.left, self._limiter.resets_s)
        self._tally.reserved(ticket)

    def settle(self, held: _Held, ticket: Ticket, *, unasked: bool = False) -> None:
        """Charge what a call has used, give back the rest, and learn from the length of its answer.

        `unasked` says that the call was answered as it should be, and that no engine was asked for it.
        """
        call, need = held.call, held.need
        internal = call.policy.internal_calls == "caller"
        figures = held.plan.of_each(used(call.spent, need, held.price, internal=internal, recalled=unasked))
        self._limiter.settle(ticket, figures)
        if self._lines.waiting:
            self._lines.given_back(ticket, figures)
        if need.estimated:
            for one in call.spent:
                if one.outcome == "ok" and one.purpose == ANSWER and one.usage is not None:
                    self._estimate.learn(
                        call.caller.key, call.route, one.usage.completion_tokens // call.choices
                    )


def _named(limit: Limit) -> str:
    most = f"{limit.most / 1e6:,.2f}" if limit.money else f"{limit.most:,}"
    counted = "" if limit.enforce else " (counted only)"
    return f"{limit.level} {limit.tenant}: {limit.dimension} {most}{counted}"


def _tokens(need: Need, *, given: bool) -> str:
    kind = "estimated" if need.estimated else "by max_tokens" if given else "by the max_tokens that is set"
    return f" and {need.prompt + need.completion} tokens ({need.prompt} prompt, {need.completion} answer, {kind})"


class _Held(msgspec.Struct):
    """A call, the limits that it meets, what it needs, and its reservation once there is one."""

    stage: Limiting
    call: Call
    plan: Plan
    need: Need
    ticket: Ticket | None = None

    @property
    def price(self) -> Price | None:
        """The price of the call's model if a limit of money is met. Calls that rails answer have none."""
        call = self.call
        if not self.plan.counts_money or not call.route or call.endpoint in OWN_ENDPOINTS:
            return None
        return self.stage.price(call.route)

    def settle(self, error: BaseException | None) -> None:
        """Settle the reservation. Called once, when the call ends."""
        assert self.ticket is not None, "pushed when it was reserved"
        by_rails = self.call.endpoint in OWN_ENDPOINTS and error is None
        self.stage.settle(self, self.ticket, unasked=by_rails or bool(self.call.recalled))
