import json
from collections.abc import Callable

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from streamed import (
    ARGUMENTS,
    CARDS,
    CONTENT,
    EMAILS,
    EVERYTHING,
    PEM,
    PLANTED,
    REASONING,
    SECRETS,
    WORDS,
    Views,
    cut,
    folded,
    piece,
    rail,
    said,
    split_texts,
    texts_out,
    usage,
    window,
)

from tidegate.forms.leaves import leaves, with_leaves
from tidegate.kernel.matching import Pattern
from tidegate.rails.finders import by_patterns, either
from tidegate.rails.redact import edited, masks, united
from tidegate.rails.streams.lane import SpanRail
from tidegate.rails.streams.passages import USUAL, Cut
from tidegate.rails.streams.spans import SpanScanner, spans_of
from tidegate.types import Answer, Choice, Piece, Scan, Where

FINDERS = (EMAILS, CARDS, SECRETS, WORDS, PEM)


@st.composite
def answers(draw, channels=(CONTENT, REASONING)):
    """The texts of an answer by place, and its pieces, with choices and channels in any order."""
    places = [(at, channel) for at in range(draw(st.integers(1, 2))) for channel in channels]
    streams = {where: draw(split_texts()) for where in places}
    waiting = {where: list(events) for where, events in streams.items()}
    pieces = []
    while left := [where for where, events in waiting.items() if events]:
        at, channel = draw(st.sampled_from(left))
        pieces.append(piece(at, channel, waiting[at, channel].pop(0)))
    pieces += [piece(at, channels[0], "", finish="stop") for at in {at for at, _ in places}]
    return {Where(*where): "".join(events) for where, events in streams.items()}, [*pieces, usage()]


def run(through, pieces):
    return [one for each in pieces for one in taken(through, each)] + through.finish()


def taken(through, piece):
    """What leaves for a piece, by the fast path wherever that takes it."""
    texts = texts_out(piece)
    if len(texts) == 1 and through.passes(piece, texts[0]):
        return [piece]
    return through.feed(piece, texts)


def redacted(text):
    """The text after all finders, each on the whole of it."""
    views = Views(text)
    edits = [
        edit._replace(rank=at) for at, finder in enumerate(FINDERS) for edit in masks(spans_of(finder, views))
    ]
    return edited(text, united(reversed(edits)))


@settings(max_examples=40)
@given(st.data())
def test_arguments_say_what_their_redacted_texts_do(data):
    texts = data.draw(st.lists(st.sampled_from(PLANTED), max_size=3))
    document = json.dumps({"text": texts}, ensure_ascii=data.draw(st.booleans()))
    events = cut(document, data.draw(st.lists(st.integers(0, len(document)), max_size=5)))
    pieces = [piece(0, ARGUMENTS, event) for event in events]
    pieces.insert(data.draw(st.integers(0, len(pieces))), piece(0, CONTENT, "bob@example.com "))
    through = window(*(rail(finder, name=str(at)) for at, finder in enumerate(FINDERS)))
    out = run(through, pieces)
    assert ARGUMENTS not in {where.channel for where, text in said(out).items() if text}
    for passage in through.to_check():
        out += through.decide(passage, text=_rewritten(passage.text, redacted))
    assert json.loads(said(out)[0, ARGUMENTS]) == {"text": [redacted(text) for text in texts]}
    assert said(out)[0, CONTENT] == "<EMAIL> "
    assert len(out) == len(pieces)


def _rewritten(document: str, change: Callable[[str], str]) -> str:
    return with_leaves(document, {leaf.path: change(leaf.value) for leaf in leaves(document)})


@settings(max_examples=60)
@given(answers())
def test_a_redacted_stream_says_what_the_redacted_text_does(answer):
    texts, pieces = answer
    through = window(*(rail(finder, name=str(at)) for at, finder in enumerate(FINDERS)))
    out = run(through, pieces)
    assert through.blocked is None
    assert said(out) == {where: redacted(text) for where, text in texts.items()}
    assert len(out) == len(pieces)
    assert through.shown == sum(map(len, said(out).values()))


