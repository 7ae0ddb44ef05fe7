"""The places of text in requests: the messages, and the other fields of each endpoint.

Every field that an engine may accept is named here: with the shape of its texts, or among those that have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import msgspec

from tidegate.errors import BadRequest
from tidegate.forms.messages import MESSAGE
from tidegate.forms.paths import Path, rewritten, step
from tidegate.forms.shapes import (
    CODE,
    EVERY,
    UNKNOWN,
    WORDS,
    Finds,
    Keys,
    Part,
    Shape,
    Unlisted,
    carries_text,
    gathered,
    replacing,
    said_in,
)
from tidegate.kernel.repeated import repeats_key
from tidegate.types import Endpoint, Message, Messages, Surface, Text, Where, joined

Fields = Mapping[str, msgspec.Raw]


class Place(NamedTuple):
    """The texts of one field: who wrote them, and where they stand."""

    surface: Surface
    shape: Shape


_TOKENS = (
    "it has token ids, which only the engine can read; send text instead (LangChain does so with"
    " `check_embedding_ctx_length=False`), or have the operator set `rails: none` in the policy"
)


class _Prompt:
    """A prompt, or a list of prompts. Token ids are refused, because only the engine can read them."""

    def find(self, value: Any, path: Path, channel: str, finds: Finds) -> None:
        prompts = cast("list[Any]", value) if isinstance(value, list) else None
        if prompts is None or not all(isinstance(one, str) for one in prompts):
            if prompts:
                raise Unlisted(channel, _TOKENS)
            WORDS.find(value, path, channel, finds)
            return
        for at, one in enumerate(prompts):
            WORDS.find(one, (*path, at), f"{channel}[{at}]", finds)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _places(surface: Surface, shape: Shape, names: str) -> dict[str, Place]:
    return dict.fromkeys(names.split(), Place(surface, shape))


_CODES = _places(
    Surface.SYSTEM,
    CODE,
    """
    reasoning_effort verbosity modalities audio service_tier moderation prompt_cache_key prompt_cache_options
    prompt_cache_retention safety_identifier encoding_format reasoning_format samplers stream_options thinking
    """,
)
"""Choices from a list, and ids. What looks like a sentence in them is a text all the same."""
_CONSTRAINTS = _places(
    Surface.SYSTEM,
    EVERY,
    """
    response_format structured_outputs guided_json guided_regex guided_choice guided_grammar regex ebnf grammar json_schema
    """,
)
"""What the answer has to look like. Some engines put it into the prompt."""
_SHARED = {**_CODES, **_CONSTRAINTS, "user": Place(Surface.SYSTEM, WORDS)}

_CHAT = {
    **_SHARED,
    **_places(Surface.SYSTEM, EVERY, "tools tool_choice functions function_call web_search_options metadata"),
    "documents": Place(Surface.RETRIEVAL, EVERY),
    "prediction": Place(Surface.INPUT, Keys({"type": CODE, "content": MESSAGE.shapes["content"]})),
}
_COMPLETIONS = {
    **_SHARED,
    "prompt": Place(Surface.INPUT, _Prompt()),
    "suffix": Place(Surface.INPUT, WORDS),
}
_EMBEDDINGS = {**_SHARED, "input": Place(Surface.INPUT, _Prompt())}

_CHECKS = {
    "input": Place(Surface.INPUT, _Prompt()),
    "answer": Place(Surface.OUTPUT, WORDS),
    "profile": Place(Surface.SYSTEM, CODE),
    "user": Place(Surface.SYSTEM, WORDS),
}

PLACES: Mapping[Endpoint, Mapping[str, Place]] = {
    Endpoint.CHAT: _CHAT,
    Endpoint.COMPLETIONS: _COMPLETIONS,
    Endpoint.EMBEDDINGS: _EMBEDDINGS,
    Endpoint.CHECKS: _CHECKS,
}
"""The fields with text, for each endpoint. `messages` is apart: see `MESSAGE`."""

WITHOUT_TEXT = _names("""
    model stream max_tokens max_completion_tokens temperature top_p n presence_penalty frequency_penalty logit_bias
    seed logprobs top_logprobs parallel_tool_calls store echo best_of dimensions top_k min_p ignore_eos repetition_penalty
    length_penalty min_tokens stop_token_ids include_stop_str_in_output skip_special_tokens spaces_between_special_tokens
    truncate_prompt_tokens prompt_logprobs allowed_token_ids use_beam_search return_token_ids return_tokens_as_token_ids
    add_special_tokens add_generation_prompt continue_final_message include_reasoning thinking_token_budget no_stop_trim
    return_cached_tokens_details return_spec_tokens_details separate_reasoning stream_reasoning return_prompt_token_ids
    n_predict min_keep typical_p top_n_sigma xtc_probability xtc_threshold repeat_penalty repeat_last_n dynatemp_range
    dynatemp_exponent dry_multiplier dry_base dry_allowed_length dry_penalty_last_n mirostat mirostat_tau mirostat_eta
    adaptive_target adaptive_decay n_probs post_sampling_probs n_indent cache_prompt t_max_predict_ms timings_per_token
    return_progress return_tokens reasoning_budget_tokens
