"""What one client's large bodies cost another client: figures for RESULTS.md.

    .venv/bin/python benchmarks/large_bodies.py                        each kind for ten seconds
    .venv/bin/python benchmarks/large_bodies.py --seconds 30 --kinds image
    .venv/bin/python benchmarks/large_bodies.py --src OTHER/src        the gateway of another tree
    .venv/bin/python benchmarks/large_bodies.py --json out.json        the table's figures, to keep

One client sends a body of 30 MiB each second. Another one asks something small every 20 ms. The gateway is a process of its
own with the default settings, but for `--containers`; the engine, which reads and answers at once, is another one, and so
is the sender. For each kind of body there are three figures, in milliseconds:

- turn: the most CPU time that one turn of the gateway's event loop took. It is what the gateway does to others, and a busy
  machine does not change it.
- p99, worst: how long the small answers took, from the time at which they should have been asked. It includes whatever else
  the machine does.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve()
SIZE = 30 * 2**20
PACE_S = 0.02
SMALL = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
ANSWER = b'{"id":"a","object":"chat.completion","choices":[{"index":0,"message":{"content":"x"},"finish_reason":"stop"}]}'


# ------------------------------------------------------------------------------------------------------------ the bodies


def _chat(messages: bytes) -> bytes:
    return b'{"model":"m","messages":[%b]}' % messages


def image() -> bytes:
    """One message with an image as a data URL."""
    url = b"data:image/png;base64," + b"iVBORw0KGgoA" * (SIZE // 12)
    return _chat(b'{"role":"user","content":[{"type":"image_url","image_url":{"url":"%b"}}]}' % url)


def messages() -> bytes:
    """300,000 messages."""
    one = b'{"role":"user","content":"%b"}' % (b"a" * (SIZE // 300_000 - 32))
    return _chat(b",".join([one] * 300_000))


def nested() -> bytes:
    """Lists in lists, 60 deep, as many as there is room for: by default far too many."""
    deep = b"[" * 58 + b"]" * 58
    one = b'{"role":"user","content":[{"type":"text","x":%b}]}' % deep
    return _chat(b",".join([one] * (SIZE // (len(one) + 1))))


def nested_within_limits() -> bytes:
    """Lists in lists, as many as the default settings allow, around long texts."""
    deep = b"[" * 58 + b'"%b"' % (b"a" * (SIZE // 1600 - 160)) + b"]" * 58
    return _chat(b",".join([b'{"role":"user","content":[{"type":"text","x":%b}]}' % deep] * 1600))


def escaped() -> bytes:
    """One text of line ends."""
    return _chat(b'{"role":"user","content":"%b"}' % (rb"\n" * (SIZE // 2)))


KINDS = {
    "image": image,
    "messages": messages,
    "nested": nested,
    "nested-within-limits": nested_within_limits,
    "escaped": escaped,
}


# ---------------------------------------------------------------------------------------------------------- the processes


async def engine() -> None:
    """Reads each request to its end and answers it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                rest = (
                    int(head.partition(b"content-length: ")[2].split()[0])
                    if b"content-length: " in head
                    else 0
                )
                while rest and (data := await reader.read(min(rest, 2**20))):
                    rest -= len(data)
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                    % (len(ANSWER), ANSWER)
                )

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def gateway(engine_port: int, containers: int | None) -> None:
    """The gateway, and a meter that looks at the CPU clock in every turn of its loop; a line on stdin reads it."""
    from tidegate.config import parse_text
    from tidegate.gateway import Gateway
    from tidegate.http.edge.server import bind
    from tidegate.http.serving import GatewayServer, settle_garbage

    section = {"port": 0, **({"max_json_containers": containers} if containers else {})}
    config = parse_text(
        json.dumps(
            {
                "server": section,
                "engines": {"e": {"kind": "openai", "url": f"http://127.0.0.1:{engine_port}/v1"}},
                "models": {"*": {"deployments": [{"engine": "e"}]}},
            }
        ),
        source="the bench",
    )
    listener = bind(config.server)
    loop, worst, last = asyncio.get_running_loop(), 0.0, time.thread_time()

    def meter() -> None:
        nonlocal worst, last
        now = time.thread_time()
        worst, last = max(worst, now - last), now
        loop.call_soon(meter)

    def tell() -> None:
        nonlocal worst
        if not sys.stdin.readline():
            sys.exit(0)
        print(worst * 1000, flush=True)
        worst = 0.0

    async with Gateway(config) as opened:
        settle_garbage()
        server = GatewayServer(opened, listener)
        serving = asyncio.create_task(server.serve([listener]))
        # The start takes a turn of some 30 ms, which is not part of what is measured.
        while not server.started:
            await asyncio.sleep(0.01)
        last = time.thread_time()
        loop.add_reader(sys.stdin, tell)
        loop.call_soon(meter)
        print(listener.getsockname()[1], flush=True)
        await serving


