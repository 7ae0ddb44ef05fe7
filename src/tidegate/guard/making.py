"""Makes the rails of a guard: of a profile, of settings, of named rails, and of rails of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, get_args

from pydantic import ValidationError

from tidegate import config as configuration
from tidegate.config import Config
from tidegate.config.mistakes import told
from tidegate.config.rails import NO_RAILS, RULES, ProfileConfig, RailConfig, RailsConfig
from tidegate.errors import ConfigError, Problem
from tidegate.guard.lineup import Lineup
from tidegate.guard.named import NamedRail
from tidegate.models.detecting import Detector
from tidegate.ports import Check, Opened, Rule
from tidegate.rails.detectors.detecting import DetectorRail
from tidegate.rails.plan import compile_plans, made_by_kind, sound_rail
from tidegate.rails.profiles import BUILT_IN

SOURCE: Final = "Guard"
_AT: Final = "rails.profiles.guard."
_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {"filter": "block", "refrain": "block", "exception": "block", "noop": "log", "reask": "regenerate"}
)
"""What the words of others for `on_fail` mean here. `fix` is apart: it depends on the rail."""

_ACTIONS: Final = get_args(RailConfig.model_fields["on_fail"].annotation)

Given = NamedRail | Mapping[str, Any] | Rule | Check
"""A rail by a named class, by its settings as in a configuration, or the rail itself."""


class Made(NamedTuple):
    """A rail with its settings. `raises` says that what it stops is told by an exception."""

    config: RailConfig
    rail: Rule | Check
    raises: bool = False


class Crew(NamedTuple):
    """The rails of a guard in the order of their profile, and the settings of that."""

    settings: RailsConfig
    profile: ProfileConfig
    rails: tuple[Made, ...] = ()

    def joined_by(self, given: Iterable[Given]) -> Crew:
        """Return a crew with more rails. Raises ConfigError for those that cannot be made."""
        rails = list(self.rails)
        for at, one in enumerate(given):
            made = _made(one, f"rails[{at}]")
            rails.append(made._replace(config=_named_apart(made.config, rails)))
        return self._replace(rails=tuple(rails))

    def lineup(self) -> Lineup:
        """Return the rails, ready to check. Raises ConfigError for settings that do not go together."""
        # Rules run first in any case, and a plan wants those that change texts in the order in which they run.
        ordered = sorted(self.rails, key=lambda one: one.rail.about.tier > 0)
        profile = self.profile.model_copy(update={"rails": tuple(one.config for one in ordered)})
        made = {_label(one.config): one for one in self.rails}
        settings = self.settings.model_copy(update={"profiles": {"guard": profile}})
        try:
            plans = compile_plans(settings, ["guard"], lambda config: made[_label(config)].rail)
        except ConfigError as error:
            raise _shortened(error.problems) from error
        if "guard" not in plans:
            raise ConfigError(SOURCE, [Problem("rails", "there are none: give a list, or a profile")])
        return Lineup(plans["guard"], frozenset(_label(one.config) for one in self.rails if one.raises))


def crew_of(given: Iterable[Given], profile: str | None = None) -> Crew:
    """Return the rails of a profile that exists without being configured, if one is named, and those that are given."""
    crew = Crew(RailsConfig(), ProfileConfig())
    if profile is not None:
        crew = _of_profile(RailsConfig(), profile, SOURCE)
    return crew.joined_by(given)


def crew_of_file(path: Path, profile: str | None) -> Crew:
    """Return the rails of a profile of a configuration file: by default that of the policy `default`.

    Without that policy it is `rules`, as in a gateway. Raises ConfigError if the policy has `rails: none`.
    """
    loaded = configuration.load(path)
    if profile is None:
        policy = loaded.policies.get("default")
        profile = RULES if policy is None else policy.rails
        if profile == NO_RAILS:
            known = ", ".join(sorted({**BUILT_IN, **loaded.rails.profiles}))
            told = f"is '{NO_RAILS}', so there is nothing to check: name a profile with `profile=`; there are: {known}"
            raise ConfigError(str(path), [Problem("policies.default.rails", told)])
    return _of_profile(loaded.rails, profile, str(path))


def _of_profile(settings: RailsConfig, name: str, source: str) -> Crew:
    known = {**BUILT_IN, **settings.profiles}
    if name not in known:
        problem = f"there is no profile '{name}'; there are: {', '.join(sorted(known))}"
        raise ConfigError(source, [Problem("profile", problem)])
    found, problems = list[Made](), list[Problem]()
    for at, one in enumerate(known[name].rails):
        try:
            found.append(Made(one, _at_hand(_label(one), made_by_kind(one))))
        except ValueError as error:
            problems.append(Problem(f"rails.profiles.{name}.rails[{at}]", str(error)))
    if problems:
        raise ConfigError(source, problems)
    return Crew(settings, known[name], tuple(found))


def _made(given: Given, place: str) -> Made:
    """Make one rail. Raises ConfigError."""
    try:
        if isinstance(given, NamedRail):
            rule = given.rule()
            if rule is None:
                return _by_settings(given.settings, given.on_fail)
            return _by_itself(rule, given.on_fail)
        if isinstance(given, Mapping):
            settings = {str(name): value for name, value in given.items()}
            return _by_settings(settings, settings.pop("on_fail", "block"))
        return _by_itself(given, "block")
    except ConfigError as error:
        raise ConfigError(
            SOURCE, [one._replace(path=one.path.replace("rails[0]", place, 1)) for one in error.problems]
        ) from error
    except ValueError as error:
        raise ConfigError(SOURCE, [Problem(place, str(error))]) from error


def _by_settings(settings: Mapping[str, Any], on_fail: str) -> Made:
    # Thresholds may depend on the action, so a rail is made with it.
    acting = {} if (action := _WORDS.get(str(on_fail), on_fail)) not in _ACTIONS else {"on_fail": action}
    tree = {"rails": {"profiles": {"guard": {"rails": [{**settings, **acting}]}}}}
    try:
        config = Config.model_validate(tree).rails.profiles["guard"].rails[0]
    except ValidationError as error:
        raise _shortened(told(error, tree, {})) from error
    return _acting(Made(config, _at_hand(_label(config), made_by_kind(config))), on_fail)


def _by_itself(rail: Any, on_fail: str) -> Made:
    """Take a rail that somebody else has made. Its kind is that of rails of one's own."""
    what = rail.__name__ if isinstance(rail, type) else type(rail).__name__
    wrong = ""
    if isinstance(rail, type):
        wrong = f"is the class {what}: make one of it, {what}()"
    elif not callable(getattr(rail, "check", None)):
        wrong = f"is no rail, but {what}: give settings with a 'kind', or an object with `check`"
    if wrong:
        raise ValueError(wrong)
    sound = _at_hand(what, sound_rail(what, rail))
    return _acting(Made(RailConfig(kind="python", name=sound.about.name), sound), on_fail)


