"""Recognises callers by their tokens. A token is verified once, and its caller is remembered until it expires."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import MutableMapping
from typing import Any, NamedTuple, TypeVar

from joserfc import jws
from joserfc.errors import (
    ClaimError,
    ExpiredTokenError,
    JoseError,
    MissingClaimError,
    UnsupportedAlgorithmError,
)
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from tidegate.access.jwt.claims import key_of
from tidegate.access.jwt.form import MOST_CHARACTERS, Refused, read
from tidegate.access.jwt.issuer import Issuer
from tidegate.access.jwt.signers import PublicKey, Signers
from tidegate.config import JwtConfig
from tidegate.errors import Unauthenticated
from tidegate.ports import Clock, Wall
from tidegate.types import Key

MOST_TOKENS = 10_000
"""How many verified tokens, and how many callers, are remembered."""
TELL_EVERY_S = 60.0
"""How often the log has the same reason."""
_LAST_DATE = 253_402_300_800  # the year 10000: no date of a token is later

T = TypeVar("T")

log = logging.getLogger(__name__)


class _Verified(NamedTuple):
    """A token's caller, the end of the token in seconds since the epoch, and the keys that it was verified with."""

    key: Key
    until: float
    signers: Signers | None


class Tokens:
    """The tokens of one issuer. Satisfies `Identifies`. `wall` is in seconds since the epoch."""

    def __init__(
        self, config: JwtConfig, issuer: Issuer, *, clock: Clock, wall: Wall, most: int = MOST_TOKENS
    ) -> None:
        self._config = config
        self._issuer = issuer
        self._clock = clock
        self._wall = wall
        self._most = most
        self._registry = _Registry(config.algorithms)
        self._verified: dict[bytes, _Verified] = {}
        self._keys: dict[str, Key] = {}
        self._refusals = _Refusals(clock)

    def recall(self, text: str) -> Key | None:
        """Return the caller of a token that was verified before. None says no more than: ask `identify`."""
        found = self._verified.get(_digest(text))
        if found is None or self._wall() >= found.until:
            return None
        # A key that the issuer has withdrawn ends the tokens that it has signed.
        if found.signers is not self._issuer.signers or self._clock() >= self._issuer.good_until:
            return None
        return found.key

    async def identify(self, text: str, *, peer: str = "") -> Key:
        """Verify a token and return its caller.

        Raises Unauthenticated, with the same words for every reason, and Overloaded if the issuer's keys are needed and
        cannot be fetched.
        """
        try:
            return await self._identify(text)
        except Refused as refused:
            self._refusals.tell(refused.why, peer)
            raise Unauthenticated("The token is not valid: get a new one from its issuer") from None

    async def _identify(self, text: str) -> Key:
        header, claims = read(text)
        if header.alg not in self._config.algorithms:
            raise Refused("its algorithm is not one of auth.jwt.algorithms")
        # Claims first: only a token that would be good with its signature can make the gateway ask the issuer for keys.
        until = self._end_of(claims)
        signer = await self._issuer.signer(header.kid, header.alg)
        signers = self._issuer.signers
        self._verify(text, signer)
        key = key_of(claims, self._config)
        known = self._keys.get(key.id)
        if known is not None and known == key:
            key = known  # one object for all tokens of a caller, by which policies know it
        else:
            _add(self._keys, key.id, key, most=self._most)
        _add(self._verified, _digest(text), _Verified(key, until, signers), most=self._most)
        return key

    def _verify(self, text: str, signer: PublicKey) -> None:
        try:
            jws.deserialize_compact(text, signer, registry=self._registry)
        except (
            JoseError,
            ValueError,
            RecursionError,
        ) as error:  # the last for a header that is nested deeply
            raise Refused("its signature does not hold, or its key is not for its algorithm") from error

    def _end_of(self, claims: dict[str, Any]) -> float:
        """Return the end of a token, in seconds since the epoch. Raises Refused for claims that do not hold."""
        config, now = self._config, self._wall()
        for name in ("exp", "nbf", "iat"):
            if name in claims and not _is_date(claims[name]):
                raise Refused(f"its claim {name} is not a date in seconds since 1970")
        expected = JWTClaimsRegistry(
            now=math.floor(now),
            leeway=config.leeway_s,
            iss={"essential": True, "value": config.issuer},
            aud={"essential": True, "values": list(config.audience)},
            exp={"essential": True},
        )
        try:
            expected.validate(claims)
        except ExpiredTokenError as error:
            raise Refused("it has expired") from error
        except ClaimError as error:  # which names one of the claims above, or sub or jti
            wrong = "is missing" if isinstance(error, MissingClaimError) else "is not what it has to be"
            raise Refused(f"its claim {error.claim} {wrong}") from error
        if claims["exp"] - claims.get("iat", now) > config.max_token_age_s:
            raise Refused("it lives longer than auth.jwt.max_token_age_s")
        return float(claims["exp"] + config.leeway_s)


class _Registry(JWSRegistry):
    """The algorithms of the configuration and no other ones, for joserfc."""

    max_header_length = max_payload_length = max_signature_length = MOST_CHARACTERS

    def __init__(self, algorithms: tuple[str, ...]) -> None:
        # Unknown names in a header have to be ignored (RFC 7515, 4).
        super().__init__(algorithms=algorithms, strict_check_header=False)
        self._ours = {name: self.algorithms[name] for name in algorithms}

    def get_alg(self, name: str) -> Any:
        """Return an algorithm of the configuration. The original also warns of `EdDSA`, which many issuers use."""
        if name not in self._ours:
            raise UnsupportedAlgorithmError
        return self._ours[name]


class _Refusals:
    """Tells in the log why tokens are refused: each reason once a minute at most, with how often it occurred."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[str, tuple[float, int]] = {}

    def tell(self, why: str, peer: str) -> None:
        """Take in one refusal. There are as few entries as reasons."""
        now = self._clock()
        at, untold = self._told.get(why, (-math.inf, 0))
        if now < at + TELL_EVERY_S:
            self._told[why] = at, untold + 1
            return
        more = f", and {untold} more since the last such line" if untold else ""
        log.warning("a token from %s was refused: %s%s", peer or "a caller", why, more)
        self._told[why] = now, 0


def _is_date(value: object) -> bool:
    """Whether a claim is a NumericDate (RFC 7519, 2) that a calendar has."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LAST_DATE


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _add(to: MutableMapping[Any, T], key: object, value: T, *, most: int) -> None:
    """Add an entry, the newest; the oldest one leaves when there are too many."""
    to.pop(key, None)
    if len(to) >= most:
        del to[next(iter(to))]
    to[key] = value
