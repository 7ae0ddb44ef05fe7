from hypothesis import given
from hypothesis import strategies as st
from streamed import CONTENT, EMAILS, Views, cut, piece, said, texts_out, window

from tidegate.rails.redact import Edit, Placeholders, edited, masks, united
from tidegate.rails.streams.lane import SpanRail
from tidegate.rails.streams.spans import spans_of
from tidegate.types import Span

VALUES = ("bob@example.com", "x.y@z.co.uk", "BOB@example.com")


def hide(text: str, placeholders: Placeholders) -> str:
    return placeholders.hidden(text, spans_of(EMAILS, Views(text)))


def restored(placeholders: Placeholders, events: list[str]) -> str:
    through = window(SpanRail("placeholders", "restore", placeholders.scanner, placeholders.value))
    pieces = [piece(0, CONTENT, event) for event in events]
    out = [one for each in pieces for one in through.feed(each, texts_out(each))] + through.finish()
    assert through.found == []
    return said(out)[0, CONTENT]


@given(data=st.data())
def test_placeholders_come_back_under_every_split(data):
    parts = data.draw(st.lists(st.sampled_from([*VALUES, " ", "<", "<EMAIL_1_", "_", ">", "1"]), max_size=8))
    text = " ".join(parts)
    placeholders = Placeholders()
    hidden = hide(text, placeholders)
    assert not any(value in hidden for value in VALUES)
    assert placeholders.restored(hidden) == text
    places = data.draw(st.lists(st.integers(0, len(hidden)), max_size=6))
    assert restored(placeholders, cut(hidden, places)) == text
    assert restored(placeholders, list(hidden)) == text


@given(cuts=st.lists(st.integers(0, 60), max_size=5))
def test_a_placeholder_that_somebody_typed_is_not_restored(cuts):
    placeholders, other = Placeholders(), Placeholders()
    hide("bob@example.com", placeholders)
    typed = f"<EMAIL_1> <EMAIL_1_0123456789abcdef> {hide('x@y.com', other)}"
    assert placeholders.restored(typed) == typed
    assert restored(placeholders, cut(typed, [min(place, len(typed)) for place in cuts])) == typed


def test_equal_values_have_equal_placeholders():
    hidden = hide("bob@example.com x@y.com bob@example.com", Placeholders("n"))
    assert hidden == "<EMAIL_1_n> <EMAIL_2_n> <EMAIL_1_n>"


def test_the_nonce_differs_between_calls():
    assert len({hide("a@b.com", Placeholders()) for _ in range(50)}) == 50
    assert not Placeholders()


def test_masks_of_spans_that_overlap_and_go_on():
    spans = [Span(0, 3, "A", 0.5), Span(2, 5, "B", 0.9), Span(6, 7, "C"), Span(7, 9, "C", goes_on=True)]
    assert edited("0123456789", masks(spans)) == "<B>5<C>9"


def test_what_goes_on_has_no_second_mask():
    edits = [Edit(0, 3, "<A>"), Edit(3, 5, "<B>", 0), Edit(3, 8, "", 1)]
    assert edited("0123456789", united(edits)) == "<A>89"


@given(
    edits=st.lists(
        st.tuples(st.integers(0, 12), st.integers(1, 5), st.sampled_from(["", "x", "yy"])), max_size=4
    ),
    places=st.lists(st.integers(0, 12), max_size=4),
)
def test_parts_of_an_edited_text_are_the_whole_edited_text(edits, places):
    text = "0123456789ab"
    all_of = united(Edit(start, min(start + length, 12), put) for start, length, put in edits if start < 12)
    at, parts = 0, []
    for part in cut(text, places):
        parts.append(edited(part, all_of, at))
        at += len(part)
    assert "".join(parts) == edited(text, all_of)
