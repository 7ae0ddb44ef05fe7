"""The directory and the stored keys: who is let in, what a look-up costs, what happens when the store is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

import msgspec
import pytest
from virtual import run

from tidegate.access import keys
from tidegate.access.directory import TELL_EVERY_S, Directory
from tidegate.access.keys import Peppers, renewed
from tidegate.access.lookups import FOR_ALL, FOR_ONE
from tidegate.access.stored import LOOK_UP_TIMEOUT_S, WRITE_USED_S, StoredKeys
from tidegate.errors import Overloaded, Unauthenticated
from tidegate.types import Caller, Key, Secret

PEPPERS = Peppers([b"the pepper of this server"])
EPOCH = 1_700_000_000.0

replace = msgspec.structs.replace


class Shelf:
    """Keys in a dict, which can be away, hang, or tell changes. It satisfies what the directory needs of a KeyStore."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.finds: list[str] = []
        self.written: list[dict[str, float]] = []
        self.away = False
        self.hangs = False
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        self._told: set[asyncio.Queue[str | None]] = set()

    async def find(self, id: str) -> Key | None:
        self.finds.append(id)
        self._check()
        if self.hangs:
            await asyncio.Event().wait()
        found = self.keys.get(id)
        if self.meanwhile is not None:
            await self.meanwhile()
        return found

    async def changes(self) -> AsyncGenerator[str, None]:
        self._check()
        queue = asyncio.Queue[str | None]()
        self._told.add(queue)
        try:
            yield ""
            while (told := await queue.get()) is not None:
                yield told
            raise Overloaded("gone")
        finally:
            self._told.discard(queue)

    async def used(self, at: Mapping[str, float]) -> None:
        self._check()
        self.written.append(dict(at))

    def put(self, key: Key) -> None:
        self.keys[key.id] = key
        self.tell(key.id)

    def tell(self, id: str) -> None:
        for queue in self._told:
            queue.put_nowait(id)

    def go_away(self) -> None:
        self.away = True
        for queue in self._told:
            queue.put_nowait(None)

    def _check(self) -> None:
        if self.away:
            raise Overloaded("The store does not answer")


class Desk:
    """A directory over a shelf, on the loop's own clock."""

    def __init__(self, *, follow: bool = True, **options) -> None:
        loop = asyncio.get_running_loop()
        self.shelf = Shelf()
        self.stored = StoredKeys(self.shelf, loop.time, **options)
        self.directory = Directory(loop.time, lambda: EPOCH + loop.time())
        self.configure()
        self.tasks = [asyncio.create_task(self.stored.follow())] if follow else []

    def configure(self, *configured: Key, peppers: Peppers = PEPPERS) -> None:
        self.directory.configure(configured, peppers, self.stored)

    async def settle(self) -> None:
        """Let what was told arrive."""
        await asyncio.sleep(0.001)

    async def add(self, **more) -> str:
        text, key = made(**more)
        self.shelf.put(key)
        await self.settle()
        return text

    async def says(self, text: str, *, peer: str = "") -> str:
        """What a client with this text is told: the id of its key, or why not."""
        if (known := self.directory.recall(text)) is not None:
            return known.id
        try:
            return (await self.directory.identify(text, peer=peer)).id
        except (Unauthenticated, Overloaded) as error:
            return str(error.status)


def made(**more) -> tuple[str, Key]:
    text = keys.new_text(keys.new_id())
    key = Key(id=text.id, secrets=(Secret(PEPPERS.digest(text.text)),), caller=Caller(key=text.id), **more)
    return text.text, key


def another_secret(text: str) -> str:
    return keys.new_text(keys.id_of(text)).text


def unknown() -> str:
    return keys.new_text(keys.new_id()).text


def at_a_desk(work, **options):
    """Run a test at a desk, on a loop whose time jumps."""

    async def main() -> None:
        desk = Desk(**options)
        await desk.settle()
        try:
            await work(desk)
        finally:
            for task in desk.tasks:
                task.cancel()
            await asyncio.gather(*desk.tasks, return_exceptions=True)

    run(main())


# ------------------------------------------------------------------------------------------------------- who gets in


