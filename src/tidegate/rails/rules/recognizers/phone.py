"""Telephone numbers. Their form tells little, so the words around them and the numbering plans decide."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from tidegate.kernel.linear import Expression, compiled
from tidegate.rails.rules.recognizers.recognizer import CONTEXT_GAIN, Found, Judge, Recognizer

FEWEST_DIGITS: Final = 7
_FEWEST_LABELLED: Final = 6  # "92 34 70 (fax)"
MOST_DIGITS: Final = 15  # E.164

_SOURCE: Final = (
    r"(?:\+|\(\+?)?\b\d(?:(?: ?[-(] ?|\)[ -]?|[ ./])?\d){5,17}"
    r"(?: ?(?:x|ext\.? ?|#)\d{1,6})?"
    r"(?:,? ?-? ?\(?(?:office|fax|mobile|home|work|cell|phone|tel)\b)?"
)
_LABEL: Final = re.compile(r"[,\s(\-]*(?:office|fax|mobile|home|work|cell|phone|tel)$", re.IGNORECASE)
_EXTENSION: Final = re.compile(r" ?(?:x|ext\.? ?|#)\d{1,6}$", re.IGNORECASE)

# Forms of other things.
_NOT_PHONES: Final = re.compile(
    r"(?:1[5-9]|20)\d{2}[-./ ]\d{1,2}[-./ ]\d{1,2}(?:\D.*)?"  # 2024-01-31, with or without a time
    r"|\d{1,2}([-./ ])\d{1,2}\1(?:19|20)\d{2}(?:\D.*)?"  # 31.01.2024
    r"|(?:19|20)\d{2}(?:0[1-9]|1[0-2])[0-3]\d[-.]\d+"  # 20240131-5550123
    r"|\d{5}-\d{4}"  # 12345-6789, a postal code
    r"|(?:1[5-9]|20)\d{2} ?[-/] ?(?:1[5-9]|20)\d{2}"  # 2019-2024
    r"|\d{3}-\d{2}-\d{4}"  # a social security number
    r"|\d+[./]\d+"  # a decimal number, a fraction
    r"|\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}"  # an address
    r"|\d{2}(?:0[1-9]|1[0-2])\d{2}-\d{4}"  # a personal number of Sweden or Denmark
)
_THOUSANDS: Final = re.compile(r"[1-9]\d{0,2}(?:[ .]\d{3}){2,}")

# Forms that are usual for telephone numbers, the surest first.
_FORMS: Final = (
    (re.compile(r"(?:\+?1[ .-]?|001-)?(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4}"), 0.6),
    (re.compile(r"\(0?\d{1,4}\)[ -]?\d{2,4}(?:[ -]?\d{2,4}){1,3}"), 0.5),
    (re.compile(r"0\d{1,5}[ /-]\d{2,8}(?:[ -]\d{2,8}){0,4}"), 0.4),
    (re.compile(r"\d{3}[-.]\d{4}"), 0.4),
)

_WORDS: Final = (
    *(
        "phone",
        "tel",
        "telephone",
        "mobile",
        "cell",
        "call",
        "fax",
        "dial",
        "reach",
        "contact",
        "ring",
        "answering",
    ),
    *("whatsapp", "sms", "hotline", "pager", "voicemail", "landline"),
    *("telefon", "anruf", "ruf", "handy", "mobil", "erreich", "durchwahl"),
    *("appel", "joindre", "joignable", "portable"),
    *("llam", "movil", "celular", "contact"),
    *("chiam", "cellulare", "recapito", "ligue", "ligar", "telemovel"),
    *("bel", "telefoon", "bereik", "zadzwon", "komork", "dzwon", "puhelin", "soita"),
    *("телефон", "звон", "電話", "电话", "手机", "携帯", "전화", "휴대폰", "फोन", "هاتف", "تلفن", "τηλέφωνο"),
)


_INSIDE: Final = re.compile(
    r"(?<!\S)(?:(?:\+?1[ .-]|001-)?(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4}|\(0\d{1,4}\) ?\d{3,4}-\d{3,4}|\d{3}-\d{4})(?!\S)"
)
"""Forms that stand out of a row of other numbers."""


def phone_number(regions: Sequence[str]) -> Recognizer:
    """Return the recognizer of telephone numbers, for numbers as they are written within these regions."""
    return Recognizer("PHONE_NUMBER", _SOURCE, _judge(regions), 64, _WORDS, ignore_case=True)


def _judge(regions: Sequence[str]) -> Judge:
    valid = _numbering_plans(regions)

    def judge(text: str, start: int, end: int) -> Found | None:
        number = matched = text[start:end]
        if not matched[-1].isdigit():
            number = _LABEL.sub("", matched)
            end = start + len(number)
        labelled = number != matched
        if not _apart(text, start, end, labelled=labelled):
            return None
        score = _score(number, valid)
        if score < 0.4 and (inside := _INSIDE.search(number)):
            return Found(start + inside.start(), start + inside.end(), _score(inside[0], valid))
        if not score:
            return None
        return Found(start, end, min(score + CONTEXT_GAIN, 1.0) if labelled else score)

    return judge


def _numbering_plans(regions: Sequence[str]) -> Expression | None:
    """Return an expression for the digits of every number that can be dialled within one of the regions."""
    plans = [plan for region in regions if (plan := _numbering_plan(region))]
    return compiled("|".join(plans)) if plans else None


def _numbering_plan(region: str) -> str:
    metadata: Any = PhoneMetadata.metadata_for_region(region)
    if metadata is None:
        return ""
    kinds = (
        "fixed_line",
        "mobile",
        "toll_free",
        "shared_cost",
        "personal_number",
        "voip",
        "uan",
        "premium_rate",
    )
    patterns = [getattr(metadata, kind) for kind in kinds]
    numbers = "|".join(one.national_number_pattern for one in patterns if one and one.national_number_pattern)
    prefix = metadata.national_prefix_for_parsing or metadata.national_prefix or ""
    return f"(?:{prefix})?(?:{numbers})" if prefix else f"(?:{numbers})"


def _apart(text: str, start: int, end: int, *, labelled: bool) -> bool:
    """Return whether a part is not in the middle of a longer number, word or identifier."""
    before, earlier = text[start - 1 : start] or " ", text[start - 2 : start - 1] or " "
    if before.isascii() and (before.isalnum() or before in "_$£€¥@"):
        return False
    if (before in "-+*" and earlier.isalnum()) or (before in ".,:/" and earlier.isdigit()):
        return False
    after, later = text[end : end + 1] or " ", text[end + 1 : end + 2] or " "
    if labelled:
        return True
    if after.isascii() and (after.isalnum() or after in "_$£€¥%@"):
        return False
    return not (after in "-+*.,:/" and later.isalnum())


def _score(number: str, plans: Expression | None) -> float:
    bare = _EXTENSION.sub("", number)
    digits = re.sub(r"\D", "", bare)
    if (
        not _FEWEST_LABELLED <= len(digits) <= MOST_DIGITS
        or len(set(digits)) < 3
        or _NOT_PHONES.fullmatch(bare)
    ):
        return 0.0
    if bare.startswith(("+", "(+", "00")):
        return _international(bare, digits)
    return _national(bare, digits, plans)


def _national(number: str, digits: str, plans: Expression | None) -> float:
    groups = re.findall(r"\d+", number)
    if number.count("(") != number.count(")") or any(len(group) == 1 for group in groups[1:]):
        return 0.0
    # Short numbers, and rows of numbers with four digits, are valid somewhere by chance.
    telling = len(digits) > FEWEST_DIGITS + 1 and any(len(group) != 4 for group in groups)
    valid = telling and plans is not None and plans.fullmatch(digits) is not None
    if len(groups) == 1:
        return 0.3 if valid else 0.2
    if len(digits) < FEWEST_DIGITS or (_THOUSANDS.fullmatch(number) and not valid):
        return 0.2
    form = next((score for form, score in _FORMS if form.fullmatch(number)), 0.25)
    return max(form, 0.6 if valid else 0.0)


def _international(number: str, digits: str) -> float:
    dialled = digits.removeprefix("00")
    if dialled.startswith("0") or len(dialled) <= FEWEST_DIGITS:
        return 0.0
    if not any(int(dialled[:size]) in COUNTRY_CODE_TO_REGION_CODE for size in (1, 2, 3)):
        return 0.0
    return 0.65 if not number.startswith("00") else 0.5 if len(number) > len(digits) else 0.3
