"""The stage `authenticate`: the caller and its policy. Without API keys, which do not exist yet, all share one policy."""

from __future__ import annotations

from tidegate.call import Call
from tidegate.policy import Policy


class Authenticate:
    """Sets the policy of a call. Runs on the head of the request."""

    def __init__(self, default: Policy) -> None:
        self._default = default

    def __call__(self, call: Call) -> None:
        """Set the caller's policy and the deadline that the policy allows."""
        policy = call.policy = self._default
        call.sooner(call.arrived_at + policy.deadline_s)
