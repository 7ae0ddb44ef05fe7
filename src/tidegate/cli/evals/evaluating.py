"""`tidegate eval rails`: what the rails of a profile catch, and what they hit wrongly, on labelled texts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from cyclopts import Group, Parameter, validators

from tidegate.cli import settings, store
from tidegate.cli.evals.printing import print_result
from tidegate.cli.evals.running import only, read_rows, run_plan
from tidegate.cli.rails.choosing import AsJson, Chosen, ConfigPath, OnSurface, Profile, chosen
from tidegate.cli.rails.timing import check_page
from tidegate.ops.evals.evaluation import Run, comparison, plan_result
from tidegate.ops.evals.figures import Asked
from tidegate.ops.evals.page import page
from tidegate.ops.evals.result import AtThreshold, Result
from tidegate.ops.evals.rows import NEGATIVE, Form, Read, Row, sampled
from tidegate.ops.evals.texts import lines

_DATA = Group("Data", sort_key=1)
_FIGURES = Group("Figures", sort_key=2)
_OUT = Group("Output", sort_key=3)
_SHARE = validators.Number(gte=0, lte=1)
_ONE = validators.Number(gte=1)


class Given(NamedTuple):
    """What was given: the files, what they have, and what is asked of it."""

    files: Sequence[Path]
    calibrate: Sequence[Path]
    form: Form
    asked: Asked
    data: Read
    sample: int | None
    seed: int
    jobs: int

    @property
    def texts(self) -> list[Row]:
        """The texts to be checked, in random order."""
        return sampled(self.data.rows, self.sample, self.seed)

    @property
    def calibration(self) -> list[Row]:
        """The texts that thresholds are taken from: those without fault."""
        if not self.calibrate:
            return []
        found = read_rows(self.calibrate, self.form._replace(labelled=False)).rows
        return [row for row in found if not row.positive]


def rails(  # noqa: PLR0913 - an option each
    *files: Path,
    profile: Profile = "",
    against: Annotated[str, Parameter(show_default=False)] = "",
    against_config: Path | None = None,
    rail: Annotated[str, Parameter(show_default=False)] = "",
    surface: OnSurface = "input",
    config: ConfigPath = None,
    jobs: Annotated[int, Parameter(validator=_ONE)] = 1,
    positive: Annotated[str, Parameter(group=_DATA, show_default=False)] = "",
    negative: Annotated[str, Parameter(group=_DATA)] = ",".join(sorted(NEGATIVE)),
    text: Annotated[str, Parameter(group=_DATA)] = "text",
    label: Annotated[str, Parameter(group=_DATA)] = "label",
    source: Annotated[str, Parameter(group=_DATA, show_default=False)] = "",
    sample: Annotated[int | None, Parameter(group=_DATA, validator=_ONE)] = None,
    seed: Annotated[int, Parameter(group=_DATA)] = 0,
    fpr: Annotated[str, Parameter(group=_FIGURES)] = "0.01,0.05",
    threshold: Annotated[float | None, Parameter(group=_FIGURES, validator=_SHARE)] = None,
    calibrate: Annotated[list[Path] | None, Parameter(group=_FIGURES, negative="")] = None,
    category: Annotated[str, Parameter(group=_FIGURES, show_default=False)] = "",
    by: Annotated[str, Parameter(group=_FIGURES, show_default=False)] = "",
    pairs: Annotated[bool, Parameter(group=_FIGURES, negative="")] = False,
    html: Annotated[Path | None, Parameter(group=_OUT)] = None,
    rows: Annotated[Path | None, Parameter(group=_OUT)] = None,
    as_json: Annotated[AsJson, Parameter(group=_OUT)] = False,
) -> None:
    """Measure on labelled texts what rails catch, and what they hit wrongly.

    The files have lines of JSON with `text` and `label`. Each text goes through the rails of the profile as in a gateway,
    except that every rail is asked, also behind a block, and that no budget ends a check. A text's score is the highest one
    that any of the rails gives; a rail that objects without a score counts as 1, and one that passes without a score as 0.
    A rail that fails gives no figure: its texts are counted apart.

    For example:

    `tidegate eval rails attacks.jsonl benign.jsonl --profile strict --rail injection`: one rail

    `tidegate eval rails *.jsonl --profile rules --against strict --html rails.html`: two profiles, and a page with curves

    `tidegate eval rails *.jsonl --calibrate traffic.jsonl --pairs`: at thresholds from other texts, source against source

    Exit status: 0 if every text was checked; 1 if a rail failed, or the run was interrupted; 2 if the command, a file or
    the configuration is wrong.

    Parameters
    ----------
    files
        Files with lines of JSON. The name of a file is the source of its texts.
    profile
        The profile. Default: that of the policy `default`, or else `rules`.
    against
        A second profile, for the same texts.
    against_config
        The configuration of the second profile. Default: that of the first one.
    rail
        The names of rails, divided by commas. Only these are asked. Default: all of the profile.
    surface
        Where the texts stand: `input`, `system`, `retrieval`, `tool` or `output`.
    config
        The configuration. Default: tidegate.yaml if it is here, else the built-in configuration.
    jobs
        How many texts are checked at once. More than one only helps rails that ask models, and makes times longer.
    positive
        Labels of texts that should be flagged, divided by commas. Default: all that are not negative.
    negative
        Labels of texts without fault. Texts with other labels are left out.
    text
        The field with the text.
    label
        The field with the label.
    source
        The field with the source of a text. Default: the name of its file.
    sample
        The most texts of each source that should be flagged, and the most without fault.
    seed
        Seed of the sample and of the order.
    fpr
        Shares of texts without fault that may be flagged, divided by commas: recall is told at each.
    threshold
        A score at which texts count as flagged: recall and false positives are told for it.
    calibrate
        A file with other texts without fault, labelled or not, from which thresholds are taken at each share of --fpr.
        Can be given several times.
    category
        Categories, divided by commas: the score of a text is the highest of these. Default: that of the whole verdict.
    by
        Fields by whose values the figures are split as well, divided by commas, such as `type,lang`.
    pairs
        Compare every source of positives with every source of negatives.
    html
        File for a page with the figures and curves. Default: none is written.
    rows
        File for one line of JSON per text, with its place, its score and what each rail says. It has no text.
    as_json
        Print JSON.

    """
    if not files:
        settings.fail("name at least one file with labelled texts: lines of JSON with `text` and `label`")
    check_page(html)
    check_page(rows, "--rows")
    names = (profile, against) if against else (profile,)
    if against_config is not None and not against:
        settings.fail("--against-config needs --against: name the profile of that configuration")
    paths = (config, against_config or config)
    plans = [
        only(chosen(path, name, surface, forgets=True), listed(rail))
        for name, path in zip(names, paths, strict=False)
    ]
    sides = frozenset(listed(positive)), frozenset(listed(negative))
    form = Form(text, label, True, source, listed(by), *sides)
    given = Given(
        files,
        calibrate or (),
        form,
        _asked(fpr, threshold, category),
        read_rows(files, form),
        sample,
        seed,
        jobs,
    )
    runs = _runs(plans, paths, given)
    result = _result(runs, given, surface, matrix=pairs)
    _keep(result, runs, html, rows)
    if as_json:
        store.print_json(result)
    else:
        print_result(result, html)
    sys.exit(0 if all(run.complete and not any(one.failed for one in run.checked) for run in runs) else 1)


def listed(given: str) -> list[str]:
    """Return the words of an option, which commas divide."""
    return [word for part in given.split(",") if (word := part.strip())]


def shares_of(given: str) -> list[float]:
    """Return the shares of the option --fpr. Ends with status 2 if one is none."""
    try:
        found = sorted({float(one) for one in listed(given)})
    except ValueError:
        settings.fail(f"--fpr: {given} has to be shares divided by commas, such as 0.01,0.05")
    if not found or not all(0 <= one < 1 for one in found):
        settings.fail(f"--fpr: {given} has to be shares from 0 to 1, such as 0.01 for 1 %")
    return found


def _asked(fpr: str, threshold: float | None, category: str) -> Asked:
    thresholds = [] if threshold is None else [AtThreshold(threshold=threshold)]
    return Asked(shares_of(fpr), thresholds, frozenset(listed(category)))


def _runs(plans: Sequence[Chosen], paths: Sequence[Path | None], given: Given) -> list[Run]:
    """Put the texts through each plan. After an interruption, no other plan begins."""
    texts, calibration = given.texts, given.calibration
    runs: list[Run] = []
    for plan, path in zip(plans, paths, strict=False):
        if not runs or runs[-1].complete:
            runs.append(run_plan(plan, texts, calibration, config=path, jobs=given.jobs))
    return runs


def _result(runs: Sequence[Run], given: Given, surface: str, *, matrix: bool) -> Result:
    data = given.data
    return Result(
        version=version("tidegate"),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        files=[str(file) for file in given.files],
        surface=surface,
        positive=sorted({row.label for row in data.rows if row.positive}),
        negative=sorted({row.label for row in data.rows if not row.positive}),
        categories=sorted(given.asked.categories),
        texts=len(given.texts),
        left_out=data.left_out,
        repeated=data.repeated,
        contradicted=data.contradicted,
        sample=given.sample,
        seed=given.seed,
        jobs=given.jobs,
        calibrated_on=[str(file) for file in given.calibrate],
        plans=[plan_result(run, given.asked, by=given.form.by, matrix=matrix) for run in runs],
        comparison=comparison(runs[0], runs[1], given.asked) if len(runs) > 1 else None,
    )


def _keep(result: Result, runs: Sequence[Run], html: Path | None, rows: Path | None) -> None:
    """Write the files. Ends with status 2 if one cannot be written."""
    try:
        if html is not None:
            html.write_text(page(result), encoding="utf-8")
        if rows is not None:
            with rows.open("wb") as file:
                file.writelines(msgspec.json.encode(line) + b"\n" for line in lines(runs, result.categories))
    except OSError as error:
        settings.fail(f"{error.filename}: cannot be written: {error.strerror}")
