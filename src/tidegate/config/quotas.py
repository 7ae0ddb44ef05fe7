"""The section `quotas`: how limits are counted when there are several processes."""

from __future__ import annotations

from pydantic import Field

from tidegate.config.settings import Settings


class QuotasConfig(Settings):
    """How limits are counted."""

    divide: bool = Field(
        default=False,
        description="With several workers: each one enforces its part of every limit. A caller whose connections are served"
        " by few of the workers then gets less than its limit. Default: several workers do not start with limits.",
    )
