"""Puts one text through the rails of a plan, for commands that measure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from tidegate.cli.rails.choosing import Chosen, scene
from tidegate.ports import Clock
from tidegate.rails.checking import Limits
from tidegate.rails.review import Review, Told
from tidegate.rails.units import WHOLE_REQUEST
from tidegate.types import Surface, Text, Where

_CONTENT = Where(0, "content")
_ENDLESS = float("inf")
_NOTHING: Mapping[str, Any] = MappingProxyType({})


async def reviewed(
    plan: Chosen,
    text: str,
    clock: Clock,
    *,
    told: Told | None = None,
    goes_on: bool = False,
    around: Mapping[str, Any] = _NOTHING,
) -> Review:
    """Check one text as the stages of a gateway do, without their budgets.

    `told` gets the verdicts. With `goes_on`, rails behind a block are asked too. `around` has fields of the scene.
    """
    places = [Text(_CONTENT, plan.surface, text)]
    if any(step.about.once for step in plan.steps):
        places.append(WHOLE_REQUEST)
    look = plan.plan.output_look if plan.surface is Surface.OUTPUT else plan.plan.input_look
    review = Review(
        places,
        lambda one: msgspec.structs.replace(scene(one, text), **around),
        clock,
        hashed=lambda _: "",
        look=look,
        told=told,
        goes_on=goes_on,
    )
    for _ in review.rules(plan.rules, until=_ENDLESS):
        pass
    if review.stopped is None and plan.checks:
        await review.checks(plan.checks, Limits(_ENDLESS, _ENDLESS))
    return review
