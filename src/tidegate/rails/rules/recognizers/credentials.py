"""Secrets without a provider's prefix: private keys, JSON web tokens, passwords in URLs and in assignments."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Final

from tidegate.rails.rules.recognizers.recognizer import Found, Recognizer

PRIVATE_KEY: Final = "PRIVATE_KEY"
PRIVATE_KEY_END: Final = r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
"""What ends a private key, which begins with the line of its recognizer and is swallowed up to here."""

LEAST_BITS: Final = 3.0
"""Least entropy of a secret without a known form, in bits a character. Words of English have about 2.5 at this length."""


def _begins(_: str, start: int, end: int) -> Found | None:
    return Found(start, end, 1.0)


def _jwt(text: str, start: int, end: int) -> Found | None:
    before = text[start - 1 : start]
    return None if before.isalnum() or before in ("_", "-") else Found(start, end, 1.0)


_USERINFO: Final = re.compile(r"://([^\s/:@]*:([^\s/@]+))@")


def _userinfo(text: str, start: int, end: int) -> Found | None:
    match = _USERINFO.match(text, start, end)
    if match is None or _PLACEHOLDER.search(match[2]):
        return None
    return Found(match.start(1), match.end(1), 0.9)


_PLACEHOLDER: Final = re.compile(
    r"^[<\[{$%*.(]|\.\.\.|x{4}|\*{3}|^(?:your|my|the|some|example|test|dummy|changeme|change_me|placeholder|redacted|none|null"
    r"|true|false|undefined|password|secret|token|string|os\.|env|process\.|getenv|config|settings|self\.|var\.|args\.)",
    re.IGNORECASE,
)
_ASSIGNED: Final = re.compile(
    r"""["'`]?\s*(?:=>|:=|=|:)\s*(?:bearer\s+|basic\s+)?(["'`]?)([^\s"'`<>,;]+)""", re.IGNORECASE
)
_NAME: Final = re.compile(r"[A-Za-z]*", re.IGNORECASE)


def _assigned(text: str, start: int, end: int) -> Found | None:
    match = _ASSIGNED.search(text, start, end)
    if match is None:
        return None
    value = match[2]
    first, last = match.span(2)
    while value and value[-1] in ").]}":
        value, last = value[:-1], last - 1
    if len(value) < 8 or _PLACEHOLDER.search(value) or "(" in value:
        return None
    kinds = sum(bool(re.search(kind, value)) for kind in ("[a-z]", "[A-Z]", "[0-9]", r"[^A-Za-z0-9]"))
    if bits(value) < LEAST_BITS or kinds < 2 or not re.search(r"[0-9]", value):
        return None
    return Found(first, last, 0.7 if match[1] or len(value) >= 16 else 0.5)


def bits(value: str) -> float:
    """Return the entropy of a text's characters by their frequency, in bits a character."""
    return -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values())


CREDENTIALS: Final = (
    Recognizer(PRIVATE_KEY, r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----", _begins, 80),
    Recognizer(PRIVATE_KEY, r"PuTTY-User-Key-File-[23]:", _begins, 80),
    Recognizer("JWT", r"\beyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]*", _jwt, 4096),
    Recognizer("BASIC_AUTH", r"://[^\s/:@]{0,64}:[^\s/@]{3,}@", _userinfo, 200),
    Recognizer(
        "SECRET",
        # The names of settings: API_KEY, clientSecret, db-password, "access_token".
        r"(?:\b|_)(?:(?:access|account|admin|api|app|auth|bot|client|encryption|license|master|private|secret|signing)"
        r"[_\-. ]?key|(?:(?:access|admin|api|app|auth|bearer|bot|client|db|jwt|login|refresh|root|session|user|webhook)"
        r"[_\-. ]?)?(?:secret|token|passw(?:or)?d|passphrase|pwd|credentials?|authorization))"
        r"[\"'`]?\s{0,4}(?:=>|:=|=|:)\s{0,4}(?:bearer\s{1,4}|basic\s{1,4})?[\"'`]?"
        r"[^\s\"'`<>,;]{8,}",
        _assigned,
        240,
        ignore_case=True,
    ),
)