def test_a_key_is_known_after_one_look_up():
    async def work(desk):
        text = await desk.add()
        assert desk.directory.recall(text) is None
        assert (await desk.directory.identify(text)).id == keys.id_of(text)
        for _ in range(100):
            assert desk.directory.recall(text).id == keys.id_of(text)
        await asyncio.sleep(3600)
        assert desk.directory.recall(text) is not None
        assert len(desk.shelf.finds) == 1

    at_a_desk(work)


@pytest.mark.parametrize("cached", [False, True])
def test_the_secret_has_to_be_right(cached):
    async def work(desk):
        text = await desk.add()
        if cached:
            await desk.says(text)
        wrong = another_secret(text)
        assert desk.directory.recall(wrong) is None
        with pytest.raises(Unauthenticated, match="not valid"):
            await desk.directory.identify(wrong)
        assert await desk.says(text) == keys.id_of(text)

    at_a_desk(work)


REFUSED = {
    "it is revoked": {"revoked_at": EPOCH - 1},
    "it has expired": {"expires_at": EPOCH},
    "this secret of it is wrong, or not valid any more": {"expired_secret": True},
}


@pytest.mark.parametrize("why", REFUSED)
def test_only_the_log_says_why_a_key_is_refused_and_at_most_once_a_minute(why, caplog):
    async def work(desk):
        more = dict(REFUSED[why])
        expired = more.pop("expired_secret", False)
        text = await desk.add(**more)
        known = keys.id_of(text)
        if expired:
            digest = PEPPERS.digest(text)
            desk.shelf.put(replace(desk.shelf.keys[known], secrets=(Secret(digest, expires_at=EPOCH),)))
            await desk.settle()
        for wrong in (text, text, another_secret(text), unknown(), text[:-1], "", "a word"):
            assert desk.directory.recall(wrong) is None
            with pytest.raises(Unauthenticated) as refused:
                await desk.directory.identify(wrong)
            assert (refused.value.message, refused.value.param) == ("The API key is not valid", None)
        assert caplog.messages == [f"the key '{known}' was refused: {why}"]
        await asyncio.sleep(TELL_EVERY_S)
        assert await desk.says(text) == "401"
        assert len(caplog.messages) == 2

    with caplog.at_level(logging.INFO):
        at_a_desk(work)


def test_a_pepper_is_replaced_without_an_outage():
    old, new = b"the old pepper of the server", b"the new pepper of the server"

    async def work(desk):
        texts = {}
        for pepper in (old, new):
            text = keys.new_text(keys.new_id())
            key = Key(id=text.id, secrets=(Secret(Peppers([pepper]).digest(text.text)),), caller=Caller())
            desk.shelf.put(key)
            texts[pepper] = text
        await desk.settle()
        for peppers, valid in (([old], {old}), ([new, old], {old, new}), ([new], {new})):
            desk.configure(peppers=Peppers(peppers))
            for pepper, text in texts.items():
                assert await desk.says(text.text) == (text.id if pepper in valid else "401")

    at_a_desk(work)


def test_a_key_expires_while_it_is_in_use():
    async def work(desk):
        text = await desk.add(expires_at=EPOCH + 100)
        assert await desk.says(text) == keys.id_of(text)
        await asyncio.sleep(99)
        assert desk.directory.recall(text) is not None
        await asyncio.sleep(1)
        assert await desk.says(text) == "401"

    at_a_desk(work)


def test_two_secrets_are_let_in_while_one_is_replaced():
    async def work(desk):
        old = await desk.add()
        assert await desk.says(old) == keys.id_of(old)
        new = another_secret(old)
        key = desk.shelf.keys[keys.id_of(old)]
        desk.shelf.put(renewed(key, PEPPERS.digest(new), old_until=EPOCH + 60))
        await desk.settle()
        assert [await desk.says(text) for text in (old, new)] == [key.id, key.id]
        await asyncio.sleep(60)
        assert [await desk.says(text) for text in (old, new)] == ["401", key.id]

    at_a_desk(work)


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t + "a", lambda t: t.upper(), lambda t: "", lambda t: "\ud800" + t]
)
def test_a_typing_error_is_told_without_a_look_up(change):
    async def work(desk):
        text = await desk.add()
        with pytest.raises(Unauthenticated, match="not valid") as refused:
            await desk.directory.identify(change(text))
        assert text[14:-1] not in refused.value.message
        assert desk.shelf.finds == []

    at_a_desk(work)


