"""Turns an engine's report of a failure, in any form, into one of the gateway's errors. Good answers do not come here."""

from tidegate.engines.refusals.judging import judge, wait_s
from tidegate.engines.refusals.reading import (
    MAX_ERROR_BYTES,
    Explanation,
    decoded,
    explain,
    explanation,
    is_error,
    says_nothing,
)

__all__ = [
    "MAX_ERROR_BYTES",
    "Explanation",
    "decoded",
    "explain",
    "explanation",
    "is_error",
    "judge",
    "says_nothing",
    "wait_s",
]
