"""`tidegate review`: people decide about texts that wait at a running gateway."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from cyclopts import App, Parameter, validators
from rich.console import Console

from tidegate.cli import settings
from tidegate.cli.running.admin import KEY, GatewayFailed, RunningGateway, address, read
from tidegate.cli.running.review_page import Page, Shown, drawn, shown
from tidegate.cli.running.screen import fail, present
from tidegate.kernel.plain import plain, plain_json
from tidegate.types.caller import REVIEW
from tidegate.types.case import APPROVE, EDIT, REJECT

PATH = "admin/reviews"
_PAGE = 500

app = App(
    name="review",
    help="Decide about texts that wait for a person at a running gateway.",
    help_epilogue=f"""A rail with `on_fail: review` makes a case of a text that it objects to, and the client waits up to
`review.wait_s` for a decision. Approve a text that may leave as it is, edit one that may leave in other words, and reject
one that must not leave: the client gets the refusal then, and never the reason. A decision holds, also if the client has
left: only the first one counts, and the export has it as labelled data.

A gateway wants a key with the scope {REVIEW}. It is read from the environment variable {KEY}.

Examples

`tidegate review list --watch`: the open cases, refreshed once a second

`tidegate review show case_5f0c9a4b7d21e8836a10`: one case with its texts

`tidegate review approve case_5f0c9a4b7d21e8836a10`

`tidegate review edit case_5f0c9a4b7d21e8836a10 --text "We can offer you a call."`

`tidegate review reject case_5f0c9a4b7d21e8836a10 --reason "promises a discount"`

`tidegate review export > decisions.jsonl`: every decision, a line of JSON each

Ends with status 0: done; 1: the gateway did not answer, there is no such case, or it was decided before; 2: the command
line is wrong.""",
)

Url = Annotated[str | None, Parameter(("--url",))]
ConfigPath = Annotated[Path | None, Parameter(("--config", "-c"))]
AsJson = Annotated[bool, Parameter("--json", negative="")]

T = TypeVar("T")


@app.command(name="list")
def list_(  # noqa: PLR0913 - an option each
    *,
    state: Literal["open", "decided", "all"] = "open",
    rail: str = "",
    policy: str = "",
    model: str = "",
    after: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    most: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=1000))] = 100,
    watch: Annotated[bool, Parameter(("--watch", "-w"), negative="")] = False,
    url: Url = None,
    config: ConfigPath = None,
    ca_path: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """List cases, the oldest first.

    Parameters
    ----------
    state
        Which cases: open, decided or all.
    rail
        Only cases of this rail.
    policy
        Only cases of calls under this policy.
    model
        Only cases of calls for this model.
    after
        Only cases with a higher number: the `next` of a page before.
    most
        The largest number of cases.
    watch
        Refresh about once a second, until Ctrl-C. With --json: a line of JSON for each time.
    url
        The gateway, such as http://10.0.0.5:8080. Default: the address in the configuration.
    config
        The configuration with the address. Default: tidegate.yaml if it is here, else http://127.0.0.1:8080.
    ca_path
        PEM file of a certificate authority to trust in addition to the system's.
    as_json
        Print the gateway's answer as JSON.

    """
    query = {"state": state, "rail": rail, "policy": policy, "model": model, "after": after, "limit": most}
    path = f"{PATH}?{urlencode({name: value for name, value in query.items() if value})}"
    gateway = _gateway(url, config, ca_path)
    draw = partial(drawn, title=gateway.url)
    present(gateway, path, _read_page, draw, watch=watch, as_json=as_json)


@app.command
def show(
    id: str,
    /,
    *,
    url: Url = None,
    config: ConfigPath = None,
    ca_path: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Show one case with its texts.

    Parameters
    ----------
    id
        The id of the case.
    url
        The gateway. Default: the address in the configuration.
    config
        The configuration with the address. Default: tidegate.yaml if it is here, else http://127.0.0.1:8080.
    ca_path
        PEM file of a certificate authority to trust in addition to the system's.
    as_json
        Print JSON.

    """
    gateway = _gateway(url, config, ca_path)
    _print(_asked(gateway, lambda: gateway.get(_path(id)), as_json=as_json), as_json=as_json)


