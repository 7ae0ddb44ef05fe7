"""What judging a stream costs its reader: `make bench-windows`, or `PYTHONPATH=src python benchmarks/windows.py`.

An engine sends 300 tokens, one each 20 ms. A guard model judges them, in 50, 300 and 1,000 ms, in windows of 16, 32 and
64 tokens, by sentence, and as a whole. The gateway is `tidegate serve` in a process of its own. This process is the client,
the engine and the guard model: all times are from one clock.

Each round streams once in every way, all at the same time, and the table has medians of the rounds. `early` counts tokens
that the client had before the verdict on them. The exit status is 1 if there are any, or if a text was not complete.

  make bench-windows ARGS="--rounds 3 --json out.json"
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from report import describe_machine
from rich.console import Console
from rich.table import Table
from rig import RigError, free_port

TOKENS = 300
ITL_S = 0.02
SENTENCE_TOKENS = 24
JUDGES_MS = (50, 300, 1000)
WAYS: Mapping[str, Mapping[str, Any]] = {
    "window 16": {"passages": {"by": "window", "window_tokens": 16}},
    "window 32": {"passages": {"by": "window", "window_tokens": 32}},
    "window 64": {"passages": {"by": "window", "window_tokens": 64}},
    f"sentences of {SENTENCE_TOKENS}": {},
    "whole": {"hold": "whole"},
}
OPEN = "none"
WAIT_S = 20.0
_RUN = re.compile(r"run (\d+)\b")
_TOKEN = re.compile(r"\bw(\d{3})\b")


class Row(msgspec.Struct, frozen=True):
    """What the client sees of one way, in milliseconds: medians of the rounds. `early` is the sum of all rounds."""

    way: str
    judge_ms: int
    ttft_ms: float
    added_ttft_ms: float
    itl_p50_ms: float
    itl_p99_ms: float
    longest_pause_ms: float
    added_total_ms: float
    early: int


class Stream(msgspec.Struct):
    """One stream: when it was asked for, and when each token came."""

    began: float
    came: list[float]

    @property
    def gaps(self) -> list[float]:
        return sorted(after - before for before, after in pairwise(self.came))


# ---- the engine and the guard model ----


class Models:
    """An HTTP server for all models. `ruled` has when the verdict on the tokens up to one was sent, by run."""

    def __init__(self) -> None:
        self.ruled: dict[int, list[tuple[float, int]]] = defaultdict(list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := (await reader.readuntil(b"\r\n\r\n")).lower():
                size = re.search(rb"content-length: *(\d+)", head)
                body = await reader.readexactly(int(size[1]) if size else 0)
                if head.startswith(b"post"):
                    await self._answer(msgspec.json.decode(body), writer)
                else:
                    _write(writer, {"data": []})  # a probe of the gateway
        writer.close()

    async def _answer(self, body: Any, writer: asyncio.StreamWriter) -> None:
        said = msgspec.json.encode(body["messages"]).decode()
        run = int(_RUN.findall(said)[-1])
        if body.get("stream"):
            await _stream(writer)
            return
        await asyncio.sleep(int(body["model"].removeprefix("judge-")) / 1000)
        self.ruled[run].append((time.monotonic(), int(_TOKEN.findall(said)[-1])))
        message = {"role": "assistant", "content": "safe"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        _write(
            writer, {"id": "j", "object": "chat.completion", "created": 1, "model": "j", "choices": [choice]}
        )


def token(at: int) -> str:
    """A token of five characters, the last one of a sentence with its end."""
    return f"w{at:03d}{'.' if at % SENTENCE_TOKENS == SENTENCE_TOKENS - 1 else ''} "


async def _stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    began = time.monotonic()
    for at in range(TOKENS):
        await asyncio.sleep(max(began + (at + 1) * ITL_S - time.monotonic(), 0))
        _event(writer, {"content": token(at)})
    _event(writer, {}, finish="stop")
    done = b"data: [DONE]\n\n"
    writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(done), done))


def _event(writer: asyncio.StreamWriter, delta: Mapping[str, str], finish: str | None = None) -> None:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    event = {"id": "e", "object": "chat.completion.chunk", "created": 1, "model": "e", "choices": [choice]}
    data = b"data: " + msgspec.json.encode(event) + b"\n\n"
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))


def _write(writer: asyncio.StreamWriter, body: Mapping[str, Any]) -> None:
    data = msgspec.json.encode(body)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % len(data) + data)


# ---- the gateway and its client ----


def configuration(port: int, models_port: int) -> dict[str, Any]:
    """The configuration of the gateway, with a profile for each way and guard model."""
    models = {name: {"deployments": [{"engine": "models"}]} for name in names()}
    profiles = {profile(way, judge): settings(way, judge) for way in WAYS for judge in JUDGES_MS}
    url = f"http://127.0.0.1:{models_port}/v1"
    return {
        "server": {"host": "127.0.0.1", "port": port},
        "engines": {"models": {"kind": "openai", "url": url, "max_in_flight": 1000, "reserved_seats": 100}},
        "models": models,
        "rails": {"profiles": profiles},
        "policies": {"default": {"rails": OPEN, "stricter_rails": list(profiles)}},
    }


def names() -> Iterator[str]:
    """The names of the models."""
    yield "engine"
    yield from (f"judge-{judge}" for judge in JUDGES_MS)


def profile(way: str, judge_ms: int) -> str:
    """The name of the profile."""
    return f"{way}-{judge_ms}".replace(" ", "-")


def settings(way: str, judge_ms: int) -> dict[str, Any]:
    """The profile of a way."""
    more = dict(WAYS[way])
    rail: dict[str, Any] = {"kind": "llama_guard", "model": f"judge-{judge_ms}", "surfaces": ["output"]}
    rail |= {"cache_s": 0}
    if "hold" in more:
        rail["hold"] = more.pop("hold")
    return {"rails": [rail], **more}


async def streamed(port: int, run: int, name: str) -> Stream:
    """Stream once under a profile. Raises RigError if the answer is not the whole text."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ask = {"model": "engine", "stream": True, "messages": [{"role": "user", "content": f"run {run}"}]}
    body = msgspec.json.encode(ask)
    asked = "" if name == OPEN else f"x-tidegate-profile: {name}\r\n"
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{asked}"
    found = Stream(time.monotonic(), [])
    writer.write(
        f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    )
    text = b""
    while line := await reader.readline():
        text += line
        if line.startswith(b"data: ") and (said := _TOKEN.search(line.decode())):
            if int(said[1]) != len(found.came):
                raise RigError(f"{name}: token {said[1]} came after {len(found.came)} others")
            found.came.append(time.monotonic())
    writer.close()
    if len(found.came) != TOKENS or b"[DONE]" not in text:
        raise RigError(f"{name}: {len(found.came)} tokens came; the last words: {text[-500:]!r}")
    return found