def test_keys_of_the_configuration_need_no_store_and_may_have_any_form():
    async def work(desk):
        for secret in ("a secret of the operator's own", unknown()):
            desk.shelf.go_away()
            key = Key(id="small", secrets=(Secret(PEPPERS.digest(secret)),), caller=Caller(key="small"))
            desk.configure(key)
            assert desk.directory.recall(secret) == key
            assert await desk.directory.identify(secret) == key
            assert desk.shelf.finds == []
            desk.configure()
            assert desk.directory.recall(secret) is None

    at_a_desk(work)


def test_without_a_store_every_other_key_is_unknown():
    async def main() -> None:
        directory = Directory(asyncio.get_running_loop().time, lambda: EPOCH)
        for _ in range(2):
            with pytest.raises(Unauthenticated, match="not valid"):
                await directory.identify(unknown())
            directory.configure([], PEPPERS)

    run(main())


# ------------------------------------------------------------------------------------------------------- changes


def test_a_revoked_key_is_out_as_soon_as_it_is_told():
    async def work(desk):
        text = await desk.add()
        assert await desk.says(text) == keys.id_of(text)
        desk.shelf.put(replace(desk.shelf.keys[keys.id_of(text)], revoked_at=EPOCH))
        await desk.settle()
        assert await desk.says(text) == "401"

    at_a_desk(work)


def test_a_revocation_that_was_told_holds_with_the_store_away():
    async def work(desk):
        text = await desk.add()
        await desk.says(text)
        desk.shelf.put(replace(desk.shelf.keys[keys.id_of(text)], revoked_at=EPOCH))
        await desk.settle()
        desk.shelf.go_away()
        await desk.settle()
        assert await desk.says(text) == "503"

    at_a_desk(work)


def test_a_change_during_a_look_up_is_not_lost():
    async def work(desk):
        text = await desk.add()
        key = desk.shelf.keys[keys.id_of(text)]

        async def revoke() -> None:
            desk.shelf.meanwhile = None
            desk.shelf.put(replace(key, revoked_at=EPOCH))
            await desk.settle()

        desk.shelf.meanwhile = revoke
        await desk.says(text)
        assert await desk.says(text) == "401"

    at_a_desk(work)


def test_a_new_key_is_let_in_though_its_id_was_unknown_before():
    async def work(desk):
        text, key = made()
        assert await desk.says(text) == "401"
        desk.shelf.put(key)
        await desk.settle()
        assert await desk.says(text) == key.id

    at_a_desk(work)


def test_after_a_gap_every_key_is_looked_up_again():
    async def work(desk):
        kept, gone = await desk.add(), await desk.add()
        missing, key = made()
        for text in (kept, gone, missing):
            await desk.says(text)
        desk.shelf.keys[keys.id_of(gone)] = replace(desk.shelf.keys[keys.id_of(gone)], revoked_at=EPOCH)
        desk.shelf.keys[key.id] = key
        desk.shelf.tell("")
        await desk.settle()
        assert desk.directory.recall(kept) is None
        assert [await desk.says(text) for text in (kept, gone, missing)] == [keys.id_of(kept), "401", key.id]

    at_a_desk(work)


# --------------------------------------------------------------------------------------------- the store is away


def test_known_keys_stay_valid_for_a_minute_and_unknown_ones_get_503():
    async def work(desk):
        text, other = await desk.add(), await desk.add()
        assert await desk.says(text) == keys.id_of(text)
        assert await desk.says(unknown()) == "401"
        await asyncio.sleep(500)  # the minute begins when the store goes, not with the look-up
        desk.shelf.go_away()
        await desk.settle()
        assert await desk.says(other) == "503"
        assert await desk.says(unknown()) == "503"
        await asyncio.sleep(59)
        assert await desk.says(text) == keys.id_of(text)
        assert await desk.says(another_secret(text)) == "401"
        await asyncio.sleep(1)
        assert await desk.says(text) == "503"
        desk.shelf.away = False
        await asyncio.sleep(2)
        assert await desk.says(text) == keys.id_of(text)
        assert await desk.says(unknown()) == "401"

    at_a_desk(work)


