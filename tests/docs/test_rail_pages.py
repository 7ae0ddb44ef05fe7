"""Every kind of rail has a page, and what the page shows is true.

A page is `docs/rails/KIND.md` with the sections of `SECTIONS`. In `Example` stand one block of YAML, a whole `rails`,
and as the last block of text the one that the rail objects to. A block of text before that is the system prompt. Any other
block is a file that the example needs, below a line that has its name.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tidegate import registry
from tidegate.cli.rails.choosing import scene
from tidegate.cli.rails.listing import kind_of
from tidegate.config import parse_text
from tidegate.rails.plan import Plan, compile_plans
from tidegate.rails.review import Review
from tidegate.rails.units import REQUEST
from tidegate.types import Action, Scene, Surface, Text, Where

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "rails"
KINDS = sorted(registry.built_in("tidegate.rails"))
RULES = [one for one in KINDS if registry.built_in("tidegate.rails")[one].startswith("tidegate.rails.rules.")]
"""The rails that can be tried without anything else."""
SECTIONS = ["Example", "Hold and cost", "What it cannot do"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^`([\w.-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HARMLESS = "The tide turns twice."


def parts(kind: str) -> dict[str, str]:
    """The text of each section of a page; that before the first one by the name of the kind."""
    path = FOLDER / f"{kind}.md"
    assert path.is_file(), f"write docs/rails/{kind}.md, with the sections {', '.join(SECTIONS)}"
    title, first, *rest = re.split(r"^##? (.+)$\n", path.read_text("utf-8"), flags=re.MULTILINE)
    assert not title.strip()
    return dict(zip([first, *rest[1::2]], rest[0::2], strict=True))


def texts(kind: str) -> list[str]:
    """The blocks of text: the system prompt, if there is one, and what the rail objects to."""
    return [
        code.rstrip("\n") for language, code in BLOCK.findall(parts(kind)["Example"]) if language == "text"
    ]


def plan(kind: str, folder: Path) -> Plan:
    example = parts(kind)["Example"]
    for name, code in FILE.findall(example):
        (folder / name).write_text(code, "utf-8")
    [source] = [code for language, code in BLOCK.findall(example) if language == "yaml"]
    assert list(yaml.safe_load(source)) == ["rails"]
    config = parse_text(source, source=f"docs/rails/{kind}.md").rails
    [found] = compile_plans(config, list(config.profiles)).values() if len(config.profiles) == 1 else [None]
    assert found is not None, "the example has one profile"
    return found


def actions(of: Plan, text: str, system: str) -> dict[str, Action]:
    """What the rails of a plan do about a text, wherever they check one: the most severe, by kind."""
    kinds = {one.name or one.kind: one.kind for one in of.profile.rails}
    done: dict[str, Action] = {}
    for surface in Surface:
        rules = of.output_rules if surface is Surface.OUTPUT else of.input_rules
        places = [Text(Where(0, "content"), surface, text), Text(REQUEST, Surface.INPUT, "")]

        def scene_of(one: Text) -> Scene:
            known: dict[str, Any] = {"system": system} if "system" in Scene.__struct_fields__ else {}
            return msgspec.structs.replace(scene(one, text), **known)

        review = Review(places, scene_of, lambda: 0.0, hashed=lambda _: "")
        for _ in review.rules([one for one in rules if surface in one.surfaces], until=1.0):
            pass
        for finding in review.findings:
            kind = kinds[finding.rail]
            done[kind] = max(done.get(kind, Action.PASS), finding.action)
    return done


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_has_its_sections(kind: str) -> None:
    found = parts(kind)
    assert list(found) == [kind, *SECTIONS]
    assert all(text.strip() for text in found.values()), "a section is empty"


@pytest.mark.parametrize("kind", sorted({*KINDS} - {*RULES}))
def test_the_example_of_a_rail_that_asks_others_can_be_read(kind: str, tmp_path: Path) -> None:
    [rail, *_] = plan(kind, tmp_path).profile.rails
    assert rail.kind == kind


@pytest.mark.parametrize("kind", RULES)
def test_the_example_objects_to_its_text_and_to_no_other(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    *system, text = texts(kind)
    made = plan(kind, tmp_path)
    assert actions(made, text, "".join(system))[kind] > Action.PASS
    assert actions(made, HARMLESS, "".join(system)).get(kind) == Action.PASS


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_says_the_hold_of_the_rail(kind: str) -> None:
    hold = kind_of(kind).hold
    assert hold is None or parts(kind)["Hold and cost"].strip().startswith(f"`{hold}`")


def test_there_is_no_page_of_a_kind_that_does_not_exist() -> None:
    assert {page.stem for page in FOLDER.glob("*.md")} <= set(KINDS)
