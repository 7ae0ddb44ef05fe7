"""What happens in a drill: who calls, how often, and which engine fails when. All of it follows from the options.

The engines answer by script, so the capacity is known: the seats of all engines divided by the mean time of an answer. All
rates are shares of it. Times are in seconds from the start of the load.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Literal

import msgspec

from tidegate.ops.load.plan import arrivals

SEATS = 6
"""Calls that each engine gets at once."""
TTFT_S, ITL_S = 0.2, 0.1
"""Time to the first token of a healthy engine, and between its tokens. Slow, so that seconds of a seat cost few events."""
SLOW = 5
"""A slowed engine takes so many times as long for its first token, and half as many times between tokens."""
STEADY_LOAD = 0.5
"""Share of the capacity of all three engines that is asked for throughout. Two engines can serve it."""
FLOOD_LOAD = 3.0
"""Further calls of the class batch during the flood, as a share of what the engines could serve of such calls alone."""
SHORTEST_S, LONGEST_S = 30.0, 3600.0
"""Bounds for the length. In a shorter drill, a phase has too few calls for a verdict."""
ENGINES = ("north", "south", "west")
MODEL = "drill"

Deed = Literal["kill", "start", "slow", "restore"]


class Kind(msgspec.Struct, frozen=True):
    """A class of calls. `limit_s` is the promised time to the first token, and `mix` the share of the calls."""

    name: str
    limit_s: float
    tokens: int
    mix: float


class Tenant(msgspec.Struct, frozen=True):
    """A tenant, with its share of the calls of its class, and its share of the flood."""

    name: str
    kind: str
    share: float
    flood: float = 0.0


class Phase(msgspec.Struct, frozen=True):
    """A part of the drill, from `begin_s` to `end_s`. `flood` says whether the flood comes in it."""

    name: str
    about: str
    begin_s: float
    end_s: float
    flood: bool = False


class Act(msgspec.Struct, frozen=True):
    """Something that is done to an engine."""

    at_s: float
    deed: Deed
    engine: str


class Coming(msgspec.Struct, frozen=True):
    """A call that is due at `at_s`."""

    at_s: float
    tenant: Tenant


class Plan(msgspec.Struct, frozen=True):
    """A whole drill: the phases without gaps between them, and the acts in order."""

    seconds: float
    phases: list[Phase]
    acts: list[Act]

    def phase_at(self, moment: float) -> Phase:
        """Return the phase at a time; after the end, the last one."""
        return next((one for one in self.phases if moment < one.end_s), self.phases[-1])


KINDS = (
    Kind("interactive", limit_s=3.0, tokens=5, mix=0.5),
    Kind("default", limit_s=5.0, tokens=9, mix=0.3),
    Kind("batch", limit_s=8.0, tokens=13, mix=0.2),
)
TENANTS = (
    Tenant("web", "interactive", 0.6),
    Tenant("mobile", "interactive", 0.4),
    Tenant("office", "default", 0.5),
    Tenant("search", "default", 0.5),
    Tenant("reports", "batch", 0.5, flood=0.25),
    Tenant("crawler", "batch", 0.5, flood=0.75),
)
FLOODING = "batch"

_PHASES = (
    ("steady", f"{STEADY_LOAD:.0%} of what the three engines can serve", 0.2),
    ("killed", f"the process of the engine '{ENGINES[0]}' is killed", 0.2),
    ("slowed", f"'{ENGINES[0]}' is back; '{ENGINES[1]}' takes {SLOW} times as long", 0.2),
    ("flood", f"'{ENGINES[1]}' is well again; batch calls come at {FLOOD_LOAD:g} times the capacity", 0.15),
    ("recovery", "the load of the beginning", 0.25),
)


def kind_of(name: str) -> Kind:
    """Return a class of calls by its name."""
    return next(kind for kind in KINDS if kind.name == name)


def service_s(kind: Kind) -> float:
    """Return the time in which a healthy engine answers a call of this class."""
    return TTFT_S + (kind.tokens - 1) * ITL_S


def capacity_per_s() -> float:
    """Return the calls that the three engines can serve in a second, with the mix of the steady load."""
    return SEATS * len(ENGINES) / sum(kind.mix * service_s(kind) for kind in KINDS)


def make_plan(seconds: float) -> Plan:
    """Return the plan of a drill of this length."""
    phases: list[Phase] = []
    for name, about, share in _PHASES:
        begin = phases[-1].end_s if phases else 0.0
        phases.append(Phase(name, about, begin, begin + share * seconds, flood=name == "flood"))
    killed, slowed, flood = phases[1], phases[2], phases[3]
    acts = [
        Act(killed.begin_s, "kill", ENGINES[0]),
        Act(slowed.begin_s, "start", ENGINES[0]),
        Act(slowed.begin_s, "slow", ENGINES[1]),
        Act(flood.begin_s, "restore", ENGINES[1]),
    ]
    return Plan(seconds, phases, acts)


def calls(plan: Plan, seed: int) -> list[Coming]:
    """Return all calls of a drill, in order. Each tenant's arrivals are a Poisson process, the same for a seed."""
    found = [coming for phase in plan.phases for coming in _of_phase(phase, seed)]
    return sorted(found, key=lambda coming: coming.at_s)


def _of_phase(phase: Phase, seed: int) -> Iterator[Coming]:
    for tenant in TENANTS:
        kind = kind_of(tenant.kind)
        rate = STEADY_LOAD * capacity_per_s() * kind.mix * tenant.share
        if phase.flood:
            rate += FLOOD_LOAD * SEATS * len(ENGINES) / service_s(kind) * tenant.flood
        own_seed = random.Random(f"{seed} {phase.name} {tenant.name}").getrandbits(32)  # noqa: S311 (no secret)
        for arrival in arrivals(rate, phase.end_s - phase.begin_s, seed=own_seed):
            yield Coming(phase.begin_s + arrival.at_s, tenant)
