"""Every error that a caller of Tidegate can meet.

    GatewayError                      500
    ├─ BadRequest                     400   the request is wrong; `param` names the field
    │  └─ UpstreamRejected            4xx   the engine found it wrong; its own words, its own status
    │     ├─ ContextExceeded          400   the prompt is longer than the engine's context
    │     └─ UpstreamModelNotFound    404   the engine does not know the model that the client named
    ├─ Unauthenticated                401
    ├─ Forbidden                      403
    ├─ NotFound                       404
    │  └─ ModelNotFound               404
    ├─ MethodNotAllowed               405
    ├─ MethodUnknown                  501   no route takes such a method
    ├─ RequestTimeout                 408   the request's body did not come
    ├─ PayloadTooLarge                413
    ├─ UnsupportedMediaType           415
    ├─ Misdirected                    421   the Host is not one that is served
    ├─ HeadTooLarge                   431
    ├─ RateLimited                    429   your own quota
    │  └─ BudgetExceeded              429   your own budget of money
    ├─ Overloaded                     503   our capacity
    │  └─ UpstreamBusy                503   the engine's capacity (its 429 or 503)
    ├─ DeadlineExceeded               504
    ├─ UpstreamError                  502   the engine failed or broke off
    │  ├─ UpstreamUnreachable         503   no connection: nothing was sent
    │  ├─ UpstreamTimeout             504   an egress timeout ran out
    │  ├─ UpstreamOutOfQuota          429   the gateway's account with the engine is used up
    │  └─ UpstreamMisconfigured       502   the configuration names what the engine does not have
    └─ NotSupported                   501   no engine behind this model can do it

    ConfigError (not a GatewayError)        a configuration that cannot be used, with every mistake in it

Each class knows its HTTP status, its machine-readable `code`, whether a client may try again, and its log level. Shape on
the wire: OpenAI's error object (https://platform.openai.com/docs/guides/error-codes).
"""

from __future__ import annotations

import enum
import logging
import math
from typing import Any, ClassVar, NamedTuple

import msgspec

RETRY_AFTER_S = 1.0
"""When to come back after a 429 or a 503 that knows no better time."""


class Again(enum.Enum):
    """Whether a call that failed so may be tried once more before anything has left."""

    NO = enum.auto()
    SAME = enum.auto()
    """By the same engine: it cannot have worked on the call, or it died of something else and comes back."""
    ELSEWHERE = enum.auto()
    """By another engine: this one was never reached."""


class Upstream(msgspec.Struct):
    """Where a call failed. For the operator's log, never for a client.

    `model` is the engine's name for the model, `url` has no secrets, `status` is 0 without an answer, and `request_id` is
    the engine's own name for the request.
    """

    engine: str = ""
    model: str = ""
    url: str = ""
    status: int = 0
    request_id: str = ""


class GatewayError(Exception):
    """A call failed in a way the client may be told about.

    `message` is public. `retry_after_s` is in seconds and becomes the `Retry-After` header; without it a 429 and a 503 say
    `RETRY_AFTER_S`. `cause` and `upstream` are for the operator's log alone. `told_code` is a code that clients act on; it
    takes the place of `code` in the body, while metrics count `code`.
    """

    status: int = 500
    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "server_error"
    retryable: bool = False
    level: int = logging.ERROR
    again: Again = Again.NO
    aggregated: ClassVar[bool] = False
    """Whether the log counts such errors by code, one line a second, instead of one line each."""
    cause: str = ""
    told_code: str = ""

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.upstream = Upstream()

    def body(self) -> bytes:
        """The error as JSON in OpenAI's shape."""
        detail: dict[str, Any] = {
            "message": self.message,
            "type": self.type,
            "code": self.told_code or self.code,
            "param": self.param,
        }
        return msgspec.json.encode({"error": detail})

    def headers(self) -> list[tuple[bytes, bytes]]:
        """`Retry-After` with a 429, a 503 and wherever a time is known; `x-should-retry: false` where nothing will help."""
        wait_s = self.retry_after_s
        if wait_s is None and self.status in (429, 503):
            wait_s = RETRY_AFTER_S
        found = [] if self.retryable else [(b"x-should-retry", b"false")]
        if wait_s is not None:
            found.append((b"retry-after", b"%d" % max(1, math.ceil(wait_s))))
        return found


class BadRequest(GatewayError):
    """The request can never succeed as it stands."""

    status = 400
    code = "invalid_request"
    type = "invalid_request_error"
    level = logging.INFO


class UpstreamRejected(BadRequest):
    """The engine refused the request as wrong; `status` is the engine's own 4xx."""

    code = "engine_rejected_request"

    def __init__(
        self, message: str, *, status: int | None = None, param: str | None = None, told_code: str = ""
    ) -> None:
        super().__init__(message, param=param)
        if status is not None:
            self.status = status
        self.told_code = told_code


class ContextExceeded(UpstreamRejected):
    """The prompt, alone or with the answer asked for, is longer than the engine's context; in the engine's own words."""

    code = "context_length_exceeded"


