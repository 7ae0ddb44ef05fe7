"""The shape of one message: in a request, and with small differences in an answer.

The members are those of OpenAI's messages, and what vLLM, SGLang, llama.cpp, Mistral, DeepSeek, OpenRouter and LiteLLM add
to them. Pictures, sounds and files are not text, and pass. The part's `type` does not matter: the text of every part is
listed under the name that it has.
"""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.forms.shapes import (
    CODE,
    ECHO,
    EVERY,
    HARMLESS,
    JSON_WORDS,
    VALUES,
    WORDS,
    ByType,
    Called,
    Keys,
    Many,
    Shape,
)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ARGUMENTS = ByType(text=JSON_WORDS, members=EVERY)
_FUNCTION = Keys({"name": WORDS, "arguments": _ARGUMENTS, "description": WORDS})
_THOUGHT = Keys({"google": Keys({"thought": HARMLESS, "thought_signature": HARMLESS})})
_TOOL_CALL = Keys(
    {
        "id": CODE,
        "type": CODE,
        "index": HARMLESS,
        "function": _FUNCTION,
        "custom": Keys({"name": WORDS, "input": WORDS}),
        "extra_content": _THOUGHT,
    }
)
_FILE = Keys({"filename": WORDS, "file_id": CODE, "file_data": HARMLESS, "format": CODE})
_AUDIO = ByType(
    text=HARMLESS,
    members=Keys({"id": CODE, "data": HARMLESS, "expires_at": HARMLESS, "format": CODE, "transcript": WORDS}),
)
_PICTURES = _names("image_url image input_image image_pil image_embeds images video_url input_video video")
_SOUNDS = _names("audio_url input_audio audio_embeds")
_FOUND = _names(
    "annotations citations context executed_tools reasoning_steps grounding_metadata provider_specific_fields"
)
"""What a provider's own tools have found and done."""
_MEDIA: Mapping[str, Shape] = dict.fromkeys(_PICTURES | _SOUNDS, HARMLESS)


def _content(*, joined: bool) -> Shape:
    """Return the shape of a content: a text, or a list of parts, which may be thoughts with parts of their own.

    If `joined`, the texts of the parts are one text, as clients that show an answer join them.
    """
    by = "nothing" if joined else "position"
    through = frozenset({"text"}) if joined else frozenset[str]()
    plain: dict[str, Shape] = {
        "type": CODE,
        "text": WORDS,
        "refusal": WORDS,
        "signature": HARMLESS,
        "encrypted": HARMLESS,
        "cache_control": CODE,
        "uuid": CODE,
        "file": _FILE,
        "audio": _AUDIO,
        "citations": VALUES,
        "annotations": VALUES,
        "document": VALUES,
        "source": VALUES,
        "title": WORDS,
        "context": WORDS,
        "reference_ids": HARMLESS,
        **_MEDIA,
    }
    thoughts = Many(ByType(text=WORDS, members=Keys({**plain, "thinking": WORDS}, through=through)), by=by)
    inner = ByType(text=WORDS, items=thoughts)
    kinds = dict.fromkeys(("thinking", "reasoning", "content", "summary"), inner)
    part = Keys({**plain, **kinds}, through=through)
    return ByType(text=WORDS, items=Many(ByType(text=WORDS, members=part), by=by))


def _members(content: Shape, *, calls: str) -> dict[str, Shape]:
    """Return the members of a message. `calls` says how its tool calls are numbered: see `Many`."""
    details = Keys(
        {
            "type": CODE,
            "id": CODE,
            "format": CODE,
            "index": HARMLESS,
            "text": WORDS,
            "summary": WORDS,
            "thinking": WORDS,
            "data": HARMLESS,
            "signature": HARMLESS,
        }
    )
    return {
        "role": CODE,
        "content": content,
        "reasoning_content": content,
        "reasoning": content,
        "thinking": content,
        "reasoning_details": Many(details, by=calls),
        "thinking_blocks": Many(details, by=calls),
        "refusal": WORDS,
        "name": WORDS,
        "id": CODE,
        "type": CODE,
        "tool_call_id": CODE,
        "tool_calls": Many(_TOOL_CALL, by=calls),
        "function_call": _FUNCTION,
        **dict.fromkeys(_FOUND, VALUES),
        "audio": _AUDIO,
        "images": HARMLESS,
        "extra_content": _THOUGHT,
        "cache_control": CODE,
        "signature": HARMLESS,
    }


MESSAGE = Keys({**_members(_content(joined=False), calls="position"), "tools": EVERY, "documents": EVERY})
"""A message of a request."""

_ECHOES = {"token_ids": ECHO, "prompt_token_ids": ECHO, "logprobs": ECHO}
WHOLE = ByType(
    text=Called("content", WORDS),
    members=Keys({**_members(_content(joined=True), calls="position"), **_ECHOES}),
)
"""The `message` of an answer. Some engines send a text in its place."""
DELTA = ByType(
    text=Called("content", WORDS),
    members=Keys({**_members(_content(joined=True), calls="index"), **_ECHOES}),
)
"""The `delta` of a choice in a stream. Its tool calls have the number that they have in the whole stream."""
