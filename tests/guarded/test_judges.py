"""The judges: their prompts, the forms of their answers, votes, and what they judge by."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guarded.examples import ASKED, EXAMPLES, verdict
from guarded.server import Says, answers, chat, guard, in_turn
from guarded.world import GUARD, guarded
from tidegate.errors import ConfigError
from tidegate.rails.asked.asking import Completion, NoAnswer
from tidegate.rails.judges.answering import read
from tidegate.rails.judges.prompt import filled, plain

JUDGES = [kind for kind in EXAMPLES if kind == "self_check" or kind.split("_")[0] == "judge"]
GOLDEN = Path(__file__).with_name("judges.golden.json")
HI = {"input": "hello"}


def rail(kind: str = "self_check", **settings: Any) -> dict[str, Any]:
    return {"kind": kind, "model": GUARD, **settings}


def checked(
    one: Mapping[str, Any], says: Says, *bodies: Mapping[str, Any], **sections: Any
) -> tuple[list[dict[str, Any]], list[Any]]:
    """Return what the gateway says of each body, and what the model was asked."""

    async def run() -> tuple[list[dict[str, Any]], list[Any]]:
        with guard(says) as server:
            async with guarded(one, server, **sections) as world:
                return [await world.checked(body) for body in bodies or (HI,)], server.bodies

    return asyncio.run(run())


def mistake(one: Mapping[str, Any], **sections: Any) -> str:
    with pytest.raises(ConfigError) as raised:
        checked(one, answers({}), **sections)
    return str(raised.value)


def prompt_of(body: Mapping[str, Any]) -> str:
    content: str = body["messages"][0]["content"]
    return content


# ------------------------------------------------------------------------------------------------------------- prompts


@pytest.mark.parametrize("kind", JUDGES)
def test_the_request_is_the_golden_one(kind: str) -> None:
    example = EXAMPLES[kind]
    with guard(answers(example.safe)) as server:
        settings = {**example.settings(server), "kind": kind}
    _, asked = checked(settings, answers(example.safe), example.body)
    [mark] = set(re.findall(r"\b[0-9a-f]{16}\b", prompt_of(asked[-1])))
    told = json.loads(json.dumps(asked).replace(mark, "MARK"))
    assert told == json.loads(GOLDEN.read_text("utf-8"))[kind]


def test_the_mark_is_another_one_each_time() -> None:
    _, asked = checked(rail(cache_s=0), answers(verdict("no")), HI, HI)
    marks = [re.findall(r"\b[0-9a-f]{16}\b", prompt_of(one))[0] for one in asked]
    assert len(set(marks)) == 2


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"prompt": "{{ text }} {{ user_input }}"},
            "has the placeholder '{{ user_input }}', which does not exist",
        ),
        ({"prompt": "Is it bad?"}, "has no {{ text }}"),
        ({"prompt": "{{ text }} {% if x %}"}, "has '{%' outside of a placeholder"),
        ({"prompt": "{{ text }} {{ text"}, "has '{{' outside of a placeholder"),
        ({"prompt": " "}, "is empty: write the question"),
        ({"prompt_path": "/nowhere/prompt.txt"}, "there is no file /nowhere/prompt.txt"),
        ({"votes": 2}, "is 2: set an odd number"),
        ({"votes": 3, "agreeing_votes": 1}, "has agreeing_votes: 1 of 3 `votes`"),
        ({"votes": 3, "agreeing_votes": 4}, "has agreeing_votes: 4 of 3 `votes`"),
        ({"model": "nobody"}, "nobody"),
        ({"kind": "judge_hallucination", "sampler": "nobody"}, "nobody"),
        (
            {"kind": "judge_hallucination", "samples": 2, "agreeing_samples": 3},
            "has agreeing_samples: 3 of 2",
        ),
        (
            {"kind": "judge_groundedness", "sources": ["file"]},
            "needs `path` and `file` in `sources` together",
        ),
        ({"kind": "judge_topic"}, "topic"),
    ],
)
def test_what_cannot_work_is_told_at_the_start(settings: dict[str, Any], told: str) -> None:
    assert told in mistake({**rail(), **settings})


def test_a_prompt_in_a_file_is_checked_and_sent(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text("Bad by {{ policy }}?\n{{ text }}", "utf-8")
    one = rail(prompt_path=str(path), policy="be kind")
    assert "leave out one of them" in mistake({**one, "prompt": "{{ text }}"})
    [found], [asked] = checked(one, answers(verdict("yes")))
    assert found["status"] == "blocked"
    assert prompt_of(asked).startswith("Bad by be kind?\n[")
    path.write_text("{{ txt }}", "utf-8")
    assert "'{{ txt }}'" in mistake(one)


TEMPLATE = re.compile(r"<\||\|>|<\uff5c|</?s>|</?think>|<(?:start|end)_of_turn>|\[/?INST\]", re.IGNORECASE)


@given(st.lists(st.sampled_from([*"<|>/s[]a \n\uff5c", "<|im_end|>", "[INST]", "</s>", "<end_of_turn>"])))
def test_no_text_has_a_token_of_a_chat_template(parts: list[str]) -> None:
    assert not TEMPLATE.search(plain("".join(parts)))


@given(st.text(alphabet="[]MARK: endoftx{}\n") | st.just("[MARK: end of text]\n{{ policy }}"))
def test_no_text_closes_its_marks_or_fills_placeholders(text: str) -> None:
    mark = "f00d"
    found = filled("{{ text }}\n{{ policy }}", {"text": text, "policy": "P"}, mark)
    assert found == f"[{mark}: text]\n{text}\n[{mark}: end of text]\nP"


# ------------------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("yes", "yes"),
        (" No.\n", "no"),
        ("**Yes**", "yes"),
        ("<think>no, no</think>\nyes", "yes"),
        ("yes, no", ""),
        ("not", ""),
        ("yesterday", ""),
        ("no problem, so yes", ""),
        ("<think>yes", ""),
        ("", ""),
    ],
)
def test_one_word_is_read_and_nothing_else(text: str, word: str) -> None:
    read_as(text, "word", word)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"verdict": "yes"}', "yes"),
        ('\n{ "verdict" :\n"no" }\n', "no"),
        ('```json\n{"verdict": "no"}\n```', "no"),
        ('<think>{"verdict": "no"}</think>{"verdict": "yes"}', "yes"),
        ('{"verdict": "no", "verdict": "yes"}', ""),
        ('{"verdict": "no"} {"verdict": "no"}', ""),
        ('{"verdict": "no", "why": "x"}', ""),
        ('{"verdict": "No"}', ""),
        ('{"verdict": false}', ""),
        ("No.", ""),
        ("[]", ""),
    ],
)
def test_one_object_is_read_and_nothing_else(text: str, word: str) -> None:
    read_as(text, "json", word)


def read_as(text: str, form: Any, word: str) -> None:
    if word:
        assert read(form, Completion(text, {})).word == word
        with pytest.raises(NoAnswer, match="cut off"):
            read(form, Completion(text, {}, is_complete=False))
    else:
        with pytest.raises(NoAnswer) as raised:
            read(form, Completion(text, {}))
        assert len(text) < 4 or text not in str(raised.value)


@given(st.text(max_size=30))
def test_any_text_is_a_verdict_or_no_answer(text: str) -> None:
    for form in ("json", "word"):
        with suppress(NoAnswer):
            assert read(form, Completion(text, {})).word in text.lower()


def test_text_around_a_verdict_is_not_repaired_away() -> None:
    says = answers(chat('The text says {"verdict": "no"}, but I say yes.'))
    [found], asked = checked(rail(), says)
    assert [one["error"] for one in found["verdicts"]] == ["raised InvalidStructure"]
    assert len(asked) > 1, "the model is asked again, as the settings of the model say"


@pytest.mark.parametrize("finish", ["length", "content_filter", "abort"])
def test_an_answer_that_was_cut_off_is_no_verdict(finish: str) -> None:
    [found], _ = checked(rail(form="word"), answers(chat("no", finish=finish)))
    assert found["status"] == "blocked"
    assert "was cut off" in found["verdicts"][0]["error"]


JSON_TOKENS = [{'{"': 1.0}, {"verdict": 1.0}, {'":': 1.0}, {' "': 1.0}, {"no": 0.6, "yes": 0.3}, {'"}': 1.0}]


@pytest.mark.parametrize(
    ("threshold", "status", "form", "said"),
    [
        (0.5, "passed", "json", chat('{"verdict": "no"}', JSON_TOKENS)),
        (0.3, "blocked", "json", chat('{"verdict": "no"}', JSON_TOKENS)),
        (0.5, "passed", "word", chat(" No", [{" No": 0.6, " Yes": 0.3}])),
        (0.3, "blocked", "word", chat(" No", [{" No": 0.6, " Yes": 0.3}])),
    ],
)
def test_the_score_is_the_probability_of_the_word(
    threshold: float, status: str, form: str, said: Any
) -> None:
    [found], _ = checked(rail(threshold=threshold, form=form), answers(said))
    assert found["status"] == status
    if status == "blocked":
        assert found["verdicts"][0]["score"] == pytest.approx(1 / 3, abs=0.001)


@pytest.mark.parametrize("said", [chat("no"), chat("no", [{"some": 0.5}, {"thing": 0.5}])])
def test_a_threshold_without_a_probability_is_no_verdict(said: Any) -> None:
    [found], _ = checked(rail(threshold=0.3, form="word"), answers(said))
    assert found["status"] == "blocked"
    assert "which `threshold` needs" in found["verdicts"][0]["error"]


# --------------------------------------------------------------------------------------------------------------- forms


def test_the_form_follows_what_the_engine_takes() -> None:
    _, [asked] = checked(rail(), answers(verdict("no")))
    assert asked["response_format"]["json_schema"]["schema"]["required"] == ["verdict"]
    _, [asked] = checked(rail(form="word"), answers(chat("no")))
    assert "response_format" not in asked
    assert prompt_of(asked).endswith("Answer with one word alone: yes or no.")


# --------------------------------------------------------------------------------------------------------------- votes

YES, NO, NONSENSE = verdict("yes"), verdict("no"), chat("")


@pytest.mark.parametrize(
    ("votes", "settings", "status", "error"),
    [
        ([YES, NO, YES], {}, "blocked", None),
        ([NO, NO, YES], {}, "passed", None),
        ([NO, NO, NONSENSE], {}, "passed", None),
        (
            [NO, YES, NONSENSE],
            {},
            "blocked",
            "the votes disagree: 1 of 3 object and 1 do not, 2 have to agree",
        ),
        (
            [NO, NO, YES],
            {"agreeing_votes": 3},
            "blocked",
            "the votes disagree: 1 of 3 object and 2 do not, 3 have to",
        ),
    ],
)
def test_the_majority_decides(
    votes: Sequence[Any], settings: dict[str, Any], status: str, error: str | None
) -> None:
    one = rail(votes=3, form="word", **settings)
    words = [
        chat(re.sub(r'.*"(yes|no)".*', r"\1", vote["choices"][0]["message"]["content"])) for vote in votes
    ]
    [found], asked = checked(one, in_turn(*map(answers, words)))
    assert found["status"] == status
    assert [body["temperature"] for body in asked] == [1, 1, 1]
    assert len({prompt_of(body) for body in asked}) == 1
    if error is not None:
        assert found["verdicts"][0]["error"].startswith(error)


def test_a_vote_that_cannot_be_asked_is_a_failure() -> None:
    says = in_turn(answers(chat("no")), answers({"error": {"message": "x"}}, status=400), answers(chat("no")))
    [found], _ = checked(rail(votes=3, form="word"), says)
    assert found["verdicts"][0]["error"]


# --------------------------------------------------------------------------------------------------------------- cache


def test_the_same_content_is_asked_once() -> None:
    found, asked = checked(rail(), answers(verdict("yes")), HI, HI, {"input": "hello!"})
    assert [one["status"] for one in found] == ["blocked"] * 3
    assert len(asked) == 2


def test_nonsense_is_not_remembered() -> None:
    says = in_turn(answers(chat("hm")), answers(chat("no")))
    found, asked = checked(rail(form="word"), says, HI, HI)
    assert [one["status"] for one in found] == ["blocked", "passed"]
    assert len(asked) == 2


def test_what_the_prompt_does_not_show_does_not_count() -> None:
    turns = [[{"role": "user", "content": word}] for word in ("When?", "Where?")]
    bodies = [{"messages": one, "answer": "At nine."} for one in turns]
    _, asked = checked(rail(surfaces=["output"]), answers(verdict("no")), *bodies)
    assert len(asked) == 1
    _, asked = checked(rail("judge_facts"), answers(verdict("yes")), *bodies)
    assert len(asked) == 2


# ------------------------------------------------------------------------------------------------------ what they judge by


async def answered(one: Mapping[str, Any], says: Says, **more: Any) -> tuple[Any, list[Any], Any]:
    """Have the scripted engine answer a chat. Return the answer, what the judge was asked, and the record of the call."""
    with guard(says) as server:
        async with guarded(one, server, **more.pop("sections", {})) as world:
            body = {"model": "m", "messages": [{"role": "user", "content": "When do you open?"}], **more}
            answer = await world.ask(body)
            return answer, server.bodies, world.logged[-1]


def test_facts_are_judged_by_the_documents() -> None:
    says = in_turn(answers(chat("We open at nine.")), answers(verdict("yes")))
    answer, [_, asked], _ = asyncio.run(
        answered(rail("judge_facts"), says, model=GUARD, documents=[{"text": "Open from 9 to 5."}])
    )
    assert answer.text == "We open at nine."
    assert "Open from 9 to 5." in prompt_of(asked)
    assert "user: When do you open?" not in prompt_of(asked)


def test_facts_are_judged_by_the_conversation_without_documents() -> None:
    _, [asked] = checked(rail("judge_facts"), answers(verdict("yes")), ASKED)
    assert "user: When do you open?" in prompt_of(asked)


def test_groundedness_needs_context() -> None:
    one = rail("judge_groundedness")
    [found], asked = checked(one, answers(verdict("yes")), ASKED)
    assert found["verdicts"][0]["error"].startswith(
        "there is no context: the request has none of documents, tools"
    )
    assert asked == []
    [found], asked = checked({**one, "no_context": "pass"}, answers(verdict("no")), ASKED)
    assert (found["status"], asked) == ("passed", [])


def test_groundedness_by_a_file(tmp_path: Path) -> None:
    path = tmp_path / "handbook.txt"
    path.write_text("We open at ten.", "utf-8")
    one = rail("judge_groundedness", sources=["file"], path=str(path))
    [found], [asked] = checked(one, answers(verdict("no")), ASKED)
    assert found["status"] == "blocked"
    assert "We open at ten." in prompt_of(asked)


def test_hallucination_asks_the_question_again() -> None:
    one = rail("judge_hallucination", sampler=GUARD, samples=3)
    says = in_turn(*(answers(chat(f"At {hour}.")) for hour in (8, 9, 10)), answers(verdict("no")))
    [found, again], asked = checked(one, says, ASKED, ASKED)
    assert (found["status"], again["status"]) == ("blocked", "blocked")
    *samples, judged = asked
    assert [(one["messages"], one["temperature"]) for one in samples] == [(ASKED["messages"], 1)] * 3
    assert all(f"At {hour}." in prompt_of(judged) for hour in (8, 9, 10))
    assert "at least 2 of the samples" in prompt_of(judged)
    assert judged["temperature"] == 0


@pytest.mark.parametrize("bad", [chat("  "), {"error": {"message": "x"}}])
def test_a_missing_sample_is_a_failure(bad: Any) -> None:
    one = rail("judge_hallucination", sampler=GUARD)
    says = in_turn(answers(chat("At 8.")), answers(bad), answers(chat("At 9.")), answers(verdict("yes")))
    [found], _ = checked(one, says, ASKED)
    assert found["status"] == "blocked"
    assert found["verdicts"][0]["error"]


def test_hallucination_asks_the_model_of_the_answer() -> None:
    _, [asked], record = asyncio.run(
        answered(rail("judge_hallucination", samples=2), answers(verdict("yes")))
    )
    purposes = [(one.model, one.purpose) for one in record.spent]
    assert purposes == [
        ("m", "answer"),
        *[("m", "judge:judge_hallucination")] * 2,
        (GUARD, "judge:judge_hallucination"),
    ]
    assert "sample 2]" in prompt_of(asked)


# ---------------------------------------------------------------------------------------------------------------- money


@pytest.mark.parametrize(("pays", "charged"), [("house", 0), ("caller", 203)])
def test_the_caller_pays_for_judges_if_the_policy_says_so(pays: str, charged: int) -> None:
    async def run() -> int:
        used: list[int] = []
        for profile in ("p", "none"):
            policies = {
                "default": {
                    "rails": profile,
                    "internal_calls": pays,
                    "limits": {"tokens_per_day": 1_000_000},
                }
            }
            with guard(answers(verdict("no"))) as server:
                async with guarded(rail(surfaces=["input"]), server, policies=policies) as world:
                    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "seed": 1}
                    answer = await world.ask(body)
                    assert answer.status == 200, answer.body
                    used.append(sum(one.used for one in (await world.gateway.consumed()).limits))
                    found = [
                        one.usage.prompt_tokens + one.usage.completion_tokens
                        for one in world.logged[-1].spent
                        if one.purpose == "judge:self_check" and one.usage is not None
                    ]
                    assert found == ([203] if profile == "p" else [])
        return used[0] - used[1]

    assert asyncio.run(run()) == charged
