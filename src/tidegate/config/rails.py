"""The section `rails`: what texts are checked for, and what happens to a text that a rail objects to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from tidegate.config.kinds import Kinded
from tidegate.config.settings import Name, Settings

SURFACES = ("input", "system", "retrieval", "tool", "output")
NO_RAILS, RULES, STANDARD, STRICT, MODERATION = "none", "rules", "standard", "strict", "moderation"
"""The profiles that exist without being configured."""
OMNI = "omni-moderation-latest"
"""The model of a request to `/v1/moderations` that names none, as at OpenAI."""
_MODERATORS = (OMNI, "omni-moderation-2024-09-26", "text-moderation-latest", "text-moderation-stable")
"""OpenAI's names of models for moderation."""
REFUSAL = "I'm sorry, but I can't help with that."


class RailConfig(Settings):
    """One rail of a profile. Each `kind` has further settings of its own."""

    kind: str = Field(description="What the rail checks for.")
    name: Name | None = Field(
        default=None,
        description="Name of the rail in headers, metrics and the audit, unique in its profile; default: its kind.",
    )
    surfaces: tuple[Literal["input", "system", "retrieval", "tool", "output"], ...] | None = Field(
        default=None,
        min_length=1,
        description="Texts that are checked: `input` (users), `system` (the application's own), `retrieval` (documents),"
        " `tool` (results of tools), `output` (the engine's). Default: those for which the kind is made.",
    )
    on_fail: Literal["block", "redact", "fix", "regenerate", "review", "log"] = Field(
        default="block",
        description="What happens to a text that the rail objects to: the call is refused, the parts found are masked, the"
        " rail's corrected text replaces it, the engine is asked again with a stronger instruction, a person decides (the"
        " section `review`), or it is only logged.",
    )
    on_error: Literal["closed", "open"] | Name = Field(
        default="closed",
        description="What happens if the rail itself fails or takes too long: `closed` blocks the text, `open` lets it"
        " pass, the name of another rail of the profile lets that one decide.",
    )
    timeout_ms: float | None = Field(
        default=None,
        gt=0,
        description="Longest time of one check, for rails that are not rules; the budget holds as well.",
    )
    hold: Literal["whole"] | None = Field(
        default=None,
        description="`whole` holds back the whole answer of a stream until it is checked; default: as little as possible.",
    )


class PassagesConfig(Settings):
    """The passages in which rails judge the text of a stream. Tokens are counted as five characters each."""

    by: Literal["sentence", "window"] = Field(
        default="sentence",
        description="Where a passage ends: with a sentence, or after `window_tokens` if that comes first; or only there.",
    )
    window_tokens: int = Field(
        default=32,
        ge=4,
        le=2000,
        description="Longest passage. In longer ones rails see more at once, and clients wait longer.",
    )
    context_tokens: int = Field(
        default=16, ge=0, le=2000, description="How much of the text before a passage is judged with it."
    )


class ProfileConfig(Settings):
    """A set of rails. `policies.NAME.rails` puts calls under a profile."""

    rails: tuple[Annotated[RailConfig, Kinded("tidegate.rails")], ...] = Field(
        default=(), description="The rails. Those that change texts run first, in this order."
    )
    race: bool = Field(
        default=False,
        description="Whether the engine starts while slow rails still check the input. Nothing is sent before they pass.",
    )
    stream_first: bool = Field(
        default=False,
        description="Whether streams show a passage before the rails that judge passages have passed it. At most one"
        " passage is shown before a block.",
    )
    passages: PassagesConfig = Field(
        default=PassagesConfig(), description="The passages in which rails judge the text of a stream."
    )
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(),
        description="Strings before which the gateway ends every answer with `finish_reason: stop`.",
    )
    refuse_as: Literal["message", "error"] = Field(
        default="message",
        description="How a blocked call is answered: by an assistant's message with `finish_reason: content_filter`, or by"
        " an error with status 400.",
    )
    refusal: str = Field(default=REFUSAL, min_length=1, description="The text of a refusal.")
    instruction: str = Field(
        default="Your last answer broke the rules of this service: {reason}. Answer again and keep to them.",
        description="What `on_fail: regenerate` tells the engine; `{reason}` is replaced by the category.",
    )
    most_rounds: int = Field(
        default=2, ge=1, le=5, description="How often the engine is asked again by `regenerate`, at the most."
    )
    after_rounds: Literal["block", "review"] = Field(
        default="block",
        description="What happens if the answer of the last round is as bad: the call is refused, or a person decides.",
    )
    placeholders: bool = Field(
        default=False,
        description="Whether masked parts of the input come back in the answer where the engine repeats their"
        " placeholders.",
    )

    @property
    def asks_people(self) -> bool:
        """Whether a person may be asked about a text."""
        return self.after_rounds == "review" or any(rail.on_fail == "review" for rail in self.rails)

    @field_validator("rails")
    @classmethod
    def _names_differ(cls, rails: tuple[RailConfig, ...]) -> tuple[RailConfig, ...]:
        names = [rail.name or rail.kind for rail in rails]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"has two rails named '{name}': give one of them another `name`")
        return rails


class RailsConfig(Settings):
    """What texts are checked for."""

    budget_ms: float = Field(
        default=150,
        gt=0,
        description="Longest time for the rules and small models of one call whose texts have up to 65,536 characters;"
        " longer ones have more, in proportion. A rail that does not fit is decided by its `on_error`.",
    )
    judge_budget_ms: float = Field(
        default=3000, gt=0, description="Longest time for the judges and remote guards of one call."
    )
    audit_path: Path | None = Field(
        default=None,
        description="File to which a line is appended for each rail that objected to a text or failed. It has no text of"
        " users.",
    )
    audit_key: SecretStr | None = Field(
        default=None,
        description="Key of the hashes of texts in the audit; default: a new one at each start, so that hashes of two runs"
        " never match.",
    )
    profiles: Mapping[Name, ProfileConfig] = Field(
        default={},
        description="Sets of rails, by name. `none`, `rules`, `standard`, `strict` and `moderation` exist without being"
        " configured.",
    )
    moderation: Mapping[Name, Name] = Field(
        default={},
        description="Models of `POST /v1/moderations`, each with the profile that judges the texts. OpenAI's names need not"
        " be given: `omni-moderation-latest` means the profile `moderation`, and the others mean what that one means.",
    )

    @property
    def moderators(self) -> Mapping[str, str]:
        """The profiles of all models of `POST /v1/moderations`, by model."""
        usual = self.moderation.get(OMNI, MODERATION)
        return {**dict.fromkeys(_MODERATORS, usual), **self.moderation}

    @field_validator("profiles")
    @classmethod
    def _free_names(cls, profiles: Mapping[str, ProfileConfig]) -> Mapping[str, ProfileConfig]:
        if NO_RAILS in profiles:
            raise ValueError(f"has a profile '{NO_RAILS}', which stands for no rails: choose another name")
        return profiles
