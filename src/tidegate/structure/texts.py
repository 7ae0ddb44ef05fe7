"""The checks of answers that are no JSON: one of some texts, a regular expression, a grammar.

Expressions and grammars are automata of llguidance, for the beginning of an answer and for its end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llguidance import LLMatcher
from llguidance.gbnf_to_lark import GbnfToLarkError, gbnf_to_lark

from tidegate.errors import BadRequest
from tidegate.structure.asked import Shape
from tidegate.structure.check import Checker, Prefix
from tidegate.structure.schema.document import MOST_PATTERN_CHARS, Document
from tidegate.structure.schema.patterns import matcher_of

_QUOTED_CHARS = 200


class ChoiceChecker:
    """The check that an answer is one of some texts."""

    def __init__(self, choices: tuple[str, ...]) -> None:
        self.streams = True
        self.unsupported = ""
        self._choices = choices

    def begin(self) -> Prefix:
        """Begin with a new answer."""
        return _ChoicePrefix(self._choices)

    def errors(self, text: str) -> str:
        """Return what is wrong with a whole answer; empty if it is valid."""
        if text in self._choices:
            return ""
        named = ", ".join(map(repr, self._choices))
        return f"The answer has to be one of: {named[:_QUOTED_CHARS]}"


class _ChoicePrefix:
    def __init__(self, choices: Sequence[str]) -> None:
        self._left = choices
        self._length = 0

    def feed(self, text: str) -> bool:
        start = self._length
        self._length += len(text)
        self._left = [choice for choice in self._left if choice.startswith(text, start)]
        return bool(self._left)


class AutomatonChecker:
    """The check that an automaton accepts an answer."""

    def __init__(self, automaton: LLMatcher, what: str) -> None:
        self.streams = True
        self.unsupported = ""
        self._automaton = automaton
        self._what = what

    def begin(self) -> Prefix:
        """Begin with a new answer."""
        return _AutomatonPrefix(self._automaton.deep_copy())

    def errors(self, text: str) -> str:
        """Return what is wrong with a whole answer; empty if it is valid."""
        matcher = self._automaton.deep_copy()
        encoded = text.encode(errors="replace")
        taken = matcher.try_consume_tokens(list(encoded))
        if matcher.is_error():
            return f"The answer is too long to check against the {self._what}"
        if taken < len(encoded):
            at = len(encoded[:taken].decode(errors="ignore"))
            return f"The answer does not match the {self._what} from character {at} on"
        return "" if matcher.is_accepting() else f"The answer ends before it matches the {self._what}"


class _AutomatonPrefix:
    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher
        self._fell = False

    def feed(self, text: str) -> bool:
        if not self._fell and not self._matcher.is_error():
            encoded = list(text.encode(errors="replace"))
            taken = self._matcher.try_consume_tokens(encoded)
            self._fell = taken < len(encoded) and not self._matcher.is_error()
        return not self._fell


class PatternChecker:
    """The check of a regular expression that no automaton has, such as one that looks ahead. Only the end is checked."""

    def __init__(self, shape: Shape) -> None:
        """Raises BadRequest if the expression is too long or cannot be read."""
        self.streams = False
        self.unsupported = "'regex' with more than plain rules"
        whole = {"pattern": f"^(?:{shape.pattern})$"}
        named = f"The regular expression in '{shape.field}'"
        if len(shape.pattern) > MOST_PATTERN_CHARS:
            raise BadRequest(
                f"{named} has more than {MOST_PATTERN_CHARS} characters; shorten it", param=shape.field
            )
        try:
            self._document = Document(whole, shape.field)
        except BadRequest as error:
            raise BadRequest(f"{named} cannot be read; correct its syntax", param=shape.field) from error

    def begin(self) -> Prefix:
        """Begin with a new answer."""
        return _Unchecked()

    def errors(self, text: str) -> str:
        """Return what is wrong with a whole answer; empty if it is valid."""
        return (
            ""
            if self._document.validator.is_valid(text)
            else "The answer does not match the regular expression"
        )


class _Unchecked:
    def feed(self, text: str) -> bool:  # noqa: ARG002 -- the port's
        return True


def of_regex(shape: Shape) -> Checker:
    """Return the check of a regular expression. Raises BadRequest."""
    matcher = matcher_of(LLMatcher.grammar_from_regex(shape.pattern))
    return PatternChecker(shape) if matcher.is_error() else AutomatonChecker(matcher, "regular expression")


def of_grammar(shape: Shape) -> Checker:
    """Return the check of a grammar. Raises BadRequest.

    The grammar is GBNF (llama.cpp, and EBNF as xgrammar has it) if there is a `::=` in it,
    and Lark otherwise.
    """
    missing = _missing(shape.grammar)
    if missing:
        raise BadRequest(f"The grammar in '{shape.field}' has no rule {missing!r}", param=shape.field)
    try:
        lark = gbnf_to_lark(shape.grammar) if "::=" in shape.grammar else shape.grammar
    except GbnfToLarkError as error:
        raise BadRequest(
            f"The grammar in '{shape.field}' cannot be read: {error}", param=shape.field
        ) from error
    matcher = matcher_of(LLMatcher.grammar_from_lark(lark))
    if matcher.is_error():
        said = matcher.get_error()[:_QUOTED_CHARS]
        raise BadRequest(f"The grammar in '{shape.field}' cannot be used: {said}", param=shape.field)
    return AutomatonChecker(matcher, "grammar")


def _missing(gbnf: str) -> str:
    """Return the name of a rule that GBNF refers to and does not have; empty if there is none."""
    bare = _NO_NAMES.sub(" ", gbnf) if "::=" in gbnf else ""
    known = set(_RULE.findall(bare))
    return next((name for name in _NAME.findall(bare) if name not in known), "")


_NO_NAMES = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|\[[^\]\\]*(?:\\.[^\]\\]*)*\]|#[^\n]*|\{[^}]*\}', re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][\w-]*")
_RULE = re.compile(r"([A-Za-z_][\w-]*)\s*::=")