def sender(url: str, kind: str, seconds: float) -> None:
    """A large body each second, on a connection of its own; prints the statuses and the longest time."""
    body, parts = KINDS[kind](), urlsplit(url)
    print("ready", flush=True)
    sys.stdin.readline()
    statuses: dict[int, int] = {}
    longest, began = 0.0, time.monotonic()
    for number in range(int(seconds)):
        time.sleep(max(0.0, began + number - time.monotonic()))
        start = time.monotonic()
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        response = connection.getresponse()
        response.read()
        connection.close()
        statuses[response.status] = statuses.get(response.status, 0) + 1
        longest = max(longest, time.monotonic() - start)
    print(json.dumps({"statuses": statuses, "longest_s": longest}), flush=True)


@contextlib.contextmanager
def process(*args: str, src: str | None = None) -> Generator[tuple[subprocess.Popen[str], str]]:
    """One of the above in a process of its own, and its first line."""
    env = {**os.environ, **({"PYTHONPATH": src} if src else {})}
    child = subprocess.Popen(
        [sys.executable, str(HERE), *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )
    assert child.stdout
    try:
        line = child.stdout.readline().strip()
        if not line:
            raise SystemExit(f"{args[0]} did not start")
        yield child, line
    finally:
        child.kill()
        child.wait()


def said(child: subprocess.Popen[str]) -> str:
    """What a process says when it is told to go on."""
    assert child.stdin
    assert child.stdout
    child.stdin.write("\n")
    child.stdin.flush()
    return child.stdout.readline()


# ----------------------------------------------------------------------------------------------------------- the figures


def small_answers(url: str, until: float) -> list[float]:
    """Milliseconds of each small answer, from when it was due."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    took: list[float] = []
    due = time.monotonic()
    while due < until:
        time.sleep(max(0.0, due - time.monotonic()))
        connection.request("POST", "/v1/chat/completions", SMALL, {"content-type": "application/json"})
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise SystemExit(f"a small request got {response.status}")
        took.append((time.monotonic() - due) * 1000)
        due = max(due + PACE_S, time.monotonic() - 1)
    connection.close()
    return sorted(took)


def measure(kind: str | None, options: argparse.Namespace) -> dict[str, object]:
    """The figures of one kind; of None, those without large bodies."""
    containers = [str(options.containers)] if options.containers else []
    with (
        process("engine") as (_, engine_port),
        process("gateway", engine_port, *containers, src=options.src) as (served, port),
        contextlib.ExitStack() as stack,
    ):
        url = f"http://127.0.0.1:{port}"
        small_answers(url, time.monotonic() + 1)
        said(served)
        large = None
        if kind is not None:
            large, _ = stack.enter_context(process("sender", url, kind, str(options.seconds)))
            assert large.stdin
            large.stdin.write("\n")
            large.stdin.flush()
        took = small_answers(url, time.monotonic() + options.seconds)
        figures: dict[str, object] = {
            "kind": kind or "none",
            "turn_ms": round(float(said(served)), 2),
            "p99_ms": round(took[int(len(took) * 0.99)], 2),
            "worst_ms": round(took[-1], 2),
        }
        if large is not None:
            assert large.stdout
            figures |= json.loads(large.stdout.readline())
        return figures


def main() -> None:
    """Measure each kind and print a line for it as soon as it is known."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10, help="how long each kind is sent (default: 10)")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="which bodies (default: all)"
    )
    parser.add_argument(
        "--containers", type=int, help="the setting max_json_containers (default: the gateway's)"
    )
    parser.add_argument(
        "--src", help="the `src` folder of the gateway to measure (default: the installed one)"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    print(f"{'body':22}{'turn ms':>9}{'p99 ms':>9}{'worst ms':>10}  statuses, longest answer", flush=True)
    found: list[dict[str, object]] = []
    for kind in (None, *options.kinds):
        print(f"{kind or 'none'} ...", end="\r", file=sys.stderr, flush=True)
        found.append(figures := measure(kind, options))
        of_large = f"  {figures['statuses']}, {figures['longest_s']:.2f} s" if kind else ""
        print(
            f"{figures['kind']:22}{figures['turn_ms']:9}{figures['p99_ms']:9}{figures['worst_ms']:10}{of_large}",
            flush=True,
        )
        if options.json:
            options.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["engine"]:
            asyncio.run(engine())
        case ["gateway", port, *containers]:
            import uvloop

            uvloop.run(gateway(int(port), int(containers[0]) if containers else None))
        case ["sender", url, kind, seconds]:
            sender(url, kind, float(seconds))
        case _:
            main()
