"""`tidegate check --explain`: what it says is what happens, compared with what an engine really receives."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Running, ask, config_to, run_gateway
from talking import NEEDED, SCRIPT, body_of

from tidegate import cli
from tidegate.cli.explain import explain
from tidegate.config import parse, parse_text
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread
from tidegate.types import ENGINE_ENDPOINTS, Endpoint

SECRETS = ("sk-never-shown", "team-never-shown")
PLACED = {"name": "upstream-name", "engine": "upstream"}
BODIES = {
    Endpoint.CHAT: body_of(
        {
            **NEEDED["chat/completions"],
            "temperature": b"1.10",
            "seed": b"12345678901234567890",
            "stop": '["é", "\\u00e9"]'.encode(),
            "top_k": b"5",
            "stream": b"true",
        }
    ),
    Endpoint.COMPLETIONS: body_of({**NEEDED["completions"], "n": b"2", "min_p": b"1e-2"}),
    Endpoint.EMBEDDINGS: body_of({**NEEDED["embeddings"], "dimensions": b"8"}),
}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=SCRIPT)) as server:
        yield server


@pytest.fixture(scope="module")
def config(engine: ScriptedServer) -> str:
    """To the engine under another model name, with secrets of both kinds."""
    tree = json.loads(
        config_to(engine.base_url, kind="vllm", api_key=SECRETS[0], headers={"X-Team": SECRETS[1]})
    )
    tree["models"] = {"m*": {"deployments": [{"engine": "upstream", "model": "upstream-name"}]}}
    return json.dumps(tree)


@pytest.fixture(scope="module")
def gateway(config: str) -> Iterator[Running]:
    with run_gateway(config) as gateway:
        yield gateway


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The command on a config and a request body; its status, standard output and standard error."""

    def check(config: str, body: bytes | None, *line: str) -> tuple[int, str, str]:
        (tmp_path / "tidegate.yaml").write_text(config, "utf-8")
        if body is not None:
            (tmp_path / "request.json").write_bytes(body)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["tidegate", "check", *line])
        status = 0
        try:
            cli.main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err

    return check


def explained(run: Run, config: str, body: bytes, *line: str) -> tuple[int, dict[str, Any]]:
    status, out, _ = run(config, body, "--explain", "request.json", "--json", *line)
    return status, json.loads(out)


@pytest.mark.parametrize("endpoint", ENGINE_ENDPOINTS)
def test_what_is_told_is_what_is_sent(
    endpoint: Endpoint, gateway: Running, engine: ScriptedServer, config: str
) -> None:
    body = BODIES[endpoint]
    engine.record.reset()
    assert ask(f"{gateway.base_url}/{endpoint.value}", body).status == 200
    received = engine.record.entries[-1]

    told = explain(parse_text(config, source="the test"), endpoint, body, source=None)

    assert told.refused is None
    (place,) = told.places
    assert place.request is not None
    assert place.request.method == "POST"
    assert place.request.url == f"{engine.url}{received.path}"
    assert received.body is not None
    assert bytes(place.request.body) == bytes(received.body)
    assert b"upstream-name" in bytes(place.request.body)
    shown = dict(place.request.headers)
    assert list(shown) == list(received.headers)
    secret = {name for name, value in shown.items() if value != received.headers[name]}
    assert secret == {"x-team", "authorization"}
    assert {shown[name] for name in secret} == {"**********"}


REFUSED = {
    "a field that is none": {**NEEDED["chat/completions"], "tempreature": b"1"},
    "a field of the wrong type": {**NEEDED["chat/completions"], "n": b'"two"'},
    "a field that is missing": {"model": b'"m"'},
    "a model that is none": {**NEEDED["chat/completions"], "model": b'"gpt"'},
}


