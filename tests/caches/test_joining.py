"""Runs and their followers, and the store that bounds them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual import run

from tidegate.caches.answers import Answers
from tidegate.caches.joining import PASSING_BYTES, Follower, Run
from tidegate.config import IdempotencyConfig
from tidegate.errors import ContextExceeded, DeadlineExceeded, GatewayError, UpstreamError
from tidegate.kernel import sse
from tidegate.types import Answer, Batch, Piece, Reply

PATIENT_S = 1e6


def piece(text: str) -> Piece:
    data = text.encode()
    return Piece(data, Answer(), sse.encode(data))


class Source:
    """An engine whose answer the test gives, batch by batch. `wanted` counts the batches that were asked for."""

    def __init__(self) -> None:
        self.given: asyncio.Queue[Batch | GatewayError | None] = asyncio.Queue()
        self.wanted = 0
        self.closed = False

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[Reply]:
        try:
            yield Reply(self._pieces(), [(b"x-engine", b"1")], b"text/plain")
        finally:
            self.closed = True

    async def _pieces(self) -> AsyncIterator[Batch]:
        while True:
            self.wanted += 1
            batch = await self.given.get()
            if batch is None:
                return
            if isinstance(batch, GatewayError):
                raise batch
            yield batch


def begin(answers: Answers[str], key: str, source: Source, *, streamed: bool = True) -> Run[str]:
    found = answers.open(key, b"request", source="source", streamed=streamed)
    found.task = asyncio.create_task(found.fill(source.asked()))
    found.task.add_done_callback(found.stopped)
    return found


def join(found: Run[str], left_s: float = PATIENT_S) -> Follower[str]:
    return found.join("client", lambda: left_s)


async def read(follower: Follower[str]) -> list[Piece]:
    return [one async for batch in follower for one in batch]


def events(pieces: list[Piece]) -> bytes:
    return b"".join(one.event or b"" for one in pieces)


def answers_with(**rules: float) -> Answers[str]:
    found = Answers[str](asyncio.get_running_loop().time)
    found.configure(IdempotencyConfig.model_validate(rules))
    return found


def test_a_batch_arrives_as_it_was_and_those_behind_get_several_at_once():
    async def main() -> None:
        answers, source = answers_with(), Source()
        found = begin(answers, "k", source)
        first, batch = join(found), [piece("a"), piece("b")]
        source.given.put_nowait(batch)
        assert await anext(first) is batch
        assert (await first.opening()).media_type == b"text/plain"
        for text in "cdef":
            source.given.put_nowait([piece(text)])
        await asyncio.sleep(1)
        assert [one.data for one in await anext(join(found))] == [b"a", b"b", b"c", b"d", b"e", b"f"]
        source.given.put_nowait(None)
        assert [one.data for one in await read(first)] == [b"c", b"d", b"e", b"f"]
        assert source.closed

    run(main())


@pytest.mark.parametrize(
    "error", [UpstreamError("broken"), ContextExceeded("long", status=400, param="messages")]
)
def test_every_follower_gets_an_error_of_its_own(error: GatewayError):
    async def main() -> None:
        answers, source = answers_with(), Source()
        found = begin(answers, "k", source)
        followers = [join(found) for _ in range(3)]
        source.given.put_nowait([piece("a")])
        await asyncio.sleep(1)
        error.upstream.engine = "local"
        source.given.put_nowait(error)
        raised: list[GatewayError] = []
        for one in followers:
            assert (await anext(one))[0].data == b"a"
            with pytest.raises(type(error)) as caught:
                await anext(one)
            raised.append(caught.value)
        assert {(one.message, one.param, one.status, one.upstream.engine) for one in raised} == {
            (error.message, error.param, error.status, "local")
        }
        assert len({id(one) for one in [*raised, error]}) == 4
        assert answers.find("k") is None

    run(main())


def test_a_follower_waits_no_longer_than_it_may():
    async def main() -> None:
        answers, source = answers_with(), Source()
        found = begin(answers, "k", source)
        hasty, patient = join(found, 2.0), join(found)
        with pytest.raises(DeadlineExceeded):
            await anext(hasty)
        found.leave(hasty)
        source.given.put_nowait([piece("a")])
        assert (await anext(patient))[0].data == b"a"

    run(main())


def test_a_bug_or_a_cancellation_ends_the_run_for_all():
    async def main(spoil: str) -> None:
        answers, source = answers_with(), Source()
        found = begin(answers, "k", source)
        follower = join(found)
        await asyncio.sleep(1)
        assert found.task is not None
        if spoil == "cancelled":
            found.task.cancel()
        else:
            source.given.put_nowait(42)  # pyright: ignore[reportArgumentType]
        with pytest.raises(GatewayError):
            await anext(follower)
        assert answers.find("k") is None
        if spoil != "cancelled":
            assert isinstance(found.task.exception(), TypeError)

    run(main("cancelled"))
    run(main("bug"))


def test_an_empty_answer_is_not_kept():
    async def main() -> None:
        answers, source = answers_with(), Source()
        found = begin(answers, "k", source)
        follower = join(found)
        source.given.put_nowait(None)
        assert await read(follower) == []
        assert (answers.find("k"), answers.held_bytes) == (None, 0)

    run(main())


@pytest.mark.parametrize("streamed", [True, False])
def test_what_is_kept_has_the_bytes_alone(streamed: bool):
    async def main() -> None:
        answers, source = answers_with(), Source()
        found = begin(answers, "k", source, streamed=streamed)
        follower, texts = join(found), [str(at) * 50 for at in range(1000)]
        for text in texts if streamed else texts[:1]:
            source.given.put_nowait([piece(text) if streamed else Piece(text.encode(), Answer([]))])
        source.given.put_nowait(None)
        whole, before = await read(follower), answers.held_bytes
        found.leave(follower)
        assert found.source is None
        again = join(found)
        pieces = await read(again)
        assert events(pieces) == events(whole)
        assert all(one.answer.choices is None for one in pieces)
        if streamed:
            assert answers.held_bytes < before / 3
            assert len(pieces) == 3
        else:
            assert [one.data for one in pieces] == [texts[0].encode()]

    run(main())


def test_a_run_that_is_not_kept_waits_for_its_slowest_follower():
    async def main() -> None:
        answers, source = answers_with(max_answer_bytes=10_000), Source()
        found = begin(answers, "k", source)
        fast, slow = join(found), join(found)
        for at in range(400):
            source.given.put_nowait([piece(f"{at:04}" * 100)])
        source.given.put_nowait(None)
        reading = asyncio.create_task(read(fast))
        await asyncio.sleep(10)
        assert not found.kept
        assert found.held_bytes < PASSING_BYTES + 2000
        assert source.wanted < 100
        assert not reading.done()
        slowly = [one async for batch in slow for one in batch]
        assert [one.data for one in slowly] == [one.data for one in await reading]
        assert len(slowly) == 400
        assert answers.held_bytes == 0

    run(main())


def test_a_slow_follower_that_leaves_lets_the_others_go_on():
    async def main() -> None:
        answers, source = answers_with(max_answer_bytes=10_000), Source()
        found = begin(answers, "k", source)
        fast, slow = join(found), join(found)
        for at in range(400):
            source.given.put_nowait([piece(f"{at:04}" * 100)])
        source.given.put_nowait(None)
        reading = asyncio.create_task(read(fast))
        await asyncio.sleep(10)
        assert not reading.done()
        found.leave(slow)
        assert len(await reading) == 400

    run(main())


def test_the_oldest_answers_make_room():
    async def main() -> None:
        answers = answers_with(max_entries=3)
        for key in "abcde":
            source = Source()
            found = begin(answers, key, source)
            follower = join(found)
            source.given.put_nowait([piece("x")])
            source.given.put_nowait(None)
            await read(follower)
            found.leave(follower)
        assert [answers.find(key) is not None for key in "abcde"] == [False, False, True, True, True]
        assert answers.evicted == 2
        answers.configure(IdempotencyConfig(max_entries=1))
        assert [answers.find(key) is not None for key in "cde"] == [False, False, True]
        answers.configure(IdempotencyConfig(max_bytes=0))
        assert (len(answers), answers.held_bytes) == (0, 0)

    run(main())


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["open", "open", "join", "give", "give", "give", "end", "fail", "read", "leave", "wait"]
        ),
        st.integers(0, 7),
        st.integers(1, 120_000),
    ),
    max_size=60,
)


class Life:
    """One run, what was given to it, and what its followers have read."""

    def __init__(self, found: Run[str], source: Source) -> None:
        self.run = found
        self.source = source
        self.given = b""
        self.sizes: list[int] = []
        self.over = False
        self.followers: dict[Follower[str], bytes] = {}


async def do(answers: Answers[str], lives: dict[str, Life], step: str, key: str, size: int) -> None:
    life = lives.get(key)
    if step == "open" and answers.find(key) is None:
        source = Source()
        lives[key] = life = Life(begin(answers, key, source), source)
        life.followers[join(life.run)] = b""
    elif step == "wait":
        await asyncio.sleep(size / 10_000)
    elif life is None:
        return
    elif step == "join" and answers.find(key) is not None and life.run.kept:
        life.followers[join(life.run)] = b""
    elif step == "give" and not life.over:
        one = piece(random.Random(size).randbytes(3).hex() * (size // 6))
        life.source.given.put_nowait([one])
        life.given += one.event or b""
        life.sizes.append(size)
    elif step in ("end", "fail") and not life.over:
        life.over = True
        life.source.given.put_nowait(None if step == "end" else UpstreamError("broken"))
    elif step in ("read", "leave") and life.followers:
        follower = list(life.followers)[size % len(life.followers)]
        if step == "leave":
            assert life.given.startswith(life.followers.pop(follower))
            life.run.leave(follower)
            if not life.run.followers and not life.run.ended:
                assert life.run.task is not None
                answers.forget(life.run)
                life.run.task.cancel()
                del lives[key]
        elif batch := life.run.read(follower):
            life.followers[follower] += events(batch)
    await asyncio.sleep(0)


@settings(max_examples=150, deadline=None)
@given(
    STEPS,
    st.integers(0, 4),
    st.sampled_from([0, 50_000, 300_000, 10**7]),
    st.sampled_from([0, 100_000, 10**6]),
)
def test_what_is_held_is_bounded_and_every_follower_reads_the_whole_answer(
    steps: list[tuple[str, int, int]], max_entries: int, max_bytes: int, max_answer_bytes: int
):
    async def main() -> None:
        rules = {
            "max_entries": max_entries,
            "max_bytes": max_bytes,
            "max_answer_bytes": max_answer_bytes,
            "ttl_s": 30,
        }
        answers, lives = answers_with(**rules), dict[str, Life]()
        for step, number, size in steps:
            await do(answers, lives, step, str(number), size)
            await asyncio.sleep(0.001)
            passing = [one for one in lives.values() if not one.run.kept]
            extra = sum(PASSING_BYTES + 3 * max(one.sizes) + 2000 for one in passing)
            assert 0 <= answers.held_bytes <= max_bytes + extra
            running = sum(not one.run.ended for one in lives.values())
            assert len(answers) <= max_entries + running
        for life in lives.values():
            if not life.over:
                life.source.given.put_nowait(None)
        await asyncio.gather(*(finish(life) for life in lives.values()))
        await asyncio.sleep(40)
        assert all(answers.find(str(number)) is None for number in range(8))
        assert (len(answers), answers.held_bytes) == (0, 0)

    run(main())


async def finish(life: Life) -> None:
    async def follow(follower: Follower[str], so_far: bytes) -> None:
        try:
            rest = events(await read(follower))
        except UpstreamError:
            return
        assert so_far + rest == life.given

    await asyncio.gather(*(follow(one, so_far) for one, so_far in life.followers.items()))
