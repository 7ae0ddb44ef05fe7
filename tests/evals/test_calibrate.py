"""`tidegate rails calibrate`, and the thresholds that it takes from texts without fault."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import yaml
from command_line import run_command
from hypothesis import given
from hypothesis import strategies as st

from tidegate.cli.evals.calibrating import lines, written
from tidegate.cli.evals.thresholded import setting_of
from tidegate.config import Config
from tidegate.config.rails import RailConfig
from tidegate.config.settings import Settings
from tidegate.ops.evals.checking import Checked, Said
from tidegate.ops.evals.rows import Row
from tidegate.ops.evals.thresholds import Calibration, Setting, thresholds
from tidegate.rails.profiles import BUILT_IN
from tidegate.types import Action, Verdict

Run = Callable[..., tuple[int, str, str]]
TELLS = Setting("prompt_guard", "threshold", 0.5)


def checked(**scores: list[float]) -> list[Checked]:
    """Texts with a score from each rail, all of which pass."""
    row = Row("f:1", "f", "", "", False, {})
    said = [
        {name: Said(score=score) for name, score in zip(scores, some, strict=True)}
        for some in zip(*scores.values(), strict=True)
    ]
    return [Checked(row, rails, 0.0) for rails in said]


SCORES = st.lists(st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)), min_size=1, max_size=40)


@given(SCORES, st.floats(0, 0.9))
def test_rails_keep_to_a_share_each_or_together(scores, target):
    texts = checked(a=[one for one, _ in scores], b=[one for _, one in scores])
    for together in (False, True):
        found = thresholds(texts, {"a": TELLS, "b": TELLS}, [target], together=together)
        limits = {one.rail: one.at[0].threshold for one in found}
        flags = np.array([[one.rails[name].score >= limits[name] for name in "ab"] for one in texts])
        shares = [flags.any(axis=1).mean()] if together else flags.mean(axis=0)
        assert max(shares) <= target
        assert [one.at[0].flagged.value for one in found] == pytest.approx(list(flags.mean(axis=0)))


def test_a_rail_that_hides_scores_gets_no_lower_threshold_than_it_has() -> None:
    (hides,) = thresholds(checked(a=[0, 0, 0]), {"a": TELLS}, [0.1], together=False)
    (tells,) = thresholds(checked(a=[0, 0, 0.2]), {"a": TELLS}, [0.1], together=False)
    assert hides.at[0].threshold == 0.5
    assert tells.at[0].threshold == 0.2001


def test_no_threshold_is_high_enough_for_the_highest_score() -> None:
    texts = checked(a=[1.0, 1.0, 0.0])
    (found,) = thresholds(texts, {"a": TELLS}, [0.5], together=False)
    assert found.at[0].threshold is None
    assert found.at[0].flagged is not None
    assert found.at[0].flagged.value == 0


def test_categories_have_thresholds_of_their_own() -> None:
    texts = checked(a=[0.9, 0.8, 0.1])
    for one, (hate, sexual) in zip(texts, ((0.9, 0.1), (0.2, 0.8), (0.1, 0.1)), strict=True):
        verdict = Verdict(True, score=max(hate, sexual), scores=(("hate", hate), ("sexual", sexual)))
        one.rails["a"].hear(verdict, Action.PASS)
    found = thresholds(texts, {"a": None}, [0.4], together=False)
    assert [(one.category, one.at[0].threshold) for one in found] == [
        ("", 0.8001),
        ("hate", 0.2001),
        ("sexual", 0.1001),
    ]


@given(SCORES, st.floats(0, 0.9), st.booleans())
def test_categories_with_thresholds_of_their_own_keep_to_a_share_with_each_other(scores, target, together):
    texts = checked(a=[max(one) for one in scores], b=[one for _, one in scores])
    for one, (hate, sexual) in zip(texts, scores, strict=True):
        one.rails["a"].scores = {"hate": hate, "sexual": sexual}
    by_category = Setting("openai_moderation", "thresholds", None, categories={"hate": 0.5})
    found = thresholds(texts, {"a": by_category, "b": TELLS}, [target], together=together)
    limits = {(one.rail, one.category): one.at[0].threshold for one in found if one.setting}
    assert set(limits) == {("a", "hate"), ("a", "sexual"), ("b", "")}
    assert [one.setting.now for one in found if one.setting] == [0.5, None, 0.5]
    hate, sexual = (np.array(some) for some in zip(*scores, strict=True))
    by_rail = [
        (hate >= limits["a", "hate"]) | (sexual >= limits["a", "sexual"]),
        sexual >= limits["b", ""],
    ]
    shares = [np.any(by_rail, axis=0).mean()] if together else [one.mean() for one in by_rail]
    assert max(shares) <= target


Channels = Mapping[Literal["user", "document", "tool_output", "model_output"], float]


class ByChannel(RailConfig):
    thresholds: Channels = {}


class InModel(RailConfig):
    class Limits(Settings):
        user: float | None = None
        document: float | None = None

    thresholds: Limits = Limits()


class ByHazard(RailConfig):
    thresholds: Mapping[str, float] = {}


class InWords(RailConfig):
    threshold: Literal["high", "low"] = "high"


@pytest.mark.parametrize(
    ("config", "surface", "expected"),
    [
        (ByChannel(kind="x", thresholds={"user": 0.9}), "input", Setting("x", "thresholds", 0.9, "user")),
        (
            ByChannel(kind="x", thresholds={"user": 0.9}),
            "tool",
            Setting("x", "thresholds", None, "tool_output"),
        ),
        (ByChannel(kind="x"), "output", Setting("x", "thresholds", None, "model_output")),
        (
            InModel(kind="x", thresholds=InModel.Limits(document=0.8)),
            "retrieval",
            Setting("x", "thresholds", 0.8, "document"),
        ),
        (
            ByHazard(kind="x", thresholds={"hate": 0.4}),
            "input",
            Setting("x", "thresholds", None, categories={"hate": 0.4}),
        ),
        (InWords(kind="x"), "input", None),
    ],
)
def test_the_setting_is_that_of_the_surface(config: RailConfig, surface: str, expected: Setting | None):
    assert setting_of(config, surface) == expected


def test_maps_are_printed_as_maps():
    texts = checked(guard=[0.2, 0.9], hazards=[0.5, 0.6], plain=[0.1, 0.3], full=[1.0, 1.0])
    for one, hate in zip(texts, (0.5, 0.6), strict=True):
        one.rails["hazards"].scores = {"hate": hate, "weapons": 1.0}
    settings = {
        "guard": Setting("injection_detector", "thresholds", None, "user"),
        "hazards": Setting("hazards", "thresholds", None, categories={}),
        "plain": Setting("prompt_guard", "threshold", 0.5),
        "full": Setting("injection_detector", "thresholds", None, "user"),
    }
    found = Calibration(
        profile="mine",
        surface="input",
        files=[],
        texts=2,
        failed=0,
        complete=True,
        together=False,
        rails=thresholds(texts, settings, [0.0], together=False),
    )
    rails: list[dict[str, Any]] = [
        {"kind": one.kind, "name": name} for name, one in settings.items() if name != "plain"
    ]
    rails.append({"kind": "prompt_guard", "name": "plain", "threshold": 0.5, "on_fail": "log"})
    rails[0]["thresholds"] = {"document": 0.8}
    told = "\n".join(lines(found, [0.0], 0, {"race": True, "rails": [*rails, {"kind": "secrets"}]}))
    mine = yaml.safe_load(told)["rails"]["profiles"]["mine"]
    assert mine["race"] is True
    guard, hazards, full, plain, secrets = mine["rails"]
    assert guard["thresholds"] == {"document": 0.8, "user": 0.9001}
    assert hazards == {"kind": "hazards", "name": "hazards", "thresholds": {"hate": 0.6001}}
    assert plain == {"kind": "prompt_guard", "name": "plain", "threshold": 0.3001, "on_fail": "log"}
    assert full == {"kind": "injection_detector", "name": "full"}
    assert secrets == {"kind": "secrets"}
    assert "No threshold for 'user' of full" in told


def test_a_built_in_profile_is_written_as_it_is_configured():
    tree = {"rails": {"profiles": {"mine": written(BUILT_IN["standard"])}}}
    mine = Config.model_validate(yaml.safe_load(yaml.safe_dump(tree))).rails.profiles["mine"]
    assert mine == BUILT_IN["standard"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(tmp_path)
    rails: list[dict[str, Any]] = [
        {"kind": "toxicity", "name": "rude", "threshold": 0.4, "surfaces": ["input"]},
        {"kind": "blocklist", "words": ["zzz"]},
    ]
    tree = {
        "engines": {"e": {"kind": "scripted", "text": "hello"}},
        "models": {"m": {"deployments": [{"engine": "e"}]}},
        "policies": {"default": {"rails": "mine"}},
        "rails": {"profiles": {"mine": {"rails": rails}}},
    }
    Path("tidegate.yaml").write_text(json.dumps(tree))

    def run(*arguments: str) -> tuple[int, str, str]:
        return run_command(monkeypatch, capsys, *arguments)

    return run


def test_the_lines_for_the_configuration_flag_no_more(run: Run) -> None:
    texts = ["hello", "what a nice day", "you are an idiot", "good morning", "zzz"]
    Path("traffic.txt").write_text("\n".join(texts))
    Path("some.jsonl").write_text(json.dumps({"text": "idiot", "label": "toxic"}) + "\n")
    status, out, err = run("rails", "calibrate", "traffic.txt", "some.jsonl", "--fpr", "0.01,0.2", "--json")
    told = json.loads(out)
    assert (status, err, told["texts"]) == (0, "", 5)
    rude, words = told["rails"][0], told["rails"][-1]
    assert words["setting"] is None
    assert rude["objects"]["value"] == 0.2
    status, out, _ = run("rails", "calibrate", "traffic.txt", "--fpr", "0.01,0.2")
    lines = yaml.safe_load(out[out.index("rails:\n") :])
    rail, words = lines["rails"]["profiles"]["mine"]["rails"]
    assert words == {"kind": "blocklist", "words": ["zzz"]}
    assert (rail["kind"], rail["name"]) == ("toxicity", "rude")
    assert rail["threshold"] == rude["at"][0]["threshold"] > 0.4
    tree = json.loads(Path("tidegate.yaml").read_text())
    tree["rails"]["profiles"]["mine"]["rails"][0]["threshold"] = rail["threshold"]
    Path("tidegate.yaml").write_text(json.dumps(tree))
    assert run("rails", "check", "you are an idiot")[0] == 0


def test_mistakes_are_told(run: Run) -> None:
    assert "name at least one file" in run("rails", "calibrate")[2]
    Path("traffic.txt").write_text("hello\n")
    assert "--fpr: 1 has to be" in run("rails", "calibrate", "traffic.txt", "--fpr", "1")[2]
    out = run("rails", "calibrate", "traffic.txt", "--rail", "blocklist")[1]
    assert "No rail of the profile has a number as its threshold." in out
