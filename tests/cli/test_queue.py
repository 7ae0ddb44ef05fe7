"""`tidegate queue`, and `tidegate check --explain --gateway`, against a gateway whose only seat is taken."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from canned import canned, whole
from command_line import run_command
from rich.console import Console
from serving import Running, config_to, eventually, run_gateway, wire
from talking import SCRIPT, chat

from tidegate.cli.running.queue_page import drawn, seconds
from tidegate.dispatch.forecast import Outlook
from tidegate.dispatch.state import (
    ClassState,
    EngineState,
    QueueState,
    Rejected,
    TenantState,
    WorkerState,
)
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread

SECRETS = {name: f"canary-{name}-0123456789abcdef" for name in ("ann", "bob", "ops")}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=SCRIPT)) as engine:
        yield engine


@pytest.fixture(scope="module")
def config(engine: ScriptedServer) -> str:
    tree = json.loads(config_to(engine.base_url, max_in_flight=1)) | {
        "policies": {"slow": {"defaults": {"priority": "batch"}}},
        "organisations": {"acme": {"policy": "slow"}},
        "keys": {
            "ann": {"secret": SECRETS["ann"], "organisation": "acme"},
            "bob": {"secret": SECRETS["bob"]},
            "ops": {"secret": SECRETS["ops"], "scopes": ["admin:read"]},
        },
    }
    return json.dumps(tree)


@pytest.fixture(scope="module")
def gateway(config: str) -> Iterator[Running]:
    """A gateway whose only seat is taken. Two calls of ann and one of bob wait. One call before them has waited."""
    with run_gateway(config) as gateway, ExitStack() as clients:
        queue, seats = gateway.gateway.runtime.queue, gateway.gateway.snapshot.engines["upstream"].seats

        async def take() -> None:
            assert seats.try_take()

        async def release() -> None:
            seats.release()

        gateway.run(take())
        first = clients.enter_context(wire(gateway.url))
        first.post(chat("ttft=50 tokens=50"), f"authorization: Bearer {SECRETS['bob']}")
        eventually(lambda: queue.bounds.size == 1, "the first call waits")
        gateway.run(release())
        assert first.read_head()[0] == 200
        eventually(lambda: seats.in_flight == 0, "the first call is served")
        for size, name in enumerate(("bob", "ann", "ann", "bob")):
            client = clients.enter_context(wire(gateway.url))
            client.post(chat("ttft=600000 tokens=50"), f"authorization: Bearer {SECRETS[name]}")
            eventually(lambda size=size: queue.bounds.size == size and seats.in_flight == 1, "the call waits")
        yield gateway


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str, key: str | None = SECRETS["ops"]) -> tuple[int, str, str]:
        if key is None:
            monkeypatch.delenv("TIDEGATE_KEY", raising=False)
        else:
            monkeypatch.setenv("TIDEGATE_KEY", key)
        return run_command(monkeypatch, capsys, *arguments)

    return run


# ------------------------------------------------------------------------------------------------------------ what is shown


def test_what_waits_is_shown(run: Run, gateway: Running) -> None:
    status, out, _ = run("queue", "--url", gateway.url)
    assert status == 0
    assert f"Queue at {gateway.url}: healthy" in out
    assert "3 of 1,000" in out
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert lines["batch"].split()[-5] == "2"  # waiting, work, share and longest wait are at the end
    assert "1 of 1" in lines["upstream"]
    assert "acme" in lines
    assert "bob" in lines
    assert "a new default call: place 2, about" in out
    assert max(map(len, out.splitlines())) <= 80


def test_the_gateway_is_that_of_the_configuration(run: Run, gateway: Running, tmp_path: Path) -> None:
    text = f"server: {{port: {gateway.port}}}\nauth: {{mode: none}}\n"
    (tmp_path / "tidegate.yaml").write_text(text)
    assert "acme" in run("queue")[1]


def test_the_answer_as_json(run: Run, gateway: Running) -> None:
    status, out, _ = run("queue", "--url", gateway.url, "--json")
    page = json.loads(out)
    assert (status, page["size"], page["forecast"]) == (0, 3, None)
    assert [one["class"] for one in page["classes"]] == ["interactive", "default", "batch"]


def test_one_call_is_foretold(run: Run, gateway: Running) -> None:
    told = {
        tenant: run("queue", "--url", gateway.url, "--model", "m", "--priority", "batch", *tenant)[1]
        for tenant in ((), ("--tenant", "acme"))
    }
    assert "A new call of the class batch: place 3, about" in told[()]
    assert "A new call of the class batch: place 4, about" in told["--tenant", "acme"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--priority", "batch"), "model"),
        (("--model", "m", "--priority", "bacth"), "did you mean 'batch'"),
        (("--tokens", "-1"), "--tokens"),
        (("--tokens", "many"), "--tokens"),
        (("--url", "ftp://x"), "--url"),
        (("--ca-path", "none.pem"), "--ca-path"),
        (("--key", "secret"), "--key"),
    ],
)
def test_a_wrong_option_is_named(run: Run, gateway: Running, arguments: tuple[str, ...], words: str) -> None:
    more = () if "--url" in arguments else ("--url", gateway.url)
    status, out, err = run("queue", *more, *arguments)
    assert status in (1, 2)
    assert words in out + err


def test_what_is_wrong_with_a_key_and_with_a_server(run: Run, gateway: Running) -> None:
    assert "wants a key" in run("queue", "--url", gateway.url, key=None)[2]
    assert "admin:read" in run("queue", "--url", gateway.url, key=SECRETS["ann"])[2]
    assert json.loads(run("queue", "--url", gateway.url, "--json", key=None)[1])["error"]["status"] == 401
    for body in (b"[]", b"{}", b'{"limits": []}', b"\xff"):
        with canned(whole(body)) as other:
            status, _, err = run("queue", "--url", other.base_url)
        assert (status, "not the queue of a gateway" in err) == (1, True)


def test_nothing_listens_there(run: Run) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        status, _, err = run("queue", "--url", f"http://127.0.0.1:{free.getsockname()[1]}")
    assert (status, "no gateway answers" in err) == (1, True)


def test_the_help_teaches(run: Run) -> None:
    status, out, _ = run("queue", "--help")
    assert status == 0
    for words in (
        "degraded",
        "overloaded",
        "max_in_flight",
        "TIDEGATE_KEY",
        "--watch",
        "--model",
        "admin:read",
    ):
        assert words in out


# ------------------------------------------------------------------------------------------------------ check --explain


@pytest.fixture
def explain(run: Run, config: str, gateway: Running, tmp_path: Path) -> Run:
    (tmp_path / "tidegate.yaml").write_text(config)
    (tmp_path / "request.json").write_bytes(chat(max_tokens=50))

    def explain(
        *arguments: str, url: str = gateway.url, key: str | None = SECRETS["ops"]
    ) -> tuple[int, str, str]:
        return run("check", "--explain", "request.json", "--gateway", url, *arguments, key=key)

    return explain


def test_check_says_the_place_and_the_wait_of_a_request(explain: Run) -> None:
    status, out, _ = explain("--key", "ann")
    assert status == 0
    assert "The gateway's queue now: place 4, about" in out  # behind her own calls and that of bob
    status, out, _ = explain("--key", "ann", "--json")
    queue = json.loads(out)["queue"]
    assert (queue["class"], queue["tenant"], queue["longest_wait_s"]) == ("batch", "acme", 600)
    assert queue["refused_over_s"] == pytest.approx(480)
    assert queue["forecast"]["position"] == 4
    assert json.loads(explain("--key", "bob", "--json")[1])["queue"]["forecast"]["position"] == 2


def test_check_knows_without_a_gateway_how_long_a_request_may_wait(
    run: Run, config: str, tmp_path: Path
) -> None:
    tree = json.loads(config)
    tree["policies"]["default"] = {"defaults": {"deadline_s": 20}}
    for text, longest in ((config, "60"), (json.dumps(tree), "20")):
        (tmp_path / "tidegate.yaml").write_text(text)
        (tmp_path / "request.json").write_bytes(chat(max_tokens=50))
        _, out, _ = run("check", "--explain", "request.json", "--key", "bob", "--json")
        found = json.loads(out)
        note = next(one["note"] for one in found["stages"] if one["name"] == "admit")
        assert f"it waits {longest} s at most" in note
        assert f"over {0.8 * int(longest):g} s" in note
        assert found["queue"]["forecast"] is None


def test_a_request_that_the_gateway_would_refuse_has_status_1(
    explain: Run, config: str, tmp_path: Path
) -> None:
    tree = json.loads(config)
    # The deadline is known to `check` alone.
    tree["policies"]["default"] = {"defaults": {"deadline_s": 0.001}}
    (tmp_path / "tidegate.yaml").write_text(json.dumps(tree))
    status, out, _ = explain("--key", "bob")
    assert (status, "refused (wait)" in out) == (1, True)


def test_a_gateway_that_cannot_be_asked_is_named(run: Run, explain: Run) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        status, _, err = explain("--key", "ann", url=url)
    assert (status, f"no gateway answers at {url}" in err, "--gateway" in err) == (1, True, True)
    assert "--gateway" in explain(url="ftp://x")[2]
    assert "wants a key" in explain("--key", "ann", key=None)[2]
    status, _, err = run("check", "--gateway", "http://127.0.0.1:1")
    assert (status, err) == (2, "--gateway goes with --explain\n")


# ---------------------------------------------------------------------------------------------------------------- drawing


def state(**more: Any) -> QueueState:
    fields: dict[str, Any] = {
        "state": "degraded",
        "utilization": 0.9,
        "size": 9,
        "max_size": 10,
        "rejected": 3,
        "work": 9000.0,
        "max_work": 1e6,
        "bytes": 0,
        "max_bytes": 1000,
        "rejections": [Rejected("batch", "wait", 3)],
        "classes": [ClassState("batch", 0.05, 600.0, 9, 9000.0)],
        "tenants": [TenantState("a\x1b[2Jb\u202ec[red]", "batch", 9, 9000.0)],
        "engines": [engine_state()],
    }
    return QueueState(**(fields | more))


def engine_state(**more: Any) -> EngineState:
    outlooks = [
        Outlook("batch", 3, 61.0),
        Outlook("fast", 9, 99.0, "wait", 12.0),
        Outlook("free"),
        Outlook("new", 2, None),
    ]
    fields: dict[str, Any] = {
        "engine": "gpu",
        "ready": True,
        "in_flight": 4,
        "limit": 8,
        "most": 32,
        "reserved": 1,
        "why": "slow",
        "waiting": 9,
        "rate": 1234.0,
        "forecast": outlooks,
    }
    return EngineState(**(fields | more))


def text_of(shown: QueueState, *, color: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=color, color_system="standard" if color else None)
    console.print(drawn(shown, title="http://here", ascii_only=True))
    return out.getvalue()


def test_an_engine_is_shown_with_its_limit_and_why_it_moved() -> None:
    text = text_of(state())
    assert "#####.....  50 %" in text
    assert "4 of 8" in text
    assert "limit lowered from 32:" in text
    assert "slow" in text
    assert "1,234 tokens of work a second" in text
    assert "a new batch call: place 3, about 1m 1s" in text
    assert "a new fast call: refused (wait), to come back after 12s" in text
    assert "a new free call: a seat at once" in text
    assert "a new new call: place 2; how fast the engine is was not measured yet" in text
    assert "no limit" in text_of(state(engines=[engine_state(limit=None, most=None, rate=None)]))
    assert "not ready" in text_of(state(engines=[engine_state(ready=False)]))


def test_a_bound_that_is_almost_used_is_yellow_and_a_full_one_is_red() -> None:
    for size, colour in ((5, ""), (9, "\x1b[33m"), (10, "\x1b[31m")):
        text = text_of(state(size=size, state="healthy", tenants=[]), color=True)
        line = next(line for line in text.splitlines() if f"{size} of 10" in line)
        assert {code: code in line for code in ("\x1b[33m", "\x1b[31m")} == {
            code: code == colour for code in ("\x1b[33m", "\x1b[31m")
        }
    assert "degraded\x1b[0m" in text_of(state(), color=True)


def test_names_cannot_write_to_the_terminal() -> None:
    text = text_of(state())
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]" in text  # no markup is read


def test_refusals_workers_and_many_tenants() -> None:
    tenants = [TenantState(f"t{at}", "batch", 1, 1.0) for at in range(11)]
    workers = [WorkerState("overloaded", 1.0, 4, 4, 1, 0, 10.0, 10)]
    text = text_of(state(tenants=tenants, workers=workers, silent_workers=1))
    assert "Refused since the start: 3 (batch wait 3)" in text
    assert "t9" in text
    assert "t10" not in text
    assert "(and others)" in text
    assert "worker 0" in text
    assert "1 of the workers did not answer" in text
    assert "(without a key)" in text_of(state(tenants=[TenantState("", "batch", 1, 1.0)]))


@pytest.mark.parametrize(("amount", "shown"), [(0, "0.0s"), (9.94, "9.9s"), (10, "10s"), (61, "1m 1s")])
def test_times(amount: float, shown: str) -> None:
    assert seconds(amount) == shown


def test_what_is_sent_is_what_is_read() -> None:
    assert msgspec.json.decode(msgspec.json.encode(state()), type=QueueState) == state()
