"""The input and the result of rails. Structs, not behaviour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tidegate.types.caller import Caller, Parent
from tidegate.types.messages import Message
from tidegate.types.surface import Surface


class Where(NamedTuple):
    """The place of a text in a request or an answer.

    `at` is the index of the message or choice, and -1 for a field of the request itself. `channel` is the path of the text
    from there, such as `content`, `content[1].text`, `tool_calls[0].function.arguments` or `tools[0].function.description`.
    """

    at: int
    channel: str


class Text(NamedTuple):
    """One text of a request or an answer. `role` is that of its message, and empty for a text outside of messages.

    `is_json` says that the text is itself a JSON document, such as the arguments of a tool call: rails check the texts in
    it, and a change is encoded again.
    """

    where: Where
    surface: Surface
    value: str
    role: str = ""
    is_json: bool = False


class View(NamedTuple):
    """A text as a reader or a decoder would see it, with the way back to the original.

    Character `i` of `text` stands for the characters of the original from `starts[i]` up to, but not including, `ends[i]`.
    Both are None if the view is the original itself. `keeps` says that the view only replaces or removes single characters,
    so that it also holds for a part of a text.
    """

    name: str
    text: str
    starts: Sequence[int] | None = None
    ends: Sequence[int] | None = None
    keeps: bool = True


class Hold(NamedTuple):
    """How much text of a stream a rail needs before any can be released.

    `kind` is `none`, `span` (at most `chars` characters are held back), `sentence` or `whole`.
    """

    kind: str
    chars: int = 0


class Span(NamedTuple):
    """A part of a text that a rail found: from `start` up to, but not including, `end`, in characters of the original.

    `goes_on` says that the span is the next part of the one before, which was longer than could be held back.
    """

    start: int
    end: int
    kind: str
    score: float = 1.0
    goes_on: bool = False


class Scan(NamedTuple):
    """The result of scanning a stream: how many characters may be released, and the spans found among them.

    Both count from the beginning of the stream. A span is told once, and never reaches beyond `clear`. `too_long` says that
    a match is longer than may be held back, so that the stream has to be blocked.
    """

    clear: int
    found: tuple[Span, ...] = ()
    too_long: bool = False


class RailFacts(msgspec.Struct, frozen=True):
    """The properties of a rail.

    `surfaces` are those that it can check, and `usual` those that it checks where the profile names none; empty stands for
    all. `tier` is 0 for rules, 1 for small models, and 2 for judges and remote guards. `finds_spans` says that its verdicts
    say where, so that texts can be redacted. `corrects` says that its verdicts have a corrected text. `usual_ms` is how
    long a check of a usual text takes, for the budget. A rail with `once` checks a request as a whole: it gets one empty
    text, and a scene with the request's tokens. `reads_system` says that it needs `Scene.system`. Long texts are checked by
    rules in slices, except by those that need the `entire` text to say anything, such as its length.

    A rail that `reads_messages` needs `Scene.messages` and `Scene.further`. Of each message of a user, an assistant or a
    tool it checks the first text only, since it reads the message itself, and it checks the latest turn alone: the messages
    since the last answer that a user has replied to. One that `sees_images` is also asked about messages that have images
    and no text. One that `reads_context` needs `Scene.context` and `Scene.model`. A `punctual` rail ends its checks by
    `Scene.deadline` by itself. One that `marks` texts does so for the engine, and is asked for no verdict.
    """

    name: str
    version: str
    surfaces: frozenset[Surface]
    tier: int = 0
    hold: Hold = Hold("whole")
    finds_spans: bool = False
    corrects: bool = False
    usual_ms: float = 0.0
    usual: frozenset[Surface] = frozenset()
    once: bool = False
    reads_system: bool = False
    entire: bool = False
    reads_messages: bool = False
    sees_images: bool = False
    reads_context: bool = False
    punctual: bool = False
    marks: bool = False


class Signs(NamedTuple):
    """What has to be in a plain text, one of ASCII alone, so that a rail may find anything in it.

    `patterns` are in RE2's syntax. `letters` are words among the letters of the text alone, in lower case: what stands
    between letters does not matter.
    """

    patterns: tuple[str, ...] = ()
    letters: tuple[str, ...] = ()


class Scene(msgspec.Struct, frozen=True):
    """The context of a text for a rail: its place, the question, the retrieved documents, the caller.

    `system` has the system and developer texts of the request, as the engine got them. Only texts of answers have it, and
    only where a rail of the profile `reads_system`. For rails with `reads_messages`, `messages` are those of the request as
    rails have changed them so far, and `further` are the texts of the message under check that stand outside of its
    content, such as the arguments of tool calls. Where a rail of the profile `reads_context`, `context` are the documents
    of the request and `model` is its model, as the client has named it. `parent` is the call for which a rail asks a model;
    None where there is no call.

    `prompt_tokens` is an estimate of the request's tokens, `answer_tokens` the most that its answer may have, if the
    request says so, and `context_tokens` the context of the model; -1 stands for unknown.
    """

    where: Where
    surface: Surface
    caller: Caller
    deadline: float
    role: str = ""
    question: str = ""
    context: tuple[str, ...] = ()
    parent: Parent | None = None
    prompt_tokens: int = -1
    answer_tokens: int = -1
    context_tokens: int = -1
    system: str = ""
    messages: Sequence[Message] = ()
    further: tuple[str, ...] = ()
    model: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """The result of a rail, as data without any rendering.

    `passed` is False for a text that the rail objects to; what happens then is the policy's `on_fail`. `score` is how sure
    the rail is, 0 to 1. `reason` is for the operator and never has text of the user. `text` is the whole corrected text, if
    the rail has one. `error` is not empty if the rail itself failed; the policy's `on_error` then decides. `scores` says
    how sure the rail is of each category that it tells apart, whether it objects or not. `categories` are all those that
    the rail objects to, for one that compares each with a threshold of its own.
    """

    passed: bool
    category: str = ""
    score: float = 0.0
    reason: str = ""
    spans: tuple[Span, ...] = ()
    text: str | None = None
    error: str = ""
    scores: tuple[tuple[str, float], ...] = ()
    categories: tuple[str, ...] = ()


PASSED = Verdict(True)
"""The verdict on a text to which a rail has no objection."""
