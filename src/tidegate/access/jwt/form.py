"""The form of a token, read strictly and before any signature is verified (RFC 7515, 7.1; RFC 7519, 7.2).

Signatures are verified by joserfc. This module refuses what it would leave to the application: headers that ask for another
meaning of the token, and JSON that two readers could understand differently (RFC 8725, 2.4).
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

import msgspec
from joserfc.util import urlsafe_b64decode

MOST_CHARACTERS = 16 * 1024
"""The longest token. Tokens with many groups have a few kilobytes."""
MOST_HEADER_CHARACTERS = 8 * 1024
MOST_KID_CHARACTERS = 256
_FORM = re.compile(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")
_BEGINNING = "eyJ"  # of every JSON object in base64url, unless there is a space in front of its first name
# Types of a token that shows who calls (RFC 7519, 5.1; RFC 9068, 2.1). Other types are for other purposes: a logout token
# of the same issuer, say, must not open the gateway (RFC 8725, 3.11).
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})


class Refused(Exception):
    """A token that is not accepted. `why` is for the log. It has no text of the token, so there are few different ones."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Header(msgspec.Struct, frozen=True):
    """What the header of a token says of its signature. `kid` is None where the header names no key."""

    alg: str
    kid: str | None


def is_token(text: str) -> bool:
    """Return whether a text is meant as a token: it has three parts in base64url, or begins as a token does.

    So a token that is cut short, or an encrypted one, is refused in the same words as every other token.
    """
    return text.startswith(_BEGINNING) or _FORM.fullmatch(text) is not None


def read(text: str) -> tuple[Header, dict[str, Any]]:
    """Return the header and the claims of a token, of which nothing is verified yet. Raises Refused."""
    if len(text) > MOST_CHARACTERS:
        raise Refused(f"it is longer than {MOST_CHARACTERS} characters")
    if _FORM.fullmatch(text) is None:
        raise Refused("it does not have three parts in base64url")
    head, claims, _ = text.split(".")
    if len(head) > MOST_HEADER_CHARACTERS:
        raise Refused(f"its header is longer than {MOST_HEADER_CHARACTERS} characters")
    return _header(_members(head, "header")), _members(claims, "payload")


def _header(found: dict[str, Any]) -> Header:
    alg, kid = found.get("alg"), found.get("kid")
    if not isinstance(alg, str):
        raise Refused("its header names no algorithm")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MOST_KID_CHARACTERS):
        raise Refused(f"the kid of its header is not a text of at most {MOST_KID_CHARACTERS} characters")
    # No extension is understood here, and `b64` is one (RFC 7515, 4.1.11; RFC 7797, 3). `cty` is for nested tokens.
    for name in ("crit", "b64", "cty", "enc"):
        if name in found:
            raise Refused(f"its header has {name}, which is not supported")
    kind = found.get("typ")
    if kind is not None and not (isinstance(kind, str) and kind.lower() in _TYPES):
        raise Refused("its type (typ) is not that of an access token or an ID token")
    return Header(alg, kid)


def _members(part: str, name: str) -> dict[str, Any]:
    """Return the members of the JSON object in a part. Raises Refused, also if a name is there twice."""
    try:
        found = _DECODER.decode(urlsafe_b64decode(part.encode()).decode())
    except (ValueError, RecursionError) as error:
        raise Refused(f"its {name} is not a JSON object with names that differ") from error
    if not isinstance(found, dict):
        raise Refused(f"its {name} is not a JSON object with names that differ")
    return cast("dict[str, Any]", found)


def _differ(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")  # NaN and Infinity, which Python would take


_DECODER = json.JSONDecoder(object_pairs_hook=_differ, parse_constant=_no_constant)
