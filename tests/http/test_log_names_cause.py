"""Provoked failures, and the one line of each in the log: whoever sees only that line can name the cause."""

from __future__ import annotations

import json
import logging
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from canned import Canned, canned, streamed, whole
from serving import Running, ask, config_to, eventually, run_gateway
from talking import chat, post

TLS = Path(__file__).parents[1] / "egress" / "tls"
PLAIN = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'


@contextmanager
def accepting(handle: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server in a thread. It listens on all of 127.0.0.0/8."""
    with socket.create_server(("0.0.0.0", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        handle(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def plain_port() -> AbstractContextManager[int]:
    """A server that answers whatever comes with an HTTP error in plain text."""

    def handle(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    return accepting(handle)


def tls_port() -> AbstractContextManager[int]:
    """A server that does its handshake with the tests' certificate, and then says nothing."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "server.pem")
    return accepting(lambda connection: context.wrap_socket(connection, server_side=True).close())


@contextmanager
def free_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "tidegate.calls"]


def line_of(
    caplog: pytest.LogCaptureFixture, url: str, marks: str = "", *, stream: bool = False, **engine: Any
) -> str:
    """The log of one failed call."""
    caplog.set_level(logging.INFO)
    caplog.clear()
    with run_gateway(config_to(url, **engine)) as gateway:
        post(gateway, chat(marks, stream=stream), x_request_id="call-7")
        eventually(lambda: bool(lines(caplog)), "the line")
    (line,) = lines(caplog)
    assert "call-7" in line
    assert "engine=upstream" in line
    assert "model=m" in line
    assert "deployment=upstream/m" in line
    assert f"url={url}/chat/completions" in line
    return line


def test_nothing_listens(caplog: pytest.LogCaptureFixture) -> None:
    with free_port() as port:
        line = line_of(caplog, f"http://127.0.0.1:{port}/v1")
    assert "connection refused: nothing listens" in line


def test_a_name_that_does_not_resolve(caplog: pytest.LogCaptureFixture) -> None:
    assert "DNS: the " in line_of(caplog, "http://engine.invalid:8000/v1")


def test_an_unknown_authority(caplog: pytest.LogCaptureFixture) -> None:
    with tls_port() as port:
        assert "TLS: the certificate comes from an unknown authority" in line_of(
            caplog, f"https://127.0.0.1:{port}/v1"
        )


def test_a_certificate_for_another_name(caplog: pytest.LogCaptureFixture) -> None:
    with tls_port() as port:
        line = line_of(caplog, f"https://127.0.0.2:{port}/v1", ca_path=str(TLS / "ca.pem"))
    assert "TLS: the certificate is for another host name" in line


def test_tls_with_a_server_that_speaks_none(caplog: pytest.LogCaptureFixture) -> None:
    with plain_port() as port:
        line = line_of(caplog, f"https://127.0.0.1:{port}/v1")
    assert "TLS: the server does not speak TLS" in line


def test_a_silent_engine(caplog: pytest.LogCaptureFixture) -> None:
    held = threading.Event()

    def hold(connection: socket.socket) -> None:
        del connection
        held.wait(30)

    with canned(hold) as engine:
        line = line_of(caplog, engine.base_url, timeouts={"first_byte_ms": 200})
        held.set()
    assert "timed out: the engine did not begin to answer within 0.2 s" in line


def answered(status: bytes, body: Any, *headers: bytes) -> bytes:
    return whole(json.dumps(body).encode(), *headers, status=status)


ANSWERED: list[tuple[bytes, list[str]]] = [
    (
        answered(b"401 Unauthorized", {"error": {"message": "Incorrect API key provided: top-secret-key"}}),
        ["engine_status=401", "refused the gateway's credentials", "Incorrect API key provided: **********"],
    ),
    (
        answered(b"500 Oops", {"detail": "CUDA out of memory"}, b"x-request-id: up-9"),
        ["engine_status=500", "engine_request_id=up-9", "CUDA out of memory"],
    ),
    (answered(b"404 Not Found", {"detail": "Not Found"}), ["engine_status=404", "does not serve this path"]),
    (answered(b"302 Found", {}), ["engine_status=302", "redirects elsewhere"]),
    (whole(b'{"choices":'), ["engine_status=200", "not valid JSON", "choices"]),
    (whole(b"{}"), ["engine_status=200", "without choices"]),
    (whole(b"", b"content-encoding: br"), ["compressed its answer with 'br'"]),
    (b"SSH-2.0-OpenSSH_9.6\r\n", ["not valid HTTP"]),
    (
        answered(b"429 No", {"error": {"message": "x\ncall forged: y", "code": "insufficient_quota"}}),
        ["insufficient_quota", "engine_status=429", "x call forged: y", "account with the engine is used up"],
    ),
    (
        answered(b"503 No", {"error": {"message": "queue is full"}}, b"request-id: up-1"),
        ["engine_overloaded: 1", "engine_status=503", "queue is full", "engine_request_id=up-1"],
    ),
]


