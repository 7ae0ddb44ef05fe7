"""The support bot: each of 200 scripted answers ends as its label says, and no case is lost when the gateway is killed."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from railed.world import Step, Told, says
from serving import PATIENCE_S, Answer, Running, ask, run_gateway, serve

from stories.examples import EXAMPLES, module_of
from tidegate.runtime import Runtime
from tidegate.types import Ask

script: Any = module_of("support_bot", "conversations")
CONVERSATIONS = script.conversations()
REFUSAL = "I can't answer that here. Please write to support@example.com."
TOKEN = "reviewer-0123456789abcdef"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The configuration of the story on a free port, with its cases in a folder of the test."""
    monkeypatch.setenv("ADMIN_TOKEN", TOKEN)
    monkeypatch.setenv("REVIEWS", str(tmp_path / "reviews.db"))
    folder = EXAMPLES / "support_bot"
    text = (
        (folder / "tidegate.yaml").read_text("utf-8").replace("classifier.py", str(folder / "classifier.py"))
    )
    # On a busy machine the classifier of so many calls at once would not fit into the budget of production.
    text = text.replace("\nrails:\n", "\nrails:\n  budget_ms: 60000\n")
    return f"{text}server: {{port: 0}}\n"


class Bot(Told):
    """Says what the script says: the second answer where the gateway has asked again."""

    def __init__(self) -> None:
        super().__init__()
        by_question = {one.question: one for one in CONVERSATIONS}

        def steps(asked: Ask) -> Iterable[Step]:
            *before, last = [str(one.content) for one in asked.messages]
            asked_again = bool(before)
            answers = by_question[before[0] if asked_again else last].answers
            return says(*answers[-1 if asked_again else 0].split(sep="\n"), usage=True)(asked)

        self.says = steps


def chat(url: str, question: str, **more: Any) -> Answer:
    fields = {"model": "support", "messages": [{"role": "user", "content": question}], **more}
    return ask(f"{url}/v1/chat/completions", json.dumps(fields).encode())


def text_of(answer: Answer) -> str:
    text: str = answer.json["choices"][0]["message"]["content"]
    return text


def cases(url: str, **query: str) -> list[dict[str, Any]]:
    """The open cases, as a reviewer sees them."""
    more = "".join(f"&{name}={value}" for name, value in query.items())
    answer = ask(f"{url}/admin/reviews?limit=1000{more}", headers=bearer(), method="GET")
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json["cases"]
    return found


def decide(url: str, case: dict[str, Any], action: str, **more: str) -> None:
    body = json.dumps({"action": action, **more}).encode()
    answer = ask(f"{url}/admin/reviews/{case['id']}/decision", body, bearer())
    assert answer.status == 200, answer.body


def bearer() -> dict[str, str]:
    return {"authorization": f"Bearer {TOKEN}"}


@contextmanager
def reviewing(url: str) -> Iterator[list[str]]:
    """A person who decides about each case as the script says. The list has the questions of the cases."""
    by_question = {one.question: one for one in CONVERSATIONS}
    over, seen = threading.Event(), list[str]()

    def work() -> None:
        while not over.wait(0.02):
            for case in cases(url):
                one = by_question[case["question"]].review
                assert one is not None, f"a case that no label expects: {case['text']}"
                seen.append(case["question"])
                more = {"text": one.text} if one.text is not None else {}
                decide(url, case, one.action, reason=one.reason, **more)

    with ThreadPoolExecutor(1) as people:
        working = people.submit(work)
        try:
            yield seen
        finally:
            over.set()
        working.result(PATIENCE_S)


@pytest.fixture
def running(config: str) -> Iterator[tuple[Running, Bot]]:
    bot = Bot()
    with run_gateway(config, Runtime(make=lambda name, settings: bot)) as gateway:
        yield gateway, bot


