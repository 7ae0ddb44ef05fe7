"""The stage `authenticate`: who calls, and the policy that applies. Routes that make no call ask the same object."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

import msgspec

from tidegate.access.presented import presented
from tidegate.access.proxies import Proxies
from tidegate.call import Call, Checks
from tidegate.config import Config, ServerConfig
from tidegate.errors import Forbidden, GatewayError
from tidegate.policy import Policies, Policy, compile_policies
from tidegate.ports import Identifies
from tidegate.stages.narrowing import narrow
from tidegate.types import ANSWER, Caller, Endpoint, Key
from tidegate.types.caller import ADMIN_READ, ADMIN_WRITE, CHECKS, INFERENCE, METRICS

_CHECKS = Endpoint.CHECKS  # the look-up of a member costs a call in Python 3.11
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

    def __init__(self, policies: Policies, keys: Identifies | None = None, *, closed: bool = False) -> None:
        """`keys` is None where there is no key at all."""
        self.policies = policies
        self.closed = closed
        self.proxies: Proxies | None = None
        """Who may name the client's address; None: no proxy is trusted, and the peer is the client."""
        self._keys = keys
        free = () if closed else (INFERENCE, CHECKS, ADMIN_READ, METRICS)
        self._anybody = Visitor(Caller(scopes=frozenset({OPEN, *free})), policies.default)

    def __call__(self, call: Call) -> Awaitable[None] | None:
        """Set the caller, its policy, and the class and deadline that policy and request allow together.

        Raises what `admit` raises, and BadRequest for a header of `narrowing` that cannot be read.
        """
        if call.purpose != ANSWER:
            return _apply(self.policies.house, call)
        if not self.closed:
            _apply(self.policies.default, call)
            return narrow(call, self.policies.classes)
        assert self._keys is not None, "only keys open a closed gateway"
        text = presented(call.head.headers)
        key = self._keys.recall(text)
        if key is None:
            return self._wait_for(self._keys, text, call)
        return self._take(key, call)

    async def admit(self, headers: Mapping[bytes, bytes], needed: str, *, peer: str = "") -> Visitor:
        """The visitor of a route that needs a scope, or `OPEN`.

        `headers` maps lower-case names to values. Raises Unauthenticated without a valid key, Forbidden for one that lacks
        the scope, and Overloaded where it cannot be known whether a key is valid.
        """
        anybody = self._anybody
        if needed == OPEN:
            try:
                return await self._recognise(headers, peer) if self.closed else anybody
            except GatewayError:
                return anybody
        if needed in anybody.caller.scopes:
            return anybody
        visitor = await self._recognise(headers, peer)
        check_scope(needed, visitor.caller)
        return visitor

    async def _recognise(self, headers: Mapping[bytes, bytes], peer: str) -> Visitor:
        if self._keys is None:
            raise Forbidden(
                f"This needs a key with the scope '{ADMIN_WRITE}': set admin.token in the configuration"
            )
        text = presented(headers)
        key = self._keys.recall(text) or await self._keys.identify(text, peer=peer)
        return Visitor(key.caller, self.policies.of(key))

    async def _wait_for(self, keys: Identifies, text: str, call: Call) -> None:
        self._take(await keys.identify(text, peer=call.head.peer), call)

    def _take(self, key: Key, call: Call) -> None:
        call.caller = key.caller
        _apply(self.policies.of(key), call)
        check_scope(scope_of(call.endpoint), key.caller)
        narrow(call, self.policies.classes)


def _apply(policy: Policy, call: Call) -> None:
    call.policy, call.priority = policy, policy.priority
    if policy.plan is not None:
        call.checks = Checks(policy.plan)
    call.sooner(call.arrived_at + policy.deadline_s)


def scope_of(endpoint: Endpoint) -> str:
    """Return the scope that a call on an endpoint needs."""
    return CHECKS if endpoint is _CHECKS else INFERENCE


def check_scope(scope: str, caller: Caller) -> None:
    """Raise Forbidden for a caller that lacks a scope."""
    if scope not in caller.scopes:
        raise Forbidden(f"This key does not have the scope '{scope}'")


def authenticate_for(
    config: Config, server: ServerConfig, keys: Identifies, *, generation: int = 0
) -> Authenticate:
    """The stage for a configuration. `server` are the server's settings in force; `keys` has every key of the gateway.

    `generation` is that of `compile_policies`.
    """
    some = config.has_keys or config.admin.token is not None
    policies = compile_policies(config, server, generation=generation)
    found = Authenticate(policies, keys if some else None, closed=config.has_keys)
    if config.auth.trusted_proxies:
        found.proxies = Proxies(config.auth.trusted_proxies)
    return found
