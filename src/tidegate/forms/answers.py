"""The places of text in answers: whole ones, and the events of streams.

The full reading decodes a piece again, because the members that the gateway does not read may have text too. Nearly every
event of a stream differs from the one before only in one text, which is decoded already. `Layouts` recognises such an event
by its other bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, cast

import msgspec

from tidegate.errors import UpstreamError
from tidegate.forms.messages import DELTA, WHOLE
from tidegate.forms.paths import Path, rewritten
from tidegate.forms.shapes import (
    ECHO,
    HARMLESS,
    REFUSED,
    UNKNOWN,
    VALUES,
    WORDS,
    Finds,
    Keys,
    Part,
    Shape,
    Unlisted,
    gathered,
    replacing,
    said_in,
)
from tidegate.kernel.repeated import repeats_key
from tidegate.kernel.surrogates import without_lone
from tidegate.types import Answer, Choice, Delta, Piece, Surface, Text, Where


class UnknownShape(UpstreamError):
    """The engine's answer may have text at a place that no form knows, so it cannot be checked. Another engine may do."""


def _all(names: str, shape: Shape) -> dict[str, Shape]:
    return dict.fromkeys(names.split(), shape)


_ECHOES = _all(
    "logprobs token_ids prompt_token_ids prompt_logprobs completion_probabilities output_ids input_token_logprobs"
    " output_token_logprobs output_top_logprobs input_top_logprobs prompt_text hidden_states tokens nvext sglext"
    " prompt raw_output __verbose",
    ECHO,
)
_CHOICE = Keys(
    {
        "delta": DELTA,
        "message": WHOLE,
        "text": WORDS,
        **_all("index finish_reason native_finish_reason stop_reason matched_stop", HARMLESS),
        **_all(
            "content_filter_results content_filter_result content_filter_offsets error seed usage routed_experts",
            HARMLESS,
        ),
        "provider_specific_fields": VALUES,
        **_ECHOES,
    },
    through=frozenset({"delta", "message"}),
)
# What the server says of the answer, and what the model has looked up.
_EVENT = Keys(
    {
        **_all("id object created model type usage system_fingerprint service_tier provider error", HARMLESS),
        **_all(
            "obfuscation moderation prompt_filter_results timings prompt_progress stats metadata", HARMLESS
        ),
        **_all("kv_transfer_params x_groq model_info cost warnings perf_metrics p", HARMLESS),
        "choices": HARMLESS,  # each is read by itself
        **_all("citations search_results related_questions images videos web_search search_info", VALUES),
        **_ECHOES,
    }
)
_OTHER_API = Keys(_EVENT.shapes, unknown=REFUSED)
"""An event without choices. In a stream of another API, its words may be the parts of a text."""
_ENCODER = msgspec.json.Encoder()
_NOT_OF_A_CHOICE = -1


class _Read(NamedTuple):
    """A piece that was read in full: its JSON, the parts of each text, and the paths of the echoes of each choice."""

    document: bytes
    texts: dict[Where, list[Part]]
    echoes: dict[int, list[Path]]


def texts_of(piece: Piece) -> dict[Where, list[Part]]:
    """Return the parts of each text in an answer. Raises UnknownShape for text at a place that is not known."""
    return _read(piece).texts


def put_out(piece: Piece, changed: Mapping[Where, str]) -> Piece:
    """See `Form.put_out`."""
    if not changed:
        return piece
    read, changes, choices = _read(piece), dict[Path, Any](), set[int]()
    for where, new in changed.items():
        parts = read.texts[where]
        if new != said_in(parts):
            changes.update(replacing(parts, new))
            choices.add(where.at)
    return _changed(piece, read, changes, choices) if changes else piece


def without_echoes(piece: Piece, choices: Collection[int]) -> Piece:
    """See `Form.without_echoes`."""
    return _changed(piece, _read(piece), {}, choices) if choices else piece


def ended(piece: Piece, choice: int) -> Piece:
    """See `Form.ended`."""
    data, answer = piece.data, piece.answer
    for at, one in enumerate(answer.choices or ()):
        if one.index == choice:
            data = rewritten(data, {("choices", at, "finish_reason"): "stop"})
            one.finish_reason = "stop"
    return Piece(data, answer)


def _read(piece: Piece) -> _Read:
    try:
        document, value = _decoded(piece.data)
        return _found(document, value, piece.answer.choices or [])
    except Unlisted as error:
        place = f" at '{error.channel}'" if error.channel else ""
        raise UnknownShape(f"the engine's answer{place} cannot be checked by rails: {error.why}") from None


def _decoded(data: bytes) -> tuple[bytes, Any]:
    try:
        return data, msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        document = without_lone(data)
    try:
        return document, msgspec.json.decode(document)
    except (msgspec.DecodeError, RecursionError):
        raise Unlisted("", "it is not valid JSON") from None


def _found(document: bytes, value: Any, choices: list[Choice]) -> _Read:
    if type(value) is not dict:
        raise Unlisted("", UNKNOWN)
    if repeats_key(document, value):
        raise Unlisted("", "an object in it has a key twice")
    read, given = _Read(document, {}, {}), _choices(value)
    if len(given) != len(choices):
        raise Unlisted("choices", UNKNOWN)
    shape = _EVENT if "choices" in value else _OTHER_API
    _note(read, _NOT_OF_A_CHOICE, shape, value, ())
    for place, (one, choice) in enumerate(zip(given, choices, strict=True)):
        _note(read, choice.index, _CHOICE, one, ("choices", place))
    return read


