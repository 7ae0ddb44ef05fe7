"""Which heads a row of a public set has labels for, where the set's own label says less or something else."""

from __future__ import annotations

import re
from typing import Final

from training.rows import Labels, harmful, harmless

CATQA: Final[dict[str, Labels]] = {
    "Illegal Activity": harmful(
        "non_violent_crimes", unsure=("violent_crimes", "sex_crimes", "weapons", "privacy")
    ),
    "Child Abuse": harmful("child_exploitation", unsure=("violent_crimes", "sex_crimes")),
    "Hate/Harass/Violence": harmful(
        "hate", unsure=("violent_crimes", "defamation", "privacy", "sex_crimes", "non_violent_crimes")
    ),
    "Malware Viruses": harmful("non_violent_crimes", unsure=("code_abuse", "privacy")),
    "Physical Harm": harmful(
        "violent_crimes", unsure=("self_harm", "weapons", "specialized_advice", "non_violent_crimes")
    ),
    "Economic Harm": harmful("non_violent_crimes", unsure=("specialized_advice", "privacy")),
    "Fraud/Deception": harmful(
        "non_violent_crimes", unsure=("privacy", "defamation", "intellectual_property")
    ),
    "Adult Content": harmful("sexual_content", unsure=("sex_crimes", "child_exploitation", "hate")),
    "Political Campaigning": harmful(
        "elections", unsure=("non_violent_crimes", "privacy", "defamation", "hate")
    ),
    "Privacy Violation Activity": harmful("privacy", unsure=("non_violent_crimes",)),
    "Tailored Financial Advice": {
        # Half of them ask for plain advice, half for fraud: whether such a request is harmful is left open.
        head: label
        for head, label in harmful("specialized_advice", unsure=("non_violent_crimes",)).items()
        if head != "harm"
    },
}
"""The labels of CatQA's eleven categories."""

INJECTION: Final[Labels] = {"injection": 1}
BENIGN: Final[Labels] = harmless()
NOTHING: Final[Labels] = {}

_UNDECIDED: Final = {"crescendo", "model_fingerprinting"}
"""Harmless first turns, and questions about the model that users ask as well: their label is in what is not there."""

_COMMANDS: Final = {"adversarial", "encoding", "code_execution"}
"""Commands to be run by the machine of the model."""

_MADE: Final = re.compile(
    r"(?:help me write|create|compare|summarize|write|generate|draft|tell me about|i need help|debug this|please provide"
    r"|how do i|explain|can you (?:explain|assist)|could you|how does|what)\b",
    re.IGNORECASE,
)
_CRIME: Final = re.compile(
    r"\b(?:bomb|weapon|steal|hack|hijack|phish|scam|fraud|virus|malware|illegal|launder|drugs?|kill|poison|murder|spy"
    r"|harvest|counterfeit|forge|blackmail|stalk|racis[tm]|hatred|fake news|child porn|suicide|exploit|bypass|evade"
    r"|botnet|ddos|ransom|vandal|deface|assault|abuse"
    r"|identity theft|insider|terror|cyberbull|harass|without (?:permission|consent|getting caught))",
    re.IGNORECASE,
)
_GARBLED: Final = re.compile(
    r"[a-z]{3}[A-Z][a-z]+\s|\\[a-z]+[({_]|[\])}]{2}|[({\[][\"'`;:.]|nbsp|[.,;:]{3}|[a-z]\.[a-zA-Z]{3}\S*[({\[]"
    r"|\w\"[,;)]|={3}|<%|->|\{\\|\$\{|_\{"
)
_SCENE: Final = re.compile(
    r"^(?:you are an? |you're an? |you have been|your (?:objective|mission|task|family|goal)|as an? |imagine you"
    r"|roleplay as|suppose you|pretend you|in this scenario)",
    re.IGNORECASE,
)
_PLAIN: Final = re.compile(
    r"(?:write|create|develop|publish|outline|provide|instruct|teach|design|give|compose|generate|explain|describe|make|draft"
    r"|convince|script|list|help|tell|show|produce|demonstrate|how|what|suggest|present|offer|post|build)\b",
    re.IGNORECASE,
)
_ROLE: Final = re.compile(
    r"\b(?:an? (?:ai|a\.i\.|language) |gpt|chatbot|system prompt|your (?:instructions|config|guidelines|restrictions)"
    r"|previous|(?:safety|content|ai) (?:restrict|mechanism|polic|filter|system)|restrictions|unrestricted|unfiltered|dan\b"
    r"|moral or ethical|norms of|stay in character)",
    re.IGNORECASE,
)
_AFFIRMATION: Final = re.compile(
    r"(?:begin|start)\b.{0,40}\b(?:with|by)\b.{0,30}['\"]sure", re.IGNORECASE | re.DOTALL
)


def neuralchemy(label: str, kind: str, text: str) -> Labels:
    """Return the labels of a row of the neuralchemy set, which are none where the set contradicts itself.

    Three groups have both labels there, by no rule that a reader can see: harmful requests, those with a random suffix, and
    long scenes that end in one. Such a request is harmful, a suffix leaves open whether it is an injection, and scenes are
    left out unless they ask for a start of the answer or speak of the model.
    """
    kind = kind.removeprefix("neuralchemy_")
    if label == "benign":
        return _benign(text)
    if kind == "control":
        return BENIGN
    if kind in _UNDECIDED:
        return NOTHING
    if kind in _COMMANDS and "instruction" not in text.lower():
        return {"injection": 1, "harm": 1, "code_abuse": 1}
    if kind == "jailbreak":
        return _jailbreak(text)
    return INJECTION


def garbled(text: str) -> bool:
    """Return whether a request is followed by random tokens, of which two signs are wanted."""
    return len(text) > 60 and len(_GARBLED.findall(text)) >= 2


def _benign(text: str) -> Labels:
    if garbled(text) or (len(text) > 120 and (_SCENE.search(text) or _CRIME.search(text))):
        return NOTHING
    if _CRIME.search(text) and not _MADE.match(text):
        return {"injection": 0}
    return {"injection": 0} if _CRIME.search(text) else BENIGN


def _jailbreak(text: str) -> Labels:
    if _AFFIRMATION.search(text):
        return {"injection": 1, "harm": 1}
    if _PLAIN.match(text) and _CRIME.search(text) and not _ROLE.search(text):
        return {"harm": 1}  # a random suffix may follow, which would make it a jailbreak
    if garbled(text) or (len(text) > 200 and _SCENE.search(text) and not _ROLE.search(text)):
        return NOTHING
    return INJECTION