""") | _names("stop stop_regex bad_words dry_sequence_breakers")
"""The fields that have no text, and four with strings that only the sampler compares with the answer."""

_SURFACES = {
    "system": Surface.SYSTEM,
    "developer": Surface.SYSTEM,
    "user": Surface.INPUT,
    "assistant": Surface.INPUT,
    "tool": Surface.TOOL,
    "function": Surface.TOOL,
}


class Found(NamedTuple):
    """A text of a request, and its parts in the message or in the field."""

    text: Text
    parts: list[Part]


def texts_in(endpoint: Endpoint, fields: Fields, messages: Sequence[Message]) -> list[Text]:
    """See `Form.texts_in`."""
    texts: list[Text] = []
    for at, raw in enumerate(_raws(messages)):
        message = _decoded(raw, f"messages[{at}]")
        role, content = message.get("role"), message.get("content")
        if len(message) == 2 and type(content) is str and role in _SURFACES:  # as most messages are
            if content:
                texts.append(Text(Where(at, "content"), _SURFACES[role], content, role))
        else:
            texts += [found.text for found in _in_message(at, message)]
    for name, raw in fields.items():
        if name not in WITHOUT_TEXT and name != "messages":
            texts += [found.text for found in _in_field(endpoint, name, raw)]
    return texts


def put_in(
    endpoint: Endpoint, fields: Fields, messages: Sequence[Message], changed: Mapping[Where, str]
) -> tuple[Fields, Sequence[Message]]:
    """See `Form.put_in`."""
    if not changed:
        return fields, messages
    new_fields, new_messages, left = dict(fields), list(messages), dict(changed)
    touched = False
    for at in sorted({where.at for where in changed if where.at >= 0}):
        raw = new_messages[at].raw
        new = _put(raw, _in_message(at, _decoded(raw, f"messages[{at}]")), left)
        if new is not raw:
            new_messages[at], touched = Message.read(new), True
    if touched:
        new_fields["messages"] = joined(new_messages)
    for name in {_field_of(where.channel) for where in changed if where.at < 0}:
        new_fields[name] = _put(fields[name], _in_field(endpoint, name, fields[name]), left)
    if left:
        raise KeyError(next(iter(left)))
    return new_fields, new_messages


def _put(raw: msgspec.Raw, found: Iterable[Found], left: dict[Where, str]) -> msgspec.Raw:
    """Return the JSON with the texts that are in `left`, and take them out of it."""
    changes: dict[Path, Any] = {}
    for text, parts in found:
        if text.where in left and (new := left.pop(text.where)) != text.value:
            changes.update(replacing(parts, new))
    return msgspec.Raw(rewritten(raw, changes)) if changes else raw


def _field_of(channel: str) -> str:
    return channel.partition(".")[0].partition("[")[0].partition("(")[0]


def _raws(messages: Sequence[Message]) -> Iterable[msgspec.Raw]:
    # Messages would be parsed once more by being accessed.
    return messages.raws if isinstance(messages, Messages) else [message.raw for message in messages]


def _in_message(at: int, message: dict[str, Any]) -> list[Found]:
    role = message.get("role", "")
    surface = _SURFACES.get(role, Surface.INPUT)
    return _found(MESSAGE, message, at, "", surface, role)


def _in_field(endpoint: Endpoint, name: str, raw: msgspec.Raw) -> list[Found]:
    value, place = _decoded(raw, name), PLACES[endpoint].get(name)
    if place is None:
        if carries_text({name: value}):
            error = _refusal(step("", name, 0), f"{UNKNOWN}; leave it out")
            error.param = name  # only for the client, whose own word it is
            raise error
        return []
    if isinstance(value, dict | list) and repeats_key(bytes(raw), value):
        raise _refusal(name, "it has a key twice in one object; give it once")
    return _found(place.shape, value, -1, name, place.surface, "")


def _found(shape: Shape, value: Any, at: int, channel: str, surface: Surface, role: str) -> list[Found]:
    finds = Finds()
    try:
        shape.find(value, (), channel, finds)
    except Unlisted as error:
        place = f"messages[{at}].{error.channel}".rstrip(".") if at >= 0 else error.channel
        raise _refusal(place, f"{error.why}; leave it out" if error.why == UNKNOWN else error.why) from None
    return [
        Found(
            Text(Where(at, name), surface, said_in(parts), role, parts[0].is_json),
            parts,
        )
        for name, parts in gathered(finds).items()
    ]


def _decoded(raw: msgspec.Raw, name: str) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _refusal(
            name, "it has characters that cannot be read; send whole characters of Unicode"
        ) from error


def _refusal(place: str, why: str) -> BadRequest:
    return BadRequest(f"The field '{place}' cannot be checked by the gateway's rails: {why}", param=place)
