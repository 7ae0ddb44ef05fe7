"""Without keys the gateway serves this machine alone: at the start, after a reload, with workers, and in `check`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from serving import ask, eventually, serve

SECRET = "the-secret-of-the-only-key"


def config(host: str = "127.0.0.1", **sections: Any) -> str:
    return json.dumps(
        {
            "server": {"port": 0, "host": host, "drain_grace_s": 0},
            "engines": {"e": {"kind": "scripted"}},
            "models": {"m": {"deployments": [{"engine": "e"}]}},
            **sections,
        }
    )


OPEN_TO_ALL = {"auth": {"mode": "none"}}
KEYED = {"keys": {"k": {"secret": SECRET}}}


def tidegate(tmp_path: Path, text: str, *command: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "tidegate.yaml"
    path.write_text(text)
    whole = [sys.executable, "-m", "tidegate", *command, "--config", str(path)]
    return subprocess.run(whole, capture_output=True, text=True, check=False, timeout=50)


@pytest.mark.parametrize(
    ("text", "command", "setting"),
    [
        (config("0.0.0.0"), ("serve",), "server.host"),
        (config("::"), ("serve",), "server.host"),
        (config(), ("serve", "--host", "0.0.0.0"), "server.host"),
        (config("0.0.0.0"), ("serve", "--workers", "2"), "server.host"),
        (config("0.0.0.0", admin={"token": SECRET}), ("serve",), "server.host"),
        (config(admin={"host": "0.0.0.0", "port": 0}), ("serve", "--workers", "2"), "admin.host"),
        (config("0.0.0.0"), ("check",), "server.host"),
        (config("192.0.2.1"), ("check",), "server.host"),
    ],
)
def test_beyond_this_machine_nothing_starts_without_keys(
    tmp_path: Path, text: str, command: tuple[str, ...], setting: str
) -> None:
    done = tidegate(tmp_path, text, *command)
    assert done.returncode == 2, done.stderr
    assert f"{setting}: " in done.stderr
    assert "write auth: {mode: none}" in done.stderr


@pytest.mark.parametrize("sections", [OPEN_TO_ALL, KEYED])
def test_it_passes_the_check_where_it_is_meant_or_keyed(tmp_path: Path, sections: dict[str, Any]) -> None:
    done = tidegate(tmp_path, config("0.0.0.0", **sections), "check")
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("host", "sections", "words"),
    [
        ("127.0.0.1", {}, "there are no keys: only this machine is served"),
        ("0.0.0.0", OPEN_TO_ALL, "auth.mode is none: everybody who reaches the port is served"),
        ("0.0.0.0", KEYED, "only callers with a key are served"),
    ],
)
def test_the_start_says_who_is_served(host: str, sections: dict[str, Any], words: str) -> None:
    with serve(config(host, **sections)) as process:
        assert words in process.log()
        assert SECRET not in process.log()


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_no_reload_takes_the_keys_away_beyond_this_machine(workers: tuple[str, ...]) -> None:
    keyed = json.loads(config("0.0.0.0", **KEYED)) | {"admin": {"port": 0}}
    with serve(json.dumps(keyed), args=workers) as process:
        url = f"http://127.0.0.1:{process.url.rpartition(':')[2]}/v1/models"
        assert ask(url, method="GET").status == 401
        process.rewrite(json.dumps({key: value for key, value in keyed.items() if key != "keys"}))
        process.wait_for_log("the configuration stays as it was")
        assert ask(url, method="GET").status == 401
        assert ask(url, method="GET", headers={"x-api-key": SECRET}).status == 200
        # With another key it is taken, and the old one is no longer valid.
        process.rewrite(json.dumps(keyed | {"keys": {"k": {"secret": SECRET + "2"}}}))
        process.wait_for_log("is in force")
        eventually(
            lambda: ask(url, method="GET", headers={"x-api-key": SECRET + "2"}).status == 200, "the new key"
        )
        eventually(lambda: ask(url, method="GET", headers={"x-api-key": SECRET}).status == 401, "the old key")
