"""A gateway with keys: every route, every way not to have the key for it, evil hosts and paths. Nothing is answered."""

from __future__ import annotations

import base64
import json
import logging
import secrets
from collections.abc import Iterator

import pytest
from edge.tricks import EVIL_HOSTS, ask, tricks
from serving import Running, eventually, run_gateway
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from talking import SCRIPT

from tidegate.engines.scripted.server import ScriptedServer, run_in_thread
from tidegate.http.access import NEEDS, guarded
from tidegate.policy import DEFAULT, Policies, Policy
from tidegate.stages.authenticate import OPEN, Authenticate

GUARDED = {
    ("GET", "/metrics"): "metrics",
    ("GET", "/v1/models"): "inference",
    ("GET", "/v1/models/m"): "inference",
    ("GET", "/openapi.json"): "inference",
    ("POST", "/v1/chat/completions"): "inference",
    ("POST", "/v1/completions"): "inference",
    ("POST", "/v1/embeddings"): "inference",
    ("POST", "/admin/reload"): "admin:write",
    ("GET", "/admin/usage"): "admin:read",
}
OPEN_ROUTES = ("/", "/health", "/healthz", "/readyz")
SCOPES = ("inference", "admin:read", "admin:write", "metrics")
# A canary for each key: none may ever be seen again.
KEYS = {name: f"canary-{name}-{secrets.token_hex(16)}" for name in (*SCOPES, "expired", "unknown", "other")}
KEYS["admin.token"] = f"canary-admin-{secrets.token_hex(16)}"


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=SCRIPT)) as engine:
        yield engine


@pytest.fixture(scope="module")
def gateway(engine: ScriptedServer) -> Iterator[Running]:
    keys = {scope: {"secret": KEYS[scope], "scopes": [scope]} for scope in SCOPES}
    keys["expired"] = {"secret": KEYS["expired"], "scopes": [*SCOPES], "expires_at": "2020-01-01T00:00:00Z"}
    keys["other"] = {"secret": KEYS["other"], "scopes": [*SCOPES]}
    tree = {
        "server": {"port": 0},
        "admin": {"token": KEYS["admin.token"]},
        "keys": keys,
        "engines": {"upstream": {"kind": "openai", "url": engine.base_url}},
        "models": {"*": {"deployments": [{"engine": "upstream"}]}},
    }
    with run_gateway(json.dumps(tree)) as gateway:
        eventually(lambda: ask(gateway, "GET", "/readyz")[0] == 200, "the first probe")
        yield gateway


def bearer(name: str) -> str:
    return f"authorization: Bearer {KEYS[name]}"


def without_the_key(scope: str) -> dict[str, list[str]]:
    """Every way to ask without the right key: its name, and the lines of the head."""
    good = KEYS[scope]
    wrong = {f"the scope {other}": [bearer(other)] for other in SCOPES if other != scope}
    return wrong | {
        "no key": [],
        "an empty key": ["authorization: Bearer ", "x-api-key:"],
        "an unknown key": [bearer("unknown")],
        "an expired key": [bearer("expired")],
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
        "two keys in other headers": [f"api-key: {KEYS['other']}", f"x-api-key: {good}"],
        "a bad key beside a good one": [f"authorization: Bearer {good}", f"x-api-key: {KEYS['unknown']}"],
        "the same header twice": [f"x-api-key: {KEYS['unknown']}", f"x-api-key: {good}"],
        "authorization twice": [bearer("unknown"), f"authorization: Bearer {good}"],
    }


