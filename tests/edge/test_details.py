"""Details of HTTP at the edge: what refusals carry, odd targets and methods, and help for clients that are nearly right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Answer, Running, ask, config_to, run_gateway, wire
from talking import CHAT, SCRIPT, chat

from tidegate.config import TlsConfig
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread
from tidegate.errors import BadRequest, Overloaded
from tidegate.http.edge.refusals import Refusals
from tidegate.http.edge.server import tls_context
from tidegate.http.hints import hint


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=SCRIPT)) as engine:
        yield engine


@pytest.fixture(scope="module")
def gateway(engine: ScriptedServer) -> Iterator[Running]:
    with run_gateway(config_to(engine.base_url)) as gateway:
        yield gateway


def raw(gateway: Running, data: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the first answer to these bytes."""
    with wire(gateway.url) as client:
        client.send(data.replace("\n", "\r\n").encode())
        status, headers = client.read_head()
        size = int(headers.get("content-length", "0"))
        return status, headers, client.read_exactly(size) if not data.startswith("HEAD") else client.data


# ----------------------------------------------------------------------------------------------------------------- refusals

REFUSED = {
    "no Host": "GET /v1/models HTTP/1.1\nx-request-id: mine\n\n",
    "not HTTP": "GET /v1/models HTTP/1.1\nx-request-id: mine\nhost: g\nbad header\n\n",
    "a strange host": "GET /v1/models HTTP/1.1\nhost: evil.example\nx-request-id: mine\n\n",
    "too many headers": "GET /v1/models HTTP/1.1\nhost: g\nx-request-id: mine\n" + "a: b\n" * 200 + "\n",
    "an unknown coding": "POST /v1/models HTTP/1.1\nhost: g\nx-request-id: mine\ntransfer-encoding: gzip\n\n",
    "a fragment": "GET /v1/models#a HTTP/1.1\nhost: g\nx-request-id: mine\n\n",
    "no route": "GET /nothing HTTP/1.1\nhost: g\nx-request-id: mine\n\n",
    "no such method": "PUT /v1/models HTTP/1.1\nhost: g\nx-request-id: mine\n\n",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_a_refusal_has_the_headers_of_every_reply(gateway: Running, data: str) -> None:
    status, headers, body = raw(gateway, data)
    assert status >= 400
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers["date"])
    assert headers["x-request-id"] == "mine"
    assert headers["server-timing"].startswith("total;dur=")
    assert headers["x-should-retry"] == "false"
    assert b'"code"' in body


def test_a_refused_head_request_gets_no_body(gateway: Running) -> None:
    status, headers, body = raw(gateway, "HEAD /v1/models HTTP/1.1\n\n")
    assert (status, body) == (400, b"")
    assert int(headers["content-length"]) > 0


def test_refusals_are_counted_by_code(engine: ScriptedServer) -> None:
    with run_gateway(config_to(engine.base_url)) as gateway:
        for data in REFUSED.values():
            raw(gateway, data)
        page = ask(f"{gateway.url}/metrics", method="GET").body.decode()
    counted = dict(re.findall(r'^tidegate_edge_refusals_total\{code="(\w+)"\} (\d+)', page, re.MULTILINE))
    assert counted == {
        "invalid_request": "3",
        "host_not_allowed": "1",
        "headers_too_large": "1",
        "not_found": "2",
        "method_not_allowed": "1",
    }