@app.command
def approve(
    id: str,
    /,
    *,
    reason: str = "",
    url: Url = None,
    config: ConfigPath = None,
    ca_path: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Let a text leave as it is.

    Parameters
    ----------
    id
        The id of the case.
    reason
        Why, for the audit and the labelled data.
    url
        The gateway. Default: the address in the configuration.
    config
        The configuration with the address. Default: tidegate.yaml if it is here, else http://127.0.0.1:8080.
    ca_path
        PEM file of a certificate authority to trust in addition to the system's.
    as_json
        Print JSON.

    """
    _decide(_gateway(url, config, ca_path), id, {"action": APPROVE, "reason": reason}, as_json=as_json)


@app.command
def edit(  # noqa: PLR0913 - an option each
    id: str,
    /,
    *,
    text: str | None = None,
    file: Path | None = None,
    reason: str = "",
    url: Url = None,
    config: ConfigPath = None,
    ca_path: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Let a text leave in other words.

    Parameters
    ----------
    id
        The id of the case.
    text
        The words that leave.
    file
        A file with these words; `-` reads them from standard input.
    reason
        Why, for the audit and the labelled data.
    url
        The gateway. Default: the address in the configuration.
    config
        The configuration with the address. Default: tidegate.yaml if it is here, else http://127.0.0.1:8080.
    ca_path
        PEM file of a certificate authority to trust in addition to the system's.
    as_json
        Print JSON.

    """
    if (text is None) == (file is None):
        settings.fail("give the words that leave with either --text or --file")
    words = text if text is not None else _read_file(file)
    if not words:
        settings.fail("the words that leave are empty: use `reject` for a text that must not leave")
    body = {"action": EDIT, "text": words, "reason": reason}
    _decide(_gateway(url, config, ca_path), id, body, as_json=as_json)


@app.command
def reject(
    id: str,
    /,
    *,
    reason: str,
    url: Url = None,
    config: ConfigPath = None,
    ca_path: Path | None = None,
    as_json: AsJson = False,
) -> None:
    """Keep a text from leaving. The client gets the refusal of the profile.

    Parameters
    ----------
    id
        The id of the case.
    reason
        Why, for the audit and the labelled data; the client does not see it.
    url
        The gateway. Default: the address in the configuration.
    config
        The configuration with the address. Default: tidegate.yaml if it is here, else http://127.0.0.1:8080.
    ca_path
        PEM file of a certificate authority to trust in addition to the system's.
    as_json
        Print JSON.

    """
    _decide(_gateway(url, config, ca_path), id, {"action": REJECT, "reason": reason}, as_json=as_json)


@app.command
def export(
    *,
    after: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0,
    url: Url = None,
    config: ConfigPath = None,
    ca_path: Path | None = None,
) -> None:
    """Print every decision as labelled data, a line of JSON each, the oldest first.

    `label` is good for a text that a person let go as it is, bad for one that was edited or rejected, and null where the
    deadline decided.

    Parameters
    ----------
    after
        Only decisions with a higher number: the `number` of the last line of an export before.
    url
        The gateway. Default: the address in the configuration.
    config
        The configuration with the address. Default: tidegate.yaml if it is here, else http://127.0.0.1:8080.
    ca_path
        PEM file of a certificate authority to trust in addition to the system's.

    """
    gateway = _gateway(url, config, ca_path)

    async def every() -> None:
        last = after
        while lines := (await gateway.get(f"{PATH}/export?after={last}&limit={_PAGE}")).splitlines():
            print("\n".join(plain_json(line.decode()) for line in lines), flush=True)
            last = read(lines[-1], _Numbered, "a decision").number

    _asked(gateway, every, as_json=False)


class _Numbered(msgspec.Struct):
    number: int


def _gateway(url: str | None, config: Path | None, ca_path: Path | None) -> RunningGateway:
    return RunningGateway(url or address(config), ca_path, scope=REVIEW)


def _path(id: str) -> str:
    return f"{PATH}/{quote(id, safe='')}"


def _read_page(answer: bytes) -> Page:
    return read(answer, Page, "the cases")


def _read_file(file: Path | None) -> str:
    try:
        data = sys.stdin.buffer.read() if file is None or str(file) == "-" else file.read_bytes()
        return data.decode()
    except OSError as error:
        settings.fail(f"{file}: cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        settings.fail(f"{file}: byte {error.start} is not UTF-8: convert the text first")


def _decide(gateway: RunningGateway, id: str, body: dict[str, Any], *, as_json: bool) -> None:
    sent = msgspec.json.encode(body)
    answer = _asked(gateway, lambda: gateway.post(f"{_path(id)}/decision", sent), as_json=as_json)
    if as_json:
        _print(answer, as_json=True)
    else:
        print(f"{plain(id)}: {body['action']}")


def _asked(gateway: RunningGateway, work: Callable[[], Awaitable[T]], *, as_json: bool) -> T:
    """Ask a gateway. Ends the command with status 1 if it does not answer as asked."""

    async def asked() -> T:
        try:
            return await work()
        finally:
            await gateway.close()

    try:
        return asyncio.run(asked())
    except GatewayFailed as failed:
        fail(failed, as_json=as_json)


def _print(answer: bytes, *, as_json: bool) -> None:
    try:
        case = read(answer, Shown, "a case")
    except GatewayFailed as failed:
        fail(failed, as_json=as_json)
    if as_json:
        print(plain_json(msgspec.json.format(answer).decode()))
    else:
        Console(highlight=False).print(shown(case))
