"""What the check of a form adds to each event of a stream: `PYTHONPATH=src:tests python benchmarks/structured.py`.

The schemas and answers are those of `tests/structure/schemas.py`, in events of 1 to 6 characters. Each answer is read five
times, and the fastest time of each event counts, so that other work on the machine does not.
"""

import random
import time

from structure import schemas

from tidegate.structure.asked import Shape
from tidegate.structure.checker import checker_of

ROUNDS = 5


def events(rng, text):
    at = 0
    while at < len(text):
        size = rng.randint(1, 6)
        yield text[at : at + size]
        at += size


def timed(checker, parts):
    best = [1.0] * len(parts)
    for _ in range(ROUNDS):
        beginning = checker.begin()
        for i, part in enumerate(parts):
            began = time.perf_counter()
            beginning.feed(part)
            best[i] = min(best[i], time.perf_counter() - began)
    return best


def main():
    rng = random.Random(1)
    spent, made = [], []
    for seed in range(420):
        schema = schemas.schema(seed)
        began = time.thread_time()
        checker = checker_of(Shape("json_schema", schema=schema.schema))
        made.append(time.thread_time() - began)
        for _ in range(4):
            spent += timed(checker, list(events(rng, schema.valid(rng).text)))
    for name, times in (("event", sorted(spent)), ("schema", sorted(made))):
        at = {part: times[int(len(times) * part)] * 1e6 for part in (0.5, 0.9, 0.99, 0.999)}
        print(
            f"{len(times)} of {name}: "
            + ", ".join(f"p{part * 100:g} {value:.1f} µs" for part, value in at.items())
        )


if __name__ == "__main__":
    main()
