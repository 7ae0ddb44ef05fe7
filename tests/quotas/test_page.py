"""The examples on the page about quotas are true."""

from __future__ import annotations

import doctest
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quotas.md"


def test_the_examples_give_what_the_page_says():
    text = PAGE.read_text("utf-8").replace("\n```", "\n\n```")
    examples = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    assert len(examples.examples) >= 8
    assert doctest.DocTestRunner(verbose=False).run(examples).failed == 0
