"""`tidegate rails`: the list, one text, the times and the audit; and what `tidegate check` says of rails."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from command_line import run_command
from hypothesis import given
from hypothesis import strategies as st

from tidegate import registry
from tidegate.cli.rails.listing import list_
from tidegate.cli.rails.times import of_samples
from tidegate.config import parse_text
from tidegate.rails.budgets import critical_path
from tidegate.rails.plan import Plan, compile_plans
from tidegate.telemetry.audit import DecisionLine, Line

RAIL = """
from tidegate.types import RailFacts, Surface, Verdict

class Rail:
    about = RailFacts(name="slow", version="1", surfaces=frozenset(Surface), tier={tier}, usual_ms={usual_ms})

    async def check(self, views, scene):
        if "break" in views.original:
            raise RuntimeError(views.original)
        return Verdict(passed="forbidden" not in views.original, category="words", score=0.7)
"""
MASKS = {"kind": "regex", "patterns": {"ORDER": "order [0-9]{4}"}, "on_fail": "redact", "surfaces": ["input"]}
BLOCKS = {"kind": "blocklist", "words": ["forbidden"], "surfaces": ["input", "tool"]}
LOGS = {"kind": "blocklist", "name": "odd", "words": ["odd"], "on_fail": "log", "surfaces": ["input"]}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    configured(tmp_path, [BLOCKS, MASKS, LOGS])

    def run(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        return run_command(monkeypatch, capsys, *arguments)

    return run


def configured(path: Path, rails: Sequence[dict[str, Any]], **more: Any) -> None:
    """Write a configuration whose policy `default` has these rails."""
    tree: dict[str, Any] = {
        "engines": {"e": {"kind": "vllm", "url": "http://127.0.0.1:9/v1"}},
        "models": {"m": {"deployments": [{"engine": "e"}]}},
        "policies": {"default": {"rails": "mine", "stricter_rails": []}},
        "rails": {"profiles": {"mine": {"rails": list(rails)}}, **more},
    }
    (path / "tidegate.yaml").write_text(json.dumps(tree))


def a_rail(path: Path, *, tier: int = 1, usual_ms: float = 1.0, **settings: Any) -> dict[str, Any]:
    """Write a rail that takes longer than a rule, and return its section."""
    (path / "slow.py").write_text(RAIL.format(tier=tier, usual_ms=usual_ms))
    return {
        "kind": "python",
        "name": "slow",
        "file": str(path / "slow.py"),
        "surfaces": ["input"],
        **settings,
    }


# --------------------------------------------------------------------------------------------------------------- the list


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The list as JSON, printed once for all tests: it makes every built-in rail."""
    path = tmp_path_factory.mktemp("listed")
    configured(path, [BLOCKS, MASKS, LOGS])
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        list_(config=path / "tidegate.yaml", as_json=True)
    return json.loads(out.getvalue())


def test_every_kind_says_what_it_checks(listed: dict[str, Any]) -> None:
    kinds = {one["kind"]: one for one in listed["kinds"]}
    assert sorted(kinds) == registry.kinds("tidegate.rails")
    assert [name for name, one in kinds.items() if len(one["checks"]) < len("Finds it")] == []
    assert [name for name, one in kinds.items() if one["surfaces"] is None] == ["copied", "python"]
    assert kinds["token_limit"]["redacts"] is False
    assert kinds["regex"]["redacts"] is True


def test_profiles_are_listed_with_their_rails_in_the_order_in_which_they_run(listed: dict[str, Any]) -> None:
    assert [one["rail"] for one in listed["profiles"]["mine"]] == ["regex", "blocklist", "odd"]
    assert [one["on_fail"] for one in listed["profiles"]["mine"]] == ["redact", "block", "log"]
    assert {"rules", "strict"} <= set(listed["profiles"])
    assert listed["policies"] == {"default": "mine"}


def test_the_list_for_people(run: Run) -> None:
    status, out, _ = run("rails", "list")
    assert status == 0
    assert "Profile 'mine', of the policies default:" in out


def test_one_kind_is_listed_with_its_settings(run: Run) -> None:
    status, out, _ = run("rails", "list", "regex")
    assert status == 0
    assert "patterns (to be given)" in out
    assert "max_match_chars (default: 256)" in out
    _, out, _ = run("rails", "list", "pii", "--json")
    settings = {one["name"]: one for one in json.loads(out)["settings"]}
    assert "EMAIL_ADDRESS" in settings["entities"]["description"]