@pytest.mark.parametrize("on_fail", ["redact", "log", "block"])
@given(answers())
def test_what_is_found_is_told_with_its_text(on_fail, answer):
    texts, pieces = answer
    through = window(rail(EVERYTHING, on_fail))
    run(through, pieces)
    found = [*through.found, *filter(None, [through.blocked])]
    assert bool(found) is any(spans_of(EVERYTHING, Views(text)) for text in texts.values())
    for one in found:
        assert one.text == texts[one.where][one.span.start : one.span.end] != ""


@given(answers())
def test_pieces_keep_their_order_by_choice_and_their_bytes_unless_changed(answer):
    _, pieces = answer
    out = run(window(rail(EVERYTHING)), pieces)
    for at in (0, 1):
        mine = [one for one in pieces if [choice.index for choice in one.answer.choices] == [at]]
        after = [one for one in out if [choice.index for choice in one.answer.choices] == [at]]
        assert [one.answer is other.answer for one, other in zip(after, mine, strict=True)] == [True] * len(
            mine
        )
        for one, other in zip(after, mine, strict=True):
            assert (one is other) == (said([one]) == said([other]))
    assert out[-1] is pieces[-1]


def leaks(answer, scanner=SpanScanner) -> bool:
    """Whether a blocked answer shows any part of a match, or anything but the beginning of a text."""
    texts, pieces = answer
    through = window(rail(EVERYTHING, "block", scanner=scanner))
    shown = said(run(through, pieces))
    for where, text in texts.items():
        first = min((span.start for span in spans_of(EVERYTHING, Views(text))), default=len(text))
        if not text.startswith(shown[where]) or len(shown[where]) > first:
            return True
        if first < len(text) and through.blocked is None:
            return True
    return False


@given(answers())
def test_nothing_of_a_match_is_shown_before_a_block(answer):
    assert not leaks(answer)


class Hasty(SpanScanner):
    """A scanner that clears one character too early."""

    def feed(self, text: str, *, last: bool = False) -> Scan:
        scan = super().feed(text, last=last)
        return scan if scan.clear == self._base + len(self._tail) else scan._replace(clear=scan.clear + 1)


class Rash(SpanScanner):
    """A scanner that lets text pass whose last character may begin a match."""

    def passes(self, text: str) -> bool:
        if super().passes(text):
            return True
        if not text or not super().passes(text[:-1]):
            return False
        self._tail += text[-1]
        self._from = self._clear = self._base + len(self._tail)
        return True


@pytest.mark.parametrize("scanner", [Hasty, Rash])
def test_a_scanner_that_clears_one_character_too_early_is_caught(scanner):
    find(
        answers(), lambda answer: leaks(answer, scanner), settings=settings(database=None, max_examples=2000)
    )
    with pytest.raises(NoSuchExample):
        find(answers(), leaks, settings=settings(database=None, max_examples=50))


@given(answers(), st.sampled_from(["redact", "log"]), st.booleans())
def test_text_that_passes_leaves_the_window_as_if_it_had_been_fed(answer, on_fail, joint):
    _, pieces = answer
    rails = (
        [rail(finder, on_fail, name=str(at)) for at, finder in enumerate(FINDERS)]
        if joint
        else [rail(EVERYTHING, on_fail)]
    )
    logged = rail(EMAILS, "log", name="logged")
    fast, slow = window(*rails, logged), window(*rails, logged)
    for one in pieces:
        assert [each.data for each in taken(fast, one)] == [
            each.data for each in slow.feed(one, texts_out(one))
        ]
        assert (fast.shown, fast.holds, fast.found) == (slow.shown, slow.holds, slow.found)
    assert [one.data for one in fast.finish()] == [one.data for one in slow.finish()]
    assert fast.found == slow.found


def test_the_usual_event_passes_and_one_that_may_begin_a_match_does_not():
    through = window(rail(EMAILS), rail(EMAILS, "log", name="logged"))
    pieces = [piece(0, CONTENT, text) for text in ("so ", "be, ", "it", ", now, ")]
    assert [through.passes(one, texts_out(one)[0]) for one in pieces] == [
        False
    ] * 4  # no such text is known yet
    assert through.feed(pieces[0], texts_out(pieces[0])) == [pieces[0]]
    assert [through.passes(one, texts_out(one)[0]) for one in pieces[1:3]] == [True, False]
    assert through.feed(pieces[2], texts_out(pieces[2])) == []
    assert not through.passes(pieces[3], texts_out(pieces[3])[0])  # what is held comes first
    assert through.feed(pieces[3], texts_out(pieces[3])) == pieces[2:]


