"""Cases across processes: kill -9 loses none, several workers share them, and the command line decides about them."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import stat
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from command_line import run_command
from serving import Running, Wire, ask, eventually, run_gateway, serve, wire

from tidegate.config.review import ReviewConfig
from tidegate.errors import ConfigError
from tidegate.review.counts import Counts
from tidegate.review.desk import Desk
from tidegate.review.file import CaseFile, Wanted
from tidegate.types import Case, Decision

KEY = "canary-reviewer-0123456789"
HEADERS = {"authorization": f"Bearer {KEY}"}
Run = Callable[..., tuple[int, str, str]]


def config(path: Path, **review: Any) -> str:
    rail = {"kind": "regex", "patterns": {"PROMISE": "[a-z]+"}, "surfaces": ["output"], "hold": "whole"}
    return json.dumps(
        {
            "server": {"port": 0},
            "engines": {"script": {"kind": "scripted"}},
            "models": {"*": {"deployments": [{"engine": "script"}]}},
            "policies": {"default": {"rails": "p"}},
            "rails": {"profiles": {"p": {"rails": [{**rail, "on_fail": "review"}]}}},
            "review": {"path": str(path), **review},
            "keys": {"ann": {"secret": KEY, "scopes": ["inference", "review"]}},
        }
    )


def post(client: Wire) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Say it."}], "max_tokens": 64}
    client.post(json.dumps(body).encode(), f"authorization: Bearer {KEY}")


def listed(url: str, state: str = "open") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(
        f"{url}/admin/reviews?state={state}", headers=HEADERS, method="GET"
    ).json["cases"]
    return found


def test_kill_9_loses_no_case(tmp_path: Path) -> None:
    path = tmp_path / "cases.db"
    with ExitStack() as clients, serve(config(path)) as process:
        for _ in range(3):
            post(clients.enter_context(wire(process.url)))
        eventually(lambda: len(listed(process.url)) == 3, "three cases wait")
        before = listed(process.url)
        process.signal(signal.SIGKILL)
        process.wait()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with serve(config(path)) as process:
        assert listed(process.url) == before
        first = before[0]["id"]
        body = json.dumps({"action": "edit", "text": "Better."}).encode()
        assert ask(f"{process.url}/admin/reviews/{first}/decision", body, HEADERS).status == 200
        lines = ask(f"{process.url}/admin/reviews/export", headers=HEADERS, method="GET").body.splitlines()
        [line] = [json.loads(one) for one in lines]
        assert (line["case"], line["edited"], line["label"]) == (first, "Better.", "bad")
        assert len(listed(process.url)) == 2


def case(name: str) -> Case:
    return Case(name, "req_1", 1.0, 61.0, "output", "r", "c", 0.5, "q", "t", "default", "m", "ann")


T = TypeVar("T")


def spawn(work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    return asyncio.get_running_loop().create_task(work, name=name)


def test_a_decision_by_another_process_reaches_the_call_that_waits(tmp_path: Path) -> None:
    """Two desks on one file are what two workers have."""

    async def work() -> None:
        loop = asyncio.get_running_loop()
        made = [
            Desk(
                ReviewConfig(wait_s=30),
                CaseFile(tmp_path / "cases.db"),
                Counts(loop.time),
                noted=lambda _: None,
                clock=loop.time,
                wall=loop.time,
                spawn=spawn,
            )
            for _ in range(2)
        ]
        here, there = made
        for one in made:
            await one.open()
        try:
            waits = loop.create_task(here.decide([case("case_1")], until=loop.time() + 30))
            while not (found := await there.page(Wanted())):
                await asyncio.sleep(0.01)
            await there.take(found[0].case.id, Decision("approve", "key:bob"))
            outcome = await waits
            assert outcome.passed
            assert outcome.decisions["case_1"].by == "key:bob"
        finally:
            for one in made:
                await one.close()

    asyncio.run(work())


def test_the_file_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (a)")
    other.close()
    with pytest.raises(ConfigError, match="database of another program"):
        asyncio.run(CaseFile(path).open())


# ------------------------------------------------------------------------------------------------------- command line


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with run_gateway(config(tmp_path_factory.mktemp("review") / "cases.db")) as gateway:
        yield gateway


@pytest.fixture
def run(gateway: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("TIDEGATE_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "200")

    def review(*arguments: str) -> tuple[int, str, str]:
        return run_command(monkeypatch, capsys, "review", *arguments, "--url", gateway.url)

    return review


@contextmanager
def waiting(gateway: Running) -> Generator[tuple[Wire, str]]:
    """A client that waits, and the id of its case."""
    before = {one["id"] for one in listed(gateway.url, "all")}
    with wire(gateway.url) as client:
        post(client)
        eventually(lambda: len(listed(gateway.url, "all")) > len(before), "the case is there")
        [new] = [one["id"] for one in listed(gateway.url) if one["id"] not in before]
        yield client, new


def said(client: Wire) -> str:
    status, headers = client.read_head()
    assert status == 200
    body = json.loads(client.read_exactly(int(headers["content-length"])))
    text: str = body["choices"][0]["message"]["content"]
    return text


def test_a_person_lists_shows_and_approves(run: Run, gateway: Running) -> None:
    with waiting(gateway) as (client, name):
        status, out, _ = run("list")
        assert status == 0
        assert name in out
        assert "regex PROMISE" in out
        status, out, _ = run("show", name)
        assert (status, "Say it." in out, "policy default" in out) == (0, True, True)
        status, out, _ = run("show", name, "--json")
        shown = json.loads(out)
        assert (shown["id"], shown["decision"]) == (name, None)
        assert run("approve", name)[:2] == (0, f"{name}: approve\n")
        assert said(client) == shown["text"]
        status, _, err = run("reject", name, "--reason", "late")
        assert status == 1
        assert "was decided before: approve by key:ann" in err


def test_a_person_edits(run: Run, gateway: Running, tmp_path: Path) -> None:
    with waiting(gateway) as (client, name):
        assert run("edit", name, "--text", "We can call you.", "--reason", "no promises")[0] == 0
        assert said(client) == "We can call you."
    with waiting(gateway) as (client, name):
        (tmp_path / "words").write_text("Other words.")
        status, out, _ = run("edit", name, "--file", str(tmp_path / "words"), "--json")
        assert (status, json.loads(out)["decision"]["text"]) == (0, "Other words.")
        assert said(client) == "Other words."


def test_a_person_rejects_and_exports(run: Run, gateway: Running) -> None:
    with waiting(gateway) as (client, name):
        assert run("reject", name, "--reason", "a promise")[0] == 0
        assert said(client) == "I'm sorry, but I can't help with that."
    status, out, _ = run("export")
    assert status == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [one["number"] for one in lines] == list(range(1, len(lines) + 1))
    assert (lines[-1]["case"], lines[-1]["label"], lines[-1]["reason"]) == (name, "bad", "a promise")
    assert run("export", "--after", str(lines[-1]["number"]))[1] == ""


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("show", "case_0"), 1, "There is no case 'case_0': see `tidegate review list`"),
        (("approve", "case_0"), 1, "There is no case 'case_0': see `tidegate review list`"),
        (("edit", "case_0"), 2, "either --text or --file"),
        (("edit", "case_0", "--text", ""), 2, "use `reject`"),
        (("reject", "case_0", "--reason", " "), 1, "say why"),
    ],
)
def test_what_cannot_be_done_is_said(run: Run, arguments: tuple[str, ...], status: int, says: str) -> None:
    found, out, err = run(*arguments)
    assert found == status
    assert says in " ".join((out + err).split())
    assert "URL of a Tidegate" not in out + err


def test_the_help_teaches(run: Run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    for words in ("on_fail: review", "tidegate review list --watch", "TIDEGATE_KEY", "status 0"):
        assert words in out


def test_a_key_without_the_scope_is_told_which_it_needs(
    run: Run, gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGATE_KEY", "canary-nobody")
    status, _, err = run("list")
    assert status == 1
    assert "does not accept the key" in err
