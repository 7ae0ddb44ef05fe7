"""A page with the curves of the prompts: what each set's attacks and harmful requests are told apart at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from benchmarks.detectors.plans import Subject

from tidegate.ops.evals.checking import Checked
from tidegate.ops.evals.evaluation import Run, plan_result
from tidegate.ops.evals.figures import Asked
from tidegate.ops.evals.page import page
from tidegate.ops.evals.result import Result

SHARES = (0.01, 0.05)


def curves(about: Subject, checked: Sequence[Checked], *, sample: int | None, seed: int) -> str:
    """Return the page of texts that have been checked, as `tidegate eval rails --html` writes it."""
    rails = sorted({name for one in checked for name in one.rails})
    run = Run(profile=about.profile, config=str(about.config or ""), rails=rails, checked=checked)
    labels = {
        side: sorted({one.row.label for one in checked if one.row.positive is side}) for side in (True, False)
    }
    return page(
        Result(
            version=version("tidegate"),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            files=sorted({one.row.source for one in checked}),
            surface="input",
            positive=labels[True],
            negative=labels[False],
            categories=[],
            texts=len(checked),
            left_out=0,
            repeated=0,
            contradicted=0,
            sample=sample,
            seed=seed,
            jobs=about.jobs,
            calibrated_on=[],
            plans=[plan_result(run, Asked(SHARES))],
            comparison=None,
        )
    )
