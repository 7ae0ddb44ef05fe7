"""The webhook: what it sends, how that is signed, and what happens when the receiver fails."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from canned import canned, whole
from pydantic import ValidationError

from tidegate.config.review import WebhookConfig
from tidegate.kernel.backoff import Backoff
from tidegate.review.webhook import TRIES, Webhook
from tidegate.types import Case

SECRET = "0123456789abcdef"
NOW = 1_780_000_000.5
CASE = Case(
    "case_1",
    "req_1",
    1.0,
    61.0,
    "output",
    "promises",
    "DISCOUNT",
    0.5,
    "a question",
    "a text",
    "p",
    "m",
    "ann",
)


T = TypeVar("T")


def spawn(work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    return asyncio.get_running_loop().create_task(work, name=name)


@asynccontextmanager
async def webhook(url: str, told: dict[str, int]) -> AsyncGenerator[Webhook]:
    config = WebhookConfig.model_validate({"url": url, "secret": SECRET})
    made = Webhook(
        config,
        told,
        wall=lambda: NOW,
        spawn=spawn,
        backoff=Backoff(base_s=0.001, cap_s=0.001),
    )
    try:
        yield made
    finally:
        await made.close()


def counts() -> dict[str, int]:
    return {"sent": 0, "failed": 0, "dropped": 0}


async def tell(url: str) -> dict[str, int]:
    """Tell of one case, and return what became of it."""
    told = counts()
    async with webhook(url, told) as made:
        made.tell(CASE)
        assert told == counts(), "telling never waits"
        while not any(told.values()):
            await asyncio.sleep(0.001)
    return told


def failing(times: int) -> Callable[[socket.socket], None]:
    left = [times]

    def answer(connection: socket.socket) -> None:
        left[0] -= 1
        connection.sendall(whole(b"{}", status=b"503 No" if left[0] >= 0 else b"204 Fine"))

    return answer


def test_a_new_case_is_told_without_its_texts_and_signed() -> None:
    with canned(whole(b"{}")) as receiver:
        url = receiver.base_url.replace("/v1", "/hooks/new?from=here")
        assert asyncio.run(tell(url)) == {"sent": 1, "failed": 0, "dropped": 0}
    [heard] = receiver.heard
    assert heard.line == b"POST /hooks/new?from=here HTTP/1.1"
    told = json.loads(heard.body)
    assert told["event"] == "case.created"
    assert (told["case"]["id"], told["case"]["rail"]) == ("case_1", "promises")
    assert b"a question" not in heard.body
    assert b"a text" not in heard.body
    at = heard.headers[b"x-tidegate-timestamp"]
    assert at == b"1780000000"
    made = hmac.new(SECRET.encode(), at + b"." + heard.body, hashlib.sha256).hexdigest()
    assert heard.headers[b"x-tidegate-signature"].decode() == f"sha256={made}"


@pytest.mark.parametrize("failures", [1, TRIES - 1])
def test_a_failed_message_is_sent_again(failures: int) -> None:
    with canned(failing(failures)) as receiver:
        assert asyncio.run(tell(receiver.base_url))["sent"] == 1
    assert len(receiver.heard) == failures + 1
    assert len({one.body for one in receiver.heard}) == 1


def test_a_receiver_that_is_not_there_is_given_up() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert asyncio.run(tell(f"http://127.0.0.1:{port}/x"))["failed"] == 1


@pytest.mark.parametrize(
    "wrong",
    [{"url": "ftp://x/"}, {"url": "https://u@x/"}, {"url": "https://x/#a"}, {"secret": "short"}],
)
def test_a_url_or_a_secret_that_cannot_be_used_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        WebhookConfig.model_validate({"url": "https://x/", "secret": SECRET, **wrong})
