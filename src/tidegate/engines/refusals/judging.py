"""Turns an engine's failure into one of the gateway's errors.

The error depends on the status, code, type and words of the failure. So a failure becomes the same error whether it
arrives as a status, in the body of a 200 or as an event. The client gets the engine's own words only for an error that it
can fix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import MappingProxyType

from tidegate.engines.refusals.reading import Explanation
from tidegate.engines.refusals.words import BY_NAME, BY_WORDS, PATH, TOLD_CODES, Kind
from tidegate.errors import (
    ContentRefused,
    ContextExceeded,
    GatewayError,
    NotSupported,
    UpstreamBusy,
    UpstreamError,
    UpstreamMisconfigured,
    UpstreamModelNotFound,
    UpstreamOutOfQuota,
    UpstreamRejected,
    UpstreamTimeout,
)

MAX_RETRY_AFTER_S = 60.0


def judge(status: int | None, told: Explanation, retry_after_s: float | None = None) -> GatewayError:
    """Return the error for a failure. `status` is None for a failure inside a 200."""
    if status is None:
        status = told.status
    kind = kind_of(status, told)
    error = _error(kind, status or 0, told, retry_after_s)
    error.cause = _words(status, told)
    return error


def kind_of(status: int | None, told: Explanation) -> Kind:
    """Return the kind of a failure. Its code and type are checked first, then its status, then its words."""
    return (
        _named(told, _BY_ANY_STATUS)
        or _KIND_OF.get(status or 0)
        or _of_status(status, told)
        or _of_request(status, told)
        or (Kind.WRONG if status is not None and 400 <= status < 500 else Kind.FAILED)
    )


# Codes and types of these kinds are unambiguous with any status.
_BY_ANY_STATUS = (Kind.QUOTA, Kind.CONTEXT, Kind.CONTENT, Kind.MODEL)
_KIND_OF: Mapping[int, Kind] = MappingProxyType(
    {402: Kind.QUOTA, 401: Kind.CREDENTIALS, 403: Kind.CREDENTIALS, 407: Kind.CREDENTIALS}
    | {408: Kind.TIMEOUT, 504: Kind.TIMEOUT, 501: Kind.FAILED}
)


def _of_status(status: int | None, told: Explanation) -> Kind | None:
    if status in (429, 503):
        return _worded(told, [Kind.QUOTA]) or Kind.BUSY
    if status == 404:
        return Kind.FAILED if PATH.fullmatch(told.message or "not found") else Kind.MODEL
    return None


def _of_request(status: int | None, told: Explanation) -> Kind | None:
    """Return the kind by names and words if the status is unspecific (400, 413, 422, 500) or there is none."""
    if status is None:
        everything = (Kind.BUSY, Kind.CREDENTIALS, Kind.TIMEOUT, Kind.WRONG)
        return _worded(told, [Kind.CONTEXT]) or _named(told, everything) or _worded(told, BY_WORDS)
    found = (
        _worded(told, [Kind.CONTEXT, Kind.QUOTA, Kind.CREDENTIALS])
        if status in (400, 413, 422, 500)
        else None
    )
    if (
        found is None and status != 413
    ):  # a 413 means that the request is too large, even if its code names a rate limit
        found = _named(told, (Kind.BUSY, Kind.CREDENTIALS))
    return found


def _named(told: Explanation, kinds: Iterable[Kind]) -> Kind | None:
    names = {_bare(name) for name in (told.code, told.type) if isinstance(name, str)}
    return next((kind for kind in kinds if names & BY_NAME[kind]), None)


def _bare(name: str) -> str:
    """Return the last part of a name without case and separators: `Some.Path#RateLimitError` equals `rate_limit_error`."""
    last = name.replace("#", ".").replace("/", ".").rpartition(".")[2]
    return "".join(letter for letter in last.lower() if letter.isalnum())


# How many characters of a message are searched. Engines name the failure in the first sentence. The search takes a
# millisecond.
_READ = 600


def _worded(told: Explanation, kinds: Iterable[Kind]) -> Kind | None:
    said = (told.message or "")[:_READ]
    return next((kind for kind in kinds if BY_WORDS[kind].search(said)), None)


def _words(status: int | None, told: Explanation) -> str:
    """Return the engine's status and explanation as a message for the operator."""
    names = ", ".join(dict.fromkeys(str(one) for one in (told.type, told.code) if one not in (None, status)))
    said = told.message or "no reason"
    how = "reported an error in its answer" if status is None else f"answered with status {status}"
    return f"the engine {how}: {said}{f' ({names})' if names else ''}"


