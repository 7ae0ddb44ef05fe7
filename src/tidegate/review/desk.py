"""The desk: stores cases, lets their calls wait for decisions, and takes the decisions of people.

Other processes may decide about a case in the same file, so the desk looks at it twice a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack

from tidegate.config.review import ReviewConfig
from tidegate.errors import Conflict, Overloaded
from tidegate.ports import Clock, Spawn, Wall
from tidegate.review.counts import Counts
from tidegate.review.file import CaseFile, Wanted
from tidegate.review.webhook import Webhook
from tidegate.types import Case, Decision, Judged, Outcome
from tidegate.types.case import BLOCK, DEADLINE, RELEASE

POLL_S = 0.5
"""How often the file is looked at for decisions by other processes, in seconds."""

log = logging.getLogger(__name__)


Noted = Callable[[Judged], None]
"""A function that is told of each decision, for the audit."""


class Desk:
    """The cases of one configuration. Satisfies `Reviewer`."""

    def __init__(  # noqa: PLR0913 - a clock each
        self,
        config: ReviewConfig,
        file: CaseFile,
        counts: Counts,
        *,
        noted: Noted,
        clock: Clock,
        wall: Wall,
        spawn: Spawn,
    ) -> None:
        """`file` is not open yet. `counts` counts what happens in this process."""
        self.config = config
        self._counts = counts
        self._file = file
        self._clock = clock
        self._noted = noted
        self._wall = wall
        self._spawn = spawn
        self._webhook: Webhook | None = None
        if config.webhook is not None:
            self._webhook = Webhook(config.webhook, counts.told, wall=wall, spawn=spawn)
        self._waiting: dict[str, asyncio.Future[Decision]] = {}
        self._seen = 0
        self._following: asyncio.Task[None] | None = None

    @property
    def wait_s(self) -> float:
        """How long a client waits at most."""
        return self.config.wait_s

    @property
    def notice(self) -> str:
        """What a client gets whose case stays open."""
        return self.config.notice

    async def open(self) -> None:
        """Open the file. Raises ConfigError if it cannot be used."""
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._file.close)
            await self._file.open()
            self._seen = await self._file.newest()
            undo.pop_all()
        self._following = self._spawn(self._follow(), name="follow the decisions of reviewers")

    async def close(self) -> None:
        """Close the file. Calls that still wait are left alone: they end by their deadline."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        if self._webhook is not None:
            await self._webhook.close()
        await self._file.close()

    # -- calls ---------------------------------------------------------------------------------------------------------

    async def decide(self, cases: Sequence[Case], *, until: float) -> Outcome:
        """Store the cases of a call and wait for the decisions, until a time of the clock at the latest.

        The first decision against a text ends the waiting. A cancelled call leaves its cases open. Raises Overloaded if the
        cases cannot be stored.
        """
        futures = {case.id: asyncio.get_running_loop().create_future() for case in cases}
        self._waiting.update(
            futures
        )  # first, since somebody may decide before this process knows that it has stored them
        try:
            if not await self._file.add(cases, most=self.config.most_open):
                return self._full()
            self._tell_of(cases)
            with self._counts.waits():
                found = await self._wait(futures, until)
        finally:
            for one in futures:
                del self._waiting[one]
        if len(found) < len(cases) and all(one.releases for one in found.values()):
            return await self._at_deadline(cases, found)
        return Outcome(all(one.releases for one in found.values()), found)

    def _full(self) -> Outcome:
        self._counts.full += 1
        log.warning("there are %d open cases (review.most_open): no person is asked", self.config.most_open)
        return Outcome(self.config.at_deadline == RELEASE, {}, full=True)

    def _tell_of(self, cases: Sequence[Case]) -> None:
        self._counts.made += len(cases)
        if self._webhook is not None:
            for case in cases:
                self._webhook.tell(case)

    async def _wait(
        self, futures: Mapping[str, asyncio.Future[Decision]], until: float
    ) -> dict[str, Decision]:
        """Wait until there is a decision about all, or one against any of them. Returns those that there are in time."""
        found = dict[str, Decision]()
        while len(found) < len(futures) and all(one.releases for one in found.values()):
            undecided = [future for name, future in futures.items() if name not in found]
            left_s = max(until - self._clock(), 0.0)
            done, _ = await asyncio.wait(undecided, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
            found = {name: future.result() for name, future in futures.items() if future.done()}
        return found

    async def _at_deadline(self, cases: Sequence[Case], found: dict[str, Decision]) -> Outcome:
        """Decide about the cases that nobody has decided in time. A person who was faster than this prevails."""
        undecided = [case.id for case in cases if case.id not in found]
        if self.config.at_deadline == "later":
            return Outcome(passed=False, decisions=found, later=undecided[0])
        action = RELEASE if self.config.at_deadline == "release" else BLOCK
        for name in undecided:
            mine = Decision(action, DEADLINE, at=self._wall())
            judged, is_mine = await self._file.decide(name, mine)
            if is_mine:
                self._note(judged)
            found[name] = judged.decision or mine
        return Outcome(all(one.releases for one in found.values()), found)

    # -- people --------------------------------------------------------------------------------------------------------

    async def take(self, id: str, decision: Decision) -> Judged:
        """Take the decision of a person. Raises NotFound, and Conflict if there is a decision already."""
        judged, is_new = await self._file.decide(id, decision)
        held = judged.decision
        assert held is not None, "one of the two decisions holds"
        if not is_new:
            raise Conflict(f"The case '{id}' was decided before: {held.action} by {held.by}")
        self._note(judged)
        self._tell(id, held)
        return judged

    async def find(self, id: str) -> Judged:
        """Return a case. Raises NotFound."""
        return await self._file.find(id)

    async def page(self, wanted: Wanted, *, after: int = 0, most: int = 100) -> list[Judged]:
        """Return cases in the order in which they were made."""
        return await self._file.page(wanted, after=after, most=most)

    async def decided(self, *, after: int = 0, most: int = 100) -> list[Judged]:
        """Return cases in the order of their decisions."""
        return await self._file.decided(after=after, most=most)

    def _note(self, judged: Judged) -> None:
        if judged.decision is not None:
            self._counts.decided(judged.decision.action)
            self._noted(judged)

    # -- decisions by other processes ----------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            try:
                news = await self._file.news(after=self._seen)
            except Overloaded as error:
                log.warning("the cases cannot be read: %s", error.cause or error.message)
                continue
            self._counts.open_cases = news.open_cases
            for name, decision in news.decisions.items():
                self._seen = max(self._seen, decision.number)
                self._tell(name, decision)

    def _tell(self, id: str, decision: Decision) -> None:
        future = self._waiting.get(id)
        if future is not None and not future.done():
            future.set_result(decision)
