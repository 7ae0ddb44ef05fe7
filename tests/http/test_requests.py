"""What may be asked and how: connections, browsers, and every way for a request to be wrong."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from canned import canned, whole
from in_hand import gateway_in_hand, until
from serving import Running, ask, config_to, eventually, run_gateway, wire
from talking import CHAT, TEXT, chat, post, said, stream
from virtual import run

from tidegate.engines.scripted.server import ScriptedServer

pytestmark = pytest.mark.usefixtures("idle")


def test_a_connection_serves_one_request_after_the_other(gateway: Running) -> None:
    with wire(gateway.url) as client:
        for number in range(20):
            if number % 3 == 0:
                client.post(stream())
                client.read_head()
                assert said(b"".join(client.read_chunks())) == "The tide turns."
            elif number % 3 == 1:
                client.post(chat())
                _, headers = client.read_head()
                assert b"The tide turns." in client.read_exactly(int(headers["content-length"]))
            else:
                client.post(b"{}")
                status, headers = client.read_head()
                assert status == 400
                client.read_exactly(int(headers["content-length"]))


def test_requests_sent_ahead_are_answered_in_order(gateway: Running) -> None:
    with wire(gateway.url) as client:
        for number in range(5):
            client.post(chat(f"text=answer-{number} ttft={20 - number * 4}"))
        for number in range(5):
            _, headers = client.read_head()
            assert b'"answer-%d"' % number in client.read_exactly(int(headers["content-length"]))


JAVA = (
    "connection: Upgrade, HTTP2-Settings",
    "upgrade: h2c",
    "http2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
)


@pytest.mark.parametrize("cut", [None, 0, 20])
def test_a_client_that_would_rather_speak_http_2_is_answered_in_http_1_1(
    gateway: Running, cut: int | None
) -> None:
    """As the HTTP client of the JDK asks with every request; its body must not get lost."""
    body = chat()
    with wire(gateway.url) as client:
        for _ in range(2):
            if cut is None:
                client.post(body, *JAVA)
            else:
                lines = (f"POST /v1/{CHAT} HTTP/1.1", "host: g", "content-type: application/json", *JAVA)
                head = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode()
                eventually(lambda: not gateway.gateway.live, "the end of the call before")
                client.send(head + body[:cut])
                eventually(lambda: bool(gateway.gateway.live), "the gateway waits for the rest")
                client.send(body[cut:])
            status, headers = client.read_head()
            assert status == 200
            assert b"The tide turns." in client.read_exactly(int(headers["content-length"]))


@pytest.mark.parametrize("bytes_", [b"a" * 65536, b"x-more: b\r\n" * 6000], ids=["one", "many"])
def test_a_head_without_end_is_refused(gateway: Running, bytes_: bytes) -> None:
    with wire(gateway.url) as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nx-first: ")
        with suppress(ConnectionError):
            for _ in range(4):
                client.send(bytes_)
        status, headers = client.read_head()
        assert status == 431
        assert headers["x-request-id"].startswith("req_")
        told = client.read_exactly(int(headers["content-length"]))
        assert b"65536 bytes" in told or b"128 headers" in told


def test_a_head_that_does_not_come_is_not_waited_for() -> None:
    async def scene() -> None:
        async with gateway_in_hand({"first_byte_timeout_ms": 2000, "head_timeout_ms": 3000}) as gateway:
            idle, slow, busy = gateway.connect(), gateway.connect(), gateway.connect()
            slow.post(chat())
            answered_at = await until(lambda: slow.received.startswith(b"HTTP/1.1 200"), "its answer")
            answer = slow.received
            slow.send(b"POST /v1/chat")
            busy.post(chat("ttft=20000"))
            busy.send(b"POST /v1/chat")
            busy_at = await until(lambda: bool(busy.received), "its answer")
            assert (idle.received, idle.wire.closed_at) == (b"", pytest.approx(2, abs=0.1))
            assert (slow.received, slow.wire.closed_at) == (answer, pytest.approx(answered_at + 3, abs=0.1))
            assert (busy.status, busy_at) == (200, pytest.approx(answered_at + 20, abs=0.1))

    run(scene())


def test_who_never_speaks_is_left(engine: ScriptedServer) -> None:
    with (
        run_gateway(config_to(engine.base_url, server={"first_byte_timeout_ms": 100})) as gateway,
        wire(gateway.url) as idle,
    ):
        assert idle.read_to_end() == b""


def test_nonsense_does_not_get_into_an_answer_under_way_nor_end_it(gateway: Running) -> None:
    with wire(gateway.url) as client:
        client.post(stream("tokens=3 itl=50"))
        client.read_head()
        client.send(b"nonsense\r\n\r\n")
        assert said(b"".join(client.read_chunks())) == TEXT
        assert client.read_to_end() == b""


def test_http_1_0_gets_its_answer_and_the_end_of_the_connection(gateway: Running) -> None:
    with wire(gateway.url) as client:
        client.post(chat(), version="1.0")
        status, headers = client.read_head()
        body = client.read_to_end()
    assert status == 200
    assert len(body) == int(headers["content-length"])
    assert b"The tide turns." in body


def test_a_body_in_chunks_is_taken(gateway: Running) -> None:
    body = chat()
    head = f"POST /v1/{CHAT} HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    with wire(gateway.url) as client:
        client.send(head.encode())
        for at in range(0, len(body), 7):
            part = body[at : at + 7]
            client.send(b"%x\r\n%b\r\n" % (len(part), part))
        client.send(b"0\r\n\r\n")
        assert client.read_head()[0] == 200


def test_a_client_may_ask_before_it_sends(gateway: Running) -> None:
    body = chat()
    with wire(gateway.url) as client:
        client.post(b"", "expect: 100-continue", f"x-length: {len(body)}")
        assert client.read_head()[0] in (100, 400)


def test_browsers_are_told_nothing_unless_the_config_says_so(
    gateway: Running, engine: ScriptedServer
) -> None:
    ours = {"origin": "https://app.example"}
    asking = {
        **ours,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
    }
    url = f"{gateway.base_url}/{CHAT}"
    for answer in (ask(url, chat(), ours), ask(url, headers=asking, method="OPTIONS")):
        assert [name for name in answer.headers if name.startswith("access-control")] == []

    with run_gateway(
        config_to(engine.base_url, server={"cors_origins": ["https://app.example"]})
    ) as open_gateway:
        url = f"{open_gateway.base_url}/{CHAT}"
        answer = ask(url, stream(), ours)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-request-id" in answer.headers["access-control-expose-headers"].lower()
        assert said(answer.body) == "The tide turns."
        preflight = ask(url, headers=asking, method="OPTIONS")
        assert preflight.status == 200
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        stranger = ask(url, chat(), {"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in stranger.headers


# ------------------------------------------------------------------------------------------------------------ bad requests

DEEP = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"metadata":%b%b}'
REFUSED: dict[str, tuple[bytes, str | None]] = {
    "empty": (b"", None),
    "not JSON": (b"hello", None),
    "cut": (b'{"model":"m","messages":[', None),
    "an array": (b"[]", None),
    "a string": (b'"x"', None),
    "null": (b"null", None),
    "two values": (b"{}{}", None),
    "NaN": (b'{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":NaN}', None),
    "leading zero": (b'{"model":"m","messages":[{"role":"user","content":"x"}],"metadata":{"a":01}}', None),
    "a raw line end in a string": (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"user":"a\nb"}',
        None,
    ),
    "half a surrogate": (rb'{"model":"m","messages":[{"role":"user","content":"\ud83c"}]}', None),
    "UTF-8 cut": (b'{"model":"m","messages":[{"role":"user","content":"\xf0\x9f"}]}', None),
    "UTF-8 wrong in a field nobody reads": (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"metadata":{"a":"\xff"}}',
        None,
    ),
    "UTF-8 overlong": (b'{"model":"m","messages":[{"role":"user","content":"x"}],"user":"\xc0\xaf"}', None),
    "UTF-16": ('{"model":"m","messages":[]}'.encode("utf-16"), None),
    "5 M brackets": (b"[" * 5_000_000, None),
    "5 M brackets in a field": (DEEP % (b"[" * 5_000_000, b""), None),
    "100 k levels, closed": (DEEP % (b"[" * 100_000, b"]" * 100_000), None),
    "100 k objects": (DEEP % (b'{"a":' * 100_000, b"1" + b"}" * 100_000), None),
    "no model": (b'{"messages":[{"role":"user","content":"x"}]}', "model"),
    "empty model": (b'{"model":"","messages":[{"role":"user","content":"x"}]}', "model"),
    "model null": (b'{"model":null,"messages":[{"role":"user","content":"x"}]}', "model"),
    "no messages": (b'{"model":"m"}', "messages"),
    "empty messages": (b'{"model":"m","messages":[]}', "messages"),
    "messages a string": (b'{"model":"m","messages":"hi"}', "messages"),
    "no role": (b'{"model":"m","messages":[{"content":"x"}]}', "messages[0].role"),
    "content a number": (
        b'{"model":"m","messages":[{"role":"user","content":"x"},{"role":"user","content":7}]}',
        "messages[1].content",
    ),
    "temperature a string": (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":"1"}',
        "temperature",
    ),
    "n zero": (b'{"model":"m","messages":[{"role":"user","content":"x"}],"n":0}', "n"),
    "stream a string": (b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":"yes"}', "stream"),
    "stream_options without a stream": (
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream_options":{}}',
        "stream_options",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_body_is_400_and_goes_nowhere(gateway: Running, engine: ScriptedServer, case: str) -> None:
    body, param = REFUSED[case]
    before = engine.record.requests
    answer = post(gateway, body)
    assert answer.status == 400, answer.body
    assert set(answer.error) == {"message", "type", "code", "param"}
    assert (answer.error["type"], answer.error["code"]) == ("invalid_request_error", "invalid_request")
    assert answer.error["param"] == param
    assert answer.headers["x-should-retry"] == "false"
    assert engine.record.requests == before


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"model":"m","mesages":[]}', "The field 'messages' is missing; did you misspell it as 'mesages'?"),
        (b'{"Model":"m","messages":[]}', "The field 'model' is missing; did you misspell it as 'Model'?"),
        (b'{"model":"m","message":[]}', "The field 'messages' is missing; did you misspell it as 'message'?"),
        (b'{"model":"m","temperature":1}', "The field 'messages' is missing"),
        (b'{"model":"m","messages":[{"rol":"user"}]}', "The field 'messages[0].role' is missing"),
    ],
)
def test_a_misspelt_field_is_named(gateway: Running, body: bytes, said: str) -> None:
    assert post(gateway, body).error["message"] == said


TWICE = [
    ('"model":"first","model":"second"', "model", '"second"'),
    ('"model":"m","temperature":2,"temperature":0.50', "temperature", "0.50"),
    ('"model":"m","n":2,"n":1', "n", "1"),
    ('"model":"m","mod\\u0065l":"\\u006d2"', "model", '"\\u006d2"'),
    ('"model":"m","user":"a","us\\u0065r":"b"', "user", '"b"'),
]


@pytest.mark.parametrize(("fields", "name", "value"), TWICE)
def test_of_a_field_sent_twice_the_engine_gets_the_one_that_was_checked(
    gateway: Running, engine: ScriptedServer, fields: str, name: str, value: str
) -> None:
    """The last counts, and the engine sees no other: what it is sent has each field once."""
    body = b'{%b,"messages":[{"role":"user","content":"x"}]}' % fields.encode()
    assert post(gateway, body).status == 200
    heard = engine.record.entries[-1].body
    assert heard is not None
    pairs = json.loads(bytes(heard), object_pairs_hook=list)
    assert [key for key, _ in pairs].count(name) == 1
    assert f'"{name}":{value}'.encode() in bytes(heard)


def test_a_field_that_hides_behind_another_is_refused(gateway: Running, engine: ScriptedServer) -> None:
    before = engine.record.requests
    for fields in ('"stream":"yes","stream":false', '"priority":1,"user":"x"', '"messages":[],"messages":[]'):
        body = b'{"model":"m","messages":[{"role":"user","content":"x"}],%b}' % fields.encode()
        assert post(gateway, body).status == 400
    assert engine.record.requests == before


def test_the_model_that_was_checked_is_the_model_that_is_asked(engine: ScriptedServer) -> None:
    tree = json.loads(config_to(engine.base_url))
    tree["models"] = {"allowed": tree["models"]["*"]}
    with run_gateway(json.dumps(tree)) as gateway:
        hidden = b'{"model":"allowed","messages":[{"role":"user","content":"x"}],"model":"other"}'
        answer = post(gateway, hidden)
        assert (answer.status, answer.error["code"]) == (404, "model_not_found")
        assert answer.error["param"] == "model"
        shown = b'{"model":"other","messages":[{"role":"user","content":"x"}],"model":"allowed"}'
        assert post(gateway, shown).status == 200
    assert engine.record.entries[-1].fields["model"] == "allowed"


def test_a_body_over_the_limit_is_413(engine: ScriptedServer) -> None:
    with run_gateway(config_to(engine.base_url, server={"max_body_bytes": 1000})) as gateway:
        assert post(gateway, chat("text=" + "x" * 800)).status == 200
        told = post(gateway, chat("text=" + "x" * 1000))
        with wire(gateway.url) as client:
            client.send(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\n"
            )
            client.send(b"transfer-encoding: chunked\r\n\r\n")
            client.send(b"400\r\n" + b" " * 1024 + b"\r\n")
            untold, _ = client.read_head()
    assert (told.status, told.error["code"], untold) == (413, "payload_too_large", 413)


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "text/json"]
)
def test_a_body_that_is_not_called_json_is_415(gateway: Running, kind: str) -> None:
    answer = post(gateway, chat(), content_type=kind)
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=UTF-8"]
)
def test_json_by_any_of_its_names_is_taken(gateway: Running, kind: str) -> None:
    assert post(gateway, chat(), content_type=kind).status == 200


def test_a_compressed_body_is_415(gateway: Running) -> None:
    assert post(gateway, b"\x1f\x8b", content_encoding="gzip").status == 415


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/v1", "/v1/nothing", "/v1/chat/completions/", "/v1/responses", "/V1/models", "//v1/models"],
)
def test_a_path_that_is_not_there_is_404(gateway: Running, path: str) -> None:
    for answer in (ask(gateway.url + path, method="GET"), ask(gateway.url + path, chat())):
        assert (answer.status, answer.error["code"]) == (404, "not_found")
        assert answer.error["type"] == "invalid_request_error"


def test_a_bug_beside_the_calls_answers_as_an_error_too(
    gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> bytes:
        raise ZeroDivisionError("canary")

    monkeypatch.setattr(gateway.gateway, "scrape", broken)
    answer = ask(f"{gateway.url}/metrics", method="GET")
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert "canary" not in answer.error["message"]
    assert "x-request-id" in answer.headers


@pytest.mark.parametrize("path", ["/healthz/", "/metrics/", "/admin/reload/"])
def test_nobody_is_sent_to_a_host_that_the_client_named(gateway: Running, path: str) -> None:
    for host, status in (("elsewhere.local", 404), ("evil.example", 421)):
        answer = ask(gateway.url + path, method="GET", headers={"host": host})
        assert answer.status == status
        assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/completions"),
        ("PUT", "/v1/embeddings"),
        ("POST", "/v1/models"),
        ("DELETE", "/v1/models/m"),
        ("GET", "/admin/reload"),
    ],
)
def test_a_method_that_is_not_taken_is_405(gateway: Running, method: str, path: str) -> None:
    answer = ask(gateway.url + path, method=method)
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")


def test_a_whole_answer_over_the_limit_is_refused() -> None:
    with (
        canned(whole(b'{"choices":[],"x":"%b"}' % (b"x" * 5000))) as engine,
        run_gateway(config_to(engine.base_url, max_response_bytes=5000)) as gateway,
    ):
        answer = post(gateway, chat())
    assert (answer.status, answer.error["code"]) == (502, "engine_error")


def test_a_request_that_never_became_a_call_is_counted(gateway: Running) -> None:
    def refused() -> float:
        page = ask(f"{gateway.url}/metrics", method="GET").body.decode()
        labels = 'endpoint="chat/completions",engine="(none)",model="(none)",outcome="unsupported_media_type"'
        found = [line for line in page.splitlines() if labels in line]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    before = refused()
    post(gateway, b"{}", content_type="text/plain")
    assert refused() == before + 1