def _choices(answer: Any) -> list[Any]:
    given = answer.get("choices")
    return cast("list[Any]", given) if type(given) is list else []


def _note(read: _Read, at: int, shape: Shape, value: Any, path: Path) -> None:
    finds = Finds()
    shape.find(value, path, "", finds)
    if finds.echoes:
        read.echoes.setdefault(at, []).extend(finds.echoes)
    for channel, parts in gathered(finds).items():
        read.texts.setdefault(Where(at, channel), []).extend(parts)


def _changed(piece: Piece, read: _Read, changes: dict[Path, Any], choices: Collection[int]) -> Piece:
    """Return the piece with changes, and without what says the texts of these choices once more."""
    for at in (*choices, _NOT_OF_A_CHOICE):
        changes.update(dict.fromkeys(read.echoes.get(at, ()), None))
    if not changes:
        return piece
    data = rewritten(read.document, changes)
    value: Any = msgspec.json.decode(data)
    answer = piece.answer
    said = [
        _choice(one, old) for one, old in zip(value.get("choices") or [], answer.choices or [], strict=True)
    ]
    return Piece(data, Answer(None if answer.choices is None else said, answer.usage, answer.error))


def _choice(value: dict[str, Any], old: Choice) -> Choice:
    """Return the choice read again. Its index and its reason stay as they were read first: engines may send odd ones."""
    return Choice(
        old.index,
        _delta(value.get("delta")),
        _delta(value.get("message")),
        value.get("text"),
        old.finish_reason,
    )


def _delta(value: Any) -> Delta | None:
    if isinstance(value, dict):
        parts = cast("dict[str, Any]", value)
        return Delta(*[parts.get(name) for name in Delta.__struct_fields__])
    return Delta(content=value) if isinstance(value, str) else None


# ------------------------------------------------------------------------------------------------------ events by layout


class Layout(NamedTuple):
    """An event but for its one text: the bytes before and after it, and how the text is found in the answer."""

    before: bytes
    after: bytes
    where: Where
    is_json: bool
    value: Callable[[Choice], Any]


def _arguments(choice: Choice) -> Any:
    return choice.delta.tool_calls[0]["function"]["arguments"]  # pyright: ignore[reportOptionalMemberAccess]


_ONE_TEXT: Mapping[Path, Callable[[Choice], Any]] = {
    ("choices", 0, "text"): attrgetter("text"),
    **{
        ("choices", 0, "delta", name): attrgetter(f"delta.{name}")
        for name in ("content", "reasoning_content", "reasoning", "refusal")
    },
    ("choices", 0, "delta", "tool_calls", 0, "function", "arguments"): _arguments,
}
_USUAL_PATHS: Mapping[str, Path] = {
    "content": ("choices", 0, "delta", "content"),
    "text": ("choices", 0, "text"),
}
# Looking up an enum's member, and a NamedTuple's own constructor, would take as long as the comparison of the bytes.
_OUTPUT = Surface.OUTPUT
_text = Text._make
_UNLIKE = (AttributeError, TypeError, LookupError)


def layout_of(piece: Piece, texts: Mapping[Where, list[Part]]) -> Layout | None:
    """Return the layout of an event that was read in full, or None if it has not exactly one text at a usual place."""
    if len(texts) != 1:
        return None
    ((where, parts),) = texts.items()
    path = parts[0].path
    if len(parts) > 1 or path not in _ONE_TEXT or len(piece.answer.choices or ()) != 1:
        return None
    name, said, data = str(path[-1]).encode(), _ENCODER.encode(parts[0].value), piece.data
    for begin in (b'"%b":%b' % (name, said), b'"%b": %b' % (name, said)):
        # Inside of a string, the first quote would be escaped. So this is the member, and there is no other of its name.
        if data.count(begin) == data.count(b'"%b"' % name) == 1:
            at = data.index(begin) + len(begin) - len(said)
            return Layout(
                data[: at + 1], data[at + len(said) - 1 :], where, parts[0].is_json, _ONE_TEXT[path]
            )
    return None


def layout_of_usual(piece: Piece, texts: Sequence[Text]) -> Layout | None:
    """Return the layout of an event in the usual form with these texts, see `usual.py`."""
    if len(texts) != 1:
        return None
    where, _, value, _, _ = texts[0]
    path = _USUAL_PATHS[where.channel]
    return layout_of(piece, {where: [Part(path, where.channel, value)]})


def text_by(layout: Layout, piece: Piece) -> Text | None:
    """Return the one text of an event with this layout, or None if the event has another layout.

    If the bytes around the text are equal, the text begins at the same place. The value has to account for all the bytes
    between: its shortest form in JSON is as long as they are. Then the string can neither end earlier nor hide escapes, and
    nothing else fits in between.
    """
    before, after, where, is_json, get = layout
    data = piece.data
    if not (data.startswith(before) and data.endswith(after)):
        return None
    try:
        value = get(piece.answer.choices[0])  # pyright: ignore[reportOptionalSubscript, reportUnknownArgumentType]
    except _UNLIKE:
        return None
    if type(value) is not str or not value:
        return None
    if len(_ENCODER.encode(value)) - 2 != len(data) - len(before) - len(after):
        return None
    return _text((where, _OUTPUT, value, "", is_json))
