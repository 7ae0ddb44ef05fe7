"""Every error that a caller of Tidegate can meet.

    GatewayError                      500
    ├─ BadRequest                     400   the request is wrong; `param` names the field
    │  └─ UpstreamRejected            4xx   the engine refused the request; its message and its status
    │     ├─ ContextExceeded          400   the prompt is longer than the engine's context
    │     ├─ ContentRefused           400   the engine's content filter refused the request
    │     └─ UpstreamModelNotFound    404   the engine does not know the model that the client named
    ├─ Unauthenticated                401
    ├─ Forbidden                      403
    ├─ NotFound                       404
    │  └─ ModelNotFound               404
    ├─ MethodNotAllowed               405
    ├─ MethodUnknown                  501   no route accepts this method
    ├─ Conflict                       409   the request does not fit the present state
    ├─ RequestTimeout                 408   the request's body did not arrive
    ├─ PayloadTooLarge                413
    ├─ UnsupportedMediaType           415
    ├─ Misdirected                    421   the gateway does not serve this Host
    ├─ IdempotencyKeyReused           422   the Idempotency-Key of another request
    ├─ HeadTooLarge                   431
    ├─ RateLimited                    429   the caller's quota is used up
    │  └─ BudgetExceeded              429   the caller's budget of money is used up
    ├─ Overloaded                     503   the gateway's capacity is used up
    │  └─ UpstreamBusy                503   the engine's capacity is used up (its 429 or 503)
    ├─ RailFailed                     503   a rail could not check the input, so nothing is known of it
    ├─ DeadlineExceeded               504
    ├─ UpstreamError                  502   the engine failed, or its answer broke off
    │  ├─ UpstreamUnreachable         503   no connection: nothing was sent
    │  ├─ UpstreamTimeout             504   a timeout of an exchange with the engine expired
    │  ├─ UpstreamOutOfQuota          429   the gateway's account with the engine is used up
    │  └─ UpstreamMisconfigured       502   the configuration names a model or path that the engine does not have
    └─ NotSupported                   501   no engine behind this model can do it

    ConfigError (not a GatewayError)        a configuration that cannot be used, with every mistake in it

Each class has its HTTP status, its machine-readable `code`, whether a client may try again, and its log level. Clients get
an error as OpenAI's error object (https://platform.openai.com/docs/guides/error-codes).
"""

from __future__ import annotations

import enum
import logging
import math
from typing import ClassVar, NamedTuple

import msgspec

RETRY_AFTER_S = 1.0
"""The seconds in the `Retry-After` header of a 429 or a 503 if no better time is known."""


class Again(enum.Enum):
    """Whether, and where, a failed call may be tried once more, if nothing was sent to the client yet."""

    NO = enum.auto()
    SAME = enum.auto()
    """On the same engine: it cannot have worked on the call, or it failed for another reason and restarts."""
    ELSEWHERE = enum.auto()
    """On another engine: this one failed or could not be reached. On the same one only if there is no other."""


class Upstream(msgspec.Struct):
    """The place where a call failed, for the operator's log. Clients never get it.

    `model` and `request_id` are the engine's own. `url` has no secrets. `status` is 0 if the engine did not answer.
    """

    engine: str = ""
    model: str = ""
    url: str = ""
    status: int = 0
    request_id: str = ""


