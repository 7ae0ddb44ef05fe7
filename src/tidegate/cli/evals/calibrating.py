"""`tidegate rails calibrate`: the thresholds at which rails flag few enough texts without fault."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators
from rich.console import Console

from tidegate.cli import settings, store
from tidegate.cli.evals.evaluating import listed, shares_of
from tidegate.cli.evals.running import only, read_rows, run_plan
from tidegate.cli.evals.thresholded import setting_of
from tidegate.cli.rails.choosing import AsJson, Chosen, ConfigPath, OnSurface, Profile, chosen
from tidegate.ops.evals.rows import NEGATIVE, Form, sampled
from tidegate.ops.evals.thresholds import Calibration, RailThresholds, Setting, thresholds
from tidegate.ops.evals.words import percent, share, threshold

_ONE = validators.Number(gte=1)
_BY_KIND = 8
"""The indentation of a rail in YAML."""


def calibrate(  # noqa: PLR0913 - an option each
    *files: Path,
    profile: Profile = "",
    rail: Annotated[str, Parameter(show_default=False)] = "",
    surface: OnSurface = "input",
    fpr: str = "0.001,0.01",
    together: Annotated[bool, Parameter(negative="")] = False,
    text: str = "text",
    label: str = "label",
    sample: Annotated[int | None, Parameter(validator=_ONE)] = None,
    seed: int = 0,
    jobs: Annotated[int, Parameter(validator=_ONE)] = 1,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """Find the thresholds at which rails flag few enough of your own texts without fault.

    The files have one text a line, or lines of JSON with `text`. Texts with a label that is not one of benign, clean, safe,
    0 and false are left out. A rail that gives no score to what it passes gets no lower threshold than it has. Real traffic
    has some attacks: look at what is flagged before you trust a threshold, with --rows of `tidegate eval rails`.

    For example:

    `tidegate rails calibrate traffic.txt --fpr 0.001`: at most one text in a thousand for each rail

    `tidegate rails calibrate traffic.jsonl --fpr 0.002 --together`: at most two in a thousand for all rails

    Exit status: 0 if every text was checked; 1 if a rail failed, or the run was interrupted; 2 if the command, a file or
    the configuration is wrong.

    Parameters
    ----------
    files
        Files with texts without fault.
    profile
        The profile. Default: that of the policy `default`, or else `rules`.
    rail
        The names of rails, divided by commas. Only these are asked. Default: all of the profile.
    surface
        Where the texts stand: `input`, `system`, `retrieval`, `tool` or `output`.
    fpr
        Shares of the texts that may be flagged, divided by commas. The lines for the configuration have the first one.
    together
        The shares hold for all rails with a threshold together, not for each of them.
    text
        The field with the text.
    label
        The field with the label.
    sample
        The most texts of each file.
    seed
        Seed of the sample and of the order.
    jobs
        How many texts are checked at once. More than one only helps rails that ask models.
    config
        The configuration. Default: tidegate.yaml if it is here, else the built-in configuration.
    as_json
        Print JSON.

    """
    if not files:
        settings.fail(
            "name at least one file with texts without fault: one a line, or lines of JSON with `text`"
        )
    targets = shares_of(fpr)
    plan = only(chosen(config, profile, surface, forgets=True), listed(rail))
    form = Form(text, label, False, negative=NEGATIVE)
    rows = [row for row in read_rows(files, form).rows if not row.positive]
    run = run_plan(plan, sampled(rows, sample, seed), [], config=config, jobs=jobs)
    found = Calibration(
        profile=plan.plan.name,
        surface=surface,
        files=[str(file) for file in files],
        texts=len(run.checked),
        failed=sum(one.failed for one in run.checked),
        complete=run.complete,
        together=together,
        rails=thresholds(run.checked, _settings(plan), targets, together=together),
    )
    if as_json:
        store.print_json(found)
    else:
        _print(found, targets, listed(fpr)[0])
    sys.exit(1 if found.failed or not found.complete else 0)


def _settings(plan: Chosen) -> Mapping[str, Setting | None]:
    """Return the threshold of each rail of a plan, by the name of the rail."""
    configs = {one.name or one.kind: one for one in plan.plan.profile.rails}
    return {step.name: setting_of(configs[step.name], plan.surface.value) for step in plan.steps}


def _print(found: Calibration, targets: list[float], first: str) -> None:
    heads = [
        part for one in targets for part in (f"threshold at {percent(one)}", f"flagged at {percent(one)}")
    ]
    rows = [
        (
            f"{one.rail}: {one.category}" if one.category else one.rail,
            _now(one),
            share(one.objects) if one.objects is not None else "",
            *(cell for at in one.at for cell in (threshold(at.threshold), share(at.flagged))),
        )
        for one in found.rails
    ]
    say = Console(highlight=False, soft_wrap=True)
    say.print(
        f"Profile '{found.profile}', surface '{found.surface}': {found.texts:,} texts without fault.",
        markup=False,
    )
    store.print_table(("rail", "now", "objects now", *heads), rows)
    if found.failed or not found.complete:
        told = f"{found.failed:,} texts on which a rail failed are in no figure." if found.failed else ""
        say.print(
            f"{told}{'' if found.complete else ' Interrupted: not all texts were checked.'}".strip(),
            markup=False,
        )
    for line in lines(found, targets, targets.index(float(first))):
        say.print(line, markup=False)


def _now(one: RailThresholds) -> str:
    if one.setting is None:
        return "" if one.category else "no number"
    if one.setting.now is not None:
        return f"{one.setting.now:g}"
    return "the model decides" if one.category or not one.setting.key else "as shipped"


def lines(found: Calibration, targets: Sequence[float], at: int) -> Iterator[str]:
    """Yield lines for the configuration: the thresholds of the rails that have one, for one share."""
    rails: dict[str, list[RailThresholds]] = {}
    for one in found.rails:
        if one.setting is not None:
            rails.setdefault(one.rail, []).append(one)
    if not rails:
        yield "No rail of the profile has a number as its threshold."
        return
    whose = "all of them together flag" if found.together else "each of them flags"
    yield f"# For the rails of the profile, so that {whose} at most {percent(targets[at])} of such texts:"
    yield f"rails:\n  profiles:\n    {found.profile}:\n      rails:"
    for name, some in rails.items():
        yield from (f"{' ' * _BY_KIND}{line}" for line in _rail_lines(name, some, at))


def _rail_lines(name: str, some: Sequence[RailThresholds], at: int) -> Iterator[str]:
    """Yield the lines of one rail: its kind, its name, and its threshold or the map of them."""
    known = [(one.setting, one.at[at].threshold) for one in some if one.setting is not None]
    first = known[0][0]
    yield f"- kind: {first.kind}"
    if name != first.kind:
        yield f"  name: {name}"
    numbers = [(setting.key, limit) for setting, limit in known if limit is not None]
    if numbers and numbers[0][0]:
        yield f"  {first.name}:"
        yield from (f"    {key}: {limit:.6g}" for key, limit in numbers)
    else:
        yield from (f"  {first.name}: {limit:.6g}" for _, limit in numbers)
    for setting, limit in known:
        if limit is None:
            whose = f" for {setting.key}" if setting.key else ""
            yield f"  # no threshold{whose}: too many of the texts have the highest score"
