"""Outlines against the gateway: answers of a type, and a choice.

pip install outlines openai
tidegate serve                              # in another terminal
python with_outlines.py                     # or: TIDEGATE_URL=http://127.0.0.1:8080/v1 python with_outlines.py
"""

from __future__ import annotations

import os
from typing import Literal

import outlines
from openai import OpenAI
from pydantic import BaseModel, Field

URL = os.environ.get("TIDEGATE_URL", "http://127.0.0.1:8080/v1")


class Review(BaseModel):
    mood: Literal["good", "bad"]
    stars: int = Field(ge=1, le=5)


def main() -> Review:
    """Ask for a review. `from_vllm` sends types, choices, patterns and grammars in the spelling of vLLM."""
    model = outlines.from_vllm(OpenAI(base_url=URL, api_key="-"), "default")
    answer = model("Rate this: the boat is fast, and I love it.", Review, max_tokens=100)
    print(model("Is the boat fast or slow?", Literal["fast", "slow"], max_tokens=10))
    return Review.model_validate_json(answer)


if __name__ == "__main__":
    print(main())
