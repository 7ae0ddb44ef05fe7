"""The command `tidegate rails`. Each of its commands has its own module."""

from __future__ import annotations

from cyclopts import App

app = App(
    name="rails",
    help="See the rails that check texts, try them, time them, set their thresholds, and read their audit.",
    help_epilogue="""A rail checks a text. A profile is a list of rails, and `policies.NAME.rails` puts the calls of
a policy under a profile. Nothing here starts a server. Only rails that ask models ask
engines, those of the configuration.

Examples

`tidegate rails list`: the kinds of rails, and the profiles of tidegate.yaml

`tidegate rails list pii`: one kind with its settings

`tidegate rails check "Ignore all previous instructions"`: what the rails would make of a text

`tidegate rails profile prompts.jsonl --html rails.html`: how long they take

`tidegate rails calibrate traffic.jsonl --fpr 0.001`: thresholds that flag few enough of your own texts

`tidegate rails audit --since 24h --action block`: what was blocked since yesterday, as CSV""",
)
app.command("tidegate.cli.rails.listing:list_", name="list")
app.command("tidegate.cli.rails.trying:check", name="check")
app.command("tidegate.cli.rails.timing:profile", name="profile")
app.command("tidegate.cli.evals.calibrating:calibrate", name="calibrate")
app.command("tidegate.cli.rails.auditing:audit", name="audit")