def test_nothing_leaves_after_a_block():
    through = window(rail(WORDS, "block"))
    assert through.feed(piece(0, CONTENT, "oh darn"), texts_out(piece(0, CONTENT, "oh darn"))) == []
    assert through.feed(piece(0, CONTENT, "!"), texts_out(piece(0, CONTENT, "!"))) == []
    assert through.blocked.span.kind == "WORD"
    assert run(through, [piece(1, CONTENT, "fine "), usage()]) == []
    assert through.shown == 0


def test_an_engine_that_breaks_leaves_the_held_text_behind():
    through = window(rail(WORDS))
    one = piece(0, CONTENT, "oh da")
    assert through.feed(one, texts_out(one)) == []
    assert through.holds
    assert through.shown == 0


def test_a_mask_stands_where_the_match_begins_and_the_rest_is_emptied():
    pieces = [piece(0, CONTENT, text) for text in ("to bob", "@exam", "ple.com", " now")]
    out = run(window(rail(EMAILS)), pieces)
    assert [said([one])[0, CONTENT] for one in out] == ["to <EMAIL>", "", "", " now"]
    assert out[3] is pieces[3]


def test_a_mark_within_a_private_key_stays_with_it():
    text = "-----BEGIN RSA KEY-----cafe\u0301\u200b\u0301"
    assert said(run(window(rail(PEM)), [piece(0, CONTENT, one) for one in text])) == {(0, CONTENT): "<PEM>"}


def test_a_private_key_has_one_mask():
    text = "a\n-----BEGIN RSA KEY-----\nMII" + "x" * 500 + "\n-----END RSA KEY-----\nb"
    out = run(window(rail(PEM)), [piece(0, CONTENT, one) for one in cut(text, range(0, len(text), 7))])
    assert said(out) == {(0, CONTENT): "a\n<PEM>\nb"}


def test_a_match_that_is_too_long_blocks():
    endless = by_patterns([Pattern("ENDLESS", r"<.+>")], max_chars=10)
    through = window(rail(endless))
    assert said(run(through, [piece(0, CONTENT, one) for one in "a <bc> defgh ijklm>"])) == {
        (0, CONTENT): "a "
    }
    assert through.blocked.too_long


def test_a_rail_that_only_logs_holds_nothing_back():
    through = window(rail(EMAILS, "log"))
    pieces = [piece(0, CONTENT, text) for text in ("to bob", "@example.com", ".")]
    assert [through.feed(one, texts_out(one)) for one in pieces] == [[one] for one in pieces]
    through.finish()
    assert [(one.rail, one.span.kind) for one in through.found] == [("rail", "EMAIL")]


def test_other_rails_see_a_text_after_it_is_masked():
    digits = by_patterns([Pattern("DIGITS", r"\d{4}")])
    pieces = [piece(0, CONTENT, "1234 5678"), piece(0, CONTENT, ".")]
    assert window(rail(digits, "block"), rail(CARDS)).feed(pieces[0], texts_out(pieces[0])) == []
    out = run(window(rail(digits, "block"), rail(CARDS)), pieces)
    assert said(out) == {(0, CONTENT): "<CARD>."}
    through = window(rail(digits, "block"), rail(CARDS))
    assert run(through, [piece(0, CONTENT, "1234 x")]) == []
    assert through.blocked.span.kind == "DIGITS"


def test_a_part_of_a_blocked_match_does_not_leave_while_another_rail_still_holds():
    words = either(by_patterns([Pattern("AB", "ab")]))
    longer = by_patterns([Pattern("LONG", "b c d e f")])
    through = window(rail(words, "block"), rail(longer))
    one = piece(0, CONTENT, "x ab c")
    assert through.feed(one, texts_out(one)) == []
    assert run(through, [piece(0, CONTENT, " no")]) == []
    assert through.blocked.span.kind == "AB"


def test_usage_and_empty_pieces_wait_for_all_that_is_held():
    pieces = [piece(0, CONTENT, "bob"), usage(), piece(1, CONTENT, "ok, ")]
    through = window(rail(EMAILS))
    assert [through.feed(one, texts_out(one)) for one in pieces] == [[], [], [pieces[2]]]
    assert through.finish() == pieces[:2]


