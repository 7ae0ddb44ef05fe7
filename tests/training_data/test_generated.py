"""Our own texts: the same for a seed, labelled as their kind says, diverse, and equal to no row of a public set."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from training.generate import __main__ as command
from training.generate.kinds import Kind, kinds
from training.generate.writing import counts, generate, one, rows
from training.rows import HARMS, HEADS, Row, fingerprint

KINDS = kinds()
EACH = 60


@pytest.fixture(scope="module")
def written() -> dict[str, list[Row]]:
    return {name: list(rows(kind, EACH, seed=7)) for name, kind in KINDS.items()}


def test_a_seed_gives_the_same_rows_and_another_seed_others() -> None:
    assert generate(300, 5) == generate(300, 5)
    assert not {row.text for row in generate(300, 5)} >= {row.text for row in generate(300, 6)}


def test_a_row_depends_on_no_other() -> None:
    kind = KINDS["attack.override"]
    assert one(kind, 5, 17) == one(kind, 5, 17)
    assert list(rows(kind, 5, 3)) == list(rows(kind, 40, 3))[:5]


def test_labels_are_those_of_the_kind(written: dict[str, list[Row]]) -> None:
    for name, found in written.items():
        assert found, name
        assert {row.kind for row in found} == {name}
        assert {tuple(row.labels.items()) for row in found} == {tuple(KINDS[name].labels.items())}
        injection = name.startswith("attack.") or name == "harm.code_abuse"
        assert {row.labels["injection"] for row in found} == {int(injection)}
        assert set(KINDS[name].labels) <= set(HEADS)


def test_a_harmful_kind_is_harmful_in_its_own_category_only() -> None:
    for name, kind in KINDS.items():
        if name.startswith("harm."):
            assert kind.labels["harm"] == 1
            if (hazard := name.removeprefix("harm.")) in HARMS:
                assert kind.labels[hazard] == 1
            assert sum(kind.labels.get(head, 0) for head in HARMS) <= 1


def test_no_sign_of_a_table_is_left_in_a_text(written: dict[str, list[Row]]) -> None:
    for found in written.values():
        for row in found:
            assert row.text.strip()
            assert not [sign for sign in ("{given", "{one", "{topic", "a(n)") if sign in row.text]


def test_attacks_and_harmless_texts_have_like_shares() -> None:
    shares: Counter[int] = Counter()
    for name, count in counts(10_000, KINDS).items():
        shares[KINDS[name].labels["injection"]] += count
    assert 0.17 < shares[1] / shares.total() < 0.55


def words(texts: list[Row], size: int) -> list[tuple[str, ...]]:
    split = [row.text.lower().split() for row in texts]
    return [tuple(one[at : at + size]) for one in split for at in range(len(one) - size + 1)]


FRAMED = {
    "toxic.insult",
    "attack.many_shot",
    "attack.turns",
    "benign.turns",
    "benign.homonym",
    "attack.long_persona",
}
"""Kinds whose frames repeat by design, or that are small."""


@pytest.mark.parametrize(
    "kind", [kind for name, kind in KINDS.items() if name[:4] != "harm"], ids=lambda one: one.name
)
def test_texts_of_a_kind_are_diverse(kind: Kind, written: dict[str, list[Row]]) -> None:
    found = written[kind.name]
    assert len(found) == EACH
    grams = words(found, 4)
    if len(grams) > 200:
        assert len(set(grams)) / len(grams) > (0.4 if kind.name in FRAMED else 0.5)
    starts = Counter(row.text[:12] for row in found)
    assert max(starts.values()) <= EACH * 0.34


@pytest.fixture(scope="module")
def public(train: Path, public_rows: list[Row]) -> dict[bytes, str]:
    """The fingerprints of all public rows. Gates are read here to prove that no text of ours is one of them."""
    known = {fingerprint(row.text): row.source for row in public_rows}
    for gate in sorted((train.parent / "gates").glob("*.jsonl")):
        lines = (line for line in gate.read_text("utf-8").split("\n") if line.strip())
        known |= {fingerprint(json.loads(line)["text"]): gate.name for line in lines}
    return known


def test_no_text_is_a_row_of_a_public_set(public: dict[bytes, str]) -> None:
    texts = generate(20_000, 1, noise=0, disguise=0)
    assert [(public[key], row.text) for row in texts if (key := fingerprint(row.text)) in public] == []


def test_rows_leave_out_what_is_known() -> None:
    kind = KINDS["benign.trigger"]
    first = list(rows(kind, 10, 1))
    known = {fingerprint(row.text) for row in first[:4]}
    assert [row.text for row in rows(kind, 6, 1, known)] == [row.text for row in first[4:]]


def test_samples_and_counts_are_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    command.samples(["attack.override"], 3, 1, noisy=False)
    assert len(capsys.readouterr().out.splitlines()) == 4
    command.totals(200, 1, tmp_path / "rows.jsonl")
    lines = (tmp_path / "rows.jsonl").read_text("utf-8").splitlines()
    assert f"{len(lines)}" in capsys.readouterr().out.splitlines()[-1]
    assert json.loads(lines[0])["labels"] == {"injection": 1}
    with pytest.raises(SystemExit, match="there is no kind 'nothing'"):
        command.samples(["nothing"], 3, 1, noisy=False)