def test_an_unknown_kind_is_answered_with_the_known_ones(run: Run) -> None:
    status, _, error = run("rails", "list", "piii")
    assert status == 2
    assert f"there is no kind 'piii'; there are: {', '.join(registry.kinds('tidegate.rails'))}" in error


# --------------------------------------------------------------------------------------------------------------- one text


def test_a_text_that_passes(run: Run) -> None:
    status, out, _ = run("rails", "check", "a harmless text")
    assert status == 0
    assert "Profile 'mine', surface 'input': goes on as it is." in out


def test_a_text_that_is_changed_goes_on_changed(run: Run) -> None:
    text = "where is order 1234 and order 5678"
    status, out, _ = run("rails", "check", text, "--json")
    told = json.loads(out)
    assert (status, told["action"], told["text"]) == (0, "redact", "where is <ORDER> and <ORDER>")
    spans = told["rails"][0]["spans"]
    assert [text[one["start"] : one["end"]] for one in spans] == ["order 1234", "order 5678"]
    assert "goes on changed:\nwhere is <ORDER> and <ORDER>" in run("rails", "check", text)[1]


def test_after_a_block_the_other_rails_are_asked_for_information(run: Run) -> None:
    status, out, _ = run("rails", "check", "an odd and forbidden order 1234", "--json")
    told = json.loads(out)
    assert (status, told["action"], told["text"]) == (1, "block", None)
    assert [(one["rail"], one["action"], one["reached"]) for one in told["rails"]] == [
        ("regex", "redact", True),
        ("blocklist", "block", True),
        ("odd", "log", False),
    ]
    _, out, _ = run("rails", "check", "an odd and forbidden order 1234")
    assert "(odd)" in out
    assert "surface 'input': blocked." in out


def test_the_place_of_a_match_in_a_long_text(run: Run, tmp_path: Path) -> None:
    text = "word " * 3000 + "order 1234" + " word" * 3000
    (tmp_path / "text").write_text(text)
    _, out, _ = run("rails", "check", "--file", "text", "--json")
    (span,) = json.loads(out)["rails"][0]["spans"]
    assert text[span["start"] : span["end"]] == "order 1234"


@pytest.mark.parametrize("arguments", [(), ("--file", "-")])
def test_a_text_from_standard_input(run: Run, arguments: tuple[str, ...]) -> None:
    status, out, _ = run("rails", "check", *arguments, "--json", stdin="forbidden")
    assert (status, json.loads(out)["action"]) == (1, "block")


def test_the_surface_decides_which_rails_check(run: Run) -> None:
    _, out, _ = run("rails", "check", "forbidden order 1234", "--surface", "tool", "--json")
    assert [one["rail"] for one in json.loads(out)["rails"]] == ["blocklist"]
    status, _, error = run("rails", "check", "x", "--surface", "output")
    assert status == 2
    assert (
        "no rail of the profile 'mine' checks the surface 'output': give --surface one of input, tool"
        in error
    )


@pytest.mark.parametrize(
    ("on_error", "status", "action"), [("closed", 1, "block"), ("open", 0, "log"), ("blocklist", 0, "pass")]
)
def test_a_rail_that_fails_is_decided_by_its_on_error(
    run: Run, tmp_path: Path, on_error: str, status: int, action: str
) -> None:
    configured(tmp_path, [BLOCKS, a_rail(tmp_path, on_error=on_error)])
    got, out, _ = run("rails", "check", "break", "--json")
    told = json.loads(out)["rails"][-1]
    assert (got, told["action"], told["tier"]) == (status, action, 1)
    assert told["error"] == ("" if on_error == "blocklist" else "raised RuntimeError")


