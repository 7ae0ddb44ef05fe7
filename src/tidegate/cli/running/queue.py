"""`tidegate queue`: which calls wait at a running gateway, and what a new one would have to expect."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from cyclopts import App, Parameter, validators

from tidegate.cli.running.admin import KEY, SCOPE, RunningGateway, address, read
from tidegate.cli.running.queue_page import drawn
from tidegate.cli.running.screen import present
from tidegate.dispatch.state import QueueState

PATH = "admin/queue"

app = App(
    name="queue",
    help="Show which calls wait at a running gateway, and for what.",
    help_epilogue=f"""The queue is degraded if one of its bounds is used by more than `queue.warn_threshold` (80 %), and
overloaded if it has refused a call in the last 5 s. Work is counted in tokens: those of the prompt, and twice those of the
answer. The limit of an engine may be lower than its `max_in_flight` while the engine cannot keep up; the page has the
reason then. Of tenants, those with the most work that waits are shown.

A gateway with keys wants a key with the scope {SCOPE}. It is read from the environment variable {KEY}.

Examples

`tidegate queue`: the gateway of the tidegate.yaml that is here

`{KEY}=$ADMIN_TOKEN tidegate queue --watch`: refreshes once a second

`tidegate queue --model gpt-4o --priority batch --tokens 3000`: what one call would have to expect

`tidegate queue --url http://10.0.0.5:8080 --json`: for a program""",
)


@app.default
def queue(  # noqa: PLR0913 - an option each
    *,
    url: str | None = None,
    config: Annotated[Path | None, Parameter(("--config", "-c"))] = None,
    model: str | None = None,
    priority: str | None = None,
    tenant: str | None = None,
    tokens: Annotated[int | None, Parameter(validator=validators.Number(gte=0))] = None,
    watch: Annotated[bool, Parameter(("--watch", "-w"), negative="")] = False,
    ca_path: Path | None = None,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Show which calls wait at a running gateway, and for what.

    Parameters
    ----------
    url
        The gateway, such as http://10.0.0.5:8080. Default: the address in the configuration.
    config
        The configuration with the address. Default: tidegate.yaml if it is here, else http://127.0.0.1:8080.
    model
        Ask also what a new call for this model would have to expect.
    priority
        The class of that call. Default: the class `default`.
    tenant
        The tenant of that call: an organisation, or the name of a key without one. Default: one with no call in the queue.
    tokens
        The work of that call: the tokens of its prompt, and twice those of its answer. Default: 0.
    watch
        Refresh about once a second, until Ctrl-C. With --json: a line of JSON for each time.
    ca_path
        PEM file of a certificate authority to trust in addition to the system's.
    as_json
        Print the gateway's answer as JSON. The status is 1 if there is none.

    """
    gateway = RunningGateway(url or address(config), ca_path)
    path = asking(model=model, priority=priority, tenant=tenant, tokens=tokens)
    draw = partial(drawn, title=gateway.url)
    present(gateway, path, read_queue, draw, watch=watch, as_json=as_json)


def asking(**call: str | int | None) -> str:
    """Return the path that asks for the queue, with what a call has to expect that has these properties."""
    given = {name: value for name, value in call.items() if value is not None}
    return f"{PATH}?{urlencode(given)}" if given else PATH


def read_queue(answer: bytes) -> QueueState:
    """Read the answer of a gateway. Raises GatewayFailed if it is something else."""
    return read(answer, QueueState, "the queue")