def test_a_piece_with_two_choices_keeps_the_order_of_both():
    both = Piece(
        b'{"choices": [{"index": 0, "delta": {"content": "x, "}}, {"index": 1, "delta": {"content": "y, "}}]}',
        Answer(choices=[Choice(index=0), Choice(index=1)]),
    )
    pieces = [piece(0, CONTENT, "bob"), both, piece(1, CONTENT, "z, ")]
    through = window(rail(EMAILS))
    assert [through.feed(one, texts_out(one)) for one in pieces] == [[], pieces[:2], [pieces[2]]]


def test_text_after_the_end_of_its_choice_is_refused():
    through = window(rail(WORDS))
    run(through, [piece(0, CONTENT, "a", finish="stop")])
    late = piece(0, CONTENT, "b")
    assert through.feed(late, texts_out(late)) == []
    assert through.blocked.span.kind == "after_the_end"


# ------------------------------------------------------------------------------------------------------ passages


@settings(max_examples=40)
@given(answers(), st.booleans(), st.randoms(use_true_random=False))
def test_nothing_leaves_before_its_passage_is_judged(answer, whole, random):
    texts, pieces = answer
    through = window(rail(EVERYTHING), judged="whole" if whole else "passages")
    waiting, ruled, out = [], {}, []
    for one in [*pieces, None]:
        out += through.finish() if one is None else through.feed(one, texts_out(one))
        waiting += through.to_check()
        random.shuffle(waiting)
        while waiting and (one is None or random.random() < 0.5):
            passage = waiting.pop()
            ruled[passage] = passage.text
            out += through.decide(passage)
        for where, shown in said(out).items():
            judged = "".join(text for passage, text in sorted(ruled.items()) if passage.where == where)
            assert len(shown) <= len(judged)
    assert not through.holds
    assert said(out) == {
        where: edited(text, masks(spans_of(EVERYTHING, Views(text)))) for where, text in texts.items()
    }
    assert all(one.whole == whole and (whole or len(one.context) <= USUAL.context_chars) for one in ruled)


def test_a_block_of_a_passage_keeps_it_and_all_behind_it():
    through = window(judged="passages")
    pieces = [piece(0, CONTENT, text) for text in ("One is fine. ", "Two is bad. ", "Three")]
    out = [one for each in pieces for one in through.feed(each, texts_out(each))]
    one, two = through.to_check()
    assert (one.text, two.text, two.context) == ("One is fine. ", "Two is bad. ", "One is fine. ")
    assert out == []
    assert through.decide(one) == pieces[:1]
    assert through.decide(two, blocked_by="judge") == []
    assert (through.blocked.rail, through.blocked.span.start) == ("judge", 13)
    assert through.finish() == []
    assert through.shown == 13


@given(
    split_texts(
        st.lists(st.sampled_from(["One. ", "two ", "three", "\n", "four" * 20]), max_size=9).map("".join)
    ),
    st.builds(Cut, st.integers(1, 40), st.integers(0, 40), st.booleans()),
)
def test_passages_are_the_text_in_windows_with_what_stands_before_them(events, cut):
    text = "".join(events)
    through = window(judged="passages", cut=cut)
    passages = []
    for one in [*(piece(0, CONTENT, event) for event in events), None]:
        through.finish() if one is None else through.feed(one, texts_out(one))
        passages += through.to_check()
    assert "".join(one.text for one in passages) == text
    for one in passages:
        assert text[one.start : one.end] == one.text
        assert 0 < len(one.text) <= cut.most_chars
        assert one.context == text[max(one.start - cut.context_chars, 0) : one.start]
        ends = [one.text.rfind(end, 0, -1) for end in (". ", "\n")]
        assert not cut.sentences or max(ends) in (-1, len(one.text) - 2)


def test_at_most_one_passage_leaves_early():
    through = window(judged="early")
    pieces = [piece(0, CONTENT, text) for text in ("One. ", "Two. ", "Three. ")]
    assert [through.feed(one, texts_out(one)) for one in pieces] == [[pieces[0]], [], []]
    one, two, _ = through.to_check()
    assert through.decide(one) == [pieces[1]]
    assert through.decide(two, blocked_by="judge") == []
    assert through.shown == 10


