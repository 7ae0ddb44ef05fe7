"""`tidegate drill` with real processes: a short one from beginning to end, and what is left of one that is stopped."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop
from serving import eventually

from tidegate.ops.drill.page import page
from tidegate.ops.drill.plan import ENGINES, TENANTS
from tidegate.ops.drill.result import Result
from tidegate.ops.drill.run import View, run

SCREENSHOT = Path(__file__).parents[2] / "scripts" / "screenshot.py"


def browser_names() -> tuple[str, ...]:
    spec = importlib.util.spec_from_file_location("screenshot", SCREENSHOT)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NAMES


BROWSER = next(filter(None, map(shutil.which, browser_names())), None)


@pytest.fixture(scope="module")
def played() -> tuple[Result, list[View]]:
    """A drill of 10 seconds. How good its figures are depends on the machine, so they are not judged here."""
    views: list[View] = []
    return uvloop.run(run(10.0, 1, views.append)), views


def test_every_call_is_accounted_for(played: tuple[Result, list[View]]) -> None:
    result, views = played
    calls = sum(one.sent for phase in result.phases for one in phase.classes)
    assert calls == sum(one.sent for one in result.tenants) == sum(one.sent for one in result.timeline)
    assert calls == views[-1].sent == len(views[-1].calls)
    assert {one.tenant for one in result.tenants if one.served} == {tenant.name for tenant in TENANTS}
    assert result.kept is all(promise.kept for promise in result.promises)
    assert msgspec.json.decode(msgspec.json.encode(result), type=Result) == result


def test_the_engines_fail_and_come_back(played: tuple[Result, list[View]]) -> None:
    result, views = played
    moments = [view.now for view in views if view.now is not None]
    states = {name: [e.state for now in moments for e in now.engines if e.name == name] for name in ENGINES}
    in_order = {name: list(dict.fromkeys(found)) for name, found in states.items()}
    killed, slowed, spared = ENGINES
    assert [state for state in in_order[killed] if state != "starting"] == ["up", "killed"]
    assert states[killed][-1] == "up"
    assert in_order[slowed] == ["up", "slow"]
    assert states[slowed][-1] == "up"
    assert in_order[spared] == ["up"]
    asked = {one.name: one.requests for one in moments[-1].engines}
    assert all(asked.values())
    assert [act.deed for act in result.acts] == ["kill", "start", "slow", "restore"]


def test_no_request_reaches_an_engine_while_it_is_dead(played: tuple[Result, list[View]]) -> None:
    _, views = played
    dead = [e.requests for view in views if view.now for e in view.now.engines if e.state == "killed"]
    assert dead
    assert len(set(dead)) == 1


@pytest.mark.skipif(BROWSER is None, reason="needs Chrome or Chromium")
@pytest.mark.parametrize("options", [(), ("--dark",), ("--width", "400")])
def test_a_browser_shows_the_page_without_an_error(
    played: tuple[Result, list[View]], tmp_path: Path, options: tuple[str, ...]
) -> None:
    shown = tmp_path / "drill.html"
    shown.write_text(page(played[0]), encoding="utf-8")
    command = [sys.executable, str(SCREENSHOT), str(shown), str(tmp_path / "drill.png"), *options]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A drill as it is typed, which has begun to send calls."""
    # A process in the background has Ctrl-C ignored; the command must not.
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import tidegate.cli as c; c.main()"
    command = [sys.executable, "-c", start, "drill", "--seconds", "30", "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as popen:
        try:
            assert popen.stderr is not None
            assert "steady" in popen.stderr.readline()
            yield popen
        finally:
            popen.kill()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are read from /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_outlives_a_drill_that_is_stopped(
    drill: subprocess.Popen[str], number: signal.Signals, tmp_path: Path
) -> None:
    started = children(drill.pid)
    assert len(started) == len(ENGINES) + 1
    os.kill(drill.pid, number)
    out, err = drill.communicate(timeout=30)
    assert out == ""
    if number is not signal.SIGKILL:
        assert drill.returncode == 1
        assert err.splitlines()[-1].startswith("Stopped")
    assert "Traceback" not in err
    eventually(lambda: not any(map(runs, started)), "every process of the drill has ended")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--seconds", "5"], "--seconds"),
        (["--seconds", "inf"], "--seconds"),
        (["--seed", "x"], "--seed"),
        (["--html", "."], "is a folder"),
        (["--html", "nowhere/drill.html"], "cannot be written"),
        (["--output", "nowhere/drill.json"], "cannot be written"),
        (["--output", "same", "--html", "same"], "would overwrite"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    tmp_path: Path, options: list[str], says: str
) -> None:
    command = [sys.executable, "-m", "tidegate", "drill", *options]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert ran.returncode == 2
    assert says in ran.stdout + ran.stderr
    assert list(tmp_path.iterdir()) == []
