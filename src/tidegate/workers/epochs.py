"""Changes all workers to a new configuration, or none of them, by a two-phase commit. Each attempt has an epoch number.

`change_all` is the supervisor's side, `Candidates` a worker's. The supervisor (`supervisor.py`) decides when to change, and
what happens to a worker that does not confirm.
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
    """A configuration that the workers are asked to prepare: its text, and an epoch larger than all earlier ones."""

    epoch: int
    text: str


async def change_all(lines: Mapping[int, Line], change: Change, *, decided: Callable[[], None]) -> list[int]:
    """Have every worker prepare the change, and commit it once all have prepared it. Raises ConfigError if none changes.

    `decided` is called when all workers have prepared the change: a worker that starts later has to use the new
    configuration. Returns the numbers of the workers that did not confirm the commit. Their configuration is unknown, so
    they have to be restarted. A worker that dies in the meantime has no vote.
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
    """The snapshot that one worker has prepared, until it is committed or abandoned. There is at most one."""

    def __init__(self, gateway: Gateway, read: Callable[[str], Config]) -> None:
        """Start without a prepared snapshot. `read` parses this worker's configuration and may raise ConfigError."""
        self._gateway = gateway
        self._read = read
        self._over = 0  # every epoch up to this number is committed or abandoned
        self._prepared: tuple[int, Snapshot] | None = None

    async def prepare(self, epoch: int, text: str) -> None:
        """Build a snapshot and check the health of its engines. Earlier epochs are abandoned. Raises ConfigError."""
        await self.abandon(epoch - 1)
        following = await self._gateway.prepare(self._read(text))
        # The supervisor may have abandoned this epoch, and begun another one, during the preparation.
        if epoch <= self._over:
            await following.retire()
            raise ConfigError("reload", [Problem("", "abandoned before it was prepared")])
        self._prepared = (epoch, following)

    async def commit(self, epoch: int) -> None:
        """Put the prepared snapshot in force. Raises LookupError if this epoch is not prepared."""
        if self._prepared is None or self._prepared[0] != epoch:
            raise LookupError(f"epoch {epoch} is not prepared")
        (_, following), self._prepared = self._prepared, None
        self._over = epoch
        self._gateway.put_in_force(following)

    async def abandon(self, epoch: int) -> None:
        """Abandon this epoch and all earlier ones."""
        self._over = max(self._over, epoch)
        if self._prepared is not None and self._prepared[0] <= epoch:
            (_, following), self._prepared = self._prepared, None
            await following.retire()
