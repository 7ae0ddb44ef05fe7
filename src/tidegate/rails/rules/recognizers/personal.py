"""The recognizers of personal data, and where in a stream they may begin."""

from __future__ import annotations

import string
from collections.abc import Collection, Sequence
from typing import Final

from tidegate.rails.rules.recognizers.money import MONEY
from tidegate.rails.rules.recognizers.national import NATIONAL
from tidegate.rails.rules.recognizers.net import NET
from tidegate.rails.rules.recognizers.phone import phone_number
from tidegate.rails.rules.recognizers.recognizer import Recognizer

REGIONS: Final = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "BR", "IN", "JP")

RUN: Final = string.ascii_letters + "._%+'-@:(" + "".join(map(chr, range(0xC0, 0x250)))
"""The characters of which the beginning of an entity consists up to its first digit; URLs have others."""


def recognizers(entities: Collection[str] | None, regions: Sequence[str]) -> list[Recognizer]:
    """Return the recognizers of some entities, or the usual ones."""
    every = (*NET, phone_number(regions), *MONEY, *NATIONAL)
    return [one for one in every if (one.usual if entities is None else one.entity in entities)]


ENTITIES: Final = frozenset(one.entity for one in recognizers(None, ())) | frozenset(
    one.entity for one in (*NET, *MONEY, *NATIONAL)
)
