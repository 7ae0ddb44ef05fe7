"""Tells a key from a token by its form."""

from __future__ import annotations

from tidegate.access.jwt.form import is_token
from tidegate.ports import Identifies
from tidegate.types import Key


class KeysAndTokens:
    """Satisfies `Identifies`: tokens are what has the form of one, and keys everything else.

    A secret of the configuration may have any form, so one with two dots in it counts too.
    """

    def __init__(self, keys: Identifies, tokens: Identifies) -> None:
        self._keys = keys
        self._tokens = tokens

    def recall(self, text: str) -> Key | None:
        """See `Identifies`."""
        if text.count(".") == 2 and (key := self._tokens.recall(text)) is not None:
            return key
        return self._keys.recall(text)

    async def identify(self, text: str, *, peer: str = "") -> Key:
        """See `Identifies`."""
        return await (self._tokens if is_token(text) else self._keys).identify(text, peer=peer)
