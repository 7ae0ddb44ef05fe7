"""A vLLM that is killed under streams, with another one behind it: what had no token yet is answered all the same."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import openai
import pytest
from openai import OpenAI
from serving import Process, eventually, serve
from vllm_server import MODEL, QUEUED, SLOTS, VENV, Vllm, running_vllm

WAITING = QUEUED - SLOTS
LONG_TOKENS, SHORT_TOKENS = 1500, 8


@pytest.fixture(scope="module")
def doomed(say: Callable[[str], None]) -> Iterator[Vllm]:
    """A second vLLM, which no other test needs."""
    with running_vllm(VENV / "doomed.log", say) as vllm:
        yield vllm


@pytest.fixture
def before(vllm: Vllm, doomed: Vllm) -> Iterator[Process]:
    """A gateway that asks the doomed vLLM first."""
    engine = {"kind": "vllm", "max_in_flight": QUEUED, "adapts": False}
    config = {
        "server": {"expose_engines": True},
        "engines": {
            "first": {**engine, "url": doomed.base_url},
            "second": {**engine, "url": vllm.base_url},
        },
        "models": {MODEL: {"deployments": [{"engine": "first"}, {"engine": "second", "tier": 1}]}},
    }
    with serve(json.dumps(config)) as process:
        yield process


@dataclass
class Told:
    """What one client has been told. `error` is what its stream ended with, if not with the end of the answer."""

    route: dict[str, str] = field(default_factory=dict)
    tokens: int = 0
    error: openai.APIError | None = None
    finish: str | None = None
    began: threading.Event = field(default_factory=threading.Event)

    def listen(self, client: OpenAI, tokens: int) -> None:
        try:
            with client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": f"Tell a long story about the number {uuid.uuid4()}."}],
                max_tokens=tokens,
                temperature=0,
                stream=True,
                extra_body={"ignore_eos": True},
            ) as stream:
                told = stream.response.headers["x-tidegate-route"]
                self.route = dict(part.split("=") for part in told.split(";"))
                for chunk in stream:
                    self.tokens += bool(chunk.choices and chunk.choices[0].delta.content)
                    self.finish = chunk.choices[0].finish_reason if chunk.choices else self.finish
                    if self.tokens:
                        self.began.set()
        except openai.APIError as error:
            self.error = error


def test_those_before_their_first_token_finish_elsewhere_and_the_others_end_in_an_error(
    before: Process, doomed: Vllm, say: Callable[[str], None]
) -> None:
    if doomed.pid is None:
        pytest.fail("the vLLM to be killed has no process")
    running, waiting = [Told() for _ in range(SLOTS)], [Told() for _ in range(WAITING)]
    with (
        OpenAI(base_url=before.base_url, api_key="any", max_retries=0, timeout=120) as client,
        ThreadPoolExecutor(QUEUED) as pool,
    ):
        listening = [pool.submit(one.listen, client, LONG_TOKENS) for one in running]
        for one in running:
            assert one.began.wait(60)
        listening += [pool.submit(one.listen, client, SHORT_TOKENS) for one in waiting]
        eventually(lambda: doomed.gauge("num_requests_waiting") == WAITING, "calls wait in vLLM")
        os.killpg(doomed.pid, signal.SIGKILL)
        killed_at = time.monotonic()
        for one in listening:
            one.result(60)
        say(
            f"    killed under {len(running)} streams and {len(waiting)} calls without a token:"
            f" {sum(one.error is not None for one in running)} error events,"
            f" {sum(one.finish == 'length' for one in waiting)} answers from the other vLLM"
            f" within {time.monotonic() - killed_at:.1f} s"
        )
        later = Told()
        later.listen(client, SHORT_TOKENS)
    for one in running:
        assert one.error is not None, "an answer that was cut off has to say so"
        assert (one.finish, one.route["engine"], one.route["tries"]) == (None, "first", "1")
    for one in waiting:
        assert (one.error, one.finish) == (None, "length")
        assert 0 < one.tokens <= SHORT_TOKENS
        assert (one.route["engine"], one.route["why"], one.route["tries"]) == ("second", "retry", "2")
    assert (later.error, later.finish, later.route["engine"]) == (None, "length", "second")
