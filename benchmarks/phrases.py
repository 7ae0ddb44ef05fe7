"""How well the rail `injection` tells attacks from other texts, and what its views cost in false alarms.

    python benchmarks/phrases.py --disguises
    python benchmarks/phrases.py [--locale FOLDER] [--manual FOLDER ...] [--attacks FILE ...] [--json FILE]

Harmless texts are read from where they are: message catalogues (`LANGUAGE/LC_MESSAGES/*.mo` below `--locale`) and manual
pages (`LANGUAGE/man*/*` below each `--manual`), at most `--most` of each language. Each line of a file of
`--attacks` is a JSON object with `text` and `label`: `benign`, or anything else for an attack. Nothing is kept of any text
but its count. With `--disguises`, the attacks of the tests are searched in each disguise instead.

For each language: the texts, how many the rail finds at high and at medium confidence, how many of these only because of a
view other than the folded text, and how many have hidden text.
"""

from __future__ import annotations

import argparse
import gettext
import gzip
import json
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tidegate.kernel.text import Views
from tidegate.rails.rules.hidden_text import HiddenText, HiddenTextConfig
from tidegate.rails.rules.injection import Injection, InjectionConfig
from tidegate.types.verdict import View

FEWEST_CHARS, MOST_CHARS = 30, 4096
SCENE: Any = None
HIGH, MEDIUM = (Injection(InjectionConfig(threshold=one)) for one in ("high", "medium"))
HIDDEN = HiddenText(HiddenTextConfig())


class FoldedOnly:
    """The views of a text of which no encoding is undone and nothing is guessed. Satisfies `ports.TextViews`."""

    def __init__(self, text: str) -> None:
        views = Views(text)
        self.original = text
        self.folded, self.skeleton = views.folded, views.skeleton
        self.decoded: Sequence[View] = ()
        self.guessed: Sequence[View] = ()


class Row(NamedTuple):
    """The counts of one language or file."""

    name: str
    texts: int
    high: int
    high_by_views: int
    medium: int
    medium_by_views: int
    hidden: int


def catalogues(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the messages of all catalogues below a folder, each with its language."""
    for path in sorted(folder.glob("*/LC_MESSAGES/*.mo")):
        try:
            with path.open("rb") as file:
                messages: dict[Any, str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        except (OSError, ValueError, LookupError) as error:
            print(f"{path} is left out: {error}", file=sys.stderr)
            continue
        for key, message in messages.items():
            if key:  # the empty one is the header
                yield language(path.parts[-3]), message


def manual(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the paragraphs of all manual pages below a folder, each with its language."""
    for path in sorted(folder.glob("**/man[1-9]/*")):
        name = path.parts[-3]
        data = path.read_bytes()
        source = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", "replace")
        for paragraph in re.split(r"(?m)^(?:\.(?:PP|P|LP|SH|SS|TP|IP|sp).*|\s*)$", source):
            lines = (
                re.sub(r"^\.\w+ ?", "", line)
                for line in paragraph.splitlines()
                if not line.startswith(('.\\"', "'"))
            )
            yield "en" if name == "man" else language(name), re.sub(r"\\f.|\\&|\\", "", " ".join(lines))


def language(name: str) -> str:
    return re.split(r"[_.@]", name)[0]


def counted(name: str, texts: Sequence[str]) -> Row:
    counts = [0] * 5
    for text in texts:
        views, folded = Views(text), FoldedOnly(text)
        for at, rail in ((0, HIGH), (2, MEDIUM)):
            if not rail.check(views, SCENE).passed:
                counts[at] += 1
                counts[at + 1] += rail.check(folded, SCENE).passed
        counts[4] += not HIDDEN.check(views, SCENE).passed
    return Row(name, len(texts), *counts)


def benign(arguments: argparse.Namespace) -> list[Row]:
    texts: defaultdict[str, set[str]] = defaultdict(set)
    sources = [catalogues(arguments.locale), *map(manual, arguments.manual)]
    for source in sources:
        for name, text in source:
            if len(text) >= FEWEST_CHARS:
                texts[name].add(text[:MOST_CHARS])
    chosen = {name: sorted(every) for name, every in texts.items() if len(every) >= arguments.fewest}
    shuffle = random.Random(13)
    for every in chosen.values():
        shuffle.shuffle(every)
    return [counted(name, every[: arguments.most]) for name, every in sorted(chosen.items())]


def labelled(path: Path) -> list[Row]:
    texts: defaultdict[str, list[str]] = defaultdict(list)
    for line in path.read_text("utf-8").strip().split("\n"):
        row = json.loads(line)
        texts["benign" if row["label"] in {"benign", "safe", "clean"} else "attack"].append(row["text"])
    return [counted(f"{path.stem} {label}", every) for label, every in sorted(texts.items())]


def disguises() -> None:
    """Print how many attacks of the tests are missed in each disguise."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from rails.attacks import ATTACKS, disguised

    tried: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for name, _, text in disguised(ATTACKS):
        tried[name] += 1
        missed[name] += HIGH.check(Views(text), SCENE).passed
    for name, count in tried.items():
        print(f"{name:<44}{count:>6} {missed[name]:>6}")
    print(
        f"{'all':<44}{tried.total():>6} {missed.total():>6}  recall {1 - missed.total() / tried.total():.4f}"
    )


def table(rows: Sequence[Row]) -> str:
    heads = ("", "texts", "high", "by views", "medium", "by views", "hidden")
    lines = [" ".join(f"{head:>9}" if at else f"{head:<28}" for at, head in enumerate(heads))]
    lines += [" ".join(f"{cell:>9}" if at else f"{cell:<28}" for at, cell in enumerate(row)) for row in rows]
    return "\n".join(lines)


def total(rows: Sequence[Row]) -> Row:
    return Row("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--locale", type=Path, default=Path("/usr/share/locale"))
    parser.add_argument("--manual", type=Path, nargs="*", default=[Path("/usr/share/man")])
    parser.add_argument("--attacks", type=Path, nargs="*", default=[])
    parser.add_argument("--most", type=int, default=1000, help="most texts of one language")
    parser.add_argument("--fewest", type=int, default=200, help="fewest texts of a language that is counted")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--disguises", action="store_true")
    arguments = parser.parse_args()
    if arguments.disguises:
        disguises()
        return
    rows = benign(arguments)
    if rows:
        print(table([*rows, total(rows)]))
    files = [row for path in arguments.attacks for row in labelled(path)]
    if files:
        print(table(files))
    if arguments.json:
        arguments.json.write_text(json.dumps([row._asdict() for row in (*rows, *files)], indent=1), "utf-8")


if __name__ == "__main__":
    main()
