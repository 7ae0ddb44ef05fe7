"""The form of an API key, and the digest that is kept of it.

A key reads `tg_<id>_<secret><check digit>`, in digits and small letters. The id is public: it names the key in lists and in
logs. The secret has 256 bits and is shown once, when it is made. The check digit tells a typing error apart from an unknown
key without a look-up.

A store keeps the HMAC-SHA256 (RFC 2104) of the whole text under a pepper of the server. So a copy of the store is of no use
without the pepper.
"""

from __future__ import annotations

import hmac
import re
import secrets as randomness
from collections.abc import Sequence
from hashlib import sha256

import msgspec

from tidegate.types import Key, Secret

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
ID_CHARACTERS = 10
SECRET_CHARACTERS = 50  # 36 ** 50 > 2 ** 256
LIVE_SECRETS = 2
"""How many secrets of a key can be valid at once: the new one, and the one that it replaces."""
PEPPER_BYTES = 16
"""The shortest pepper that is taken, in bytes."""

_FORM = re.compile(rf"tg_([0-9a-z]{{{ID_CHARACTERS}}})_([0-9a-z]{{{SECRET_CHARACTERS + 1}}})")
_VALUES = {digit: value for value, digit in enumerate(DIGITS)}
_NO_DIGEST = bytes(32)
_MARKED = "the mark of a pepper"  # it has not the form of a key


class KeyText(msgspec.Struct, frozen=True):
    """The whole text of a key with its id. The text is a secret, so `repr` leaves it out."""

    id: str
    text: str

    def __repr__(self) -> str:
        return f"KeyText(id={self.id!r})"


def new_id() -> str:
    """Return an id for a new key. Its 51 random bits make it unique in practice; a store refuses one that it has."""
    return _random(ID_CHARACTERS)


def new_text(id: str) -> KeyText:
    """Make a new secret for the key with this id. The result is the only place where the secret exists."""
    number = randomness.randbits(256)
    secret = "".join(DIGITS[number // 36**place % 36] for place in reversed(range(SECRET_CHARACTERS)))
    return KeyText(id, f"tg_{id}_{secret}{_check_digit(id + secret)}")


def parse(text: str) -> KeyText | None:
    """Return the key that a text is, or None if it does not have the form of a key or its check digit is wrong."""
    found = _FORM.fullmatch(text)
    if found is None or _check_digit(found[1] + found[2][:-1]) != text[-1]:
        return None
    return KeyText(found[1], text)


def id_of(text: str) -> str:
    """Return what stands where a key has its id, without checking the form; any text gives a text."""
    return text[3 : 3 + ID_CHARACTERS]


class Peppers:
    """The peppers of a server: new digests are made with the first one, and digests of each one are accepted.

    A pepper is replaced by putting the new one first. The old one can go once every key made with it has been rotated.
    """

    def __init__(self, peppers: Sequence[bytes]) -> None:
        """Raises ValueError if there is no pepper, or if one is too short."""
        if not peppers:
            raise ValueError("a pepper is needed to make digests of keys")
        if any(len(pepper) < PEPPER_BYTES for pepper in peppers):
            raise ValueError(f"a pepper has to have at least {PEPPER_BYTES} bytes")
        self._peppers = tuple([_Pepper(pepper) for pepper in peppers])

    def __repr__(self) -> str:
        return f"Peppers({len(self._peppers)})"

    def digest(self, text: str) -> bytes:
        """Return the digest to keep of a new key."""
        return self._peppers[0].digest(text)

    def marks(self) -> tuple[bytes, ...]:
        """Return what tells each pepper from another one and opens nothing, the newest first."""
        return self.digests(_MARKED)

    def digests(self, text: str) -> tuple[bytes, ...]:
        """Return the digest of a text under every pepper, the newest first."""
        if len(self._peppers) == 1:
            return (self._peppers[0].digest(text),)
        return tuple([pepper.digest(text) for pepper in self._peppers])


class _Pepper:
    """HMAC-SHA256 with one secret, whose two first blocks are hashed once (RFC 2104, 4).

    OpenSSL sets up an HMAC from the beginning for every text, which takes four times as long.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        block = sha256().block_size
        key = (sha256(secret).digest() if len(secret) > block else secret).ljust(block, b"\0")
        self._inner = sha256(bytes([byte ^ 0x36 for byte in key]))
        self._outer = sha256(bytes([byte ^ 0x5C for byte in key]))

    def digest(self, text: str) -> bytes:
        """Return the HMAC of a text."""
        inner, outer = self._inner.copy(), self._outer.copy()
        # A header may hold any text; what UTF-8 cannot hold is no key, and must not raise either.
        inner.update(text.encode("utf-8", "surrogatepass"))
        outer.update(inner.digest())
        return outer.digest()


def holds(secrets: Sequence[Secret], digests: Sequence[bytes], *, now: float) -> bool:
    """Return whether one of the digests belongs to a secret that is valid at `now`, in seconds since the epoch.

    The comparisons take the same time wherever two digests differ, and their number does not depend on the key: pass no
    secrets for a key that does not exist.
    """
    found = False
    for place in range(LIVE_SECRETS):
        secret = secrets[place] if place < len(secrets) else None
        kept = secret.digest if secret is not None else _NO_DIGEST
        live = secret is not None and (secret.expires_at is None or now < secret.expires_at)
        for digest in digests:
            found |= hmac.compare_digest(kept, digest) & live
    return found


def renewed(key: Key, digest: bytes, *, old_until: float) -> Key:
    """Return the key with a new secret. The secret that was the newest stays valid until `old_until`, others end now."""
    kept = key.secrets[: LIVE_SECRETS - 1]
    old = tuple(Secret(one.digest, _earlier(one.expires_at, old_until)) for one in kept)
    return msgspec.structs.replace(key, secrets=(Secret(digest), *old), version=key.version + 1)


def _earlier(one: float | None, other: float) -> float:
    return other if one is None else min(one, other)


def _random(length: int) -> str:
    return "".join(randomness.choice(DIGITS) for _ in range(length))


def _check_digit(text: str) -> str:
    """ISO/IEC 7064, MOD 37,36: it finds every change of one character, and nearly every exchange of two neighbours."""
    product = 36
    for character in text:
        total = (product + _VALUES[character]) % 36 or 36
        product = total * 2 % 37
    return DIGITS[(37 - product) % 36]
