"""`tidegate rails list`: the kinds of rails, what they check, and the profiles of a configuration."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from pydantic import ValidationError
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from tidegate import registry
from tidegate.cli import settings, store
from tidegate.cli.rails.choosing import AsJson, ConfigPath
from tidegate.config import Config
from tidegate.config.rails import RailConfig
from tidegate.errors import ConfigError
from tidegate.rails.plan import Plan, Step, compile_plans
from tidegate.rails.profiles import BUILT_IN
from tidegate.types import Hold, RailFacts

_GROUP = "tidegate.rails"
_TOO_FEW: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "blocklist": {"words": ["word"]},
        "language": {"allow": ["en"]},
        "regex": {"patterns": {"PATTERN": "pattern"}},
    }
)
"""Settings for kinds that cannot be made without any, to ask them for their facts."""
_BY_SETTINGS = "by its settings"
COLUMNS = ("kind", "checks", "surfaces by default", "tier", "hold", "on_fail", "usual time")


class Setting(msgspec.Struct, frozen=True):
    """One setting of a kind. `default` is None if it has to be given."""

    name: str
    default: str | None
    description: str


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of rail. What depends on its settings is None.

    `usual_ms` is how long a check of a usual text takes, a prompt of 300 characters in which nothing is found.
    """

    kind: str
    checks: str
    surfaces: Sequence[str] | None = None
    usual_surfaces: Sequence[str] | None = None
    tier: int | None = None
    hold: str | None = None
    redacts: bool | None = None
    fixes: bool | None = None
    usual_ms: float | None = None
    settings: Sequence[Setting] = ()


class InProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One rail of a profile, in the order in which the rails run."""

    rail: str
    kind: str
    tier: int
    surfaces: Sequence[str]
    on_fail: str
    on_error: str
    hold: str


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """The kinds, the profiles, and the policies that name them."""

    kinds: Sequence[Kind]
    profiles: Mapping[str, Sequence[InProfile]]
    policies: Mapping[str, str]


def list_(
    kind: Annotated[str | None, Parameter(show_default=False)] = None,
    /,
    *,
    config: ConfigPath = None,
    as_json: AsJson = False,
) -> None:
    """List the kinds of rails with what they check, and the profiles with their rails.

    For example:

    `tidegate rails list`: all kinds, and the profiles of tidegate.yaml

    `tidegate rails list pii`: the settings of one kind, such as its entities

    `hold` is how much of a stream a rail needs before anything is sent: `span 64` holds back at most 64 characters,
    `sentence` the sentence that has begun, `whole` the whole answer. `usual time` is that of a prompt of 300 characters.

    Parameters
    ----------
    kind
        Show only this kind, with its settings.
    config
        The configuration with the profiles. Default: tidegate.yaml if it is here, else the built-in configuration.
    as_json
        Print JSON.

    """
    if kind is not None:
        if kind not in registry.kinds(_GROUP):
            settings.fail(f"there is no kind '{kind}'; there are: {', '.join(registry.kinds(_GROUP))}")
        found = kind_of(kind)
        store.print_json(found) if as_json else _print_kind(found)
        return
    loaded, path = settings.load(config)
    try:
        plans = compile_plans(loaded.rails, list(BUILT_IN))
    except ConfigError as error:
        settings.fail(str(ConfigError(str(path or "the built-in configuration"), error.problems)))
    listed = Listed(
        kinds=[kind_of(one) for one in registry.kinds(_GROUP)],
        profiles={name: _of_profile(plan) for name, plan in plans.items()},
        policies=_policies(loaded),
    )
    store.print_json(listed) if as_json else _print(listed)


def kind_of(kind: str) -> Kind:
    """Return what is known of a kind. Ends with status 2 if its package cannot be loaded."""
    try:
        made: Any = registry.find(_GROUP, kind)
        about = _facts(made, kind)
    except (ImportError, AttributeError, registry.UnknownKind) as error:
        settings.fail(f"the kind '{kind}' cannot be loaded: {error}")
    checks = (inspect.getdoc(made) or "").partition("\n")[0]
    for end in (". ", ": "):
        checks = checks.partition(end)[0].rstrip(".")
    if about is None:
        return Kind(kind=kind, checks=checks, settings=_settings(made.Config))
    return Kind(
        kind=kind,
        checks=checks,
        surfaces=_words(about.surfaces),
        usual_surfaces=_words(about.usual or about.surfaces),
        tier=about.tier,
        hold=about.hold.kind if kind in _TOO_FEW else _hold(about.hold),
        redacts=about.finds_spans,
        fixes=about.corrects,
        usual_ms=about.usual_ms,
        settings=_settings(made.Config),
    )


def _facts(made: Any, kind: str) -> RailFacts | None:
    """Return the facts of a rail with usual settings, or None if there are none without the user's own."""
    if isinstance(made.__dict__.get("about"), RailFacts):
        return made.about
    try:
        return made(made.Config.model_validate({"kind": kind, **_TOO_FEW.get(kind, {})})).about
    except (ValidationError, ValueError):
        return None


