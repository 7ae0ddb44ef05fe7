"""What the claims of a verified token say about its caller."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, cast

from tidegate.access.jwt.form import Refused
from tidegate.config import ClaimsConfig, JwtConfig
from tidegate.types import Caller, Key
from tidegate.types.caller import INFERENCE

MOST_CHARACTERS = 256
"""The longest text that is taken from a claim (OpenID Connect Core 1.0, 2 allows 255 for `sub`)."""
MOST_TEXTS = 1000
"""The longest list that is taken from a claim."""
_SHOWN_CHARACTERS = 128


def key_of(claims: Mapping[str, Any], config: JwtConfig) -> Key:
    """Return who calls, as a key. Its id is the same for all tokens of one subject. Raises Refused."""
    for path, accepted in config.require.items():
        if not any(text in accepted for text in _texts(_at(claims, path))):
            raise Refused(f"its claim {path} does not have what auth.jwt.require accepts")
    paths = config.claims
    caller_id = _id(config.issuer, claims.get("sub"))
    caller = Caller(
        key=caller_id,
        user=_text(claims, paths.user),
        team=_text(claims, paths.team),
        organisation=_text(claims, paths.organisation),
        scopes=_scopes(claims, paths),
    )
    policy = _text(claims, paths.policy)
    return Key(id=caller_id, secrets=(), caller=caller, policy=policy, models=_models(claims, paths))


def _id(issuer: str, subject: object) -> str:
    if not isinstance(subject, str) or not subject:
        raise Refused("it has no subject (sub)")
    shown = subject
    if (
        len(subject) > _SHOWN_CHARACTERS
        or not (subject.isascii() and subject.isprintable())
        or subject[0] == "#"
    ):
        shown = f"#{_digest(subject)[:32]}"
    return f"jwt:{_digest(issuer)[:12]}:{shown}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _text(claims: Mapping[str, Any], path: str | None) -> str:
    """The text of a claim that has one; "" if the configuration names no claim. Raises Refused."""
    if path is None:
        return ""
    texts = _texts(_at(claims, path))
    if len(texts) != 1:
        raise Refused(f"its claim {path} is missing, or is not one text")
    return texts[0]


def _scopes(claims: Mapping[str, Any], paths: ClaimsConfig) -> frozenset[str]:
    if paths.scopes is None:
        return frozenset({INFERENCE})
    values = _words(_at(claims, paths.scopes))
    return frozenset(scope for value in values for scope in paths.scopes_by_value.get(value, ()))


def _models(claims: Mapping[str, Any], paths: ClaimsConfig) -> tuple[str, ...] | None:
    if paths.models is None:
        return None
    patterns = tuple(_words(_at(claims, paths.models)))
    if any("*" in pattern[:-1] for pattern in patterns):
        raise Refused(f"its claim {paths.models} has a '*' that is not at the end")
    return patterns


def _at(claims: Mapping[str, Any], path: str) -> object:
    """The value at a path; None if there is none. A claim of the whole name comes first: names may contain dots."""
    if path in claims:
        return claims[path]
    place = path.rfind(".")
    while place > 0:
        inner = claims.get(path[:place])
        if isinstance(inner, dict):
            return _at(cast("dict[str, Any]", inner), path[place + 1 :])
        place = path.rfind(".", 0, place)
    return None


def _texts(value: object) -> list[str]:
    """The texts of a claim: its own, or those of its list. Raises Refused for what no name may be."""
    found: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [value]
    if len(found) > MOST_TEXTS:
        raise Refused(f"one of its claims is a list of more than {MOST_TEXTS}")
    return list(_plain(one for one in found if one is not None))


def _plain(values: Iterable[Any]) -> Iterable[str]:
    for value in values:
        text = (
            str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int) else value
        )
        if not isinstance(text, str) or not 0 < len(text) <= MOST_CHARACTERS or not text.isprintable():
            raise Refused(f"one of its claims is not a text of 1 to {MOST_CHARACTERS} characters")
        yield text


def _words(value: object) -> list[str]:
    """The texts of a list, or the words of a text, as in `scope` (RFC 8693, 4.2)."""
    if isinstance(value, str):
        return _texts(value.split())
    return _texts(value)
