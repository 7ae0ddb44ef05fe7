"""Reservations end once, in whatever order calls settle, are abandoned, report twice, and the configuration changes."""

from __future__ import annotations

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule
from quota_world import World

from tidegate.errors import BadRequest, RateLimited
from tidegate.types import Limit, Per, Ticket

MINUTE = Limit("key", "x", "tokens_per_minute", 6000, burst=1000)
DAY = Limit("team", "blue", "tokens_per_day", 20_000, per=Per.DAY)
CALLS = Limit("key", "x", "concurrent_calls", 4, per=Per.CALL)


class EndsOnce(RuleBasedStateMachine):
    """A plain account of what must be charged, beside the limiter. The clock stands inside one day."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.limits = [MINUTE, DAY, CALLS]
        self.start = self.world.us
        self.charged = 0  # what ended, as it was settled, and what is open, as it was reserved
        self.missing = 0.0  # of the bucket; in tokens
        self.open: dict[str, tuple[int, float]] = {}

    tickets = Bundle("tickets")
    ended = Bundle("ended")

    @rule(target=tickets, amount=st.integers(0, 1500), lease=st.sampled_from([20.0, 10_000.0]))
    def reserve(self, amount: int, lease: float):
        limits = self.limits
        self._expire()
        fits = (
            amount <= limits[0].most  # the burst may be less: a full bucket goes into debt
            and self.charged + amount <= limits[1].most
            and len(self.open) < limits[2].most
            and (not self.missing or self.missing + amount <= limits[0].burst)
        )
        until = self.world.now + lease
        try:
            ticket = self.world.reserve((limits[0], amount), (limits[1], amount), (limits[2], 1), until=until)
        except (RateLimited, BadRequest):
            assert not fits
            return multiple()
        assert fits
        self.charged += amount
        self.missing += amount
        self.open[ticket.id] = (amount, int(until) + 1)
        return ticket

    @rule(target=ended, ticket=consumes(tickets), used=st.integers(0, 3000))
    def settle(self, ticket: Ticket, used: int):
        self._expire()
        self.world.limiter.consumption()
        self.world.limiter.settle(ticket, [used, used, 1])
        amount, _ = self.open.pop(ticket.id, (None, 0.0))
        if amount is not None:
            self.charged += used - amount
            self.missing = max(0.0, self.missing + used - amount)
        return ticket

    @rule(target=ended, ticket=consumes(tickets))
    def abandon(self, ticket: Ticket):
        self._expire()
        self.world.limiter.abandon(ticket)
        self.open.pop(ticket.id, None)
        return ticket

    @rule(ticket=ended, used=st.integers(0, 3000))
    def settle_again(self, ticket: Ticket, used: int):
        self.world.limiter.settle(ticket, [used, used, 1])

    @rule(ticket=ended)
    def abandon_again(self, ticket: Ticket):
        self.world.limiter.abandon(ticket)

    @rule(
        most=st.sampled_from([600, 6000, 12_000]),
        calls=st.integers(1, 6),
        day=st.sampled_from([9000, 20_000]),
    )
    def reload(self, most: int, calls: int, day: int):
        # A call adopts the new limits at once, so that the account knows the rate at each moment.
        self.limits = [
            msgspec.structs.replace(MINUTE, most=most, burst=max(1, most // 6)),
            msgspec.structs.replace(DAY, most=day),
            msgspec.structs.replace(CALLS, most=calls),
        ]
        none = [msgspec.structs.replace(limit, enforce=False) for limit in self.limits]
        self.world.limiter.abandon(self.world.reserve(*[(limit, 0) for limit in none]))

    @rule(tenths=st.integers(1, 300))
    def wait(self, tenths: int):
        self.world.pass_s(tenths / 10)
        self.missing = max(0.0, round(self.missing - tenths / 10 * self.limits[0].most / 60, 6))

    @invariant()
    def the_account_is_right(self):
        if self.world.us - self.start > 3600 * 1_000_000:
            return
        used = self.world.used()
        if not used:
            return
        self._expire()
        assert used[DAY.bucket] == max(0, self.charged)
        assert used[CALLS.bucket] == len(self.open)
        assert used[MINUTE.bucket] - 1 <= self.missing <= used[MINUTE.bucket] + 1e-6

    def _expire(self) -> None:
        for name in [name for name, (_, at) in self.open.items() if at <= self.world.now]:
            del self.open[name]


EndsOnce.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestEndsOnce = EndsOnce.TestCase
