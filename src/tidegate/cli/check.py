"""`tidegate check`: whether a configuration is right, what it means, and what it would make of a request."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import msgspec
import yaml
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from tidegate.cli import rights, settings, store
from tidegate.cli.connect import Finding, ask_all, unresolved
from tidegate.config import Config, EmbeddedConfig, warnings
from tidegate.config.exposure import check_exposure, exposure, may_be_loopback
from tidegate.config.unenforced import unenforced
from tidegate.engines.embedded.weights import find_smollm2
from tidegate.errors import ConfigError, GatewayError, Problem
from tidegate.pipeline import NO_PARTS, the_way
from tidegate.policy import plans_of
from tidegate.rails import advice
from tidegate.rails.asked.seating import crowded, unknown_models
from tidegate.review.place import asks_people, no_folder, place_of
from tidegate.review.place import warnings as warnings_of_cases
from tidegate.runtime import make_engine
from tidegate.types import Endpoint

_SIGNS = MappingProxyType({"ok": "ok     ", "warning": "warning", "wrong": "wrong  ", "not asked": "-      "})
_STYLES = MappingProxyType({"ok": "", "warning": "yellow", "wrong": "bold red", "not asked": "dim"})


def check(  # noqa: PLR0913 - an option each
    *,
    config: Annotated[Path | None, Parameter(("--config", "-c"))] = None,
    explain: Annotated[Path | None, Parameter(("--explain", "-x"), allow_leading_hyphen=True)] = None,
    endpoint: Literal["chat.completions", "completions", "embeddings"] | None = None,
    key: str | None = None,
    gateway: str | None = None,
    connect: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Check a configuration and print what is in force: every setting with its default, and the way of a request.

    With --explain: what it would make of one request. The stages it passes, the engines it could go to, the deadline,
    and the very request that would be sent there, secrets masked.

    With --key: what a key of the configuration may do. Together with --explain: what a request with that key would become.

    With --connect: asks every engine behind a URL for its models, and says what is wrong.

    With --explain and --gateway: also the place in the queue of a running gateway, and about how long it would wait.

    Nothing is started, and without --connect no engine is asked: names of hosts are looked up. Ends with status 2 and every
    mistake when the file is wrong, and with status 1 when an engine is, or when the key or the request would be refused.

    Parameters
    ----------
    config
        The file to check. Default: tidegate.yaml if it is here, else the built-in configuration.
    explain
        A file with the body of a request, JSON; `-` reads it from standard input.
    endpoint
        Where that request would be sent, below /v1. Default: what its fields speak for.
    key
        The name of a key under `keys`, `admin.token`, or the id of a key in the store.
    gateway
        With --explain: the URL of a running gateway, which is asked for the place of the request in its queue.
    connect
        Ask the engines, at most ten seconds or so; nothing is generated.
    as_json
        Print JSON instead of a page for people.

    """
    loaded, path = settings.load(config)
    if problems := _cannot_start(loaded):
        settings.fail(str(ConfigError(str(path or "the built-in configuration"), problems)))
    if connect and explain is not None:
        settings.fail("--connect and --explain exclude each other: give one of them")
    if connect and key is not None:
        settings.fail("--connect and --key exclude each other: give one of them")
    if explain is not None:
        _explain(loaded, path, (explain, endpoint, key, gateway), as_json=as_json)
    elif endpoint is not None or gateway is not None:
        settings.fail(f"--{'gateway' if gateway is not None else 'endpoint'} goes with --explain")
    elif key is not None:
        _show_key(loaded, _find(loaded, key), as_json=as_json)
    else:
        findings = asyncio.run(ask_all(loaded)) if connect else None
        doubts = warnings(loaded, store.now()) + unresolved(loaded, engines=not connect)
        doubts += advice.warnings(plans_of(loaded).values()) + warnings_of_cases(loaded)
        if as_json:
            _print_json(loaded, path, doubts, findings)
        else:
            _print(loaded, path, doubts, findings)
        if any(finding.state == "wrong" for finding in findings or ()):
            sys.exit(1)


