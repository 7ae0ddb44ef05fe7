"""`tidegate check`: whether a configuration is right, and what it means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from tidegate.cli import settings
from tidegate.config import Config
from tidegate.pipeline import the_way
from tidegate.stages.route import Models


def check(
    *,
    config: Annotated[Path | None, Parameter(("--config", "-c"))] = None,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Check a configuration and print what is in force: every setting with its default, and the way of a request.

    Nothing is started and nobody is asked. Ends with status 2 and every mistake when the file is wrong.

    Parameters
    ----------
    config
        The file to check. Default: tidegate.yaml if it is here, else the built-in configuration.
    as_json
        Print JSON instead of a page for people.

    """
    loaded, path = settings.load(config)
    tree = effective(loaded)
    steps = [(step.name, step.does, step.stage is not None) for step in the_way(Models({}), [], lambda: 0.0)]
    if as_json:
        stages = [{"name": name, "does": does, "built": built} for name, does, built in steps]
        page = {"source": str(path) if path else None, "config": tree, "stages": stages}
        print(msgspec.json.format(msgspec.json.encode(page)).decode())
        return
    console = Console()
    console.print(f"[bold]{path or 'the built-in configuration'}[/] is valid. In force, defaults included:\n")
    console.print(yaml.safe_dump(tree, sort_keys=False), markup=False, highlight=False)
    table = Table(title="The way of a request", title_justify="left")
    table.add_column("stage")
    table.add_column("does")
    table.add_column("")
    for name, does, built in steps:
        table.add_row(name, does, "" if built else "(empty place)", style=None if built else "dim")
    console.print(table)


def effective(config: Config) -> dict[str, Any]:
    """The whole tree as plain data, secrets masked."""
    tree = config.model_dump(mode="json")
    tree["engines"] = {name: engine.model_dump(mode="json") for name, engine in config.engines.items()}
    return tree
