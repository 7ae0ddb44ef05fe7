"""Engines that behave badly: what opens, lends and asks them lives on, and a reload that meets one changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from tidegate import config, gateway
from tidegate.config import EngineConfig, ScriptedConfig
from tidegate.errors import ConfigError, UpstreamError
from tidegate.gateway import Gateway
from tidegate.ports import Host
from tidegate.runtime import Runtime
from tidegate.snapshot import assemble
from tidegate.types import Ask, Batch, Capabilities, Load

pytestmark = pytest.mark.anyio


class Moody:
    """An engine that fails where it is told to."""

    def __init__(self, failing: str = "") -> None:
        self.capabilities = Capabilities({})
        self.failing = failing
        self.opened = self.closed = self.asked = 0

    def _do(self, what: str) -> None:
        if self.failing == what:
            raise OSError("canary")

    async def open(self, host: Host) -> None:
        await asyncio.sleep(0)
        self._do("open")
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1
        self._do("close")

    async def ready(self) -> bool:
        self.asked += 1
        self._do("ready")
        return self.failing != "down"

    async def load(self) -> Load:
        if self.failing == "load":
            raise UpstreamError("canary")
        return Load(running=3)

    async def count_tokens(self, ask: Ask) -> int | None:
        return None

    def stream(self, ask: Ask) -> AsyncGenerator[Batch, None]:
        raise NotImplementedError


def engines(**failing: str) -> tuple[dict[str, Moody], Callable[[str, EngineConfig], Moody]]:
    """Engines by name, made when they are asked for."""
    made: dict[str, Moody] = {}

    def make(name: str, _: EngineConfig) -> Moody:
        made[name] = Moody(failing.get(name, ""))
        return made[name]

    return made, make


def text(*names: str) -> str:
    listed = "".join(f"  {name}: {{kind: scripted}}\n" for name in names)
    return f"engines:\n{listed}models:\n  m: {{deployments: [{{engine: {names[0]}}}]}}\n"


async def test_two_who_ask_at_once_get_the_same_engine() -> None:
    made, make = engines()
    async with Runtime(make=make) as runtime:
        settings = ScriptedConfig(kind="scripted")
        first, second = await asyncio.gather(*(runtime.borrow("a", settings) for _ in range(2)))
        assert first is second
        assert made["a"].opened == 1
        await runtime.give_back(first)
        assert made["a"].closed == 0
        await runtime.give_back(second)
        assert made["a"].closed == 1


async def test_an_engine_that_cannot_be_opened_leaves_no_other_open() -> None:
    made, make = engines(b="open")
    async with Runtime(make=make) as runtime:
        with pytest.raises(ConfigError) as raised:
            await assemble(config.parse_text(text("a", "b"), source="x"), runtime)
        assert [problem.path for problem in raised.value.problems] == ["engines.b"]
        assert "canary" not in str(raised.value)
        assert runtime.engines() == []
        assert [engine.closed for engine in made.values()] == [made["a"].opened, made["b"].opened]


async def test_one_that_cannot_say_whether_it_is_ready_is_not_and_keeps_nobody_from_asking() -> None:
    made, make = engines(a="ready")
    async with Gateway(config.parse_text(text("a", "b"), source="x"), runtime=Runtime(make=make)) as running:
        await asyncio.sleep(0.01)
        assert running.engine_states == {"a": "not ready", "b": "ready"}
        assert made["a"].asked


async def test_how_busy_an_engine_is_is_known_where_it_says_so_and_one_that_does_not_is_still_ready() -> None:
    _, make = engines(b="load", c="down")
    async with Runtime(make=make) as runtime:
        loads: dict[str, int | None] = {}
        for name in "abc":
            running = await runtime.borrow(name, ScriptedConfig(kind="scripted"))
            await running.probe()
            loads[name] = running.load.running if running.load else None
            assert running.ready == (name != "c")
        told = runtime.metrics.render().decode()
    assert loads == {"a": 3, "b": None, "c": None}
    assert [line for line in told.splitlines() if line.startswith("tidegate_engine_running")] == [
        'tidegate_engine_running{engine="a"} 3.0'
    ]
    assert "tidegate_engine_queued{" not in told


async def test_an_engine_gets_as_many_calls_as_it_says_unless_its_settings_say_otherwise() -> None:
    several = """
