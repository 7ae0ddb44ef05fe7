"""How a request shows its key: `Authorization: Bearer`, `x-api-key` or `api-key`."""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.errors import Unauthenticated

KEY_HEADERS = (b"x-api-key", b"api-key")
"""The headers of Anthropic's clients and of Azure's, beside `Authorization` (RFC 6750, 2.1)."""


def presented(headers: Mapping[bytes, bytes]) -> str:
    """The key of a request. Raises Unauthenticated where there is none, or where there are two different ones.

    `headers` maps lower-case names to values.
    """
    key = b""
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, key = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthenticated("The header 'Authorization' must read 'Bearer ' and the API key")
        key = key.strip()
    for name in KEY_HEADERS:
        other = headers.get(name, b"").strip()
        if key and other and key != other:
            raise Unauthenticated("The request has two different API keys; send one")
        key = key or other
    if not key:
        raise Unauthenticated("An API key is needed: send it as 'Authorization: Bearer KEY'")
    return key.decode("latin-1")  # which takes any byte; no valid key has one beyond ASCII
