"""Instructor against the gateway: answers as instances of a pydantic model.

pip install instructor
tidegate serve                              # in another terminal
python with_instructor.py                   # or: TIDEGATE_URL=http://127.0.0.1:8080/v1 python with_instructor.py
"""

from __future__ import annotations

import os
from typing import Literal

import instructor
from openai import OpenAI
from pydantic import BaseModel, Field

URL = os.environ.get("TIDEGATE_URL", "http://127.0.0.1:8080/v1")


class Review(BaseModel):
    mood: Literal["good", "bad"]
    stars: int = Field(ge=1, le=5)


def main() -> Review:
    """Ask for a review. The gateway repairs and asks again, so Instructor itself need not."""
    client = instructor.from_openai(OpenAI(base_url=URL, api_key="-"), mode=instructor.Mode.JSON_SCHEMA)
    return client.chat.completions.create(
        model="default",
        response_model=Review,
        max_retries=0,
        max_tokens=100,
        messages=[{"role": "user", "content": "Rate this: the boat is fast, and I love it."}],
    )


if __name__ == "__main__":
    print(main())
