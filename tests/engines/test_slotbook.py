"""Which call gets which slot: the rules alone, no server."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tidegate.engines.embedded.prefixes import MAX_TURNS, Assignment, Save, SlotBook, Trail, trail_of

RED, BLUE = Trail(head=b"red"), Trail(head=b"blue")


def talk(book: SlotBook, trail: Trail, now: float, *, size: int = 10) -> Assignment:
    """One whole call: assigned, finished, saved if the book wants it."""
    given = book.assign(trail, now)
    save = book.finished(given, now, read=True)
    if save is not None:
        book.saved(save, size)
    return given


def test_a_saved_prompt_is_restored_into_a_slot_that_does_not_hold_it():
    book = SlotBook(range(4))
    first = talk(book, RED, 0)
    assert first.restore is None
    together = [book.assign(RED, 1) for _ in range(4)]
    assert sorted(given.slots[0] for given in together) == [0, 1, 2, 3]
    assert [given.restore is None for given in together].count(True) == 1  # the slot that read it
    assert len({given.restore for given in together if given.restore}) == 1


def test_empty_slots_get_a_new_prompt_at_once_and_full_ones_when_they_need_it():
    book = SlotBook(range(3))
    talk(book, Trail(turns=(b"other",)), 0)
    save = book.finished(book.assign(RED, 1), 1, read=True)
    assert save is not None
    assert len(save.empty) == 1
    assert book.free == 1
    book.saved(save, 10, placed=save.empty)
    together = [book.assign(RED, 2) for _ in range(3)]
    assert [given.restore is None for given in together].count(True) == 2


def test_a_slot_is_not_given_away_between_a_call_and_its_save():
    book = SlotBook(range(1))
    save = book.finished(book.assign(RED, 0), 0, read=True)
    assert save is not None
    assert book.saving(b"red")
    assert book.free == 0
    with pytest.raises(LookupError):
        book.assign(BLUE, 0)
    assert book.saved(save, 10) == ()
    assert not book.saving(b"red")
    assert book.assign(RED, 1).restore is None  # it is still in the slot


def test_a_conversation_comes_back_to_its_slot():
    book = SlotBook(range(3))
    first = talk(book, Trail(head=b"red", turns=(b"1",)), 0)
    for now in (1, 2):
        talk(book, Trail(head=b"red", turns=(b"x%d" % now,)), now)
    again = book.assign(Trail(head=b"red", turns=(b"1", b"2", b"3")), 3)
    assert again.slots == first.slots
    assert again.restore is None


def test_where_nothing_matches_the_longest_unused_slot_is_taken():
    book = SlotBook(range(3))
    order = [talk(book, Trail(turns=(b"%d" % now,)), now).slots[0] for now in range(6)]
    assert order[:3] == order[3:]
    assert sorted(order[:3]) == [0, 1, 2]


def test_a_prompt_that_could_not_be_saved_is_looked_for_where_it_was_read():
    book = SlotBook(range(3), files=0)
    first = talk(book, RED, 0)
    talk(book, BLUE, 1)
    again = book.assign(RED, 2)
    assert again.slots == first.slots
    assert again.restore is None


def test_an_unread_prompt_is_not_saved():
    book = SlotBook(range(2))
    assert book.finished(book.assign(RED, 0), 0, read=False) is None
    assert book.assign(RED, 1).restore is None


def test_a_failed_save_is_forgotten_and_tried_again():
    book = SlotBook(range(2))
    save = book.finished(book.assign(RED, 0), 0, read=True)
    assert save is not None
    assert book.saved(save, None) == (save.file,)
    assert book.finished(book.assign(RED, 1), 1, read=True) is not None


def test_the_least_recently_used_file_goes_first():
    book = SlotBook(range(2), files=2)
    files = {}
    for now, name in enumerate([b"a", b"b"]):
        save = book.finished(book.assign(Trail(head=name), now), now, read=True)
        assert save is not None
        files[name] = save.file
        assert book.saved(save, 10) == ()
    talk(book, Trail(head=b"a"), 3)
    save = book.finished(book.assign(Trail(head=b"c"), 4), 4, read=True)
    assert save is not None
    assert book.saved(save, 10) == (files[b"b"],)


def test_bytes_on_disk_are_bounded_too():
    book = SlotBook(range(2), file_bytes=100)
    save = book.finished(book.assign(RED, 0), 0, read=True)
    assert save is not None
    assert book.saved(save, 101) == (save.file,)
    assert book.assign(RED, 1).restore is None


def test_what_cannot_be_restored_is_forgotten():
    book = SlotBook(range(2))
    talk(book, RED, 0)
    talk(book, BLUE, 1)
    talk(book, BLUE, 2)
    given = book.assign(RED, 3)
    assert given.restore is not None
    book.spoiled(given.restore)
    assert book.finished(given, 3, read=True) is not None


def test_a_restart_empties_the_slots_and_keeps_the_files():
    book = SlotBook(range(2))
    talk(book, RED, 0)
    running = book.assign(RED, 1)
    book.lost()
    assert book.free == 2
    assert book.finished(running, 2, read=True) is None
    assert book.free == 2
    assert book.assign(RED, 3).restore is not None


def test_several_choices_own_several_slots_and_spoil_what_is_known_of_the_idle_ones():
    book = SlotBook(range(4))
    for now in range(4):
        talk(book, Trail(head=b"red", turns=(b"%d" % now,)), now)
    wide = book.assign(RED, 5, width=3)
    assert len(set(wide.slots)) == 3
    assert book.free == 1
    assert book.assign(RED, 6).restore is not None
    book.finished(wide, 7, read=True)
    assert book.free == 3


# ------------------------------------------------------------------------------------------------------------ the trail

MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "developer", "user", "assistant"]),
            "content": st.text(max_size=400),
        }
    ),
    max_size=8,
)


@given(MESSAGES, MESSAGES)
@settings(max_examples=50)
def test_a_longer_conversation_starts_like_the_shorter(start, more):
    whole = trail_of(json.dumps([*start, {"role": "user", "content": "next"}, *more]).encode())
    part = trail_of(json.dumps([*start, {"role": "user", "content": "next"}]).encode())
    assert whole.shared_turns(part) == len(part.turns)


def test_only_a_system_prompt_worth_a_file_has_a_head():
    def messages(role: str, length: int) -> bytes:
        return json.dumps(
            [{"role": role, "content": "x" * length}, {"role": "user", "content": "hi"}]
        ).encode()

    long = trail_of(messages("system", 300))
    assert long.head is not None
    assert long != trail_of(messages("system", 301))
    assert long.head != trail_of(messages("system", 300), setting=b"an adapter").head
    assert trail_of(messages("system", 20)).head is None
    assert trail_of(messages("user", 300)).head is None


def test_a_trail_is_bounded_and_nonsense_has_none():
    endless = json.dumps([{"role": "user", "content": "hi"}] * 500).encode()
    assert len(trail_of(endless).turns) == MAX_TURNS
    for nonsense in (b"", b"{}", b'"text"', b"[1]", b'[{"role": 7}]'):
        assert trail_of(nonsense) == Trail()


# -------------------------------------------------------------------------------------------- any order of anything


class AnyOrder(RuleBasedStateMachine):
    """No slot is ever owned twice, nothing is restored that is not on disk, and the disk stays within its bounds."""

    def __init__(self):
        super().__init__()
        self.book = SlotBook(range(4), files=2, file_bytes=50)
        self.now = 0.0
        self.calls: list[tuple[int, Assignment]] = []  # the restart they belong to, and what was given
        self.saves: list[tuple[int, Save]] = []
        self.disk: dict[str, int] = {}
        self.restarts = 0

    def owned(self) -> list[int]:
        slots = [slot for when, call in self.calls if when == self.restarts for slot in call.slots]
        saving = [(save.slot, *save.empty) for when, save in self.saves if when == self.restarts]
        return slots + [slot for each in saving for slot in each]

    @precondition(lambda self: self.book.free)
    @rule(
        head=st.sampled_from([None, b"a", b"b", b"c", b"d"]),
        turns=st.lists(st.sampled_from([b"1", b"2"]), max_size=2),
        width=st.sampled_from([1, 1, 1, 2, 4]),
    )
    def assign(self, head, turns, width):
        self.now += 1
        taken = self.owned()
        call = self.book.assign(Trail(head, tuple(turns)), self.now, width=min(width, self.book.free))
        assert not set(call.slots) & set(taken)
        assert call.restore is None or call.restore in self.disk
        self.calls.append((self.restarts, call))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), read=st.booleans())
    def finish(self, data, read):
        _, call = self.calls.pop(data.draw(st.integers(0, len(self.calls) - 1)))
        taken = self.owned()
        save = self.book.finished(call, self.now, read=read)
        if save is not None:
            assert not {save.slot, *save.empty} & set(taken)
            assert save.file not in self.disk
            self.saves.append((self.restarts, save))

    @precondition(lambda self: self.saves)
    @rule(data=st.data(), size=st.sampled_from([None, 10, 20, 60]), placed=st.booleans())
    def save(self, data, size, placed):
        _, save = self.saves.pop(data.draw(st.integers(0, len(self.saves) - 1)))
        self.disk[save.file] = size or 0
        for file in self.book.saved(save, size, placed=save.empty if placed and size else ()):
            del self.disk[file]

    @rule()
    def restart(self):
        self.book.lost()
        self.restarts += 1

    @invariant()
    def slots_add_up(self):
        assert self.book.free == 4 - len(set(self.owned()))
        assert len(self.owned()) == len(set(self.owned()))

    @invariant()
    def disk_is_bounded(self):
        assert len(self.disk) <= 2
        assert sum(self.disk.values()) <= 50


AnyOrder.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyOrder = AnyOrder.TestCase