class GatewayError(Exception):
    """The failure of a call, reported to its client.

    `message` is public. `retry_after_s` is for the `Retry-After` header, or else `RETRY_AFTER_S` for a 429 or 503. `cause`
    and `upstream` are only for the operator's log. `told_code` replaces `code` in the body, for a code that clients react
    to. Metrics always count `code`. The log has one line per second with the number of `aggregated` errors.
    """

    status: int = 500
    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "server_error"
    retryable: bool = False
    level: int = logging.ERROR
    again: Again = Again.NO
    aggregated: ClassVar[bool] = False
    cause: str = ""
    told_code: str = ""

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.upstream = Upstream()

    def body(self) -> bytes:
        """Return the error as JSON, in the form of OpenAI's errors."""
        detail = {"message": self.message, "type": self.type, "code": self.told_code or self.code}
        return msgspec.json.encode({"error": {**detail, "param": self.param}})

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers for retries; `x-should-retry: false` if trying again cannot help.

        `Retry-After` is sent with a 429, with a 503 and if a time is known, `retry-after-ms` if a time is known.
        """
        wait_s = self.retry_after_s
        if wait_s is None and self.status in (429, 503):
            wait_s = RETRY_AFTER_S
        found = [] if self.retryable else [(b"x-should-retry", b"false")]
        if wait_s is not None:
            found.append((b"retry-after", b"%d" % max(1, math.ceil(wait_s))))
        if self.retry_after_s is not None:
            found.append((b"retry-after-ms", b"%d" % max(1, math.ceil(1000 * self.retry_after_s))))
        return found


class BadRequest(GatewayError):
    """The request can never succeed as it stands."""

    status = 400
    code = "invalid_request"
    type = "invalid_request_error"
    level = logging.INFO


class UpstreamRejected(BadRequest):
    """The engine refused the request as wrong. `status` is the engine's own 4xx."""

    code = "engine_rejected_request"

    def __init__(
        self, message: str, *, status: int | None = None, param: str | None = None, told_code: str = ""
    ) -> None:
        super().__init__(message, param=param)
        if status is not None:
            self.status = status
        self.told_code = told_code


class ContextExceeded(UpstreamRejected):
    """The prompt, alone or with the requested answer, is longer than the engine's context. The message is the engine's."""

    code = "context_length_exceeded"


class ContentRefused(UpstreamRejected):
    """The engine's content filter refused the request. The message is the engine's."""


class UpstreamModelNotFound(UpstreamRejected):
    """The engine does not know the model that the client named."""

    status = 404
    code = "model_not_found"


class Unauthenticated(BadRequest):
    """The request has no credential, or an unknown one."""

    status = 401
    code = "invalid_api_key"
    type = "authentication_error"

    def headers(self) -> list[tuple[bytes, bytes]]:
        """See `GatewayError.headers`; and how to show a key (RFC 9110, 11.6.1)."""
        return [*super().headers(), (b"www-authenticate", b"Bearer")]


class Forbidden(BadRequest):
    """The caller is known, but is not permitted to do this."""

    status = 403
    code = "permission_denied"
    type = "permission_error"


class NotFound(BadRequest):
    """There is no such route or resource."""

    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    """The model is not configured, or not available to this caller."""

    code = "model_not_found"


class MethodNotAllowed(BadRequest):
    """The route exists, but it does not accept this method."""

    status = 405
    code = "method_not_allowed"


class MethodUnknown(BadRequest):
    """No route accepts this method (RFC 9110, 9.1)."""

    status = 501
    code = "method_not_implemented"


class Conflict(BadRequest):
    """The request does not fit the present state, such as a change of a key that was revoked."""

    status = 409
    code = "conflict"


class RequestTimeout(BadRequest):
    """The rest of the body did not arrive in time (`server.body_idle_ms`, `server.min_body_bytes_per_s`)."""

    status = 408
    code = "request_timeout"
    type = "timeout_error"
    retryable = True


class PayloadTooLarge(BadRequest):
    """The body exceeds `server.max_body_bytes`."""

    status = 413
    code = "payload_too_large"


class IdempotencyKeyReused(BadRequest):
    """The request has the `Idempotency-Key` of another request."""

    status = 422
    code = "idempotency_key_reused"


class UnsupportedMediaType(BadRequest):
    """The body is not plain JSON."""

    status = 415
    code = "unsupported_media_type"


class Misdirected(BadRequest):
    """The header `Host` names a host that is not served here (`server.allowed_hosts`; RFC 9110, 15.5.20)."""

    status = 421
    code = "host_not_allowed"