def test_what_has_left_early_is_not_replaced():
    through = window(judged="early")
    pieces = [piece(0, CONTENT, text) for text in ("One. ", "Two. ")]
    out = [one for each in pieces for one in through.feed(each, texts_out(each))]
    first, second = through.to_check()
    out += through.decide(first, text="Other. ")
    out += through.decide(second, text="Second. ")
    assert said(out)[0, CONTENT] == "One. Two. "


def test_a_long_passage_is_cut_at_a_space():
    through = window(judged="passages")
    one = piece(0, CONTENT, "word " * 100)
    through.feed(one, texts_out(one))
    passages = through.to_check()
    assert len(passages) == 3
    assert all(USUAL.most_chars - 5 <= len(passage.text) <= USUAL.most_chars for passage in passages)
    assert all(passage.text.endswith("word ") for passage in passages)


def test_a_whole_text_may_leave_as_another():
    through = window(judged="whole")
    pieces = [piece(0, CONTENT, "bad "), piece(0, CONTENT, "words", finish="stop")]
    assert run(through, pieces) == []
    [passage] = through.to_check()
    assert [said([one]) for one in through.decide(passage, text="good")] == [
        {(0, CONTENT): "good"},
        {(0, CONTENT): ""},
    ]


# ----------------------------------------------------------------------------------------------------- arguments


def test_arguments_are_held_until_the_choice_ends_and_judged_as_a_whole():
    through = window(rail(EMAILS))
    pieces = [piece(0, ARGUMENTS, text) for text in ("", '{"to": "b\\u006f', 'b@example.com"}')]
    last = piece(0, CONTENT, "", finish="tool_calls")
    assert [through.feed(one, texts_out(one)) for one in pieces] == [pieces[:1], [], []]
    assert through.to_check() == []
    assert through.feed(last, texts_out(last)) == []
    [passage] = through.to_check()
    assert (passage.is_json, passage.whole) == (True, True)
    assert passage.text == '{"to": "b\\u006fb@example.com"}'
    out = through.decide(passage, text='{"to": "<EMAIL>"}')
    assert [said([one]) for one in out[:2]] == [{(0, ARGUMENTS): '{"to": "<EMAIL>"}'}, {(0, ARGUMENTS): ""}]
    assert out[2] is last


def test_arguments_pass_where_there_are_no_rails():
    one = piece(0, ARGUMENTS, "{")
    assert window().feed(one, texts_out(one)) == [one]


# ---------------------------------------------------------------------------------------------------------- stops


@given(
    events=split_texts(
        st.lists(st.sampled_from(["a", "b", "END", "EN", "hello ", "DEN"]), max_size=8).map("".join)
    )
)
def test_a_stop_string_ends_its_choice(events):
    text = "".join(events)
    through = window(rail(WORDS), stops=("END", "ENDED"))
    pieces = [*(piece(0, CONTENT, one) for one in events), piece(0, CONTENT, "", finish="length"), usage()]
    out = run(through, pieces)
    assert said(out)[0, CONTENT] == text.partition("END")[0]
    assert through.stopped == ({0} if "END" in text else set())
    finishes = [b'"finish_reason": "stop"' in one.data for one in out]
    assert finishes.count(True) == len(through.stopped)
    assert out[-1] is pieces[-1]
    if through.stopped:
        assert finishes[-2]


def test_a_stop_string_ends_the_other_texts_of_its_choice():
    through = window(stops=("END",))
    pieces = [
        piece(0, CONTENT, "a END"),
        piece(0, ARGUMENTS, "{}"),
        piece(1, CONTENT, "b"),
        piece(0, CONTENT, "c"),
    ]
    assert said(run(through, pieces)) == {(0, CONTENT): "a ", (1, CONTENT): "b"}


def test_a_scanner_is_made_for_each_text():
    made = []

    def scanner():
        made.append(SpanScanner(WORDS, folded))
        return made[-1]

    run(window(SpanRail("words", "redact", scanner)), [piece(at, CONTENT, "a ") for at in (0, 1, 0)])
    assert len(made) == 1 + 2  # the first one to see what it searches for
