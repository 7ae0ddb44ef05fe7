"""`tidegate check`: what it finds beyond the file's own mistakes; with `--connect` every engine is asked."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tidegate import cli

TLS = Path(__file__).parent.parent / "egress" / "tls"
MODELS = b'{"object":"list","data":[{"id":"llama-3.1-8b","object":"model"},{"id":"hub/qwen"},{"id":"tiny:latest"}]}'


class Reply(NamedTuple):
    status: int = 200
    body: bytes = MODELS
    headers: Mapping[str, str] = {}


@contextmanager
def engine(replies: Mapping[str, Reply], *, tls: bool = False) -> Iterator[str]:
    """The address of a server that answers each path so; others are not found."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply = replies.get(self.path, Reply(404, b"{}"))
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(TLS / "server.pem")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Said(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def finding(self) -> dict[str, Any]:
        (found,) = json.loads(self.out)["engines"]
        return found


Check = Callable[..., Said]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    def run(text: str, *options: str) -> Said:
        path = tmp_path / "tidegate.yaml"
        path.write_text(text)
        monkeypatch.setattr("sys.argv", ["tidegate", "check", "--config", str(path), *options])
        status: Any = 0
        try:
            cli.main()
        except SystemExit as ended:
            status = ended.code or 0
        return Said(status, *capsys.readouterr())

    return run


def to(url: str, *settings: str, model: str = "llama-3.1-8b") -> str:
    engine = ", ".join([f"kind: openai, url: '{url}'", *settings])
    return f"engines: {{e: {{{engine}}}}}\nmodels: {{m: {{deployments: [{{engine: e, model: {model}}}]}}}}\n"


@pytest.mark.parametrize("model", ["llama-3.1-8b", "hub/qwen", "qwen", "tiny", "tiny:latest"])
def test_an_engine_that_is_as_the_configuration_says(check: Check, model: str) -> None:
    with engine({"/v1/models": Reply()}) as address:
        said = check(to(f"http://{address}/v1", model=f"'{model}'"), "--connect")
        assert (said.status, said.err) == (0, "")
        assert said.out == f"ok      e (openai, http://{address}/v1): answers, and lists 3 models\n"
        assert check(to(f"http://{address}/v1", model=f"'{model}'"), "--connect", "--json").finding == {
            "engine": "e",
            "kind": "openai",
            "url": f"http://{address}/v1",
            "state": "ok",
            "says": ["answers, and lists 3 models"],
        }


@pytest.mark.parametrize(
    ("reply", "settings", "state", "words"),
    [
        (Reply(401), (), "wrong", "refuses the gateway's credentials (401): no api_key is set"),
        (Reply(401), ("api_key: k",), "wrong", "(401): see api_key"),
        (Reply(403), (), "warning", "does not let this key list models (403)"),
        (Reply(404), (), "warning", "has no http://"),
        (Reply(429), (), "warning", "with status 429"),
        (Reply(500), (), "wrong", "with status 500"),
        (Reply(503), (), "wrong", "still starting"),
        (Reply(301, b"", {"location": "https://far/v1/models"}), (), "wrong", "to https://far/v1/models"),
        (Reply(200, b"<html>"), (), "wrong", "not a list of models: is the url right?"),
        (Reply(200, b"{}"), (), "wrong", "not a list of models"),
        (Reply(200, b'{"data":[{"id":3}]}'), (), "wrong", "not a list of models"),
        (Reply(200, b'{"data":[]}'), (), "wrong", "does not list the model 'llama-3.1-8b'"),
        (Reply(200, b'{"data":[{"id":"Llama-3.1-8B-Instruct"}]}'), (), "wrong", "did you mean 'Llama-3.1-8B-Instruct'?"),
        (Reply(200, b'{"data":[{"id":"b"},{"id":"a"}]}'), (), "wrong", "(models.m.deployments[0]); it lists: a, b"),
        (Reply(), ("probe: /health",), "ok", "lists 3 models"),
        (Reply(), ("probe: /sick",), "wrong", "answers the probe, GET /sick, with status 503"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_words(
    check: Check, reply: Reply, settings: tuple[str, ...], state: str, words: str
) -> None:
    with engine({"/v1/models": reply, "/health": Reply(), "/sick": Reply(503)}) as address:
        said = check(to(f"http://{address}/v1", *settings), "--connect", "--json")
    assert (said.finding["state"], said.status) == (state, 1 if state == "wrong" else 0)
    assert words in "; ".join(said.finding["says"])


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9/v1", "connection refused"),
        ("http://no-such-name.invalid/v1", "DNS: "),
        ("http://{}", "(404): the url is more likely http://"),
        ("http://{}/api", "/v1"),
    ],
)
def test_an_engine_that_is_elsewhere(check: Check, url: str, words: str) -> None:
    with engine({"/v1/models": Reply()}) as address:
        said = check(to(url.format(address)), "--connect", "--json")
    assert (said.finding["state"], said.status) == ("wrong", 1)
    assert words in "; ".join(said.finding["says"])


def test_tls_that_does_not_fit(check: Check) -> None:
    with engine({"/v1/models": Reply()}, tls=True) as address:
        port = address.rpartition(":")[2]
        ca = f"ca_path: '{TLS / 'ca.pem'}'"
        for url, settings, words in (
            (f"https://localhost:{port}/v1", (ca,), "lists 3 models"),
            (f"https://localhost:{port}/v1", (), "TLS: the certificate comes from an unknown authority"),
        ):
            assert words in "; ".join(check(to(url, *settings), "--connect", "--json").finding["says"])
    with engine({"/v1/models": Reply()}) as address:
        said = check(to(f"https://{address}/v1"), "--connect", "--json").finding["says"]
        assert "TLS: the server does not speak TLS" in said[0]


def test_engines_within_the_gateway_are_not_asked(check: Check) -> None:
    text = "engines: {s: {kind: scripted}}\nmodels: {m: {deployments: [{engine: s}]}}"
    said = check(text, "--connect")
    assert (said.status, said.out) == (0, "-       s (scripted): runs within the gateway\n")


def test_warnings_and_the_exit_status_of_a_file_that_can_be_served(check: Check) -> None:
    text = to("http://no-such-name.invalid") + "server: {host: no-such-host.invalid}\n"
    said = check(text)
    assert said.status == 0
    for words in (
        "warning: engines.e.url: http://no-such-name.invalid names no version of the API",
        "warning: server.host: the host no-such-host.invalid does not resolve: DNS: ",
        "warning: engines.e.url: the host no-such-name.invalid does not resolve: DNS: ",
    ):
        assert words in said.err
    assert {problem["path"] for problem in json.loads(check(text, "--json").out)["warnings"]} == {
        "engines.e.url",
        "server.host",
    }


def test_connect_goes_with_no_explanation(check: Check, tmp_path: Path) -> None:
    assert check(to("http://127.0.0.1:9/v1"), "--connect", "--explain", str(tmp_path)).status == 2


def test_weights_that_are_not_installed_keep_serve_from_starting(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.engines.embedded.weights.SMOLLM2_FILE", "none.gguf")
    said = check("engines: {local: {kind: embedded}}\nmodels: {m: {deployments: [{engine: local}]}}")
    assert said.status == 2
    assert "engines.local.model: the default model none.gguf is not installed" in said.err
