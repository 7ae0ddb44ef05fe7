"""Measures what the detectors of a profile catch, what they flag wrongly, and what they cost, against the bounds.

The profile is `standard`, at the thresholds that are shipped. TIDEGATE_DATA names the folder with the public sets.
The parts are

  gates       NotInject, XSTest, role-play, harmful requests, S-Labs and neuralchemy
  documents   clean documents and injected ones, on the surface `retrieval`
  natural     natural prompts: flagged, and blocked by detectors that block
  moderation  OpenAI's moderation set, under the profile `moderation`
  disguises   attacks written in 27 ways
  languages   attacks in other languages
  latency     times of checks, texts a second and memory, each in a process pinned to one core
  streams     delays of streams while the prompts of other requests are classified

  make bench-detectors                                           everything, about 15 minutes
  make bench-detectors ARGS="--sample 50 --quick"                a sample of each source, two minutes
  make bench-detectors ARGS="--only gates,natural --html out.html --json out.json"
  make bench-detectors ARGS="--profile mine --config tidegate.yaml --injection guard"    rails of your own

The last column says which bounds are kept. The exit status is 0 if all are, 1 if one is missed, 2 if the run failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from benchmarks.detectors import disguises, gates, languages, moderation
from benchmarks.detectors.cost import Failed, latency
from benchmarks.detectors.curves import curves
from benchmarks.detectors.plans import ROLES, NoPlan, Subject, subject
from benchmarks.detectors.sources import NoData, folder
from benchmarks.detectors.streams import streams
from benchmarks.detectors.tables import Table, summary

from tidegate.ops.evals.rows import BadRows

PARTS: Final = (
    "gates",
    "documents",
    "natural",
    "moderation",
    "disguises",
    "languages",
    "latency",
    "streams",
)
WITHOUT_DATA: Final = frozenset({"latency", "streams"})
CHECKS, QUICK_CHECKS = 400, 60


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="make bench-detectors", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="PART,...", help="these parts; default: all")
    parser.add_argument("--profile", default="standard", help="the profile (standard)")
    parser.add_argument(
        "--moderation", default="moderation", metavar="PROFILE", help="that of the part moderation"
    )
    parser.add_argument("--config", type=Path, help="the configuration that has the profile")
    for role in ROLES:
        told = f"the rails that find {role}; default: the kind {role}_detector, else {role}"
        parser.add_argument(f"--{role}", default="", metavar="RAIL,...", help=told)
    parser.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="the most texts of each side of each source; default: all (natural: 6,000)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples (0)")
    parser.add_argument(
        "--jobs", type=int, default=1, help="texts at once; batches change scores a little (1)"
    )
    parser.add_argument(
        "--roleplay", type=Path, metavar="FILE", help="role-play that was not trained on, a text a line"
    )
    parser.add_argument("--all", action="store_true", help="every way of tests/evasions.py, not 27")
    parser.add_argument("--core", type=int, help="the core of the part latency; default: the first one")
    parser.add_argument("--quick", action="store_true", help="few checks in latency and streams")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the tables there")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="also write a page with the curves of the part gates"
    )
    given = parser.parse_args()
    given.parts = given.only.split(",") if given.only else list(PARTS)
    if unknown := sorted(set(given.parts) - set(PARTS)):
        parser.error(f"--only: there is no part '{unknown[0]}'; there are: {', '.join(PARTS)}")
    return given


def measured(given: argparse.Namespace) -> Iterator[Table]:
    """Yield the tables of the parts, as soon as each is there."""
    named = {role: [one for one in getattr(given, role).split(",") if one] for role in ROLES}
    about = subject(given.profile, given.config, named, given.jobs)
    for role, rails in about.roles.items():
        note(f"{role}: {', '.join(sorted(rails)) or 'no rail'}")
    data = Path() if WITHOUT_DATA.issuperset(given.parts) else folder()
    for part in PARTS:
        if part in given.parts:
            note(f"part '{part}'")
            yield from _tables(part, about, data, given)


def _tables(part: str, about: Subject, data: Path, given: argparse.Namespace) -> Sequence[Table]:
    drawn: tuple[Path, int | None, int] = (data, given.sample, given.seed)
    checks = QUICK_CHECKS if given.quick else CHECKS
    core = min(os.sched_getaffinity(0)) if given.core is None else given.core
    parts: dict[str, Callable[[], Any]] = {
        "gates": lambda: _gates(about, drawn, given),
        "documents": lambda: gates.documents(about, *drawn),
        "natural": lambda: [gates.prompts(about, *drawn)],
        "moderation": lambda: [
            moderation.moderation(subject(given.moderation, given.config, {}, given.jobs), *drawn)
        ],
        "disguises": lambda: [disguises.disguises(about, *drawn, every=given.all)],
        "languages": lambda: languages.languages(about, *drawn),
        "latency": lambda: [latency(about, checks, core)],
        "streams": lambda: [streams(about, 2 if given.quick else 5, 4 if given.quick else 10)],
    }
    return parts[part]()


def _gates(about: Subject, drawn: tuple[Path, int | None, int], given: argparse.Namespace) -> list[Table]:
    tables, checked = gates.gates(about, *drawn, given.roleplay)
    if given.html is not None:
        given.html.write_text(curves(about, checked, sample=given.sample, seed=given.seed), "utf-8")
        note(f"page: {given.html}")
    return tables


def note(told: str) -> None:
    """Say how far it is, on standard error."""
    print(f"{time.perf_counter() - BEGAN:6.1f} s  {told}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure and show. Returns the exit status."""
    given = options()
    tables: list[Table] = []
    try:
        for table in measured(given):
            tables.append(table)
            print(table.markdown(), flush=True)
    except (NoData, NoPlan, Failed, BadRows) as problem:
        print(problem, file=sys.stderr)
        return 2
    print(summary(tables))
    if given.json is not None:
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(_result(given, tables)), indent=1))
    return 1 if any(one.kept is False for table in tables for _, one in table.bounds()) else 0


def _result(given: argparse.Namespace, tables: Sequence[Table]) -> dict[str, Any]:
    from report import describe_machine

    bounds = [
        {"table": table.title, "line": name, **msgspec.to_builtins(one), "kept": one.kept}
        for table in tables
        for name, one in table.bounds()
    ]
    asked = {"profile": given.profile, "sample": given.sample, "seed": given.seed, "jobs": given.jobs}
    return {"machine": describe_machine(), **asked, "tables": tables, "bounds": bounds}


BEGAN: Final = time.perf_counter()
if __name__ == "__main__":
    sys.exit(main())