def test_the_profile_is_that_of_the_policy_default_or_else_rules(run: Run, tmp_path: Path) -> None:
    assert json.loads(run("rails", "check", "x", "--json")[1])["profile"] == "mine"
    assert json.loads(run("rails", "check", "x", "--profile", "strict", "--json")[1])["profile"] == "strict"
    (tmp_path / "tidegate.yaml").unlink()
    assert json.loads(run("rails", "check", "x", "--json")[1])["profile"] == "rules"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("x", "--file", "text"), "the text and --file exclude each other"),
        (
            ("x", "--profile", "mime"),
            "has no profile 'mime' with rails; there are: mine, moderation, rules, standard, strict",
        ),
        (("--file", "missing"), "missing: cannot be read: No such file or directory"),
        (("--file", "latin"), "latin: byte 1 is not UTF-8: convert the text first"),
    ],
)
def test_what_cannot_be_checked(run: Run, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    (tmp_path / "latin").write_bytes("caf\xe9"[2:].encode("latin-1"))
    status, _, error = run("rails", "check", *arguments)
    assert status == 2
    assert words in error


# -------------------------------------------------------------------------------------------------------------- the times


def test_the_times_of_each_rail_and_of_all(run: Run, tmp_path: Path) -> None:
    configured(tmp_path, [BLOCKS, MASKS, a_rail(tmp_path)])
    (tmp_path / "texts").write_text('plain\n\n{"text": "order 1234"}\n{"other": 1}\nforbidden\n')
    status, out, _ = run("rails", "profile", "texts", "--rounds", "2", "--html", "page.html", "--json")
    told = json.loads(out)
    assert (status, told["texts"], told["stopped"]) == (0, 4, 2)
    assert {one["name"]: one["checks"] for one in told["rails"]} == {"regex": 8, "blocklist": 8, "slow": 6}
    assert told["whole"]["checks"] == 8
    assert told["whole"]["p50_ms"] <= told["whole"]["p95_ms"] <= told["whole"]["p99_ms"]
    assert [one["setting"] for one in told["budgets"]] == ["rails.budget_ms"]
    page = (tmp_path / "page.html").read_text()
    assert all(f">{name}<" in page for name in ("regex", "blocklist", "slow", "whole plan"))
    assert page.count("<rect") == 4 * 3


def test_a_plan_over_its_budget_is_said_with_the_status(run: Run, tmp_path: Path) -> None:
    configured(tmp_path, [MASKS], budget_ms=1e-5)
    status, out, _ = run("rails", "profile", stdin="a text\n")
    assert status == 1
    assert "raise rails.budget_ms, or take out a rail" in out
    assert "Too slow." in page_of(run, tmp_path)


def page_of(run: Run, tmp_path: Path) -> str:
    run("rails", "profile", "--html", "page.html", stdin="a text\n")
    return (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((), "has no text: write one a line"), (("--html", "."), "--html: . is a folder: name a file in it")],
)
def test_what_cannot_be_measured(run: Run, arguments: tuple[str, ...], words: str) -> None:
    status, _, error = run("rails", "profile", *arguments, stdin="text" if arguments else "\n")
    assert status == 2
    assert words in error


@given(st.lists(st.floats(0, 10), min_size=1, max_size=300))
def test_quantiles_are_samples_that_enough_others_do_not_exceed(samples: list[float]) -> None:
    found = of_samples("a", 0, samples)
    for value, share in ((found.p50_ms, 0.5), (found.p95_ms, 0.95), (found.p99_ms, 0.99)):
        assert sum(round(one * 1000, 4) <= value for one in samples) >= share * len(samples)
        assert any(round(one * 1000, 4) == value for one in samples)


def plan_of(path: Path, rails: Sequence[dict[str, Any]], **more: Any) -> Plan:
    configured(path, rails, **more)
    config = parse_text((path / "tidegate.yaml").read_text(), source="tidegate.yaml")
    return compile_plans(config.rails, ["mine"])["mine"]


def test_the_critical_path_adds_rules_and_takes_the_longest_of_those_side_by_side(tmp_path: Path) -> None:
    checks = [
        {**a_rail(tmp_path), "name": "first"},
        {**a_rail(tmp_path), "name": "second"},
        {**a_rail(tmp_path, usual_ms=9), "name": "third"},
    ]
    plan = plan_of(tmp_path, [MASKS, LOGS, *checks])
    took = {"regex": 1.0, "odd": 2.0, "first": 10.0, "second": 30.0, "third": 20.0}
    needed = critical_path(plan.input_rules + plan.input_checks, lambda step: took[step.name])
    assert needed == (1.0 + 2.0 + 30.0, 0.0)


