"""The result of an evaluation: data without any rendering. Shares are from 0 to 1, times in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tidegate.ops.evals.statistics import Difference, Estimate


class AtShare(msgspec.Struct, frozen=True, kw_only=True):
    """What scores say where at most the share `target` of the negatives is flagged.

    `threshold` is the lowest one that keeps to the target, and None if none does. `flagged` is the share of negatives that
    it flags. `recall` is the share of positives.
    """

    target: float
    threshold: float | None
    flagged: float
    recall: Estimate | None


class AtThreshold(msgspec.Struct, frozen=True, kw_only=True):
    """The shares of positives and of negatives whose scores are at least `threshold`. `target` is None for a given one."""

    threshold: float | None
    target: float | None = None
    recall: Estimate | None = None
    flagged: Estimate | None = None


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What the rails would do with the texts of one side.

    `blocked` texts do not go on: they are blocked, made again, or wait for a person. `changed` ones are redacted or
    corrected, `logged` ones go on with a line in the audit. `failed` counts those for which a rail failed; they are in no
    other count, and in no share.
    """

    texts: int
    blocked: int
    changed: int
    logged: int
    passed: int
    failed: int
    blocked_share: Estimate | None
    flagged_share: Estimate | None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a part of the texts. `positives` are the texts that should be flagged.

    `auc` compares the positives with the negatives of the part; where it has texts of one side only, with the other side of
    all texts. `at_shares` has thresholds of all negatives, not of those of the part.
    """

    name: str
    positives: Decided
    negatives: Decided
    auc: Estimate | None
    at_shares: Sequence[AtShare]
    at_thresholds: Sequence[AtThreshold]


class RailFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How one rail alone does. `objects_positives` and `objects_negatives` are shares to which it objects."""

    rail: str
    auc: Estimate | None
    at_shares: Sequence[AtShare]
    objects_positives: Estimate | None
    objects_negatives: Estimate | None
    errors: Mapping[str, int]


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One source of positives against one source of negatives.

    `at_shares` has the thresholds of these negatives. `apart` has thresholds of negatives from other sources, so that
    neither source has had a part in them.
    """

    positives: str
    negatives: str
    auc: Estimate | None
    at_shares: Sequence[AtShare]
    apart: Sequence[AtThreshold]


class Macro(msgspec.Struct, frozen=True, kw_only=True):
    """The means over all cells, each cell counted once. `recall` is at the cell's own threshold."""

    target: float
    recall: float | None
    recall_least: float | None
    apart_recall: float | None
    apart_flagged: float | None


class Pairs(msgspec.Struct, frozen=True, kw_only=True):
    """Every source of positives against every source of negatives."""

    cells: Sequence[Cell]
    auc: float | None
    auc_least: float | None
    macro: Sequence[Macro]


class Curve(msgspec.Struct, frozen=True):
    """The recall at shares of flagged negatives."""

    name: str
    flagged: Sequence[float]
    recall: Sequence[float]


class Histogram(msgspec.Struct, frozen=True):
    """How many positives and negatives have a score between two neighbours of `edges`."""

    edges: Sequence[float]
    positives: Sequence[int]
    negatives: Sequence[int]


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """How long one rail took for a text, or all of them together."""

    name: str
    checks: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


class PlanResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of one plan. `groups` has the figures by the values of each field that was named."""

    profile: str
    config: str
    rails: Sequence[str]
    checked: int
    complete: bool
    all: Figures
    sources: Sequence[Figures]
    groups: Mapping[str, Sequence[Figures]]
    by_rail: Sequence[RailFigures]
    pairs: Pairs | None
    curves: Sequence[Curve]
    histogram: Histogram
    times: Sequence[Took]
    texts_per_s: float


class Disagreement(msgspec.Struct, frozen=True, kw_only=True):
    """How many texts of one side only the first plan blocks, and only the second. `p` is McNemar's."""

    only_first: int
    only_second: int
    both: int
    neither: int
    p: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The second plan minus the first one, over the texts for which no rail of either has failed."""

    texts: int
    auc: Difference | None
    recall: Mapping[str, Difference | None]
    blocked_positives: Disagreement
    blocked_negatives: Disagreement


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluation. `texts` is how many were to be checked, `left_out` how many have labels of neither side."""

    version: str
    started_at: str
    files: Sequence[str]
    surface: str
    positive: Sequence[str]
    negative: Sequence[str]
    categories: Sequence[str]
    texts: int
    left_out: int
    repeated: int
    contradicted: int
    sample: int | None
    seed: int
    jobs: int
    calibrated_on: Sequence[str]
    plans: Sequence[PlanResult]
    comparison: Comparison | None
