"""The stage `authenticate` with keys that have to be asked for: in a store, say, which takes a while or does not answer."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate.access.proxies import Proxies
from tidegate.call import Call, Head
from tidegate.errors import Forbidden, GatewayError, Overloaded
from tidegate.http.access import guarded
from tidegate.policy import DEFAULT, Policies, Policy
from tidegate.stages.authenticate import OPEN, Authenticate
from tidegate.types import Caller, Endpoint, Exit, Key

HEADERS = {b"authorization": b"Bearer the-key"}


class Store:
    """Keys that are never at hand. Satisfies `Identifies`."""

    def __init__(self, found: Key | GatewayError) -> None:
        self.found = found
        self.peers: list[str] = []

    def recall(self, text: str) -> Key | None:
        return None

    async def identify(self, text: str, *, peer: str = "") -> Key:
        assert text == "the-key"
        self.peers.append(peer)
        await asyncio.sleep(0)
        if isinstance(self.found, GatewayError):
            raise self.found
        return self.found


def key(*scopes: str) -> Key:
    return Key(id="1", secrets=(), caller=Caller(key="k", scopes=frozenset(scopes)), policy="brief")


def stage(found: Key | GatewayError) -> tuple[Authenticate, Store]:
    store = Store(found)
    policies = Policies({DEFAULT: Policy(), "brief": Policy("brief", deadline_s=5.0, priority=1)})
    return Authenticate(policies, store, closed=True), store


def call(purpose: str = "answer") -> Call:
    head = Head("/v1/chat/completions", HEADERS, "192.0.2.7")
    times = {"arrived_at": 1.0, "received_at": 1.0, "deadline": 601.0}
    return Call(id="c", endpoint=Endpoint.CHAT, exit=Exit(), head=head, purpose=purpose, **times)


async def run(authenticate: Authenticate, made: Call) -> Call:
    waiting = authenticate(made)
    if waiting is not None:
        await waiting
    return made


def test_a_key_that_has_to_be_asked_for_counts_like_one_at_hand() -> None:
    authenticate, store = stage(key("inference"))
    made = asyncio.run(run(authenticate, call()))
    assert (made.caller.key, made.policy.name, made.deadline, made.priority) == ("k", "brief", 6.0, 1)
    assert store.peers == ["192.0.2.7"]


def test_the_scope_of_a_call_is_asked_for_and_the_caller_is_known_by_then() -> None:
    authenticate, _ = stage(key("metrics"))
    made = call()
    with pytest.raises(Forbidden, match="does not have the scope 'inference'"):
        asyncio.run(run(authenticate, made))
    assert made.caller.key == "k"


def test_a_store_that_does_not_answer_refuses_what_needs_a_key_and_nothing_else() -> None:
    authenticate, _ = stage(Overloaded("the store is away"))
    with pytest.raises(Overloaded):
        asyncio.run(run(authenticate, call()))
    with pytest.raises(Overloaded):
        asyncio.run(authenticate.admit(HEADERS, "metrics"))
    assert asyncio.run(authenticate.admit(HEADERS, OPEN)).caller == Caller(scopes=frozenset({OPEN}))


def test_the_gateways_own_calls_need_no_key() -> None:
    authenticate, store = stage(Overloaded("never asked"))
    made = asyncio.run(run(authenticate, call("judge:facts")))
    assert (made.policy.name, made.policy.models, store.peers) == (DEFAULT, None, [])


def test_a_store_is_asked_for_the_client_and_not_for_a_trusted_proxy_on_every_route() -> None:
    async def answer(_: Request) -> Response:
        return Response()

    authenticate, store = stage(key("metrics"))
    authenticate.proxies = Proxies(["10.0.0.0/8"])
    [route] = guarded([Route("/metrics", answer)], lambda: authenticate)
    for peer, named, client in (
        ("10.0.0.1", b"192.0.2.9", "192.0.2.9"),
        ("198.51.100.7", b"192.0.2.9", "198.51.100.7"),
    ):
        headers = [*HEADERS.items(), (b"x-forwarded-for", named)]
        scope = {"type": "http", "method": "GET", "path": "/metrics", "headers": headers, "client": (peer, 1)}
        assert asyncio.run(route.endpoint(Request(scope))).status_code == 200
        assert store.peers.pop() == client