class UpstreamModelNotFound(UpstreamRejected):
    """The engine does not know the model that the client named."""

    status = 404
    code = "model_not_found"


class Unauthenticated(BadRequest):
    """No credential, or one that is not known."""

    status = 401
    code = "invalid_api_key"
    type = "authentication_error"


class Forbidden(BadRequest):
    """A known caller without the right to do this."""

    status = 403
    code = "permission_denied"
    type = "permission_error"


class NotFound(BadRequest):
    """No such route or resource."""

    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    """The model is not configured, or not for this caller."""

    code = "model_not_found"


class MethodNotAllowed(BadRequest):
    """The route exists, the method does not."""

    status = 405
    code = "method_not_allowed"


class MethodUnknown(BadRequest):
    """No route here takes such a method (RFC 9110, 9.1)."""

    status = 501
    code = "method_not_implemented"


class RequestTimeout(BadRequest):
    """The rest of the request did not come, or too slowly (`server.body_idle_ms`, `server.min_body_bytes_per_s`)."""

    status = 408
    code = "request_timeout"
    type = "timeout_error"
    retryable = True


class PayloadTooLarge(BadRequest):
    """The body exceeds `server.max_body_bytes`."""

    status = 413
    code = "payload_too_large"


class UnsupportedMediaType(BadRequest):
    """The body is not plain JSON."""

    status = 415
    code = "unsupported_media_type"


class Misdirected(BadRequest):
    """The header `Host` names nobody that is served here (`server.allowed_hosts`; RFC 9110, 15.5.20)."""

    status = 421
    code = "host_not_allowed"


class HeadTooLarge(BadRequest):
    """The headers exceed `server.max_head_bytes` or `server.max_headers` (RFC 6585, 5)."""

    status = 431
    code = "headers_too_large"


class RateLimited(GatewayError):
    """The caller's own quota is used up.

    `at` is the level whose limit refused the call, such as `team`, and `dimension` the limit, such as
    `tokens_per_minute`. `left` and `resets_s` have a figure for each want of the call, as in a Ticket.
    """

    status = 429
    code = "rate_limit_exceeded"
    type = "rate_limit_error"
    retryable = True
    level = logging.INFO
    at: str = ""
    dimension: str = ""
    left: tuple[int, ...] = ()
    resets_s: tuple[float, ...] = ()


class BudgetExceeded(RateLimited):
    """The caller's own budget for the day or the month is used up."""

    code = "insufficient_quota"
    type = "insufficient_quota"
    retryable = False


class Overloaded(GatewayError):
    """Capacity is used up; the caller did nothing wrong."""

    status = 503
    code = "overloaded"
    retryable = True
    level = logging.WARNING
    aggregated = True


class UpstreamBusy(Overloaded):
    """The engine itself refused for lack of capacity."""

    code = "engine_overloaded"


class DeadlineExceeded(GatewayError):
    """The call's deadline passed before it was answered."""

    status = 504
    code = "deadline_exceeded"
    type = "timeout_error"
    retryable = True
    level = logging.WARNING


class UpstreamError(GatewayError):
    """The engine failed, broke off, or answered with something that is not an answer."""

    status = 502
    code = "engine_error"
    retryable = True
    level = logging.WARNING


class UpstreamUnreachable(UpstreamError):
    """No connection to the engine; the request was not sent."""

    status = 503
    code = "engine_unreachable"
    again = Again.ELSEWHERE


class UpstreamTimeout(UpstreamError):
    """The engine was silent for longer than its timeouts allow."""

    status = 504
    code = "engine_timeout"
    type = "timeout_error"


class UpstreamOutOfQuota(UpstreamError):
    """The gateway's account with the engine is used up: its quota or its credit. Waiting does not help."""

    status = 429
    code = "insufficient_quota"
    type = "insufficient_quota"
    retryable = False
    level = logging.ERROR
    aggregated = True


class UpstreamMisconfigured(UpstreamError):
    """The engine does not know the model or the path that the configuration names; the operator has to mend it."""

    code = "engine_misconfigured"
    retryable = False
    level = logging.ERROR


def misnamed(error: UpstreamModelNotFound, route: str) -> UpstreamMisconfigured:
    """The same failure, where it was not the client that named the model to the engine but `models.ROUTE`."""
    found = UpstreamMisconfigured(
        f"the engine does not know the model that models.{route} names; the operator has to mend it"
    )
    found.cause, found.upstream = error.cause, error.upstream
    return found


class NotSupported(GatewayError):
    """No engine behind this model can do what was asked."""

    status = 501
    code = "not_supported"
    type = "invalid_request_error"
    level = logging.INFO


class Problem(NamedTuple):
    """One mistake in a configuration: where it is (`engines.local.url`), what is wrong and how to mend it."""

    path: str
    message: str


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` holds every mistake found, not only the first."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        lines = [f"  {p.path or '(top)'}: {p.message}" for p in problems]
        noun = "problem" if len(problems) == 1 else "problems"
        super().__init__("\n".join([f"{source}: {len(problems)} {noun}", *lines]))
