"""`tidegate usage` against gateways on the loopback: what it shows, how it follows, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from canned import canned, whole
from command_line import run_command
from rich.console import Console
from serving import Running, ask, config_to, run_gateway
from talking import SCRIPT, chat

from tidegate.cli.running.admin import GatewayFailed
from tidegate.cli.running.drawing import bar, duration, number
from tidegate.cli.running.screen import Screen, follow
from tidegate.cli.running.usage import read_usage
from tidegate.cli.running.usage_page import Page, Row, drawn
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread

SECRETS = {name: f"canary-{name}-0123456789abcdef" for name in ("ann", "ops")}
POLICY = {"limits": {"requests_per_day": 4, "tokens_per_day": 2_000_000}, "enforce": False}
HERE = partial(drawn, title="http://here")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=SCRIPT)) as engine:
        yield engine


@pytest.fixture(scope="module")
def gateway(engine: ScriptedServer) -> Iterator[Running]:
    """A gateway that ann asked five times; her organisation may ask four times a day."""
    tree = json.loads(config_to(engine.base_url)) | {
        "policies": {"few": POLICY},
        "organisations": {"acme": {"policy": "few"}},
        "keys": {
            "ann": {"secret": SECRETS["ann"], "organisation": "acme"},
            "ops": {"secret": SECRETS["ops"], "scopes": ["admin:read"]},
        },
    }
    with run_gateway(json.dumps(tree)) as gateway:
        for _ in range(5):
            headers = {"authorization": f"Bearer {SECRETS['ann']}"}
            assert ask(f"{gateway.base_url}/chat/completions", chat(), headers).status == 200
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
        return run_command(monkeypatch, capsys, "usage", *arguments)

    return run


# ------------------------------------------------------------------------------------------------------------ what is shown


def test_each_limit_is_shown_with_what_is_used_of_it(run: Run, gateway: Running) -> None:
    status, out, _ = run("--url", gateway.url)
    assert status == 0
    assert "organisation acme" in out
    assert "requests_per_day 4" in out
    assert "5 of 4" in out
    assert "125 %" in out
    assert "in debt" in out
    assert "(counted only)" in out
    assert "tokens_per_day 2M" in out
    assert out.index("requests_per_day") < out.index("tokens_per_day")
    assert max(map(len, out.splitlines())) <= 80


def test_the_url_may_be_the_one_that_clients_have(run: Run, gateway: Running) -> None:
    assert run("--url", gateway.base_url) == run("--url", f"{gateway.url}/")


def test_the_gateway_is_that_of_the_configuration(run: Run, gateway: Running, tmp_path: Path) -> None:
    text = f"server: {{port: {gateway.port}, host: 0.0.0.0}}\nauth: {{mode: none}}\n"
    (tmp_path / "tidegate.yaml").write_text(text)
    assert "organisation acme" in run()[1]
    (tmp_path / "other.yaml").write_text(text)
    (tmp_path / "tidegate.yaml").write_text("server: {port: 1}")
    assert "organisation acme" in run("--config", "other.yaml")[1]


def test_an_admin_api_apart_is_asked_at_its_own_port(run: Run, gateway: Running, tmp_path: Path) -> None:
    text = f"server: {{port: 1}}\nadmin: {{apart: true, port: {gateway.port}}}\n"
    (tmp_path / "tidegate.yaml").write_text(text)
    assert "organisation acme" in run()[1]


def test_the_answer_as_json(run: Run, gateway: Running) -> None:
    status, out, _ = run("--url", gateway.url, "--json", "--most", "1")
    page = json.loads(out)
    assert status == 0
    assert [row["dimension"] for row in page["limits"]] == ["requests_per_day"]
    assert page["more"] is True
    assert "There are more limits" in run("--url", gateway.url, "--most", "1")[1]


def test_one_level_and_one_tenant(run: Run, gateway: Running) -> None:
    assert "organisation acme" in run("--url", gateway.url, "--level", "organisation", "--tenant", "acme")[1]


@pytest.mark.parametrize(
    "chosen",
    [
        ("--tenant", "typo"),
        ("--tenant", "a&b=c d/é"),
        ("--level", "team"),
        ("--level", "key", "--tenant", "acme"),
        ("--level", "organisation", "--tenant", "ACME"),
        ("--tenant", "[red]a{}"),
    ],
)
def test_options_that_match_no_limit_are_named(run: Run, gateway: Running, chosen: tuple[str, ...]) -> None:
    status, out, _ = run("--url", gateway.url, *chosen)
    assert status == 0
    assert f"Nothing matches {' '.join(chosen)}: " in out


def test_a_gateway_that_was_just_started_does_not_say_that_nothing_is_used(
    run: Run, engine: ScriptedServer
) -> None:
    tree = json.loads(config_to(engine.base_url)) | {"policies": {"default": POLICY}}
    with run_gateway(json.dumps(tree)) as fresh:
        status, out, _ = run("--url", fresh.url, key=None)
    assert (status, "Nothing" in out) == (0, False)
    assert "a limit is shown once a call has met it" in " ".join(out.split())


def test_a_gateway_without_limits_says_how_to_set_one(run: Run, engine: ScriptedServer) -> None:
    with run_gateway(config_to(engine.base_url)) as plain:
        status, out, _ = run("--url", plain.url, key=None)
    assert status == 0
    assert "This gateway has no limits" in out
    assert "requests_per_minute: 60" in out


# --------------------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (None, ["wants a key", "admin:read", "TIDEGATE_KEY"]),
        ("", ["wants a key"]),
        ("not-a-key-of-this-gateway", ["does not accept the key in TIDEGATE_KEY"]),
        (SECRETS["ann"], ["needs the scope admin:read"]),
    ],
)
def test_what_is_wrong_with_a_key(run: Run, gateway: Running, key: str | None, words: list[str]) -> None:
    status, out, err = run("--url", gateway.url, key=key)
    assert (status, out) == (1, "")
    assert all(word in err for word in words), err


def test_errors_as_json(run: Run, gateway: Running) -> None:
    status, out, _ = run("--url", gateway.url, "--json", key=None)
    assert (status, json.loads(out)["error"]["status"]) == (1, 401)


@pytest.mark.parametrize("key", ["two\nlines", "tab\tkey", "schlüssel", "nul\x7f"])
def test_a_key_that_no_header_can_have(run: Run, gateway: Running, key: str) -> None:
    status, _, err = run("--url", gateway.url, key=key)
    assert (status, "TIDEGATE_KEY" in err, key in err) == (2, True, False)


def test_nothing_listens_there(run: Run) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        status, _, err = run("--url", url)
    assert status == 1
    assert f"no gateway answers at {url}" in err
    assert "--url" in err


@pytest.mark.parametrize("body", [b"[]", b"<html>", b"{}", b'{"limits": [{}]}', b"\xff", b'{"limits": 1}'])
def test_another_server_is_no_gateway(run: Run, body: bytes) -> None:
    with canned(whole(body)) as other:
        for more in ((), ("--json",)):
            status, out, err = run("--url", other.base_url, *more)
            assert status == 1
            assert "not the usage of a gateway" in out + err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--level", "teams"), "did you mean 'team'"),
        (("--url", "ftp://x"), "--url"),
        (("--url", "nothing"), "--url"),
        (("--ca-path", "none.pem"), "--ca-path"),
        (("--most", "0"), "--most"),
        (("--key", "secret"), "--key"),
    ],
)
def test_a_wrong_option_is_named(run: Run, gateway: Running, arguments: tuple[str, str], words: str) -> None:
    more = () if "--url" in arguments else ("--url", gateway.url)
    status, out, err = run(*more, *arguments)
    assert status in (1, 2)
    assert words in out + err


@pytest.mark.parametrize(
    "text", ["server: {port: 0}", "server: {port: x}", "admin: {token: '${NOT_SET_HERE}'}"]
)
def test_a_configuration_without_a_usable_address_says_what_to_do(
    run: Run, tmp_path: Path, text: str
) -> None:
    (tmp_path / "tidegate.yaml").write_text(text)
    status, _, err = run()
    assert (status, "--url" in err) == (2, True)


# -------------------------------------------------------------------------------------------------------------- following


def row(**more: Any) -> Row:
    fields = {"level": "key", "tenant": "ann", "dimension": "requests_per_day", "unit": "calls"}
    numbers = {"used": 1.0, "limit": 10.0, "left": 9.0, "used_share": 0.1, "resets_s": 5.0}
    return Row(**{**fields, **numbers, **more})  # pyright: ignore[reportArgumentType]


def page(used: int) -> bytes:
    return msgspec.json.encode(Page([row(used=used, left=10 - used, used_share=used / 10)]))


class Stopped(Exception):
    """What Ctrl-C is in these tests."""


def followed(answers: list[bytes | GatewayFailed], *, terminal: bool) -> str:
    """Follow a gateway that gives these answers, one after each pause. Returns what the screen has shown."""
    left, out = list(answers), io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=80, color_system=None)

    async def answer() -> bytes:
        one = left.pop(0)
        if isinstance(one, GatewayFailed):
            raise one
        return one

    async def pause() -> None:
        if not left:
            raise Stopped

    with pytest.raises(Stopped), Screen(console, HERE, live=True) as screen:
        asyncio.run(follow(answer, read_usage, screen, pause))
    assert not left
    return out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_each_answer_is_shown(terminal: bool) -> None:
    shown = followed([page(1), page(2), page(3)], terminal=terminal)
    assert [text in shown for text in ("1 of 10", "2 of 10", "3 of 10")] == [True] * 3


@pytest.mark.parametrize("terminal", [True, False])
def test_a_gateway_that_is_away_for_a_while_is_followed_further(terminal: bool) -> None:
    shown = followed([page(1), GatewayFailed("it is away"), b"odd", page(7)], terminal=terminal)
    away = shown.index("Not up to date: it is away")
    assert shown.index("not the usage of a gateway") > away
    assert shown.rindex("7 of 10") > away
    if terminal:
        assert "1 of 10" in shown[shown.index("1 of 10") + 1 : away]  # the last known page stays there


def test_a_gateway_that_never_answered_is_not_followed() -> None:
    with pytest.raises(GatewayFailed, match="it is away"):
        asyncio.run(follow(fails, read_usage, Screen(Console(file=io.StringIO()), HERE, live=False), fails))


async def fails() -> Any:
    raise GatewayFailed("it is away")


def test_ctrl_c_ends_it_well(gateway: Running) -> None:
    # A process in the background has Ctrl-C ignored; the command must not.
    start = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import tidegate.cli as c; c.main()"
    command = [sys.executable, "-c", start, "usage", "--watch", "--json", "--url", gateway.url]
    with subprocess.Popen(
        command,
        env={"TIDEGATE_KEY": SECRETS["ops"], "PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        pages = [read_usage(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert all(one.limits for one in pages)


# ---------------------------------------------------------------------------------------------------------------- drawing


def text_of(shown: Page, *, ascii_only: bool = False, color: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=color, color_system="standard" if color else None)
    console.print(HERE(shown, ascii_only=ascii_only))
    return out.getvalue()


def test_what_is_almost_used_is_yellow_and_debt_is_red() -> None:
    colours = {
        share: text_of(Page([row(used=10 * share, left=10 - 10 * share, used_share=share)]), color=True)
        for share in (0.5, 0.8, 0.81, 1.0, 1.1)
    }
    assert {share: "\x1b[33m" in text for share, text in colours.items()} == {
        0.5: False, 0.8: False, 0.81: True, 1.0: True, 1.1: False,
    }  # fmt: skip
    assert {share: "\x1b[31m" in text for share, text in colours.items()}[1.1]


def test_the_limits_of_a_tenant_stand_together() -> None:
    rows = [row(), row(tenant="bob", used_share=0.09), row(dimension="tokens_per_day", used_share=0.01)]
    text = text_of(Page(rows))
    assert text.count("key ann") == text.count("key bob") == 1
    assert text.index("key ann") < text.index("tokens_per_day") < text.index("key bob")


def test_names_of_tenants_cannot_write_to_the_terminal() -> None:
    text = text_of(Page([row(tenant="a\x1b[2Jb\u202ec[red]")]))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[red]" in text  # no markup is read


def test_money_and_silent_workers() -> None:
    text = text_of(
        Page([row(dimension="usd_per_day", unit="USD", used=0.5, limit=2.5, left=2)], silent_workers=1)
    )
    assert "usd_per_day $2.50" in text
    assert "$0.50 of $2.50" in text
    assert "1 of the workers did not answer" in text


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, ".........."),
        (0.001, "#........."),
        (0.5, "#####....."),
        (0.999, "#########."),
        (1, "#" * 10),
        (7, "#" * 10),
    ],
)
def test_a_bar_is_full_only_if_nothing_is_left(share: float, shown: str) -> None:
    assert bar(share, ascii_only=True) == shown
    assert len(bar(share)) == 10


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1s"),
        (59.1, "1m"),
        (61, "1m 1s"),
        (3600, "1h"),
        (3725, "1h 2m"),
        (90_000, "1d 1h"),
        (2_600_000, "30d 2h"),
    ],
)
def test_times(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"), (999, "999"), (9999, "9,999"), (10_000, "10k"), (54_321, "54.3k"), (999_499, "999k"),
        (999_999, "1M"), (1_234_567, "1.23M"), (2e9, "2G"), (-80, "-80"), (1e15, "1.00e+15"),
    ],
)  # fmt: skip
def test_numbers(amount: float, text: str) -> None:
    assert number(amount) == text
