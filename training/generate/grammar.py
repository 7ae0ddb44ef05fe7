r"""Tables of sentences that refer to tables of words, and the texts that they spell out.

A file of tables has rules: a line `= name` begins one, each line below is an alternative of it, or several that are divided
by ` / `. In an alternative, `{name}` stands for any text of another rule, and `(one|another|)` for one of its branches.
`{key=name}` is expanded once for a text: `{key}` repeats it. `{Name}` begins with a capital, `{NAME}` is in capitals. `\n`
is a line break, and a backslash before any other sign takes its meaning away. `3*` before an alternative makes it three
times as likely. `a(n)` becomes `a` or `an`, by what follows. Lines before the first rule that begin with `#` are comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

TABLES: Final = Path(__file__).parent / "tables"

_NAME: Final = re.compile(r"(?:(\w+)=)?([\w.]+)")
_WEIGHT: Final = re.compile(r"(\d+)\*")
_ARTICLE: Final = re.compile(r"\b([Aa])\(n\)(?=\s+[\"'*]?(\w*))")
_VOWEL: Final = re.compile(r"(?i:[aeio]|u(?!ni|se|ku|til|k\b))|LLM|SQL")


@dataclass(frozen=True, slots=True)
class Reference:
    """Stands for a text of a rule, or for what the key has been expanded to."""

    key: str
    rule: str
    case: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Stands for one of its branches."""

    branches: tuple[Sequence, ...]


Sequence = tuple["str | Reference | Choice", ...]
Alternatives = tuple[Sequence, ...]


class _Parser:
    """Reads one line of a rule."""

    def __init__(self, line: str) -> None:
        self.line, self.at = line, 0

    def alternatives(self) -> Iterator[Sequence]:
        while True:
            yield self.sequence(" / ")
            if self.at >= len(self.line):
                return
            self.at += 3

    def sequence(self, *ends: str) -> Sequence:
        parts: list[str | Reference | Choice] = []
        text = ""
        while self.at < len(self.line) and not self.line.startswith(ends, self.at):
            sign = self.line[self.at]
            if sign in "{(":
                parts.append(text)
                parts += self.reference() if sign == "{" else self.choice()
                text = ""
            else:
                text += self.sign()
        return (*(part for part in (*parts, text) if part),)

    def sign(self) -> str:
        sign = self.line[self.at]
        if sign != "\\":
            self.at += 1
            return sign
        sign = self.line[self.at + 1]
        self.at += 2
        return {"n": "\n", "t": "\t"}.get(sign, sign)

    def reference(self) -> list[str | Reference | Choice]:
        end = self.line.index("}", self.at)
        match = _NAME.fullmatch(self.line[self.at + 1 : end])
        if match is None:
            raise ValueError(
                f"'{self.line[self.at : end + 1]}' is no reference: write {{name}} or {{key=name}}"
            )
        self.at = end + 1
        key, name = match[1] or "", match[2]
        case = "upper" if len(name) > 1 and name.isupper() else "first" if name[0].isupper() else ""
        return [Reference(key, name.lower() if case else name, case)]

    def choice(self) -> list[str | Reference | Choice]:
        self.at += 1
        branches = [self.sequence("|", ")")]
        while self.line.startswith("|", self.at):
            self.at += 1
            branches.append(self.sequence("|", ")"))
        if not self.line.startswith(")", self.at):
            raise ValueError(f"a bracket is not closed in '{self.line}'")
        self.at += 1
        return [Choice(tuple(branches))] if len(branches) > 1 else ["(", *branches[0], ")"]


def parsed(text: str) -> dict[str, Alternatives]:
    """Return the rules of a text. Raises ValueError for a line that is none, with its number."""
    rules: dict[str, list[Sequence]] = {}
    name = ""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or (line.startswith("#") and not name):
            continue
        if line.startswith("= "):
            name = line[2:].strip()
            if name in rules:
                raise ValueError(f"line {number}: there is a rule '{name}' already")
            rules[name] = []
            continue
        weight = _WEIGHT.match(line)
        try:
            found = list(_Parser(line[weight.end() :] if weight else line).alternatives())
        except (ValueError, IndexError) as error:
            raise ValueError(f"line {number} of rule '{name}': {error}") from error
        if not name:
            raise ValueError(f"line {number} belongs to no rule: begin one with '= name'")
        rules[name] += found * (int(weight[1]) if weight else 1)
    return {name: tuple(alternatives) for name, alternatives in rules.items()}


