"""The scene of an answer has the system prompt of its request, if a rail needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from virtual import run

from railed.world import chat, railed, says

RAIL = """
from tidegate.types import Hold, RailFacts, Surface, Verdict


class Tells:
    about = RailFacts("tells", "1", frozenset(Surface), hold=Hold("sentence"), reads_system=READS)

    def check(self, views, scene):
        return Verdict(False, scene.system or "nothing", 1.0)
"""
SYSTEM = (
    {"role": "system", "content": "Be kind."},
    {"role": "developer", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]},
    {"role": "user", "content": "Be rude."},
)


def told(folder: Path, surface: str, *, reads: bool, stream: bool) -> str:
    path = folder / "tells.py"
    path.write_text(RAIL.replace("READS", str(reads)))
    rail: dict[str, Any] = {"kind": "python", "file": str(path), "on_fail": "log", "surfaces": [surface]}

    async def work() -> str:
        async with railed([rail]) as world:
            world.engine.says = says("Good day. ", "And good night.")
            await world.ask(chat("hello", *SYSTEM, stream=stream))
            [finding] = world.record.findings
            return finding.category

    return run(work())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_rail_that_reads_the_system_prompt_has_it_for_answers(tmp_path: Path, stream: bool) -> None:
    assert told(tmp_path, "output", reads=True, stream=stream) == "Be kind.\nBe\nbrief."
    assert told(tmp_path, "input", reads=True, stream=stream) == "nothing"


def test_other_rails_do_not_pay_for_it(tmp_path: Path) -> None:
    assert told(tmp_path, "output", reads=False, stream=False) == "nothing"
