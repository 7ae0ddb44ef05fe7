"""One configuration for all workers or for none, whoever is late, silent or broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from pairs import line_to

from tidegate.config import Config, EngineConfig, parse_text
from tidegate.errors import ConfigError, Problem
from tidegate.gateway import Gateway
from tidegate.ports import Host
from tidegate.runtime import Runtime
from tidegate.types import Ask, Batch, Capabilities, Load
from tidegate.workers import epochs
from tidegate.workers.epochs import Candidates, Change, change_all
from tidegate.workers.line import Handlers

pytestmark = pytest.mark.anyio


class Slow:
    """An engine that is ready once it may be."""

    def __init__(self) -> None:
        self.capabilities = Capabilities({})
        self.may = asyncio.Event()
        self.asked = asyncio.Event()
        self.closed = 0

    async def open(self, host: Host) -> None:
        pass

    async def close(self) -> None:
        self.closed += 1

    async def ready(self) -> bool:
        self.asked.set()
        return await self.may.wait()

    async def load(self) -> Load | None:
        return None

    async def count_tokens(self, ask: Ask) -> int | None:
        return None

    def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        raise NotImplementedError


def text(*names: str) -> str:
    listed = "".join(f"  {name}: {{kind: scripted}}\n" for name in names)
    return f"engines:\n{listed}models:\n  m: {{deployments: [{{engine: {names[0]}}}]}}\n"


def read(text: str) -> Config:
    return parse_text(text, source="the test")


class Made(dict[str, Slow]):
    """Engines by name, made when they are asked for."""

    def make(self, name: str, _: EngineConfig) -> Slow:
        self[name] = Slow()
        return self[name]


def gateway_of(made: Made) -> Gateway:
    return Gateway(read(text("a")), runtime=Runtime(make=made.make))


async def test_what_ends_its_preparation_after_it_was_given_up_leaves_no_engine_open() -> None:
    made = Made()
    async with gateway_of(made) as gateway, asyncio.TaskGroup() as group:
        candidates = Candidates(gateway, read)
        late = group.create_task(_refused(candidates.prepare(1, text("a", "b"))))
        await _asked(made, "b")
        await candidates.abandon(1)
        made["b"].may.set()
        assert "abandoned" in await late
        assert (made["b"].closed, set(gateway.engine_states)) == (1, {"a"})
        with pytest.raises(LookupError):
            await candidates.commit(1)


async def test_what_is_late_does_not_take_the_place_of_what_was_prepared_after_it() -> None:
    made = Made()
    async with gateway_of(made) as gateway, asyncio.TaskGroup() as group:
        candidates = Candidates(gateway, read)
        late = group.create_task(_refused(candidates.prepare(1, text("a", "b"))))
        await _asked(made, "b")
        following = group.create_task(candidates.prepare(2, text("a", "c")))
        await _asked(made, "c")
        made["c"].may.set()
        await following
        made["b"].may.set()
        await late
        with pytest.raises(LookupError):
            await candidates.commit(1)
        await candidates.commit(2)
        assert set(gateway.engine_states) == {"a", "c"}
        assert (made["b"].closed, made["c"].closed) == (1, 0)


async def test_a_late_abandon_leaves_a_later_epoch_alone() -> None:
    made = Made()
    async with gateway_of(made) as gateway:
        candidates = Candidates(gateway, read)
        await candidates.prepare(2, text("a"))
        await candidates.abandon(1)
        await candidates.commit(2)
        await candidates.abandon(2)
        assert (set(gateway.engine_states), made["a"].closed) == ({"a"}, 0)


async def _asked(made: Made, name: str) -> None:
    async with asyncio.timeout(5):
        while name not in made:
            await asyncio.sleep(0)
        await made[name].asked.wait()


async def _refused(work: Awaitable[None]) -> str:
    with pytest.raises(ConfigError) as refused:
        await work
    return str(refused.value)


class Told:
    """A worker that does nothing but what `moods` says, and remembers what it was asked."""

    def __init__(self, **moods: Callable[[], Awaitable[None]]) -> None:
        self.heard: list[str] = []
        self.moods = moods
        self.handlers: Handlers = {name: self._on(name) for name in ("prepare", "commit", "abandon")}

    def _on(self, name: str) -> Callable[[bytes], Awaitable[None]]:
        async def handle(body: bytes) -> None:
            self.heard.append(f"{name} {bytes(body).decode()}")
            if mood := self.moods.get(name):
                await mood()

        return handle


async def change(*workers: Told) -> tuple[list[int], list[str]]:
    """Those that did not confirm, and whatever had been heard by all when it was decided."""
    heard: list[str] = []

    def decided() -> None:
        heard.extend(what for worker in workers for what in worker.heard)

    async with AsyncExitStack() as lines:
        everyone = {n: await lines.enter_async_context(line_to(w.handlers)) for n, w in enumerate(workers)}
        return await change_all(everyone, Change(7, "t"), decided=decided), heard


async def refusal(*workers: Told) -> str:
    """Why it was refused, once all have given up."""
    async with AsyncExitStack() as lines:
        everyone = {n: await lines.enter_async_context(line_to(w.handlers)) for n, w in enumerate(workers)}
        with pytest.raises(ConfigError) as refused:
            await change_all(everyone, Change(7, "t"), decided=pytest.fail)
        await _heard_by_all(workers, "abandon 7")
        return str(refused.value)


async def _heard_by_all(workers: tuple[Told, ...], what: str) -> None:
    async with asyncio.timeout(5):
        while not all(what in worker.heard for worker in workers):
            await asyncio.sleep(0)


async def refuse() -> None:
    raise ConfigError("the test", [Problem("engines.x", "is wrong")])


async def fail() -> None:
    raise RuntimeError("a secret")


async def sleep() -> None:
    await asyncio.sleep(0.5)


PREPARE = 'prepare {"epoch":7,"text":"t"}'


async def test_all_swap_once_all_have_prepared() -> None:
    one, other = Told(), Told()
    assert await change(one, other) == ([], [PREPARE, PREPARE])
    assert one.heard == other.heard == [PREPARE, "commit 7"]


@pytest.mark.parametrize(
    ("mood", "problem"),
    [
        (refuse, "engines.x: is wrong"),
        (fail, "worker 1: 'prepare' cannot be answered: RuntimeError"),
        (sleep, "worker 1: the process did not answer"),
    ],
)
async def test_if_one_does_not_prepare_every_other_gives_up(
    mood: Callable[[], Awaitable[None]], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "PREPARE_WITHIN_S", 0.2)
    workers = Told(), Told(prepare=mood)
    assert problem in await refusal(*workers)
    assert [worker.heard for worker in workers] == [[PREPARE, "abandon 7"]] * 2


@pytest.mark.parametrize("mood", [fail, sleep])
async def test_one_that_does_not_confirm_is_named(
    mood: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "COMMIT_WITHIN_S", 0.2)
    unconfirmed, _ = await change(Told(), Told(commit=mood))
    assert unconfirmed == [1]
