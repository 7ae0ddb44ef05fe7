"""The config file: every mistake at once, each with its path and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
from config.mistakes import GOOD, problems
from hypothesis import given
from hypothesis import strategies as st

from tidegate import config
from tidegate.config import OpenAIConfig, ScriptedConfig
from tidegate.errors import ConfigError, Problem


def paths(text: str) -> set[str]:
    return {problem.path for problem in problems(text)}


def test_the_smallest_file() -> None:
    found = config.parse_text(GOOD, source="x")
    assert found.engines["near"] == OpenAIConfig(kind="openai", url="http://127.0.0.1:8000/v1")
    assert found.server.port == 8080


def test_all_mistakes_are_reported_in_one_go() -> None:
    found = paths("""
server: {port: 99999, hots: 0.0.0.0}
engines:
  a: {kind: openai, url: "ftp://x"}
  b: {kind: opnai}
  c: {url: "http://x/v1"}
  d: {kind: scripted, ttft_ms: -1}
models:
  m: {deployments: [{engine: nobody}]}
  n: {deployments: []}
""")
    assert found >= {
        "server.port",
        "server.hots",
        "engines.a.url",
        "engines.b.kind",
        "engines.c.kind",
        "engines.d.ttft_ms",
        "models.m.deployments[0].engine",
        "models.n.deployments",
    }


def test_mistakes_are_told_in_the_order_of_the_file() -> None:
    text = "{models: {}, x: 1, engines: {a: {kind: b}}, admin: 1, server: 1}"
    assert [p.path for p in problems(text)] == ["x", "engines.a.kind", "admin", "server", "models"]


def test_a_broken_engine_is_not_a_missing_one() -> None:
    assert paths(GOOD.replace("kind: openai", "kind: openai, proxxy: 1")) == {"engines.near.proxxy"}


def test_names_that_point_nowhere_are_found_with_those_that_exist() -> None:
    (problem,) = problems(GOOD.replace("{engine: near}", "{engine: neer}"))
    assert problem == (
        "models.m.deployments[0].engine",
        "there is no engine 'neer'; there are: near",
    )


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (GOOD + "serve: {}", "serve", "did you mean 'server'?"),
        (GOOD.replace("openai", "opnai"), "engines.near.kind", "there are: embedded, embedder"),
        (GOOD.replace("openai", "openai, urll: x"), "engines.near.urll", "did you mean 'url'?"),
        (GOOD.replace("  m:", "  'a*b':"), "models.a*b", "'*' may only stand at the end"),
        (GOOD + "server: {prot: 1}", "server.prot", "did you mean 'port'?"),
        (
            GOOD.replace("engine: near", "engin: near"),
            "models.m.deployments[0].engin",
            "did you mean 'engine'?",
        ),
        (GOOD + "server: {port: x}", "server.port", "should be a valid integer"),
        ("[]", "", "must be a mapping"),
        ("a: b: c", "", "not valid YAML"),
        (GOOD + "engines: {}", "", "'engines' is given twice"),
        ("engines: 3", "engines", "must be a mapping"),
        ("engines: {s: {kind: scripted}}", "models", "names no model"),
    ],
)
def test_a_mistake_is_named_with_its_mending(text: str, path: str, words: str) -> None:
    (problem,) = [found for found in problems(text) if found.path == path]
    assert words in problem.message


def test_secrets_come_from_the_environment_and_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_KEY", "sk-canary")
    text = GOOD.replace('/v1"}', '/v1", api_key: "${ENGINE_KEY}"}')
    found = config.parse_text(text, source="x")
    engine = found.engines["near"]
    assert isinstance(engine, OpenAIConfig)
    assert engine.api_key is not None
    assert engine.api_key.get_secret_value() == "sk-canary"
    assert "canary" not in f"{found!r}{found}{engine.model_dump_json()}"


def test_a_missing_variable_is_a_mistake_and_a_default_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_THERE", raising=False)
    assert problems(GOOD.replace('/v1"}', '/v1", api_key: "${NOT_THERE}"}')) == [
        Problem("engines.near.api_key", "the environment variable NOT_THERE is not set")
    ]
    found = config.parse_text(GOOD.replace("127.0.0.1", "${NOT_THERE:-10.0.0.1}"), source="x")
    assert found.engines["near"].model_dump()["url"] == "http://10.0.0.1:8000/v1"


def test_a_wrong_secret_is_not_repeated_in_the_error() -> None:
    text = GOOD.replace('/v1"}', '/v1", api_key: [sk-canary]}')
    assert "canary" not in "".join(problem.message for problem in problems(text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        config.load(tmp_path / "none.yaml")


def test_without_a_file_the_embedded_engine_serves() -> None:
    built_in = config.built_in()
    assert set(built_in.models) == {"smollm2-135m-instruct", "default", "all-minilm-l6-v2"}
    assert {engine.kind for engine in built_in.engines.values()} == {"embedded", "embedder"}


def test_the_digest_tells_settings_apart_secrets_included() -> None:
    def engine(key: str) -> OpenAIConfig:
        return OpenAIConfig.model_validate({"kind": "openai", "url": "http://x/v1", "api_key": key})

    assert config.digest(engine("a")) == config.digest(engine("a"))
    assert config.digest(engine("a")) != config.digest(engine("b"))


def test_the_seats_of_an_engine_are_no_other_engine() -> None:
    plain = ScriptedConfig(kind="scripted", ttft_ms=1)
    seats = ScriptedConfig(kind="scripted", ttft_ms=1, max_in_flight=4, reserved_seats=1)
    assert config.engine_digest(plain) == config.engine_digest(seats)
    assert config.digest(plain) != config.digest(seats)
    assert config.engine_digest(plain) != config.engine_digest(plain.model_copy(update={"ttft_ms": 2}))


def test_reserved_seats_leave_one_for_clients() -> None:
    text = "engines: {s: {kind: scripted, %s}}\nmodels: {m: {deployments: [{engine: s}]}}\n"
    for right in ("reserved_seats: 3, max_in_flight: 4", "reserved_seats: 3", "max_in_flight: 1"):
        config.parse_text(text % right, source="x")
    assert problems(text % "reserved_seats: 4, max_in_flight: 4") == [
        Problem(
            "engines.s", "reserved_seats, 4, must be less than max_in_flight, 4: clients would get no seat"
        )
    ]
    assert paths(text % "reserved_seats: -1") == {"engines.s.reserved_seats"}


@pytest.mark.parametrize(
    "text",
    [
        "{? [a, b]: 1}",
        "since: 2020-99-99",
        "{true: 4, null: 3, 1.5: 2, 2020-01-01: 1}",
        GOOD.replace("near", "true"),
        GOOD.replace("  m:", "  null:"),
        "a: &a [*a]",
        "[" * 3000,
        GOOD.replace("near", "1"),
        GOOD.replace(":8000", ":99999"),
        GOOD.replace(":8000", ":x"),
        GOOD.replace("127.0.0.1", "[::1"),
    ],
)
def test_what_no_parser_likes_is_a_mistake_and_no_crash(text: str) -> None:
    assert problems(text)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "tidegate.yaml"
    path.write_bytes(b"server: \xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        config.load(path)


def test_sections_may_be_merged_from_an_anchor() -> None:
    text = """
