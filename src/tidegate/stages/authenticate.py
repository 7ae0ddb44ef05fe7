"""Who calls, and the policy that applies. Until there are keys, everybody is nobody in particular, under one policy."""

from __future__ import annotations

from tidegate.call import Call
from tidegate.policy import Policy


class Authenticate:
    """The stage `authenticate`, on the head of a request."""

    def __init__(self, default: Policy) -> None:
        self._default = default

    def __call__(self, call: Call) -> None:
        """Set the caller's policy, and the deadline that it allows."""
        policy = call.policy = self._default
        call.sooner(call.arrived_at + policy.deadline_s)
