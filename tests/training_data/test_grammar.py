"""The tables of sentences: what their signs mean, what is refused, and that each table can be spelled out."""

from __future__ import annotations

from random import Random

import pytest
from training.generate.grammar import Grammar, english, language, languages, parsed


def spelled(text: str, rule: str = "start", **given: str) -> set[str]:
    grammar = Grammar(parsed(text))
    return {grammar.expand(rule, Random(seed), **given) for seed in range(60)}


def test_each_alternative_of_a_line_and_each_branch_is_spelled_out() -> None:
    assert spelled("= start\nred {thing} / (pale|) {thing}\n= thing\nfox\nowl") == {
        "red fox",
        "red owl",
        "pale fox",
        "pale owl",
        " fox",
        " owl",
    }


def test_a_key_is_expanded_once_for_a_text() -> None:
    texts = spelled("= start\n{one=name} and {one}, {name}\n= name\nAnn / Bo")
    assert texts == {"Ann and Ann, Ann", "Ann and Ann, Bo", "Bo and Bo, Ann", "Bo and Bo, Bo"}


def test_what_is_given_stands_for_its_reference() -> None:
    assert spelled("= start\n<{given_note}> {Given_note}", given_note="dig") == {"<dig> Dig"}


def test_capitals_articles_and_escapes() -> None:
    table = "= start\n{Thing} {THING} a(n) {thing} \\{a\\|b\\}\\n\\(c\\) (d)\n= thing\nowl"
    assert spelled(table) == {"Owl OWL an owl {a|b}\n(c) (d)"}
    assert spelled("= start\na(n) {x}\n= x\nunit / unfair rule / fox / LLM") == {
        "a unit",
        "an unfair rule",
        "a fox",
        "an LLM",
    }


def test_a_weight_makes_an_alternative_likelier_and_empty_ones_are_allowed() -> None:
    grammar = Grammar(parsed("= start\n9*\nrare"))
    texts = [grammar.expand("start", Random(seed)) for seed in range(200)]
    assert 0 < texts.count("rare") < 60
    assert set(texts) == {"", "rare"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("= a\n{b}\n= b\n{a}", "comes to itself by a > b"),
        ("= a\n= b\nx", "rule 'a' has no alternative"),
        ("= a\n{nobody}", "refers to 'nobody', which is no rule"),
        ("= a\nx\n= a\ny", "line 3: there is a rule 'a' already"),
        ("= a\n(x|y", "line 2 of rule 'a': a bracket is not closed"),
        ("= a\n{x y}", "is no reference"),
        ("x", "line 1 belongs to no rule"),
    ],
)
def test_a_table_with_a_mistake_is_refused(table: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Grammar(parsed(table))


def test_comments_stand_before_the_first_rule_only() -> None:
    assert spelled("# about this\n= start\n# a heading") == {"# a heading"}


def test_sizes_are_those_of_all_texts() -> None:
    grammar = Grammar(parsed("= start\n{a}{a} / (x|y|) {a}\n= a\n1 / 2"))
    assert grammar.size("start") == 4 + 6


@pytest.mark.parametrize("code", languages())
def test_each_language_has_attacks_and_harmless_texts(code: str) -> None:
    grammar = language(code)
    assert grammar.size("attack") > 5000
    assert min(grammar.size("benign"), grammar.size("hard")) > 40
    texts = [grammar.expand(rule, Random(at)) for rule in ("attack", "benign", "hard") for at in range(40)]
    assert not [text for text in texts if "{" in text or "|" in text or "()" in text]


def test_every_english_rule_can_be_spelled_out() -> None:
    grammar = english()
    for rule in grammar.rules:
        given = dict.fromkeys(("one", "other"), "x")
        text = grammar.expand(
            rule, Random(rule), given_note="a note", given_act="a note", given_code="rot13", **given
        )
        assert "{Given" not in text
