"""No way round the route table: whatever is tried with targets and hosts, only what is listed answers 2xx."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from edge.tricks import EVIL_HOSTS, ask, tricks
from serving import Running, config_to, eventually, run_gateway, wire
from talking import SCRIPT

from tidegate.engines.scripted.server import ScriptedServer, run_in_thread

ROUTES = {
    ("GET", "/healthz"): 200,
    ("GET", "/health"): 200,
    ("GET", "/readyz"): 200,
    ("GET", "/metrics"): 200,
    ("GET", "/v1/models"): 200,
    ("GET", "/v1/models/m"): 200,
    ("POST", "/v1/chat/completions"): 200,
    ("POST", "/admin/reload"): 401,
}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Running]:
    with run_in_thread(ScriptedServer(script=SCRIPT)) as engine:
        text = config_to(engine.base_url)[:-1] + ', "admin": {"token": "the-admin-token"}}'
        with run_gateway(text) as gateway:
            eventually(lambda: ask(gateway, "GET", "/readyz")[0] == 200, "the first probe")
            yield gateway


def test_the_routes_answer(gateway: Running) -> None:
    for (method, path), status in ROUTES.items():
        assert ask(gateway, method, path)[0] == status
        assert ask(gateway, method, f"{path}?a=b")[0] == status
        assert ask(gateway, method, f"http://g{path}")[0] == status


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_disguise_of_a_path_is_that_path(gateway: Running, method: str, path: str) -> None:
    for target in {trick: None for trick in tricks(path) if trick != path}:
        status, answer = ask(gateway, method, target)
        # What is under /v1/models/ is the name of a model, which may look like anything; "*" is configured.
        named = method == "GET" and target.startswith("/v1/models/") and b'"object":"model"' in answer
        page = target.startswith("/?") and b"<h1>Tidegate" in answer
        assert named or page or status == 0 or 400 <= status < 500, target
        assert status != 401, f"{target} reached the admin API"


@pytest.mark.parametrize("host", EVIL_HOSTS)
def test_no_host_changes_who_answers(gateway: Running, host: str) -> None:
    """Neither in `Host` nor in what proxies put beside it."""
    for (method, path), status in ROUTES.items():
        told, _ = ask(gateway, method, path, host=host)
        probe = path in {"/healthz", "/health", "/readyz"} and "/" not in host
        assert told == (status if probe else 400 if "/" in host else 421)
        for name in (
            "x-forwarded-host",
            "x-original-url",
            "x-rewrite-url",
            "x-forwarded-prefix",
            "forwarded",
        ):
            assert ask(gateway, "GET", "/nothing", f"{name}: {path}")[0] == 404
            assert ask(gateway, method, path, f"{name}: {host}")[0] == status


def test_the_admin_api_wants_its_token_however_it_is_asked(gateway: Running) -> None:
    methods = ("GET", "POST", "PUT", "HEAD", "OPTIONS", "PATCH")
    overrides = (
        "x-http-method-override: POST",
        "x-http-method: POST",
        "authorization: Basic eDp5",
        "cookie: a=b",
    )
    for method, line in itertools.product(methods, overrides):
        status, _ = ask(gateway, method, "/admin/reload", line)
        assert status == (401 if method == "POST" else 405)


def test_a_trailer_is_no_header(gateway: Running) -> None:
    head = "POST /admin/reload HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    with wire(gateway.url) as client:
        client.send(head.encode() + b"0\r\nauthorization: Bearer the-admin-token\r\n\r\n")
        assert client.read_head()[0] == 401
