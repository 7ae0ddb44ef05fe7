"""The stories in `examples/`: their modules, and gateways with their configurations on the clock of `virtual`."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, chdir
from pathlib import Path
from types import ModuleType
from typing import Any

from in_hand import WALL_S, GatewayInHand

from stories.timed import ReadsInTime
from tidegate.config import Config, EngineConfig, load
from tidegate.gateway import Gateway
from tidegate.http.app import create_app
from tidegate.http.edge.server import EdgeServer
from tidegate.rails.plan import Plan, compile_plans
from tidegate.runtime import Runtime, make_engine

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def module_of(story: str, name: str) -> ModuleType:
    """Run a file of a story, as `python examples/STORY/NAME.py` would, but not its `main`."""
    path = EXAMPLES / story / f"{name}.py"
    full = f"{story}_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


def config_of(story: str) -> Config:
    """Read the configuration of a story, as `tidegate serve` does in its folder."""
    with chdir(EXAMPLES / story):
        return load(Path("tidegate.yaml"))


def plan_of(story: str, profile: str) -> Plan:
    """Return the rails of a profile of a story."""
    config = config_of(story)
    with chdir(EXAMPLES / story):
        return compile_plans(config.rails, [profile])[profile]


@asynccontextmanager
async def gateway_of(story: str, engine: Any = None, **environment: str) -> AsyncIterator[GatewayInHand]:
    """Run the gateway of a story. `environment` is what its configuration reads.

    `engine` answers instead of the first engine that the configuration names. The detector is one that takes a known time:
    the real one has a thread, which a clock that jumps does not wait for.
    """
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    clock = asyncio.get_running_loop().time
    try:
        config = config_of(story)
        with chdir(EXAMPLES / story):
            answering, *_ = config.engines

            def make(name: str, settings: EngineConfig) -> Any:
                return make_engine(name, settings) if engine is None or name != answering else engine

            runtime = Runtime(clock=clock, wall=lambda: WALL_S + clock(), make=make)
            runtime.detector = ReadsInTime()
            async with Gateway(config, runtime=runtime) as gateway:
                yield GatewayInHand(gateway, EdgeServer(create_app(gateway), config.server))
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
