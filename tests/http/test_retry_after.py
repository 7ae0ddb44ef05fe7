"""Every 429 and every 503 says when to come back, whichever error it is and whoever raised it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from serving import ask, config_to, run_gateway

from tidegate import errors
from tidegate.errors import GatewayError, UpstreamRejected


def tree(kind: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


KINDS = sorted(set(tree()), key=lambda kind: kind.__qualname__)


def waits(error: GatewayError) -> list[bytes]:
    return [value for name, value in error.headers() if name == b"retry-after"]


def test_the_whole_tree_is_looked_at() -> None:
    in_errors = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    assert {kind for kind in in_errors if issubclass(kind, GatewayError)} <= set(KINDS)
    assert {429, 503} <= {kind.status for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_429_or_503_says_when_to_come_back(kind: type[GatewayError]) -> None:
    try:
        error = kind("no")
    except TypeError:  # it has a message of its own, and the status of its parent
        error = kind.__new__(kind)
        GatewayError.__init__(error, "no")
    assert waits(error) == ([b"1"] if error.status in (429, 503) else [])


@pytest.mark.parametrize("status", [429, 503])
def test_a_status_that_an_instance_was_given_counts_too(status: int) -> None:
    assert waits(UpstreamRejected("no", status=status)) == [b"1"]


@pytest.mark.parametrize(("given_s", "said"), [(0.0, b"1"), (0.2, b"1"), (7.0, b"7"), (7.1, b"8")])
@pytest.mark.parametrize("kind", KINDS)
def test_a_wait_that_is_known_is_told_instead(kind: type[GatewayError], given_s: float, said: bytes) -> None:
    error = kind.__new__(kind)
    GatewayError.__init__(error, "no", retry_after_s=given_s)
    assert waits(error) == [said]


def test_readiness_that_says_no_is_a_503_too() -> None:
    with run_gateway(config_to("http://127.0.0.1:9/v1")) as gateway:
        answer = ask(f"{gateway.url}/readyz", method="GET")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
