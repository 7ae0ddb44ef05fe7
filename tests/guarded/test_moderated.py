"""What detectors say in the categories of `/v1/moderations`: the scores of texts that pass, and of those that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from guarded.detected import HEADS, ReadsFigures
from tidegate.kernel.text import Views
from tidegate.rails.detectors.harm_detector import HarmDetector, HarmDetectorConfig
from tidegate.rails.detectors.toxicity_detector import ToxicityDetector, ToxicityDetectorConfig
from tidegate.rails.moderation import CATEGORIES, MODERATED, scored
from tidegate.types import Caller, Scene, Surface, Where

SCENE = Scene(Where(0, "content"), Surface.INPUT, Caller("k"), deadline=1.0)


def told(text: str) -> tuple[Mapping[str, float], set[str]]:
    """The highest score of each category, and the categories for which a rail objects."""
    detector = ReadsFigures()
    rails = [
        HarmDetector(HarmDetectorConfig(on_fail="block")),
        ToxicityDetector(ToxicityDetectorConfig(on_fail="block")),
    ]
    scores: dict[str, float] = {}
    objects: set[str] = set()
    for rail in rails:
        rail.use(detector)
        for one in scored(asyncio.run(rail.check(Views(text), SCENE))):
            scores[one.category] = max(scores.get(one.category, 0.0), one.score)
            objects |= {one.category} if one.objects else set()
    return scores, objects


def test_every_head_of_the_detector_has_its_categories() -> None:
    assert set(HEADS) - set(MODERATED) == set()
    assert {category for head in HEADS for category in MODERATED[head]} <= set(CATEGORIES)


def test_a_text_that_passes_has_scores_and_no_category() -> None:
    scores, objects = told("toxicity=0.3 self_harm=0.2 hate=0.1 harm=0.4")
    assert objects == set()
    assert scores["harassment"] == pytest.approx(0.3)
    assert scores["self-harm"] == pytest.approx(0.2)
    assert scores["hate"] == pytest.approx(0.1)
    assert scores["illicit"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("toxicity=0.95", {"harassment"}),
        ("self_harm=0.95", {"self-harm"}),
        ("child_exploitation=0.95", {"sexual", "sexual/minors"}),
        ("violent_crimes=0.95", {"violence", "illicit", "illicit/violent"}),
        ("defamation=0.95", set[str]()),
    ],
)
def test_a_text_above_its_threshold_is_flagged_for_the_categories_of_its_head(
    text: str, expected: set[str]
) -> None:
    scores, objects = told(text)
    assert objects == expected
    assert all(scores[one] == pytest.approx(0.95) for one in expected)


def test_a_hazard_below_its_own_threshold_is_no_category() -> None:
    """Heads have thresholds of their own, so what is enough for one says nothing of another."""
    scores, objects = told("weapons=0.95 self_harm=0.45 harm=0.99")
    assert objects == {"illicit", "illicit/violent"}
    assert scores["self-harm"] == pytest.approx(0.45)
    scores, objects = told("self_harm=0.92 harm=0.89 sexual_content=0.4")
    assert objects == {"self-harm"}
    assert scores["self-harm"] == pytest.approx(0.92)
    assert scores["illicit"] == pytest.approx(0.89)