@pytest.mark.parametrize("max_stale_s", [0.0, 5.0, 600.0])
def test_how_long_is_a_setting(max_stale_s):
    async def work(desk):
        text = await desk.add()
        await desk.says(text)
        desk.shelf.go_away()
        await desk.settle()
        if max_stale_s:
            await asyncio.sleep(max_stale_s - 0.1)
            assert await desk.says(text) == keys.id_of(text)
        await asyncio.sleep(0.1)
        assert await desk.says(text) == "503"

    at_a_desk(work, max_stale_s=max_stale_s)


def test_an_id_that_was_unknown_gets_503_too_while_the_store_is_away():
    async def work(desk):
        text = unknown()
        assert await desk.says(text) == "401"
        desk.shelf.go_away()
        await desk.settle()
        assert await desk.says(text) == "503"

    at_a_desk(work)


def test_a_store_that_comes_and_goes_does_not_shut_out_known_keys():
    async def work(desk):
        text = await desk.add()
        await desk.says(text)
        for _ in range(3):
            desk.shelf.go_away()
            await asyncio.sleep(5)
            desk.shelf.away = False
            await asyncio.sleep(2)
            desk.shelf.away = True  # it answers no look-up, though it listens
            assert await desk.says(text) == keys.id_of(text)
            desk.shelf.away = False

    at_a_desk(work)


def test_a_key_stays_no_longer_because_the_store_returned_in_between():
    async def work(desk):
        text = await desk.add()
        await desk.says(text)
        desk.shelf.go_away()
        await asyncio.sleep(40)
        desk.shelf.away = False
        await asyncio.sleep(2)
        desk.shelf.go_away()  # nobody has looked the key up meanwhile
        await asyncio.sleep(10)
        assert await desk.says(text) == keys.id_of(text)
        await asyncio.sleep(10)
        assert await desk.says(text) == "503"

    at_a_desk(work)


def test_a_store_that_hangs_costs_one_wait_and_not_one_for_each_call():
    async def work(desk):
        text = await desk.add()
        await desk.says(text)
        desk.shelf.hangs = True
        desk.shelf.tell("")
        await desk.settle()
        before, finds = asyncio.get_running_loop().time(), len(desk.shelf.finds)
        assert await asyncio.gather(*(desk.says(text) for _ in range(50))) == [keys.id_of(text)] * 50
        assert asyncio.get_running_loop().time() - before == pytest.approx(LOOK_UP_TIMEOUT_S, abs=0.1)
        assert len(desk.shelf.finds) - finds == 1
        assert await desk.says(unknown()) == "503"

    at_a_desk(work)


def test_before_it_follows_a_key_is_valid_for_a_while_only():
    async def work(desk):
        text = await desk.add()
        assert await desk.says(text) == keys.id_of(text)
        await asyncio.sleep(59)
        assert desk.directory.recall(text) is not None
        await asyncio.sleep(1)
        assert desk.directory.recall(text) is None
        assert await desk.says(text) == keys.id_of(text)
        assert len(desk.shelf.finds) == 2

    at_a_desk(work, follow=False)


def test_a_silent_store_is_logged_once(caplog):
    async def work(desk):
        desk.shelf.go_away()
        await asyncio.sleep(100)

    with caplog.at_level(logging.INFO):
        at_a_desk(work)
    assert [record.message for record in caplog.records] == ["the key store does not tell its changes: gone"]


# ----------------------------------------------------------------------------------------------------- its bounds


def test_the_same_unknown_id_is_looked_up_once():
    async def work(desk):
        text = unknown()
        assert {await desk.says(text) for _ in range(1000)} == {"401"}
        assert len(desk.shelf.finds) == 1

    at_a_desk(work)