def test_many_refusals_are_one_line_a_second(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    refusals = Refusals(lambda: now[0])
    with caplog.at_level("INFO"):
        for number in range(1000):
            now[0] = number / 100
            refusals.add(BadRequest("Wrong"), ("1.2.3.4", 5))
        refusals.add(Overloaded("Full"), None)
    lines = [record.message for record in caplog.records]
    assert len(lines) == 10
    assert lines[0] == "refused a request from 1.2.3.4: invalid_request: Wrong"
    assert lines[1].endswith("Wrong (99 more since the last line)")


# ------------------------------------------------------------------------------------------------------ methods and targets


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_only_http_1_1_is_told_to_go_on(gateway: Running, version: str) -> None:
    body = chat()
    with wire(gateway.url) as client:
        lines = (f"POST /v1/{CHAT} HTTP/{version}", "host: g", "content-type: application/json")
        head = [*lines, "expect: 100-continue", f"content-length: {len(body)}", "", ""]
        client.send("\r\n".join(head).encode())
        if version == "1.1":
            assert client.read_head()[0] == 100
        client.send(body)
        assert client.read_head()[0] == 200


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("OPTIONS *", 204),
        ("GET *", 400),
        ("POST *", 400),
        ("OPTIONS *x", 400),
        ("OPTIONS /v1/models", 405),
        ("GET http://g", 200),
        ("GET http://g?a=b", 200),
        ("GET HTTP://g", 200),
        ("POST http://g", 405),
        ("GET http://g/v1/models", 200),
        ("GET http://g/nothing", 404),
        ("GET http://evil.example", 421),
        ("GET http://", 400),
        ("GET ftp://g", 400),
        ("CONNECT g:443", 501),
        ("CONNECT /v1/models", 501),
        ("BREW /v1/models", 501),
        ("PROPFIND /v1/models", 501),
        ("QUERY /v1/models", 405),
        ("LINK /nothing", 501),
        ("get /v1/models", 501),
        ("DELETE /v1/models", 405),
        ("GET /v1/models#", 404),
        ("GET /healthz#/v1/models", 404),
        ("GET /v1/models/a#b", 404),
        ("GET /v1/models?a=b#c", 404),
        ("GET /v1/mod%65ls", 404),
    ],
)
def test_odd_targets_and_methods_get_their_answer(gateway: Running, line: str, status: int) -> None:
    answered, headers, body = raw(gateway, f"{line} HTTP/1.1\nhost: g\n\n")
    assert answered == status
    assert "allow" in headers or answered not in (204, 405)
    assert b'"error"' in body or answered < 300


@pytest.mark.parametrize("method", [b"BREW", b"FOO", b"VERSION-CONTROLS"])
def test_an_unknown_method_is_known_by_its_beginning(gateway: Running, method: bytes) -> None:
    with wire(gateway.url) as client:
        client.send(method[:3])
        assert client.read_head()[0] == 501


# --------------------------------------------------------------------------------------------------------------------- help


def test_health_has_the_name_that_engines_give_it(gateway: Running) -> None:
    assert ask(f"{gateway.url}/health", method="GET").json == {"status": "ok"}


def test_the_page_says_what_runs_here_and_nothing_secret() -> None:
    with run_gateway(config_to("http://127.0.0.1:9/v1", api_key="the-secret")) as gateway:
        page = ask(f"{gateway.url}/", method="GET")
        text = page.body.decode()
        for path in re.findall(r"<code>GET (/\S*)</code>", text):
            assert ask(gateway.url + path.replace("{model}", "m"), method="GET").status in (200, 503)
        assert ask(f"{gateway.url}/", method="HEAD").status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "POST /v1/chat/completions" in text
    assert '"/openapi.json"' in text
    assert "the-secret" not in text
    assert "127.0.0.1" not in text


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/chat/completions", "/v1/chat/completions"),
        ("/completions", "/v1/completions"),
        ("/embeddings", "/v1/embeddings"),
        ("/models", "/v1/models"),
        ("/models/a-model", "/v1/models/a-model"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/chat/completions/", "/v1/chat/completions"),
        ("//v1//models", "/v1/models"),
        ("/V1/Chat/Completions", "/v1/chat/completions"),
        ("/api/v1/embeddings", "/v1/embeddings"),
        ("/openai/deployments/m/chat/completions", "/v1/chat/completions"),
        ("/v1", "/v1/chat/completions"),
    ],
)
def test_a_client_that_is_nearly_right_is_helped(gateway: Running, path: str, meant: str) -> None:
    for answer in (ask(gateway.url + path, method="GET"), ask(gateway.url + path, chat())):
        assert (answer.status, answer.error["code"]) == (404, "not_found")
        assert re.search(rf"{re.escape(meant)}\b", answer.error["message"])


