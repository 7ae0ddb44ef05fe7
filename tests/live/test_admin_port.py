"""The admin API on a port of its own: it leaves the main port, and the rules for keys and addresses are the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from serving import Process, ask, eventually, serve

TOKEN = "the-token-of-the-administrator"
PATHS = ("/admin/keys", "/admin/tenants", "/admin/log")


def config(path: Path | None, **admin: Any) -> dict[str, Any]:
    stores = {"main": {"kind": "local", "path": str(path)}} if path else {}
    return {
        "server": {"port": 0, "drain_grace_s": 0},
        "admin": {"token": TOKEN, "port": 0, "apart": True, **admin},
        "auth": {"pepper": "the pepper of these tests"},
        "engines": {"e": {"kind": "scripted"}},
        "models": {"m": {"deployments": [{"engine": "e"}]}},
        "stores": stores,
    }


def admin_url(process: Process) -> str:
    found = re.search(r"the admin port.*?: (http://\S+)", process.log())
    assert found, process.log()
    return found[1].replace("0.0.0.0", "127.0.0.1")


def get(url: str, key: str = TOKEN) -> int:
    return ask(url, method="GET", headers={"x-api-key": key} if key else {}).status


def test_the_admin_api_is_at_its_port_alone(tmp_path: Path) -> None:
    with serve(json.dumps(config(tmp_path / "keys.db"))) as process:
        admin, main = admin_url(process), process.url
        for path in PATHS:
            assert [get(f"{main}{path}"), get(f"{admin}{path}"), get(f"{admin}{path}", "")] == [404, 200, 401]
        assert ask(f"{main}/admin/reload", headers={"x-api-key": TOKEN}).status == 404
        assert ask(f"{admin}/admin/reload", headers={"x-api-key": TOKEN}).status == 200
        assert [get(f"{url}/metrics") for url in (main, admin)] == [200, 200]
        assert [get(f"{url}/healthz", "") for url in (main, admin)] == [200, 200]
        made = ask(f"{admin}/admin/keys", b"{}", {"x-api-key": TOKEN}).json
        assert get(f"{main}/v1/models", made["key"]) == 200
        assert get(f"{admin}/v1/models", made["key"]) == 404
        assert "/admin/" not in ask(f"{main}/", method="GET").body.decode()
        process.rewrite(json.dumps(config(tmp_path / "keys.db") | {"keys": {"k": {"secret": TOKEN + "2"}}}))
        eventually(lambda: get(f"{admin}/metrics", TOKEN + "2") == 403, "the key of the new configuration")
        process.popen.terminate()
        assert process.wait() == 0


def test_with_several_workers_it_leaves_their_port_too() -> None:
    with serve(json.dumps(config(None)), args=("--workers", "2")) as process:
        headers = {"x-api-key": TOKEN}
        assert ask(f"{process.url}/admin/reload", headers=headers).status == 404
        assert ask(f"{admin_url(process)}/admin/reload", headers=headers).status == 200


def test_beyond_this_machine_it_needs_keys_at_the_start_and_after_a_reload(tmp_path: Path) -> None:
    opened = config(None, host="0.0.0.0")
    with (
        pytest.raises(AssertionError, match=r"admin\.host: .*write auth: {mode: none}"),
        serve(json.dumps(opened)),
    ):
        pass
    keyed = opened | {"keys": {"k": {"secret": TOKEN + "2"}}}
    with serve(json.dumps(keyed)) as process:
        assert get(f"{admin_url(process)}/metrics", "") == 401
        process.rewrite(json.dumps(opened))
        process.wait_for_log("the configuration stays as it was")
        assert get(f"{admin_url(process)}/metrics", "") == 401


def test_without_apart_there_is_one_port(tmp_path: Path) -> None:
    with serve(json.dumps(config(tmp_path / "keys.db", apart=False))) as process:
        assert "the admin port" not in process.log()
        assert [get(f"{process.url}{path}") for path in PATHS] == [200, 200, 200]
