"""The profile that is measured: its rails by what they find, as it is, and with its detectors set to block."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tidegate.cli import settings
from tidegate.cli.evals.running import run_plan
from tidegate.cli.rails.choosing import Chosen
from tidegate.config.rails import ProfileConfig, RailConfig
from tidegate.ops.evals.checking import Checked
from tidegate.ops.evals.rows import Row
from tidegate.ops.evals.statistics import Estimate, wilson
from tidegate.rails.plan import compile_plans
from tidegate.rails.profiles import BUILT_IN
from tidegate.types import Action, Surface

ROLES: Final = ("injection", "harm", "toxicity")
TOGETHER: Final = "together"
PROFILE: Final = "whole profile"


class NoPlan(Exception):
    """There is no such profile, or no rail of it checks a surface. The message says what to do."""


class Subject(NamedTuple):
    """What is measured. `roles` has the names of the rails that find injections, harm and toxicity."""

    profile: str
    config: Path | None
    roles: Mapping[str, frozenset[str]]
    jobs: int = 1

    @property
    def detectors(self) -> frozenset[str]:
        """The names of the rails that have a role."""
        return frozenset().union(*self.roles.values())


def subject(profile: str, config: Path | None, named: Mapping[str, Sequence[str]], jobs: int) -> Subject:
    """Return what is to be measured. Raises NoPlan.

    The rails of a role are those that are named, else the detectors of the profile, else its rules of that kind.
    """
    rails = {one.name or one.kind: one.kind for one in _profile(profile, config).rails}
    unknown = sorted({name for names in named.values() for name in names} - rails.keys())
    if unknown:
        raise NoPlan(f"the profile '{profile}' has no rail '{unknown[0]}'; it has: {', '.join(rails)}")
    roles = {role: frozenset(named.get(role) or ()) or _by_kind(role, rails) for role in ROLES}
    return Subject(profile, config, roles, jobs)


def _by_kind(role: str, rails: Mapping[str, str]) -> frozenset[str]:
    for kind in (f"{role}_detector", role):
        if found := frozenset(name for name, one in rails.items() if one == kind):
            return found
    return frozenset()


def plan(
    about: Subject,
    surface: str,
    *,
    blocking: bool = False,
    only: Collection[str] = (),
) -> Chosen | None:
    """Return the plan of the profile for a surface. None if no rail of it checks that surface.

    With `blocking`, the detectors block, at the thresholds that they then have. `only` names the rails that stay.
    """
    loaded, _ = settings.load(about.config)
    change = {"on_fail": "block"} if blocking else {}
    profile = changed(_profile(about.profile, about.config), about.detectors, change, only)
    rails = loaded.rails.model_copy(update={"profiles": {**loaded.rails.profiles, about.profile: profile}})
    found = compile_plans(rails, [about.profile]).get(about.profile)
    if found is None:
        return None
    at = Surface(surface)
    sides = (
        (found.output_rules, found.output_checks)
        if at is Surface.OUTPUT
        else (found.input_rules, found.input_checks)
    )
    rules, checks = ([step for step in side if at in step.surfaces] for side in sides)
    config = loaded.model_copy(update={"rails": rails})
    return Chosen(config, found, at, rules, checks) if rules or checks else None


def changed(
    profile: ProfileConfig, detectors: Collection[str], change: Mapping[str, Any], only: Collection[str]
) -> ProfileConfig:
    """Return a profile whose detectors have other settings, and which has only some rails if any are named.

    A rail that remembers verdicts forgets them, so that each check takes the time of the first.
    """
    rails = [
        _with(one, change if (one.name or one.kind) in detectors else {})
        for one in profile.rails
        if not only or (one.name or one.kind) in only
    ]
    return profile.model_copy(update={"rails": tuple(rails)})


def _with(rail: RailConfig, change: Mapping[str, Any]) -> RailConfig:
    known = type(rail).model_fields
    wanted = {name: value for name, value in {**change, "cache_s": 0.0}.items() if name in known}
    if wanted.keys() <= rail.model_fields_set and all(
        getattr(rail, name) == value for name, value in wanted.items()
    ):
        return rail
    return type(rail).model_validate({**rail.model_dump(exclude_unset=True), "kind": rail.kind, **wanted})


def _profile(name: str, config: Path | None) -> ProfileConfig:
    loaded, path = settings.load(config)
    known = {**BUILT_IN, **loaded.rails.profiles}
    if name not in known:
        raise NoPlan(
            f"{path or 'the built-in configuration'} has no profile '{name}'; there are: {', '.join(sorted(known))}"
        )
    return known[name]


def checked(about: Subject, surface: str, rows: Sequence[Row], *, blocking: bool = False) -> list[Checked]:
    """Put texts through the profile. Texts on which a rail fails are told and left out; without a plan there are none."""
    found = plan(about, surface, blocking=blocking)
    if found is None or not rows:
        return []
    run = run_plan(found, rows, [], config=about.config, jobs=about.jobs)
    failed = [one for one in run.checked if one.failed]
    if failed:
        errors = {said.error for one in failed for said in one.rails.values() if said.error}
        print(f"{len(failed):,} texts left out, since a rail failed: {'; '.join(sorted(errors))}", flush=True)
    return [one for one in run.checked if not one.failed]


def objects(one: Checked, rails: Collection[str], least: Action = Action.LOG) -> bool:
    """Whether a rail of some objects to a text, by an action that is at least as severe."""
    return any(said.action >= least for name, said in one.rails.items() if name in rails)


def shares(
    texts: Sequence[Checked], about: Subject, least: Action = Action.LOG
) -> dict[str, Estimate | None]:
    """Return the shares of texts to which each role objects, all of them together, and the whole profile.

    A role without a rail on the surface of the texts has none.
    """
    here = frozenset(texts[0].rails) if texts else frozenset[str]()
    sides = {**about.roles, TOGETHER: about.detectors, PROFILE: here}
    return {
        name: wilson(sum(objects(one, rails, least) for one in texts), len(texts)) if rails & here else None
        for name, rails in sides.items()
    }


def value(found: Estimate | None) -> float | None:
    """Return the figure without its interval."""
    return None if found is None else found.value