def end_of(one: Any, answer: Answer) -> str:
    """How a conversation has ended, by what its client got."""
    rails, text = answer.headers["x-tidegate-rails"], text_of(answer)
    if text == REFUSAL and answer.json["choices"][0]["finish_reason"] == "content_filter":
        return "blocked"
    if "x-tidegate-review" in answer.headers:
        assert one.review is not None
        action = answer.headers["x-tidegate-review"].partition(";")[2]
        return (
            "reviewed" if (action, text) == (one.review.action, one.review.text or one.answers[1]) else text
        )
    if "regenerate" in rails:
        return "regenerated" if text == one.answers[1] else text
    return "released" if text == one.answers[0] else text


def test_there_are_200_conversations_of_every_kind() -> None:
    assert len({one.question for one in CONVERSATIONS}) == 200
    assert Counter(one.ends for one in CONVERSATIONS) == {
        "released": 90,
        "regenerated": 50,
        "reviewed": 35,
        "blocked": 25,
    }


def test_each_conversation_ends_as_its_label_says(running: tuple[Running, Bot]) -> None:
    gateway, bot = running
    with reviewing(gateway.url) as seen, ThreadPoolExecutor(40) as clients:
        answers = list(clients.map(lambda one: chat(gateway.url, one.question), CONVERSATIONS))
    wrong = {
        one.answers: (one.ends, end)
        for one, answer in zip(CONVERSATIONS, answers, strict=True)
        if (end := end_of(one, answer)) != one.ends
    }
    assert wrong == {}
    assert sorted(seen) == sorted(one.question for one in CONVERSATIONS if one.review)
    asked = Counter(one.messages[0]["content"] for one in bot.asked)
    assert {one.question: asked[one.question] for one in CONVERSATIONS} == {
        one.question: len(one.answers) for one in CONVERSATIONS
    }
    assert cases(gateway.url) == []
    assert len(cases(gateway.url, state="decided")) == 50


def test_the_edit_of_a_reviewer_reaches_the_client_that_waits(running: tuple[Running, Bot]) -> None:
    gateway, _ = running
    one = next(one for one in CONVERSATIONS if one.review and one.review.action == "edit")
    with ThreadPoolExecutor(1) as clients:
        waiting = clients.submit(chat, gateway.url, one.question, stream=True)
        [case] = until_there_are(1, gateway.url)
        assert case["text"] == one.answers[1]
        assert not waiting.done()
        decide(gateway.url, case, "edit", text="A colleague has looked at it: you get an answer on Monday.")
        body = waiting.result(PATIENCE_S).body
    assert b"you get an answer on Monday" in body
    assert one.answers[0].encode() not in body
    assert one.answers[1].encode() not in body


def test_no_case_is_lost_when_the_gateway_is_killed(config: str) -> None:
    questions = [f"Where is my parcel {n}?" for n in range(8)]
    with ThreadPoolExecutor(len(questions)) as clients, serve(config) as process:
        waiting = [clients.submit(chat, process.url, one) for one in questions]
        before = until_there_are(len(questions), process.url)
        process.popen.kill()
        process.popen.wait()
        for one in waiting:
            with pytest.raises(OSError):
                one.result(PATIENCE_S)
    with run_gateway(config) as gateway:  # another one, with the same file
        after = cases(gateway.url, state="all")
        assert sorted(one["question"] for one in after) == questions
        assert after == before
        decide(gateway.url, after[0], "edit", text="It is at the harbour.")
        assert len(cases(gateway.url)) == len(questions) - 1


def test_the_page_shows_the_rails_of_the_example() -> None:
    page = (EXAMPLES.parent / "docs" / "stories.md").read_text("utf-8")
    [shown] = map(yaml.safe_load, re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    config = yaml.safe_load((EXAMPLES / "support_bot" / "tidegate.yaml").read_text("utf-8"))
    [there, here] = [one["rails"]["profiles"]["support"] for one in (config, shown)]
    assert here == {name: there[name] for name in here}
    assert shown["review"] == {name: config["review"][name] for name in shown["review"]}


def until_there_are(count: int, url: str) -> list[dict[str, Any]]:
    """Wait for so many open cases."""
    ends_at = time.monotonic() + PATIENCE_S
    while len(found := cases(url)) < count:
        assert time.monotonic() < ends_at, f"there are only {len(found)} cases"
        time.sleep(0.02)
    return found
