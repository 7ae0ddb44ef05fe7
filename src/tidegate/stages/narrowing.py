"""The headers with which a request makes less of its policy: a later class, a sooner deadline, and stricter rails.

A request never gets more than its policy allows, so a proxy in front need not check these headers. They are read for the
gateway and never sent to an engine.
"""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.call import Call, Checks
from tidegate.errors import BadRequest
from tidegate.types import Priority

PRIORITY = b"x-tidegate-priority"
"""The name of a class. A class that goes before that of the policy has no effect."""
DEADLINE_MS = b"x-tidegate-deadline-ms"
"""Milliseconds from the arrival of the request's head. More than the policy allows has no effect."""

PROFILE = b"x-tidegate-profile"
"""The name of a profile of rails, one of the policy's `stricter_rails`."""


def narrow(call: Call, classes: Mapping[str, Priority]) -> None:
    """Apply the headers to a call that has its policy. `classes` are those that a request may name.

    Raises BadRequest for a header that has another form.
    """
    headers = call.head.headers
    if PRIORITY in headers:
        call.priority = max(call.priority, _class(headers[PRIORITY], classes), key=_rank)
    if DEADLINE_MS in headers:
        call.own_deadline = call.arrived_at + _seconds(headers[DEADLINE_MS])
        call.sooner(call.own_deadline)
    if PROFILE in headers:
        name = headers[PROFILE].strip().decode(errors="replace")
        if not take_profile(call, name):
            raise BadRequest(
                f"The header '{PROFILE.decode()}' names no profile that the policy allows: send one of"
                f" {', '.join(call.policy.stricter) or 'none'}, or leave it out"
            )


def take_profile(call: Call, name: str) -> bool:
    """Put a call under a profile of rails. Returns whether the policy allows it: its own, and those that are stricter."""
    policy = call.policy
    if name in policy.stricter:
        call.checks = Checks(policy.stricter[name])
        return True
    return policy.plan is not None and policy.plan.name == name


def _rank(one: Priority) -> int:
    return one.rank


def _class(value: bytes, classes: Mapping[str, Priority]) -> Priority:
    found = classes.get(value.strip().decode(errors="replace"))
    if found is None:
        raise BadRequest(
            f"The header '{PRIORITY.decode()}' names no class: send one of {', '.join(classes)}, or leave it out"
        )
    return found


def _seconds(value: bytes) -> float:
    digits = value.strip()
    # `float` and `int` alone would also take signs, underscores and exponents.
    if not digits.isdigit() or not digits.strip(b"0"):
        raise BadRequest(
            f"The header '{DEADLINE_MS.decode()}' has to be a whole number of milliseconds from 1 on, such as 1500:"
            " correct it, or leave it out"
        )
    return float(digits) / 1000  # a number of any length: a float can be infinite
