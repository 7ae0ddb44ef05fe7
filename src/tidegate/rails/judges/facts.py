"""Facts: whether the evidence that a conversation has supports an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tidegate.rails.asked.asking import NoAnswer
from tidegate.rails.asked.conversation import Turn, results_in
from tidegate.rails.judges.answering import NO
from tidegate.rails.judges.judging import Judge, JudgeConfig, Values, facts_of_answers, question_in, talk_in
from tidegate.types import Scene


class FactsConfig(JudgeConfig):
    """Settings of the rail `judge_facts`."""


class Facts(Judge):
    """Asks whether the evidence supports an answer. `no` objects.

    The evidence are the documents of the request and the results of tools, or else the conversation.
    """

    Config: ClassVar[type[FactsConfig]] = FactsConfig
    about = facts_of_answers("judge_facts")
    category = "ungrounded"
    objects = NO
    default_prompt = (
        "This is evidence:\n\n{{ context }}\n\nThis question was asked:\n\n{{ question }}\n\n"
        "This was answered:\n\n{{ text }}\n\n"
        "Is every fact that the answer states supported by the evidence? An answer that states no facts is supported."
    )

    def values(self, turns: Sequence[Turn], scene: Scene) -> Values:
        """See `Judge.values`."""
        evidence = (*scene.context, *results_in(scene.messages)) or talk_in(turns)
        if not evidence:
            raise NoAnswer("there is no evidence: the request has no documents and no conversation")
        return {"question": question_in(turns, scene), "context": evidence}
