"""`tidegate eval rails` over texts whose figures are known beforehand, and `tidegate rails calibrate`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import run_command
from guarded.server import answers, chat, guard
from pages import HOSTILE, Page

from tidegate.ops.evals.checking import Checked, Said, check_all
from tidegate.ops.evals.rows import Row

Run = Callable[..., tuple[int, str, str]]
RAIL = """
from tidegate.types import PASSED, RailFacts, Surface, Verdict

class Rail:
    about = RailFacts(name="scored", version="1", surfaces=frozenset(Surface), tier=1)

    async def check(self, views, scene):
        words = views.original.split()
        if words[0] == "break":
            raise RuntimeError
        score = float(words[0])
        other = (("other", float(words[1])),) if len(words) > 1 else ()
        return Verdict(score < {threshold}, "mine", score, scores=(("mine", score), *other))
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(tmp_path)
    configured(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        return run_command(monkeypatch, capsys, *arguments)

    return run


def configured(path: Path) -> None:
    """Write a configuration with two profiles: texts are their own scores, and the second profile blocks from 0.3 on."""
    profiles: dict[str, Any] = {}
    for name, threshold in (("mine", 0.7), ("other", 0.3)):
        (path / f"{name}.py").write_text(RAIL.replace("{threshold}", str(threshold)))
        scored = {"kind": "python", "name": "scored", "file": str(path / f"{name}.py"), "surfaces": ["input"]}
        words = {"kind": "blocklist", "words": ["zzz"], "surfaces": ["input"], "on_fail": "log"}
        profiles[name] = {"rails": [words, scored]}
    tree = {
        "engines": {"e": {"kind": "vllm", "url": "http://127.0.0.1:9/v1"}},
        "models": {"m": {"deployments": [{"engine": "e"}]}},
        "policies": {"default": {"rails": "mine"}},
        "rails": {"profiles": profiles},
    }
    (path / "tidegate.yaml").write_text(json.dumps(tree))


def written(name: str, label: str, texts: Sequence[object], **more: Any) -> None:
    with Path(name).open("a") as file:
        file.writelines(json.dumps({"text": str(text), "label": label, **more}) + "\n" for text in texts)


def figures(run: Run, *arguments: str) -> dict[str, Any]:
    status, out, err = run("eval", "rails", *arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_figures_are_those_of_the_scores(run: Run) -> None:
    written("bad.jsonl", "attack", [0.9, 0.8, 0.6, 0.2])
    written("good.jsonl", "benign", [0.75, *[0.1] * 9])
    told = figures(run, "bad.jsonl", "good.jsonl", "--fpr", "0.05,0.1", "--threshold", "0.6")
    every = told["plans"][0]["all"]
    assert every["auc"]["value"] == pytest.approx((10 + 10 + 9 + 9) / 40)
    assert [(one["threshold"], one["recall"]["value"], one["flagged"]) for one in every["at_shares"]] == [
        (0.7501, 0.5, 0),
        (0.1001, 1, 0.1),
    ]
    (at,) = every["at_thresholds"]
    assert (at["threshold"], at["recall"]["value"], at["flagged"]["value"]) == (0.6, 0.75, 0.1)
    assert every["positives"]["blocked"] == 2
    assert (every["negatives"]["blocked"], every["negatives"]["passed"]) == (1, 9)
    assert every["negatives"]["blocked_share"]["value"] == 0.1
    sources = {one["name"]: one for one in told["plans"][0]["sources"]}
    assert sources["bad"]["auc"] == every["auc"], (
        "a part of one side is compared with the other side of all texts"
    )
    assert sum(told["plans"][0]["histogram"]["positives"]) == 4
    rails = {one["rail"]: one for one in told["plans"][0]["by_rail"]}
    assert rails["blocklist"]["auc"]["value"] == 0.5
    assert rails["scored"]["objects_positives"]["value"] == 0.5


def test_a_rail_that_passes_without_a_score_has_none(run: Run) -> None:
    written("some.jsonl", "attack", ["0.1 0 zzz"])
    written("some.jsonl", "benign", ["0.2"])
    told = figures(run, "some.jsonl", "--rail", "blocklist", "--rows", "rows.jsonl")
    assert told["plans"][0]["rails"] == ["blocklist"]
    assert told["plans"][0]["all"]["auc"]["value"] == 1
    assert told["plans"][0]["all"]["positives"]["logged"] == 1
    first, second = map(json.loads, Path("rows.jsonl").read_text().splitlines())
    assert (first["at"], first["score"], first["action"]) == ("some.jsonl:1", 1, "log")
    assert (second["at"], second["score"], second["action"]) == ("some.jsonl:2", 0, "pass")
    assert "zzz" not in Path("rows.jsonl").read_text()


def test_a_category_has_its_own_score(run: Run) -> None:
    written("some.jsonl", "attack", ["0.1 0.9"])
    written("some.jsonl", "benign", ["0.9 0.1"])
    assert figures(run, "some.jsonl")["plans"][0]["all"]["auc"]["value"] == 0
    assert figures(run, "some.jsonl", "--category", "other")["plans"][0]["all"]["auc"]["value"] == 1


def test_a_text_on_which_a_rail_failed_is_in_no_figure(run: Run) -> None:
    written("some.jsonl", "attack", ["break", "0.9"])
    written("some.jsonl", "benign", ["0.1"])
    status, out, _ = run("eval", "rails", "some.jsonl", "--json")
    plan = json.loads(out)["plans"][0]
    assert status == 1
    assert (plan["all"]["positives"]["texts"], plan["all"]["positives"]["failed"]) == (2, 1)
    assert plan["all"]["positives"]["blocked_share"]["value"] == 1
    assert {one["rail"]: one["errors"] for one in plan["by_rail"]}["scored"] == {"raised RuntimeError": 1}
    assert (
        "The rail 'scored' of 'mine' failed on 1 texts (raised RuntimeError)"
        in run("eval", "rails", "some.jsonl")[1]
    )


def test_two_profiles_side_by_side(run: Run) -> None:
    written("some.jsonl", "attack", [0.9, 0.5, 0.4, 0.1])
    written("some.jsonl", "benign", [0.2, 0.35])
    told = figures(run, "some.jsonl", "--against", "other")
    assert [plan["profile"] for plan in told["plans"]] == ["mine", "other"]
    assert told["comparison"]["blocked_positives"] == {
        "only_first": 0,
        "only_second": 2,
        "both": 1,
        "neither": 1,
        "p": 0.5,
    }
    assert told["comparison"]["blocked_negatives"]["only_second"] == 1
    assert told["comparison"]["auc"]["value"] == 0
    _, out, _ = run("eval", "rails", "some.jsonl", "--against", "other")
    assert (
        "Of the texts that should be flagged, 1 are blocked by both, 0 only by 'mine', 2 only by 'other'"
        in out
    )


def test_pairs_have_thresholds_of_other_sources(run: Run) -> None:
    written("a.jsonl", "attack", [0.9, 0.5])
    written("b.jsonl", "benign", [0.6, 0.1])
    written("c.jsonl", "benign", [0.3, 0.2])
    pairs = figures(run, "a.jsonl", "b.jsonl", "c.jsonl", "--pairs", "--fpr", "0")["plans"][0]["pairs"]
    cells = {one["negatives"]: one for one in pairs["cells"]}
    assert [cells[name]["at_shares"][0]["recall"]["value"] for name in "bc"] == [0.5, 1]
    assert [cells[name]["apart"][0]["threshold"] for name in "bc"] == [0.3001, 0.6001]
    assert [cells[name]["apart"][0]["recall"]["value"] for name in "bc"] == [1, 0.5]
    assert [cells[name]["apart"][0]["flagged"]["value"] for name in "bc"] == [0.5, 0]
    (macro,) = pairs["macro"]
    assert (macro["recall"], macro["recall_least"], macro["apart_recall"], macro["apart_flagged"]) == (
        0.75,
        0.5,
        0.75,
        0.25,
    )


def test_thresholds_may_come_from_other_texts(run: Run) -> None:
    written("some.jsonl", "attack", [0.9, 0.5])
    written("some.jsonl", "benign", [0.1])
    Path("traffic.txt").write_text("0.45\n0.2\n")
    told = figures(run, "some.jsonl", "--calibrate", "traffic.txt", "--fpr", "0.01,0.5")
    at = told["plans"][0]["all"]["at_thresholds"]
    assert [(one["target"], one["threshold"], one["recall"]["value"]) for one in at] == [
        (0.01, 0.4501, 1),
        (0.5, 0.2001, 1),
    ]


def test_the_page_says_where_thresholds_come_from_as_the_terminal_does(run: Run) -> None:
    written("some.jsonl", "attack", [0.9, 0.5])
    written("some.jsonl", "benign", [0.1])
    Path("traffic.txt").write_text("0.45\n0.2\n")
    known = ("--calibrate", "traffic.txt", "--fpr", "0,0.5", "--threshold", "0.6", "--html", "page.html")
    _, out, _ = run("eval", "rails", "some.jsonl", *known)
    page = Page(Path("page.html").read_text())
    for at, origin in (
        ("0.1001", "at most 0 % of these texts"),
        ("0.4501", "at most 0 % of traffic.txt"),
        ("0.2001", "at most 50 % of traffic.txt"),
        ("0.6", "--threshold"),
    ):
        assert page.row(at)[:2] == [at, origin]
        assert re.search(rf"{re.escape(at)} +│ {re.escape(origin)} ", out)


def test_figures_are_split_by_fields(run: Run) -> None:
    written("some.jsonl", "attack", [0.9], lang="de")
    written("some.jsonl", "attack", [0.1], lang="fr")
    written("some.jsonl", "benign", [0.2], lang="fr")
    groups = figures(run, "some.jsonl", "--by", "lang")["plans"][0]["groups"]["lang"]
    assert [(one["name"], one["positives"]["blocked"], one["auc"]["value"]) for one in groups] == [
        ("de", 1, 1),
        ("fr", 0, 0),
    ]


def test_the_page_has_every_figure_and_only_text_of_files(run: Run) -> None:
    written("a.jsonl", "attack", [0.9, 0.8, "break"], type=HOSTILE)
    written("b.jsonl", "attack", [0.4], type="x")
    written("c.jsonl", "benign", [0.3, 0.2], type="x")
    arguments = ("--against", "other", "--pairs", "--by", "type", "--html", "page.html", "--threshold", "0.5")
    status, out, _ = run("eval", "rails", "a.jsonl", "b.jsonl", "c.jsonl", *arguments)
    page = Page(Path("page.html").read_text())
    assert status == 1
    assert "Page: page.html" in out
    assert page.row("Blocked by")[1:3] == ["both", "only mine"]
    assert "failed on 1 texts" in page.text
    assert len(page.all("svg")) > 4
    assert not page.all("img")
    assert page.row("mean")


READS = """
from tidegate.types import PASSED, RailFacts, Surface, Verdict

class Rail:
    about = RailFacts(name="reads", version="1", surfaces=frozenset(Surface), tier=1, reads_context=True)

    async def check(self, views, scene):
        known = " ".join((scene.question, *scene.context, scene.system))
        return PASSED if views.original in known else Verdict(False, "unknown")
"""


def test_rails_read_what_stands_around_a_text(run: Run) -> None:
    Path("mine.py").write_text(READS)
    written("some.jsonl", "grounded", ["tide"], context="the tide turns")
    written("some.jsonl", "grounded", ["moon"], context=["the sun", "the moon"])
    written("some.jsonl", "grounded", ["sea"], question="what is the sea?")
    written("some.jsonl", "grounded", ["ship"], system="you are a ship")
    written("some.jsonl", "wrong", ["fish"], context=["the sun"])
    every = figures(run, "some.jsonl", "--negative", "grounded", "--rail", "scored")["plans"][0]["all"]
    assert (every["positives"]["blocked"], every["negatives"]["passed"]) == (1, 4)


def test_rails_that_ask_models_are_asked_side_by_side(run: Run) -> None:
    def says(heard: Any) -> Sequence[Any]:
        return answers(chat("unsafe\nS10" if b"attack" in heard.body else "safe"))(heard)

    with guard(says) as server:
        tree = {
            "engines": {"guards": {"kind": "vllm", "url": server.base_url}},
            "models": {"guard": {"deployments": [{"engine": "guards"}]}},
            "rails": {"profiles": {"asks": {"rails": [{"kind": "llama_guard", "model": "guard"}]}}},
        }
        Path("tidegate.yaml").write_text(json.dumps(tree))
        written("some.jsonl", "attack", [f"attack {at}" for at in range(6)])
        written("some.jsonl", "benign", [f"hello {at}" for at in range(6)])
        told = figures(run, "some.jsonl", "--profile", "asks", "--jobs", "4")
    assert told["plans"][0]["all"]["auc"]["value"] == 1
    assert (told["jobs"], len(server.bodies)) == (4, 12)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name at least one file"),
        (("empty.jsonl",), "no text is left to check: it is empty"),
        (("some.jsonl", "--positive", "x", "--negative", "y"), "have another label than those that count"),
        (("bad.jsonl",), "bad.jsonl:1: is not JSON"),
        (
            ("some.jsonl", "--rail", "nosuch"),
            "has no rail 'nosuch' for the surface 'input'; it has: blocklist, scored",
        ),
        (("some.jsonl", "--fpr", "5"), "--fpr: 5 has to be shares from 0 to 1"),
        (("some.jsonl", "--fpr", "few"), "--fpr: few has to be shares divided by commas"),
        (("some.jsonl", "--against-config", "other.yaml"), "--against-config needs --against"),
        (("some.jsonl", "--html", "."), "--html: . is a folder"),
        (("some.jsonl", "--against", "nosuch"), "has no profile 'nosuch'"),
    ],
)
def test_mistakes_are_told_before_anything_runs(run: Run, arguments: Sequence[str], told: str) -> None:
    written("some.jsonl", "benign", [0.1])
    Path("empty.jsonl").touch()
    Path("bad.jsonl").write_text("no\n")
    status, out, err = run("eval", "rails", *arguments)
    assert (status, out) == (2, "")
    assert told in err


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_interrupted_run_has_what_was_checked(jobs: int) -> None:
    rows = [Row(f"f:{at}", "f", "", "", True, {}) for at in range(9)]

    async def check(row: Row) -> Checked:
        if row.at == "f:5":
            task.cancel()
            await asyncio.Event().wait()
        return Checked(row, {"r": Said()}, 0.0)

    async def main() -> tuple[list[Checked], bool]:
        nonlocal task
        task = asyncio.current_task()
        return await check_all(rows, check, jobs=jobs, progress=lambda _: None)

    task: Any = None
    done, complete = asyncio.run(main())
    assert not complete
    assert {one.row.at for one in done} >= {f"f:{at}" for at in range(5)}
    assert "f:5" not in {one.row.at for one in done}
