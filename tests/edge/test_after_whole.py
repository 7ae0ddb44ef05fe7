"""A whole request is answered, whatever comes behind it, and the operator reads what was wrong with that."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest
from serving import Running, ask, config_to, eventually, run_gateway, wire
from talking import SCRIPT, chat, said, stream

from tidegate.engines.scripted.server import ScriptedServer, run_in_thread


@pytest.fixture(scope="module")
def gateway() -> Iterator[Running]:
    with (
        run_in_thread(ScriptedServer(script=SCRIPT)) as engine,
        run_gateway(config_to(engine.base_url)) as gateway,
    ):
        yield gateway


def request(body: bytes, *, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    lines = ("POST /v1/chat/completions HTTP/1.1", "host: g", "content-type: application/json")
    return "\r\n".join([*lines, f"content-length: {size}", "", ""]).encode() + body


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


REQUESTS = {
    "no Host": (b"GET /v1/models HTTP/1.1\r\n\r\n", 400),
    "Host twice": (b"GET /v1/models HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
    "a Host that is not served": (b"GET /v1/models HTTP/1.1\r\nhost: evil.example\r\n\r\n", 421),
    "an unknown method": (b"BREW /v1/models HTTP/1.1\r\nhost: g\r\n\r\n", 501),
    "CONNECT": (b"CONNECT g:443 HTTP/1.1\r\nhost: g:443\r\n\r\n", 501),
    "a broken header": (b"GET /v1/models HTTP/1.1\r\nhost: g\r\nbad header\r\n\r\n", 400),
    "a fragment": (b"GET /v1/models#a HTTP/1.1\r\nhost: g\r\n\r\n", 404),
    "too many headers": (b"GET / HTTP/1.1\r\nhost: g\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
    "two lengths": (b"POST / HTTP/1.1\r\nhost: g\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
    "a broken chunk": (b"POST / HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
}


@pytest.mark.parametrize("cut", [0, 1, 5], ids=["in one read", "in two", "a little later"])
@pytest.mark.parametrize(("bad", "status"), REQUESTS.values(), ids=REQUESTS.keys())
def test_a_bad_request_behind_a_whole_one_is_answered_after_it(
    gateway: Running, bad: bytes, status: int, cut: int
) -> None:
    with wire(gateway.url) as client:
        data = request(stream("tokens=3 itl=20")) + bad
        client.send(data[: len(data) - len(bad) + cut] if cut else data)
        if cut:
            client.read_head()
            client.send(bad[cut:])
            assert said(b"".join(client.read_chunks())) == "The tide turns."
        received = client.read_to_end()
    assert statuses(received) == ([] if cut else [200]) + [status]
    assert received.rpartition(b"HTTP/1.1")[2].count(b"connection: close") == 1


def test_whole_requests_that_wait_are_answered_before_it(gateway: Running) -> None:
    with wire(gateway.url) as client:
        client.send(request(chat("ttft=50")) * 3 + REQUESTS["no Host"][0] + request(chat()))
        assert statuses(client.read_to_end()) == [200, 200, 200, 400]


JUNK = {
    "the end of a text": b'"}]}',
    "a name": b"nonsense\r\n\r\n",
    "bytes": b"\xff\xfe\x00",
    "a TLS greeting": bytes.fromhex("16030100c8010000c40303"),
    "an answer": b"HTTP/1.1 200 OK\r\n\r\n",
    "JSON": b'{"model":"m"}',
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK.keys())
@pytest.mark.parametrize("body", [chat("ttft=20"), stream("tokens=2 itl=20")], ids=["whole", "streamed"])
def test_what_is_no_request_ends_the_connection_after_the_answer(
    gateway: Running, caplog: pytest.LogCaptureFixture, junk: bytes, body: bytes
) -> None:
    """A proxy would take an answer to it for the answer to its next request."""
    before = refused(gateway, "invalid_request")
    with caplog.at_level(logging.INFO), wire(gateway.url) as client:
        client.send(request(body) + junk)
        received = client.read_to_end()
    assert statuses(received) == [200]
    assert b"The tide turns." in received or said(unchunked(received)) == "The tide turns."
    assert b"connection: close\r\n" in received
    assert refused(gateway, "invalid_request") == before + 1


def unchunked(received: bytes) -> bytes:
    body = received.partition(b"\r\n\r\n")[2]
    return b"".join(re.findall(rb"[0-9a-f]+\r\n(.*?\n\n)\r\n", body, re.DOTALL))


def refused(gateway: Running, code: str) -> int:
    page = ask(f"{gateway.url}/metrics", method="GET").body.decode()
    found = re.search(rf'^tidegate_edge_refusals_total{{code="{code}"}} (\S+)$', page, re.MULTILINE)
    return int(float(found[1])) if found else 0


@pytest.mark.parametrize("text", ["é", "Größe", "東京 🌊", "—" * 100, "ünïcödé" * 1000])
def test_a_length_in_characters_is_told(
    gateway: Running, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}, ensure_ascii=False)
    with wire(gateway.url) as client:
        client.send(request(body.encode(), length=len(body)))
        received = client.read_to_end()
    assert statuses(received) == [400]
    assert b"counts bytes, not characters" in received
    assert b"connection: close" in received


def test_it_is_logged_but_not_once_for_each(gateway: Running, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="tidegate.http.edge.refusals"):

        def provoked() -> bool:
            with wire(gateway.url) as client:
                client.send(request(chat()) + REQUESTS["no Host"][0])
                client.read_to_end()
            return any("more since the last line" in record.message for record in caplog.records)

        eventually(provoked, "the count of those that have no line of their own")
    lines = [record.message for record in caplog.records if "refused a request" in record.message]
    assert any("127.0.0.1: invalid_request: The header 'Host' is missing" in line for line in lines)
