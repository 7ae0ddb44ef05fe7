"""The admin API for keys, tenants and the admin log: what it changes at once, who may do what, and what it refuses."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Answer, Running, ask, run_gateway, wire

from tidegate.access.keys import parse

TOKEN = "the-token-of-the-administrator"
READER = "the-key-of-one-who-reads-only"
PEPPER = "the pepper of these tests"


def config(path: Path, **sections: Any) -> str:
    tree = {
        "server": {"port": 0},
        "admin": {"token": TOKEN},
        "auth": {"pepper": PEPPER},
        "engines": {"e": {"kind": "scripted"}},
        "models": {name: {"deployments": [{"engine": "e"}]} for name in ("m", "other")},
        "policies": {"narrow": {"models": ["m"]}},
        "organisations": {"acme": {"teams": {"blue": {"users": {"ann": {}}}}}, "beta": {}},
        "keys": {"reader": {"secret": READER, "scopes": ["admin:read"]}},
        "stores": {"main": {"kind": "local", "path": str(path)}},
        **sections,
    }
    return json.dumps(tree)


class Api:
    """The admin API of a gateway, asked with one key after another."""

    def __init__(self, gateway: Running) -> None:
        self.gateway = gateway

    def __call__(
        self, method: str, path: str, body: Any = None, *, key: str = TOKEN, **headers: str
    ) -> Answer:
        encoded = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        return ask(
            f"{self.gateway.url}{path}",
            encoded,
            {"authorization": f"Bearer {key}", **{k.replace("_", "-"): v for k, v in headers.items()}},
            method=method,
        )

    def get(self, path: str, *, key: str = TOKEN) -> Any:
        answer = self("GET", path, key=key)
        assert answer.status == 200, answer.body
        assert answer.headers["cache-control"] == "no-store"
        return answer.json

    def create(self, *, key: str = TOKEN, **fields: Any) -> Any:
        answer = self("POST", "/admin/keys", fields, key=key)
        assert answer.status == 201, answer.body
        assert answer.headers["cache-control"] == "no-store"
        return answer.json

    def models(self, key: str) -> list[str] | int:
        answer = self("GET", "/v1/models", key=key)
        return sorted(one["id"] for one in answer.json["data"]) if answer.status == 200 else answer.status


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with run_gateway(config(tmp_path / "keys.db")) as gateway:
        yield Api(gateway)


def test_a_key_is_made_used_rotated_and_revoked_and_every_step_holds_at_once(api: Api) -> None:
    made = api.create(name="laptop", expires_in_s=3600)
    text, path = made.pop("key"), f"/admin/keys/{made['id']}"
    assert parse(text).id == made["id"]
    assert (made["state"], made["name"], made["scopes"], made["version"]) == (
        "valid",
        "laptop",
        ["inference"],
        1,
    )
    assert api.models(text) == ["m", "other"]
    assert api.get(path)["name"] == "laptop"
    new = api("POST", f"{path}/rotate", {"overlap_s": 3600}).json["key"]
    assert [api.models(key) for key in (text, new)] == [["m", "other"]] * 2
    early = api("POST", f"{path}/rotate", {"overlap_s": 0})
    assert (early.status, early.error["code"]) == (409, "conflict")
    assert f"is valid until {api.get(path)['secrets_expire_at'][1]}" in early.error["message"]
    assert [api.models(key) for key in (text, new)] == [["m", "other"]] * 2
    third = api("POST", f"{path}/rotate", {"overlap_s": 0, "force": True}).json["key"]
    assert [api.models(key) for key in (text, new, third)] == [401, 401, ["m", "other"]]
    fourth = api("POST", f"{path}/rotate").json["key"]  # without a body: a day
    assert [api.models(key) for key in (third, fourth)] == [["m", "other"]] * 2
    assert api("POST", f"{path}/revoke").json["state"] == "revoked"
    assert [api.models(key) for key in (third, fourth)] == [401, 401]
    again = api("POST", f"{path}/revoke")
    assert (again.status, again.json["version"]) == (200, 5)
    assert api("POST", f"{path}/rotate").error["code"] == "conflict"


def test_the_first_request_after_each_of_many_revocations_is_refused(api: Api) -> None:
    for _ in range(30):
        made = api.create()
        assert api.models(made["key"]) == ["m", "other"]
        assert api("POST", f"/admin/keys/{made['id']}/revoke").status == 200
        assert api.models(made["key"]) == 401


def test_a_tenant_gets_a_policy_that_holds_at_once(api: Api) -> None:
    made = api.create(organisation="acme", team="blue", user="ann")
    own = api.create(organisation="acme", policy="narrow", models=["other", "m"])
    assert [api.models(one["key"]) for one in (made, own)] == [["m", "other"], ["m"]]
    answer = api("POST", "/admin/tenants", {"organisation": "acme", "policy": "narrow"})
    assert answer.json == {"organisation": "acme", "team": "", "user": "", "policy": "narrow"}
    assert api.models(made["key"]) == ["m"]
    api("POST", "/admin/tenants", {"organisation": "acme", "team": "blue", "policy": "default"})
    assert api.models(made["key"]) == ["m", "other"]
    assert [one["team"] for one in api.get("/admin/tenants")["tenants"]] == ["", "blue"]


def test_a_tenant_keeps_the_policy_of_the_configuration(tmp_path: Path) -> None:
    organisations = {"acme": {"policy": "narrow", "teams": {"blue": {}}}}
    with run_gateway(config(tmp_path / "keys.db", organisations=organisations)) as gateway:
        api = Api(gateway)
        made = api.create(organisation="acme", team="blue")
        refused = api("POST", "/admin/tenants", {"organisation": "acme", "policy": "default"})
        assert (refused.status, refused.error["code"]) == (409, "conflict")
        assert "The configuration gives 'acme' the policy 'narrow'" in refused.error["message"]
        assert api.models(made["key"]) == ["m"]
        team = {"organisation": "acme", "team": "blue", "policy": "default"}
        assert api("POST", "/admin/tenants", team).status == 200
        assert api.models(made["key"]) == ["m", "other"]


def test_every_change_is_logged_with_the_key_that_made_it(api: Api) -> None:
    made = api.create(scopes=["admin:write", "admin:read"])
    other = api.create(key=made["key"])
    api("POST", f"/admin/keys/{other['id']}/rotate", key=made["key"])
    api("POST", f"/admin/keys/{other['id']}/revoke")
    api("POST", "/admin/tenants", {"organisation": "acme", "team": "blue"}, key=made["key"])
    lines = api.get("/admin/log", key=READER)["changes"]
    assert [(one["by"], one["action"], one["subject"]) for one in lines] == [
        ("key:admin.token", "key created", made["id"]),
        (f"key:{made['id']}", "key created", other["id"]),
        (f"key:{made['id']}", "key rotated", other["id"]),
        ("key:admin.token", "key revoked", other["id"]),
        (f"key:{made['id']}", "tenant set", "acme/blue"),
    ]
    assert [one["number"] for one in lines] == [1, 2, 3, 4, 5]
    assert lines[0]["detail"]["caller"]["scopes"] == ["admin:read", "admin:write"]
    assert "digest" not in json.dumps(lines)


def test_a_refused_change_is_not_logged_and_changes_nothing(api: Api) -> None:
    made = api.create()
    for path, body in (
        ("/admin/keys", {"scopes": ["root"]}),
        (f"/admin/keys/{made['id']}/rotate", {"overlap_s": -1}),
        ("/admin/keys/0123456789/revoke", None),
        ("/admin/tenants", {"organisation": ""}),
    ):
        assert 400 <= api("POST", path, body).status < 500
        assert api("POST", path, body, key=READER).status == 403
    assert len(api.get("/admin/log")["changes"]) == 1
    assert len(api.get("/admin/keys")["keys"]) == 1


def test_lists_come_in_pages(api: Api) -> None:
    ids = sorted(api.create(organisation=name)["id"] for name in ("acme", "beta", "acme", "acme"))
    found, after = [], ""
    while after is not None:
        page = api.get(f"/admin/keys?limit=3&after={after}")
        found += [one["id"] for one in page["keys"]]
        after = page["next"]
    assert found == ids
    assert len(api.get("/admin/keys?organisation=acme")["keys"]) == 3
    assert api.get("/admin/keys?limit=0") == {"keys": [], "next": None}
    for team in ("a", "b", "c"):
        api("POST", "/admin/tenants", {"organisation": "acme", "team": team})
    first = api.get("/admin/tenants?limit=2")
    rest = api.get(f"/admin/tenants?after={first['next']}")
    assert [one["team"] for one in first["tenants"] + rest["tenants"]] == ["a", "b", "c"]
    assert rest["next"] is None
    log = api.get("/admin/log?limit=5")
    assert (log["next"], len(api.get(f"/admin/log?after={log['next']}")["changes"])) == (5, 2)


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"organisation": "acmee"}, "organisation", "there is no 'acmee'; did you mean 'acme'?"),
        ({"organisation": "gamma"}, "organisation", "there is no 'gamma'; there are: acme, beta, stored."),
        ({"organisation": "acme", "team": "bleu"}, "team", "no 'bleu' in 'acme'; did you mean 'blue'?"),
        ({"organisation": "beta", "team": "blue"}, "team", "no 'blue' in 'beta'; there are: none."),
        (
            {"organisation": "acme", "team": "blue", "user": "bob"},
            "user",
            "no 'bob' in 'acme/blue'; there are: ann.",
        ),
        ({"organisation": "acme", "user": "ann"}, "user", "no 'ann' in 'acme'; there are: bob."),
        ({"organisation": "acme", "team": "blue", "user": "ann"}, None, ""),
        ({"organisation": "acme", "user": "bob"}, None, ""),
        ({"organisation": "stored", "team": "red"}, None, ""),
    ],
)
def test_a_key_belongs_to_tenants_that_are_there(
    api: Api, fields: dict[str, str], param: str | None, words: str
) -> None:
    api("POST", "/admin/tenants", {"organisation": "acme", "user": "bob"})
    api("POST", "/admin/tenants", {"organisation": "stored", "team": "red"})
    answer = api("POST", "/admin/keys", fields)
    assert answer.status == (400 if param else 201), answer.body
    if param:
        assert answer.error["param"] == param
        assert f"The field '{param}' names no {param}: " in answer.error["message"]
        assert words in answer.error["message"]
        assert "`tidegate tenants set` or POST /admin/tenants makes a tenant" in answer.error["message"]


def test_an_error_lists_a_few_of_many_tenants(api: Api) -> None:
    for number in range(30):
        api("POST", "/admin/tenants", {"organisation": "many", "team": f"team-{number:02}"})
    message = api("POST", "/admin/keys", {"organisation": "many", "team": "x"}).error["message"]
    assert "there are: team-00, team-01, " in message
    assert "team-19 and 10 more." in message


# -------------------------------------------------------------------------------------------------------- who may give what


@pytest.mark.parametrize(
    ("own", "given", "refused"),
    [
        (["admin:write"], ["inference"], ""),
        (["admin:write"], ["admin:write"], ""),
        (["admin:write", "metrics"], ["metrics", "inference"], ""),
        (["admin:write"], ["admin:read"], "admin:read"),
        (["admin:write"], ["metrics"], "metrics"),
        (["admin:write", "admin:read"], ["inference", "metrics", "admin:read"], "metrics"),
        (["admin:write", "inference"], ["admin:write", "admin:read"], "admin:read"),
    ],
)
def test_a_key_gives_only_scopes_that_it_has_and_inference(
    api: Api, own: list[str], given: list[str], refused: str
) -> None:
    own_key = api.create(scopes=own)["key"]
    answer = api("POST", "/admin/keys", {"scopes": given}, key=own_key)
    assert answer.status == (403 if refused else 201)
    # Nor does it get hold of such a key by making a new secret for it.
    other = api.create(scopes=given)["id"]
    rotated = api("POST", f"/admin/keys/{other}/rotate", key=own_key)
    assert rotated.status == (403 if refused else 200)
    if refused:
        for one in (answer, rotated):
            assert (one.error["code"], one.error["param"]) == ("permission_denied", "scopes")
            assert f"'{refused}', which your own key lacks" in one.error["message"]
    # To end a key takes nothing but the scope for changes.
    assert api("POST", f"/admin/keys/{other}/revoke", key=own_key).status == 200


def test_a_key_that_was_revoked_changes_nothing_any_more(api: Api) -> None:
    made = api.create(scopes=["admin:write"])
    assert api.create(key=made["key"])
    api("POST", f"/admin/keys/{made['id']}/revoke", key=made["key"])
    assert api("POST", "/admin/keys", {}, key=made["key"]).status == 401


# ----------------------------------------------------------------------------------------------------------- what is wrong

WRONG = [
    ({"scopes": []}, "scopes", "is empty: name at least one of inference, checks, admin:read"),
    ({"scopes": ["inference", "root"]}, "scopes", "has no scope 'root' to give; there are: inference, "),
    ({"scopes": "inference"}, "scopes", "is wrong: Expected `array`, got `str`"),
    ({"scopes": ["inference", 7]}, "scopes[1]", "Expected `str`, got `int`"),
    ({"policy": "nothing"}, "policy", "there is no 'nothing'; there are: default, narrow"),
    ({"team": "blue"}, "team", "needs the organisation: name that too"),
    ({"user": "ann"}, "user", "needs the organisation: name that too"),
    ({"organisation": "a/b"}, "organisation", "must not have a '/'"),
    ({"organisation": "a", "team": " blue"}, "team", "spaces around it"),
    ({"name": "two\nlines"}, "name", "cannot be seen"),
    ({"name": "\u202eevil"}, "name", "cannot be seen"),
    ({"name": "x" * 201}, "name", "is longer than 200 characters"),
    ({"models": []}, "models", "is empty"),
    ({"models": ["g*t"]}, "models", "'*' may only stand at the end"),
    ({"models": [""]}, "models", "is empty"),
    ({"models": ["m"] * 1001}, "models", "more than 1000 entries"),
    ({"expires_in_s": 0}, "expires_in_s", "must be more than 0"),
    ({"expires_in_s": -5}, "expires_in_s", "must be more than 0"),
    ({"expires_in_s": 1e12}, "expires_in_s", "at most"),
    ({"expires_in_s": "1d"}, "expires_in_s", "Expected `float | null`, got `str`"),
    ({"expires_in": 60}, "expires_in", "is not known; did you mean 'expires_in_s'?"),
    ({"secret": "mine"}, "secret", "is not known; there are: name, organisation"),
    ([], None, "must be a JSON object"),
    (b'{"name": "x"', None, "not valid JSON"),
    (b"\xff", None, "not valid"),
    (b"[" * 10_000, None, "body"),
]


@pytest.mark.parametrize(("body", "param", "words"), WRONG)
def test_what_is_wrong_with_a_new_key_is_told_by_its_field(
    api: Api, body: Any, param: str, words: str
) -> None:
    answer = api("POST", "/admin/keys", body)
    assert answer.status == 400
    assert (answer.error["code"], answer.error["param"]) == ("invalid_request", param)
    assert words in answer.error["message"]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "organisation"),
        ({"organisation": ""}, "organisation"),
        ({"organisation": "a", "team": "b/c"}, "team"),
        ({"organisation": "a", "policy": "nothing"}, "policy"),
        ({"organisation": "a", "models": ["m"]}, "models"),
        ({"organisation": None}, "organisation"),
    ],
)
def test_what_is_wrong_with_a_tenant_is_told_by_its_field(api: Api, body: Any, param: str) -> None:
    answer = api("POST", "/admin/tenants", body)
    assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/admin/keys?limit=x", "limit"),
        ("/admin/keys?limit=1001", "limit"),
        ("/admin/keys?limit=-1", "limit"),
        ("/admin/keys?limit=1&limit=2", "limit"),
        ("/admin/keys?organization=acme", "organization"),
        ("/admin/keys/0123456789?after=1", "after"),
        ("/admin/tenants?after=a/b/c/d", "after"),
        ("/admin/log?after=%C2%B2", "after"),
        ("/admin/log?after=99999999999999999999", "after"),
    ],
)
def test_a_query_that_is_wrong_is_refused(api: Api, path: str, param: str | None) -> None:
    answer = api("GET", path)
    assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize("wanted", ["", "/rotate", "/revoke"])
@pytest.mark.parametrize("given", ["0123456789", "x", "'--", "tg_0123456789_secretsecretsecret"])
def test_a_key_that_is_not_there_is_not_found_and_its_secret_is_not_repeated(
    api: Api, wanted: str, given: str
) -> None:
    answer = api("POST" if wanted else "GET", f"/admin/keys/{given}{wanted}")
    assert (answer.status, answer.error["param"]) == (404, "id")
    assert "secretsecret" not in answer.error["message"]


def test_bodies_are_bounded_and_are_json(api: Api) -> None:
    assert api("POST", "/admin/keys", b" " * 70_000).status == 413
    assert api("POST", "/admin/keys", b"{}", content_type="text/plain").status == 415
    assert api("POST", "/admin/keys", b"{}", content_encoding="gzip").status == 415
    assert api("POST", "/admin/keys").status == 400
    head = f"POST /admin/keys HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n"
    with wire(api.gateway.url) as client:
        client.send(head.encode() + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(5):
            client.send(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        assert client.read_head()[0] == 413
    with wire(api.gateway.url) as client:
        client.send(head.encode() + b"content-length: 100\r\n\r\n{")
        client.reset()
    assert api("GET", "/admin/keys").status == 200


def test_without_a_store_it_says_what_to_add(tmp_path: Path) -> None:
    with run_gateway(config(tmp_path / "keys.db", stores={})) as gateway:
        api = Api(gateway)
        for method, path, body in (
            ("GET", "/admin/keys", None),
            ("POST", "/admin/keys", {}),
            ("GET", "/admin/keys/0123456789", None),
            ("POST", "/admin/keys/0123456789/rotate", None),
            ("POST", "/admin/tenants", {"organisation": "a"}),
            ("GET", "/admin/log", None),
        ):
            answer = api(method, path, body)
            assert (answer.status, answer.error["code"]) == (409, "conflict")
            assert "add the section 'stores'" in answer.error["message"]


def test_new_digests_are_made_with_the_first_pepper(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    with run_gateway(config(path)) as gateway:
        old = Api(gateway).create()["key"]
    with run_gateway(config(path, auth={"pepper": ["the next pepper of these tests", PEPPER]})) as gateway:
        api = Api(gateway)
        assert api.models(old) == ["m", "other"]
        new, renewed = api.create()["key"], api("POST", f"/admin/keys/{old[3:13]}/rotate").json["key"]
    with run_gateway(config(path, auth={"pepper": "the next pepper of these tests"})) as gateway:
        api = Api(gateway)
        assert [api.models(key) for key in (old, new, renewed)] == [401, ["m", "other"], ["m", "other"]]


def test_a_key_with_another_pepper_than_that_of_the_store_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    with run_gateway(config(path)) as gateway:
        made = Api(gateway).create()
    with run_gateway(config(path, auth={"pepper": "a pepper of somebody else"})) as gateway:
        api = Api(gateway)
        for url in ("/admin/keys", f"/admin/keys/{made['id']}/rotate"):
            answer = api("POST", url, {})
            assert (answer.status, answer.error["code"]) == (409, "conflict")
            assert "made with another pepper" in answer.error["message"]
        assert [one["version"] for one in api.get("/admin/keys")["keys"]] == [1]


def test_secrets_are_shown_once_and_nowhere_else(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        made = [api.create(name=f"n{n}", organisation="acme") for n in range(25)]
        secrets = [one["key"] for one in made]
        secrets += [api("POST", f"/admin/keys/{one['id']}/rotate").json["key"] for one in made]
        told = ""
        for one in made:
            told += api("GET", f"/admin/keys/{one['id']}").body.decode()
            told += api("POST", f"/admin/keys/{one['id']}/revoke").body.decode()
        for secret in secrets:
            told += api("GET", "/v1/models", key=secret).body.decode()
            told += api("GET", f"/admin/keys/{secret}").body.decode()
            told += api("POST", "/admin/keys", {"policy": "x", secret: 1}, key=READER).body.decode()
        for path in ("/admin/keys?limit=1000", "/admin/log?limit=1000", "/metrics", "/readyz"):
            told += api("GET", path).body.decode()
    assert len(set(secrets)) == 50
    assert [secret for secret in secrets if secret[14:-1] in told + caplog.text] == []
    assert PEPPER not in told + caplog.text
