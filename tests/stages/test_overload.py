"""A whole gateway at ten times the load that a limit allows: what is used keeps to the bound, and nothing is wasted."""

from __future__ import annotations

import asyncio
import json

import pytest
from in_hand import GatewayInHand, gateway_in_hand
from limited import Answered
from talking import chat
from virtual import run

from tidegate.quotas.tokens import MESSAGE_TOKENS, load_vocabulary

MOST, BURST = 6000, 600


# Less than one call is always left, so large calls need longer until that is below one percent.
@pytest.mark.parametrize(
    ("size", "minutes"), [(BURST // 10, 3), (BURST, 15)], ids=["a tenth of the burst", "the burst"]
)
def test_ten_times_the_load_never_exceeds_the_bound(size: int, minutes: int) -> None:
    async def scene() -> None:
        policies = {"default": {"limits": {"tokens_per_minute": MOST, "burst_tokens": BURST}}}
        async with gateway_in_hand(sections={"policies": policies}) as gateway:
            history = await offer(gateway, size, minutes, every_s=60 * size / MOST / 10)
        statuses = {status for _, status, _ in history}
        assert statuses == {200, 429}
        admitted = [(at, used) for at, status, used in history if status == 200]
        # At every prefix: the checker goes through the recorded history.
        total, over = 0, 0.0
        for at, used in admitted:
            total += used
            over = max(over, total - (BURST + MOST * at / 60))
        assert over <= 0
        possible = BURST + MOST * history[-1][0] / 60
        assert total >= 0.99 * possible
        worst = max(sum(used for at, used in admitted if begin <= at < begin + 60) for begin, _ in admitted)
        assert worst <= BURST + MOST

    run(scene())


async def offer(
    gateway: GatewayInHand, size: int, minutes: int, *, every_s: float
) -> list[tuple[float, int, int]]:
    """Send a call each `every_s` seconds, whatever becomes of the others. Return its time, its status and its tokens."""
    loop = asyncio.get_running_loop()
    began, calls = loop.time(), []
    # The engine counts the prompt as the gateway does. Otherwise the difference would be debt.
    prompt = load_vocabulary()("[[scripted tokens=9000 prompt_tokens=24]]") + MESSAGE_TOKENS
    body = chat(f"tokens=9000 prompt_tokens={prompt}", max_tokens=size - prompt)
    while (at := loop.time() - began) < 60 * minutes:
        client = gateway.connect()
        client.post(body, "connection: close")
        calls.append((at, client))
        await asyncio.sleep(every_s)
    await asyncio.sleep(5)
    found: list[tuple[float, int, int]] = []
    for at, client in calls:
        answer = Answered(client)
        used = json.loads(answer.body)["usage"]["total_tokens"] if answer.status == 200 else 0
        found.append((at, answer.status, used))
    return found