engines:
  near: &near {kind: openai, url: "http://127.0.0.1:8000/v1", max_in_flight: 3}
  far: {<<: *near, url: "http://far/v1"}
models: {m: {deployments: [{engine: far}]}}
"""
    far = config.parse_text(text, source="x").engines["far"]
    assert isinstance(far, OpenAIConfig)
    assert (far.url, far.max_in_flight) == ("http://far/v1", 3)


TLS = Path(__file__).parent.parent / "egress" / "tls"


def test_certificates_are_tried_when_the_file_is_read(tmp_path: Path) -> None:
    def wrong(certificate: Path, key: Path) -> set[str]:
        return paths(f"{GOOD}\nserver: {{tls: {{certificate_path: '{certificate}', key_path: '{key}'}}}}")

    good = TLS / "server.pem"
    nothing = tmp_path / "key.pem"
    nothing.write_text("no key")
    assert wrong(good, nothing) == {"server.tls"}
    assert wrong(TLS / "ca.pem", good) == {"server.tls"}
    assert wrong(good, tmp_path / "none") == {"server.tls.key_path"}
    text = f"{GOOD}\nserver: {{tls: {{certificate_path: '{good}', key_path: '{good}'}}}}"
    assert config.parse_text(text, source="x").server.tls is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["server", "admin", "engines", "models", "m", "kind", "url", "deployments", "engine", "x"]
)


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, JSON, max_size=3) | JSON, max_size=4))
def test_any_tree_is_a_configuration_or_a_list_of_mistakes(tree: object) -> None:
    try:
        config.parse(tree, source="x")
    except ConfigError as error:
        found = error.problems
    else:
        found = [Problem("", "none")]
    assert found
    assert all(problem.message for problem in found)


def test_a_slot_has_room_for_a_prompt() -> None:
    text = "engines: {local: {kind: embedded, %s}}\nmodels: {m: {deployments: [{engine: local}]}}\n"
    for short in ("context_tokens: 1023", "slots: 64"):
        (problem,) = problems(text % short)
        assert problem.path == "engines.local"
        assert "context_tokens" in problem.message
        assert "at least 256" in problem.message
    config.parse_text(text % "context_tokens: 1024", source="x")
