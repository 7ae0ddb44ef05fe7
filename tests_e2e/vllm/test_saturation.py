"""The gateway's limit follows how many calls vLLM works on at once: calls then wait in the gateway, and none is refused."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import openai
from openai import OpenAI
from serving import Process, ask, eventually
from vllm_server import QUEUED, SLOTS, Vllm

CLIENTS = 2 * QUEUED
TOKENS = 40


@dataclass
class Crowd:
    """Clients that send one call after the other until they are told to leave."""

    client: OpenAI
    model: str
    leave: threading.Event = field(default_factory=threading.Event)
    ended: list[tuple[float, int]] = field(default_factory=list)
    """When each call ended, and its status."""

    def run(self) -> None:
        while not self.leave.is_set():
            try:
                self._call()
            except openai.APIStatusError as error:
                self.ended.append((time.monotonic(), error.status_code))
                self.leave.wait(1)
            else:
                self.ended.append((time.monotonic(), 200))

    def _call(self) -> None:
        stream = self.client.chat.completions.create(
            model=self.model,
            messages=[{"role": "user", "content": f"Tell a long story about the number {uuid.uuid4()}."}],
            max_tokens=TOKENS,
            temperature=0,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        with stream:
            for _ in stream:
                if self.leave.is_set():
                    return

    def statuses(self, since: float = 0.0) -> list[int]:
        return [status for at, status in self.ended if at >= since]


@contextmanager
def crowd(client: OpenAI, model: str) -> Iterator[Crowd]:
    one = Crowd(client, model)
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(one.run) for _ in range(CLIENTS)]
        try:
            yield one
        finally:
            one.leave.set()
    for client_ in running:
        client_.result()


@dataclass
class Gauges:
    """What the gateway tells of an engine, and vLLM of itself."""

    gateway: Process
    vllm: Vllm
    engine: str

    def _told(self, start: str) -> float:
        lines = ask(f"{self.gateway.url}/metrics", method="GET").body.decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start))

    @property
    def limit(self) -> float:
        return self._told(f'tidegate_engine_limit{{engine="{self.engine}"}}')

    @property
    def in_line(self) -> float:
        return self._told(f'tidegate_engine_waiting{{engine="{self.engine}"}}')

    def changes(self, why: str) -> float:
        return self._told(f'tidegate_engine_limit_changes_total{{engine="{self.engine}",why="{why}"}}')

    @property
    def queued(self) -> float:
        """The calls in vLLM's own queue."""
        return self.vllm.gauge("num_requests_waiting")

    def __str__(self) -> str:
        return f"limit {self.limit:.0f}, {self.in_line:.0f} wait in the gateway, {self.queued:.0f} in vLLM"


def follow(gauges: Gauges, one: Crowd, say: Callable[[str], None]) -> float:
    """Wait until the limit is what vLLM can run, and no call waits in vLLM. Return when this was."""
    began_at = time.monotonic()
    eventually(lambda: len(one.ended) > 0, "calls end")
    eventually(lambda: gauges.limit <= 1.25 * SLOTS, "the limit falls")
    say(f"    after {time.monotonic() - began_at:.1f} s: {gauges}")
    eventually(lambda: gauges.queued <= 0.25 * SLOTS and gauges.in_line > 0, "calls wait in the gateway")
    say(f"    after {time.monotonic() - began_at:.1f} s: {gauges}")
    return time.monotonic()


def test_calls_wait_in_the_gateway_and_not_in_vllm(
    client: OpenAI, gateway: Process, vllm: Vllm, say: Callable[[str], None]
) -> None:
    """vLLM admits more calls than it works on, and the gateway may send all that it admits."""
    gauges = Gauges(gateway, vllm, "gpu-in-line")
    with crowd(client, "in-line") as one:
        settled_at = follow(gauges, one, say)
        samples = list[tuple[float, float]]()
        while time.monotonic() < settled_at + 20:
            samples.append((gauges.limit, gauges.queued))
            time.sleep(0.5)
    limits, queued = ([sample[at] for sample in samples] for at in (0, 1))
    say(
        f"    then for 20 s: limit {min(limits):.0f} to {max(limits):.0f}, {sum(queued) / len(queued):.1f} calls wait in"
        f" vLLM on average; {len(one.ended)} calls; changes: "
        + ", ".join(f"{why} {gauges.changes(why):.0f}" for why in ("engine_queue", "queue_delay", "demand"))
    )
    assert set(one.statuses()) == {200}
    assert gauges.changes("engine_queue") + gauges.changes("queue_delay") >= 1
    assert min(limits) >= 0.5 * SLOTS
    assert sum(queued) / len(queued) <= 0.25 * SLOTS


def test_vllms_refusals_lower_the_limit_until_it_refuses_no_more(
    client: OpenAI, gateway: Process, vllm: Vllm, say: Callable[[str], None]
) -> None:
    gauges = Gauges(gateway, vllm, "gpu-overrated")
    with crowd(client, "overrated") as one:
        settled_at = follow(gauges, one, say)
        time.sleep(15)
    before, after = one.statuses().count(503), one.statuses(settled_at)
    say(f"    {before} of {len(one.ended)} calls were refused, {after.count(503)} of the last {len(after)}")
    assert gauges.changes("refused") >= 1
    assert set(one.statuses()) == {200, 503}
    assert after.count(503) <= 0.05 * len(after)