def _settings(model: Any) -> list[Setting]:
    return [
        Setting(
            name,
            None if field.is_required() else _as_json(field.get_default(call_default_factory=True)),
            field.description or "",
        )
        for name, field in model.model_fields.items()
        if name not in RailConfig.model_fields
    ]


def _as_json(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


def _of_profile(plan: Plan) -> list[InProfile]:
    kinds = {one.name or one.kind: one for one in plan.profile.rails}
    every = {step.name: step for step in (*plan.steps, *plan.markers)}
    return [
        InProfile(
            rail=name,
            kind=kinds[name].kind,
            tier=step.about.tier,
            surfaces=_words(step.surfaces),
            on_fail=step.on_fail.word,
            on_error=kinds[name].on_error,
            hold=_hold_in(step),
        )
        for name, step in every.items()
    ]


def _hold_in(step: Step) -> str:
    return "whole" if step.whole else _hold(step.about.hold)


def _hold(hold: Hold) -> str:
    return f"{hold.kind} {hold.chars}" if hold.kind == "span" else hold.kind


def _words(surfaces: Any) -> list[str]:
    return sorted(one.value for one in surfaces)


def _policies(config: Config) -> dict[str, str]:
    return {name: policy.rails for name, policy in config.policies.items()}


def _print(listed: Listed) -> None:
    console = Console(highlight=False, soft_wrap=True)
    store.print_table(COLUMNS, [row(one) for one in listed.kinds])
    for name, rails in listed.profiles.items():
        named = [policy for policy, profile in listed.policies.items() if profile == name]
        users = f", of the policies {', '.join(named)}" if named else ""
        console.print(f"\nProfile '{name}'{users}:", markup=False)
        store.print_table(
            ("rail", "kind", "surfaces", "tier", "hold", "on_fail", "on_error"),
            [
                (
                    one.rail,
                    one.kind,
                    ", ".join(one.surfaces),
                    str(one.tier),
                    one.hold if "output" in one.surfaces else "",
                    one.on_fail,
                    one.on_error,
                )
                for one in rails
            ],
        )
    console.print("\n`tidegate rails list KIND` shows the settings of a kind.", markup=False)


def row(kind: Kind) -> tuple[str, ...]:
    """Return what `COLUMNS` say of a kind."""
    return (
        kind.kind,
        kind.checks,
        _BY_SETTINGS if kind.surfaces is None else _surfaces(kind),
        _BY_SETTINGS if kind.tier is None else str(kind.tier),
        kind.hold or _BY_SETTINGS,
        _on_fail(kind),
        _BY_SETTINGS if kind.usual_ms is None else f"{kind.usual_ms * 1000:,.0f} µs",
    )


def _surfaces(kind: Kind) -> str:
    return "all" if len(kind.usual_surfaces or ()) == len(_EVERY) else ", ".join(kind.usual_surfaces or ())


_EVERY = ("input", "system", "retrieval", "tool", "output")


def _on_fail(kind: Kind) -> str:
    if kind.redacts is None:
        return _BY_SETTINGS
    return ", ".join(
        ["block", "log", *(["redact"] if kind.redacts else []), *(["fix"] if kind.fixes else [])]
    )


def _print_kind(kind: Kind) -> None:
    console = Console(highlight=False)
    console.print(f"{kind.kind}: {kind.checks}.", markup=False)
    if kind.tier is not None:
        console.print(f"tier {kind.tier}, hold: {kind.hold}, on_fail: {_on_fail(kind)}", markup=False)
        console.print(
            f"can check: {', '.join(kind.surfaces or ())}; by default: {', '.join(kind.usual_surfaces or ())}",
            markup=False,
        )
    for one in kind.settings:
        default = "to be given" if one.default is None else f"default: {one.default.replace('null', 'none')}"
        console.print(f"\n{one.name} ({default})", markup=False)
        console.print(Padding(Text(one.description), (0, 0, 0, 4)))
    console.print("\nEvery rail also has: " + ", ".join(RailConfig.model_fields), markup=False)
