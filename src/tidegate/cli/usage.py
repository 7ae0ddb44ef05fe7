"""`tidegate usage`: what is used of each limit of a running gateway."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import urlencode

import msgspec
from cyclopts import App, Parameter, validators
from pydantic import ValidationError
from rich.console import Console

from tidegate import config as configuration
from tidegate.cli import settings
from tidegate.cli.usage_page import Page, Screen
from tidegate.config import AdminConfig, OpenAIConfig, ServerConfig
from tidegate.config.reading import variable
from tidegate.egress.open import open_client
from tidegate.engines.openai import read_whole
from tidegate.engines.refusals import MAX_ERROR_BYTES, explanation
from tidegate.errors import ConfigError, UpstreamError, UpstreamUnreachable
from tidegate.kernel.plain import plain, plain_json

KEY = "TIDEGATE_KEY"
"""The environment variable with the key. A key on the command line could be read by every user of the machine."""
EVERY_S = 1.0
WITHIN_S = 10.0
_MOST_BYTES = 4 * 2**20
_SCOPE = "admin:read"
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (where a gateway may listen)

app = App(
    name="usage",
    help="Show what is used of each limit of a running gateway, the fullest ones first.",
    help_epilogue=f"""Limits of which nothing is used are left out. Of a limit for a minute, the bar shows how much of its
burst is used, since no more than that can be used at once. Limits over 80 % are yellow, and limits in debt are red.

A gateway with keys wants a key with the scope {_SCOPE}. It is read from the environment variable {KEY}.

Examples

`tidegate usage`: the gateway of the tidegate.yaml that is here

`{KEY}=$ADMIN_TOKEN tidegate usage --level team --watch`: the limits of teams, once a second

`tidegate usage --url http://10.0.0.5:8080 --tenant acme/blue --json`: one tenant, for a program""",
)


@app.default
def usage(  # noqa: PLR0913 - an option each
    *,
    url: str | None = None,
    config: Annotated[Path | None, Parameter(("--config", "-c"))] = None,
    level: str | None = None,
    tenant: str | None = None,
    most: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=1000))] = 100,
    watch: Annotated[bool, Parameter(("--watch", "-w"), negative="")] = False,
    ca_path: Path | None = None,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Show what is used of each limit of a running gateway.

    Parameters
    ----------
    url
        The gateway, such as http://10.0.0.5:8080. Default: the address in the configuration.
    config
        The configuration with the address. Default: tidegate.yaml if it is here, else http://127.0.0.1:8080.
    level
        Show one level alone: key, user, team, organisation, model, end_user and others.
    tenant
        Show one tenant alone, such as acme/blue.
    most
        The largest number of limits to show.
    watch
        Refresh about once a second, until Ctrl-C. With --json: a line of JSON for each time.
    ca_path
        PEM file of a certificate authority to trust in addition to the system's.
    as_json
        Print the gateway's answer as JSON. The status is 1 if there is none.

    """
    asked = {"level": level, "tenant": tenant, "most": most}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    chosen = " ".join(f"--{name} {asked[name]}" for name in ("level", "tenant") if asked[name] is not None)
    console = Console()
    gateway = _Gateway(url or _address(config), query, ca_path)
    try:
        asyncio.run(_show(gateway, console, chosen, watch=watch, as_json=as_json))
    except UsageFailed as failed:
        _fail(failed, as_json=as_json)
    except KeyboardInterrupt:
        sys.exit(0 if watch else 130)  # Ctrl-C is how watching ends