engines: {a: {kind: scripted}, b: {kind: scripted, slots: 3}, c: {kind: scripted, slots: 3, max_in_flight: 2}}
models: {m: {deployments: [{engine: a}]}}
"""
    async with Gateway(config.parse_text(several, source="x")) as running:
        assert [one.seats.limit for one in running.snapshot.engines.values()] == [None, 3, 2]


async def test_a_reload_that_changes_an_engine_never_gives_it_more_calls_than_its_limit(
    tmp_path: Path,
) -> None:
    path = tmp_path / "tidegate.yaml"

    def write(ttft_ms: int, limit: int) -> None:
        engine = f"{{kind: scripted, ttft_ms: {ttft_ms}, max_in_flight: {limit}}}"
        path.write_text(f"engines: {{a: {engine}}}\nmodels: {{m: {{deployments: [{{engine: a}}]}}}}\n")

    write(1, 2)
    async with Gateway(config.load(path), path=path) as running:
        before = running.snapshot.engines["a"]
        assert before.seats.try_take()
        write(2, 2)
        await running.reload()
        after = running.snapshot.engines["a"]
        assert after.engine is not before.engine
        assert after.seats is before.seats
        assert [after.seats.try_take(), after.seats.try_take()] == [True, False]
        write(2, 3)
        await running.reload()
        assert running.snapshot.engines["a"].engine is after.engine, "seats are no reason for a new engine"
        assert after.seats.try_take()
        told = running.runtime.metrics.render().decode()
        assert told.count('tidegate_engine_in_flight{engine="a"}') == 1


async def test_an_engine_that_was_never_ready_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    _, make = engines(a="down")
    async with Runtime(make=make) as runtime:
        with caplog.at_level(logging.INFO):
            running = await runtime.borrow("a", ScriptedConfig(kind="scripted"))
            for _ in range(3):
                await running.probe()
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told == [("WARNING", "engine a is not ready")]


async def test_one_that_does_not_close_keeps_no_other_open() -> None:
    made, make = engines(a="close")
    async with Gateway(config.parse_text(text("a", "b"), source="x"), runtime=Runtime(make=make)):
        pass
    assert [engine.closed for engine in made.values()] == [1, 1]


async def test_the_file_is_still_watched_after_a_reload_that_met_a_broken_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gateway, "WATCH_EVERY_S", 0.01)
    made, make = engines(b="open")
    path = tmp_path / "tidegate.yaml"
    path.write_text(text("a"))

    async with Gateway(config.load(path), path=path, runtime=Runtime(make=make)) as running:
        await asyncio.sleep(0.05)
        with caplog.at_level(logging.ERROR):
            path.write_bytes(b"\xff")
            await eventually(lambda: "UTF-8" in caplog.text)
            path.write_text(text("a", "b"))
            await eventually(lambda: "stays as it was" in caplog.text and "engines.b" in caplog.text)
        assert set(running.engine_states) == {"a"}
        path.write_text(text("a", "c"))
        await eventually(lambda: "c" in running.engine_states)
    assert made["a"].opened == 1


async def eventually(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not reached():
            await asyncio.sleep(0.005)


async def test_the_file_is_still_watched_after_an_engine_of_a_refused_reload_did_not_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gateway, "WATCH_EVERY_S", 0.01)
    made, make = engines(b="close", c="open")
    path = tmp_path / "tidegate.yaml"
    path.write_text(text("a"))
    async with Gateway(config.load(path), path=path, runtime=Runtime(make=make)) as running:
        path.write_text(text("a", "b", "c"))
        await eventually(lambda: "b" in made and made["b"].closed == 1)
        path.write_text(text("a", "dd"))
        await eventually(lambda: "dd" in running.engine_states)
        told = running.runtime.metrics.render().decode()
    assert 'tidegate_config_reloads_total{result="ok"} 1.0' in told


async def test_a_change_of_the_file_while_the_engines_open_is_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "WATCH_EVERY_S", 0.01)
    path = tmp_path / "tidegate.yaml"
    path.write_text(text("a"))
    _, make = engines()

    def change_and_make(name: str, settings: EngineConfig) -> Moody:
        path.write_text(text("a", "changed"))
        return make(name, settings)

    async with Gateway(config.load(path), path=path, runtime=Runtime(make=change_and_make)) as running:
        await eventually(lambda: "changed" in running.engine_states)


async def test_a_change_of_the_file_between_reading_it_and_making_the_gateway_is_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "WATCH_EVERY_S", 0.01)
    path = tmp_path / "tidegate.yaml"
    path.write_text(text("a"))
    _, make = engines()
    seen, loaded = gateway.stamp(path), config.load(path)
    path.write_text(text("a", "changed"))
    async with Gateway(loaded, path=path, runtime=Runtime(make=make), seen=seen) as running:
        await eventually(lambda: "changed" in running.engine_states)


async def test_only_a_change_of_the_file_is_called_a_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, make = engines()
    path = tmp_path / "tidegate.yaml"
    path.write_text(text("a"))
    loaded = config.load(path)
    settings = loaded.server.model_copy(update={"port": 0})  # as `--port 0` does
    async with Gateway(loaded, path=path, runtime=Runtime(make=make), settings=settings) as running:
        await running.reload()
        assert "take effect at the next start" not in caplog.text
        path.write_text("server: {port: 9999}\n" + text("a"))
        await running.reload()
        assert "take effect at the next start" in caplog.text
        assert running.settings.port == 0


async def test_a_file_that_is_still_being_written_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    stamps = iter("AABCDDDDEFFF")
    now = ""

    def stamp(_: Path) -> str:
        nonlocal now
        now = next(stamps)
        return now

    read: list[str] = []

    async def changed() -> None:
        read.append(now)

    monkeypatch.setattr(gateway, "WATCH_EVERY_S", 0)
    monkeypatch.setattr(gateway, "stamp", stamp)
    async with Runtime() as runtime:
        with pytest.raises(RuntimeError):  # the stamps are at their end
            await gateway.watch(Path("x"), changed, spawn=runtime.spawn, seen=gateway.stamp(Path("x")))
    assert read == ["D", "F"]
