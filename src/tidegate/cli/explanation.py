"""Prints the explanation of a request as text or as JSON."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidegate.cli.admission import Refusal
from tidegate.cli.explain import Explained, Place
from tidegate.cli.running.queue_page import expected
from tidegate.engines.preview import Outgoing
from tidegate.kernel.plain import plain, plain_json


def as_json(told: Explained) -> str:
    """Return the whole explanation as JSON. The headers of a request become an object, and its body stays JSON."""
    tree = msgspec.to_builtins(told, builtin_types=(msgspec.Raw,))
    for shown, place in zip(tree["places"], told.places, strict=True):
        if place.request is not None:
            shown["request"]["headers"] = dict(place.request.headers)
            shown["request"]["body"] = place.request.body
        shown["handed"] = place.handed
    return plain_json(msgspec.json.format(msgspec.json.encode(tree)).decode())


def show(told: Explained, console: Console) -> None:
    """Print the path of the request, its possible deployments, and the requests that would be sent."""
    asked = f" for the model '{escape(plain(told.model))}'" if told.model else ""
    console.print(
        f"[bold]POST /v1/{told.endpoint}[/]{asked}, under {escape(told.source or 'the built-in configuration')}",
        highlight=False,
    )
    if told.deadline_s is not None:
        deadline = f"Deadline: {told.deadline_s:g} s from its arrival, by the policy '{told.policy}'"
        console.print(escape(deadline), highlight=False)
    console.print()
    console.print(_way(told))
    if told.queue is not None and told.queue.forecast is not None:
        words = f"\nThe gateway's queue now: {expected(told.queue.forecast)}"
        console.print(plain(words), markup=False, highlight=False)
    if told.refused is not None:
        _show_refusal(told.refused, console)
    if len(told.places) > 1:
        console.print(
            f"\n'{escape(told.route or '')}' has {len(told.places)} deployments. The stage route says which"
            " of them can serve this request. Each of them would get:",
            highlight=False,
        )
    for number, place in enumerate(told.places, 1):
        _show_place(place, number, console)


def _way(told: Explained) -> Table:
    table = Table(title="The way of this request", title_justify="left")
    for name in ("stage", "does", "for this request"):
        table.add_column(name)
    styles = {"refused": "bold red", "empty": "dim", "not reached": "dim"}
    for step in told.stages:
        said = "(empty place)" if step.state == "empty" else step.state
        note = f"{said}: {step.note}" if step.note else said
        table.add_row(step.name, step.does, escape(plain(note)), style=styles.get(step.state))
    return table


def _show_refusal(refused: Refusal, console: Console) -> None:
    if refused.status == HTTPStatus.OK:
        console.print(
            "\n[bold red]The gateway would answer it itself[/], with the refusal of its profile of rails:"
        )
        console.print(plain(refused.message), markup=False, highlight=False)
        return
    console.print(f"\n[bold red]The gateway would refuse it with status {refused.status}[/] and this body:")
    fields = msgspec.structs.asdict(refused)
    del fields["status"]
    _show_json(msgspec.json.encode({"error": fields}), console)


def _show_place(place: Place, number: int, console: Console) -> None:
    limits = f"at most {place.within_s:g} s"
    if place.calls_at_once is not None:
        limits += f", {place.calls_at_once} calls at once"
    named = f", there as '{place.model}'" if place.model else ""
    console.print(
        f"\n[bold]{number}. engine '{escape(place.engine)}'[/] (kind {escape(place.kind)}){escape(named)}, {limits}",
        highlight=False,
    )
    if place.refused is not None:
        said = f"It would refuse this request with status {place.refused.status}: {place.refused.message}"
        console.print(plain(said), markup=False, highlight=False, style="red")
    elif place.request is not None:
        _show_request(place.request, console)
    elif place.handed is not None:
        console.print(
            "This engine runs in the gateway's process, or does not show its requests. It gets these fields:\n",
            highlight=False,
        )
        _show_json(bytes(place.handed), console)


def _show_request(request: Outgoing, console: Console) -> None:
    console.print()
    for line in (f"{request.method} {request.url}", *(f"{name}: {value}" for name, value in request.headers)):
        console.print(plain(line), markup=False, highlight=False, soft_wrap=True)
    console.print()
    _show_json(bytes(request.body), console)
    for note in request.notes:
        console.print(f"Note: {note}.", markup=False, highlight=False)


def _show_json(data: bytes, console: Console) -> None:
    text = plain_json(msgspec.json.format(data).decode())
    console.print(text, markup=False, highlight=False, soft_wrap=True)
