"""What is sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.ops.load.plan import Arrival
from tidegate.ops.load.prompts import BadPrompts, MadeUp, Scale, Shape, read_prompts


def messages(prompt) -> list[dict[str, str]]:
    return json.loads(bytes(prompt.messages))


@given(st.integers(0, 60), st.floats(0.5, 3.0), st.integers(100, 2000))
def test_two_probes_tell_how_a_server_counts(base, per_word, tokens):
    def counted(words: int) -> int:
        return round(base + per_word * words)

    scale = Scale.between((20, counted(20)), (220, counted(220)))
    assert counted(scale.words(tokens)) == pytest.approx(tokens, abs=0.02 * tokens + per_word)


def test_prompts_have_the_wanted_length_and_differ():
    made = MadeUp(Shape(prompt_tokens=100, output_tokens=7), Scale(base=20, per_word=1.0))
    first, second = (made.talk().ask(None) for _ in range(2))
    assert [len(messages(prompt)[0]["content"].split()) for prompt in (first, second)] == [80, 80]
    assert messages(first) != messages(second)
    assert first.max_tokens == 7


def test_the_same_seed_makes_the_same_prompts():
    one, other = (MadeUp(Shape(spread=0.5), Scale(), seed=3).talk().ask(None) for _ in range(2))
    assert (messages(one), one.max_tokens) == (messages(other), other.max_tokens)


def test_spread_lengths_have_the_wanted_mean():
    made = MadeUp(Shape(prompt_tokens=200, spread=0.3), Scale(base=0))
    lengths = [len(messages(made.talk().ask(None))[0]["content"].split()) for _ in range(400)]
    assert sum(lengths) / 400 == pytest.approx(200, rel=0.05)
    assert min(lengths) < 150
    assert max(lengths) > 250


def test_requests_of_a_group_share_their_beginning():
    made = MadeUp(Shape(prefix_tokens=50, groups=3, prompt_tokens=10), Scale(base=0))
    asked = [messages(made.talk().ask(None)) for _ in range(60)]
    heads = {request[0]["content"] for request in asked}
    assert len(heads) == 3
    assert {len(head.split()) for head in heads} == {50}
    assert len({request[1]["content"] for request in asked}) == 60


def test_a_conversation_carries_what_was_said_and_starts_anew_after_its_turns():
    talk = MadeUp(Shape(turns=2, prefix_tokens=5), Scale(base=0)).talk()
    assert talk.listens
    first = messages(talk.ask(None))
    talk.hear("an answer")
    second = messages(talk.ask(None))
    assert second[:2] == first
    assert [message["role"] for message in second] == ["system", "user", "assistant", "user"]
    assert second[2]["content"] == "an answer"
    talk.hear("another")
    assert [message["role"] for message in messages(talk.ask(None))] == ["system", "user"]


def test_a_failed_answer_ends_the_conversation():
    talk = MadeUp(Shape(turns=5), Scale()).talk()
    talk.ask(None)
    talk.hear(None)
    assert len(messages(talk.ask(None))) == 1


def test_lengths_of_a_trace_win():
    prompt = MadeUp(Shape(), Scale(base=10)).talk().ask(Arrival(0.0, 60, 9))
    assert len(messages(prompt)[0]["content"].split()) == 50
    assert prompt.max_tokens == 9


def test_requests_of_a_trace_with_the_same_blocks_begin_alike():
    made = MadeUp(Shape(), Scale(base=0))
    one = messages(made.talk().ask(Arrival(0.0, 1000, 1, (7, 8))))[0]["content"].split()
    other = messages(made.talk().ask(Arrival(1.0, 1000, 1, (7, 9))))[0]["content"].split()
    assert len(one) == len(other) == 1000
    assert one[:512] == other[:512]
    assert one[512:] != other[512:]


def test_a_file_of_lines_is_asked_in_order_and_again(tmp_path: Path):
    path = tmp_path / "prompts.txt"
    path.write_text("one\n\ntwo\n")
    talk = read_prompts(path, output_tokens=5).talk()
    asked = [talk.ask(None) for _ in range(3)]
    assert [messages(prompt)[0]["content"] for prompt in asked] == ["one", "two", "one"]
    assert asked[0].max_tokens == 5


def test_json_lines_may_bring_whole_conversations(tmp_path: Path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        '{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "u"}]}]}\n'
        '{"prompt": "p", "max_tokens": 3}\n'
    )
    talk = read_prompts(path, output_tokens=5).talk()
    first, second = talk.ask(None), talk.ask(None)
    assert messages(first)[1]["content"] == [{"type": "text", "text": "u"}]
    assert (messages(second), second.max_tokens) == ([{"role": "user", "content": "p"}], 3)


@pytest.mark.parametrize("text", ['{"messages": 3}\n', '{"other": "x"}\n', "plain\n"])
def test_a_bad_line_is_named(tmp_path: Path, text):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "good"}\n' + text)
    with pytest.raises(BadPrompts, match="prompt 2: not an object with `messages` or `prompt`"):
        read_prompts(path, output_tokens=5)


def test_an_empty_file_is_refused(tmp_path: Path):
    (tmp_path / "none.txt").write_text("\n")
    with pytest.raises(BadPrompts, match="no prompts"):
        read_prompts(tmp_path / "none.txt", output_tokens=None)


def test_a_line_of_json_may_hold_any_separator_of_unicode(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"prompt": "one\u2028two"}\n{"prompt": "three"}\n', encoding="utf-8")
    asked = read_prompts(tmp_path / "p.jsonl", output_tokens=1).take()
    assert b"one\xe2\x80\xa8two" in bytes(asked.messages)
