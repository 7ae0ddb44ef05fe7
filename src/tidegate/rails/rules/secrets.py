"""The rail `secrets`: API keys of known providers, tokens, private keys, passwords in URLs and in assignments."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Final, Literal

from pydantic import Field, field_validator

from tidegate.config.rails import RailConfig
from tidegate.kernel.matching import Pattern, PatternSet
from tidegate.rails.finders import Ending
from tidegate.rails.rules.recognizers.credentials import CREDENTIALS, PRIVATE_KEY, PRIVATE_KEY_END
from tidegate.rails.rules.recognizers.keys import KEYS
from tidegate.rails.rules.recognizers.rail import Recognizing, known_entities
from tidegate.rails.rules.recognizers.search import Search

_EVERY: Final = (*KEYS, *CREDENTIALS)
ENTITIES: Final = frozenset(one.entity for one in _EVERY)


class SecretsConfig(RailConfig):
    """Settings of the rail `secrets`."""

    kind: Literal["secrets"] = "secrets"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    entities: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description=f"Kinds of secrets to find, of: {', '.join(sorted(ENTITIES))}. Default: all.",
    )
    score_threshold: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Lowest score that counts. Keys with a provider's prefix have 0.8 or more; `SECRET`, which is what is"
        " assigned to a name such as 'password' and looks random, has 0.5 to 0.7.",
    )
    allow: tuple[str, ...] = Field(
        default=(),
        description="Values that are never reported, such as the keys of examples in a documentation. They match as a"
        " whole, in upper and lower case.",
    )

    @field_validator("entities")
    @classmethod
    def _known_entities(cls, entities: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return known_entities(entities, ENTITIES)


@lru_cache(maxsize=8)
def _search(entities: tuple[str, ...] | None, threshold: float, allow: tuple[str, ...]) -> Search:
    """Return the search for some secrets. It takes long to make, and never changes."""
    known = [one for one in _EVERY if entities is None or one.entity in entities]
    return Search(known, threshold=threshold, allow=allow)


class Secrets(Recognizing):
    """Finds secrets. A private key is swallowed from its first line on."""

    Config: ClassVar[type[SecretsConfig]] = SecretsConfig

    def __init__(self, config: SecretsConfig) -> None:
        search = _search(config.entities, config.score_threshold, config.allow)
        ending = Ending(PatternSet([Pattern(PRIVATE_KEY, PRIVATE_KEY_END)]))
        super().__init__(config.name or "secrets", search, reason="secrets", until={PRIVATE_KEY: ending})
