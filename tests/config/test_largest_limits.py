"""Limits that are too large to count exactly are refused at the start, not by the first call that meets them."""

from __future__ import annotations

import pytest

from tidegate.config import parse_text
from tidegate.errors import ConfigError


@pytest.mark.parametrize("most", ["1" + "0" * 16, "9" * 400, "1e300", ".inf"])
@pytest.mark.parametrize(
    "setting", ["requests_per_minute", "tokens_per_day", "burst_tokens", "usd_per_month"]
)
def test_a_limit_that_cannot_be_counted_exactly(setting: str, most: str):
    text = f"policies: {{default: {{limits: {{{setting}: {most}}}}}}}"
    with pytest.raises(ConfigError) as raised:
        parse_text(text, source="here")
    assert [problem[0] for problem in raised.value.problems] == [f"policies.default.limits.{setting}"]
