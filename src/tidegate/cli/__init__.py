"""The command line. Each command has its own module."""

from __future__ import annotations

import os
import signal
import sys
from importlib.metadata import version
from typing import Any

from cyclopts import App, CoercionError, CycloptsError, CycloptsPanel, UnusedCliTokensError


def _in_words(error: CycloptsError) -> Any:
    """Return the message of a command line error, without the names of Python's types."""
    if isinstance(error, UnusedCliTokensError):
        named = " ".join(error.unused_tokens or ())
        return CycloptsPanel(
            f"Unexpected argument: {named}. Every option has a name, such as --config FILE: see --help."
        )
    wanted = {int: "a whole number", float: "a number"}
    if isinstance(error, CoercionError) and error.token and error.target_type in wanted:
        token = error.token
        return CycloptsPanel(
            f'Invalid value for {token.keyword}: "{token.value}" is not {wanted[error.target_type]}.'
        )
    return CycloptsPanel(str(error))


app = App(
    name="tidegate",
    help=(
        "An LLM gateway: the OpenAI API for clients, any engine behind it, and an embedded engine if you have none.\n\n"
        "Start with `tidegate serve`, then send any OpenAI client to http://127.0.0.1:8080/v1."
    ),
    version=lambda: version("tidegate"),
    error_formatter=_in_words,
)
# Commands are registered by name, so that a command imports only the modules that it needs. This keeps the start fast.
app.command("tidegate.cli.serve:serve", help="Serve the OpenAI API.")
app.command(
    "tidegate.cli.check:check",
    help="Check a configuration, or explain what the gateway would do with a request.",
)
app.command("tidegate.cli.keys:app", name="keys", help="Make, list, rotate and revoke API keys.")
app.command(
    "tidegate.cli.tenants:app", name="tenants", help="Organisations, teams and users, and their policies."
)
app.command(
    "tidegate.cli.running.usage:app",
    name="usage",
    help="Show what is used of each limit of a running gateway.",
)
app.command(
    "tidegate.cli.running.queue:app",
    name="queue",
    help="Show which calls wait at a running gateway, and for what.",
)
app.command(
    "tidegate.cli.running.review:app",
    name="review",
    help="Decide about texts that wait for a person at a running gateway.",
)
app.command(
    "tidegate.cli.rails.command:app",
    name="rails",
    help="See the rails that check texts, try them, time them, set their thresholds, and read their audit.",
)
app.command(
    "tidegate.cli.evals.command:app",
    name="eval",
    help="Measure on labelled data how well parts of the gateway decide.",
)
app.command("tidegate.cli.chat:chat", help="Talk to a model behind any OpenAI-compatible server.")
app.command(
    "tidegate.cli.bench:app",
    name="bench",
    help="Measure any OpenAI-compatible server, and check it against criteria.",
)
app.command(
    "tidegate.cli.drill.command:app",
    name="drill",
    help="Watch the gateway while engines are killed, slowed and flooded.",
)
app.command(
    "tidegate.cli.scripted:scripted", help="Serve scripted answers: an engine for tests, timing and faults."
)


def main() -> None:
    """Run the `tidegate` script. Ends with status 2 if the command line is not valid."""
    try:
        try:
            app(sys.argv[1:], exit_on_error=False)
        finally:
            sys.stdout.flush()  # here, since a failure at the end of the interpreter cannot be caught
    except CycloptsError:  # the message was already printed
        sys.exit(2)
    except BrokenPipeError:
        # The reader of a pipe has ended, such as `head`. Python would write the rest at its own end, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
