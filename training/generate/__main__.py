"""Prints samples of our own texts, or how many there are of each kind.

python -m training.generate [--kind NAME ...] [--sample 10] [--seed 1] [--noise]
python -m training.generate --total 40000 [--seed 1] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from random import Random

from training.generate.kinds import kinds
from training.generate.noise import augmented
from training.generate.writing import generate, rows


def samples(names: list[str], count: int, seed: int, *, noisy: bool) -> None:
    known = kinds()
    unknown = [name for name in names if not any(one.startswith(name) for one in known)]
    if unknown:
        raise SystemExit(f"there is no kind '{unknown[0]}'; there are {', '.join(known)}")
    for name, kind in known.items():
        if names and not any(name.startswith(one) for one in names):
            continue
        print(
            f"## {name}  {dict(kind.labels) if len(kind.labels) < 6 else 'harm' if kind.labels.get('harm') else 'harmless'}"
        )
        for number, row in enumerate(rows(kind, count, seed)):
            shown = augmented(row, Random(f"{seed} {name} noise {number}")) if noisy else row
            print(f"  {shown.lang:<3}{shown.channel:<13}{shown.text!r}")


def totals(total: int, seed: int, out: Path | None) -> None:
    written = generate(total, seed)
    for kind, count in Counter(row.kind for row in written).items():
        print(f"{kind:<28}{count:>7}")
    print(f"{'all':<28}{len(written):>7}")
    if out:
        lines = (
            json.dumps({**{n: getattr(row, n) for n in row.__slots__}, "labels": dict(row.labels)})
            for row in written
        )
        out.write_text("\n".join(lines) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", nargs="*", default=[], help="names of kinds, or how they begin")
    parser.add_argument("--sample", type=int, default=3, help="how many texts of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--noise", action="store_true", help="augment the samples as training does")
    parser.add_argument("--total", type=int, help="write so many rows of all kinds, and count them")
    parser.add_argument("--out", type=Path, help="a file of JSON lines for the rows of --total")
    given = parser.parse_args()
    if given.total:
        totals(given.total, given.seed, given.out)
    else:
        samples(given.kind, given.sample, given.seed, noisy=given.noise)


if __name__ == "__main__":
    main()
