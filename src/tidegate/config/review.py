"""The section `review`: people who decide about texts that a rail with `on_fail: review` has objected to."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from tidegate.config import urls
from tidegate.config.settings import Settings

MEMORY = Path(":memory:")
"""The path that keeps cases in memory: they are lost when the process ends."""
SHORTEST_SECRET = 16


class WebhookConfig(Settings):
    """A URL that is told of each new case."""

    url: str = Field(
        description="Where each new case is sent to by POST, such as https://example.org/reviews."
    )
    secret: SecretStr = Field(
        description=f"Key of the signature in `x-tidegate-signature` (HMAC-SHA256), at least {SHORTEST_SECRET} characters."
    )
    proxy: str | None = Field(
        default=None, description="URL of an HTTP proxy between the gateway and the URL."
    )

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str) -> str:
        return urls.check_address(url)

    @field_validator("secret")
    @classmethod
    def _hard_to_guess(cls, secret: SecretStr) -> SecretStr:
        if len(secret.get_secret_value()) < SHORTEST_SECRET:
            raise ValueError(f"must have at least {SHORTEST_SECRET} characters")
        return secret


class ReviewConfig(Settings):
    """People who decide about texts that a rail with `on_fail: review` has objected to."""

    path: Path | None = Field(
        default=None,
        description="SQLite file of the cases and decisions, which all workers share. Default: `tidegate-review.db` in the"
        " folder of the store, or else in the folder where the gateway is started; `:memory:` forgets all cases at the end"
        " of the process.",
    )
    wait_s: float = Field(
        default=60,
        ge=0,
        description="Longest time that a client waits for a decision; its own deadline holds as well.",
    )
    at_deadline: Literal["block", "release", "later"] = Field(
        default="block",
        description="What happens if nobody decides in time: the text is blocked, it leaves as it is, or the client gets"
        " `notice` and the case stays open.",
    )
    most_open: int = Field(
        default=1000,
        ge=1,
        description="Largest number of open cases. Beyond it, `at_deadline` holds at once, and `later` blocks.",
    )
    notice: str = Field(
        default="A person has to look at this first. Ask for it by the number {case}.",
        min_length=1,
        description="What the client gets with `at_deadline: later`; `{case}` is replaced by the id of the case.",
    )
    webhook: WebhookConfig | None = Field(default=None, description="A URL that is told of each new case.")

    @field_validator("path")
    @classmethod
    def _named(cls, path: Path | None) -> Path | None:
        if path == Path():
            raise ValueError("is empty: name a file, such as tidegate-review.db, or leave it out")
        return path
