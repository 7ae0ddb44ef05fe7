"""What fuzzing found, each as small as it goes: input that was a bug of ours is an error of the client or the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
import pytest
from canned import canned, whole
from serving import ask, config_to, run_gateway
from talking import CHAT, NEEDED, body_of

from tidegate.engines.answers import read_answer
from tidegate.engines.embedded.prefixes import Trail, trail_of
from tidegate.engines.refusals import Explanation, judge, wait_s
from tidegate.engines.scripted.script import Script, read_ask, script_for
from tidegate.errors import BadRequest, GatewayError, UpstreamBusy
from tidegate.types import Answer

T = TypeVar("T")

HUGE = [b"1e308", b"9" * 400]
DEPTHS = range(900, 1010)
"""Around the interpreter's limit, where what was read at one depth of the stack is too deep for a place further down."""


def below(frames: int, work: Callable[[], T]) -> T:
    """The result of `work`, done so many frames further down."""
    return below(frames - 1, work) if frames else work()


@pytest.mark.parametrize("number", HUGE)
def test_usage_that_no_float_holds_does_not_end_the_metrics(number: bytes):
    usage = b'{"prompt_tokens": ' + number + b', "completion_tokens": ' + number + b"}"
    answer = b'{"choices": [{"index": 0, "finish_reason": "stop"}], "usage": ' + usage + b"}"
    with canned(whole(answer)) as engine, run_gateway(config_to(engine.base_url)) as gateway:
        for _ in range(3):
            assert ask(f"{gateway.base_url}/{CHAT}", body_of(NEEDED[CHAT])).status == 200
        page = ask(f"{gateway.url}/metrics", method="GET")
    assert page.status == 200
    assert b'kind="prompt"' in page.body


@pytest.mark.parametrize("number", HUGE)
def test_usage_is_bounded(number: bytes):
    details = b'"prompt_tokens_details": {"cached_tokens": ' + number + b"}"
    answer = msgspec.json.decode(
        b'{"usage": {"prompt_tokens": ' + number + b", " + details + b"}}", type=Answer
    )
    usage = answer.read_usage()
    assert usage is not None
    assert usage.prompt_tokens == usage.cached_tokens == 2**53


def test_a_retry_after_of_thousands_of_digits_is_the_longest_wait():
    error = judge(429, Explanation(), wait_s({b"retry-after": b"9" * 5000}, 0))
    assert isinstance(error, UpstreamBusy)
    assert error.retry_after_s == 60


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_an_error_of_any_depth_in_an_answer_is_the_engines(opening: bytes, closing: bytes):
    for depth in DEPTHS:
        nested = opening * depth + b"1" + closing * depth
        for answer in (b'{"error":%b}' % nested, b'{"error":{"code":%b}}' % nested):
            with pytest.raises(GatewayError):
                read_answer(answer)


def test_messages_of_any_depth_have_a_trail_or_none():
    for depth in DEPTHS:
        messages = b'[{"role":"user","x":' + b"[" * depth + b"]" * depth + b"}]"
        assert isinstance(below(20, lambda text=messages: trail_of(text)), Trail)


@pytest.mark.parametrize("prompt", [b"[null, null]", b'["a", 1]', b'[{}, "a"]', b"[1.5, 2]"])
def test_a_script_refuses_what_is_no_prompt(prompt: bytes):
    with pytest.raises(BadRequest, match="token ids"):
        script_for(Script(), read_ask(b'{"model": "m", "input": ' + prompt + b"}"))


def test_a_script_refuses_what_is_nested_too_deeply():
    for depth in (*DEPTHS, 200_000):
        body = b'{"model": "m", "tools": [{"x":' + b"[" * depth + b"]" * depth + b"}]}"
        try:
            below(20, lambda text=body: read_ask(text))
        except BadRequest:
            return
    pytest.fail("the interpreter reads anything; then nothing is too deep")