@pytest.mark.parametrize(("answer", "said"), ANSWERED, ids=[said[-1] for _, said in ANSWERED])
def test_what_an_engine_answered(caplog: pytest.LogCaptureFixture, answer: bytes, said: list[str]) -> None:
    with canned(answer) as engine:
        line = line_of(caplog, engine.base_url, api_key="top-secret-key")
    assert [one for one in said if one not in line] == []
    assert "top-secret-key" not in line
    assert "\n" not in line


def test_a_stream_that_ends_too_early(caplog: pytest.LogCaptureFixture) -> None:
    with canned(streamed(PLAIN)) as engine:
        assert "choice 0 has no finish_reason" in line_of(caplog, engine.base_url, stream=True)


def test_a_model_that_the_configuration_misnames(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    said = answered(b"404 Not Found", {"error": {"message": "The model `other` does not exist"}})
    with canned(said) as engine:
        tree = json.loads(config_to(engine.base_url))
        tree["models"] = {"m": {"deployments": [{"engine": "upstream", "model": "other"}]}}
        with run_gateway(json.dumps(tree)) as gateway:
            post(gateway, chat())
    (line,) = lines(caplog)
    assert "models.m names" in line
    assert "deployment=upstream/other" in line
    assert "The model `other` does not exist" in line


def test_a_clients_mistake_is_not_logged(
    caplog: pytest.LogCaptureFixture, in_front: Running, sayer: Canned
) -> None:
    caplog.set_level(logging.INFO)
    sayer.answer = answered(b"400 No", {"error": "no"})
    post(in_front, chat())
    sayer.answer = answered(b"404 No", {"error": "model 'm' not found"})
    post(in_front, chat())
    assert lines(caplog) == []


@pytest.mark.parametrize("model", ["x\nWARNING forged", 'a" engine=other', "é\u2028b", "=", "x" * 1000])
def test_a_model_that_a_client_chose_cannot_forge_a_line(
    caplog: pytest.LogCaptureFixture, in_front: Running, sayer: Canned, model: str
) -> None:
    caplog.set_level(logging.INFO)
    sayer.answer = answered(b"500 No", {})
    post(in_front, json.dumps({"model": model, "messages": [{"role": "user", "content": "x"}]}).encode())
    (line,) = lines(caplog)
    assert len(line.splitlines()) == 1
    assert len(line) < 2000
    assert re.findall(r" engine=(\S+)", re.sub(r'"(\\.|[^"\\])*"', "quoted", line)) == ["upstream"]


# --------------------------------------------------------------------------------------------------------------- readiness


def unready(url: str, **engine: Any) -> str:
    with run_gateway(config_to(url, **engine)) as gateway:
        (running,) = gateway.gateway.runtime.engines()
        eventually(lambda: "asked" not in (running.why or "asked"), "the probe")
        answer = ask(f"{gateway.url}/readyz", method="GET")
    assert answer.status == 503
    return answer.json["reasons"]["upstream"]


def test_not_ready_says_why(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with ExitStack() as stack:
        port, tls = stack.enter_context(free_port()), stack.enter_context(tls_port())
        cases: list[tuple[str, str]] = [
            (f"http://127.0.0.1:{port}/v1", "connection refused"),
            (f"https://127.0.0.1:{tls}/v1", "TLS: the certificate comes from an unknown authority"),
            ("http://engine.invalid/v1", "DNS: the "),
        ]
        for url, cause in cases:
            assert unready(url).startswith(cause)
            told = [record.getMessage() for record in caplog.records if "not ready" in record.getMessage()]
            assert told[-1].startswith(f"engine upstream is not ready: {cause}")
