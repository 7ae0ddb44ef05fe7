"""Answers that are no JSON: a regular expression, a choice, a grammar."""

import pytest

from tidegate.errors import BadRequest
from tidegate.structure.asked import Shape
from tidegate.structure.checker import checker_of
from tidegate.structure.schema.document import MOST_PATTERN_CHARS

GBNF = 'root ::= "say " word ("," " " word)*\nword ::= [a-z]+'
LARK = 'start: "say " WORD (", " WORD)*\nWORD: /[a-z]+/'


def regex(pattern):
    return checker_of(Shape("regex", pattern=pattern, field="guided_regex"))


def grammar(text):
    return checker_of(Shape("grammar", grammar=text, field="ebnf"))


def stopped_at(checker, text):
    prefix = checker.begin()
    return next((i for i, char in enumerate(text) if not prefix.feed(char)), None)


@pytest.mark.parametrize(
    ("checker", "text", "stopped", "right"),
    [
        (regex(r"[0-9]{3}-é+"), "123-éé", None, True),
        (regex(r"[0-9]{3}-é+"), "123-", None, False),
        (regex(r"[0-9]{3}-é+"), "12a", 2, False),
        (regex(r"[0-9]{3}-é+"), "123-éé!", 6, False),
        (regex(r"^(a|bc)$"), "bc", None, True),
        (regex(r"^(a|bc)$"), "ab", 1, False),
        (regex(r"(?=a)[abc]+"), "abc", None, True),
        (regex(r"(?=a)[abc]+"), "bac", None, False),
        (checker_of(Shape("choice", choices=("yes", "yellow", "no"))), "yellow", None, True),
        (checker_of(Shape("choice", choices=("yes", "yellow", "no"))), "ye", None, False),
        (checker_of(Shape("choice", choices=("yes", "yellow", "no"))), "yex", 2, False),
        (checker_of(Shape("choice", choices=("yes", "yellow", "no"))), "yes.", 3, False),
        (grammar(GBNF), "say hello, you", None, True),
        (grammar(GBNF), "say hello,", None, False),
        (grammar(GBNF), "say Hello", 4, False),
        (grammar(LARK), "say hello, you", None, True),
        (grammar(LARK), "say 1", 4, False),
    ],
)
def test_a_text(checker, text, stopped, right):
    assert (checker.errors(text) == "") is right
    assert stopped_at(checker, text) == stopped


def test_an_expression_that_looks_around_is_checked_at_the_end():
    assert not regex(r"(?=a)[abc]+").streams
    assert regex(r"(?=a)[abc]+").unsupported
    assert regex("[abc]+").streams
    assert not regex("[abc]+").unsupported


@pytest.mark.parametrize(
    "text", ["root ::= (", "start: (", "start: /(/", 'root ::= "a', "root ::= missing", "::="]
)
def test_a_grammar_that_cannot_be_used_is_named(text):
    with pytest.raises(BadRequest) as caught:
        grammar(text)
    assert caught.value.param == "ebnf"
    assert "'ebnf'" in caught.value.message


@pytest.mark.parametrize("pattern", ["(", "[", r"\1("])
def test_an_expression_that_cannot_be_used_is_named(pattern):
    with pytest.raises(BadRequest) as caught:
        regex(pattern)
    assert caught.value.param == "guided_regex"
    assert caught.value.message.startswith("The regular expression in 'guided_regex' cannot be read")


def test_an_expression_that_is_too_long_is_named():
    with pytest.raises(BadRequest) as caught:
        regex("(?=a)" + "a" * MOST_PATTERN_CHARS)
    assert "'guided_regex' has more than" in caught.value.message
