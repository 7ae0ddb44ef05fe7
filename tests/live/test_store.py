"""A gateway with keys from a store: who is let in, what a change does at once, reloads, readiness, and the store away."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from serving import Answer, Process, ask, eventually, serve

from tidegate.access.keys import Peppers, new_id, new_text
from tidegate.config import LocalStoreConfig
from tidegate.stores.local import LocalStore
from tidegate.types import Caller, Key, Secret, Tenant

PEPPER = "the pepper of these tests"
TOKEN = "the-token-of-the-administrator"


def config(store: Path | None, *, stores: Any = None, **sections: Any) -> str:
    tree = {
        "server": {"port": 0, "drain_grace_s": 0},
        "admin": {"token": TOKEN, "port": 0},
        "auth": {"pepper": PEPPER},
        "engines": {"e": {"kind": "scripted"}},
        "models": {"m": {"deployments": [{"engine": "e"}]}, "other": {"deployments": [{"engine": "e"}]}},
        "stores": {"main": {"kind": "local", "path": str(store)}} if stores is None else stores,
        **sections,
    }
    return json.dumps(tree)


def within(path: Path, work: Any) -> Any:
    """Do something with the keys of a store, as another process would."""

    async def main() -> Any:
        store = LocalStore(LocalStoreConfig(kind="local", path=path))
        await store.start(time.time)
        try:
            return await work(store.keys())
        finally:
            await store.close()

    return asyncio.run(main())


def add(path: Path, *, pepper: str = PEPPER, scopes: tuple[str, ...] = ("inference",), **more: Any) -> str:
    """Put a key into a store, and return its text."""
    text = new_text(new_id())
    digest = Peppers([pepper.encode()]).digest(text.text)
    key = Key(
        id=text.id, secrets=(Secret(digest),), caller=Caller(key=text.id, scopes=frozenset(scopes)), **more
    )
    assert within(path, lambda keys: keys.save(key, over=None, by="test"))
    return text.text


def change(path: Path, text: str, **more: Any) -> None:
    async def work(keys: Any) -> bool:
        key = await keys.find(text[3:13])
        changed = msgspec.structs.replace(key, version=key.version + 1, **more)
        return await keys.save(changed, over=key.version, by="test")

    assert within(path, work)


def models(process: Process, key: str | None = None) -> Answer:
    headers = {"x-api-key": key} if key else {}
    return ask(f"{process.url}/v1/models", method="GET", headers=headers)


def names(answer: Answer) -> list[str]:
    return sorted(one["id"] for one in answer.json["data"])


def ready(process: Process, key: str | None = None) -> Answer:
    return ask(f"{process.url}/readyz", method="GET", headers={"x-api-key": key} if key else {})


def without_queue(details: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if name != "queue"}


def tidegate(tmp_path: Path, text: str, *command: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "tidegate.yaml"
    path.write_text(text)
    whole = [sys.executable, "-m", "tidegate", *command, "--config", str(path)]
    return subprocess.run(whole, capture_output=True, text=True, check=False, timeout=50)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.db"


def test_an_empty_store_closes_the_gateway_and_counts_as_keys_beyond_this_machine(path: Path) -> None:
    with serve(config(path), args=("--host", "0.0.0.0")) as process:
        process.url = f"http://127.0.0.1:{process.url.rpartition(':')[2]}"
        assert "only callers with a key are served" in process.log()
        assert models(process).status == 401
        assert models(process, new_text(new_id()).text).status == 401
        assert path.stat().st_mode & 0o777 == 0o600


def test_keys_made_changed_and_revoked_by_others_are_seen_at_once(path: Path) -> None:
    policies = {"narrow": {"models": ["m"]}}
    with serve(config(path, policies=policies)) as process:
        text, revoked = add(path), add(path, revoked_at=1.0)
        eventually(lambda: models(process, text).status == 200, "the new key")
        assert names(models(process, text)) == ["m", "other"]
        assert models(process, revoked).error == models(process).error | {
            "message": "The API key is not valid"
        }
        change(path, text, policy="narrow")
        eventually(lambda: names(models(process, text)) == ["m"], "the changed policy")
        change(path, text, policy="gone")
        eventually(lambda: models(process, text).status == 403, "a policy that is not there")
        change(path, text, revoked_at=time.time())
        eventually(lambda: models(process, text).status == 401, "the revoked key")
        assert f"the key '{revoked[3:13]}' was refused: it is revoked" in process.log()
        assert all(secret not in process.log() for secret in (text[14:-1], revoked[14:-1], PEPPER))


def test_the_policy_of_a_tenant_in_the_store_holds(path: Path) -> None:
    with serve(config(path, policies={"narrow": {"models": ["other"]}})) as process:
        text = add(path)
        change(path, text, caller=Caller(text[3:13], "", "blue", "acme", frozenset({"inference"})))
        eventually(lambda: models(process, text).status == 200, "the new key")
        within(path, lambda keys: keys.set_tenant(Tenant("acme", policy="narrow"), by="test"))
        eventually(lambda: names(models(process, text)) == ["other"], "the policy of the organisation")


def test_a_reload_keeps_an_unchanged_store_and_changes_what_it_changes(path: Path, tmp_path: Path) -> None:
    text, other = add(path), tmp_path / "other.db"
    elsewhere = add(other)
    configured = "the-secret-of-a-configured-key"
    with serve(config(path)) as process:
        assert [models(process, key).status for key in (text, elsewhere, configured)] == [200, 401, 401]
        process.rewrite(
            config(path, keys={"c": {"secret": configured}}, auth={"pepper": PEPPER, "max_stale_s": 5})
        )
        eventually(lambda: models(process, configured).status == 200, "the configured key")
        assert models(process, text).status == 200
        process.rewrite(config(other, keys={"c": {"secret": configured}}))
        eventually(lambda: models(process, elsewhere).status == 200, "the other store")
        assert [models(process, key).status for key in (text, configured)] == [401, 200]
        # The new store is followed as the first one was.
        change(other, elsewhere, revoked_at=1.0)
        eventually(lambda: models(process, elsewhere).status == 401, "the revoked key of the other store")
        process.rewrite(config(tmp_path / "absent" / "x.db"))
        process.wait_for_log("the configuration stays as it was")
        assert "stores.main: " in process.log()
        assert models(process, configured).status == 200


def test_a_pepper_is_replaced_in_three_steps_without_an_outage(path: Path) -> None:
    old, new = PEPPER, "the next pepper of these tests"
    before, after = add(path), add(path, pepper=new)
    with serve(config(path)) as process:
        assert [models(process, key).status for key in (before, after)] == [200, 401]
        process.rewrite(config(path, auth={"pepper": [new, old]}))
        eventually(lambda: models(process, after).status == 200, "both peppers")
        assert models(process, before).status == 200
        process.rewrite(config(path, auth={"pepper": new}))
        eventually(lambda: models(process, before).status == 401, "the new pepper alone")
        assert models(process, after).status == 200
        assert old not in process.log()
        assert new not in process.log()


def test_last_use_is_written_at_the_end(path: Path) -> None:
    text = add(path)
    with serve(config(path)) as process:
        assert models(process, text).status == 200
    key = within(path, lambda keys: keys.find(text[3:13]))
    assert key.used_at == pytest.approx(time.time(), abs=300)


def test_readiness_has_the_store_and_strangers_see_the_state_alone(path: Path) -> None:
    text = add(path)
    with serve(config(path)) as process:
        assert ready(process).json == {"status": "ready"}
        details = {"engines": {"e": "ready"}, "stores": {"main": "ready"}}
        assert without_queue(ready(process, TOKEN).json) == {"status": "ready", **details}
        assert (
            'tidegate_store_ready{store="main"} 1.0'
            in ask(f"{process.url}/metrics", method="GET", headers={"x-api-key": TOKEN}).body.decode()
        )
        assert models(process, text).status == 200
        moved = path.with_suffix(".moved")
        path.rename(moved)
        eventually(lambda: ready(process).status == 503, "a store that is gone")
        assert ready(process).json == {"status": "not ready"}
        assert ready(process, TOKEN).json["stores"] == {"main": "not ready"}
        moved.rename(path)
        eventually(lambda: ready(process).status == 200, "the store again")


@pytest.mark.parametrize("max_stale_s", [600, 0])
def test_with_the_store_away_known_keys_stay_valid_and_others_get_503(path: Path, max_stale_s: float) -> None:
    known, other = add(path), add(path)
    with serve(config(path, auth={"pepper": PEPPER, "max_stale_s": max_stale_s})) as process:
        # A key that is looked up while the gateway begins to listen to the store is not kept, so it is looked up twice.
        assert [models(process, known).status for _ in range(2)] == [200, 200]
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("ALTER TABLE keys RENAME TO keys_away")
        connection.execute("ALTER TABLE log RENAME TO log_away")
        connection.close()
        process.wait_for_log("the key store does not tell its changes")
        assert models(process, other).status == 503
        assert models(process, new_text(new_id()).text).status == 503
        assert models(process, known).status == (200 if max_stale_s else 503)
        assert models(process, TOKEN).status == 403  # a key of the configuration needs no store
        for method, wanted in (("GET", None), ("POST", b"{}")):
            answer = ask(f"{process.url}/admin/keys", wanted, {"x-api-key": TOKEN}, method=method)
            assert (answer.status, answer.error["code"]) == (503, "overloaded")
            assert "retry-after" in answer.headers


def test_several_workers_refuse_a_store(path: Path, tmp_path: Path) -> None:
    done = tidegate(tmp_path, config(path), "serve", "--workers", "2")
    assert done.returncode == 2
    assert "stores.main: serves one process: start without --workers" in done.stderr
    assert not path.exists()
    with serve(config(None, stores={}), args=("--workers", "2")) as process:
        process.rewrite(config(path))
        process.wait_for_log("stores.main: serves one process")


@pytest.mark.parametrize(
    ("sections", "path_and_words"),
    [
        ({"auth": {}}, "auth.pepper: is missing: the keys in a store are digested with it"),
        ({"auth": {"mode": "none", "pepper": PEPPER}}, "auth.mode: none lets everybody in"),
        ({"auth": {"pepper": []}}, "auth.pepper: is empty"),
        ({"auth": {"pepper": [PEPPER, "short"]}}, "auth.pepper: must have at least 16 characters"),
        ({"auth": {"pepper": [PEPPER, PEPPER]}}, "auth.pepper: has the same pepper twice"),
        ({"auth": {"pepper": [PEPPER, 7]}}, "auth.pepper[1]: must be text: write it in quotes"),
        ({"stores": {"a": {"path": "x.db"}}}, "stores.a.kind: is missing; one of: local"),
        ({"stores": {"a": {"kind": "local"}}}, "stores.a.path: is missing"),
        ({"stores": {"a": {"kind": "local", "path": ""}}}, "stores.a.path: is empty"),
        ({"stores": {"a": {"kind": "redis", "path": "x"}}}, "stores.a.kind: there is no kind 'redis'"),
        (
            {"stores": {"a": {"kind": "local", "paht": "x"}}},
            "stores.a.paht: is not a setting; did you mean 'path'?",
        ),
        (
            {"stores": {name: {"kind": "local", "path": name} for name in "ab"}},
            "stores: has 2 stores, and keys are kept in one",
        ),
    ],
)
def test_what_is_wrong_with_a_store_is_told_by_its_path(
    tmp_path: Path, sections: dict[str, Any], path_and_words: str
) -> None:
    done = tidegate(tmp_path, config(tmp_path / "x.db", **sections), "check")
    assert done.returncode == 2
    assert path_and_words in done.stderr
    assert PEPPER not in done.stdout + done.stderr


@pytest.mark.parametrize("content", [b"no database at all, but a text of some length" * 30, None])
def test_a_file_that_is_no_store_keeps_the_gateway_from_starting(
    tmp_path: Path, content: bytes | None
) -> None:
    wrong = tmp_path / "wrong.db"
    wrong.mkdir() if content is None else wrong.write_bytes(content)
    done = tidegate(tmp_path, config(wrong), "serve")
    assert done.returncode == 2
    assert "stores.main: " in done.stderr
    assert str(wrong) in done.stderr


def test_without_a_store_nothing_changes() -> None:
    tree = json.loads(config(None, stores={}))
    del tree["admin"]
    del tree["auth"]
    with serve(json.dumps(tree)) as process:
        assert models(process).status == 200
        assert without_queue(ready(process).json) == {"status": "ready", "engines": {"e": "ready"}}