@pytest.mark.parametrize("fields", REFUSED.values(), ids=REFUSED)
def test_a_refusal_is_the_gateways_own(
    fields: dict[str, bytes], gateway: Running, config: str, run: Run
) -> None:
    body = body_of(fields)
    answer = ask(f"{gateway.base_url}/chat/completions", body)
    status, told = explained(run, config, body)
    assert status == 1
    refused = told["refused"]
    assert refused.pop("status") == answer.status >= 400
    assert refused == answer.error


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"", b'"text"', b"[" * 100_000])
def test_a_body_that_is_none_is_refused_as_the_gateway_does(
    body: bytes, gateway: Running, config: str, run: Run
) -> None:
    answer = ask(f"{gateway.base_url}/chat/completions", body)
    status, told = explained(run, config, body)
    assert (status, told["refused"]["message"]) == (1, answer.error["message"])
    assert {stage["state"] for stage in told["stages"]} == {"refused", "not reached"}


@pytest.mark.parametrize("limit", ["max_body_bytes", "max_json_depth", "max_json_containers"])
def test_the_limits_of_the_edge_are_those_of_the_gateway(
    limit: str, run: Run, engine: ScriptedServer
) -> None:
    config = config_to(engine.base_url, server={limit: 1})
    with run_gateway(config) as strict:
        answer = ask(f"{strict.base_url}/chat/completions", BODIES[Endpoint.CHAT])
    status, told = explained(run, config, BODIES[Endpoint.CHAT])
    assert answer.status >= 400
    assert (status, told["refused"]["message"]) == (1, answer.error["message"])


def test_the_stages_are_told_with_their_empty_places(run: Run, config: str) -> None:
    _, told = explained(run, config, BODIES[Endpoint.CHAT])
    states = {stage["name"]: stage["state"] for stage in told["stages"]}
    assert next(iter(states)) == "http"
    assert list(states)[-1] == "attempt"
    assert {name for name, state in states.items() if state == "passed"} == {
        "http",
        "observe",
        "authenticate",
        "limit",
        "screen",
        "recall",
        "admit",
        "guard",
        "route",
        "attempt",
    }
    assert set(states.values()) == {"passed", "empty"}


def test_after_a_refusal_nothing_is_passed(run: Run, config: str) -> None:
    _, told = explained(run, config, body_of(REFUSED["a model that is none"]))
    states = {stage["name"]: stage["state"] for stage in told["stages"]}
    assert (states["admit"], states["route"], states["attempt"]) == ("refused", "not reached", "not reached")
    assert told["places"] == []


def test_every_deployment_is_told_with_its_own_deadline_and_refusal() -> None:
    one = {"kind": "vllm", "url": "http://a/v1", "timeouts": {"total_ms": 30_000}, "max_in_flight": 3}
    tree = {
        "server": {"call_deadline_s": 60},
        "engines": {"one": one, "two": {"kind": "openai", "url": "https://b:8443/api/v1"}},
        "models": {"m": {"deployments": [{"engine": "one"}, {"engine": "two", "model": "there"}]}},
    }
    body = body_of({**NEEDED["chat/completions"], "top_k": b"5"})
    told = explain(parse(tree, source="the test"), Endpoint.CHAT, body, source=None)
    first, second = told.places
    assert told.refused is None, "idle, the first one takes it"
    assert (first.engine, first.within_s, first.calls_at_once) == ("one", 30, 3)
    assert first.request is not None
    assert first.request.url == "http://a/v1/chat/completions"
    assert (second.engine, second.within_s, second.request) == ("two", 60, None)
    assert second.refused is not None
    assert second.refused.param == "top_k"