def test_the_table_is_what_is_served_and_what_is_tested() -> None:
    tested = {
        path if path != "/v1/models/m" else "/v1/models/{model:path}": scope
        for (_, path), scope in GUARDED.items()
    }
    assert dict(NEEDS) == tested | dict.fromkeys(OPEN_ROUTES, OPEN)


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_a_route_answers_only_the_key_that_has_its_scope(gateway: Running, method: str, path: str) -> None:
    scope = GUARDED[method, path]
    for name, lines in without_the_key(scope).items():
        status, answer = ask(gateway, method, path, *lines)
        assert status in (400, 401, 403), name
        assert (status == 403) == (name.startswith("the scope")), name
        assert (status == 400) == name.endswith("twice"), name
        assert b"canary" not in answer
    for line in (
        f"authorization: Bearer {KEYS[scope]}",
        f"x-api-key: {KEYS[scope]}",
        f"api-key: {KEYS[scope]}",
    ):
        status, _ = ask(gateway, method, path, line)
        # No body that these endpoints understand, and no file to reload: both are past the guard.
        assert status == {"/v1/completions": 400, "/v1/embeddings": 400, "/admin/reload": 422}.get(path, 200)


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_no_disguise_and_no_host_leads_past_the_guard(gateway: Running, method: str, path: str) -> None:
    ways = without_the_key(GUARDED[method, path])
    some = {"no key", "an unknown key", "an expired key", "two keys", "the wrong header"}
    for target in [path, f"{path}?api_key={KEYS['other']}", f"http://g{path}", *dict.fromkeys(tricks(path))]:
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
def test_no_method_leads_past_the_guard(gateway: Running, method: str, path: str) -> None:
    for override in ("x-http-method-override: GET", "x-http-method-override: POST"):
        assert ask(gateway, method, path, override)[0] in (400, 401, 405, 501)


def test_open_routes_answer_everybody_and_tell_the_state_only(gateway: Running) -> None:
    for path in OPEN_ROUTES:
        for lines in (
            [],
            [bearer("unknown")],
            [bearer("expired")],
            [bearer("inference")],
            ["authorization: x"],
        ):
            status, answer = ask(gateway, "GET", path, *lines)
            assert status == 200
            assert b"upstream" not in answer
    told = json.loads(ask(gateway, "GET", "/readyz")[1].partition(b"\r\n\r\n")[2])
    assert told == {"status": "ready"}
    for name in ("admin:read", "admin.token"):
        status, answer = ask(gateway, "GET", "/readyz", bearer(name))
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {
            "status": "ready",
            "engines": {"upstream": "ready"},
        }


def test_the_admin_token_is_a_key_with_the_admin_scopes(gateway: Running) -> None:
    statuses = {path: ask(gateway, method, path, bearer("admin.token"))[0] for method, path in GUARDED}
    assert statuses.pop("/metrics") == 200
    assert statuses.pop("/admin/reload") == 422
    assert statuses.pop("/admin/usage") == 200
    assert set(statuses.values()) == {403}


def test_a_refused_call_is_counted_and_no_engine_sees_it(gateway: Running, engine: ScriptedServer) -> None:
    before = engine.record.figures().requests
    status, answer = ask(gateway, "POST", "/v1/chat/completions", bearer("unknown"))
    assert status == 401
    assert b"www-authenticate: Bearer\r\n" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == {
        "message": "The API key is not valid",
        "type": "authentication_error",
        "code": "invalid_api_key",
        "param": None,
    }
    metrics = ask(gateway, "GET", "/metrics", bearer("metrics"))[1].decode()
    assert 'outcome="invalid_api_key"' in metrics
    assert engine.record.figures().requests == before


def test_no_canary_reaches_a_log_a_metric_or_an_error(
    gateway: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for (method, path), scope in GUARDED.items():
            for lines in [*without_the_key(scope).values(), [f"authorization: Bearer {KEYS[scope]}"]]:
                assert b"canary" not in ask(gateway, method, path, *lines)[1]
    assert "canary" not in caplog.text
    assert b"canary" not in ask(gateway, "GET", "/metrics", bearer("metrics"))[1]


def test_a_route_without_a_row_does_not_start() -> None:
    async def answer(_: Request) -> Response:
        return Response()

    gate = Authenticate(Policies({DEFAULT: Policy()}))
    for path in ("/v1/new", "/healthz/", "/Metrics", "/admin/reload/now", ""):
        route = Route("/" + path.removeprefix("/") + ("x" if not path else ""), answer)
        with pytest.raises(LookupError, match="has no row"):
            guarded([route], lambda: gate)
