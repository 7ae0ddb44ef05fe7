"""Streams an answer through the official OpenAI SDK and prints it as it comes, then its tokens and times.

    python examples/hello.py [MODEL [PROMPT]]

`OPENAI_BASE_URL` says where the gateway is; without it, http://127.0.0.1:8080/v1. Ends with status 1 when the answer broke
off: the SDK raises then, so half an answer is never taken for a whole one.
"""

from __future__ import annotations

import os
import sys
import time

from openai import APIConnectionError, APIError, OpenAI

model = sys.argv[1] if len(sys.argv) > 1 else "default"
prompt = sys.argv[2] if len(sys.argv) > 2 else "What is a tide? Answer in one sentence."

client = OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "none"),  # the SDK wants one, the gateway does not
    max_retries=0,
)
began = time.perf_counter()
first = usage = None
try:
    stream = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": prompt}],
        max_tokens=100,
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            if choice.delta.content:
                first = first or time.perf_counter()
                print(choice.delta.content, end="", flush=True)
except APIConnectionError:
    sys.exit(f"No gateway answers at {client.base_url}: start one with `tidegate serve`.")
except APIError as error:
    print(f"\n\nThe answer broke off, and the SDK raised {type(error).__name__}: {error.message}")
    sys.exit(1)

total = time.perf_counter() - began
print("\n")
if usage:
    print(f"usage: {usage.prompt_tokens} prompt tokens, {usage.completion_tokens} completion tokens")
if first:
    print(f"TTFT:  {(first - began) * 1000:.0f} ms of {total * 1000:.0f} ms in all")