def test_a_flood_of_unknown_ids_from_one_address_does_not_shut_out_others():
    async def work(desk):
        known, new = await desk.add(), await desk.add()
        await desk.says(known)
        said = [await desk.says(unknown(), peer="10.0.0.1") for _ in range(300)]
        assert said[: FOR_ONE.capacity] == ["401"] * FOR_ONE.capacity
        assert said[-1] == "503"
        assert len(desk.shelf.finds) < FOR_ONE.capacity + 10
        assert await desk.says(known, peer="10.0.0.1") == keys.id_of(known)
        assert await desk.says(new, peer="10.0.0.2") == keys.id_of(new)
        await asyncio.sleep(10)
        finds = len(desk.shelf.finds)
        for _ in range(600):
            await asyncio.sleep(0.01)
            await desk.says(unknown(), peer="10.0.0.1")
        # Six seconds at 20 a second, after a rest.
        assert len(desk.shelf.finds) - finds <= FOR_ONE.capacity + 6.1 * FOR_ONE.amount

    at_a_desk(work)


def test_a_flood_from_many_addresses_is_bounded_as_a_whole():
    async def work(desk):
        for number in range(3000):
            await desk.says(unknown(), peer=str(number))
        assert len(desk.shelf.finds) < FOR_ALL.capacity + 100

    at_a_desk(work)


def test_a_refused_look_up_says_when_to_try_again():
    async def work(desk):
        for _ in range(FOR_ONE.capacity):
            await desk.says(unknown(), peer="10.0.0.1")
        with pytest.raises(Overloaded) as refused:
            await desk.directory.identify(unknown(), peer="10.0.0.1")
        assert 0 < refused.value.retry_after_s <= 1 / FOR_ONE.amount
        await asyncio.sleep(refused.value.retry_after_s)
        assert await desk.says(unknown(), peer="10.0.0.1") == "401"

    at_a_desk(work)


def test_many_known_keys_from_one_address_at_once_are_not_refused():
    async def work(desk):
        texts = [await desk.add() for _ in range(800)]
        assert [await desk.says(text, peer="10.0.0.1") for text in texts] == [
            keys.id_of(text) for text in texts
        ]

    at_a_desk(work)


def test_unknown_ids_evict_no_key_and_the_cache_is_bounded():
    async def work(desk):
        text = await desk.add()
        await desk.says(text)
        for number in range(200):
            await desk.says(unknown(), peer=str(number))
        assert desk.directory.recall(text) is not None
        for _ in range(10):
            await desk.says(await desk.add())
        assert desk.directory.recall(text) is None
        assert await desk.says(text) == keys.id_of(text)

    at_a_desk(work, most_keys=10)


# ------------------------------------------------------------------------------------------------------ last used


def test_last_use_is_written_late_and_together():
    async def work(desk):
        desk.tasks.append(asyncio.create_task(desk.stored.write_used()))
        texts = [await desk.add() for _ in range(3)]
        for _ in range(5):
            for text in texts:
                await desk.says(text)
        await desk.says(another_secret(texts[0]))
        assert desk.shelf.written == []
        await asyncio.sleep(WRITE_USED_S + 1)
        assert [set(at) for at in desk.shelf.written] == [{keys.id_of(text) for text in texts}]
        assert all(EPOCH < at < EPOCH + 1 for at in desk.shelf.written[0].values())
        await asyncio.sleep(WRITE_USED_S * 5)
        assert len(desk.shelf.written) == 1

    at_a_desk(work)


def test_last_uses_wait_for_a_store_that_is_away():
    async def work(desk):
        text = await desk.add()
        await desk.says(text)
        desk.shelf.go_away()
        await desk.stored.flush()
        desk.shelf.away = False
        await desk.stored.flush()
        assert [set(at) for at in desk.shelf.written] == [{keys.id_of(text)}]

    at_a_desk(work)


def test_no_secret_reaches_an_error_or_the_log(caplog):
    async def work(desk):
        texts = [await desk.add() for _ in range(50)]
        said = []
        for text in [*texts, *(another_secret(text) for text in texts), *(text[:-1] + "~" for text in texts)]:
            try:
                said.append(repr(await desk.directory.identify(text)))
            except (Unauthenticated, Overloaded) as error:
                said.append(f"{error!r} {error.message} {error.cause} {error.body()}")
            secret = text[14:-1]
            assert not any(secret in one for one in said)
            assert secret not in caplog.text

    with caplog.at_level(logging.DEBUG):
        at_a_desk(work)
