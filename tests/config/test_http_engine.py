"""The settings of an engine behind a URL that could fail at every request are refused when the file is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate import config
from tidegate.cli.check import effective
from tidegate.config import OpenAIConfig
from tidegate.errors import ConfigError, Problem

CA = Path(__file__).parent.parent / "egress" / "tls" / "ca.pem"


def text(settings: str) -> str:
    engine = f"{{kind: openai, url: 'https://far/v1', {settings}}}"
    return f"engines: {{far: {engine}}}\nmodels: {{m: {{deployments: [{{engine: far}}]}}}}"


def problem(settings: str) -> Problem:
    with pytest.raises(ConfigError) as raised:
        config.parse_text(text(settings), source="x")
    (found,) = raised.value.problems
    return found


@pytest.mark.parametrize("key", ["canary\n", "canary\r\n", "\ncanary", "can\rary"])
def test_a_key_with_a_line_break_is_refused(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_KEY", key)
    found = problem('api_key: "${ENGINE_KEY}"')
    assert found.path == "engines.far.api_key"
    assert "line break" in found.message
    assert "ary" not in found.message


@pytest.mark.parametrize("header", [r'"x-team": "canary\n"', r'"x-team": "a\r\nx-more: b"', r'"x-team\n": a'])
def test_a_header_with_a_line_break_is_refused(header: str) -> None:
    found = problem(f"headers: {{{header}}}")
    assert found.path == "engines.far.headers"
    assert "x-team" in found.message
    assert "line break" in found.message
    assert "canary" not in found.message


def test_keys_and_headers_on_one_line_stay_as_they_are() -> None:
    engine = config.parse_text(text("api_key: ' k ', headers: {x-team: a b}"), source="x").engines["far"]
    assert isinstance(engine, OpenAIConfig)
    assert engine.api_key is not None
    assert engine.api_key.get_secret_value() == " k "
    assert engine.headers["x-team"].get_secret_value() == "a b"


def test_a_certificate_authority() -> None:
    engine = config.parse_text(text(f"ca_path: '{CA}'"), source="x").engines["far"]
    assert isinstance(engine, OpenAIConfig)
    assert engine.ca_path == CA


@pytest.mark.parametrize("content", [None, b"", b"no PEM", b"\xff\xfe"])
def test_a_certificate_authority_that_is_none(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    found = problem(f"ca_path: '{path}'")
    assert found.path == "engines.far.ca_path"
    assert str(path) in found.message
    assert ("there is no file" if content is None else "no certificate") in found.message


@pytest.mark.parametrize("name", ["x team", "größe", "x:y", ""])
def test_what_cannot_name_a_header_is_refused(name: str) -> None:
    assert "is not a valid header name" in problem(f"headers: {{'{name}': a}}").message


@pytest.mark.parametrize(
    "proxy", ["proxy", "socks5://proxy", "http://u:canary@proxy:99999", "http://u:canary@[::1"]
)
def test_a_proxy_that_cannot_be_is_refused(proxy: str) -> None:
    found = problem(f"proxy: '{proxy}'")
    assert found.path == "engines.far.proxy"
    assert "canary" not in found.message


def test_the_password_of_a_proxy_is_not_shown() -> None:
    loaded = config.parse_text(text("proxy: 'http://user:canary@proxy:3128'"), source="x")
    shown = str(effective(loaded))
    assert "canary" not in shown
    assert "@proxy:3128" in shown
    engine = loaded.engines["far"]
    assert isinstance(engine, OpenAIConfig)
    assert engine.proxy == "http://user:canary@proxy:3128"


# -- client certificates ---------------------------------------------------------------------------------------------------

CERTIFICATE, KEY = CA.parent / "client.pem", CA.parent / "client-key.pem"
CERTIFICATE_IS = f"client_certificate_path: '{CERTIFICATE}'"


def test_a_client_certificate_and_its_key() -> None:
    engine = config.parse_text(text(f"{CERTIFICATE_IS}, client_key_path: '{KEY}'"), source="x").engines["far"]
    assert isinstance(engine, OpenAIConfig)
    assert (engine.client_certificate_path, engine.client_key_path) == (CERTIFICATE, KEY)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (CERTIFICATE_IS, "cannot be used"),  # no key in it
        (f"{CERTIFICATE_IS}, client_key_path: '{CA}'", "cannot be used"),
        (f"client_key_path: '{KEY}'", "needs client_certificate_path"),
        ("client_certificate_path: /nowhere.pem", "cannot be used"),
    ],
)
def test_a_client_certificate_that_cannot_be_used_is_refused(settings: str, words: str) -> None:
    assert words in problem(settings).message


def test_a_client_certificate_needs_tls() -> None:
    settings = f"{{kind: openai, url: 'http://near/v1', {CERTIFICATE_IS}, client_key_path: '{KEY}'}}"
    with pytest.raises(ConfigError, match="https://"):
        config.parse_text(f"engines: {{near: {settings}}}", source="x")


# -- connections and seats -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "connections", "seats"),
    [
        ("allow_fields: []", 1024, 1024),
        ("max_in_flight: 8", 1024, 8),
        ("max_in_flight: 3000", 3000, 3000),
        ("max_connections: 16", 16, 16),
        ("max_in_flight: 64, max_connections: 16", 16, 16),
        ("max_in_flight: 4, max_connections: 16", 16, 4),
    ],
)
def test_there_are_never_more_seats_than_connections(settings: str, connections: int, seats: int) -> None:
    engine = config.parse_text(text(settings), source="x").engines["far"]
    assert isinstance(engine, OpenAIConfig)
    assert (engine.max_connections, engine.seats(None)) == (connections, seats)