@pytest.mark.parametrize(("tier", "setting"), [(1, "budget_ms"), (2, "judge_budget_ms")])
def test_check_warns_of_rails_that_declare_more_time_than_the_budget_has(
    run: Run, tmp_path: Path, tier: int, setting: str
) -> None:
    configured(tmp_path, [a_rail(tmp_path, tier=tier, usual_ms=70)], **{setting: 50})
    status, _, error = run("check")
    assert (status, f"usually take 70 ms for requests, and rails.{setting} is 50 ms" in error) == (0, True)


# -------------------------------------------------------------------------------------------------------------- the audit


def a_line(at: float, rail: str = "pii", action: str = "log", **more: Any) -> Line:
    return Line(at, "c1", "r1", "k1", "default", more.pop("model", "m"), rail, "1", "input", action, **more)


LINES = [
    a_line(1_700_000_000.5, hash="00ff"),
    a_line(1_700_000_060.0, "injection", "block", category="ignore", score=0.9, count=2),
    a_line(1_800_000_000.0, "injection", "log", error="raised KeyError"),
]


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(msgspec.json.Encoder().encode_lines(LINES))
    return path


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ((), [0, 1, 2]),
        (("--rail", "injection"), [1, 2]),
        (("--action", "log"), [0, 2]),
        (("--rail", "injection", "--action", "block"), [1]),
        (("--since", "2023-11-14T22:14:20"), [1, 2]),
        (("--since", "2023-11-14T23:14:21+01:00"), [2]),
        (("--since", "2024-01-01"), [2]),
        (("--since", "0s"), []),
    ],
)
def test_a_part_of_the_audit(
    run: Run, audit: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], kept: list[int]
) -> None:
    monkeypatch.setattr("tidegate.cli.store.now", lambda: 1_900_000_000.0)
    status, out, _ = run("rails", "audit", str(audit), *arguments, "--json")
    assert status == 0
    assert [msgspec.json.decode(line, type=Line) for line in out.splitlines()] == [LINES[at] for at in kept]


def test_the_audit_as_csv_has_a_column_for_each_field(run: Run, audit: Path, tmp_path: Path) -> None:
    configured(tmp_path, [BLOCKS], audit_path=str(audit))
    status, out, _ = run("rails", "audit")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (status, len(rows)) == (0, 3)
    assert tuple(rows[0]) == (*Line.__struct_fields__, "case", "by", "reason")
    assert rows[0]["at"] == "2023-11-14T22:13:20.500+00:00"
    assert (rows[1]["rail"], rows[1]["score"], rows[1]["count"]) == ("injection", "0.9", "2")


def test_no_cell_is_a_formula_or_moves_the_cursor(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(msgspec.json.encode(a_line(1.0, model='=HYPERLINK("x")\x1b[2J')))
    _, out, _ = run("rails", "audit", str(path))
    assert next(csv.DictReader(io.StringIO(out)))["model"] == '\'=HYPERLINK("x")[2J'


def test_decisions_about_cases_are_lines_of_the_audit(run: Run, audit: Path) -> None:
    made = DecisionLine(
        1.8e9, "req_9", "case_1", "promises", "default", "m", "reject", "key:ann", "=A promise."
    )
    by_deadline = DecisionLine(1.8e9, "req_9", "case_2", "promises", "default", "m", "release", "deadline")
    with audit.open("ab") as file:
        file.writelines(msgspec.json.encode(one) + b"\n" for one in (made, by_deadline))
    status, out, error = run("rails", "audit", str(audit))
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (status, error, len(rows)) == (0, "", 5)
    assert {name: rows[3][name] for name in ("case", "by", "reason", "action", "request")} == {
        "case": "case_1",
        "by": "key:ann",
        "reason": "'=A promise.",
        "action": "reject",
        "request": "",
    }
    assert (rows[0]["case"], rows[0]["by"]) == ("", "")
    for action, kept in (("approve", []), ("edit", []), ("reject", [made]), ("release", [by_deadline])):
        status, out, _ = run("rails", "audit", str(audit), "--action", action, "--json")
        assert status == 0
        assert [msgspec.json.decode(line, type=DecisionLine) for line in out.splitlines()] == kept


def test_a_broken_line_is_told_and_the_others_are_there(run: Run, audit: Path) -> None:
    audit.write_bytes(audit.read_bytes() + b'{"at": 1.0, "ca')
    status, out, error = run("rails", "audit", str(audit), "--json")
    assert (status, len(out.splitlines())) == (1, 3)
    assert f"{audit}:4: not a line of an audit, left out" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "tidegate.yaml has no audit: set rails.audit_path, or name a file"),
        (("nowhere",), "nowhere: cannot be read: No such file or directory"),
        (("--action", "shout"), "there is no action 'shout'; there are: pass, log, redact"),
        (("nowhere", "--since", "soon"), "--since: 'soon' is no time: write a time ago such as 24h"),
    ],
)
def test_an_audit_that_cannot_be_read(run: Run, arguments: tuple[str, ...], words: str) -> None:
    status, _, error = run("rails", "audit", *arguments)
    assert status == 2
    assert words in error


