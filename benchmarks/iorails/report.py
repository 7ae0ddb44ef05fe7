"""Evaluates the samples: medians over quiet rounds, ratios of the same round, the goals, and the tables.

A round is quiet if other processes used at most 5 % of the two cores during it. If fewer quiet rounds were found than
wanted, all rounds count, and the ratios of the same round decide: what a neighbour costs, it costs both.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from statistics import median

import msgspec
from report import number
from rich.console import Console
from rich.table import Table

from iorails.load import LoadReport
from iorails.servers import CHAIN, NEMO, RACE, TIDEGATE, Counts, Latencies


class Burst(msgspec.Struct, frozen=True, kw_only=True):
    """What became of many requests that came at once."""

    sent: int
    answered: int
    refused: int


QUIET = 0.05
SHORT, UPSTREAM, NONE = "short", "upstream", "none"
MOST_OVER_MS = {32: (1.5, 6.0), 256: (5.0, 20.0)}
"""What Tidegate may take longer than the chain, p50 and p99, by the number of clients."""
MOST_RATIO = 0.1
"""The same as a share of what NeMo Guardrails takes longer. One of the two is enough, at both numbers of clients."""
LEAST_TIMES = 10.0  # guarded requests a second, against NeMo's
BURST = Burst(sent=600, answered=512, refused=88)
"""What the queues of both make of a burst: 256 are served at once, 256 wait, and the others get a 503."""
RACE_SAVES_MS = 45.0  # of the 50 that the check of the prompt takes


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One load, applied to each target in turn."""

    latencies: str
    clients: int
    targets: list[str]
    warm_up_s: float
    seconds: float

    @property
    def title(self) -> str:
        return f"{self.latencies}, {self.clients} client{'s' if self.clients > 1 else ''}"


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One load on one target in one round. `calls` are those that the engines got."""

    target: str
    load: LoadReport
    calls: Counts

    @property
    def three_each(self) -> bool:
        """Whether each request made exactly three calls."""
        return self.calls == Counts(app=self.load.sent, guard=2 * self.load.sent)

    @property
    def cpu_ms(self) -> float:
        return 1000 * self.load.cpu_s / max(1, self.load.n)


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One load on all targets. `foreign` is the share of the two cores that other processes used meanwhile."""

    number: int
    foreign: float
    samples: list[Sample]

    def of(self, target: str) -> Sample:
        return next(one for one in self.samples if one.target == target)

    def over(self, target: str, figure: str) -> float:
        """How much longer the target takes than the chain, in milliseconds."""
        return getattr(self.of(target).load, figure) - getattr(self.of(CHAIN).load, figure)


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """All rounds of one scenario. `wanted` is how many quiet ones were looked for."""

    scenario: Scenario
    wanted: int
    rounds: list[Round]

    @property
    def quiet(self) -> list[Round]:
        return [one for one in self.rounds if one.foreign <= QUIET]

    @property
    def enough(self) -> bool:
        return len(self.quiet) >= self.wanted

    @property
    def counted(self) -> list[Round]:
        return self.quiet if self.enough else self.rounds

    def typical(self, of: Callable[[Round], float]) -> float:
        return median(of(one) for one in self.counted)

    def over(self, target: str, figure: str) -> float:
        return self.typical(lambda one: one.over(target, figure))

    def share(self, figure: str) -> float:
        """Tidegate's time over the chain as a share of NeMo's, of the same round.

        Rounds in which NeMo takes no longer than the chain say nothing: a neighbour was in the way. Infinite if
        all are such.
        """
        pairs = [(one.over(TIDEGATE, figure), one.over(NEMO, figure)) for one in self.counted]
        found = [ours / theirs for ours, theirs in pairs if theirs > 0]
        return median(found) if found else inf

    def cpu_share(self) -> float:
        return self.typical(lambda one: one.of(TIDEGATE).cpu_ms / max(0.001, one.of(NEMO).cpu_ms))

    def times(self) -> float:
        return self.typical(lambda one: one.of(TIDEGATE).load.rps / max(0.001, one.of(NEMO).load.rps))


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    measured: str
    met: bool


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as `--json` writes it."""

    command: str
    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, Latencies]
    goals: list[Goal]
    bursts: dict[str, Burst]
    measured: list[Measured]


def judge(measured: Sequence[Measured], bursts: Mapping[str, Burst]) -> list[Goal]:
    """Check the goals of which this run has the figures."""
    found = {(one.scenario.latencies, one.scenario.clients): one for one in measured}
    goals = [
        goal
        for latencies in (SHORT, UPSTREAM)
        if (goal := _over_goal({n: found[latencies, n] for n in MOST_OVER_MS if (latencies, n) in found}))
    ]
    for one in measured:
        title = one.scenario.title
        if one.scenario.latencies == NONE:
            times = one.times()
            goals.append(
                Goal(
                    name=f"guarded requests/s, {title}: at least {LEAST_TIMES:g} x NeMo's",
                    measured=f"{times:.1f} x",
                    met=times >= LEAST_TIMES,
                )
            )
            share = one.cpu_share()
            goals.append(
                Goal(
                    name=f"CPU a request, {title}: at most {MOST_RATIO:g} x NeMo's",
                    measured=f"{share:.3f} x",
                    met=share <= MOST_RATIO,
                )
            )
        if RACE in one.scenario.targets and one.scenario.latencies == SHORT:
            saved = -one.typical(lambda turn: turn.of(RACE).load.p50_ms)
            goals.append(
                Goal(
                    name=f"race, {title}: p50 at least {RACE_SAVES_MS:g} ms below the floor",
                    measured=f"{saved:.1f} ms",
                    met=saved >= RACE_SAVES_MS,
                )
            )
    for target, burst in bursts.items():
        # NeMo loses some of those that it has taken: they wait for one of 100 connections, and fail after 5 s.
        met = burst == BURST if target != NEMO else burst.refused == BURST.refused
        goals.append(
            Goal(
                name=f"{target}: {BURST.refused} of {BURST.sent} requests at once refused, the others answered",
                measured=f"{burst.refused} refused, {burst.answered} answered",
                met=met,
            )
        )
    samples = [sample for one in measured for turn in one.rounds for sample in turn.samples]
    for target in dict.fromkeys(sample.target for sample in samples):
        ours = [sample for sample in samples if sample.target == target]
        wrong, bad = sum(not one.three_each for one in ours), sum(sum(one.load.bad.values()) for one in ours)
        if target != NEMO:
            goals.append(
                Goal(
                    name=f"{target}: three calls a request, and no bad answer",
                    measured=f"{wrong} of {len(ours)} loads not, {bad} bad",
                    met=not wrong and not bad,
                )
            )
    return goals


def _over_goal(of: dict[int, Measured]) -> Goal | None:
    """The time over the chain, of one pair of latencies. None if both numbers of clients were not measured."""
    if set(of) != set(MOST_OVER_MS):
        return None
    over = {n: (one.over(TIDEGATE, "p50_ms"), one.over(TIDEGATE, "p99_ms")) for n, one in of.items()}
    shares = {n: (one.share("p50_ms"), one.share("p99_ms")) for n, one in of.items()}
    low = all(value <= most for n in of for value, most in zip(over[n], MOST_OVER_MS[n], strict=True))
    quiet = all(one.enough for one in of.values())
    few = all(share <= MOST_RATIO for pair in shares.values() for share in pair)
    wanted = " and ".join(f"{p50:g} / {p99:g} ms at {n}" for n, (p50, p99) in MOST_OVER_MS.items())
    latencies = next(iter(of.values())).scenario.latencies
    return Goal(
        name=f"over the chain, {latencies}, p50 / p99: {wanted}; or {MOST_RATIO:g} x NeMo's at both",
        measured="; ".join(
            f"{n}: {over[n][0]:.2f} / {over[n][1]:.2f} ms, {shares[n][0]:.3f} / {shares[n][1]:.3f} x"
            for n in of
        ),
        met=few or (quiet and low),
    )


def figures_table(measured: Sequence[Measured]) -> Table:
    table = Table(title="Medians of the rounds that count", title_justify="left")
    table.add_column("load")
    table.add_column("target")
    for column in (
        "p50 over the floor, ms",
        "p99",
        "p50 over the chain, ms",
        "p99",
        "of NeMo's p50",
        "p99",
        "requests/s",
        "CPU ms a request",
        "of NeMo's",
    ):
        table.add_column(column, justify="right")
    for one in measured:
        table.add_section()
        named = one.scenario.title
        for target in (CHAIN, NEMO, TIDEGATE, RACE):
            if target not in one.scenario.targets:
                continue

            def typical(figure: str, one: Measured = one, target: str = target) -> float:
                return one.typical(lambda turn: getattr(turn.of(target).load, figure))

            row = [named, target, number(typical("p50_ms"), 2), number(typical("p99_ms"), 2)]
            over = target in (NEMO, TIDEGATE)
            row += [number(one.over(target, f) if over else None, 2) for f in ("p50_ms", "p99_ms")]
            ours = target == TIDEGATE
            row += [number(one.share(f) if ours else None, 3, suffix=" x") for f in ("p50_ms", "p99_ms")]
            cpu = one.typical(lambda turn, target=target: turn.of(target).cpu_ms)
            row += [number(typical("rps"), 1), number(cpu if target != CHAIN else None, 3)]
            row += [number(one.cpu_share() if ours else None, 3, suffix=" x")]
            table.add_row(*row)
            named = ""
    return table


def show(results: Results) -> None:
    """Print everything, for a person."""
    console = Console(width=None if Console().is_terminal else 150, highlight=False)
    console.print(figures_table(results.measured))
    for one in results.measured:
        loads = ", ".join(f"{turn.foreign:.0%}" for turn in one.rounds)
        counted = (
            "quiet rounds count" if one.enough else "too few are quiet: all count, and the ratios decide"
        )
        console.print(
            f"{one.scenario.title}: {len(one.quiet)} of {len(one.rounds)} rounds are quiet (foreign load {loads}); "
            f"{counted}.",
            soft_wrap=True,
        )
    table = Table(title="Goals", title_justify="left")
    for column in ("goal", "measured", ""):
        table.add_column(column)
    for goal in results.goals:
        table.add_row(goal.name, goal.measured, "met" if goal.met else "MISSED")
    console.print(table)
    for one in results.measured:
        for turn in one.rounds:
            for sample in turn.samples:
                if sample.load.bad or not sample.three_each:
                    console.print(
                        f"{one.scenario.title}, round {turn.number}, {sample.target}: {sample.load.sent} requests, "
                        f"{sample.calls}, bad {sample.load.bad} {sample.load.first_bad[:200]}",
                        soft_wrap=True,
                    )
    about = results.machine | results.versions
    console.print("Machine: " + ", ".join(f"{name} {value}" for name, value in about.items()), soft_wrap=True)
