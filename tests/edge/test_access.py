"""A gateway with keys: every route, every way not to have the key for it, evil hosts and paths. Nothing is answered.

All of it is tried with the keys of a configuration and with those of a store.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from edge.tricks import EVIL_HOSTS, ask, tricks
from serving import Running, eventually, run_gateway
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from talking import SCRIPT

from tidegate.access.keys import Peppers, id_of, new_id, new_text
from tidegate.config import LocalStoreConfig
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread
from tidegate.http.access import NEEDS, guarded, needed
from tidegate.policy import DEFAULT, Policies, Policy
from tidegate.stages.authenticate import OPEN, Authenticate
from tidegate.stores.local import LocalStore
from tidegate.types import Caller, Key, Secret

GUARDED = {
    ("GET", "/metrics"): "metrics",
    ("GET", "/v1/models"): "inference",
    ("GET", "/v1/models/m"): "inference",
    ("GET", "/openapi.json"): "inference",
    ("POST", "/v1/chat/completions"): "inference",
    ("POST", "/v1/completions"): "inference",
    ("POST", "/v1/embeddings"): "inference",
    ("POST", "/v1/checks"): "checks",
    ("POST", "/v1/moderations"): "inference",
    ("POST", "/admin/reload"): "admin:write",
    ("GET", "/admin/usage"): "admin:read",
    ("GET", "/admin/queue"): "admin:read",
    ("GET", "/admin/keys"): "admin:read",
    ("POST", "/admin/keys"): "admin:write",
    ("GET", "/admin/keys/0123456789"): "admin:read",
    ("POST", "/admin/keys/0123456789/rotate"): "admin:write",
    ("POST", "/admin/keys/0123456789/revoke"): "admin:write",
    ("GET", "/admin/tenants"): "admin:read",
    ("POST", "/admin/tenants"): "admin:write",
    ("GET", "/admin/log"): "admin:read",
    ("GET", "/admin/reviews"): "review",
    ("GET", "/admin/reviews/export"): "review",
    ("GET", "/admin/reviews/0123456789"): "review",
    ("POST", "/admin/reviews/0123456789/decision"): "review",
}
# What those answer to the right key that get no body they understand, have no file to reload, or name no key.
PAST_THE_GUARD = {
    ("POST", "/v1/completions"): {400},
    ("POST", "/v1/embeddings"): {400},
    ("POST", "/v1/checks"): {400},
    ("POST", "/v1/moderations"): {400},
    ("POST", "/admin/reload"): {422},
    ("POST", "/admin/keys"): {400},
    ("POST", "/admin/tenants"): {400},
    ("GET", "/admin/keys/0123456789"): {404},
    ("POST", "/admin/keys/0123456789/rotate"): {400},
    ("POST", "/admin/keys/0123456789/revoke"): {404},
    ("GET", "/admin/reviews"): {409},
    ("GET", "/admin/reviews/export"): {409},
    ("GET", "/admin/reviews/0123456789"): {409},
    ("POST", "/admin/reviews/0123456789/decision"): {400},
}
OPEN_ROUTES = ("/", "/health", "/healthz", "/readyz")
SCOPES = ("inference", "checks", "admin:read", "admin:write", "review", "metrics")
# A canary for each key: none may ever be seen again.
NAMES = (*SCOPES, "expired", "revoked", "unknown", "other")
CONFIGURED = {name: f"canary-{name}-{secrets.token_hex(16)}" for name in NAMES}
# A key of a store has no word in it. What follows its id is as good a mark.
STORED = {name: new_text(new_id()).text for name in NAMES}
TOKEN = f"canary-admin-{secrets.token_hex(16)}"
PEPPER = f"canary-pepper-{secrets.token_hex(16)}"


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=SCRIPT)) as engine:
        yield engine


@dataclass
class Guarded:
    """A gateway with keys of one kind, and `admin.token`."""

    running: Running
    keys: dict[str, str]

    @property
    def url(self) -> str:
        return self.running.url

    def bearer(self, name: str) -> str:
        return f"authorization: Bearer {self.keys[name]}"

    def marks(self) -> list[bytes]:
        """What may never be seen."""
        return [b"canary", *(key[14:-1].encode() for key in self.keys.values())]


def tree(engine: ScriptedServer, **sections: Any) -> str:
    return json.dumps(
        {
            "server": {"port": 0},
            "admin": {"token": TOKEN},
            "auth": {"pepper": PEPPER},
            "engines": {"upstream": {"kind": "openai", "url": engine.base_url}},
            "models": {"*": {"deployments": [{"engine": "upstream"}]}},
            **sections,
        }
    )


def configured() -> dict[str, Any]:
    keys: dict[str, Any] = {scope: {"secret": CONFIGURED[scope], "scopes": [scope]} for scope in SCOPES}
    # A configured key is revoked by leaving it out.
    keys["expired"] = {
        "secret": CONFIGURED["expired"],
        "scopes": SCOPES,
        "expires_at": "2020-01-01T00:00:00Z",
    }
    keys["other"] = {"secret": CONFIGURED["other"], "scopes": SCOPES}
    return keys


def fill(path: Path) -> None:
    """Put the keys into a new store."""
    peppers = Peppers([PEPPER.encode()])

    def key(name: str) -> Key:
        scopes = frozenset([name] if name in SCOPES else SCOPES)
        made = id_of(STORED[name])
        ended = {"expires_at": 1.0} if name == "expired" else {"revoked_at": 1.0} if name == "revoked" else {}
        secret = Secret(peppers.digest(STORED[name]))
        return Key(id=made, secrets=(secret,), caller=Caller(key=made, scopes=scopes), **ended)

    async def main() -> None:
        store = LocalStore(LocalStoreConfig(kind="local", path=path))
        await store.start(time.time)
        for name in set(NAMES) - {"unknown"}:
            assert await store.keys().save(key(name), over=None, by="the test")
        await store.close()

    asyncio.run(main())


@pytest.fixture(scope="module", params=["configured", "stored"])
def gateway(
    engine: ScriptedServer, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    path = tmp_path_factory.mktemp("store") / "keys.db"
    if request.param == "stored":
        fill(path)
    stores = {"stores": {"main": {"kind": "local", "path": str(path)}}}
    sections = stores if request.param == "stored" else stores | {"keys": configured()}
    keys = STORED if request.param == "stored" else CONFIGURED
    with run_gateway(tree(engine, **sections)) as running:
        eventually(lambda: ask(running, "GET", "/readyz")[0] == 200, "the first probe")
        yield Guarded(running, {**keys, "admin.token": TOKEN})


def without_the_key(gateway: Guarded, scope: str) -> dict[str, list[str]]:
    """Every way to ask without the right key: its name, and the lines of the head."""
    keys, bearer = gateway.keys, gateway.bearer
    good = keys[scope]
    wrong = {f"the scope {other}": [bearer(other)] for other in SCOPES if other != scope}
    return wrong | {
        "no key": [],
        "an empty key": ["authorization: Bearer ", "x-api-key:"],
        "an unknown key": [bearer("unknown")],
        "an expired key": [bearer("expired")],
        "a revoked key": [bearer("revoked")],
        "a cut key": [f"authorization: Bearer {good[:-1]}"],
        "a longer key": [f"authorization: Bearer {good}x"],
        "a name for a key": [f"authorization: Bearer {scope}"],
        "no scheme": [f"authorization: {good}"],
        "another scheme": ["authorization: Basic " + base64.b64encode(f"{good}:{good}".encode()).decode()],
        "the wrong header": [
            f"x-key: {good}",
            f"proxy-authorization: Bearer {good}",
            f"cookie: api-key={good}",
        ],
        "a header of another name": [f"x-authorization: Bearer {good}", f"apikey: {good}"],
        "two keys": [bearer("other"), f"x-api-key: {good}"],
        "two keys in other headers": [f"api-key: {keys['other']}", f"x-api-key: {good}"],
        "a bad key beside a good one": [f"authorization: Bearer {good}", f"x-api-key: {keys['unknown']}"],
        "the same header twice": [f"x-api-key: {keys['unknown']}", f"x-api-key: {good}"],
        "authorization twice": [bearer("unknown"), f"authorization: Bearer {good}"],
    }


def test_the_table_is_what_is_served_and_what_is_tested() -> None:
    tested = {
        (method, path.replace("/models/m", "/models/{model:path}").replace("0123456789", "{id}")): scope
        for (method, path), scope in GUARDED.items()
    }
    assert {(method, path): needed(path, method) for method, path in tested} == tested
    rows = {row.split()[-1] for row in NEEDS}
    assert rows == {path for _, path in tested} | set(OPEN_ROUTES)
    assert {needed(path, "GET") for path in OPEN_ROUTES} == {OPEN}


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_a_route_answers_only_the_key_that_has_its_scope(gateway: Guarded, method: str, path: str) -> None:
    scope = GUARDED[method, path]
    for name, lines in without_the_key(gateway, scope).items():
        status, answer = ask(gateway, method, path, *lines)
        assert status in (400, 401, 403), name
        assert (status == 403) == (name.startswith("the scope")), name
        assert (status == 400) == name.endswith("twice"), name
        assert [mark for mark in gateway.marks() if mark in answer] == []
    for line in (
        f"authorization: Bearer {gateway.keys[scope]}",
        f"x-api-key: {gateway.keys[scope]}",
        f"api-key: {gateway.keys[scope]}",
    ):
        status, _ = ask(gateway, method, path, line)
        assert status in PAST_THE_GUARD.get((method, path), {200})


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_no_disguise_and_no_host_leads_past_the_guard(gateway: Guarded, method: str, path: str) -> None:
    ways = without_the_key(gateway, GUARDED[method, path])
    some = {"no key", "an unknown key", "an expired key", "a revoked key", "two keys", "the wrong header"}
    for target in [
        path,
        f"{path}?api_key={gateway.keys['other']}",
        f"http://g{path}",
        *dict.fromkeys(tricks(path)),
    ]:
        for name in some:
            status, answer = ask(gateway, method, target, *ways[name])
            page = target.startswith("/?") and b"<h1>Tidegate" in answer
            assert page or status == 0 or 400 <= status < 500, (target, name)
    for host in EVIL_HOSTS:
        for name, lines in ways.items():
            assert 400 <= ask(gateway, method, path, *lines, host=host)[0] < 500, (host, name)
        for header in ("x-forwarded-host", "x-original-url", "x-rewrite-url", "forwarded", "x-forwarded-for"):
            assert ask(gateway, method, path, f"{header}: {host}")[0] in (400, 401), (host, header)


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get"]
)
@pytest.mark.parametrize("path", sorted({path for _, path in GUARDED}))
def test_no_method_leads_past_the_guard(gateway: Guarded, method: str, path: str) -> None:
    for override in ("x-http-method-override: GET", "x-http-method-override: POST"):
        assert ask(gateway, method, path, override)[0] in (400, 401, 405, 501)


def test_open_routes_answer_everybody_and_tell_the_state_only(gateway: Guarded) -> None:
    for path in OPEN_ROUTES:
        for lines in (
            [],
            [gateway.bearer("unknown")],
            [gateway.bearer("expired")],
            [gateway.bearer("revoked")],
            [gateway.bearer("inference")],
            ["authorization: x"],
        ):
            status, answer = ask(gateway, "GET", path, *lines)
            assert status == 200
            assert b"upstream" not in answer
    told = json.loads(ask(gateway, "GET", "/readyz")[1].partition(b"\r\n\r\n")[2])
    assert told == {"status": "ready"}
    for name in ("admin:read", "admin.token"):
        status, answer = ask(gateway, "GET", "/readyz", gateway.bearer(name))
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {
            "status": "ready",
            "engines": {"upstream": "ready"},
            "stores": {"main": "ready"},
            "queue": {"state": "healthy", "utilization": 0, "size": 0, "max_size": 1000, "rejected": 0},
        }


def test_the_admin_token_is_a_key_with_the_admin_scopes(gateway: Guarded) -> None:
    for (method, path), scope in GUARDED.items():
        status = ask(gateway, method, path, gateway.bearer("admin.token"))[0]
        assert status in (
            {403} if scope in ("inference", "checks") else PAST_THE_GUARD.get((method, path), {200})
        )


def test_a_refused_call_is_counted_and_no_engine_sees_it(gateway: Guarded, engine: ScriptedServer) -> None:
    before = engine.record.figures().requests
    status, answer = ask(gateway, "POST", "/v1/chat/completions", gateway.bearer("unknown"))
    assert status == 401
    assert b"www-authenticate: Bearer\r\n" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == {
        "message": "The API key is not valid",
        "type": "authentication_error",
        "code": "invalid_api_key",
        "param": None,
    }
    metrics = ask(gateway, "GET", "/metrics", gateway.bearer("metrics"))[1].decode()
    assert 'outcome="invalid_api_key"' in metrics
    assert engine.record.figures().requests == before


def test_no_canary_reaches_a_log_a_metric_or_an_error(
    gateway: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    told = b""
    with caplog.at_level(logging.DEBUG):
        for (method, path), scope in GUARDED.items():
            for lines in [*without_the_key(gateway, scope).values(), [gateway.bearer(scope)]]:
                told += ask(gateway, method, path, *lines)[1]
        told += ask(gateway, "GET", "/metrics", gateway.bearer("metrics"))[1]
    told += caplog.text.encode()
    assert [mark for mark in gateway.marks() if mark in told] == []


@pytest.mark.parametrize("name", ["expired", "revoked", "unknown"])
def test_a_client_does_not_learn_why_its_key_is_refused(gateway: Guarded, name: str) -> None:
    told = {
        ask(gateway, "GET", "/v1/models", line)[1].partition(b"\r\n\r\n")[2]
        for line in (gateway.bearer(name), "x-api-key: tg_0123456789_x", "x-api-key: anything")
    }
    assert len(told) == 1
    assert b"The API key is not valid" in told.pop()


@pytest.mark.parametrize("options", [[], ["--json"], ["--key", "other"], ["--key", "nobody"]], ids=" ".join)
def test_no_secret_is_in_what_check_prints(
    tmp_path: Path, engine: ScriptedServer, options: list[str]
) -> None:
    fill(tmp_path / "keys.db")
    stores = {"main": {"kind": "local", "path": str(tmp_path / "keys.db")}}
    many = {f"k{n}": {"secret": f"canary-{n}-{secrets.token_hex(16)}"} for n in range(50)}
    for more in ({"keys": configured() | many}, {}, {"keys": {"x": {"secret": "canary-short"}}}):
        path = tmp_path / "tidegate.yaml"
        path.write_text(tree(engine, stores=stores, **more))
        command = [sys.executable, "-m", "tidegate", "check", "--config", str(path), *options]
        done = subprocess.run(command, capture_output=True, check=False, timeout=50)
        told = done.stdout + done.stderr
        assert b"canary" not in told
        assert [key for key in STORED.values() if key[14:-1].encode() in told] == []


def test_a_route_without_a_row_does_not_start() -> None:
    async def answer(_: Request) -> Response:
        return Response()

    gate = Authenticate(Policies({DEFAULT: Policy()}))
    for path in ("/v1/new", "/healthz/", "/Metrics", "/admin/reload/now", ""):
        route = Route("/" + path.removeprefix("/") + ("x" if not path else ""), answer)
        with pytest.raises(LookupError, match="has no row"):
            guarded([route], lambda: gate)
