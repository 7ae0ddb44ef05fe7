"""Hedging: if a call's first engine is slow, another one is asked beside it, and the first answer counts.

An engine call is slow if it takes longer than 95 % of the deployment's last ones (Dean and Barroso, "The tail at scale",
Communications of the ACM 56(2), 2013). Then another engine of the same tier is asked, if it has a free seat at once and
the retry budget of the slow deployment has one left. So hedging adds at most a tenth to the requests, and nothing where
all engines are busy. The engine call that loses is cut: its seat is free at once, and the house pays for it.

Only models with `hedges: true` do so, and only small calls that are not streamed: what a loser costs is small, and the
time of a whole answer hardly depends on its length.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from tidegate.call import Call
from tidegate.dispatch.place import Permit
from tidegate.errors import Again, GatewayError
from tidegate.quotas.estimate import OutputEstimate
from tidegate.stages.failover import Failover
from tidegate.stages.needs import expected_tokens, prompt_tokens
from tidegate.stages.round import Round
from tidegate.types import ANSWER, FAILED, HEDGE, Batch

SMALL_TOKENS = 256
"""A call is small if its answer is expected to have at most so many tokens."""
SMALL_PROMPT_TOKENS = 4096
"""And its prompt at most so many: a longer one takes its time at every engine."""


def is_small(call: Call, lengths: OutputEstimate) -> bool:
    """Whether a call is a client's, small, and not streamed. Raises BadRequest."""
    return (
        not call.stream
        and call.purpose == ANSWER
        and prompt_tokens(call) <= SMALL_PROMPT_TOKENS
        and expected_tokens(call, lengths) <= SMALL_TOKENS
    )


class Race:
    """The first round of a call, and perhaps another one beside it. The first one that answers wins.

    A round that fails while the other one runs loses, unless its error is what any engine would say.
    """

    def __init__(
        self,
        first: Round,
        stream: AsyncGenerator[Batch, None],
        failover: Failover,
        won: Callable[[Round, int], None],
    ) -> None:
        """`won` is told the round whose answer or error counts, and how many engines were asked."""
        self._first = first
        self._stream = stream
        self._failover = failover
        self._won = won
        self._running = [first]
        self._tasks: list[asyncio.Task[None]] = []
        self._asked = 1
        self._decided: asyncio.Future[Batch] | None = None

    async def batches(self, after_s: float) -> AsyncGenerator[Batch, None]:
        """Yield the answer. Another engine is asked if the first one has not answered after so many seconds.

        Raises the error of the round that counts.
        """
        # The tasks are those of the call, whose end cancels and awaits them.
        start = self._first.call.exit.task
        self._decided = asyncio.get_running_loop().create_future()
        self._tasks.append(start(self._run(self._first, self._stream), name="first round"))
        self._tasks.append(start(self._overtake(after_s), name="hedge"))
        try:
            batch = await self._decided
        finally:
            # A future keeps its error, whose traceback has a frame that keeps this race.
            self._decided = None
        async with aclosing(self._stream) as rest:
            yield batch
            async for more in rest:
                yield more

    async def _overtake(self, after_s: float) -> None:
        """Ask another engine too after some time, if one has a seat then."""
        await asyncio.sleep(after_s)
        permit = _seat_beside(self._first, self._failover)
        if permit is not None:
            self._asked += 1
            other = self._first.beside(permit, HEDGE)
            self._running.append(other)
            await self._run(other, None)

    async def _run(self, one: Round, stream: AsyncGenerator[Batch, None] | None) -> None:
        """Run a round until its first batch, which decides the race if it is the first of all."""
        try:
            stream = stream or one.begin(again=True)
            batch = await anext(stream, None) or []
        except asyncio.CancelledError:
            one.end("cancelled")  # the other one was faster, or the client has left
            raise
        except GatewayError as error:
            self._running.remove(one)
            if self._is_open and (not self._running or error.again is Again.NO):
                self._decide(one).set_exception(error)
            else:
                self._failover.lost(one.permit.deployment)
                one.spent.purpose = FAILED
                one.failed(error)
        else:
            if self._is_open:
                self._stream = stream
                self._decide(one).set_result(batch)
            else:
                await stream.aclose()
                one.end("cancelled")

    @property
    def _is_open(self) -> bool:
        return self._decided is not None and not self._decided.done()

    def _decide(self, one: Round) -> asyncio.Future[Batch]:
        """Let this round be the one that counts, and cut the other one."""
        for other in self._running:
            other.spent.purpose = HEDGE
        one.spent.purpose = one.call.purpose
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._won(one, self._asked)
        assert self._decided is not None, "the race is open"
        return self._decided


def _seat_beside(slow: Round, failover: Failover) -> Permit | None:
    """Take a free seat of another deployment, and a retry from the budget of the slow one."""
    call, health = slow.call, slow.permit.deployment.health
    assert call.place is not None, "admit comes before attempt"
    if health is None or not health.budget.has_left or slow.clock() >= call.deadline:
        return None
    permit = call.place.try_dispatch(failover.beside(slow.permit.deployment))
    if permit is not None:
        health.budget.take()
        health.hedges += 1
    return permit
