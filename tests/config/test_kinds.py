"""Kinds: a group's sections are read by the models of its parts, built in or from outside, whichever group it is."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import ValidationError

from tidegate import config, registry
from tidegate.config import EngineConfig, Kinded, ScriptedConfig, Settings
from tidegate.errors import ConfigError, Problem

RAILS = "tidegate.rails"
MODULE = f"""
import sys

RailConfig = sys.modules["{__name__}"].RailConfig

class HushConfig(RailConfig):
    loudness_db: int = 60

class Hush:
    Config = HushConfig

class Old:
    pass

class Stray:
    Config = dict
"""


class RailConfig(Settings):
    kind: str
    hold_ms: int = 0


class Rails(Settings):
    rails: Mapping[str, Annotated[RailConfig, Kinded(RAILS)]] = {}
    first: Annotated[RailConfig, Kinded(RAILS)] | None = None


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with rails and engines, as pip would install it."""
    info = tmp_path / "hush-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hush\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{RAILS}]\nhush = hush:Hush\nold = hush:Old\ngone = hush_gone:Gone\nstray = hush:Stray\n"
        "[tidegate.engines]\nold = hush:Old\ngone = hush_gone:Gone\nhush = hush:Hush\n"
    )
    (tmp_path / "hush.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "hush", raising=False)


def mistakes(tree: object) -> dict[tuple[int | str, ...], str]:
    with pytest.raises(ValidationError) as raised:
        Rails.model_validate(tree)
    return {mistake["loc"]: mistake["msg"] for mistake in raised.value.errors()}


def test_a_section_is_read_and_written_by_the_model_of_its_kind() -> None:
    quiet = {"kind": "hush", "hold_ms": 5, "loudness_db": 10}
    found = Rails.model_validate({"rails": {"quiet": quiet}, "first": {"kind": "hush"}})
    assert type(found.rails["quiet"]).__name__ == "HushConfig"
    assert found.model_dump(mode="json") == {
        "rails": {"quiet": quiet},
        "first": {"kind": "hush", "hold_ms": 0, "loudness_db": 60},
    }


def test_every_mistake_is_told_at_its_place() -> None:
    found = mistakes(
        {
            "rails": {
                "a": {"kind": "hush", "loudness_db": "x", "hold_ms": "y"},
                "b": {"kind": "hash"},
                "c": 3,
                "d": {"kind": "old"},
                "e": {"kind": "gone"},
                "f": {"kind": "stray"},
            },
            "first": {"kind": "hush", "loud": 1},
        }
    )
    assert set(found) == {
        ("rails", "a", "loudness_db"),
        ("rails", "a", "hold_ms"),
        *(("rails", name, "kind") for name in "bcdef"),
        ("first", "loud"),
    }
    known = ", ".join(sorted({"gone", "hush", "old", "stray", *registry.built_in("tidegate.rails")}))
    assert found["rails", "b", "kind"] == f"there is no kind 'hash'; there are: {known}"
    assert found["rails", "c", "kind"] == f"is missing; one of: {known}"
    assert "cannot be loaded" in found["rails", "d", "kind"]
    assert found["rails", "e", "kind"] == "cannot be loaded: No module named 'hush_gone'"
    assert found["rails", "f", "kind"] == "cannot be loaded: its Config is not a subclass of RailConfig"


def test_engines_are_read_so() -> None:
    def engine(name: str, kind: str) -> str:
        return f"  {name}: {{kind: {kind}}}\n"

    text = (
        "engines:\n"
        + engine("1", "scripted")
        + engine("a", "old")
        + engine("b", "gone")
        + engine("c", "hush")
    )
    with pytest.raises(ConfigError) as raised:
        config.parse_text(text + "models: {m: {deployments: [{engine: a}]}}", source="x")
    told = dict(raised.value.problems)
    assert told["engines.1"] == "a name must be text: write '1' in quotes"
    assert "cannot be loaded" in told["engines.a.kind"]
    assert told["engines.b.kind"] == "cannot be loaded: No module named 'hush_gone'"
    assert told["engines.c.kind"] == "cannot be loaded: its Config is not a subclass of EngineConfig"
    assert len(told) == len(raised.value.problems) == 4


def test_a_misspelt_setting_is_mended_at_any_depth() -> None:
    text = """
engines:
  kind: {kind: openai, url: "http://x/v1", timeouts: {idle: 3}}
  local: {kind: embedded, lora: [{path: x, scael: 1}]}
models: {deployments: {deployments: [{engine: kind}], deploiments: 3}}
"""
    with pytest.raises(ConfigError) as raised:
        config.parse_text(text, source="x")
    assert set(raised.value.problems) == {
        Problem("engines.kind.timeouts.idle", "is not a setting; did you mean 'idle_ms'?"),
        Problem("engines.local.lora[0].scael", "is not a setting; did you mean 'scale'?"),
        Problem("models.deployments.deploiments", "is not a setting; did you mean 'deployments'?"),
    }


def test_settings_that_are_read_already_are_taken_as_they_are() -> None:
    engine = ScriptedConfig(kind="scripted", ttft_ms=3)
    engines: dict[str, EngineConfig] = {"a": engine}
    assert config.Config(engines=engines).engines["a"] is engine


def test_the_groups_are_known_and_no_others() -> None:
    assert registry.kinds("tidegate.caches") == []
    assert registry.kinds("tidegate.stores") == ["local"]
    with pytest.raises(registry.UnknownKind, match="there is no kind 'x'; there are: none"):
        registry.find("tidegate.caches", "x")
    for ask in (registry.kinds, Kinded):
        with pytest.raises(registry.UnknownGroup, match=r"'tidegate\.rials'; there are: tidegate\.engines, "):
            ask("tidegate.rials")
