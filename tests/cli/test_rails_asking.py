"""`tidegate rails` and `tidegate check` with rails that ask a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import run_command
from guarded.server import Guard, answers, chat, guard

Run = Callable[..., tuple[int, str, str]]
ASKS = {"kind": "llama_guard", "model": "guard"}
RULE = {"kind": "blocklist", "words": ["forbidden"], "surfaces": ["input"]}


@pytest.fixture
def server() -> Iterator[Guard]:
    with guard(answers(chat("unsafe\nS10"))) as server:
        yield server


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        return run_command(monkeypatch, capsys, *arguments)

    return run


def configured(url: str, *rails: dict[str, Any], **engine: Any) -> None:
    """Write a configuration with a store and people, which no command may open."""
    tree = {
        "engines": {
            "e": {"kind": "scripted", "text": "hello"},
            "guards": {"kind": "vllm", "url": url, **engine},
        },
        "models": {
            "m": {"deployments": [{"engine": "e"}]},
            "guard": {"deployments": [{"engine": "guards"}]},
        },
        "stores": {"local": {"kind": "local", "path": "keys.db"}},
        "auth": {"pepper": "a-pepper-of-the-test-0123456789abcdef"},
        "review": {"path": "review.db"},
        "rails": {"profiles": {"mine": {"rails": list(rails)}}, "audit_path": "audit.jsonl"},
        "policies": {"default": {"rails": "mine"}},
    }
    Path("tidegate.yaml").write_text(json.dumps(tree))


def test_a_rail_asks_the_model_of_the_configuration(run: Run, server: Guard) -> None:
    configured(server.base_url, RULE, {**ASKS, "on_fail": "review", "hold": "whole"})
    status, out, err = run("rails", "check", "hello", "--json")
    told = json.loads(out)
    assert (status, told["action"], err) == (1, "review", "")
    assert [(one["rail"], one["action"], one["category"]) for one in told["rails"]] == [
        ("blocklist", "pass", ""),
        ("llama_guard", "review", "hate"),
    ]
    assert [body["messages"] for body in server.bodies] == [[{"role": "user", "content": "hello"}]]
    assert {one.name for one in Path().iterdir()} == {"tidegate.yaml"}, (
        "nothing else of the gateway is opened"
    )


def test_an_answer_is_checked_as_one(run: Run, server: Guard) -> None:
    server.says = answers(chat("safe"))
    configured(server.base_url, ASKS)
    status, out, _ = run("rails", "check", "hello", "--surface", "output")
    assert (status, server.bodies[0]["messages"][-1]["role"]) == (0, "assistant")
    assert "goes on as it is" in out


def test_an_answer_that_says_nothing_is_told(run: Run, server: Guard) -> None:
    server.says = answers(chat("I am only a teapot."))
    configured(server.base_url, ASKS)
    status, out, _ = run("rails", "check", "hello")
    assert status == 1
    assert "The rail 'llama_guard' asks a model or a service, and got no usable answer" in out
    assert "teapot" not in out


@pytest.mark.parametrize("command", ["check", "profile"])
def test_a_model_that_cannot_be_reached_is_told_before_anything_is_asked(run: Run, command: str) -> None:
    configured("http://127.0.0.1:9/v1", ASKS)
    Path("texts.txt").write_text("hello\n")
    status, out, err = run("rails", command, "hello" if command == "check" else "texts.txt")
    assert (status, out) == (2, "")
    assert "a model cannot be asked: 1 problem" in err
    assert "engines.guards: " in err
    assert "the rail 'llama_guard' asks the model 'guard' there" in err


def test_a_rail_that_cannot_work_as_it_is_configured_is_told(run: Run, server: Guard) -> None:
    configured(server.base_url, {**ASKS, "model": "nosuch"})
    status, _, err = run("rails", "check", "hello")
    assert status == 2
    assert "rails.profiles.mine.rails[0]" in err
    assert "nosuch" in err


def test_times_are_those_of_the_model_and_not_of_what_is_remembered(run: Run, server: Guard) -> None:
    server.says = answers(chat("safe"))
    configured(server.base_url, RULE, ASKS)
    Path("texts.txt").write_text("hello\nbye\n")
    status, out, _ = run("rails", "profile", "texts.txt", "--rounds", "2", "--json")
    told = json.loads(out)
    assert (told["stopped"], told["failed"]) == (0, 0)
    assert {one["name"]: one["checks"] for one in told["rails"]} == {"blocklist": 4, "llama_guard": 4}
    assert len(server.bodies) == 6, "two texts to warm up, and two rounds"
    assert status in (0, 1)
    server.says = answers(chat("who knows"))
    assert "In 4 checks a rail failed" in run("rails", "profile", "texts.txt", "--rounds", "2")[1]


def test_explain_says_which_rail_asks_which_model_and_asks_none(run: Run, server: Guard) -> None:
    configured(server.base_url, RULE, ASKS, {**ASKS, "name": "second", "surfaces": ["output"]})
    Path("body.json").write_text(
        json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]})
    )
    status, out, _ = run("check", "--explain", "body.json", "--json")
    stages = {one["name"]: one["note"] for one in json.loads(out)["stages"]}
    assert status == 0
    assert stages["guard"] == "llama_guard (block, asks the model 'guard')"
    assert stages["screen"] == "profile 'mine': every rail lets it pass"
    assert "second (block, asks the model 'guard')" in stages["attempt"]
    assert server.bodies == []