class Grammar:
    """Rules that refer to each other, in no circle."""

    def __init__(self, rules: Mapping[str, Alternatives]) -> None:
        self.rules = rules
        self._keys = frozenset(one.key for each in rules.values() for one in _references(each) if one.key)
        done: set[str] = set()
        for name in rules:
            self._check(name, (), done)

    def _check(self, name: str, above: tuple[str, ...], done: set[str]) -> None:
        if name in above:
            raise ValueError(f"rule '{name}' comes to itself by {' > '.join(above)}")
        if name in done:
            return
        if not self.rules[name]:
            raise ValueError(f"rule '{name}' has no alternative: write one a line below its name")
        for one in _references(self.rules[name]):
            if one.rule in self.rules:
                self._check(one.rule, (*above, name), done)
            elif not one.rule.startswith("given_") and one.rule not in self._keys:
                raise ValueError(f"rule '{name}' refers to '{one.rule}', which is no rule")
        done.add(name)

    def expand(self, rule: str, rng: Random, **given: str) -> str:
        """Return a text of a rule. What is given stands for the references of that name."""
        text = self._rule(rule, rng, dict(given))
        return _ARTICLE.sub(lambda m: m[1] + ("n" if _VOWEL.match(m[2]) else ""), text)

    def each(self, rule: str, rng: Random) -> Iterator[str]:
        """Yield a text of each alternative of a rule, in random order, so that no sentence comes twice."""
        for sequence in rng.sample(self.rules[rule], len(self.rules[rule])):
            text = self._sequence(sequence, rng, {})
            yield _ARTICLE.sub(lambda m: m[1] + ("n" if _VOWEL.match(m[2]) else ""), text)

    def _rule(self, rule: str, rng: Random, scope: dict[str, str]) -> str:
        return self._sequence(rng.choice(self.rules[rule]), rng, scope)

    def _sequence(self, sequence: Sequence, rng: Random, scope: dict[str, str]) -> str:
        return "".join(self._part(part, rng, scope) for part in sequence)

    def _part(self, part: str | Reference | Choice, rng: Random, scope: dict[str, str]) -> str:
        if isinstance(part, str):
            return part
        if isinstance(part, Choice):
            return self._sequence(rng.choice(part.branches), rng, scope)
        text = scope[part.rule] if part.rule in scope and not part.key else self._rule(part.rule, rng, scope)
        if part.key:
            text = scope.setdefault(part.key, text)
        if part.case == "upper":
            return text.upper()
        return text[:1].upper() + text[1:] if part.case else text

    def size(self, rule: str) -> int:
        """Return how many ways a rule can be spelled out, not counting repeated keys apart."""
        return self._sizes(rule, {})

    def _sizes(self, rule: str, known: dict[str, int]) -> int:
        if rule not in self.rules:
            return 1
        if rule not in known:
            known[rule] = sum(self._ways(one, known) for one in self.rules[rule])
        return known[rule]

    def _ways(self, sequence: Sequence, known: dict[str, int]) -> int:
        ways = 1
        for part in sequence:
            if isinstance(part, Reference):
                ways *= self._sizes(part.rule, known)
            elif isinstance(part, Choice):
                ways *= sum(self._ways(branch, known) for branch in part.branches)
        return ways


def _references(alternatives: Iterable[Sequence]) -> Iterator[Reference]:
    for sequence in alternatives:
        for part in sequence:
            if isinstance(part, Reference):
                yield part
            elif isinstance(part, Choice):
                yield from _references(part.branches)


def _merged(files: Iterable[Path]) -> Grammar:
    rules: dict[str, Alternatives] = {}
    for file in files:
        try:
            found = parsed(file.read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"{file.name}: {error}") from error
        twice = rules.keys() & found.keys()
        if twice:
            raise ValueError(f"{file.name}: {', '.join(sorted(twice))} is a rule of another file too")
        rules |= found
    return Grammar(rules)


@cache
def english() -> Grammar:
    """Return the grammar of all English tables."""
    return _merged(
        sorted(
            path for part in ("shared", "attacks", "benign", "harm") for path in (TABLES / part).glob("*.txt")
        )
    )


@cache
def language(code: str) -> Grammar:
    """Return the grammar of another language, by its ISO 639-1 code."""
    return _merged([TABLES / "languages" / f"{code}.txt"])


def languages() -> list[str]:
    """Return the codes of the languages other than English, in order."""
    return sorted(path.stem for path in (TABLES / "languages").glob("*.txt"))
