"""What a company may promise: amounts up to a limit, whole offers as text, and patterns."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from tidegate.kernel.linear import compiled, quoted
from tidegate.kernel.text.folding import folded
from tidegate.rails.rules.wording.grammar import BETWEEN
from tidegate.rails.rules.wording.promising import CATEGORIES

_LIMIT: Final = re.compile(
    rf"(?P<category>{'|'.join(CATEGORIES)}) (?P<way>up to|from) (?P<number>[0-9][0-9.,]*) ?(?P<unit>[^\s0-9]+)",
    re.IGNORECASE,
)
_UNITS: Final = {
    "%": ("%", "percent", "per cent", "prozent", "por ciento", "pour cent"),
    "eur": ("€", "eur", "euro", "euros"),
    "usd": ("$", "usd", "dollar", "dollars", "bucks"),
    "gbp": ("£", "gbp", "pound", "pounds"),
    "chf": ("chf", "franken", "francs"),
    "hour": ("hour", "hours", "stunde", "stunden", "horas", "heures"),
    "day": ("day", "days", "tag", "tage", "tagen", "werktage", "werktagen", "dias", "jours"),
    "week": ("week", "weeks", "woche", "wochen", "semanas", "semaines"),
    "month": ("month", "months", "monat", "monate", "monaten", "meses", "mois"),
    "year": ("year", "years", "jahr", "jahre", "jahren", "anos", "ans"),
}
_UNIT_OF: Final = {word: unit for unit, words in _UNITS.items() for word in words}
_WORDS: Final = "|".join(sorted(map(re.escape, _UNIT_OF), key=len, reverse=True))
_NUMBER: Final = r"[0-9]+(?:[.,][0-9]+)*"
_AMOUNTS: Final = re.compile(
    rf"(?:(?P<before>\$|€|£|\b(?:usd|eur|gbp|chf)\b) ?(?P<first>{_NUMBER})"
    rf"|(?P<second>{_NUMBER})[ -]?(?:(?:business|working) )?(?P<after>{_WORDS})(?![a-z]))"
)
# Words for amounts without a number, with their share in percent. Their sum is not known.
_SHARES: Final = re.compile(
    r"\b(?:(?P<all>full|whole|entire|complete|all|everything|free|lifetime|unlimited|gratis|kostenlos\w*|voll\w*|lebenslang\w*"
    r"|total|todo|integral\w*|gratuit\w*|vie)|(?P<half>half|halb\w*|halft\w*|mitad|moitie))\b"
)
_ENDLESS: Final = float("inf")


class _Said(NamedTuple):
    """The amounts of a sentence by their units, and those without a number in percent of a sum that is not known."""

    amounts: Mapping[str, Sequence[float]]
    percent: Sequence[float]


class Limit(NamedTuple):
    """A limit for the promises of one category: none may have an amount beyond it."""

    category: str
    unit: str
    number: float
    at_most: bool = True

    def covers(self, said: _Said) -> bool:
        """Return whether all amounts of a sentence in the unit of the limit are within it, and whether there is one."""
        amounts = said.amounts.get(self.unit, [])
        if self.unit in ("%", "eur", "usd", "gbp", "chf", "month", "year"):
            amounts = [*amounts, *(said.percent if self.unit == "%" else [_ENDLESS] * len(said.percent))]
        if self.at_most:
            return bool(amounts) and max(amounts) <= self.number
        return bool(amounts) and min(amounts) >= self.number


class Allowed:
    """The promises that a company allows. Raises ValueError for a limit whose unit is not known, and BadExpression."""

    def __init__(self, entries: Iterable[str], patterns: Iterable[str]) -> None:
        self.limits: list[Limit] = []
        texts: list[str] = []
        for entry in entries:
            limit = limit_of(entry)
            if limit is None:
                texts.append(BETWEEN.join(quoted(word) for word in folded(entry).text.split()))
            else:
                self.limits.append(limit)
        sources = [f"(?:{one})" for one in (*texts, *patterns) if one]
        self._offers = compiled(f"(?i:{'|'.join(sources)})") if sources else None

    def without_offers(self, text: str) -> str:
        """Return a text of the same length in which offers that are allowed say nothing."""
        if self._offers is None:
            return text
        parts: list[str] = []
        after = 0
        for found in self._offers.finditer(text):
            start, end = found.span()
            parts += (text[after:start], re.sub(r"\w", "x", text[start:end]))
            after = end
        return "".join((*parts, text[after:]))

    def covered(self, sentence: str) -> Collection[str]:
        """Return the categories of whose promises in a sentence a limit covers all. The sentence is in lower case."""
        if not self.limits:
            return ()
        said = _said(sentence)
        return {one.category for one in self.limits if one.covers(said)}


def limit_of(entry: str) -> Limit | None:
    """Return the limit that an entry says, or None if it is an offer. Raises ValueError for a unit that is not known."""
    found = _LIMIT.fullmatch(entry.strip())
    if found is None:
        return None
    unit = _UNIT_OF.get(folded(found["unit"]).text.lower())
    if unit is None:
        raise ValueError(
            f"has the unit '{found['unit']}', which is not known: write one of {', '.join(_UNITS)}"
        )
    return Limit(found["category"].lower(), unit, _value(found["number"]), found["way"].lower() == "up to")


def _said(sentence: str) -> _Said:
    amounts: defaultdict[str, list[float]] = defaultdict(list)
    for found in _AMOUNTS.finditer(sentence):
        amounts[_UNIT_OF[found["before"] or found["after"]]].append(_value(found["first"] or found["second"]))
    return _Said(amounts, [50.0 if found["half"] else 100.0 for found in _SHARES.finditer(sentence)])


def _value(number: str) -> float:
    number = number.rstrip(".,")
    if re.fullmatch(r"[0-9]{1,3}(?:[.,][0-9]{3})+", number):
        return float(re.sub(r"[.,]", "", number))
    whole, _, part = number.replace(",", ".").rpartition(".")
    return float(f"{whole.replace('.', '')}.{part}" if whole else part)
