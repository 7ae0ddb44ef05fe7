"""What a llama.cpp server says to its operator, as a client of the gateway is told it."""

from __future__ import annotations

import pytest

from tidegate.config import LlamaCppConfig
from tidegate.engines.llamacpp import LlamaCppEngine
from tidegate.engines.refusals import Explanation
from tidegate.errors import ContextExceeded, GatewayError, UpstreamError, UpstreamRejected


def translated(status: int, message: str) -> GatewayError:
    engine = LlamaCppEngine(LlamaCppConfig(kind="llamacpp", url="http://127.0.0.1:9/v1"))
    return engine.translate(status, Explanation(message=message), None)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "request (3040 tokens) exceeds the available context size (2048 tokens), try increasing it",
            "request (3040 tokens) exceeds the available context size (2048 tokens): the context of one call is",
        ),
        (
            "the request exceeds the available context size. try increasing the context size",
            "the request exceeds the available context size: the context of one call is",
        ),
    ],
)
def test_a_prompt_that_does_not_fit(said: str, told: str) -> None:
    error = translated(400, said)
    assert isinstance(error, ContextExceeded)
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")
    assert error.message.startswith(told)
    assert "increas" not in error.message


def test_what_the_model_cannot_take_is_the_clients_to_mend_and_other_failures_are_not() -> None:
    assert isinstance(translated(500, "image input is not supported"), UpstreamRejected)
    assert isinstance(translated(500, "out of memory"), UpstreamError)