# ------------------------------------------------------------------------------------------------------------- the errors


def _error(kind: Kind, status: int, told: Explanation, retry_after_s: float | None) -> GatewayError:
    if kind is Kind.BUSY:
        return UpstreamBusy("the engine has no capacity left", retry_after_s=retry_after_s)
    if kind is Kind.QUOTA:
        return UpstreamOutOfQuota(
            "the gateway's account with the engine is used up; the operator has to fix it"
        )
    if kind in _CLIENTS:
        return _rejected(kind, status, told)
    if kind is Kind.CREDENTIALS:
        whose = "proxy" if status == 407 else "engine"
        return UpstreamError(f"the {whose} refused the gateway's credentials")
    if kind is Kind.TIMEOUT:
        return UpstreamTimeout("the engine timed out")
    return _failed(status)


_CLIENTS = frozenset({Kind.CONTEXT, Kind.CONTENT, Kind.MODEL, Kind.WRONG})


def _rejected(kind: Kind, status: int, told: Explanation) -> GatewayError:
    """Return the error for a failure that the client can fix, in the engine's own words."""
    said = told.message
    code = told.code if isinstance(told.code, str) and told.code in TOLD_CODES else ""
    if kind is Kind.CONTEXT:
        return ContextExceeded(
            said or "the prompt is longer than the engine's context", param=told.param or "messages"
        )
    if kind is Kind.MODEL:
        words = f": {said}" if said else ""
        return UpstreamModelNotFound(f"the engine does not know this model{words}", param="model")
    refused = ContentRefused if kind is Kind.CONTENT else UpstreamRejected
    if kind is Kind.CONTENT:
        code = code or "content_filter"
        said = said or "the engine's content filter refused the request"
    return refused(
        said or "the engine rejected the request",
        status=status if 400 <= status < 500 else 400,
        param=told.param,
        told_code=code,
    )


def _failed(status: int) -> GatewayError:
    if status == 501:
        return NotSupported("the engine does not support this")
    if status == 404:
        return UpstreamMisconfigured(
            "the engine does not serve this path: the URL in the configuration is wrong"
        )
    if 300 <= status < 400:
        return UpstreamMisconfigured("the engine redirects elsewhere: the URL in the configuration is wrong")
    if status:
        return UpstreamError(f"the engine failed with status {status}")
    return UpstreamError("the engine reported an error in its answer")


# ------------------------------------------------------------------------------------------------------------ retry delay


def wait_s(headers: Mapping[bytes, bytes], now: float) -> float | None:
    """Return the seconds that an engine asks to wait, at most 60, or None if it does not say.

    `Retry-After` is a number of seconds, which may have a fraction, or an HTTP date (RFC 9110, 10.2.3). OpenAI and Azure
    also send `retry-after-ms`, which is used first because it is more precise. `now` is in seconds since the epoch.
    """
    in_ms = _number(headers.get(b"retry-after-ms", b""))
    if in_ms is not None:
        return min(in_ms / 1000, MAX_RETRY_AFTER_S)
    said = headers.get(b"retry-after", b"")
    seconds = _number(said)
    if seconds is None:
        at = _date(said)
        seconds = None if at is None else max(0.0, at - now)
    return None if seconds is None else min(seconds, MAX_RETRY_AFTER_S)


_NUMBER = re.compile(rb"\s*(\d+(\.\d*)?|\.\d+)\s*")


def _number(said: bytes) -> float | None:
    """Return the number, or None if it is malformed. A number too large for a float becomes infinity."""
    return float(said) if _NUMBER.fullmatch(said) else None


def _date(said: bytes) -> float | None:
    try:
        found = parsedate_to_datetime(said.decode("ascii"))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
