"""The OpenAI client and `tidegate.structured`: no other library is needed.

pip install openai tidegate
tidegate serve                              # in another terminal
python with_tidegate.py                     # or: TIDEGATE_URL=http://127.0.0.1:8080/v1 python with_tidegate.py
"""

from __future__ import annotations

import os
from typing import Any, Literal

from openai import OpenAI
from pydantic import BaseModel, Field

import tidegate

URL = os.environ.get("TIDEGATE_URL", "http://127.0.0.1:8080/v1")


class Review(BaseModel):
    mood: Literal["good", "bad"]
    stars: int = Field(ge=1, le=5)


def main() -> Review:
    """Ask for a review."""
    form: Any = tidegate.structured(Review)
    answer = OpenAI(base_url=URL, api_key="-").chat.completions.create(
        model="default",
        response_format=form,
        max_tokens=100,
        messages=[{"role": "user", "content": "Rate this: the boat is fast, and I love it."}],
    )
    return form.parse(answer)


if __name__ == "__main__":
    print(main())
