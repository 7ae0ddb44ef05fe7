"""The error for a text that a rail has blocked."""

from __future__ import annotations

from tidegate.errors import BadRequest
from tidegate.types import Finding, Surface


class Blocked(BadRequest):
    """A rail blocked the request or its answer. The code is the one that clients know from providers."""

    code = "content_filter"
    type = "content_filter"


def blocked(words: str, finding: Finding) -> Blocked:
    """Return the error. `words` are the profile's refusal."""
    what = "answer" if finding.surface is Surface.OUTPUT else "request"
    why = f"the rail '{finding.rail}'" + (f" ({finding.category})" if finding.category else "")
    if finding.error:
        why = f"the rail '{finding.rail}' could not check it"
    return Blocked(f"{words} The {what} was blocked: {why}")
