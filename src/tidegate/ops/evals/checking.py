"""Puts texts through rails, one at a time or several at once, and keeps what the rails say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence

import msgspec

from tidegate.ops.evals.rows import Row
from tidegate.types import Action, Verdict


class Said(msgspec.Struct, gc=False):
    """What one rail says of one text. `score` is 1 if it objects without saying how sure it is.

    `scores` are those of its categories, or else of the kinds of its spans. `error` is the reason if the rail failed.
    """

    score: float = 0.0
    action: Action = Action.PASS
    category: str = ""
    scores: Mapping[str, float] = {}
    error: str = ""
    took_s: float = 0.0

    def hear(self, verdict: Verdict, action: Action) -> None:
        """Take one more verdict on the text. The highest score of each category counts, and the most severe action."""
        if verdict.error:
            self.error = self.error or verdict.error
            return
        score = verdict.score if verdict.passed else verdict.score or 1.0
        told = verdict.scores or [(span.kind, span.score) for span in verdict.spans]
        scores = dict(self.scores)
        for name, one in told:
            scores[name] = max(scores.get(name, 0.0), one)
        self.scores = scores
        if action > self.action or (action is self.action and score > self.score):
            self.category = verdict.category
        self.score, self.action = max(score, self.score), max(action, self.action)

    def score_of(self, categories: Collection[str]) -> float:
        """Return the highest score of some categories, or without any, of the text."""
        if not categories:
            return self.score
        found = [score for name, score in self.scores.items() if name in categories]
        if not found and self.category in categories:
            return self.score
        return max(found, default=0.0)


class Checked(msgspec.Struct, frozen=True):
    """One text with what each rail says of it, and how long all of them took together."""

    row: Row
    rails: Mapping[str, Said]
    took_s: float

    @property
    def action(self) -> Action:
        """The most severe action of a rail that has not failed."""
        return max((said.action for said in self.rails.values()), default=Action.PASS)

    @property
    def failed(self) -> bool:
        """Whether a rail has failed, so that nobody knows what it would have said."""
        return any(said.error for said in self.rails.values())

    def score(self, categories: Collection[str] = ()) -> float:
        """Return the highest score that any rail gives."""
        return max((said.score_of(categories) for said in self.rails.values()), default=0.0)


Check = Callable[[Row], Awaitable[Checked]]
"""A function that puts one text through rails."""
Progress = Callable[[int], None]
"""A function that is told how many texts are done."""


async def check_all(
    rows: Sequence[Row], check: Check, *, jobs: int, progress: Progress
) -> tuple[list[Checked], bool]:
    """Put texts through rails, `jobs` at once. Return what they say, and whether all were checked.

    A cancelled run, as by Ctrl-C, returns what it has.
    """
    done: list[Checked] = []
    left = iter(rows)
    try:
        if jobs == 1:
            await _work(left, check, done, progress)
        else:
            async with asyncio.TaskGroup() as group:
                for _ in range(jobs):
                    group.create_task(_work(left, check, done, progress))
    except asyncio.CancelledError:
        return done, False
    return done, True


async def _work(left: Iterator[Row], check: Check, done: list[Checked], progress: Progress) -> None:
    for row in left:
        done.append(await check(row))
        progress(len(done))
        await asyncio.sleep(0)  # rules never wait, and a cancellation arrives only where something does
