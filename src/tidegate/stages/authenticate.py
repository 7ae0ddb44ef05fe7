"""The stage `authenticate`: who calls, and the policy that applies. Routes that make no call ask the same object."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tidegate.access.configured import Configured, pepper_of
from tidegate.access.doorkeeper import Doorkeeper
from tidegate.access.presented import presented
from tidegate.access.proxies import Proxies
from tidegate.call import Call
from tidegate.config import Config, ServerConfig
from tidegate.errors import Forbidden, Unauthenticated
from tidegate.policy import Policies, Policy, compile_policies
from tidegate.ports import Wall
from tidegate.types import ANSWER, Caller
from tidegate.types.caller import ADMIN_READ, ADMIN_WRITE, INFERENCE, METRICS

OPEN = "open"
"""What a route needs that answers everybody."""


class Visitor(msgspec.Struct, frozen=True):
    """Who sent a request, and the policy that applies. The scopes of `caller` are those that the visitor has here."""

    caller: Caller
    policy: Policy


class Authenticate:
    """Sets the caller and the policy of a call. Runs on the head of the request.

    If `closed`, only keys open anything. Otherwise everybody may do what changes nothing, and only what changes the
    gateway needs a key.
    """

    def __init__(
        self, policies: Policies, doorkeeper: Doorkeeper | None = None, *, closed: bool = False
    ) -> None:
        """`doorkeeper` is None where there is no key at all."""
        self.policies = policies
        self.closed = closed
        self.proxies: Proxies | None = None
        """Who may name the client's address; None: no proxy is trusted, and the peer is the client."""
        self._doorkeeper = doorkeeper
        free = () if closed else (INFERENCE, ADMIN_READ, METRICS)
        self._anybody = Visitor(Caller(scopes=frozenset({OPEN, *free})), policies.default)

    def __call__(self, call: Call) -> None:
        """Set the caller, its policy and the deadline that the policy allows. Raises Unauthenticated, Forbidden."""
        if call.purpose != ANSWER:
            policy = self.policies.house
        elif not self.closed:
            policy = self.policies.default
        else:
            visitor = self._recognise(call.head.headers)
            call.caller, policy = visitor.caller, visitor.policy
            if INFERENCE not in call.caller.scopes:
                raise _lacks(INFERENCE)
        call.policy, call.priority = policy, policy.priority
        call.sooner(call.arrived_at + policy.deadline_s)

    def admit(self, headers: Mapping[bytes, bytes], needed: str) -> Visitor:
        """The visitor of a route that needs a scope, or `OPEN`. Raises Unauthenticated, Forbidden.

        `headers` maps lower-case names to values.
        """
        anybody = self._anybody
        if needed == OPEN:
            try:
                return self._recognise(headers) if self.closed else anybody
            except (Unauthenticated, Forbidden):
                return anybody
        if needed in anybody.caller.scopes:
            return anybody
        visitor = self._recognise(headers)
        if needed not in visitor.caller.scopes:
            raise _lacks(needed)
        return visitor

    def _recognise(self, headers: Mapping[bytes, bytes]) -> Visitor:
        if self._doorkeeper is None:
            raise Forbidden(
                f"Only a key with the scope '{ADMIN_WRITE}' may do this: set admin.token in the configuration"
            )
        key = self._doorkeeper.recognise(presented(headers))
        return Visitor(key.caller, self.policies.of(key))


def authenticate_for(config: Config, server: ServerConfig, wall: Wall) -> Authenticate:
    """The stage for a configuration. `server` are the server's settings in force."""
    pepper = pepper_of(config)
    keys = Configured(config, pepper)
    doorkeeper = Doorkeeper(keys, pepper, wall) if keys.by_name or config.has_keys else None
    found = Authenticate(compile_policies(config, server), doorkeeper, closed=config.has_keys)
    if config.auth.trusted_proxies:
        found.proxies = Proxies(config.auth.trusted_proxies)
    return found


def _lacks(scope: str) -> Forbidden:
    return Forbidden(f"This key does not have the scope '{scope}'")
