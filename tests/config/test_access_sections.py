"""The sections `auth`, `policies`, `organisations` and `keys`: every mistake at once, and no secret in a message."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.config import Config, parse_text
from tidegate.config.unenforced import check_enforced
from tidegate.errors import ConfigError

SECRET = "a-secret-of-twenty-characters"
DIGEST = "0a" * 32


def read(**sections: Any) -> Config:
    tree = {
        "engines": {"e": {"kind": "scripted"}},
        "models": {"m": {"deployments": [{"engine": "e"}]}},
        **sections,
    }
    return parse_text(json.dumps(tree), source="tidegate.yaml")


def problems(**sections: Any) -> dict[str, str]:
    with pytest.raises(ConfigError) as raised:
        read(**sections)
    return {problem.path: problem.message for problem in raised.value.problems}


ORGANISATIONS = {
    "acme": {"teams": {"blue": {"users": {"ann": {}}}, "red": {}}},
    "other": {"teams": {"green": {}}},
}


def test_every_mistake_is_told_at_once_with_its_path() -> None:
    found = problems(
        server={"port": 99999},
        policies={
            "small": {"models": ["g*pt"], "limits": {"requests_per_minute": 0}, "timezone": "Mars/Olympus"},
            "wide": {"on_limit": "queue", "limits_by_model": {"a*b": {}}, "model": ["m"]},
        },
        organisations={
            "acme": {
                "policy": "smal",
                "teams": {"blue": {"policy": "nobody", "users": {"ann": {"policy": "no"}}}},
            }
        },
        keys={
            "a": {"secret": "short"},
            "b": {},
            "c": {"secret": SECRET, "digest": DIGEST},
            "d": {"digest": "xyz"},
            "e": {"secret": SECRET + "e", "policy": "nothing"},
            "f": {"secret": SECRET + "f", "organisation": "acme", "team": "red"},
            "g": {"secret": SECRET + "g", "team": "blue"},
            "h": {"secret": SECRET + "h", "scopes": ["root"]},
            "i": {"secret": SECRET + "i", "models": ["*x"]},
            "j": {"secret": SECRET + "j", "expires_at": "soon"},
        },
        auth={"pepper": "short", "trusted_proxies": ["everywhere"], "mode": "open"},
    )
    assert found.keys() >= {
        "server.port",
        "policies.small.models[0]",
        "policies.small.limits.requests_per_minute",
        "policies.small.timezone",
        "policies.wide.on_limit",
        "policies.wide.limits_by_model",
        "policies.wide.model",
        "organisations.acme.policy",
        "organisations.acme.teams.blue.policy",
        "organisations.acme.teams.blue.users.ann.policy",
        "keys.a.secret",
        "keys.b",
        "keys.c",
        "keys.d.digest",
        "keys.e.policy",
        "keys.f.team",
        "keys.g.team",
        "keys.h.scopes[0]",
        "keys.i.models[0]",
        "keys.j.expires_at",
        "auth.pepper",
        "auth.trusted_proxies",
        "auth.mode",
    }
    assert "did you mean 'models'?" in found["policies.wide.model"]
    assert "there is no policy 'smal'; there are: default, small, wide" in found["organisations.acme.policy"]
    assert SECRET not in str(found)


@pytest.mark.parametrize(
    ("key", "path", "words"),
    [
        ({"organisation": "acm"}, "organisation", "there is no organisation 'acm'; there are: acme, other"),
        (
            {"organisation": "acme", "team": "green"},
            "team",
            "there is no team 'green' in the organisation 'acme'; there are: blue, red",
        ),
        (
            {"organisation": "other", "team": "blue"},
            "team",
            "there is no team 'blue' in the organisation 'other'; there are: green",
        ),
        (
            {"organisation": "acme", "team": "red", "user": "ann"},
            "user",
            "there is no user 'ann' in the team 'red'; there are: none",
        ),
        ({"team": "blue"}, "team", "needs the key's organisation: name that too"),
        ({"user": "ann"}, "user", "needs the key's organisation: name that too"),
        ({"organisation": "acme", "user": "ann"}, "user", "needs the key's team: name that too"),
        ({"policy": "none"}, "policy", "there is no policy 'none'; there are: default"),
    ],
)
def test_a_key_belongs_to_tenants_that_there_are(key: dict[str, str], path: str, words: str) -> None:
    assert problems(organisations=ORGANISATIONS, keys={"k": {"secret": SECRET, **key}}) == {
        f"keys.k.{path}": words
    }


def test_a_key_of_every_level_is_taken() -> None:
    tenants = [{}, {"organisation": "acme"}, {"organisation": "acme", "team": "blue"}]
    tenants.append({"organisation": "acme", "team": "blue", "user": "ann"})
    keys = {str(at): {"secret": f"{SECRET}{at}", **of} for at, of in enumerate(tenants)}
    assert len(read(organisations=ORGANISATIONS, keys=keys).keys) == 4


@pytest.mark.parametrize(
    ("sections", "path"),
    [
        ({"keys": {"a": {"secret": SECRET}, "b": {"secret": SECRET}}}, "keys.b.secret"),
        ({"keys": {"a": {"secret": SECRET}}, "admin": {"token": SECRET}}, "keys.a.secret"),
        (
            {
                "auth": {"pepper": "p" * 16},
                "keys": {"a": {"digest": DIGEST}, "b": {"digest": DIGEST.upper()}},
            },
            "keys.b.digest",
        ),
        ({"keys": {"a": {"digest": DIGEST}}}, "keys.a.digest"),
        ({"auth": {"mode": "none"}, "keys": {"a": {"secret": SECRET}}}, "auth.mode"),
        ({"keys": {"a": {"secret": "sixteen chars ok"}}}, "keys.a.secret"),
        ({"keys": {"a": {"secret": "schlüssel-von-zwanzig"}}}, "keys.a.secret"),
        ({"keys": {"a": {"secret": "line\nbreak-of-twenty-chars"}}}, "keys.a.secret"),
    ],
)
def test_what_could_not_be_told_apart_or_could_not_work_is_a_mistake(
    sections: dict[str, Any], path: str
) -> None:
    found = problems(**sections)
    assert list(found) == [path]
    assert SECRET not in str(found)


@given(st.text(max_size=15))
def test_a_short_secret_is_refused_and_never_told(secret: str) -> None:
    try:
        read(keys={"k": {"secret": secret.replace("$", "")}})
    except ConfigError as error:
        shown = str(error).replace("tidegate.yaml", "").replace("keys.k.secret", "")
        assert len(secret) < 4 or secret not in shown
    else:
        raise AssertionError("taken")


@pytest.mark.parametrize("value", ["1234567890123456789", "1234567890.123456789", "2027-01-01", "true"])
@pytest.mark.parametrize("place", ["keys: {k: {secret: %s}}", "admin: {token: %s}", "auth: {pepper: %s}"])
def test_a_secret_that_yaml_reads_as_something_else_is_not_told_either(place: str, value: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_text(place % value, source="tidegate.yaml")
    assert "must be text: write it in quotes" in str(raised.value)
    assert value not in str(raised.value)


@pytest.mark.parametrize(
    ("written", "at"),
    [
        ("2027-01-31T00:00:00Z", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T02:00:00+02:00", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T00:00:00", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("'2027-01-31'", datetime(2027, 1, 31, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_zone_is_utc(written: str, at: datetime) -> None:
    text = f"keys: {{k: {{secret: {SECRET}, expires_at: {written}}}}}"
    assert parse_text(text, source="tidegate.yaml").keys["k"].expires_at == at


@pytest.mark.parametrize(
    ("sections", "closed"),
    [
        ({}, False),
        ({"keys": {"k": {"secret": SECRET}}}, True),
        ({"auth": {"mode": "keys"}}, True),
        ({"auth": {"mode": "none"}}, False),
        ({"admin": {"token": SECRET}}, False),
    ],
)
def test_keys_close_the_gateway(sections: dict[str, Any], closed: bool) -> None:
    assert read(**sections).has_keys is closed


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"policies": {"p": {"limits": {"usd_per_day": 1}}}}, "policies.p.limits.usd_per_day"),
        (
            {"policies": {"p": {"limits_by_model": {"m": {"usd_per_month": 1}}}}},
            "policies.p.limits_by_model.m.usd_per_month",
        ),
        (
            {"policies": {"p": {"end_user_limits": {"usd_per_day": 1}}}},
            "policies.p.end_user_limits.usd_per_day",
        ),
        (
            {"models": {"m": {"deployments": [{"engine": "e"}], "limits": {"usd_per_day": 1}}}},
            "models.m.limits.usd_per_day",
        ),
    ],
)
def test_the_gateway_does_not_start_with_a_setting_without_effect(more: Any, path: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_enforced(read(**more))
    assert [problem.path for problem in raised.value.problems] == [path]


def test_policies_without_such_settings_are_fine() -> None:
    limits = {
        "limits": {"tokens_per_day": 1},
        "on_limit": "wait",
        "enforce": False,
        "timezone": "Europe/Berlin",
    }
    check_enforced(read(policies={"p": {"models": ["m"], "defaults": {"deadline_s": 5}, **limits}}))


# ------------------------------------------------------------------------------------------------------- tokens

ISSUER = "https://id.example.com/realms/acme"


def jwt_problem(**settings: Any) -> tuple[str, str]:
    found = problems(auth={"jwt": {"issuer": ISSUER, "audience": "tidegate", **settings}})
    ((path, words),) = found.items()
    return path, words


def test_the_settings_of_tokens_have_safe_defaults() -> None:
    config = read(auth={"jwt": {"issuer": ISSUER, "audience": "tidegate"}})
    jwt = config.auth.jwt
    assert jwt is not None
    assert config.has_keys
    assert jwt.audience == ("tidegate",)
    assert (jwt.leeway_s, jwt.max_token_age_s, jwt.max_stale_s) == (30, 172_800, 3600)
    assert jwt.claims.user == "sub"
    assert not jwt.claims.scopes_by_value
    assert not any(name.startswith("HS") or name == "none" for name in jwt.algorithms)
    both = {"jwt": {"issuer": ISSUER, "audience": ["a", "b"], "algorithms": ["ES512"]}, "mode": "keys"}
    assert read(auth=both).auth.jwt is not None


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE"])
def test_tokens_without_a_signature_cannot_be_allowed(name: str) -> None:
    path, words = jwt_problem(algorithms=["RS256", name])
    assert path == "auth.jwt.algorithms"
    assert f"'{name}' means without a signature: everybody could make such a token" in words
    assert "there are: RS256, RS384" in words


@pytest.mark.parametrize("name", ["HS256", "HS384", "HS512", "hs256"])
def test_signatures_with_a_shared_secret_cannot_be_allowed(name: str) -> None:
    path, words = jwt_problem(algorithms=[name])
    assert path == "auth.jwt.algorithms"
    assert "signs with a secret that the gateway would have to share" in words


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({"algorithms": ["RS257"]}, "algorithms", "'RS257' is not supported; there are: RS256"),
        ({"algorithms": ["rs256"]}, "algorithms", "'rs256' is not supported"),
        ({"algorithms": []}, "algorithms", "is empty"),
        ({"algorithms": "RS256"}, "algorithms", "must be a list"),
        ({"issuer": ""}, "issuer", "is empty"),
        ({"issuer": "http://id.example.com"}, "", "issuer must begin with https://"),
        ({"issuer": "acme"}, "", "issuer must look like https://host/path"),
        (
            {"issuer": f"{ISSUER}?a=b"},
            "",
            "issuer has a query, so its keys cannot be looked up: give jwks_url",
        ),
        ({"issuer": "https://user:password@id.example.com"}, "", "issuer must look like https://host/path"),
        ({"audience": ""}, "audience", "is empty"),
        ({"audience": []}, "audience", "is empty"),
        ({"audience": ["a", " "]}, "audience", "is empty"),
        ({"audience": 7}, "audience", "must be a list"),
        ({"jwks_url": "http://id.example.com/keys"}, "jwks_url", "must begin with https://"),
        ({"jwks_url": "http://127.0.0.1.example.com/keys"}, "jwks_url", "must begin with https://"),
        ({"jwks_url": "http://localhost.example.com/keys"}, "jwks_url", "must begin with https://"),
        ({"jwks_url": "http://10.0.0.1/keys"}, "jwks_url", "must begin with https://"),
        ({"jwks_url": "ftp://id.example.com/keys"}, "jwks_url", "must look like https://host/path"),
        ({"jwks_url": "https://a:99999/keys"}, "jwks_url", "has a host or a port that is not valid"),
        ({"jwks_url": "https://a/keys\r\nx: y"}, "jwks_url", "must look like https://host/path"),
        ({"leeway_s": 301}, "leeway_s", "must be 300 or less"),
        ({"leeway_s": -1}, "leeway_s", "must be 0 or more"),
        ({"max_token_age_s": 0}, "max_token_age_s", "must be greater than 0"),
        ({"max_stale_s": 604_801}, "max_stale_s", "must be 604800 or less"),
        ({"ca_path": "missing.pem"}, "ca_path", "there is no file missing.pem"),
        ({"require": {"hd": []}}, "require", "'hd' accepts no text, so every token would be refused"),
        ({"require": {"": ["a"]}}, "require", "is empty"),
        ({"claims": {"user": " "}}, "claims.user", "is empty"),
        ({"claims": {"team": "t"}}, "claims", "team needs organisation"),
        ({"claims": {"scopes": "scope"}}, "claims", "scopes needs scopes_by_value, such as"),
        ({"claims": {"scopes_by_value": {"a": ["inference"]}}}, "claims", "scopes_by_value needs scopes"),
        (
            {"claims": {"scopes": "scope", "scopes_by_value": {"a": ["root"]}}},
            "claims.scopes_by_value.a[0]",
            "must be 'inference', 'checks', 'admin:read'",
        ),
        ({"claims": {"roles": "x"}}, "claims.roles", "is not a setting"),
        ({"audiences": "x"}, "audiences", "is not a setting; did you mean 'audience'?"),
    ],
)
def test_a_mistake_in_the_settings_of_tokens_is_told_with_its_fix(
    settings: dict[str, Any], path: str, words: str
) -> None:
    found, told = jwt_problem(**settings)
    assert found == (f"auth.jwt.{path}" if path else "auth.jwt")
    assert words in told


@pytest.mark.parametrize(
    "settings",
    [
        {"issuer": "http://127.0.0.1:8000"},
        {"issuer": "http://localhost/realms/x"},
        {"issuer": "http://[::1]:8000"},
        {"issuer": "accounts.example.com", "jwks_url": "https://example.com/keys?p=x"},
        {"issuer": "http://id.example.com", "jwks_url": "https://id.example.com/keys"},
        {"issuer": "https://tenant.example.com/"},
    ],
)
def test_issuers_and_where_their_keys_may_be(settings: dict[str, Any]) -> None:
    assert read(auth={"jwt": {"audience": "tidegate", **settings}}).has_keys


def test_an_issuer_and_an_audience_are_needed_and_an_open_gateway_has_no_tokens() -> None:
    assert problems(auth={"jwt": {}}) == {
        "auth.jwt.issuer": "is missing",
        "auth.jwt.audience": "is missing",
    }
    found = problems(auth={"mode": "none", "jwt": {"issuer": ISSUER, "audience": "a"}})
    assert "the tokens of auth.jwt would mean nothing" in found["auth.mode"]
