"""The command line: one file a command."""

from __future__ import annotations

from importlib.metadata import version

from cyclopts import App

from tidegate.cli.check import check
from tidegate.cli.scripted import scripted
from tidegate.cli.serve import serve

app = App(
    name="tidegate",
    help=(
        "An LLM gateway: the OpenAI API in front, any engine behind, and an embedded one when there is none.\n\n"
        "Start with `tidegate serve`, then send any OpenAI client to http://127.0.0.1:8080/v1."
    ),
    version=lambda: version("tidegate"),
)
app.command(serve)
app.command(check)
app.command(scripted)


def main() -> None:
    """Entry point of the `tidegate` script."""
    app()
