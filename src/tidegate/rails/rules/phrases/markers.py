"""Marks that only a gateway, an engine or an attacker writes, as patterns on the text with its spaces and punctuation."""

from __future__ import annotations

from typing import Final, NamedTuple

from tidegate.rails.rules.phrases.grammar import EXFILTRATION, HIGH, JAILBREAK, LOW, MARKERS, MEDIUM


class Marker(NamedTuple):
    """A pattern in RE2's syntax, in which case does not count, with what it means and how sure that is."""

    category: str
    score: float
    source: str


_ROLE: Final = r"(?:system|developer|assistant|user|human|tool)"
_SYSTEM: Final = r"(?:system|developer)"

EVERY: Final = (
    # The marks between turns of ChatML, Llama, Mistral, Gemma, Phi and others, followed by a role or an order.
    Marker(MARKERS, HIGH, rf"<\|\s*im_start\s*\|>\s*{_SYSTEM}\b"),
    Marker(MARKERS, HIGH, rf"<\|\s*start_header_id\s*\|>\s*{_SYSTEM}\b"),
    Marker(MARKERS, HIGH, rf"<\|\s*{_SYSTEM}\s*\|>"),
    Marker(MARKERS, HIGH, rf"<\|(?:im_end|eot_id|endoftext|end|end_of_turn)\|>\s*<\|[a-z_]+\|>\s*{_ROLE}?"),
    Marker(MARKERS, HIGH, r"\[/INST\]\s*\[INST\]|<</?SYS>>\s*\S"),
    Marker(MARKERS, HIGH, rf"<start_of_turn>\s*{_SYSTEM}\b"),
    Marker(MARKERS, HIGH, r"\[system\]\s*\(#[a-z_]+\)"),
    Marker(
        MARKERS,
        HIGH,
        r"-{2,}\s*(?:begin|start|new|end)\s+(?:of\s+)?(?:the\s+)?system\s+(?:prompt|message)\s*-{2,}",
    ),
    Marker(
        MARKERS,
        HIGH,
        r"#{2,}\s*end\s+of\s+(?:user\s+)?(?:input|prompt|message)s?\s*#*\s*(?:#{2,}\s*)?system\b",
    ),
    Marker(
        MARKERS,
        HIGH,
        r"(?:-{2,}|#{2,}|={2,}|\]|\")\s*end\s+of\s+(?:user|the\s+user'?s?)\s+(?:input|prompt|message|query)",
    ),
    Marker(
        MARKERS,
        MEDIUM,
        r"<\|(?:im_start|im_end|start_header_id|end_header_id|eot_id|endoftext|begin_of_text)\|>",
    ),
    Marker(MARKERS, MEDIUM, r"\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>"),
    Marker(MARKERS, MEDIUM, rf"</?{_SYSTEM}(?:[_ -](?:prompt|message|instructions?|override))?>"),
    Marker(
        MARKERS,
        MEDIUM,
        rf"[\[({{]\s*{_SYSTEM}\s*(?:prompt|message|override|note|instructions?)?\s*[\])}}]\s*:?",
    ),
    Marker(MARKERS, MEDIUM, r"\bsystem[ _]?override\b"),
    Marker(MARKERS, LOW, rf"(?m)^\s*(?:#+\s*)?{_ROLE}\s*:"),
    Marker(MARKERS, LOW, r"(?m)^#+\s*(?:system|instructions?|new instructions?)\s*:?\s*$"),
    # An image that loads a text of the chat from elsewhere.
    Marker(
        EXFILTRATION,
        HIGH,
        r"!\[[^\]]{0,80}\]\(\s*https?://[^)\s]{1,200}[?&/=](?:[^)\s]{0,80}=)?(?:\{\{?|%7b|\[|<|\$\{)\s*[a-z_ ]{0,40}"
        r"(?:data|secret|conversation|history|prompt|message|password|key|token|context|summary|content|email)",
    ),
    # Personas that are known by name.
    Marker(
        JAILBREAK,
        HIGH,
        r"\b(?:you(?:'re| are)|as|act(?:ing)? (?:as|like)|called|be|become|named)\s+(?:now\s+)?[\"']?(?-i:DAN|D\.A\.N\.)\b",
    ),
    Marker(JAILBREAK, HIGH, r"(?-i:\[?\bDAN\]?:)\s"),
    Marker(JAILBREAK, MEDIUM, r"(?-i:\bDAN\b)|\bjailbreak(?:s|ed|ing)?\b"),
    Marker(
        JAILBREAK,
        HIGH,
        r"\[[^\]\n]{0,12}(?:jailbreak|jailbroken|developer mode output)[^\]\n]{0,12}\]|\(.{0,3}developer mode output\)",
    ),
)
