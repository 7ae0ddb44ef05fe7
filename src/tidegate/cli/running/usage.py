"""`tidegate usage`: what is used of each limit of a running gateway."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from cyclopts import App, Parameter, validators

from tidegate.cli.running.admin import KEY, SCOPE, RunningGateway, address, read
from tidegate.cli.running.screen import present
from tidegate.cli.running.usage_page import Page, drawn

app = App(
    name="usage",
    help="Show what is used of each limit of a running gateway, the fullest ones first.",
    help_epilogue=f"""Limits of which nothing is used are left out. Of a limit for a minute, the bar shows how much of its
burst is used, since no more than that can be used at once. Limits over 80 % are yellow, and limits in debt are red.

A gateway with keys wants a key with the scope {SCOPE}. It is read from the environment variable {KEY}.

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
    gateway = RunningGateway(url or address(config), ca_path)
    draw = partial(drawn, title=gateway.url, chosen=chosen)
    present(gateway, f"admin/usage?{query}", read_usage, draw, watch=watch, as_json=as_json)


def read_usage(answer: bytes) -> Page:
    """Read the answer of a gateway. Raises GatewayFailed if it is something else."""
    return read(answer, Page, "the usage")
