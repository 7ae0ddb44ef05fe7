"""Plans: the rails of a profile, made once for a configuration, in the order in which they run.

Rails that change texts run first, in the order of the profile, and the others see the changed texts. Then the rails run
tier by tier, the cheaper ones first.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NoReturn

import msgspec

from tidegate import registry
from tidegate.config.rails import NO_RAILS, PassagesConfig, ProfileConfig, RailConfig, RailsConfig
from tidegate.errors import ConfigError, Problem
from tidegate.ports import Check, Rule, Scanning
from tidegate.rails.asked.asking import AskingConfig
from tidegate.rails.foreign import attempted
from tidegate.rails.profiles import BUILT_IN
from tidegate.rails.signs import Look
from tidegate.rails.step import ENDLESS_S, Step
from tidegate.rails.streams.lane import SpanRail
from tidegate.rails.streams.passages import TOKEN_CHARS, Cut
from tidegate.rails.streams.watching import Failed, scanner_of
from tidegate.rails.streams.window import WindowRules
from tidegate.types import Action, RailFacts, Surface

log = logging.getLogger(__name__)
CLOSED, OPEN = "closed", "open"
BUDGET_CHARS = 65_536
"""The budget is for texts of so many characters. Longer ones have more time, in proportion."""
_ON_FAIL = {Action.BLOCK: "block", Action.REDACT: "redact", Action.LOG: "log"}
_WHOLE = frozenset({Action.FIX, Action.REGENERATE, Action.REVIEW})


class Plan(msgspec.Struct, frozen=True, eq=False):
    """The rails of a profile, in the order in which they run on requests and on answers.

    The rules are those of tier 0, the checks those of the tiers above. `budget_s` limits tiers 0 and 1,
    `judge_budget_s` tier 2. `input_look` and `output_look` are one look at a text for several rules. `checks_requests`
    says that a rail checks a request as a whole, `reads_system` that one needs the system texts, `sees_images` that one has
    to see messages without text, and `reads_context` that one needs the documents of the request. `streams` has the
    rules for streams if all rails that scan them are trusted: they are made once for all streams. `markers` are the rails
    that mark texts for the engine, in the order of the profile.
    """

    name: str
    profile: ProfileConfig
    input_rules: tuple[Step, ...]
    input_checks: tuple[Step, ...]
    output_rules: tuple[Step, ...]
    output_checks: tuple[Step, ...]
    budget_s: float
    judge_budget_s: float
    input_look: Look | None = None
    output_look: Look | None = None
    checks_requests: bool = False
    reads_system: bool = False
    sees_images: bool = False
    reads_context: bool = False
    streams: WindowRules | None = None
    markers: tuple[Step, ...] = ()

    def budget_for(self, chars: int) -> float:
        """Return the seconds for rules and small models that check so many characters."""
        return self.budget_s * max(1.0, chars / BUDGET_CHARS)

    @property
    def races(self) -> bool:
        """Whether the engine starts while the slow input rails still run."""
        return self.profile.race

    @property
    def asks(self) -> Mapping[str, str]:
        """The models that rails ask, by the name of the rail."""
        asking = [one for one in self.profile.rails if isinstance(one, AskingConfig)]
        return {one.name or one.kind: one.model for one in asking}

    @property
    def steps(self) -> tuple[Step, ...]:
        """All rails that judge texts."""
        return self.input_rules + self.input_checks + self.output_rules + self.output_checks


def made_by_kind(config: RailConfig) -> Rule | Check:
    """Make a rail of the class that the registry has for its kind. Raises ValueError if it cannot be made."""
    kind = config.kind
    rail: Any = attempted(
        lambda: registry.find("tidegate.rails", kind)(config), partial(_cannot_be_made, kind)
    )
    return sound_rail(kind, rail)


def sound_rail(name: str, rail: Any) -> Rule | Check:
    """Return an object that is a rail. Raises ValueError for one that is none; `name` is what the message calls it."""
    about: object = getattr(rail, "about", None)
    if not isinstance(about, RailFacts):
        raise ValueError(f"'{name}' does not say what it checks: its `about` has to be a RailFacts")  # noqa: TRY004
    if inspect.iscoroutinefunction(rail.check) != (about.tier > 0):
        fix = "needs `async def check`" if about.tier else "is a rule, which needs a plain `def check`"
        raise ValueError(f"'{name}' has the tier {about.tier} and {fix}")
    return rail


Make = Callable[[RailConfig], Rule | Check]
"""A function that makes a rail of its settings. Raises ValueError if that cannot be done."""


def compile_plans(config: RailsConfig, named: Sequence[str], make: Make = made_by_kind) -> Mapping[str, Plan]:
    """Return the plans of the profiles with these names, those without rails left out. `make` makes their rails.

    Raises ConfigError with every mistake: a profile that does not exist, a rail that cannot be made, and settings that do
    not go together.
    """
    problems: list[Problem] = []
    plans: dict[str, Plan] = {}
    profiles = {**BUILT_IN, **config.profiles}
    for name in sorted({*named, *config.profiles}):
        if name != NO_RAILS and name in profiles:
            plan = _plan(name, profiles[name], config, problems, make)
            if plan.steps or plan.profile.stop or plan.markers:
                plans[name] = plan
    if problems:
        raise ConfigError("cannot start", problems)
    return MappingProxyType(plans)


def _plan(
    name: str, profile: ProfileConfig, config: RailsConfig, problems: list[Problem], make: Make
) -> Plan:
    made: dict[str, tuple[RailConfig, Rule | Check]] = {}
    paths = [f"rails.profiles.{name}.rails[{at}]" for at in range(len(profile.rails))]
    for path, rail in zip(paths, profile.rails, strict=True):
        try:
            made[rail.name or rail.kind] = rail, make(rail)
        except ValueError as error:
            problems.append(Problem(path, str(error)))
    steps: dict[str, Step] = {}
    for path, rail in zip(paths, profile.rails, strict=True):
        label = rail.name or rail.kind
        if label in made:
            problems += _mistakes(path, rail, made)
            if label not in steps:
                steps[label] = _step(label, made, steps)
            problems += _rewriting_mistakes(path, steps[label], steps.values(), races=profile.race)
    asks_again = any(one.on_fail is Action.REGENERATE for one in steps.values())
    if profile.after_rounds == "review" and steps and not asks_again:
        told = "no answer is made again: give a rail `on_fail: regenerate`, or leave it out"
        problems.append(Problem(f"rails.profiles.{name}.after_rounds", told))
    markers = tuple(one for one in steps.values() if one.about.marks)
    judges = [one for one in steps.values() if not one.about.marks]
    ordered = [one for one in judges if one.rewrites]
    ordered += sorted((one for one in judges if not one.rewrites), key=lambda one: one.about.tier)
    on_input = [one for one in ordered if one.surfaces - {Surface.OUTPUT}]
    on_output = [one for one in ordered if Surface.OUTPUT in one.surfaces]
    return Plan(
        name,
        profile,
        *_by_tier(on_input),
        *_by_tier(on_output),
        config.budget_ms / 1000,
        config.judge_budget_ms / 1000,
        Look.of(on_input),
        Look.of(on_output),
        any(one.about.once for one in on_input),
        any(one.about.reads_system for one in steps.values()),
        any(one.about.sees_images for one in on_input),
        any(one.about.reads_context for one in steps.values()),
        stream_rules(on_output, profile) if all(one.trusted for one in on_output if one.scans) else None,
        markers,
    )


def stream_rules(steps: Sequence[Step], profile: ProfileConfig, failed: Failed | None = None) -> WindowRules:
    """Return what holds for streams under the rails that check answers. `failed` is told of scanners that fail."""
    if any(one.whole for one in steps):
        return WindowRules(judged="whole", stops=profile.stop)
    rails = [
        SpanRail(one.name, _ON_FAIL.get(one.on_fail, "block"), scanner_of(one, failed))
        for one in steps
        if one.scans
    ]
    passages = "early" if profile.stream_first else "passages"
    judged = passages if any(not one.scans for one in steps) else ""
    return WindowRules.of(rails, judged=judged, cut=cut_of(profile.passages), stops=profile.stop)


def cut_of(config: PassagesConfig) -> Cut:
    """Return how the streams of a profile are cut into passages."""
    return Cut(
        config.window_tokens * TOKEN_CHARS, config.context_tokens * TOKEN_CHARS, config.by == "sentence"
    )


def _cannot_be_made(kind: str, error: BaseException) -> NoReturn:
    if isinstance(error, ValueError):
        raise error
    # The message of a rail of another package may hold secrets, so only the log gets it.
    log.error("the rail '%s' cannot be made", kind, exc_info=error)
    raise ValueError(f"'{kind}' cannot be made: {type(error).__name__}; the log says more") from error


def _by_tier(steps: Sequence[Step]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """The rules, and the rails of the tiers above."""
    return tuple(one for one in steps if one.about.tier == 0), tuple(
        one for one in steps if one.about.tier > 0
    )


def _step(
    label: str, made: Mapping[str, tuple[RailConfig, Rule | Check]], steps: Mapping[str, Step], depth: int = 0
) -> Step:
    config, rail = made[label]
    about = rail.about
    fallback = None
    if config.on_error not in (CLOSED, OPEN) and config.on_error in made and depth < len(made):
        fallback = steps.get(config.on_error) or _step(config.on_error, made, steps, depth + 1)
    return Step(
        label,
        rail,
        about,
        _surfaces(config, about),
        Action[config.on_fail.upper()],
        config.on_error != OPEN if fallback is None else fallback.closed,
        fallback,
        ENDLESS_S if config.timeout_ms is None else config.timeout_ms / 1000,
        config.hold == "whole" or about.hold.kind == "whole",
        config.kind in registry.built_in("tidegate.rails") and config.kind != "python",
    )


def _surfaces(config: RailConfig, about: RailFacts) -> frozenset[Surface]:
    if config.surfaces is None:
        return about.usual or about.surfaces
    return frozenset(Surface(one) for one in config.surfaces)


def _mistakes(
    path: str, config: RailConfig, made: Mapping[str, tuple[RailConfig, Rule | Check]]
) -> Iterator[Problem]:
    """The settings of a rail that do not go together."""
    label = config.name or config.kind
    rail: Any = made[label][1]
    about: RailFacts = rail.about
    surfaces, on_fail = _surfaces(config, about), Action[config.on_fail.upper()]
    for one in sorted(surfaces - about.surfaces, key=lambda one: one.value):
        known = ", ".join(sorted(each.value for each in about.surfaces))
        yield Problem(f"{path}.surfaces", f"'{config.kind}' cannot check '{one.value}'; it can: {known}")
    if on_fail is Action.REDACT and not about.finds_spans:
        yield Problem(
            f"{path}.on_fail", f"'{config.kind}' does not say where in a text: use 'block' or 'log'"
        )
    if on_fail is Action.FIX and not about.corrects:
        yield Problem(f"{path}.on_fail", f"'{config.kind}' has no corrected text: use 'block' or 'log'")
    if on_fail is Action.REGENERATE and surfaces - {Surface.OUTPUT}:
        yield Problem(f"{path}.on_fail", "'regenerate' is for answers: set `surfaces: [output]`")
    if on_fail is Action.REVIEW and about.once:
        yield Problem(
            f"{path}.on_fail",
            f"'{config.kind}' checks a request as a whole, so there is no text to decide about: use 'block' or 'log'",
        )
    is_whole = config.hold == "whole" or about.hold.kind == "whole"
    if on_fail in _WHOLE and Surface.OUTPUT in surfaces and not is_whole:
        yield Problem(f"{path}.hold", f"'{config.on_fail}' needs the whole answer: set `hold: whole`")
    if about.tier == 0 and config.timeout_ms is not None:
        yield Problem(
            f"{path}.timeout_ms", f"'{config.kind}' is a rule, which takes microseconds: leave it out"
        )
    if (
        not is_whole
        and Surface.OUTPUT in surfaces
        and about.hold.kind == "span"
        and not isinstance(rail, Scanning)
    ):
        yield Problem(f"{path}.kind", f"'{config.kind}' declares `hold: span` and has no scanner")
    if config.on_error not in (CLOSED, OPEN):
        yield from _fallback_mistakes(path, config, surfaces, made)


def _rewriting_mistakes(path: str, step: Step, before: Iterable[Step], *, races: bool) -> Iterator[Problem]:
    """Rails that change texts where others could not see what they made. `before` has those that stand before it."""
    on_fail = step.on_fail.word
    if step.on_fail is Action.REVIEW and races and step.about.tier > 0 and step.surfaces - {Surface.OUTPUT}:
        yield Problem(
            f"{path}.on_fail",
            "'review' lets a person decide about the request, which the engine has already with `race: true`: set"
            " `race: false`, or `surfaces: [output]`",
        )
    if not step.rewrites:
        return
    if races and step.about.tier > 0 and step.surfaces - {Surface.OUTPUT}:
        yield Problem(
            f"{path}.on_fail",
            f"'{on_fail}' changes the request, which the engine has already with `race: true`: set `race: false`, or"
            " `surfaces: [output]`",
        )
    slow = [one for one in before if one.rewrites and one.about.tier > 0 and one.surfaces & step.surfaces]
    if step.about.tier == 0 and slow:
        yield Problem(
            path,
            f"'{step.name}' is a rule, so it changes texts before the slower '{slow[0].name}': list it first",
        )


def _scans(config: RailConfig, rail: Rule | Check) -> bool:
    whole = config.hold == "whole" or rail.about.hold.kind == "whole"
    return rail.about.tier == 0 and not whole and isinstance(rail, Scanning)


def _fallback_mistakes(
    path: str,
    config: RailConfig,
    surfaces: frozenset[Surface],
    made: Mapping[str, tuple[RailConfig, Rule | Check]],
) -> Iterator[Problem]:
    seen = [config.name or config.kind]
    follows: RailConfig = config
    while follows.on_error not in (CLOSED, OPEN):
        if follows.on_error not in made:
            yield Problem(
                f"{path}.on_error",
                f"there is no rail '{follows.on_error}' in the profile: name one, or use closed or open",
            )
            return
        if follows.on_error in seen:
            yield Problem(
                f"{path}.on_error",
                f"the rails {' → '.join([*seen, follows.on_error])} stand in for each other",
            )
            return
        seen.append(follows.on_error)
        stands_for, (follows, rail) = made[seen[-2]][1], made[seen[-1]]
        if rail.about.marks:
            yield Problem(f"{path}.on_error", f"'{seen[-1]}' decides about no text: name another rail")
            return
        if stands_for.about.tier == 0 and rail.about.tier > 0:
            yield Problem(
                f"{path}.on_error", f"'{seen[-2]}' is a rule, so '{seen[-1]}' has to be one as well"
            )
            return
        if Surface.OUTPUT in surfaces and _scans(config, stands_for) and not _scans(follows, rail):
            yield Problem(
                f"{path}.on_error",
                f"'{seen[-1]}' cannot check a stream as it arrives: name another one, or set `hold: whole`",
            )
            return
        if missing := sorted(one.value for one in surfaces - rail.about.surfaces):
            yield Problem(f"{path}.on_error", f"'{follows.kind}' cannot check '{missing[0]}'")
            return
