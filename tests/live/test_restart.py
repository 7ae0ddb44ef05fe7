"""What is used of a day outlives the process: SIGTERM, kill -9, the next day, reloads, a backup, and the store away."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from serving import Process, ask, eventually, serve, wire

KEY = "the-secret-of-ann"
TOKEN = "the-token-of-the-administrator"
MOST = 5
ZONE = "UTC" if 3 <= time.gmtime().tm_hour < 21 else "Etc/GMT+12"
"""A zone in which midnight is far away."""


def config(store: Path | None, **limits: int) -> str:
    tree = {
        "server": {"port": 0, "drain_grace_s": 0},
        "admin": {"token": TOKEN},
        "auth": {"pepper": "the pepper of these tests"},
        "engines": {"e": {"kind": "scripted"}},
        "models": {"m": {"deployments": [{"engine": "e"}]}},
        "stores": {} if store is None else {"main": {"kind": "local", "path": str(store)}},
        "keys": {"ann": {"secret": KEY, "policy": "p"}},
        "policies": {"p": {"limits": limits or {"requests_per_day": MOST}, "timezone": ZONE}},
    }
    return json.dumps(tree)


def call(process: Process, said: str = "hello", **fields: Any) -> int:
    body = {"model": "m", "messages": [{"role": "user", "content": said}], **fields}
    return ask(f"{process.base_url}/chat/completions", json.dumps(body).encode(), {"x-api-key": KEY}).status


def calls(process: Process, number: int) -> None:
    assert [call(process) for _ in range(number)] == [200] * number


def left(process: Process) -> int:
    """Use up the day, and return how many calls it had left."""
    admitted = 0
    while (status := call(process)) == 200:
        admitted += 1
        assert admitted <= MOST
    assert status == 429
    return admitted


def execute(path: Path, statement: str) -> list[Any]:
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def kept(path: Path) -> int:
    return sum(used for (used,) in execute(path, "SELECT used FROM counts"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tidegate.db"


def test_after_sigterm_nothing_is_granted_again(path: Path) -> None:
    with serve(config(path)) as process:
        calls(process, 3)
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    assert kept(path) == 3
    with serve(config(path)) as process:
        assert left(process) == 2
    with serve(config(path)) as process:
        assert left(process) == 0


def test_a_stream_that_ends_while_the_gateway_drains_is_counted_exactly(path: Path) -> None:
    stream = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 500}
    with serve(config(path, tokens_per_day=1000)) as process:
        body = {
            "model": "m",
            "messages": [{"role": "user", "content": "Count up [[scripted itl=100 tokens=30]]"}],
            **stream,
        }

        with wire(process.url) as client:
            client.post(json.dumps(body).encode(), f"x-api-key: {KEY}", "connection: close")
            client.read_until(b"data: ")
            process.signal(signal.SIGTERM)
            answer = client.read_to_end()
        assert process.wait() == 0
    usage = next(
        found["usage"]
        for line in answer.decode().splitlines()
        if line.startswith("data: {") and (found := json.loads(line[6:])).get("usage")
    )
    assert usage["completion_tokens"] == 30
    assert kept(path) == usage["total_tokens"]


def test_after_kill_9_what_was_written_still_counts(path: Path) -> None:
    with serve(config(path)) as process:
        calls(process, 3)
        eventually(lambda: kept(path) == 3, "what is used in the store")
        process.signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    with serve(config(path)) as process:
        assert left(process) == 2


def test_what_a_killed_gateway_had_reserved_stays_charged(path: Path) -> None:
    with serve(config(path, tokens_per_day=1000)) as process:
        body = {"model": "m", "messages": [{"role": "user", "content": "[[scripted itl=100 tokens=300]]"}]}
        with wire(process.url) as client:
            client.post(json.dumps({**body, "stream": True, "max_tokens": 900}).encode(), f"x-api-key: {KEY}")
            client.read_until(b"data: ")
            eventually(lambda: kept(path) >= 900, "what is reserved in the store")
            process.signal(signal.SIGKILL)
            process.wait()
    with serve(config(path, tokens_per_day=1000)) as process:
        assert call(process, max_tokens=100) == 429


def test_the_next_day_begins_anew_after_a_restart(path: Path) -> None:
    with serve(config(path)) as process:
        assert left(process) == MOST
    execute(path, "UPDATE counts SET since = since - 86400, until = until - 86400")
    with serve(config(path)) as process:
        assert left(process) == MOST
    execute(path, "UPDATE counts SET since = since - 5 * 86400, until = until - 5 * 86400")
    with serve(config(path, requests_per_day=MOST, tokens_per_day=1000)) as process:
        calls(process, 1)
    assert execute(path, f"SELECT count(*) FROM counts WHERE until < {time.time()}") == [(0,)]


def test_a_changed_limit_and_a_renamed_store_count_on(path: Path) -> None:
    with serve(config(path)) as process:
        calls(process, 3)
    with serve(config(path, requests_per_day=4)) as process:
        calls(process, 1)
        process.rewrite(config(path).replace('"main"', '"other"'))
        eventually(lambda: process.log().count("is in force") == 1, "the reload")
        assert left(process) == 1
    with serve(config(path)) as process:
        assert left(process) == 0


def test_a_reload_that_adds_a_store_takes_in_what_it_keeps(path: Path, tmp_path: Path) -> None:
    with serve(config(path)) as process:
        calls(process, 2)
    with serve(config(None)) as process:
        assert "policies.p.limits.requests_per_day: what is used of it in a day is forgotten" in process.log()
        calls(process, 1)
        process.rewrite(config(path))
        eventually(lambda: process.log().count("is in force") == 1, "the reload")
        calls(process, 1)
        process.rewrite(config(tmp_path / "another.db"))
        eventually(lambda: process.log().count("is in force") == 2, "the other store")
    assert kept(tmp_path / "another.db") == 4
    with serve(config(tmp_path / "another.db")) as process:
        assert left(process) == 1
        assert "forgotten" not in process.log()


def test_a_store_put_back_from_a_backup_counts_on_from_the_backup(path: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    with serve(config(path)) as process:
        calls(process, 2)
        eventually(lambda: kept(path) == 2, "what is used in the store")
        execute(path, f"VACUUM INTO '{backup}'")
        calls(process, 2)
    assert kept(path) == 4
    shutil.copy(backup, path)
    with serve(config(path)) as process:
        assert left(process) == MOST - 2


def test_while_the_store_does_not_answer_calls_are_counted_and_written_later(path: Path) -> None:
    with serve(config(path)) as process:
        calls(process, 1)
        eventually(lambda: kept(path) == 1, "what is used in the store")
        execute(path, "ALTER TABLE counts RENAME TO counts_away")
        calls(process, 1)
        process.wait_for_log("what is used of days and months is not written to the store: no such table")
        calls(process, 1)
        execute(path, "ALTER TABLE counts_away RENAME TO counts")
        process.wait_for_log("is written to the store again")
        assert kept(path) == 3
        assert process.log().count("is not written to the store") == 1
        assert "Traceback" not in process.log()
        assert left(process) == 2
    with serve(config(path)) as process:
        assert left(process) == 0