# ---------------------------------------------------------------------------------------------------- `tidegate check`


def explained(run: Run, text: str, *, endpoint: str = "chat.completions") -> tuple[int, dict[str, Any]]:
    bodies = {
        "chat.completions": {"messages": [{"role": "user", "content": text}]},
        "embeddings": {"input": text},
    }
    body = json.dumps({"model": "m", **bodies[endpoint]})
    status, out, _ = run("check", "--explain", "-", "--json", stdin=body)
    told = json.loads(out)
    return status, {**told, "screen": next(one for one in told["stages"] if one["name"] == "screen")}


@pytest.mark.parametrize("endpoint", ["chat.completions", "embeddings"])
def test_explain_runs_the_rules_and_shows_the_changed_request(run: Run, endpoint: str) -> None:
    text = "an odd order 1234"
    status, told = explained(run, text, endpoint=endpoint)
    assert (status, told["screen"]["state"]) == (0, "passed")
    assert (
        told["screen"]["note"] == "profile 'mine': regex redact (ORDER, input), odd log (blocked_word, input)"
    )
    changed = json.loads(run("rails", "check", text, "--json")[1])["text"]
    body = told["places"][0]["request"]["body"]
    assert changed in (body["messages"][0]["content"] if "messages" in body else body["input"])
    assert explained(run, "nothing", endpoint=endpoint)[1]["screen"]["note"].endswith(
        "every rail lets it pass"
    )


@pytest.mark.parametrize(
    ("refuse_as", "endpoint", "http"),
    [
        ("message", "chat.completions", 200),
        ("error", "chat.completions", 400),
        ("message", "embeddings", 400),
    ],
)
def test_explain_says_that_a_rule_blocks_and_how(
    run: Run, tmp_path: Path, refuse_as: str, endpoint: str, http: int
) -> None:
    tree = json.loads((tmp_path / "tidegate.yaml").read_text())
    tree["rails"]["profiles"]["mine"]["refuse_as"] = refuse_as
    (tmp_path / "tidegate.yaml").write_text(json.dumps(tree))
    status, told = explained(run, "forbidden", endpoint=endpoint)
    assert (status, told["screen"]["state"], told["refused"]["status"]) == (1, "refused", http)
    assert told["refused"]["code"] == "content_filter"
    assert "the rail 'blocklist'" in told["refused"]["message"]
    assert next(one["name"] for one in told["stages"] if one["state"] == "not reached") == "recall"


def test_mistakes_in_rails_are_told_by_check(run: Run, tmp_path: Path) -> None:
    configured(tmp_path, [{**MASKS, "on_error": "nobody"}])
    status, _, error = run("check")
    assert (status, "there is no rail 'nobody' in the profile" in error) == (2, True)
    for command in ("list", "check", "profile"):
        arguments = ("x",) if command == "check" else ()
        got, _, said = run("rails", command, *arguments, stdin="x")
        assert (got, "there is no rail 'nobody' in the profile" in said) == (2, True)


@pytest.mark.parametrize("setting", ["rails", "stricter_rails"])
def test_a_policy_cannot_name_a_profile_that_does_not_exist(run: Run, tmp_path: Path, setting: str) -> None:
    tree = json.loads((tmp_path / "tidegate.yaml").read_text())
    tree["policies"]["default"][setting] = "mime" if setting == "rails" else ["strict", "mime"]
    (tmp_path / "tidegate.yaml").write_text(json.dumps(tree))
    status, _, error = run("check")
    assert status == 2
    place = "rails" if setting == "rails" else "stricter_rails[1]"
    assert f"policies.default.{place}: there is no " in error
    assert "profile of rails 'mime'; there are: mine, " in error
