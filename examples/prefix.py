"""Asks with the same system prompt of about 300 tokens: once cold, once again, then five times four at once.

    python examples/prefix.py [MODEL]

The engine reads a prompt before it answers; one that it has read already costs next to nothing, in whichever of its slots
the call lands. Every run makes a new system prompt, so the first call is always cold. What is left to read is the question;
each is asked once, or it would be found as well. Of the four that come together, the slowest counts, and the median of the
five times, because one burst says more about the moment than about the engine.
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
SYSTEM = f"You are the harbour guide of station {uuid.uuid4().hex[:8]}. Your rules:\n" + "\n".join(RULES)
BURSTS = [
    ["Why?", "How?", "When?", "Where?"],
    ["Who?", "What?", "Now?", "Then?"],
    ["Here?", "There?", "Soon?", "Late?"],
    ["High?", "Low?", "Deep?", "Calm?"],
    ["Safe?", "Cold?", "Warm?", "Good?"],
]


async def ttft(client: AsyncOpenAI, question: str) -> tuple[float, int, int]:
    """Milliseconds to the first text, prompt tokens, and how many of those the engine did not have to read."""
    began, first, counts = time.perf_counter(), 0.0, (0, 0)
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}],
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
    print(
        f"{name:10} TTFT {ms:6.0f} ms  {cold_ms / ms:5.1f}x   {prompt} prompt tokens, {cached} of them cached"
    )


async def main() -> None:
    base_url = os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1")
    async with AsyncOpenAI(base_url=base_url, api_key=os.environ.get("OPENAI_API_KEY", "none")) as client:
        try:
            await client.models.list()  # the connection is not part of the first figure
        except APIConnectionError:
            sys.exit(f"No gateway answers at {base_url}: start one with `tidegate serve`.")
        cold = await ttft(client, "High water?")
        show("cold", cold, cold[0])
        show("again", await ttft(client, "Low water?"), cold[0])
        slowest: list[tuple[float, int, int]] = []
        for questions in BURSTS:
            four = await asyncio.gather(*(ttft(client, question) for question in questions))
            slowest.append(max(four))
            show("four", slowest[-1], cold[0])
        show("median", sorted(slowest)[len(slowest) // 2], cold[0])


asyncio.run(main())