class HeadTooLarge(BadRequest):
    """The headers exceed `server.max_head_bytes` or `server.max_headers` (RFC 6585, 5)."""

    status = 431
    code = "headers_too_large"


class RateLimited(GatewayError):
    """The caller's own quota is used up.

    `at` is the level whose limit refused the call (`team`), and `dimension` the limit (`tokens_per_minute`). After a limit
    for a day, the answer has `x-should-retry: false`. `left` has what remains of each limit. `needs` is what the
    call needs of the limit's `bucket`, and `in_flight` says that running calls may give some back sooner.
    """

    status = 429
    code = "rate_limit_exceeded"
    type = "rate_limit_error"
    retryable = True
    level = logging.INFO
    at: str = ""
    dimension: str = ""
    left: tuple[int, ...] = ()
    bucket: str = ""
    needs: int = 0
    in_flight: bool = False


class BudgetExceeded(RateLimited):
    """The caller's own budget of money for the day or the month is used up. Budgets cannot be configured yet."""

    code = "insufficient_quota"
    type = "insufficient_quota"
    retryable = False


class Overloaded(GatewayError):
    """The gateway's capacity is used up. `queue` is what the queue says of the call, if it has refused it."""

    status = 503
    code = "overloaded"
    retryable = True
    level = logging.WARNING
    aggregated = True
    queue: bytes = b""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """See `GatewayError.headers`; and what the queue says."""
        found = super().headers()
        return [*found, (b"x-tidegate-queue", self.queue)] if self.queue else found


class UpstreamBusy(Overloaded):
    """The engine itself refused for lack of capacity."""

    code = "engine_overloaded"
    again = Again.ELSEWHERE


class RailFailed(GatewayError):
    """A rail could not check an input for moderation, so it is not known whether it is harmful."""

    status = 503
    code = "rail_failed"
    retryable = True
    level = logging.WARNING


class DeadlineExceeded(GatewayError):
    """The call's deadline passed before it was answered."""

    status = 504
    code = "deadline_exceeded"
    type = "timeout_error"
    retryable = True
    level = logging.WARNING


class UpstreamError(GatewayError):
    """The engine failed, its answer broke off, or its answer is not usable."""

    status = 502
    code = "engine_error"
    retryable = True
    level = logging.WARNING
    again = Again.ELSEWHERE


class UpstreamUnreachable(UpstreamError):
    """There is no connection to the engine. The request was not sent."""

    status = 503
    code = "engine_unreachable"


class UpstreamTimeout(UpstreamError):
    """The engine was silent for longer than its timeouts allow."""

    status = 504
    code = "engine_timeout"
    type = "timeout_error"


class UpstreamOutOfQuota(UpstreamError):
    """The quota or credit of the gateway's account with the engine is used up. Waiting does not help."""

    status = 429
    code = "insufficient_quota"
    type = "insufficient_quota"
    retryable = False
    level = logging.ERROR
    aggregated = True


class UpstreamMisconfigured(UpstreamError):
    """The engine does not know the model or the path that the configuration names. The operator has to fix it."""

    code = "engine_misconfigured"
    retryable = False
    level = logging.ERROR


class NotSupported(GatewayError):
    """No engine behind this model can do what the request asks for."""

    status = 501
    code = "not_supported"
    type = "invalid_request_error"
    level = logging.INFO


class Problem(NamedTuple):
    """One mistake in a configuration: its path (`engines.local.url`), and a message with the fault and the fix."""

    path: str
    message: str


class ConfigError(Exception):
    """A configuration cannot be used. `problems` has every mistake found, not only the first."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        lines = [f"  {p.path or '(top)'}: {p.message}" for p in problems]
        noun = "problem" if len(problems) == 1 else "problems"
        super().__init__("\n".join([f"{source}: {len(problems)} {noun}", *lines]))
