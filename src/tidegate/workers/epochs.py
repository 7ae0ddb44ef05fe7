"""How all workers change to one configuration, or none does: two phases, each attempt told from the others by its epoch.

The supervisor's side is `change_all`, a worker's is `Candidates`. When to change is decided elsewhere, and so is what
becomes of a worker that does not follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from tidegate.config import Config
from tidegate.errors import ConfigError, Problem
from tidegate.gateway import Gateway
from tidegate.snapshot import Snapshot
from tidegate.workers.line import Line

PREPARE_WITHIN_S = 60.0
COMMIT_WITHIN_S = 5.0


class Change(msgspec.Struct, frozen=True):
    """What workers are asked to prepare: the text of a configuration, under a number larger than any before."""

    epoch: int
    text: str


async def change_all(lines: Mapping[int, Line], change: Change, *, decided: Callable[[], None]) -> list[int]:
    """Every worker builds and health-checks; only when all have, all swap. Raises ConfigError; then none does.

    `decided` is called once all have agreed: who starts from then on has to start with the new configuration, as have those
    that are returned, since nobody knows with which they serve. A worker that has died meanwhile has no vote.
    """
    agreed = False
    try:
        for number, vote in (await _ask_all(lines, "prepare", change, within_s=PREPARE_WITHIN_S)).items():
            if isinstance(vote, BaseException) and not lines[number].gone:
                raise vote if isinstance(vote, ConfigError) else _no_vote(number, vote)
        agreed = True
    finally:
        if not agreed:
            for line in lines.values():
                line.tell("abandon", change.epoch)
    decided()
    left = {number: line for number, line in lines.items() if not line.gone}
    answers = await _ask_all(left, "commit", change.epoch, within_s=COMMIT_WITHIN_S)
    return [number for number, answer in answers.items() if isinstance(answer, BaseException)]


async def _ask_all(
    lines: Mapping[int, Line], what: str, body: object, *, within_s: float
) -> dict[int, msgspec.Raw | BaseException]:
    asked = (line.ask(what, body, within_s=within_s) for line in lines.values())
    return dict(zip(lines, await asyncio.gather(*asked, return_exceptions=True), strict=True))


def _no_vote(number: int, reason: BaseException) -> ConfigError:
    return ConfigError("reload", [Problem(f"worker {number}", str(reason))])


class Candidates:
    """What one worker has prepared: at most one snapshot, until it is put in force or given up."""

    def __init__(self, gateway: Gateway, read: Callable[[str], Config]) -> None:
        """`read` makes the worker's own configuration of a text, and may raise ConfigError."""
        self._gateway = gateway
        self._read = read
        self._over = 0  # up to this epoch, all are put in force or given up
        self._prepared: tuple[int, Snapshot] | None = None

    async def prepare(self, epoch: int, text: str) -> None:
        """Build a snapshot and check its engines' health; what came before is given up. Raises ConfigError."""
        await self.abandon(epoch - 1)
        following = await self._gateway.prepare(self._read(text))
        # Preparing takes its time: the supervisor may have given up meanwhile, and have begun anew.
        if epoch <= self._over:
            await following.retire()
            raise ConfigError("reload", [Problem("", "was given up before it was prepared")])
        self._prepared = (epoch, following)

    async def commit(self, epoch: int) -> None:
        """Put in force what was prepared. Raises LookupError when that is something else, or nothing."""
        if self._prepared is None or self._prepared[0] != epoch:
            raise LookupError(f"epoch {epoch} is not prepared")
        (_, following), self._prepared = self._prepared, None
        self._over = epoch
        self._gateway.put_in_force(following)

    async def abandon(self, epoch: int) -> None:
        """Give up this epoch and all before it."""
        self._over = max(self._over, epoch)
        if self._prepared is not None and self._prepared[0] <= epoch:
            (_, following), self._prepared = self._prepared, None
            await following.retire()