def early(found: Stream, ruled: Sequence[tuple[float, int]]) -> int:
    """Return how many tokens came before the verdict on them, or without any."""
    return sum(
        not any(at <= came and last >= token for at, last in ruled) for token, came in enumerate(found.came)
    )


def row(way: str, judge_ms: int, found: Sequence[Stream], base: Sequence[Stream], before: int) -> Row:
    """Return the medians of the rounds."""

    def middle(figures: Iterator[float]) -> float:
        return round(median(figures) * 1000, 1)

    ttft = middle(one.came[0] - one.began for one in found)
    return Row(
        way,
        judge_ms,
        ttft,
        round(ttft - middle(one.came[0] - one.began for one in base), 1),
        middle(one.gaps[len(one.gaps) // 2] for one in found),
        middle(one.gaps[int(len(one.gaps) * 0.99)] for one in found),
        middle(one.gaps[-1] for one in found),
        round(
            middle(one.came[-1] - one.began for one in found)
            - middle(one.came[-1] - one.began for one in base),
            1,
        ),
        before,
    )


async def measured(port: int, models: Models, rounds: int) -> list[Row]:
    """Stream in all ways at once, round after round."""
    ways = [(OPEN, 0), *((way, judge) for way in WAYS for judge in JUDGES_MS)]
    found: dict[tuple[str, int], list[Stream]] = defaultdict(list)
    before: dict[tuple[str, int], int] = defaultdict(int)
    runs = count(1)
    for _ in range(rounds):
        numbers = {one: next(runs) for one in ways}
        streams = (
            streamed(port, run, OPEN if way == OPEN else profile(way, judge))
            for (way, judge), run in numbers.items()
        )
        for one, stream in zip(ways, await asyncio.gather(*streams), strict=True):
            found[one].append(stream)
            if one[0] != OPEN:
                before[one] += early(stream, models.ruled[numbers[one]])
    base = found[OPEN, 0]
    return [row(*one, found[one], base, before[one]) for one in ways]


async def ready(port: int) -> None:
    """Wait until the gateway listens. Raises RigError if it does not."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.1)
    raise RigError(f"the gateway did not listen within {WAIT_S:g} s")


async def run(rounds: int) -> list[Row]:
    """Start the models and the gateway, and measure."""
    models, port = Models(), free_port()
    server = await asyncio.start_server(models.serve, "127.0.0.1", 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "windows.json"
        path.write_bytes(msgspec.json.encode(configuration(port, server.sockets[0].getsockname()[1])))
        command = [sys.executable, "-P", "-m", "tidegate", "serve", "--config", str(path)]
        gateway = await asyncio.create_subprocess_exec(
            *command, env=os.environ, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            await ready(port)
            await streamed(port, 0, profile("window 64", JUDGES_MS[0]))  # everything is imported
            return await measured(port, models, rounds)
        finally:
            with suppress(ProcessLookupError):
                gateway.terminate()
            await gateway.wait()
            server.close()


def table(rows: Sequence[Row], rounds: int) -> Table:
    """The rows for people."""
    found = Table(title=f"{TOKENS} tokens, one each {ITL_S * 1000:g} ms; medians of {rounds} rounds, ms")
    heads = ("TTFT", "added", "ITL p50", "ITL p99", "longest pause", "added in all", "early tokens")
    for name in ("judged", "judge", *heads):
        found.add_column(name, justify="left" if name == "judged" else "right")
    for one in rows:
        times = (one.ttft_ms, one.added_ttft_ms, one.itl_p50_ms, one.itl_p99_ms, one.longest_pause_ms)
        figures = [f"{each:,.1f}" for each in (*times, one.added_total_ms)]
        found.add_row(one.way, f"{one.judge_ms}" if one.judge_ms else "", *figures, str(one.early))
    return found


def main() -> int:
    """Measure and show. Returns the exit status."""
    parser = argparse.ArgumentParser(description="What judging a stream costs its reader.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file for the results")
    asked = parser.parse_args()
    try:
        rows = asyncio.run(run(asked.rounds))
    except RigError as failed:
        print(failed, file=sys.stderr)
        return 1
    Console(width=140).print(table(rows, asked.rounds))
    if asked.json is not None:
        asked.json.write_bytes(msgspec.json.encode({"machine": describe_machine(), "rows": rows}))
    return 1 if any(one.early for one in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
