"""How long a check of each kind of rail takes: what `usual_ms` of its facts should say.

    .venv/bin/python benchmarks/rails.py [KIND…]

Each kind has the settings of the example on its page, `docs/rails/KIND.md`. The text is a prompt of 300 ASCII characters in
which nothing is found; the time is the least median of several rounds, for the rail alone.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

from tidegate import registry
from tidegate.config import parse_text
from tidegate.kernel.text import Views
from tidegate.rails.plan import compile_plans
from tidegate.types import Caller, Scene, Surface, Where

PAGES = Path(__file__).resolve().parents[1] / "docs" / "rails"
PROMPT = (
    "The harbour of a small town has two piers, and the ferry to the islands leaves from the longer one in the morning. "
    "Please write a short notice for passengers who want to know where to wait, what to do with bicycles, and how the "
    "crossing changes when the wind is strong, in the plain words that people use there."
)[:300]
ROUNDS, CHECKS = 7, 300


def usual_us(kind: str) -> float:
    """Return how many microseconds a check takes."""
    text = (PAGES / f"{kind}.md").read_text("utf-8")
    example = re.search(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert example, f"docs/rails/{kind}.md has no example"
    config = parse_text(example[1], source=kind).rails
    [step, *_] = next(iter(compile_plans(config, list(config.profiles)).values())).steps
    surface = Surface.OUTPUT if Surface.OUTPUT in step.surfaces else next(iter(step.surfaces))
    scene = Scene(Where(0, "content"), surface, Caller(), deadline=0.0)
    medians: list[float] = []
    for _ in range(ROUNDS):
        times: list[float] = []
        for _ in range(CHECKS):
            views = Views(PROMPT)
            began = perf_counter()
            verdict = step.rail.check(views, scene)
            times.append(perf_counter() - began)
            assert verdict.passed, f"{kind} finds something in the prompt"
        medians.append(median(times))
    return min(medians) * 1e6


def main(kinds: list[str]) -> None:
    for kind in kinds or sorted(set(registry.built_in("tidegate.rails")) - {"python"}):
        print(f"{kind:16} {usual_us(kind):8.1f} µs")


if __name__ == "__main__":
    main(sys.argv[1:])
