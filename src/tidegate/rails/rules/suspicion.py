"""How sure the phrase search of the rail `injection` is of a text, as signals for the statistics."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.kernel.text.views import letters_of
from tidegate.ports import TextViews
from tidegate.rails.rules.injection import searches
from tidegate.rails.rules.phrases.grammar import HIGH, LOW, MEDIUM

LEVELS = (LOW, MEDIUM, HIGH)


def signals(views: TextViews) -> Sequence[float]:
    """Return 1 or 0 for each level that phrases reach, then for each that markers reach. Guesses are not searched."""
    phrases, markers = searches(LOW)
    letters = (views.skeleton, *map(letters_of, views.decoded))
    plain = (views.folded, *views.decoded)
    surest = (
        max((span.score for view in letters for span in phrases.find(view.text)), default=0.0),
        max((span.score for view in plain for span in markers.find(view.text)), default=0.0),
    )
    return [float(one >= level) for one in surest for level in LEVELS]
