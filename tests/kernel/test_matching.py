import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.kernel.linear import compiled, places
from tidegate.kernel.matching import BadPattern, Beginnings, Match, Pattern, PatternSet, WordList, lower

SOURCES = (
    r"foo", r"foo\b", r"\bfoo", r"a+b", r"a*b", r"(?:ab|a)c?", r"[ab]{2,3}c", r"(?:ab){2,3}", r"a(?:b|co?)*f",
    r"(?i)Ab\x63", r"\Qa.b\E+", r"f(?P<x>o)o|bo?", r"a[^b]c", r"f\S{0,3}o", r"^ab", r"ab$", r"(?:a|b(?:c|a)){1,2}f",
    r"caf\x{e9}", r"[^a-z]o", r"\pL\.", r"[[:digit:]]{2}", r"a{2}", r"\bb(?:oo)?\B",
)  # fmt: skip

pieces = st.lists(
    st.sampled_from(["a", "b", "c", "f", "o", "foo", "ab", "A", ".", " ", "1", "\u00e9"]), max_size=9
)


@given(source=st.sampled_from(SOURCES), before=pieces, after=pieces)
def test_text_that_follows_changes_no_match_before_the_first_beginning(source, before, after):
    pattern = Pattern("one", source)
    text = "".join(before)
    first = Beginnings([pattern], max_chars=20).first(text)
    known = PatternSet([pattern])
    now = [match for match in known.find(text) if match.start < first]
    later = [match for match in known.find(text + "".join(after)) if match.start < first]
    assert now == later
    assert Beginnings([pattern], max_chars=20).first_alone(text) in (first, -1)


@given(source=st.sampled_from(SOURCES), text=pieces.map("".join))
def test_alone_means_that_no_match_is_complete(source, text):
    pattern = Pattern("one", source)
    first = Beginnings([pattern], max_chars=20).first_alone(text)
    if first >= 0:
        assert [match for match in PatternSet([pattern]).find(text) if match.start < first] == []


@given(source=st.sampled_from(SOURCES), text=pieces.map("".join), data=st.data())
def test_places_are_those_of_the_matches(source, text, data):
    start = data.draw(st.integers(0, len(text)))
    expression = compiled(source)
    assert list(places(expression, text, start)) == [one.span() for one in expression.finditer(text, start)]


def test_places_of_empty_matches_are_between_characters():
    assert list(places(compiled("x*"), "\u00e9x\u00e9")) == [(0, 0), (1, 2), (2, 2), (3, 3)]


@pytest.mark.parametrize(
    ("source", "text", "first"),
    [
        ("foo", "a fo", 2),
        ("foo", "a foe", 5),
        (r"[a-z]{1,4}@x", "hello", 1),
        (r"[a-z]{1,4}@x", "hello ", 6),
        (r"\bsk-[0-9]{3}", "task", 4),
        (r"\bsk-[0-9]{3}", "ta sk", 3),
        ("caf\u00e9", "cafe", 0),  # an accent may follow
        ("caf\u00e9", "cafa", 4),
        (r"caf\pL", "cafx", 0),
        ("(?i)\u00c5x", "a", 0),
        ("\uac00x", "\u1100", 0),  # a syllable of Hangul from its letters
    ],
)
def test_where_a_match_may_begin(source, text, first):
    assert Beginnings([Pattern("one", source)], max_chars=50).first(text) == first


def test_a_pattern_of_unknown_beginnings_may_begin_with_any_of_the_last_characters():
    begun = Beginnings([Pattern("one", r"foo(?i)bar")], max_chars=5)
    assert begun.first("0123456789") == 5
    assert begun.first_alone("0123456789") == -1


def test_matches_have_names_and_offsets_in_characters():
    known = PatternSet(
        [Pattern("mail", r"\w+@\w+"), Pattern("loud", "HEY", ignore_case=True), Pattern("soft", "HEY")]
    )
    text = "\u00fc\U0001f600 hey a@b, HEY"
    assert known.find(text) == [
        Match("loud", 3, 6), Match("mail", 7, 10), Match("loud", 12, 15), Match("soft", 12, 15),
    ]  # fmt: skip
    assert known.find(text, 4) == known.find(text)[1:]
    assert known.find("\ud800 a@b") == [Match("mail", 2, 5)]


def test_what_stands_before_the_start_is_context():
    assert PatternSet([Pattern("a", r"\bb")]).find("ab b", 1) == [Match("a", 3, 4)]


def test_names_of_groups_may_occur_in_two_patterns():
    known = PatternSet([Pattern("one", "(?P<x>a)"), Pattern("two", "(?P<x>b)")])
    assert [match.name for match in known.find("ab")] == ["one", "two"]


@pytest.mark.parametrize("source", ["(", "a**", r"(a)\1", "(?=a)", "a*", ""])
def test_a_bad_pattern_is_named(source):
    with pytest.raises(BadPattern, match="pattern 'mine'"):
        PatternSet([Pattern("good", "b"), Pattern("mine", source)])


def test_no_pattern_takes_long():
    known = PatternSet([Pattern("evil", "(?:a+)+b"), Pattern("other", "(?:a|aa)+c")])
    assert known.find("a" * 50_000) == []


def test_no_patterns_find_nothing():
    assert PatternSet([]).find("text") == []
    assert Beginnings([], max_chars=5).first("text") == 4


def test_words_are_whole_in_every_script():
    words = WordList("w", ["\u0434\u0443\u0440\u0430", "darn", "\u00e9t\u00e9"])
    assert words.find("\u0414\u0423\u0420\u0410! Darn\u00e9 \u00c9t\u00e9") == [
        Match("w", 0, 4),
        Match("w", 12, 15),
    ]
    assert WordList("w", ["darn"], whole_words=False).find("goDARNit") == [Match("w", 2, 6)]
    assert WordList("w", ["Darn"], ignore_case=False).find("darn Darn") == [Match("w", 5, 9)]


def test_the_longest_whole_word_wins():
    words = WordList("w", ["new", "new york", "new yorker"])
    assert words.find("new yorkers in new york") == [Match("w", 0, 3), Match("w", 15, 23)]
    assert words.find("renew new", 4) == [Match("w", 6, 9)]


def test_lower_case_keeps_the_place_of_each_character():
    text = "\u0130stanbul \u03a3\u0391\u03a3"
    assert len(lower(text)) == len(text)
    assert WordList("w", ["\u03c3\u03b1\u03c2"]).find(text) == [Match("w", 9, 12)]
