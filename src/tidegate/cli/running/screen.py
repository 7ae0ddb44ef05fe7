"""Shows what a gateway tells: once, or again and again; as a page for people, or as JSON."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Generic, NoReturn, Protocol, Self, TypeVar

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from tidegate.cli.running.admin import GatewayFailed, RunningGateway
from tidegate.kernel.plain import plain, plain_json

EVERY_S = 1.0

P = TypeVar("P")
P_contra = TypeVar("P_contra", contravariant=True)

Ask = Callable[[], Awaitable[bytes]]
Pause = Callable[[], Awaitable[None]]
Read = Callable[[bytes], P]


class Draw(Protocol[P_contra]):
    """Draws a page. With `ascii_only`, the page has no other characters."""

    def __call__(self, page: P_contra, /, *, ascii_only: bool) -> RenderableType:
        """Return what is to be shown."""
        ...


class Screen(Generic[P]):
    """Shows pages. A live screen redraws in place on a terminal, and prints every page elsewhere."""

    def __init__(self, console: Console, draw: Draw[P], *, live: bool) -> None:
        self._console = console
        self._draw_page = draw
        self._last: RenderableType | None = None
        self._live = Live(console=console, auto_refresh=False) if live and console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, page: P) -> None:
        """Show a page."""
        self._last = self._draw_page(page, ascii_only=self._console.options.ascii_only)
        self._draw(self._last)

    def complain(self, why: str) -> None:
        """Show why there is no present page, below the last one."""
        words = Text(f"Not up to date: {plain(why)}", style="red")
        if self._live is None or self._last is None:
            self._draw(words)
        else:
            self._draw(Group(self._last, words))

    def _draw(self, what: RenderableType) -> None:
        if self._live is not None:
            self._live.update(what, refresh=True)
        else:
            self._console.print(what)


async def follow(ask: Ask, read: Read[P], screen: Screen[P], pause: Pause) -> None:
    """Show the answers again and again. Raises GatewayFailed if the first attempt fails; a later failure is shown."""
    screen.show(read(await ask()))
    while True:
        await pause()
        try:
            screen.show(read(await ask()))
        except GatewayFailed as failed:
            screen.complain(failed.message)


def present(
    gateway: RunningGateway, path: str, read: Read[P], draw: Draw[P], *, watch: bool, as_json: bool
) -> None:
    """Ask a gateway for a path of its admin API and show the answer, until Ctrl-C with `watch`. Ends the command."""

    async def show() -> None:
        try:
            await _show(lambda: gateway.get(path), read, draw, watch=watch, as_json=as_json)
        finally:
            await gateway.close()

    try:
        asyncio.run(show())
    except GatewayFailed as failed:
        fail(failed, as_json=as_json)
    except KeyboardInterrupt:
        sys.exit(0 if watch else 130)  # Ctrl-C is how watching ends


def fail(failed: GatewayFailed, *, as_json: bool) -> NoReturn:
    """Print why a gateway did not tell what was asked, and end the command with status 1."""
    if as_json:
        error = {"message": failed.message, "status": failed.status}
        print(plain_json(msgspec.json.encode({"error": error}).decode()))
    else:
        print(f"Error: {plain(failed.message)}", file=sys.stderr)
    sys.exit(1)


async def _show(ask: Ask, read: Read[P], draw: Draw[P], *, watch: bool, as_json: bool) -> None:
    async def pause() -> None:
        await asyncio.sleep(EVERY_S)

    if as_json:
        await _print_json(ask, read, pause if watch else None)
        return
    with Screen(Console(), draw, live=watch) as screen:
        if watch:
            await follow(ask, read, screen, pause)
        else:
            screen.show(read(await ask()))


async def _print_json(ask: Ask, read: Read[P], pause: Pause | None) -> None:
    while True:
        answer = await ask()
        read(answer)
        text = answer if pause else msgspec.json.format(answer)
        print(plain_json(text.decode()), flush=True)
        if pause is None:
            return
        await pause()
