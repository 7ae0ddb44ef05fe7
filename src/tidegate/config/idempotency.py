"""The section `idempotency`: how long answers are kept for requests that are sent again."""

from __future__ import annotations

from pydantic import Field

from tidegate.config.settings import Settings


class IdempotencyConfig(Settings):
    """The answers to requests with the header `Idempotency-Key`."""

    ttl_s: float = Field(
        default=86_400,
        ge=0,
        description="How long an answer is kept after its end. With 0, only requests that come while it is made get it.",
    )
    max_entries: int = Field(default=10_000, ge=0, description="Largest number of kept answers, per worker.")
    max_bytes: int = Field(
        default=64 * 2**20,
        ge=0,
        description="Largest memory of all answers that are kept or being made for this, per worker. The oldest go first.",
    )
    max_answer_bytes: int = Field(
        default=8 * 2**20,
        ge=0,
        description="Largest memory of one answer: a streamed token takes about 1,000 bytes while the answer is made."
        " A longer answer still arrives, but it is not kept, and no further request can join it.",
    )
