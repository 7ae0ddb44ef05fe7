"""Questions of forums and long posts: both sides in the same sentences, as long as people write them."""

from __future__ import annotations

from random import Random
from statistics import median

import pytest
from training.generate.forums import casual, forums
from training.generate.grammar import english
from training.generate.kind import Kind
from training.generate.posts import posts
from training.generate.writing import rows

LONG = [kind for kind in posts() if ".post" in kind.name]


@pytest.mark.parametrize("kind", LONG, ids=lambda one: one.name)
def test_a_post_has_the_length_of_a_passage(kind: Kind) -> None:
    lengths = [len(row.text.split()) for row in rows(kind, 60, seed=5)]
    assert 90 < median(lengths) < 180
    assert max(lengths) < 300


def test_a_post_tells_nothing_by_its_length() -> None:
    middle = {
        kind.name: median(len(row.text.split()) for row in rows(kind, 150, seed=5))
        for kind in LONG
        if "request" not in kind.name
    }
    assert max(middle.values()) < 1.2 * min(middle.values())


def test_no_sentence_of_a_rule_comes_twice() -> None:
    grammar = english()
    assert len(list(grammar.each("po_garden", Random(1)))) == len(grammar.rules["po_garden"])


def test_people_type_in_small_letters_and_with_slips() -> None:
    written = {casual("I don't want this because it's weird", Random(seed)).text for seed in range(200)}
    assert "i dont want this because its weird" in {text.lower() for text in written}
    assert any("becuase" in text for text in written)


def test_forums_ask_for_harm_of_each_hazard_that_has_acts() -> None:
    harmful = [kind for kind in forums() if kind.name.startswith("harm.")]
    assert len(harmful) == 12
    for kind in harmful:
        known = [name for name, label in kind.labels.items() if label and name != "harm"]
        assert len(known) == 1
