"""The command `tidegate eval`. Each of its commands has its own module."""

from __future__ import annotations

from cyclopts import App

app = App(
    name="eval",
    help="Measure on labelled data how well parts of the gateway decide.",
    help_epilogue="""Examples

`tidegate eval rails attacks.jsonl benign.jsonl`: what the rails of the policy `default` catch, and what they hit wrongly

`tidegate eval rails *.jsonl --profile rules --against strict --html rails.html`: two profiles side by side""",
)
app.command("tidegate.cli.evals.evaluating:rails", name="rails")
