"""`tidegate keys` and `tidegate tenants`: what they do to a store, and that a secret is shown only once."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from tidegate import cli
from tidegate.access import keys
from tidegate.access.keys import Peppers, holds
from tidegate.stores.local import schema
from tidegate.types import Key

PEPPER = "a pepper for the tests of keys"
CONFIG = """\
engines: {e: {kind: scripted}}
models: {m: {deployments: [{engine: e}]}}
policies: {small: {}, large: {}, standard: {}}
auth: {pepper: "${TIDEGATE_PEPPER}"}
stores: {main: {kind: local, path: tidegate.db}}
"""


class Command:
    """Runs commands in a folder."""

    def __init__(self, monkeypatch, capsys) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *line: str) -> tuple[int, str]:
        """The status of a command, and what it printed on both outputs."""
        self._monkeypatch.setattr("sys.argv", ["tidegate", *line])
        try:
            cli.main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        said = self._capsys.readouterr()
        self.out = said.out
        return status, said.out + said.err

    def json(self, *line: str):
        status, said = self(*line, "--json")
        assert status == 0, said
        return msgspec.json.decode(self.out)


@pytest.fixture
def tidegate(tmp_path, monkeypatch, capsys) -> Command:
    monkeypatch.chdir(tmp_path)
    Path("tidegate.yaml").write_text(CONFIG)
    monkeypatch.setenv("TIDEGATE_PEPPER", PEPPER)
    monkeypatch.setenv("COLUMNS", "300")
    return Command(monkeypatch, capsys)


def stored(id: str, path: str = "tidegate.db") -> Key:
    connection = sqlite3.connect(path)
    try:
        (document,) = connection.execute("SELECT document FROM keys WHERE id = ?", (id,)).fetchone()
    finally:
        connection.close()
    return msgspec.json.decode(document, type=Key)


def opens(text: str, key: Key, *, now: float = 0.0) -> bool:
    return holds(key.secrets, Peppers([PEPPER.encode()]).digests(text), now=now)


def test_a_key_is_made_with_what_it_was_given(tidegate):
    tidegate("tenants", "set", "acme/blue/ann")
    line = "keys create --name laptop --organisation acme --team blue --user ann --policy small --models gpt-*,small"
    made = tidegate.json(*line.split(), "--scopes", "inference, metrics", "--expires-in", "90d")
    key = stored(made["id"])
    assert keys.parse(made["key"]).id == key.id
    assert opens(made["key"], key)
    assert (key.name, key.policy, key.models, key.version) == ("laptop", "small", ("gpt-*", "small"), 1)
    assert (key.caller.organisation, key.caller.team, key.caller.user) == ("acme", "blue", "ann")
    assert key.caller.scopes == {"inference", "metrics"}
    assert key.expires_at - key.created_at == 90 * 86400
    assert datetime.fromisoformat(made["expires_at"]).timestamp() == int(key.expires_at)


def test_a_page_for_people_shows_the_key_whole(tidegate, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    status, _ = tidegate("keys", "create")
    assert status == 0
    text = tidegate.out.split()[-1]
    assert opens(text, stored(keys.id_of(text)))


def test_a_secret_is_shown_once_and_stored_nowhere(tidegate, tmp_path):
    texts = [tidegate.json("keys", "create", "--name", f"k{n}")["key"] for n in range(3)]
    texts.append(tidegate.json("keys", "rotate", keys.id_of(texts[0]))["key"])
    told = ""
    for line in ("keys list", "keys list --json", "tenants list", f"keys revoke {keys.id_of(texts[1])}"):
        told += tidegate(*line.split())[1]
    for text in texts:
        for more in ([], ["--json"]):
            told += tidegate("keys", "show", keys.id_of(text), *more)[1]
        told += tidegate("keys", "show", text)[1]
        told += tidegate("keys", "revoke", text)[1]
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for text in texts:
        assert keys.id_of(text) in told
        assert text[14:] not in told
        assert text[14:-1] not in told
        assert text[14:-1].encode() not in kept
    assert PEPPER not in told
    assert PEPPER.encode() not in kept


def test_keys_are_listed_by_organisation(tidegate):
    for name in ("acme", "beta"):
        tidegate("tenants", "set", name)
    ids = [tidegate.json("keys", "create", "--organisation", name)["id"] for name in ("acme", "beta", "acme")]
    assert {one["id"] for one in tidegate.json("keys", "list")} == set(ids)
    assert {one["id"] for one in tidegate.json("keys", "list", "--organisation", "acme")} == {ids[0], ids[2]}
    assert tidegate.json("keys", "list", "--organisation", "absent") == []
    status, said = tidegate("keys", "list")
    assert status == 0
    assert all(one in said for one in ids)


def test_a_rotated_key_has_two_secrets_for_a_while(tidegate):
    old = tidegate.json("keys", "create")["key"]
    made = tidegate.json("keys", "rotate", keys.id_of(old), "--overlap", "2h")
    key = stored(made["id"])
    assert key.version == 2
    assert made["key"] != old
    assert opens(made["key"], key, now=1e12)
    ends = key.secrets[1].expires_at
    assert opens(old, key, now=ends - 1)
    assert not opens(old, key, now=ends)
    assert 0 <= ends - key.created_at - 7200 < 600
    status, said = tidegate("keys", "rotate", made["id"], "--overlap", "0s")
    assert status == 1
    until = datetime.fromtimestamp(ends, UTC).isoformat(timespec="seconds")
    assert f"is valid until {until}: wait until then, or rotate with `--force`" in said
    assert stored(made["id"]) == key
    third = tidegate.json("keys", "rotate", made["id"], "--overlap", "0s", "--force")
    key = stored(made["id"])
    assert [opens(text, key, now=1e12) for text in (old, made["key"], third["key"])] == [False, False, True]


def test_a_revoked_key_stays_revoked(tidegate):
    made = tidegate.json("keys", "create")["id"]
    first = tidegate.json("keys", "revoke", made)
    assert first["state"] == "revoked"
    assert tidegate.json("keys", "revoke", made) == first
    status, said = tidegate("keys", "rotate", made)
    assert status == 1
    assert "revoked" in said
    assert tidegate.json("keys", "show", made)["state"] == "revoked"


def test_every_change_is_in_the_admin_log(tidegate):
    made = tidegate.json("keys", "create")["id"]
    tidegate("keys", "rotate", made)
    tidegate("keys", "revoke", made)
    tidegate("keys", "revoke", made)
    tidegate("tenants", "set", "acme/blue", "--policy", "large")
    connection = sqlite3.connect("tidegate.db")
    lines = connection.execute("SELECT action, subject, made_by FROM log ORDER BY number").fetchall()
    connection.close()
    assert [line[:2] for line in lines] == [
        ("key created", made),
        ("key rotated", made),
        ("key revoked", made),
        ("tenant set", "acme/blue"),
    ]
    assert all(by.startswith("cli:") for _, _, by in lines)


def test_tenants_are_set_and_listed(tidegate):
    for line in ("acme --policy standard", "acme/blue", "acme/blue/ann --policy large", "acme//bob", "beta"):
        assert tidegate("tenants", "set", *line.split())[0] == 0
    tidegate("tenants", "set", "acme/blue", "--policy", "small")
    listed = tidegate.json("tenants", "list", "--organisation", "acme")
    assert [(one["team"], one["user"], one["policy"]) for one in listed] == [
        ("", "", "standard"),
        ("", "bob", ""),
        ("blue", "", "small"),
        ("blue", "ann", "large"),
    ]
    status, said = tidegate("tenants", "list")
    assert status == 0
    assert "beta" in said


CONFIGURED = """\
organisations: {acme: {teams: {blue: {policy: small, users: {ann: {}}}}}}
"""


@pytest.mark.parametrize("more", ["", "--store tidegate.db"])
def test_a_key_belongs_to_tenants_that_are_there(tidegate, more):
    Path("tidegate.yaml").write_text(CONFIG + CONFIGURED)
    tidegate("tenants", "set", "beta/red")
    for line, words in (
        (
            "--organisation beat",
            "--organisation names no organisation: there is no 'beat'; did you mean 'beta'?",
        ),
        (
            "--organisation beta --team rde",
            "--team names no team: there is no 'rde' in 'beta'; did you mean 'red'?",
        ),
    ):
        status, said = tidegate(*f"keys create {line} {more}".split())
        assert (status, words in said) == (2, True), said
    assert tidegate(*f"keys create --organisation beta --team red {more}".split())[0] == 0
    # With --store alone, nothing is known of a configuration.
    status, said = tidegate(*f"keys create --organisation acme --team blue --user ann {more}".split())
    assert status == (2 if more else 0)
    assert not more or "there are: beta." in said


def test_a_tenant_keeps_the_policy_of_the_configuration(tidegate):
    Path("tidegate.yaml").write_text(CONFIG + CONFIGURED)
    for line in ("acme/blue --policy large", "acme/blue"):
        status, said = tidegate("tenants", "set", *line.split())
        assert status == 1
        assert "The configuration gives 'acme/blue' the policy 'small'" in said
    assert not Path("tidegate.db").exists()
    for tenant in ("acme", "acme/blue/ann", "acme/red"):
        assert tidegate("tenants", "set", tenant, "--policy", "large")[0] == 0
    status, said = tidegate(
        "tenants", "set", "acme/blue", "--store", "tidegate.db", "--config", "tidegate.yaml"
    )
    assert status == 1, said


def test_the_store_is_that_of_the_configuration_or_the_one_that_is_named(tidegate, tmp_path):
    Path("other.yaml").write_text(CONFIG.replace("tidegate.db", "other.db"))
    made = tidegate.json("keys", "create", "--config", "other.yaml")
    assert stored(made["id"], "other.db").id == made["id"]
    status, said = tidegate("keys", "create", "--store", "named.db", "--json")
    assert status == 0
    assert f"note: {tmp_path / 'named.db'} is a new store" in said
    named = msgspec.json.decode(tidegate.out)
    assert stored(named["id"], "named.db").id == named["id"]
    assert "new store" not in tidegate("keys", "create", "--store", "named.db")[1]
    assert not Path("tidegate.db").exists()


@pytest.mark.parametrize("text", [None, CONFIG[: CONFIG.index("stores")]])
def test_a_configuration_without_a_store_says_what_to_add(tidegate, text):
    Path("tidegate.yaml").write_text(text) if text else Path("tidegate.yaml").unlink()
    for line in ("keys create", "keys list", "tenants set acme"):
        status, said = tidegate(*line.split())
        assert status == 2
        assert "stores: {main: {kind: local, path: tidegate.db}}" in said
        assert "--store" in said


def test_with_several_peppers_the_first_digests_new_keys(tidegate):
    Path("tidegate.yaml").write_text(
        CONFIG.replace('"${TIDEGATE_PEPPER}"', '[the-next-pepper-of-the-tests, "${TIDEGATE_PEPPER}"]')
    )
    made = tidegate.json("keys", "create")
    digests = Peppers([b"the-next-pepper-of-the-tests"]).digests(made["key"])
    assert holds(stored(made["id"]).secrets, digests, now=0.0)


@pytest.mark.parametrize("more", ["", "--store tidegate.db"])
def test_a_key_with_another_pepper_than_that_of_the_store_is_not_made(tidegate, monkeypatch, more):
    made = tidegate.json("keys", "create")["id"]
    monkeypatch.setenv("TIDEGATE_PEPPER", "another-pepper-of-the-tests")
    for line in ("keys create", f"keys rotate {made}"):
        status, said = tidegate(*f"{line} {more}".split())
        assert status == 1
        assert "made with another pepper than the one given" in said
    assert tidegate("keys", "revoke", made)[0] == 0  # which needs none


def test_a_pepper_is_replaced_step_by_step(tidegate, monkeypatch):
    made = tidegate.json("keys", "create")["id"]
    both = CONFIG.replace('"${TIDEGATE_PEPPER}"', '[the-next-pepper-of-the-tests, "${TIDEGATE_PEPPER}"]')
    Path("tidegate.yaml").write_text(both)
    for _ in range(2):
        assert tidegate("keys", "rotate", made, "--overlap", "0s")[0] == 0
    Path("tidegate.yaml").write_text(CONFIG)
    assert tidegate("keys", "create")[0] == 1
    monkeypatch.setenv("TIDEGATE_PEPPER", "the-next-pepper-of-the-tests")
    assert tidegate("keys", "create")[0] == 0


@pytest.mark.parametrize(
    ("line", "status", "named"),
    [
        ("keys create --team blue", 2, "--team needs the organisation"),
        ("keys create --scopes inference,root", 2, "'root'"),
        ("keys create --scopes ,", 2, "--scopes is empty: name at least one"),
        (
            "keys create --policy absent",
            2,
            "--policy names no policy: there is no 'absent'; there are: default",
        ),
        ("keys create --models a*b", 2, "--models has 'a*b': '*' may only stand at the end"),
        ("keys create --organisation a/b", 2, "--organisation must not have a '/'"),
        ("keys create --organisation acme", 2, "there is no 'acme'; there are: none."),
        ("keys create --expires-in 0s", 2, "--expires-in must be more than 0"),
        ("tenants set acme --policy absent", 2, "--policy names no policy"),
        ("keys create --expires-in soon", 2, "--expires-in"),
        ("keys create --expires-in -1d", 2, "--expires-in"),
        ("keys create --store absent/x.db", 2, "No such file"),
        ("keys rotate 0123456789 --overlap 1w", 2, "--overlap"),
        ("keys list", 2, "tidegate keys create"),
        ("keys show 0123456789", 2, "there is no store"),
        ("keys show", 2, "ID"),
        ("tenants list", 2, "there is no store"),
        ("tenants set /blue", 2, "ORGANISATION"),
        ("tenants set a/b/c/d", 2, "ORGANISATION"),
        ("tenants set a/", 2, "ORGANISATION"),
    ],
)
def test_what_cannot_be_is_refused_and_makes_no_store(tidegate, tmp_path, line, status, named):
    got, said = tidegate(*line.split())
    assert (got, named in said) == (status, True), said
    assert [file.name for file in tmp_path.iterdir()] == ["tidegate.yaml"]


@pytest.mark.parametrize("command", ["show", "rotate", "revoke"])
@pytest.mark.parametrize("id", ["0123456789", "'; --", "ä"])
def test_a_key_that_is_not_there(tidegate, command, id):
    tidegate("keys", "create")
    status, said = tidegate("keys", command, id)
    assert status == 1
    assert id in said
    assert "tidegate keys list" in said


@pytest.mark.parametrize("line", ["keys create", "keys create --store tidegate.db"])
@pytest.mark.parametrize("pepper", [None, "", "short"])
def test_a_pepper_is_needed(tidegate, monkeypatch, pepper, line):
    if pepper is None:
        monkeypatch.delenv("TIDEGATE_PEPPER")
    else:
        monkeypatch.setenv("TIDEGATE_PEPPER", pepper)
    status, said = tidegate(*line.split())
    assert status == 2
    assert "TIDEGATE_PEPPER" in said or "auth.pepper" in said
    assert "pepper" in said
    assert not Path("tidegate.db").exists()


def test_a_store_of_a_newer_version_is_refused(tidegate):
    tidegate("keys", "create")
    connection = sqlite3.connect("tidegate.db")
    connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    connection.close()
    for line in ("keys list", "keys create", "tenants list"):
        status, said = tidegate(*line.split())
        assert status == 2
        assert "upgrade Tidegate" in said


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("keys --help", ["TIDEGATE_PEPPER", "create", "rotate", "shown once"]),
        ("keys create --help", ["--expires-in", "--scopes", "admin:read", "90d"]),
        ("keys rotate --help", ["--overlap", "--force"]),
        ("tenants --help", ["acme/blue/ann", "nearest policy"]),
        ("tenants set --help", ["--policy", "ORGANISATION/TEAM/USER"]),
    ],
)
def test_help_teaches(tidegate, line, named):
    status, said = tidegate(*line.split())
    assert status == 0
    assert [word for word in named if word not in " ".join(said.split())] == []


# ------------------------------------------------------------------------------------------------------------------ tables


NAMES = (
    "--organisation",
    "a-long-organisation",
    "--team",
    "a-long-team",
    "--user",
    "a-long-user",
    "--policy",
    "standard",
)


def make_tenants(tidegate: Command) -> None:
    """Make the tenants of `NAMES`."""
    status, said = tidegate("tenants", "set", f"{NAMES[1]}/{NAMES[3]}/{NAMES[5]}")
    assert status == 0, said


def listed(tidegate: Command, *line: str) -> list[list[str]]:
    """The cells of each line of a table."""
    _, said = tidegate(*line)
    return [[cell.strip() for cell in one.split("│")[1:-1]] for one in said.splitlines() if "│" in one]


@pytest.mark.parametrize("columns", ["10", "40", "46", "80", "132"])
def test_an_id_is_never_wrapped(tidegate, monkeypatch, columns):
    make_tenants(tidegate)
    ids = {tidegate.json("keys", "create", *NAMES, "--expires-in", "90d")["id"] for _ in range(3)}
    monkeypatch.setenv("COLUMNS", columns)
    for terminal in (False, True):
        if terminal:
            monkeypatch.setenv("FORCE_COLOR", "1")
        assert {row[0] for row in listed(tidegate, "keys", "list") if row[0]} == ids, terminal


@pytest.mark.parametrize("columns", ["10", "80"])
def test_a_pipe_has_a_line_for_each_entry(tidegate, monkeypatch, columns):
    make_tenants(tidegate)
    tidegate("tenants", "set", "an-organisation-" * 8 + "/a-team/" + "a-user-" * 8, "--policy", "standard")
    monkeypatch.setenv("COLUMNS", columns)
    key = tidegate.json("keys", "create", "--name", "a name of some words " * 5 + "it has", *NAMES)
    [row] = listed(tidegate, "keys", "list")
    assert row[:7] == [
        key[name] for name in ("id", "state", "name", "organisation", "team", "user", "policy")
    ]
    rows = listed(tidegate, "tenants", "list")
    assert ["an-organisation-" * 8, "a-team", "a-user-" * 8, "standard"] in rows


@pytest.mark.parametrize("line", ["keys create", "tenants set acme"])
@pytest.mark.parametrize("default", ["", "default: {}, "])
def test_a_policy_that_is_wrong_is_told_with_each_policy_once(tidegate, line, default):
    Path("tidegate.yaml").write_text(CONFIG.replace("policies: {", f"policies: {{{default}"))
    status, said = tidegate(*line.split(), "--policy", "nope")
    assert status == 2
    assert "there are: default, large, small, standard\n" in said
