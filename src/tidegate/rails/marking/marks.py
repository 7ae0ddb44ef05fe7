"""The marks of spotlighting: delimiters, a character between words, and Base64. Pure functions of texts and a key."""

from __future__ import annotations

import base64
import hmac
import re
import unicodedata
from collections.abc import Sequence
from itertools import count
from typing import Final, NamedTuple

MARK: Final = "ˆ"  # noqa: RUF001 - nobody types this one, and tokenizers know it
"""The mark between words, U+02C6. A text that has it gains nothing: its words stand between marks all the same."""
LONGEST_RUN: Final = 32
"""The most characters without a mark between them, for languages and attacks that do without spaces."""
_ID_CHARS: Final = 16
_SPACE: Final = re.compile(rf"[\s{MARK}]+")
_LONG: Final = re.compile(rf"[^{MARK}\n]{{{LONGEST_RUN}}}(?=[^{MARK}\n])")
_NOT_HEX: Final = bytes(one for one in range(128) if chr(one) not in "0123456789abcdef")


class Delimiters(NamedTuple):
    """The marks before and behind a text."""

    begin: str
    end: str


def delimiters_for(texts: Sequence[str], key: bytes) -> Delimiters:
    """Return marks that none of the texts has. There is at least one text.

    They are made of the first text with HMAC-SHA256 (RFC 2104), so nobody without the key can guess them. A chat that goes
    on keeps its first text and its marks, and the engine its prompt. A text may have them even so, where a model has
    repeated them to somebody: then other ones are made. What looks nearly like them counts, too: in capitals, in wide
    letters, or with something between the digits.
    """
    first = texts[0].encode("utf-8", "surrogatepass")
    digits = [_digits_of(one) for one in texts]
    for number in count():
        made = hmac.digest(key, b"%d " % number + first, "sha256").hex()[:_ID_CHARS]
        if not any(made.encode() in one for one in digits):
            return Delimiters(f"<data-{made}>", f"</data-{made}>")
    raise AssertionError("there are more digests than places in a text")


def delimited(text: str, marks: Delimiters) -> str:
    """Return a text between marks."""
    return f"{marks.begin}\n{text}\n{marks.end}"


def datamarked(text: str) -> str:
    """Return a text with marks between its words, before the first and behind the last. Its lines stay lines."""
    words = _LONG.sub(_with_mark, _SPACE.sub(_for_space, text))
    return f"{MARK}{words}{MARK}"


def encoded(text: str) -> str:
    """Return a text in Base64 (RFC 4648)."""
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii")


def _for_space(space: re.Match[str]) -> str:
    return f"{MARK}\n{MARK}" if "\n" in space[0] else MARK


def _with_mark(run: re.Match[str]) -> str:
    return run[0] + MARK


def _digits_of(text: str) -> bytes:
    """Return the hexadecimal digits of a text alone, in lower case."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return plain.encode("ascii", "ignore").lower().translate(None, _NOT_HEX)
