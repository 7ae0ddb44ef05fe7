"""Messages in the chat template of Llama 3.1, for servers that take whole prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def llama_prompt(messages: Sequence[Mapping[str, str]]) -> str:
    """Return the prompt for an answer to some messages.

    The server puts the token that begins every text before it. The lines with dates that the template of Llama 3.1 adds to
    the system message are left out: they have nothing to do with the tasks of guards.
    """
    said = "".join(_headed(message["role"], f"{message['content']}<|eot_id|>") for message in messages)
    return said + _headed("assistant", "")


def _headed(role: str, text: str) -> str:
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}"
