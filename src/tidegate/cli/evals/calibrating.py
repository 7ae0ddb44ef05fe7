"""`tidegate rails calibrate`: the thresholds at which rails flag few enough texts without fault."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from cyclopts import Parameter, validators
from rich.console import Console

from tidegate.cli import settings, store
from tidegate.cli.evals.evaluating import listed, shares_of
from tidegate.cli.evals.running import only, read_rows, run_plan
from tidegate.cli.evals.thresholded import setting_of
from tidegate.cli.rails.choosing import AsJson, Chosen, ConfigPath, OnSurface, Profile, chosen
from tidegate.config.rails import ProfileConfig
from tidegate.ops.evals.rows import NEGATIVE, Form, sampled
from tidegate.ops.evals.thresholds import Calibration, RailThresholds, Setting, thresholds
from tidegate.ops.evals.words import percent, share, threshold
from tidegate.rails.profiles import BUILT_IN

_ONE = validators.Number(gte=1)


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
        _print(
            found,
            targets,
            listed(fpr)[0],
            written({**BUILT_IN, **plan.config.rails.profiles}[plan.plan.name]),
        )
    sys.exit(1 if found.failed or not found.complete else 0)


def _settings(plan: Chosen) -> Mapping[str, Setting | None]:
    """Return the threshold of each rail of a plan, by the name of the rail."""
    configs = {one.name or one.kind: one for one in plan.plan.profile.rails}
    return {step.name: setting_of(configs[step.name], plan.surface.value) for step in plan.steps}


def _print(found: Calibration, targets: list[float], first: str, profile: Mapping[str, Any]) -> None:
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
    for line in lines(found, targets, targets.index(float(first)), profile):
        say.print(line, markup=False)


def _now(one: RailThresholds) -> str:
    if one.setting is None:
        return "" if one.category else "no number"
    if one.setting.now is not None:
        return f"{one.setting.now:g}"
    return "the model decides" if one.category or not one.setting.key else "as shipped"


def lines(found: Calibration, targets: Sequence[float], at: int, profile: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines for the configuration: the whole profile, with the thresholds for one share.

    `profile` has the settings of the profile, as `written` returns them.
    """
    rails: dict[str, list[RailThresholds]] = {}
    for one in found.rails:
        if one.setting is not None:
            rails.setdefault(one.rail, []).append(one)
    if not rails:
        yield "No rail of the profile has a number as its threshold."
        return
    whose = "all of them together flag" if found.together else "each of them flags"
    yield f"# The profile with thresholds for its rails, so that {whose} at most {percent(targets[at])} of such texts."
    yield from (f"# {line}" for name, some in rails.items() for line in _without(name, some, at))
    settled = [
        _settled(settings, rails.get(settings.get("name") or settings["kind"], ()), at)
        for settings in profile["rails"]
    ]
    tree = {"rails": {"profiles": {found.profile: {**profile, "rails": settled}}}}
    yield yaml.dump(
        tree, Dumper=_Indented, default_flow_style=None, sort_keys=False, allow_unicode=True, width=120
    ).rstrip()


def written(profile: ProfileConfig) -> Mapping[str, Any]:
    """Return what somebody has written to have this profile: the settings that are set, in the form of YAML."""
    rails = [{"kind": one.kind, **one.model_dump(mode="json", exclude_unset=True)} for one in profile.rails]
    return {**profile.model_dump(mode="json", exclude_unset=True, exclude={"rails"}), "rails": rails}


def _settled(settings: Mapping[str, Any], some: Sequence[RailThresholds], at: int) -> Mapping[str, Any]:
    """Return the settings of a rail with its threshold, or with the entries of its map of thresholds."""
    found = dict(settings)
    for one in some:
        setting, limit = one.setting, one.at[at].threshold
        if setting is None or limit is None:
            continue
        number = float(f"{limit:.6g}")
        found[setting.name] = (
            {**(found.get(setting.name) or {}), setting.key: number} if setting.key else number
        )
    return found


def _without(name: str, some: Sequence[RailThresholds], at: int) -> Iterator[str]:
    """Yield what is said of a rail, or of an entry of its map, for which there is no threshold."""
    for one in some:
        if one.setting is not None and one.at[at].threshold is None:
            whose = f"'{one.setting.key}' of {name}" if one.setting.key else name
            yield f"No threshold for {whose}: too many of the texts have the highest score."


class _Indented(yaml.SafeDumper):
    """Writes lists indented, as the pages of this project do."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - PyYAML's
        super().increase_indent(flow, indentless=False)
