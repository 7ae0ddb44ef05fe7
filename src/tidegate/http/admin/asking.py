"""Reads what a request to the admin API asks for: the parameters of its query, and its body."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TypeVar

import msgspec
from starlette.requests import Request

from tidegate.access.wanted import wrong
from tidegate.errors import BadRequest
from tidegate.http.apis.openai import UNREADABLE, refusal
from tidegate.http.bodies import read_small_body
from tidegate.kernel.nearest import nearest

BODY_BYTES = 64 * 2**10
"""The largest body of a request to the admin API."""
MOST = 1000
PAGE = 100
"""How many entries a list has at most, and without the parameter `limit`."""

_UNKNOWN = re.compile(r"unknown field `(.*)`", re.DOTALL)

T = TypeVar("T", bound=msgspec.Struct)


def query_of(request: Request, known: Collection[str]) -> Mapping[str, str]:
    """The parameters of a query. Raises BadRequest for one that is not among the known ones, or is given twice."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise BadRequest(
                f"There is no query parameter '{name[:40]}' here{meant(name, known)}",
                param=name[:40],
            )
        if name in found:
            raise BadRequest(f"The query parameter '{name}' is given twice: give it once", param=name)
        found[name] = value
    return found


def meant(word: str, known: Collection[str]) -> str:
    """The end of a sentence about an unknown word: the known word that was probably meant, or all of them."""
    if not known:
        return "; there are none"
    found = nearest(word, known)
    return f"; did you mean '{found}'?" if found else f"; there are: {', '.join(known)}"


def number(query: Mapping[str, str], name: str, default: int, *, most: int = 2**63 - 1) -> int:
    """A parameter that is a whole number from 0 to `most`. Raises BadRequest."""
    text = query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > most:
        raise BadRequest(f"The query parameter '{name}' must be a whole number up to {most}", param=name)
    return int(text)


async def body_of(request: Request, kind: type[T], *, default: T | None = None) -> T:
    """The body of a request; `default` where it is empty. Raises BadRequest with the field that is wrong."""
    body = await read_small_body(request.scope, request.receive, BODY_BYTES)
    if not body and default is not None:
        return default
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        if unknown := _UNKNOWN.search(str(error)):
            raise _no_such_field(unknown[1], kind.__struct_fields__) from error
        raise refusal(error) from error


def _no_such_field(name: str, known: Collection[str]) -> BadRequest:
    meant = nearest(name, known)
    hint = f"did you mean '{meant}'?" if meant else f"there are: {', '.join(known)}"
    return wrong(name[:40], f"is not known; {hint}")
