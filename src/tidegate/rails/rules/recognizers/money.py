"""Cards, bank accounts and wallets."""

from __future__ import annotations

import re
from typing import Final

from tidegate.rails.rules.recognizers.recognizer import Found, Recognizer, alone, scored, stdnum, summed

_luhn = stdnum("luhn")
_iban = stdnum("iban")

# Prefix and lengths of the brands: https://en.wikipedia.org/wiki/Payment_card_number
_BRANDS: Final = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]|2[2-7])\d{14}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:6011|65|64[4-9])\d{12,15}"  # Discover
    r"|62\d{14,17}"  # UnionPay
    r"|35(?:2[89]|[3-8]\d)\d{12}|(?:2131|1800)\d{11}"  # JCB
    r"|3(?:0[0-5]|[689]\d)\d{11}"  # Diners Club
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3]|0604|56\d\d|57\d\d|58\d\d)\d{8,15}"  # Maestro
)
_CARD_WORDS: Final = (
    *(
        "card",
        "credit",
        "debit",
        "visa",
        "mastercard",
        "amex",
        "american express",
        "discover",
        "maestro",
        "cc",
        "payment",
    ),
    *(
        "karte",
        "kreditkarte",
        "carte",
        "tarjeta",
        "carta di credito",
        "cartao",
        "creditcard",
        "kaart",
        "kart",
        "kort",
    ),
    *("карт", "クレジットカード", "カード", "信用卡", "카드"),
)


def _card(text: str, start: int, end: int) -> Found | None:
    if not alone(text, start, end):
        return None
    digits = re.sub(r"\D", "", text[start:end])
    if len(set(digits)) < 2:
        return None
    branded = _BRANDS.fullmatch(digits) is not None
    if _luhn(digits):
        return Found(start, end, 0.9 if branded else 0.3)
    return Found(start, end, 0.3) if branded else None


# The lengths of the registry of ISO 13616: https://www.swift.com/standards/data-standards/iban
_LENGTHS: Final = {
    country: int(length)
    for length, countries in {
        "15": "NO",
        "16": "BE",
        "18": "DK FO FI GL NL SD FK",
        "19": "MK SI",
        "20": "AT BA EE KZ LT LU XK MN",
        "21": "HR LV LI CH",
        "22": "BH BG CR GE DE IE ME RS GB VA",
        "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ MD PK RO SA SK ES SE TN VG",
        "25": "LY PT ST",
        "26": "IS TR",
        "27": "FR GR IT MR MC SM BI DJ",
        "28": "AL AZ BY CY DO GT HU LB NI PL SV",
        "29": "BR EG PS QA UA",
        "30": "JO KW MU YE",
        "31": "MT SC",
        "32": "LC",
        "33": "RU",
    }.items()
    for country in countries.split()
}


def _iban_code(text: str, start: int, end: int) -> Found | None:
    length = _LENGTHS.get(text[start : start + 2].upper())
    stop = _after(text, start, end, length) if length else None
    if stop is None or not alone(text, start, stop):
        return None
    code = re.sub(r"[ -]", "", text[start:stop]).upper()
    if sum(map(str.isdigit, code)) < 8:
        return None
    return Found(start, stop, 1.0 if _iban(code) else 0.4)


def _after(text: str, start: int, end: int, count: int) -> int | None:
    """Return the end of the first `count` letters and digits of a match, if there are so many."""
    for at in range(start, end):
        count -= text[at].isalnum()
        if not count:
            return at + 1
    return None


_bitcoin = stdnum("bitcoin")
_routing = stdnum("us.rtn")

MONEY: Final = (
    Recognizer(
        "CREDIT_CARD",
        r"\b(?:\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{4}(?:[ -]\d{3})?|\d{4}[ -]\d{6}[ -]\d{4,5}|\d{12,19})",
        _card,
        24,
        _CARD_WORDS,
    ),
    Recognizer(
        "IBAN_CODE",
        r"\b[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}",
        _iban_code,
        64,
        (
            "iban",
            "bank",
            "account",
            "wire",
            "transfer",
            "konto",
            "compte",
            "cuenta",
            "conto",
            "conta",
            "rekening",
        ),
    ),
    Recognizer(
        "CRYPTO",
        r"\b(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}|bc1[02-9ac-hj-np-z]{8,87})",
        summed(_bitcoin, 1.0),
        90,
        ("bitcoin", "btc", "wallet"),
    ),
    Recognizer("CRYPTO", r"\b0x[0-9A-Fa-f]{40}", scored(0.5), 42, ("ethereum", "eth", "wallet", "crypto")),
    Recognizer(
        "ABA_ROUTING_NUMBER",
        r"\b\d{9}",
        summed(_routing, 0.3),
        9,
        ("routing", "aba", "rtn"),
        most=0.3,
    ),
    Recognizer(
        "US_BANK_NUMBER",
        r"\b\d{8,17}",
        scored(0.2),
        17,
        ("account", "bank", "checking", "savings"),
        most=0.2,
        usual=False,
    ),
)
