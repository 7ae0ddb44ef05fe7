"""`tidegate drill`: plays the drill, shows it, and ends with its verdict."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import msgspec
import uvloop
from cyclopts import App, Parameter, validators
from rich.console import Console
from rich.text import Text

from tidegate.cli import settings
from tidegate.cli.drill.table import drawn, judged, line
from tidegate.cli.running.screen import Screen
from tidegate.kernel.plain import plain
from tidegate.ops.drill.page import page
from tidegate.ops.drill.plan import LONGEST_S, SHORTEST_S, Phase
from tidegate.ops.drill.processes import NotStarted
from tidegate.ops.drill.result import Result
from tidegate.ops.drill.run import Show, View, run

app = App(
    name="drill",
    help="Watch the gateway while engines are killed, slowed and flooded.",
    help_epilogue="""What happens

The drill starts three scripted engines and `tidegate serve` in front of them, each as a process of its own. It sends calls
of six tenants in three classes, and then, one after the other:

- steady: the engines get half of what they can serve;
- killed: the process of one engine is killed, as by `kill -9`;
- slowed: that engine is back, and another one becomes slow;
- flood: that one is fast again, and two batch tenants send three times what the engines can serve;
- recovery: the load of the beginning.

It needs no key, no configuration and no network. Everything listens on this machine alone, and ends with the drill.

What is shown

A good answer is whole, and its first token came within the limit of its class. TTFT counts from when a call was due. A shed
call was refused by the gateway with status 503, since its capacity was used up. A failed call got an error before its first
token, a broken one after it. At the end, each promise of the gateway is kept or BROKEN, with the figure that shows it.

Examples

`tidegate drill`: one minute, and a page with the timeline in drill.html

`tidegate drill --seconds 300 --seed 7`: slower, and with other arrivals

`tidegate drill --json --quiet`: the result for a program

Exit status: 0 if every promise was kept; 1 if one was broken, or the drill was interrupted; 2 if it could not start.""",
)


@app.default
def drill(
    *,
    seconds: Annotated[float, Parameter(validator=validators.Number(gte=SHORTEST_S, lte=LONGEST_S))] = 60.0,
    seed: int = 0,
    html: Path = Path("drill.html"),
    output: Annotated[Path | None, Parameter(("--output", "-O"))] = None,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
    quiet: Annotated[bool, Parameter(("--quiet", "-q"), negative="")] = False,
) -> None:
    """Watch the gateway while engines are killed, slowed and flooded.

    Parameters
    ----------
    seconds
        Length of the load, 30 to 3600. The parts keep their shares.
    seed
        Seed of the random arrivals.
    html
        File for the page with the timeline.
    output
        File for the result as JSON. Default: none is written.
    as_json
        Print the result as JSON on standard output instead of the verdict.
    quiet
        Show no progress.

    """
    _check(html, output)
    console = Console(stderr=True, quiet=quiet)
    try:
        result = _watched(seconds, seed, console)
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("Stopped: the processes of the drill have ended, and no result was written.", file=sys.stderr)
        sys.exit(1)
    _keep(result, html, output)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(result), indent=1).decode())
    else:
        _summary(result, html)
    sys.exit(0 if result.kept else 1)


def _check(html: Path, output: Path | None) -> None:
    """End the command if a file cannot be written, before a minute of load."""
    for option, path in (("--html", html), ("--output", output)):
        if path is None:
            continue
        if path.is_dir() or not path.name:
            settings.fail(f"{option}: {path} is a folder: name a file in it")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            settings.fail(f"{option}: {path} cannot be written")
    if output is not None and output.resolve() == html.resolve():
        settings.fail(f"--output and --html are both {output}: the page would overwrite the result")


def _watched(seconds: float, seed: int, console: Console) -> Result:
    """Play the drill. Ends the command if a process does not start."""
    try:
        if not console.is_terminal:
            return uvloop.run(_stoppable(seconds, seed, _Lines(console)))
        with Screen(console, drawn, live=True) as screen:
            return uvloop.run(_stoppable(seconds, seed, screen.show))
    except* NotStarted as group:
        settings.fail("\n".join(plain(text) for text in _messages(group)))


def _messages(group: BaseExceptionGroup[NotStarted]) -> list[str]:
    """Return the messages of a group, whose members may be groups too."""
    return [
        text
        for error in group.exceptions
        for text in (_messages(error) if isinstance(error, BaseExceptionGroup) else [str(error)])
    ]


async def _stoppable(seconds: float, seed: int, show: Show) -> Result:
    """Run the drill. A signal that asks the command to end cancels it, so that its processes end too."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    return await run(seconds, seed, show)


class _Lines:
    """Shows a drill where there is no terminal: a line at the beginning of each phase, and one at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phase: Phase | None = None
        self._ended = False

    def __call__(self, view: View) -> None:
        ended = view.at_s >= view.plan.seconds and view.sent == len(view.calls)
        if view.phase is not self._phase or (ended and not self._ended):
            self._console.print(line(view), soft_wrap=True)
        self._phase, self._ended = view.phase, ended


def _keep(result: Result, html: Path, output: Path | None) -> None:
    try:
        html.write_text(page(result), encoding="utf-8")
        if output is not None:
            output.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))
    except OSError as error:
        settings.fail(f"cannot write the result: {error}")


def _summary(result: Result, html: Path) -> None:
    console = Console()
    console.print(judged(result.promises))
    for one in result.errors:
        console.print(Text(plain(f"{one.calls:,} times {one.error} ({one.told}): {one.message}"), "dim"))
    for note in result.notes:
        console.print(Text(note, "yellow"))
    verdict = Text("Every promise was kept.", "green")
    if not result.kept:
        broken = sum(not promise.kept for promise in result.promises)
        verdict = Text(f"{broken} of {len(result.promises)} promises broken.", "red")
    console.print(verdict.append(f" Timeline: {plain(str(html))}", "default"))
