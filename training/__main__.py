"""Prints how many rows each public set gives, and how many labels each head has.

python -m training [FOLDER]
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict

from training.rows import HEADS
from training.sources import read

rows = read(sys.argv[1] if len(sys.argv) > 1 else None)
heads: defaultdict[str, Counter[int]] = defaultdict(Counter)
for row in rows:
    for head, label in row.labels.items():
        heads[head][label] += 1
for source, count in Counter((row.source, row.given, row.labels.get("injection")) for row in rows).items():
    print(f"{source!s:<54}{count:>7}")
for head in HEADS:
    print(f"{head:<24}{heads[head][1]:>7} of {heads[head].total():>7}")
