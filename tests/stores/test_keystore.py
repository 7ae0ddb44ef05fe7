"""The contract of the port KeyStore, for every store that keeps keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial

import msgspec
import pytest
from store_kinds import KINDS

from tidegate.errors import Overloaded
from tidegate.ports import KeyStore
from tidegate.types import Caller, Key, Secret, Tenant

pytestmark = pytest.mark.anyio

replace = msgspec.structs.replace


def a_key(id: str = "k1", *, organisation: str = "acme", team: str = "", user: str = "", **more) -> Key:
    caller = Caller(key=id, user=user, team=team, organisation=organisation, scopes=frozenset({"inference"}))
    return Key(id=id, secrets=(Secret(b"digest of " + id.encode()),), caller=caller, **more)


def next_one(key: Key, **changes) -> Key:
    return replace(key, version=key.version + 1, **changes)


class Wall:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture(params=KINDS)
def open_keys(request, tmp_path, wall):
    return partial(KINDS[request.param], tmp_path, wall)


@pytest.fixture
async def keys(open_keys) -> AsyncIterator[KeyStore]:
    async with open_keys() as opened:
        yield opened


async def test_a_saved_key_is_found_as_it_was(keys):
    key = a_key(
        team="blue",
        user="ann",
        name="Ann's laptop",
        policy="small",
        models=("gpt-*", "small"),
        created_at=1.5,
        expires_at=2e9,
        revoked_at=7.25,
    )
    key = replace(key, secrets=(Secret(bytes(range(32))), Secret(b"\xff" * 32, 99.5)))
    assert await keys.save(key, over=None, by="ann")
    assert await keys.find(key.id) == key
    assert await keys.find("another") is None


@pytest.mark.parametrize(
    "text", ["'; DROP TABLE keys; --", '"', "%", "_", "a\0b", "ключ", "\u202e", "k1 ", "K1", "\ud800"]
)
async def test_any_text_can_be_asked_for(keys, text):
    await keys.save(a_key("k1"), over=None, by="")
    assert await keys.find(text) is None
    assert await keys.find("k1") is not None


async def test_an_absent_list_of_models_is_not_an_empty_one(keys):
    await keys.save(a_key("all"), over=None, by="")
    await keys.save(a_key("none", models=()), over=None, by="")
    assert (await keys.find("all")).models is None
    assert (await keys.find("none")).models == ()


async def test_a_key_is_saved_only_over_the_version_that_was_read(keys):
    key = a_key()
    assert await keys.save(key, over=None, by="a")
    assert not await keys.save(key, over=None, by="b")
    changed = next_one(key, name="changed")
    assert await keys.save(changed, over=1, by="a")
    assert not await keys.save(next_one(key, name="late"), over=1, by="b")
    assert not await keys.save(next_one(replace(a_key("absent"))), over=1, by="b")
    assert await keys.find("k1") == changed
    assert await keys.find("absent") is None
    assert [one.by for one in await keys.log()] == ["a", "a"]


async def test_of_two_changes_at_once_one_is_saved(keys):
    await keys.save(a_key(), over=None, by="")
    saved = await asyncio.gather(
        *(keys.save(next_one(a_key(), name=str(number)), over=1, by=str(number)) for number in range(20))
    )
    assert sum(saved) == 1
    assert (await keys.find("k1")).name == str(saved.index(True))


@pytest.mark.parametrize(("version", "over"), [(1, 1), (3, 1), (0, None), (2, None), (1, 2)])
async def test_versions_follow_one_another(keys, version, over):
    with pytest.raises(ValueError, match="version"):
        await keys.save(replace(a_key(), version=version), over=over, by="")


async def test_pages_are_in_order_and_leave_out_nothing(keys):
    for number in range(25):
        organisation = "acme" if number % 2 else "other"
        await keys.save(a_key(f"k{number:02}", organisation=organisation), over=None, by="")
    every: list[str] = []
    while page := await keys.page("", after=every[-1] if every else "", most=7):
        every += [key.id for key in page]
    assert every == [f"k{number:02}" for number in range(25)]
    assert [key.id for key in await keys.page("acme", most=3)] == ["k01", "k03", "k05"]
    assert await keys.page("absent") == []


async def test_tenants_are_set_and_listed_in_order(keys):
    given = [
        Tenant("beta"),
        Tenant("acme", policy="large"),
        Tenant("acme", "blue", "ann", policy="p"),
        Tenant("acme", "blue"),
        Tenant("acme", "", "bob"),
    ]
    for tenant in given:
        await keys.set_tenant(tenant, by="root")
    await keys.set_tenant(Tenant("beta", policy="changed"), by="root")
    every = await keys.tenants("")
    assert [(one.organisation, one.team, one.user, one.policy) for one in every] == [
        ("acme", "", "", "large"),
        ("acme", "", "bob", ""),
        ("acme", "blue", "", ""),
        ("acme", "blue", "ann", "p"),
        ("beta", "", "", "changed"),
    ]
    assert await keys.tenants("beta") == [Tenant("beta", policy="changed")]
    assert await keys.tenants("", after=every[1], most=2) == every[2:4]
    with pytest.raises(ValueError, match="organisation"):
        await keys.set_tenant(Tenant(""), by="root")


async def test_the_mark_of_a_pepper_is_replaced_only_by_one_who_knows_it(open_keys):
    async with open_keys() as keys:
        assert await keys.keep_mark([b"first"])
        assert await keys.keep_mark([b"first"])
        assert not await keys.keep_mark([b"other", b"another"])
        assert await keys.keep_mark([b"second", b"first"])
    async with open_keys() as keys:
        assert not await keys.keep_mark([b"first"])
        assert await keys.keep_mark([b"second"])


async def test_a_key_comes_with_the_tenants_above_it(keys):
    organisation, team, user = (
        Tenant("acme", policy="o"),
        Tenant("acme", "blue", policy="t"),
        Tenant("acme", "blue", "ann", policy="u"),
    )
    others = [Tenant("acme", "red"), Tenant("acme", "red", "ann"), Tenant("other"), Tenant("acme", "", "ann")]
    for tenant in [team, *others, user, organisation]:
        await keys.set_tenant(tenant, by="")
    for key in (
        a_key("k1", team="blue", user="ann"),
        a_key("k2", team="blue"),
        a_key("k3"),
        a_key("k4", user="ann"),
    ):
        await keys.save(key, over=None, by="")
    assert (await keys.find("k1")).above == (user, team, organisation)
    assert (await keys.find("k2")).above == (team, organisation)
    assert (await keys.find("k3")).above == (organisation,)
    assert (await keys.find("k4")).above == (Tenant("acme", "", "ann"), organisation)


async def test_what_a_store_fills_in_is_not_saved(keys):
    key = a_key()
    await keys.save(replace(key, used_at=5.0, above=(Tenant("evil", policy="all"),)), over=None, by="")
    assert await keys.find("k1") == key


async def test_the_last_use_is_kept_apart_from_the_versions(keys):
    await keys.save(a_key(), over=None, by="")
    await keys.used({"k1": 20.0, "absent": 1.0})
    await keys.used({"k1": 10.0})
    found = await keys.find("k1")
    assert (found.used_at, found.version) == (20.0, 1)
    assert (await keys.page(""))[0].used_at == 20.0
    assert await keys.save(next_one(found, name="changed"), over=1, by="")
    assert (await keys.find("k1")).used_at == 20.0
    assert await keys.find("absent") is None
    await keys.used({})


async def test_every_change_is_in_the_log_and_nothing_else(keys, wall):
    key = a_key()
    wall.now = 1.0
    await keys.save(key, over=None, by="ann")
    wall.now = 2.0
    rotated = next_one(key, secrets=(Secret(b"new"), Secret(key.secrets[0].digest, 9.0)))
    await keys.save(rotated, over=1, by="bob")
    await keys.save(rotated, over=1, by="late")
    await keys.used({"k1": 5.0})
    renamed = next_one(rotated, name="renamed")
    await keys.save(renamed, over=2, by="bob")
    await keys.save(next_one(renamed, revoked_at=3.0), over=3, by="bob")
    await keys.set_tenant(Tenant("acme", "blue", policy="p"), by="root")
    lines = await keys.log()
    assert [(one.at, one.by, one.action, one.subject) for one in lines] == [
        (1.0, "ann", "key created", "k1"),
        (2.0, "bob", "key rotated", "k1"),
        (2.0, "bob", "key changed", "k1"),
        (2.0, "bob", "key revoked", "k1"),
        (2.0, "root", "tenant set", "acme/blue"),
    ]
    numbers = [one.number for one in lines]
    assert numbers == sorted(set(numbers))
    assert await keys.log(after=numbers[1], most=2) == lines[2:4]
    assert msgspec.json.decode(lines[2].detail)["name"] == "renamed"
    assert not any("digest" in one.detail for one in lines)


async def test_changes_are_told(keys):
    await keys.save(a_key("before"), over=None, by="")
    async with aclosing(keys.changes()) as changes:
        assert await anext(changes) == ""
        await keys.save(a_key("k1"), over=None, by="")
        assert await anext(changes) == "k1"
        await keys.save(a_key("k2"), over=None, by="")
        await keys.save(next_one(a_key("k1")), over=1, by="")
        assert {await anext(changes), await anext(changes)} == {"k1", "k2"}
        await keys.set_tenant(Tenant("acme"), by="")
        assert await anext(changes) == ""


async def test_changes_by_another_process_are_told(keys, open_keys):
    async with open_keys() as other, aclosing(keys.changes()) as changes:
        assert await anext(changes) == ""
        await other.save(a_key("theirs"), over=None, by="")
        assert await anext(changes) == "theirs"
        assert await keys.find("theirs") == a_key("theirs")


async def test_a_change_between_two_looks_is_told_however_many_there_are(keys):
    async with aclosing(keys.changes()) as changes:
        assert await anext(changes) == ""
        for number in range(1100):
            await keys.set_tenant(Tenant("acme", policy=str(number)), by="")
        await keys.save(a_key("last"), over=None, by="")
        told = [await anext(changes)]
        while told[-1] not in ("last", ""):
            told.append(await anext(changes))


async def test_what_was_written_is_there_after_opening_again(open_keys):
    async with open_keys() as keys:
        await keys.save(a_key(), over=None, by="ann")
        await keys.set_tenant(Tenant("acme", policy="p"), by="ann")
        await keys.used({"k1": 4.0})
    async with open_keys() as keys:
        found = await keys.find("k1")
        assert (found.id, found.used_at, found.above) == ("k1", 4.0, (Tenant("acme", policy="p"),))
        assert len(await keys.log()) == 2


async def test_closing_writes_what_was_asked_for_before(open_keys):
    async with open_keys() as keys:
        saves = [asyncio.ensure_future(keys.save(a_key(f"k{n:02}"), over=None, by="")) for n in range(50)]
        await asyncio.sleep(0)  # each has handed over its work
    assert all(await asyncio.gather(*saves))
    async with open_keys() as keys:
        assert len(await keys.page("")) == 50


async def test_a_closed_store_refuses(open_keys):
    async with open_keys() as keys:
        changes = keys.changes()
        assert await anext(changes) == ""
    with pytest.raises(Overloaded):
        await keys.find("k1")
    with pytest.raises(Overloaded):
        await keys.save(a_key(), over=None, by="")
    with pytest.raises(Overloaded):
        await anext(changes)
