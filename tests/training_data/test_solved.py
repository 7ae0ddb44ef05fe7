"""The fit of the statistics: it finds the one minimum, and only the rows that count decide where that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the fit needs scipy")

from scipy.sparse import csr_matrix
from training.statistics import solved

PENALTY = 0.1


def fitted(rows: Sequence[Sequence[float]], labels: Sequence[int], counts: Sequence[float]) -> Any:
    """Return the weights of the places that are used, and the bias."""
    seen = csr_matrix(np.array(rows, np.float32))
    table, bias = solved(seen, np.array(labels, np.float32), np.array(counts, np.float32), PENALTY)
    assert not table[len(rows[0]) :].any()
    return table[: len(rows[0])], bias


def loss(weights: Any, bias: float, rows: Any, labels: Any, counts: Any) -> float:
    margins = (2 * np.array(labels) - 1) * (np.array(rows) @ weights + bias)
    shares = np.array(counts) / np.sum(counts)
    return float(shares @ np.logaddexp(0, -margins)) + PENALTY / 2 * float(weights @ weights)


def test_of_two_rows_it_finds_the_weight_where_the_slope_is_zero() -> None:
    [weight], bias = fitted([[1.0], [-1.0]], [1, 0], [1, 1])
    assert 1 / (1 + math.exp(weight)) == pytest.approx(PENALTY * weight, abs=0.005)
    assert bias == pytest.approx(0, abs=0.01)


ROWS = [[1.0, 0.0, 0.5], [1.0, 0.5, 0.0], [0.5, 0.0, 1.0], [0.0, 1.0, 0.5], [0.0, 1.0, 0.0], [0.25, 1.0, 0.0]]
LABELS = [1, 1, 1, 0, 0, 0]
COUNTS = [1.0, 2.0, 1.0, 1.0, 3.0, 1.0]


def test_a_separable_set_is_separated_and_no_step_away_is_better() -> None:
    weights, bias = fitted(ROWS, LABELS, COUNTS)
    assert [float(one) > 0 for one in np.array(ROWS) @ weights + bias] == [label == 1 for label in LABELS]
    least = loss(weights, bias, ROWS, LABELS, COUNTS)
    for at in range(len(weights) + 1):
        for step in (-0.2, 0.2):
            moved = np.append(weights, bias)
            moved[at] += step
            assert loss(moved[:-1], moved[-1], ROWS, LABELS, COUNTS) > least


def test_rows_that_do_not_count_change_nothing() -> None:
    usual, usual_bias = fitted([[*row, 0.0] for row in ROWS], LABELS, COUNTS)
    # The same rows with the wrong labels, and one with a place that no other row has.
    more = [*([*row, 0.0] for row in ROWS), *([*row, 0.0] for row in ROWS), [0.0, 0.0, 0.0, 1.0]]
    labels = [*LABELS, *(1 - label for label in LABELS), 1]
    weights, bias = fitted(more, labels, [*COUNTS, *[0.0] * 7])
    assert weights == pytest.approx(usual, abs=1e-3)
    assert bias == pytest.approx(usual_bias, abs=1e-3)
    assert weights[3] == 0


def test_a_row_that_counts_twice_is_as_two_rows() -> None:
    once, once_bias = fitted([*ROWS, ROWS[0]], [*LABELS, LABELS[0]], [1.0] * 7)
    twice, twice_bias = fitted(ROWS, LABELS, [2.0, *[1.0] * 5])
    assert once == pytest.approx(twice, abs=1e-3)
    assert once_bias == pytest.approx(twice_bias, abs=1e-3)
