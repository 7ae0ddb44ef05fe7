"""The section `policies`: what a caller may ask for, how much of it, and what holds where a request says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, field_validator

from tidegate.config.queue import DEFAULT_CLASS
from tidegate.config.rails import NO_RAILS, RULES, STANDARD, STRICT
from tidegate.config.settings import Name, Settings, not_empty


def check_pattern(pattern: str) -> str:
    """A model's name, or a prefix and `*`. Raises ValueError for anything else."""
    if "*" in not_empty(pattern, "give a model's name, or a prefix and '*'")[:-1]:
        raise ValueError("'*' may only stand at the end")
    return pattern


Pattern = Annotated[str, AfterValidator(check_pattern)]


MOST = 10**15
"""The largest limit. What is counted stays exact in every format, and in floats."""
MOST_USD = 10**9


class LimitsConfig(Settings):
    """How much may be used. A limit that is left out does not exist."""

    requests_per_minute: int | None = Field(
        default=None, gt=0, le=MOST, description="Calls that begin in a minute."
    )
    tokens_per_minute: int | None = Field(
        default=None, gt=0, le=MOST, description="Tokens, read and written."
    )
    requests_per_day: int | None = Field(
        default=None,
        gt=0,
        le=MOST,
        description="Calls that begin in a calendar day of the policy's time zone.",
    )
    tokens_per_day: int | None = Field(default=None, gt=0, le=MOST, description="Tokens in a calendar day.")
    usd_per_day: float | None = Field(
        default=None, gt=0, le=MOST_USD, description="Money in a calendar day, US dollars."
    )
    usd_per_month: float | None = Field(
        default=None, gt=0, le=MOST_USD, description="Money in a calendar month, US dollars."
    )
    concurrent_calls: int | None = Field(default=None, gt=0, le=MOST, description="Calls that run at once.")
    burst_requests: int | None = Field(
        default=None,
        gt=0,
        le=MOST,
        description="Calls that may begin at once after a pause; default: a tenth of a minute.",
    )
    burst_tokens: int | None = Field(
        default=None,
        gt=0,
        le=MOST,
        description="Tokens that may be used at once after a pause; default: a tenth of a minute. A larger call fits too.",
    )


class DefaultsConfig(Settings):
    """What holds where a request says nothing."""

    priority: Name = Field(
        default=DEFAULT_CLASS,
        description="Class of the calls, one of `queue.classes`: which calls go first, also at engines with"
        " `sends_priority`. The header `x-tidegate-priority` of a request may name a later class.",
    )
    deadline_s: float | None = Field(
        default=None, gt=0, description="Longest time a call may take; `server.call_deadline_s` at the most."
    )
    max_tokens: int | None = Field(
        default=None, gt=0, description="Length of an answer where the request names none."
    )
    max_body_bytes: int | None = Field(
        default=None, gt=0, description="Largest request body; `server.max_body_bytes` at the most."
    )


class PolicyConfig(Settings):
    """What a caller may do. The nearest policy holds: the key's, else its user's, team's, organisation's, else `default`.

    Limits bound whoever names the policy as a whole: the limits of a team bound the sum of its keys.
    """

    models: tuple[Pattern, ...] = Field(
        default=("*",), min_length=1, description="Models that may be asked for: names, or a prefix and `*`."
    )
    tags: tuple[Name, ...] = Field(
        default=(),
        description="Only deployments with all of these tags serve the calls. A model without such a deployment does not"
        " exist for the callers.",
    )
    limits: LimitsConfig = Field(default=LimitsConfig(), description="How much may be used.")
    limits_by_model: Mapping[Name, LimitsConfig] = Field(
        default={}, description="The same for some models, by name or prefix and `*`."
    )
    end_user_limits: LimitsConfig | None = Field(
        default=None,
        description="The same for each end user, by the request's field `user`. Only for clients that set it honestly.",
    )
    defaults: DefaultsConfig = Field(
        default=DefaultsConfig(), description="What holds where a request says nothing."
    )
    on_limit: Literal["refuse", "wait"] = Field(
        default="refuse",
        description="What a call does that finds no room: it is refused, or waits within its deadline.",
    )
    enforce: bool = Field(default=True, description="Whether limits refuse calls; `false` only counts.")
    strict: bool = Field(
        default=False,
        description="Whether `max_tokens` is set for a request without it, so that no estimate is needed.",
    )
    count: Literal["estimate", "engine"] = Field(
        default="estimate",
        description="How input tokens are counted before a call: by an estimate, or by the engine.",
    )
    internal_calls: Literal["house", "caller"] = Field(
        default="house", description="Whose limits the gateway's own calls for a request use."
    )
    rails: Name = Field(
        default=RULES,
        description="What texts are checked for: a profile of `rails.profiles`, or `none`, `rules`, `standard`,"
        " `strict` or `moderation`.",
    )
    stricter_rails: tuple[Name, ...] | None = Field(
        default=None,
        description="Profiles that a request may ask for in place of `rails`, by the header `x-tidegate-profile`. List only"
        " those that check at least as much. Default: `strict`, or none of them with `rails: none` or"
        " `rails: standard`.",
    )
    timezone: str = Field(default="UTC", description="Where days and months begin, such as `Europe/Berlin`.")

    @property
    def profiles(self) -> tuple[str, tuple[str, ...]]:
        """The profile of the policy, and those that a request may ask for instead."""
        usual = () if self.rails in (NO_RAILS, STANDARD) else (STRICT,)  # which has no detectors
        return self.rails, usual if self.stricter_rails is None else self.stricter_rails

    @field_validator("limits_by_model")
    @classmethod
    def _patterns(cls, limits: Mapping[str, LimitsConfig]) -> Mapping[str, LimitsConfig]:
        for pattern in limits:
            try:
                check_pattern(pattern)
            except ValueError as error:
                raise ValueError(f"'{pattern}': {error}") from error
        return limits

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"there is no time zone {name!r}: write it as in 'Europe/Berlin'") from error
        return name
