"""The rail `python`: a class from a file of the operator's, and the tutorial that shows how to write one."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from rails.found import SCENE

from tidegate.config import parse_text
from tidegate.errors import ConfigError
from tidegate.kernel.text import Views
from tidegate.rails.plan import compile_plans
from tidegate.rails.rules.python import PythonFile, PythonFileConfig

TUTORIAL = (Path(__file__).parents[3] / "docs" / "writing-a-rail.md").read_text("utf-8")
RULE = """
from tidegate.types import PASSED, RailFacts, Surface
class Mine:
    about = RailFacts(name="mine", version="1", surfaces=frozenset(Surface))
    def check(self, views, scene):
        return PASSED
"""
CONFIG = """
from pydantic import BaseModel
class Settings(BaseModel, extra="forbid"):
    most: int
"""


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def made(folder: Path, text: str, **settings: Any) -> Any:
    path = folder / "rail.py"
    path.write_text(text, "utf-8")
    return PythonFile(PythonFileConfig(file=path, settings=settings))


def test_the_tutorial_works_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "shouting.py").write_text(block("python"), "utf-8")
    monkeypatch.chdir(tmp_path)
    plans = compile_plans(parse_text(block("yaml"), source="tutorial").rails, ["polite"])
    (step,) = plans["polite"].input_rules
    rail: Any = step.rail
    assert len(block("python").splitlines()) <= 24
    assert rail.check(Views("Hello there"), SCENE).passed
    verdict = rail.check(Views("HELLO there"), SCENE)
    assert (verdict.passed, verdict.category) == (False, "shouting")
    assert [one.name for one in plans["polite"].output_rules] == ["python"]


def test_settings_that_do_not_fit_are_named(tmp_path: Path):
    text = RULE.replace(
        "class Mine:", "class Mine:\n    Config = Settings\n    def __init__(self, config): pass"
    )
    assert made(tmp_path, CONFIG + text, most=3)
    with pytest.raises(ValueError, match=r"rail\.py: class Mine: settings\.most: Field required"):
        made(tmp_path, CONFIG + text)
    with pytest.raises(ValueError, match=r"settings\.more: Extra inputs"):
        made(tmp_path, CONFIG + text, most=3, more=4)
    with pytest.raises(ValueError, match=r"class Mine has no `Config`: give it one, or leave out `settings`"):
        made(tmp_path, RULE, most=3)
    with pytest.raises(ValueError, match=r"derive it from pydantic\.BaseModel"):
        made(tmp_path, RULE + "    Config = 3\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (", r"rail\.py, line 1 raised SyntaxError"),
        ("import nothing_of_this_name", r"rail\.py, line 1 raised ModuleNotFoundError"),
        ("\n1 / 0", r"rail\.py, line 2 raised ZeroDivisionError"),
        ("x = 1", "has no class with a method `check`: write one"),
        (
            RULE + RULE.replace("Mine", "Other"),
            "several classes with a method `check`, Mine, Other: keep one",
        ),
        (RULE.replace("about =", "facts ="), "class Mine has no `about`: set it to RailFacts"),
        (RULE.replace("frozenset(Surface)", "frozenset()"), "names no surfaces"),
        (RULE.replace("def check", "async def check"), "write `def check`, or set `tier=1`"),
        (RULE.replace('version="1"', 'version="1", tier=1'), "has tier 1 and a plain `def check`"),
        (RULE + "    def __init__(self): raise KeyError('x')\n", "class Mine, line 7 raised KeyError"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_fix(tmp_path: Path, text: str, message: str):
    with pytest.raises(ValueError, match=message):
        made(tmp_path, text)


def test_what_is_imported_is_no_rail_of_the_file(tmp_path: Path):
    text = "from tidegate.rails.rules.regex import Regex\n" + RULE
    assert type(made(tmp_path, text)).__name__ == "Mine"


def test_a_check_waits(tmp_path: Path):
    text = RULE.replace("def check", "async def check").replace('version="1"', 'version="1", tier=2')
    assert asyncio.run(made(tmp_path, text).check(Views("x"), SCENE)).passed


def test_mistakes_are_those_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "shouting.py").write_text("x = 1", "utf-8")
    monkeypatch.chdir(tmp_path)
    config = parse_text(block("yaml"), source="tutorial")
    with pytest.raises(
        ConfigError, match=r"rails\.profiles\.polite\.rails\[0\].*has no class with a method `check`"
    ):
        compile_plans(config.rails, ["polite"])


def test_there_has_to_be_a_file(tmp_path: Path):
    with pytest.raises(ValidationError, match="there is no file"):
        PythonFileConfig(file=tmp_path / "none.py")
    (tmp_path / "rail.txt").write_text("")
    with pytest.raises(ValueError, match=r"rail\.txt is not a Python file"):
        PythonFile(PythonFileConfig(file=tmp_path / "rail.txt"))


def test_a_file_may_have_annotations_as_texts(tmp_path: Path):
    text = "from __future__ import annotations\nfrom typing import Literal\n" + CONFIG + RULE
    text = text.replace("most: int", "most: Literal[3]").replace(
        "class Mine:",
        "class Mine:\n    Config = Settings\n    def __init__(self, config): self.most = config.most",
    )
    assert made(tmp_path, text, most=3).most == 3