@pytest.mark.parametrize("path", ["/nothing", "/v1/responses", "/v1/chat", "/", "/.env", "/v1/completions-x"])
def test_no_hint_where_nothing_comes_near(path: str) -> None:
    assert hint(path, ["/v1/chat/completions", "/v1/completions", "/v1/models", "/healthz"]) == ""


# --------------------------------------------------------------------------------------------------------------------- CORS

ORIGIN = "https://app.example"


@pytest.fixture(scope="module")
def browsed(engine: ScriptedServer) -> Iterator[Running]:
    with run_gateway(config_to(engine.base_url, server={"cors_origins": [ORIGIN]})) as gateway:
        yield gateway


def preflight(gateway: Running, origin: str = ORIGIN, method: str = "POST", **more: str) -> Answer:
    headers = {"origin": origin, "access-control-request-method": method, "x-request-id": "mine"}
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return ask(f"{gateway.base_url}/{CHAT}", headers={**headers, **named}, method="OPTIONS")


def test_a_preflight_is_answered(browsed: Running) -> None:
    answer = preflight(browsed, access_control_request_headers="authorization, x-stainless-os")
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-headers"] == "authorization, x-stainless-os"
    assert answer.headers["x-request-id"] == "mine"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"origin": "https://evil.example"}, "server.cors_origins"),
        ({"origin": "null"}, "server.cors_origins"),
        ({"origin": f"{ORIGIN}:444"}, "server.cors_origins"),
        ({"method": "DELETE"}, "'DELETE'"),
        ({"method": "post"}, "'post'"),
        ({"access_control_request_private_network": "true"}, "server.cors_private_network"),
    ],
)
def test_a_refused_preflight_is_an_error_like_any_other(
    browsed: Running, asked: dict[str, str], words: str
) -> None:
    answer = preflight(browsed, **asked)
    assert (answer.status, answer.error["code"]) == (403, "permission_denied")
    assert words in answer.error["message"]
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers["x-should-retry"] == "false"
    assert "origin" in answer.headers["vary"].lower()
    assert ("access-control-allow-origin" in answer.headers) == ("origin" not in asked)


def test_private_networks_are_an_opt_in(engine: ScriptedServer) -> None:
    settings = {"cors_origins": ["*"], "cors_private_network": True}
    with run_gateway(config_to(engine.base_url, server=settings)) as gateway:
        answer = preflight(gateway, access_control_request_private_network="true")
        assert answer.status == 200
        assert answer.headers["access-control-allow-private-network"] == "true"
        assert "access-control-allow-private-network" not in preflight(gateway).headers


@pytest.mark.parametrize("body", [chat(), b"{"])
def test_pages_may_read_what_clients_act_on(browsed: Running, body: bytes) -> None:
    answer = ask(f"{browsed.base_url}/{CHAT}", body, {"origin": ORIGIN})
    exposed = answer.headers["access-control-expose-headers"].split(", ")
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    for name in ("x-request-id", "x-should-retry", "retry-after", "x-ratelimit-remaining-tokens"):
        assert name in exposed


# ---------------------------------------------------------------------------------------------------------------------- TLS


def test_tls_1_2_has_no_cbc_suites() -> None:
    pem = Path(__file__).parent.parent / "egress" / "tls" / "server.pem"
    context = tls_context(TlsConfig(certificate_path=pem, key_path=pem))
    suites = [suite for suite in context.get_ciphers() if suite["protocol"] == "TLSv1.2"]
    assert suites
    assert all(suite["aead"] and "ECDHE" in suite["name"] for suite in suites)