def test_deployments_that_are_left_out_are_told_with_the_reason() -> None:
    able = {"engine": "able", "tags": ["eu"]}
    out = [
        {"engine": "far"},
        {"engine": "blind", "tags": ["eu"], "vision": False},
        {"engine": "small", "tags": ["eu"], "context_tokens": 20},
        {"engine": "plain", "tags": ["eu"]},
    ]
    tree = {
        "engines": {
            name: {"kind": "openai" if name == "plain" else "vllm", "url": f"http://{name}/v1"}
            for name in ("able", "far", "blind", "small", "plain")
        },
        "models": {"m": {"deployments": [able, *out]}},
        "policies": {"default": {"tags": ["eu"]}},
    }
    content = [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "http://a/b.png"}}]
    messages = json.dumps([{"role": "user", "content": content}]).encode()
    body = body_of({"model": b'"m"', "messages": messages, "top_k": b"5", "max_tokens": b"64"})
    told = explain(parse(tree, source="the test"), Endpoint.CHAT, body, source=None)
    assert told.refused is None
    (route,) = (stage.note for stage in told.stages if stage.name == "route")
    first, _, reasons = route.partition("; left out: ")
    assert first == "model 'm': engine 'able'"
    assert reasons.split(", '") == [
        "'far' (the policy 'default' asks for the tag 'eu')",
        "blind' (cannot serve 'messages')",
        "small' (its context of 20 tokens is too short)",
        "plain' (The field 'top_k' is not accepted for the model 'm'; did you mean 'top_p'?)",
    ]


def test_the_embedded_engine_is_told_without_being_started(run: Run) -> None:
    status, told = explained(run, "{}", body_of({**NEEDED["chat/completions"], "model": b'"default"'}))
    (place,) = told["places"]
    assert (status, place["engine"], place["kind"]) == (0, "local", "embedded")
    assert place["request"]["body"] == {
        "model": "smollm2-135m-instruct",
        "messages": [{"role": "user", "content": "hi"}],
        "id_slot": 0,
    }
    assert any("llama.cpp" in note for note in place["request"]["notes"])


def test_an_engine_in_the_process_is_told_with_what_it_is_handed(run: Run) -> None:
    body = body_of({**NEEDED["embeddings"], "model": b'"all-minilm-l6-v2"'})
    status, told = explained(run, "{}", body)
    (place,) = told["places"]
    assert (status, told["endpoint"], place["request"]) == (0, "embeddings", None)
    assert place["handed"] == {"model": "all-minilm-l6-v2", "input": "text"}


def test_the_page_shows_the_request_and_no_secret(run: Run, config: str) -> None:
    status, page, _ = run(config, BODIES[Endpoint.CHAT], "--explain", "request.json")
    assert status == 0
    for words in ("authenticate", "(empty place)", "authorization: **********", '"top_k": 5', "1.10"):
        assert words in page
    assert not any(secret in page for secret in SECRETS)


def test_what_a_terminal_would_obey_is_escaped(run: Run, config: str) -> None:
    text = "red \x9b31m, and back \u202e"
    body = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": text}]}, ensure_ascii=False
    ).encode()
    for form in ((), ("--json",)):
        _, page, _ = run(config, body, "--explain", "request.json", *form)
        assert "\x9b" not in page
        assert "\u202e" not in page
        assert "\\u009b31m" in page


def test_a_request_comes_from_standard_input(run: Run, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = io.TextIOWrapper(io.BytesIO(BODIES[Endpoint.COMPLETIONS]))
    monkeypatch.setattr("sys.stdin", given)
    status, out, _ = run(config, None, "--explain", "-", "--json")
    assert (status, json.loads(out)["endpoint"]) == (0, "completions")


def test_the_endpoint_can_be_named(run: Run, config: str) -> None:
    status, told = explained(run, config, BODIES[Endpoint.COMPLETIONS], "--endpoint", "chat.completions")
    assert (status, told["refused"]["param"]) == (1, "messages")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (("--explain", "nowhere.json"), "nowhere.json: cannot be read: No such file"),
        (("--explain", "."), ".: cannot be read: Is a directory"),
        (("--endpoint", "embeddings"), "--explain"),
        (("--explain", "request.json", "--endpoint", "images"), "--endpoint"),
    ],
)
def test_a_command_line_that_cannot_be_ends_with_2(
    line: tuple[str, ...], named: str, run: Run, config: str
) -> None:
    status, out, err = run(config, b"{}", *line)
    assert status == 2
    assert named in out + err