def _cannot_start(config: Config) -> list[Problem]:
    """What only engines and rails themselves know to be wrong, and whether an engine lacks its weights."""
    problems = unenforced(config)
    if asks_people(config):
        problems += no_folder(place_of(config))
    if not may_be_loopback(config.server.host):
        try:
            check_exposure(config, config.server.host)
        except ConfigError as error:
            problems += error.problems
    slots: dict[str, int | None] = {}
    for name, engine in config.engines.items():
        try:
            slots[name] = make_engine(name, engine).capabilities.slots
            if isinstance(engine, EmbeddedConfig) and engine.model_path is None:
                find_smollm2()
        except ConfigError as error:
            problems += [Problem(f"engines.{name}.{one.path}", one.message) for one in error.problems]
        except GatewayError as error:
            problems.append(Problem(f"engines.{name}", error.message))
    try:
        plans = plans_of(config)
        problems += [*unknown_models(config, plans), *crowded(config, plans, slots.get)]
    except ConfigError as error:
        problems += error.problems
    return problems


def _stages() -> list[tuple[str, str, bool]]:
    return [(stage.name, stage.does, stage.work is not None) for stage in the_way(NO_PARTS)]


def _print_json(
    config: Config, path: Path | None, doubts: list[Problem], findings: list[Finding] | None
) -> None:
    stages = [{"name": name, "does": does, "built": built} for name, does, built in _stages()]
    page: dict[str, Any] = {
        "source": str(path) if path else None,
        "config": effective(config),
        "policies": rights.policies_of(config),
        "model_limits": rights.models_of(config),
        "stages": stages,
        "warnings": [problem._asdict() for problem in doubts],
    }
    if findings is not None:
        page["engines"] = findings
    print(msgspec.json.format(msgspec.json.encode(page)).decode())


def _print(config: Config, path: Path | None, doubts: list[Problem], findings: list[Finding] | None) -> None:
    for problem in doubts:
        print(f"warning: {problem.path}: {problem.message}", file=sys.stderr)
    console = Console()
    if findings is not None:
        for one in findings:
            place = f"{one.kind}, {one.url}" if one.url else one.kind
            text = f"{_SIGNS[one.state]} {one.engine} ({place}): {'; '.join(one.says)}"
            console.print(text, markup=False, highlight=False, style=_STYLES[one.state], soft_wrap=True)
        return
    console.print(f"[bold]{path or 'the built-in configuration'}[/] is valid. In force, defaults included:\n")
    console.print(yaml.safe_dump(effective(config), sort_keys=False), markup=False, highlight=False)
    rights.show_policies(rights.policies_of(config), rights.models_of(config), console)
    console.print(f"\n{exposure(config).capitalize()}.\n", markup=False, highlight=False)
    table = Table(title="The way of a request", title_justify="left")
    table.add_column("stage")
    table.add_column("does")
    table.add_column("")
    for name, does, built in _stages():
        table.add_row(name, does, "" if built else "(empty place)", style=None if built else "dim")
    console.print(table)


def _find(config: Config, name: str) -> rights.Found:
    """Find a key. Ends with status 2 if there is none."""
    try:
        found = rights.find_key(config, name)
    except ConfigError as error:
        settings.fail(str(error))
    if found.pasted:
        print(
            f"note: --key takes a name or an id, and a key was given: {found.name} is used, and the secret is not"
            " checked. The key may be in the history of your shell now.",
            file=sys.stderr,
        )
    return found


def _show_key(config: Config, key: rights.Found, *, as_json: bool) -> None:
    found = rights.holder(config, key, store.now())
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        rights.show_holder(found, Console())
    if found.refused is not None:
        sys.exit(1)


def _explain(
    config: Config,
    path: Path | None,
    request: tuple[Path, str | None, str | None, str | None],
    *,
    as_json: bool,
) -> None:
    # Only this needs the request path and the engines.
    from tidegate.cli import explain, explanation  # noqa: PLC0415
    from tidegate.cli.running import forecast  # noqa: PLC0415
    from tidegate.cli.running.admin import GatewayFailed  # noqa: PLC0415
    from tidegate.cli.running.screen import fail  # noqa: PLC0415

    body = _read(request[0])
    endpoint = explain.ENDPOINTS[request[1]] if request[1] else _speaks_for(body)
    key = _find(config, request[2]).key if request[2] is not None else None
    try:
        told = explain.explain(
            config, endpoint, body, source=str(path) if path else None, key=key, now=store.now()
        )
        if request[3] is not None:
            told = forecast.foretold(told, request[3])
    except ConfigError as error:
        settings.fail(str(error))
    except GatewayFailed as failed:
        fail(failed, as_json=as_json)
    print(explanation.as_json(told)) if as_json else explanation.show(told, Console())
    at_the_door = told.queue is not None and told.queue.forecast is not None and told.queue.forecast.refused
    if told.refused is not None or at_the_door:
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
    """Return the endpoint that a field of the body belongs to. The default is chat completions."""
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