class UsageFailed(Exception):
    """A gateway did not tell its usage. `status` is that of its answer; None if there was no answer."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


Ask = Callable[[], Awaitable[bytes]]
Pause = Callable[[], Awaitable[None]]


async def follow(ask: Ask, screen: Screen, pause: Pause) -> None:
    """Show the usage again and again. Raises UsageFailed if the first attempt fails; a later failure is shown."""
    screen.show(read(await ask()))
    while True:
        await pause()
        try:
            screen.show(read(await ask()))
        except UsageFailed as failed:
            screen.complain(failed.message)


def read(answer: bytes) -> Page:
    """Read the answer of a gateway. Raises UsageFailed if it is something else."""
    try:
        return msgspec.json.decode(answer, type=Page)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UsageFailed(
            "the answer is not the usage of a gateway: is the URL that of a Tidegate?"
        ) from None


async def _show(gateway: _Gateway, console: Console, chosen: str, *, watch: bool, as_json: bool) -> None:
    async def pause() -> None:
        await asyncio.sleep(EVERY_S)

    try:
        if as_json:
            await _print_json(gateway.ask, pause if watch else None)
            return
        with Screen(console, gateway.url, live=watch, chosen=chosen) as screen:
            if watch:
                await follow(gateway.ask, screen, pause)
            else:
                screen.show(read(await gateway.ask()))
    finally:
        await gateway.close()


async def _print_json(ask: Ask, pause: Pause | None) -> None:
    while True:
        answer = await ask()
        read(answer)
        text = answer if pause else msgspec.json.format(answer)
        print(plain_json(text.decode()), flush=True)
        if pause is None:
            return
        await pause()


class _Gateway:
    """The gateway that is asked. Close it at the end."""

    def __init__(self, url: str, query: str, ca_path: Path | None) -> None:
        config = _client_config(url, ca_path)
        self.url = config.url
        self._client = open_client(config)
        self._key = variable(KEY) or ""
        headers = [(b"user-agent", b"tidegate-usage")]
        if self._key:
            if not (self._key.isascii() and self._key.isprintable()):
                settings.fail(f"{KEY}: contains a character that no key has, such as a line break")
            headers.append((b"authorization", b"Bearer " + self._key.encode()))
        self._target = self._client.target("GET", f"admin/usage?{query}", headers)

    async def close(self) -> None:
        await self._client.close()

    async def ask(self) -> bytes:
        """Return the answer, JSON. Raises UsageFailed."""
        try:
            exchange = await self._client.send(self._target, [], b"", WITHIN_S)
            try:
                ok = exchange.status == 200
                body = await read_whole(exchange, _MOST_BYTES if ok else MAX_ERROR_BYTES)
            finally:
                await exchange.close()
        except UpstreamError as error:
            raise self._unanswered(error) from error
        if not ok:
            raise self._refused(exchange.status, body)
        return body

    def _unanswered(self, error: UpstreamError) -> UsageFailed:
        said = error.message.replace("the engine", "the gateway")
        if isinstance(error, UpstreamUnreachable):
            return UsageFailed(
                f"no gateway answers at {self.url}: {said}\n"
                "Start one with `tidegate serve`, or name another one with --url."
            )
        return UsageFailed(f"{self.url} gives no answer: {said}")

    def _refused(self, status: int, body: bytes) -> UsageFailed:
        said = explanation(body).message or f"it answers with status {status}"
        if status == 401 and not self._key:
            said = (
                f"{self.url} wants a key: put one with the scope {_SCOPE} into the environment variable {KEY}"
            )
        elif status == 401:
            said = f"{self.url} does not accept the key in {KEY}: {said}"
        elif status == 403:
            said = (
                f"The key in {KEY} may not see this: it needs the scope {_SCOPE}. Add the scope to the key, in"
                " `scopes`, or use admin.token, which has it."
            )
        elif status == 404:
            said = f"{self.url} has no /admin/usage ({said}): is it the URL of a Tidegate, without /v1?"
        return UsageFailed(said, status)


def _client_config(url: str, ca_path: Path | None) -> OpenAIConfig:
    tree: dict[str, Any] = {"kind": "openai", "url": url.removesuffix("/").removesuffix("/v1")}
    try:
        return OpenAIConfig.model_validate({**tree, "ca_path": ca_path})
    except ValidationError as error:
        lines = [
            f"{'--ca-path' if mistake['loc'][:1] == ('ca_path',) else '--url'}:"
            f" {mistake['msg'].removeprefix('Value error, ')}"
            for mistake in error.errors()
        ]
        settings.fail("\n".join(lines))


def _address(path: Path | None) -> str:
    """Return the address at which the gateway of a configuration can be asked from this machine."""
    if path is None and not configuration.DEFAULT_PATH.is_file():
        return _url("http", "server.port", ServerConfig())
    try:
        found = configuration.load(path or configuration.DEFAULT_PATH)
    except ConfigError as error:
        settings.fail(f"{error}\nMend it, or name the gateway with --url.")
    if found.admin.apart:
        return _url("http", "admin.port", found.admin)
    return _url("https" if found.server.tls else "http", "server.port", found.server)


def _url(scheme: str, setting: str, place: ServerConfig | AdminConfig) -> str:
    if not place.port:
        settings.fail(
            f"{setting} is 0, so the port is not known before the start: name the gateway with --url"
        )
    host = _EVERYWHERE.get(place.host, place.host)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{place.port}"


def _fail(failed: UsageFailed, *, as_json: bool) -> NoReturn:
    if as_json:
        error = {"message": failed.message, "status": failed.status}
        print(plain_json(msgspec.json.encode({"error": error}).decode()))
    else:
        print(f"Error: {plain(failed.message)}", file=sys.stderr)
    sys.exit(1)
