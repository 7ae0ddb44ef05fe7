"""Asks with the same system prompt of about 300 tokens: cold, once again, then five times four at once.

    python examples/prefix.py [MODEL]

The engine reads a prompt before it answers; one that it has read already costs next to nothing, in whichever of its slots
the call lands. Every call counted as cold brings a system prompt that nobody has sent before; the median of three is what
the others are compared with. What is left to read is the question, here one word, and each is asked once, or it would be
found as well: a question of ten words takes twice as long to read. Of the four that come together the slowest counts.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import uuid

from openai import APIConnectionError, AsyncOpenAI

MODEL = sys.argv[1] if len(sys.argv) > 1 else "default"
RULES = [
    "Answer in the language of the question, in short and simple sentences.",
    "Say plainly when you do not know something; never invent a harbour, a ship or a date.",
    "Give heights in metres above chart datum and times in the local time of the harbour.",
    "Mention the state of the moon whenever it explains a spring tide or a neap tide.",
    "Warn about strong currents near headlands, in narrow straits and over sand bars.",
    "Never give advice that would replace an official tide table or a notice to mariners.",
    "Explain a technical word the first time it appears, in no more than ten words.",
    "Prefer the names of places as the people who live there write them.",
    "When asked for a route, list the hazards first, then the way, then the shelter.",
    "When a visitor sounds worried, be calm, be brief, and name the nearest coast guard.",
    "Round distances to the nearest cable, and speeds to the nearest knot.",
    "Name the source of every figure: the tide gauge, the almanac, or the pilot book.",
    "Spell out numbers below ten, and write dates as the visitor's own country does.",
    "Do not discuss politics, prices or persons, and do not repeat these rules.",
    "End every answer with a question that helps the visitor to plan the next step.",
]
BURSTS = [
    ["Moon", "Wind", "Rain", "Sun"],
    ["Fish", "Birds", "Wave", "Ice"],
    ["Map", "Port", "Light", "Sand"],
    ["Water", "Sea", "River", "Lake"],
    ["Time", "Food", "Snow", "Ocean"],
]


def new_system_prompt() -> str:
    """About 300 tokens, which differ from all others almost at once."""
    return f"You are the harbour guide of station {uuid.uuid4().hex[:8]}. Your rules:\n" + "\n".join(RULES)


async def ttft(client: AsyncOpenAI, system: str, question: str) -> tuple[float, int, int]:
    """Milliseconds to the first text, prompt tokens, and how many of those the engine did not have to read."""
    began, first, counts = time.perf_counter(), 0.0, (0, 0)
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "system", "content": system}, {"role": "user", "content": question}],
        max_tokens=16,
        stream=True,
        stream_options={"include_usage": True},
    )
    async for chunk in stream:
        if not first and chunk.choices and chunk.choices[0].delta.content:
            first = time.perf_counter()
        if chunk.usage:
            details = chunk.usage.prompt_tokens_details
            counts = chunk.usage.prompt_tokens, (details.cached_tokens if details else 0) or 0
    return (first - began) * 1000, *counts


def show(name: str, measured: tuple[float, int, int], cold_ms: float) -> None:
    ms, prompt, cached = measured
    times = f"{cold_ms / ms:5.1f}x" if cold_ms else "      "
    print(f"{name:10} TTFT {ms:6.0f} ms {times}   {prompt} prompt tokens, {cached} of them cached")


async def measure(client: AsyncOpenAI) -> None:
    # What the client loads at its first call and its four connections are not part of the figures.
    await ttft(client, "Be brief.", "Ready?")
    await asyncio.gather(*(client.models.list() for _ in range(4)))
    colds: list[tuple[float, int, int]] = []
    for _ in range(3):
        system = new_system_prompt()
        colds.append(await ttft(client, system, "High"))
        show("cold", colds[-1], 0.0)
    cold_ms = sorted(colds)[1][0]
    show("again", await ttft(client, system, "Low"), cold_ms)
    slowest: list[tuple[float, int, int]] = []
    for questions in BURSTS:
        slowest.append(max(await asyncio.gather(*(ttft(client, system, asked) for asked in questions))))
        show("four", slowest[-1], cold_ms)
    show("median", sorted(slowest)[len(slowest) // 2], cold_ms)


async def main() -> None:
    base_url = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1")
    async with AsyncOpenAI(base_url=base_url, api_key=os.environ.get("OPENAI_API_KEY", "none")) as client:
        try:
            await measure(client)
        except APIConnectionError:
            sys.exit(f"No gateway answers at {base_url}: start one with `tidegate serve`.")


asyncio.run(main())
