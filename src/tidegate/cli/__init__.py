"""The command line: one file a command."""

from __future__ import annotations

import sys
from importlib.metadata import version

from cyclopts import App, CycloptsError

app = App(
    name="tidegate",
    help=(
        "An LLM gateway: the OpenAI API in front, any engine behind, and an embedded one when there is none.\n\n"
        "Start with `tidegate serve`, then send any OpenAI client to http://127.0.0.1:8080/v1."
    ),
    version=lambda: version("tidegate"),
)
# By name, so that a command imports only what it needs: starting to serve is timed.
app.command("tidegate.cli.serve:serve", help="Serve the OpenAI API.")
app.command(
    "tidegate.cli.check:check", help="Check a configuration, or explain what it would make of a request."
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
