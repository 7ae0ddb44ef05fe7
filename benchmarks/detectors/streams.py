"""What readers of streams notice while the gateway classifies the prompts of other requests.

Run as a program it is the load of these requests: `python -m benchmarks.detectors.streams PORT PROFILE RATE SECONDS`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from random import Random
from typing import Any, Final

import msgspec
from benchmarks.detectors.cost import RATE, ROOT, STREAMS, Failed, Round, streams_table
from benchmarks.detectors.once import SHORT, text
from benchmarks.detectors.plans import NoPlan, Subject, plan
from benchmarks.detectors.tables import Table

from tidegate.config.rails import NO_RAILS

MODEL: Final = "m-n100-g20"
ANSWERED: Final = "m-d0"
MARGIN_S: Final = 1.5
"""The requests begin so long before the streams are counted, and end so long after them."""


class Asked(msgspec.Struct, frozen=True):
    """What the load of requests saw."""

    answered: int
    bad: int
    p50_ms: float
    p99_ms: float
    first_problem: str = ""


def configuration(port: int, engine_port: int, profile: str, rails: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of the gateway: no rails unless a request asks for the profile."""
    return {
        "server": {"host": "127.0.0.1", "port": port},
        "engines": {
            "mock": {"kind": "openai", "url": f"http://127.0.0.1:{engine_port}/v1", "max_in_flight": 1000}
        },
        "models": {"m-*": {"deployments": [{"engine": "mock"}]}},
        "policies": {"default": {"rails": NO_RAILS, "stricter_rails": [profile]}},
        **({"rails": {"profiles": dict(rails)}} if rails else {}),
    }


def streams(about: Subject, rounds: int, seconds: float) -> Table:
    """Start the mock engine and the gateway, and return the table. Raises Failed, or NoPlan without rails for prompts."""
    from rig import BUILD, Bench, Cores, RigError, Server, free_port
    from trees import CHAT, SOURCE, Engine, environment

    if plan(about, "input") is None:
        raise NoPlan(f"the profile '{about.profile}' has no rail for the surface 'input'")
    cores, engine = Cores.choose(), Engine(name="detectors-engine")
    port = free_port()
    gateway = Server("detectors-gateway", f"http://127.0.0.1:{port}{CHAT}")
    BUILD.mkdir(exist_ok=True)
    path = BUILD / f"detectors-{port}.yaml"
    path.write_text(json.dumps(configuration(port, engine.port, about.profile, _own(about))))
    command = [sys.executable, "-P", "-m", "tidegate", "serve", "--config", str(path)]
    try:
        engine.start(core=cores.load)
        gateway.start(command, core=cores.server, wait_s=60, env=environment(PYTHONPATH=str(SOURCE)))
        bench = Bench(cores)
        _load(bench, gateway, about.profile, 3)  # the models are loaded
        pairs = [
            [_load(bench, gateway, profile, seconds) for profile in (NO_RAILS, about.profile)]
            for _ in range(rounds)
        ]
    except RigError as error:
        raise Failed(str(error)) from error
    finally:
        gateway.stop()
        engine.server.stop()
        path.unlink(missing_ok=True)
    return streams_table(about.profile, [one for one, _ in pairs], [one for _, one in pairs])


def _own(about: Subject) -> dict[str, Any]:
    """Return the profile if it is one of a configuration, and not a built-in one."""
    from tidegate.cli import settings

    profiles = settings.load(about.config)[0].rails.profiles
    if about.profile not in profiles:
        return {}
    return {about.profile: profiles[about.profile].model_dump(mode="json", exclude_unset=True)}


def _load(bench: Any, gateway: Any, profile: str, seconds: float) -> Round:
    """Stream without rails while requests come under a profile, and return what both saw. Raises Failed."""
    from rig import Streams, pinned

    command = [sys.executable, "-m", "benchmarks.detectors.streams", str(gateway.port), profile]
    command += [str(RATE), str(seconds + 2 * MARGIN_S)]
    with pinned(bench.cores.load):
        asking = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        time.sleep(MARGIN_S)
        report, _ = bench.streams(gateway, Streams(STREAMS, seconds))
    finally:
        out, _ = asking.communicate(timeout=60)
    asked = msgspec.json.decode(out, type=Asked)
    if report.bad or asked.bad:
        raise Failed(
            f"{report.bad} streams and {asked.bad} requests went wrong: {report.first_problem or asked.first_problem}"
        )
    return Round(
        report.itl_p50_ms, report.itl_p99_ms, report.chunks_s, asked.answered, asked.p50_ms, asked.p99_ms
    )


# ---- the load of requests ----


class Load:
    """Sends requests at a fixed rate, whether or not others are still being answered."""

    def __init__(self, port: int, profile: str) -> None:
        self._port = port
        self._header = "" if profile == NO_RAILS else f"x-tidegate-profile: {profile}\r\n"
        self._draw = Random()  # no two rounds have the same prompts: rails remember verdicts
        self.took_s: list[float] = []
        self.bad = 0
        self.first_problem = ""

    async def one(self) -> None:
        """Ask once, with a prompt that nobody has sent before."""
        prompt = f"{text(SHORT, self._draw)} [[{ANSWERED}]]"
        body = msgspec.json.encode({"model": ANSWERED, "messages": [{"role": "user", "content": prompt}]})
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{self._header}"
        began = time.monotonic()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(
                f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
            )
            answer = await reader.read(-1)
            writer.close()
        except OSError as error:
            answer = str(error).encode()
        if re.match(rb"HTTP/1.1 200 ", answer):
            self.took_s.append(time.monotonic() - began)
        else:
            self.bad += 1
            self.first_problem = self.first_problem or answer[:300].decode(errors="replace")

    async def run(self, rate: float, seconds: float) -> None:
        """Send requests for some time, and wait for the last answers."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for at in range(int(rate * seconds)):
                await asyncio.sleep(max(began + at / rate - time.monotonic(), 0))
                group.create_task(self.one())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("port", type=int)
    parser.add_argument("profile")
    parser.add_argument("rate", type=float)
    parser.add_argument("seconds", type=float)
    given = parser.parse_args()
    load = Load(given.port, given.profile)
    asyncio.run(load.run(given.rate, given.seconds))
    took = sorted(load.took_s) or [0.0]
    p50, p99 = (round(took[min(len(took) - 1, int(len(took) * at))] * 1000, 3) for at in (0.5, 0.99))
    print(msgspec.json.encode(Asked(len(load.took_s), load.bad, p50, p99, load.first_problem)).decode())


if __name__ == "__main__":
    main()
