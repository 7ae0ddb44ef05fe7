"""Regular expressions as grammars of llama.cpp: the same texts match, or there is no grammar."""

from __future__ import annotations

import pytest

from tidegate.structure.gbnf import gbnf_of


@pytest.mark.parametrize(
    ("pattern", "grammar"),
    [
        ("(fast|slow)", "root ::= (([f] [a] [s] [t] | [s] [l] [o] [w]))"),
        (r"^\d{2}:[0-5]$", r"root ::= ([0-9]){2,2} [\u003A] [0-5]"),
        ("a?b*c+", "root ::= ([a]){0,1} ([b]){0,} ([c]){1,}"),
        (r"[^\s\"]", r"root ::= [^ \t\n\r\u0022]"),
        (".", r"root ::= [^\n]"),
        ("", 'root ::= ""'),
    ],
)
def test_what_both_can_say_is_translated(pattern: str, grammar: str) -> None:
    assert gbnf_of(pattern) == grammar


@pytest.mark.parametrize(
    "pattern", [r"\bword", r"(a)\1", "(?=a)b", "(?i)a", r"[\D]", "a^b", "(", "a{5000}", "(?:(?i:a))"]
)
def test_what_gbnf_has_no_words_for_is_not(pattern: str) -> None:
    assert gbnf_of(pattern) is None
