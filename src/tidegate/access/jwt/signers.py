"""The public keys of an issuer, from its JSON Web Key Set (RFC 7517). No I/O.

An answer that no issuer in its senses gives is refused as a whole, and what was known before stays in use. Keys for other
purposes, and of kinds that are not known here, are left out (RFC 7517, 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import base64_to_int

MOST_KEYS = 100
# Shorter RSA keys are too weak (RFC 7518, 3.3), and longer ones take more than a millisecond for a signature.
RSA_BITS = range(2048, 8192 + 1)
RSA_EXPONENT_BITS = 32
_CURVES = {"EC": frozenset({"P-256", "P-384", "P-521"}), "OKP": frozenset({"Ed25519"})}

PublicKey = RSAKey | ECKey | OKPKey


class Poisoned(Exception):
    """An answer of an issuer that must not be used. `why` has no text of the answer."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class _Jwk(msgspec.Struct, frozen=True):
    """What is read of a key. `d` and `k` are secret: they must not be there."""

    kty: str
    kid: str | None = None
    use: str | None = None
    key_ops: tuple[str, ...] | None = None
    alg: str | None = None
    n: str | None = None
    e: str | None = None
    crv: str | None = None
    x: str | None = None
    y: str | None = None
    d: str | None = None
    k: str | None = None


class _Jwks(msgspec.Struct, frozen=True):
    keys: list[_Jwk]


class Signers:
    """The keys of an issuer."""

    def __init__(self, keys: Mapping[_Jwk, PublicKey]) -> None:
        self._described = frozenset(keys)
        self._by_kid = {jwk.kid: key for jwk, key in keys.items() if jwk.kid is not None}
        self._all = list(keys.values())

    def __len__(self) -> int:
        return len(self._all)

    def same(self, other: Signers) -> bool:
        """Return whether both sets have the same keys."""
        return self._described == other._described

    def find(self, kid: str | None, alg: str) -> PublicKey | None:
        """Return the key with this id, or without an id the only one that the algorithm can use; None if there is none.

        A key with this id that the algorithm cannot use is not left out: verifying with it fails.
        """
        if kid is not None:
            return self._by_kid.get(kid)
        fitting = [key for key in self._all if fits(key, alg)]
        return fitting[0] if len(fitting) == 1 else None


def fits(key: PublicKey, alg: str) -> bool:
    """Return whether an algorithm can use a key: the kind, the curve, and what the key itself says of its use."""
    try:
        JWSRegistry.algorithms[alg].check_key(key)
    except JoseError:
        return False
    return True


def signers_of(answer: bytes) -> Signers:
    """Return the keys of a JSON Web Key Set that can verify signatures. Raises Poisoned."""
    try:
        listed = msgspec.json.decode(answer, type=_Jwks).keys
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Poisoned("is not a JSON Web Key Set") from error
    if len(listed) > MOST_KEYS:
        raise Poisoned(f"has more than {MOST_KEYS} keys")
    if any(jwk.kty == "oct" or jwk.k is not None or jwk.d is not None for jwk in listed):
        raise Poisoned("has a secret: a symmetric or a private key, with which everybody could sign")
    usable = [jwk for jwk in listed if _is_usable(jwk)]
    named = [jwk.kid for jwk in usable if jwk.kid is not None]
    if len(set(named)) != len(named):
        raise Poisoned("has two keys with the same kid")
    keys = {jwk: key for jwk in usable if (key := _imported(jwk)) is not None}
    if not keys:
        raise Poisoned("has no key that can verify signatures")
    return Signers(keys)


def _is_usable(jwk: _Jwk) -> bool:
    """Whether a key is for signatures (RFC 7517, 4.2 and 4.3), and of a known kind."""
    if jwk.use not in (None, "sig") or (jwk.key_ops is not None and "verify" not in jwk.key_ops):
        return False
    return jwk.kty == "RSA" or jwk.crv in _CURVES.get(jwk.kty, ())


def _imported(jwk: _Jwk) -> PublicKey | None:
    """Return the key, or None for an RSA key that is too weak or too large. Raises Poisoned for one that is no key."""
    known: Mapping[str, Any] = {
        name: value
        for name in ("kty", "kid", "alg", "n", "e", "crv", "x", "y")
        if (value := getattr(jwk, name)) is not None
    }
    try:
        if jwk.kty == "RSA":
            if not _is_strong(jwk):
                return None
            return RSAKey.import_key(dict(known))
        return (ECKey if jwk.kty == "EC" else OKPKey).import_key(dict(known))
    except (JoseError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Poisoned("has a key that cannot be read") from error


def _is_strong(jwk: _Jwk) -> bool:
    bits = base64_to_int(jwk.n or "").bit_length()
    return bits in RSA_BITS and base64_to_int(jwk.e or "").bit_length() <= RSA_EXPONENT_BITS
