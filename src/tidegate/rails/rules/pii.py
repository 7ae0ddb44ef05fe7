"""The rail `pii`: personal data with a form, such as e-mail addresses, telephone numbers and cards.

Names and addresses of people have no form: they are for models.
"""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar, Literal

import phonenumbers
from pydantic import Field, field_validator

from tidegate.config.rails import RailConfig
from tidegate.rails.rules.recognizers.personal import ENTITIES, REGIONS, RUN, recognizers
from tidegate.rails.rules.recognizers.rail import Recognizing, known_entities
from tidegate.rails.rules.recognizers.search import Search


class PiiConfig(RailConfig):
    """Settings of the rail `pii`."""

    kind: Literal["pii"] = "pii"  # pyright: ignore[reportIncompatibleVariableOverride] - settings are frozen
    entities: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description=f"Kinds of data to find, of: {', '.join(sorted(ENTITIES))}. Default: all that are precise enough and"
        " say something of a person; `DOMAIN_NAME`, `URL`, `US_BANK_NUMBER`,"
        " `US_DRIVER_LICENSE` and `US_PASSPORT` are not.",
    )
    score_threshold: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Lowest score that counts, as in Presidio: a valid checksum or a rare form scores high; a form that"
        " many numbers have scores below 0.5, unless a word such as 'phone' stands before it.",
    )
    regions: tuple[str, ...] = Field(
        default=REGIONS,
        description="Countries whose telephone numbers are recognized as they are written at home, by their codes of two"
        " letters. Numbers that begin with + are recognized from everywhere.",
    )
    allow: tuple[str, ...] = Field(
        default=(),
        description="Values that are never reported, such as the address of your own support. They match as a whole, in"
        " upper and lower case.",
    )

    @field_validator("entities")
    @classmethod
    def _known_entities(cls, entities: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return known_entities(entities, ENTITIES)

    @field_validator("regions")
    @classmethod
    def _known_regions(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        for one in regions:
            if one not in phonenumbers.SUPPORTED_REGIONS:
                raise ValueError(
                    f"has no region '{one}': write the two capital letters of a country, such as US"
                )
        return regions


@lru_cache(maxsize=8)
def _search(
    entities: tuple[str, ...] | None, regions: tuple[str, ...], threshold: float, allow: tuple[str, ...]
) -> Search:
    """Return the search for some personal data. It takes long to make, and never changes."""
    known = recognizers(entities, regions)
    run = "" if any(one.entity == "URL" for one in known) else RUN
    return Search(known, threshold=threshold, allow=allow, run=run)


class Pii(Recognizing):
    """Finds personal data."""

    Config: ClassVar[type[PiiConfig]] = PiiConfig

    def __init__(self, config: PiiConfig) -> None:
        search = _search(config.entities, config.regions, config.score_threshold, config.allow)
        super().__init__(config.name or "pii", search, reason="personal data")
