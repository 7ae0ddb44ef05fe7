"""The command line: one file a command."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Any

from cyclopts import App, CoercionError, CycloptsError, CycloptsPanel, UnusedCliTokensError


def _in_words(error: CycloptsError) -> Any:
    """An error of the command line without the names of Python's types."""
    if isinstance(error, UnusedCliTokensError):
        named = " ".join(error.unused_tokens or ())
        return CycloptsPanel(
            f"Not expected here: {named}. Every option has a name, such as --config FILE: see --help."
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
        "An LLM gateway: the OpenAI API in front, any engine behind, and an embedded one when there is none.\n\n"
        "Start with `tidegate serve`, then send any OpenAI client to http://127.0.0.1:8080/v1."
    ),
    version=lambda: version("tidegate"),
    error_formatter=_in_words,
)
# By name, so that a command imports only what it needs: starting to serve is timed.
app.command("tidegate.cli.serve:serve", help="Serve the OpenAI API.")
app.command(
    "tidegate.cli.check:check", help="Check a configuration, or explain what it would make of a request."
)
app.command("tidegate.cli.keys:app", name="keys", help="Make, list, rotate and revoke API keys.")
app.command(
    "tidegate.cli.tenants:app", name="tenants", help="Organisations, teams and users, and their policies."
)
app.command("tidegate.cli.chat:chat", help="Talk to a model behind any OpenAI-compatible server.")
app.command(
    "tidegate.cli.bench:app", name="bench", help="Measure any OpenAI-compatible server, and judge it."
)
app.command(
    "tidegate.cli.scripted:scripted", help="Serve scripted answers: an engine for tests, timing and faults."
)


def main() -> None:
    """Entry point of the `tidegate` script. Ends with status 2 for a command line that cannot be."""
    try:
        app(sys.argv[1:], exit_on_error=False)
    except CycloptsError:  # already said
        sys.exit(2)
