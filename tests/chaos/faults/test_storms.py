"""Short runs of real processes under faults. No time is judged here: a busy machine may be as slow as it likes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chaos.faults import checkers
from chaos.faults.history import History, read_history
from chaos.faults.nemesis import HARMS
from chaos.faults.promises import of_outage, of_rules
from chaos.faults.scenarios import FAILS, broken_answers, during_outage, mid_stream, outage, requests, storm
from chaos.faults.world import SEATS

SEED = "1"
pytestmark = pytest.mark.timeout(180)


def broken(name: str, history: History, path: Path) -> list[str]:
    """The promises that the history breaks, read from its file."""
    history.write(path / "history.jsonl")
    found = of_rules(name, read_history(path / "history.jsonl"), seats=SEATS)
    return [str(one) for one in found if not one.kept]


def test_a_nemesis_finds_no_lie(tmp_path: Path) -> None:
    rounds = len(HARMS)
    history = asyncio.run(storm(tmp_path, seed=SEED, clients=8, harm_s=(0.2, 0.6), rounds=rounds))
    assert broken("storm", history, tmp_path) == []
    assert {act.what for act in history.acts} == set(HARMS)
    assert checkers.ends(history)["done"] > len(history.ops) / 4, checkers.ends(history)


def test_answers_that_break_off_are_whole_or_say_so(tmp_path: Path) -> None:
    history = asyncio.run(
        broken_answers(
            tmp_path, seed=SEED, clients=32, share=0.6, enough=lambda found: mid_stream(found) >= 100
        )
    )
    assert broken("broken answers", history, tmp_path) == []
    met = checkers.faults(history)
    assert len(met) >= 9, met
    after_text = [op for op in history.ops if op.end == "error" and op.text]
    assert len(after_text) >= 20, checkers.ends(history)


@pytest.mark.parametrize("how", ["500", "RST"])
def test_an_engine_that_fails_is_hardly_asked(tmp_path: Path, how: str) -> None:
    """Of 600 requests, those that wait for an open breaker and those that a budget refuses are few."""
    calm, asked = 50, 650
    history = asyncio.run(
        outage(
            tmp_path,
            fault=FAILS[how],
            seed=SEED,
            clients=12,
            calm=requests(calm),
            enough=requests(asked),
        )
    )
    assert broken(how, history, tmp_path) == []
    assert [str(one) for one in of_outage(how, history, times_milliseconds=False) if not one.kept] == []
    during = during_outage(history)
    assert len(during.ops) >= asked - calm
    failing = sum(one.engine == "a" for one in during.passed)
    assert failing < len(during.ops) / 10, f"{failing} of {len(during.ops)} reached the failing engine"
    assert checkers.ends(during)["done"] > 0.9 * len(during.ops), checkers.ends(during)
