"""`tidegate check`: whether a configuration is right, what it means, and what it would make of a request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from tidegate.cli import settings
from tidegate.config import Config
from tidegate.errors import ConfigError
from tidegate.pipeline import NO_PARTS, the_way
from tidegate.types import Endpoint


def check(
    *,
    config: Annotated[Path | None, Parameter(("--config", "-c"))] = None,
    explain: Annotated[Path | None, Parameter(("--explain", "-x"), allow_leading_hyphen=True)] = None,
    endpoint: Literal["chat.completions", "completions", "embeddings"] | None = None,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Check a configuration and print what is in force: every setting with its default, and the way of a request.

    With --explain: what it would make of one request. The stages it passes, the engines it could go to, the deadline,
    and the very request that would be sent there, secrets masked.

    Nothing is started and nobody is asked. Ends with status 2 and every mistake when the file is wrong, and with status 1
    when the request is one that the gateway would refuse.

    Parameters
    ----------
    config
        The file to check. Default: tidegate.yaml if it is here, else the built-in configuration.
    explain
        A file with the body of a request, JSON; `-` reads it from standard input.
    endpoint
        Where that request would be sent, below /v1. Default: what its fields speak for.
    as_json
        Print JSON instead of a page for people.

    """
    loaded, path = settings.load(config)
    if explain is not None:
        _explain(loaded, path, (explain, endpoint), as_json=as_json)
    elif endpoint is not None:
        settings.fail("--endpoint goes with --explain")
    elif as_json:
        stages = [{"name": name, "does": does, "built": built} for name, does, built in _stages()]
        page = {"source": str(path) if path else None, "config": effective(loaded), "stages": stages}
        print(msgspec.json.format(msgspec.json.encode(page)).decode())
    else:
        _print(loaded, path)


def _stages() -> list[tuple[str, str, bool]]:
    return [(stage.name, stage.does, stage.work is not None) for stage in the_way(NO_PARTS)]


def _print(config: Config, path: Path | None) -> None:
    console = Console()
    console.print(f"[bold]{path or 'the built-in configuration'}[/] is valid. In force, defaults included:\n")
    console.print(yaml.safe_dump(effective(config), sort_keys=False), markup=False, highlight=False)
    table = Table(title="The way of a request", title_justify="left")
    table.add_column("stage")
    table.add_column("does")
    table.add_column("")
    for name, does, built in _stages():
        table.add_row(name, does, "" if built else "(empty place)", style=None if built else "dim")
    console.print(table)


def _explain(config: Config, path: Path | None, request: tuple[Path, str | None], *, as_json: bool) -> None:
    # Only this needs the request path and the engines.
    from tidegate.cli import explain, explanation  # noqa: PLC0415

    body = _read(request[0])
    endpoint = explain.ENDPOINTS[request[1]] if request[1] else _speaks_for(body)
    try:
        told = explain.explain(config, endpoint, body, source=str(path) if path else None)
    except ConfigError as error:
        settings.fail(str(error))
    print(explanation.as_json(told)) if as_json else explanation.show(told, Console())
    if told.refused is not None:
        sys.exit(1)


def _read(path: Path) -> bytes:
    if str(path) == "-":
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        settings.fail(
            f"{path}: cannot be read: {error.strerror}; --explain takes a file with the body of a request,"
            " or - for standard input"
        )


def _speaks_for(body: bytes) -> Endpoint:
    """The endpoint whose own field a body has; chat completions where none says."""
    try:
        names = msgspec.json.decode(body, type=dict[str, msgspec.Raw]).keys()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Endpoint.CHAT  # whatever it is, reading it as a request will tell what is wrong
    if "messages" in names:
        return Endpoint.CHAT
    own = {"prompt": Endpoint.COMPLETIONS, "input": Endpoint.EMBEDDINGS}
    return next((endpoint for name, endpoint in own.items() if name in names), Endpoint.CHAT)


def effective(config: Config) -> dict[str, Any]:
    """The whole tree as plain data, secrets masked."""
    return config.model_dump(mode="json")
