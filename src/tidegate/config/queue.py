"""The section `queue`: which calls wait for an engine, how many and how long, and which of them go first."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, field_validator

from tidegate.config.settings import Name, Settings

DEFAULT_CLASS = "default"
"""The class of calls whose policy names none."""


class ClassConfig(Settings):
    """A class of calls. `policies.NAME.defaults.priority` puts the calls of a policy into a class."""

    share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Part of the work, 0 to 1, that the class gets at least while its calls wait, whatever goes before it.",
    )
    longest_wait_s: float = Field(
        default=60,
        gt=0,
        description="Longest time that a call of the class waits for an engine. A call that would probably wait longer than"
        " 0.8 of it is refused at once.",
    )


class QueueConfig(Settings):
    """The queue in front of all engines."""

    max_size: int = Field(default=1000, gt=0, description="Largest number of calls that wait, per worker.")
    max_work_tokens: int = Field(
        default=10_000_000,
        gt=0,
        description="Largest work of all calls that wait, per worker: tokens of prompts, and twice the expected tokens of"
        " answers.",
    )
    max_bytes: int = Field(
        default=256 * 2**20,
        gt=0,
        description="Largest size of the bodies of all calls that wait, per worker.",
    )
    warn_threshold: float = Field(
        default=0.8, gt=0, le=1, description="The queue is degraded over this share of one of these three."
    )
    enqueue_timeout_s: float = Field(
        default=600, gt=0, description="Longest time that a call of any class waits for an engine."
    )
    classes: Mapping[Name, ClassConfig] = Field(
        default={
            "interactive": ClassConfig(longest_wait_s=10),
            DEFAULT_CLASS: ClassConfig(longest_wait_s=60),
            "batch": ClassConfig(longest_wait_s=600),
        },
        description="The classes of calls, by name, in the order in which they go. One of them is `default`.",
    )

    @field_validator("classes")
    @classmethod
    def _usable(cls, classes: Mapping[str, ClassConfig]) -> Mapping[str, ClassConfig]:
        if DEFAULT_CLASS not in classes:
            raise ValueError(
                f"has no class '{DEFAULT_CLASS}', which holds for policies without a priority: add it"
            )
        shares = sum(one.share for one in classes.values())
        if shares > 1:
            raise ValueError(f"the shares add up to {shares:g}: they must not exceed 1")
        return classes