def _at_hand(name: str, rail: Rule | Check) -> Rule | Check:
    """Return a rail that a guard can ask. Raises ValueError for one that has to be opened: a guard opens nothing.

    Those that ask the detector need nothing else than that, and get the one of this process.
    """
    if isinstance(rail, DetectorRail):
        rail.use(shared_detector())
    elif isinstance(rail, Opened):
        raise ValueError(  # noqa: TRY004 - the type is right, and the rail is not for here
            f"the rail '{name}' asks a model or a service, which a guard cannot open: put it into the configuration of a"
            " gateway, and check texts there with `POST /v1/checks`"
        )
    return rail


@lru_cache(maxsize=1)
def shared_detector() -> Detector:
    """Return the detector of all guards in this process. It is loaded with the first text, and kept until the end."""
    return Detector()


def _acting(made: Made, word: object) -> Made:
    """Return a rail with its action. `word` is one of ours, or of others. Raises ValueError for an unknown one."""
    about = made.rail.about
    action = _WORDS.get(str(word), str(word))
    changes: dict[str, Any] = {"on_fail": action}
    if action == "fix" and not about.corrects:
        changes["on_fail"] = "redact"
    elif action == "regenerate":
        changes |= {"surfaces": ("output",), "hold": "whole"}
    config = made.config.model_copy(update=changes)
    try:
        type(config).model_validate(config.model_dump())
    except ValidationError as error:
        known = [*_ACTIONS, *_WORDS]
        raise ValueError(f"on_fail: '{word}' is not known; there are: {', '.join(known)}") from error
    return made._replace(config=config, raises=word == "exception")


def _named_apart(config: RailConfig, others: Sequence[Made]) -> RailConfig:
    """Return settings under a name that no other rail has: a number is added if nobody has chosen the name."""
    taken = {_label(one.config) for one in others}
    label, number = _label(config), 2
    while label in taken:
        label, number = f"{_label(config)}_{number}", number + 1
    return config if label == _label(config) else config.model_copy(update={"name": label})


def _label(config: RailConfig) -> str:
    return config.name or config.kind


def _shortened(problems: Sequence[Problem]) -> ConfigError:
    return ConfigError(SOURCE, [one._replace(path=one.path.removeprefix(_AT)) for one in problems])
