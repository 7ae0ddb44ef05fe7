"""How rails ask a model: one question for each check, to a model of the configuration, with the probability of its answer.

The questions are internal calls. They use the reserved seats of engines, and their tokens are recorded with the purpose
`judge:` and the name of the rail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp
from typing import Any, NamedTuple

import msgspec
from pydantic import Field

from tidegate.config.rails import RailConfig
from tidegate.config.settings import Name
from tidegate.ports import Internal, Services
from tidegate.rails.asked.remembered import Remembered
from tidegate.types import Endpoint, Scene, Verdict

PURPOSE = "judge"
_ENCODER = msgspec.json.Encoder()
_TOP_LOGPROBS = msgspec.Raw(b"5")
"""How many alternatives of a token are asked for: the most that every server gives."""
_CHAT = {
    "temperature": msgspec.Raw(b"0"),
    "logprobs": msgspec.Raw(b"true"),
    "top_logprobs": _TOP_LOGPROBS,
}
_COMPLETIONS = {"temperature": msgspec.Raw(b"0"), "logprobs": _TOP_LOGPROBS}


class AskingConfig(RailConfig):
    """A rail that asks a model."""

    model: Name = Field(description="Name of the model that is asked, one of the section `models`.")
    cache_s: float = Field(
        default=300,
        ge=0,
        description="How long the verdict on the same content is remembered, in seconds; 0 asks every time.",
    )


Alternatives = tuple[str, Sequence[tuple[str, float]]]
"""A token, and the tokens that could have stood in its place with the logarithms of their probabilities."""


class Completion(NamedTuple):
    """What a model has answered.

    `first` has the probabilities of the alternatives of the first token that is not blank, by token without its blanks. It
    is empty if the engine gives none. `is_complete` says that the answer was not cut off, such as by its length. `tokens`
    are all tokens of the answer with their alternatives, as far as the engine gives them.
    """

    text: str
    first: Mapping[str, float]
    is_complete: bool = True
    tokens: Sequence[Alternatives] = ()

    def at(self, place: int) -> Mapping[str, float]:
        """Return the probabilities at the token that has a character of the text, by token without its blanks."""
        for token, tops in self.tokens:
            if place < len(token):
                return _chances(tops) if place >= 0 else {}
            place -= len(token)
        return {}

    def after(self, mark: str) -> Mapping[str, float]:
        """Return the probabilities at the first token behind the last `mark`, as in `first`; empty if not known."""
        begins = "".join(token for token, _ in self.tokens).rfind(mark)
        place = 0
        for at, (token, _) in enumerate(self.tokens):
            if begins >= 0 and place >= begins + len(mark):
                return _first(self.tokens[at:])
            place += len(token)
        return {}


class NoAnswer(Exception):
    """The model's answer cannot be read as one. The message says what is wrong, without any of its text."""


class Model:
    """The model that one rail asks."""

    def __init__(self, rail: str, config: AskingConfig) -> None:
        """`rail` is the name of the rail, for the purpose of the calls."""
        self.name = config.model
        self._purpose = f"{PURPOSE}:{rail}"
        self._cache_s = config.cache_s
        self._ask: Internal | None = None
        self.remembered: Remembered

    def open(self, services: Services) -> None:
        """Take the services. Raises ValueError for a model that is not configured."""
        services.engines_of(self.name)
        self._ask = services.ask
        self.remembered = Remembered(services.clock, self._cache_s)

    def takes(self, services: Services, endpoint: Endpoint, field: str) -> bool:
        """Return whether every engine of the model takes a field."""
        return all(field in one.fields.get(endpoint, ()) for one in services.engines_of(self.name))

    def require(self, services: Services, endpoint: Endpoint, field: str) -> None:
        """Raise ValueError if an engine of the model does not take a field, with the setting that lets it through."""
        for engine in services.engines_of(self.name):
            if field not in engine.fields.get(endpoint, ()):
                raise ValueError(
                    f"needs the field '{field}', which an engine of the model '{self.name}' does not take at"
                    f" /v1/{endpoint.value}: set `allow_fields: [{field}]` of the engine if its server knows it"
                )

    async def chat(
        self,
        messages: Sequence[Mapping[str, Any] | msgspec.Raw],
        scene: Scene,
        *,
        most_tokens: int,
        model: str = "",
        **fields: Any,
    ) -> Completion:
        """Ask in a chat and return the answer. Raises GatewayError, and NoAnswer.

        `model` is asked instead of the rail's own. A field that is None is left out.
        """
        fields = {"messages": messages, "max_tokens": most_tokens, **fields}
        return _from_chat(await self._asked(_CHAT, fields, scene, model))

    async def complete(self, prompt: str, scene: Scene, *, most_tokens: int, **fields: Any) -> Completion:
        """Ask with a prompt that has the model's own format, and return the answer. Raises GatewayError, and NoAnswer."""
        fields = {"prompt": prompt, "max_tokens": most_tokens, **fields}
        return _from_completions(await self._asked(_COMPLETIONS, fields, scene))

    async def _asked(
        self, usual: Mapping[str, msgspec.Raw], fields: Mapping[str, Any], scene: Scene, model: str = ""
    ) -> _Body:
        """Ask with the usual fields and some more. A field that is None is left out."""
        assert self._ask is not None, "the rail is open"
        raw = dict(usual)
        for name, value in fields.items():
            if value is None:
                raw.pop(name, None)
            else:
                raw[name] = msgspec.Raw(_ENCODER.encode(value))
        piece = await self._ask(
            model or self.name, raw, purpose=self._purpose, of=scene.parent, deadline=scene.deadline
        )
        try:
            return _DECODER.decode(piece.data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise NoAnswer("the answer of the model cannot be read") from error


def known(score: float | None) -> float:
    """Return a score. Raises NoAnswer if the engine gave no probability for it."""
    if score is None:
        raise NoAnswer(
            "the engine sent no usable `logprobs`, which `threshold` needs: let its server send them, or remove `threshold`"
        )
    return score


def share(first: Mapping[str, float], word: str, *others: str) -> float | None:
    """Return the probability of one word against others at a token; None if none of them is known.

    A tokenizer may cut a word, so a token counts for the word that it begins. One that begins several counts for none.
    """
    words = (word, *others)
    chances = dict.fromkeys(words, 0.0)
    for token, chance in first.items():
        begun = [one for one in words if one.startswith(token.lower())]
        if len(begun) == 1:
            chances[begun[0]] += chance
    total = sum(chances.values())
    return chances[word] / total if total > 0 else None


def no_verdict(why: str) -> Verdict:
    """Return the verdict of a rail whose model gave none. `why` says what is wrong, without any text."""
    return Verdict(passed=False, error=why)


# ------------------------------------------------------------------------------------------------- what engines send


class _Top(msgspec.Struct):
    token: str = ""
    logprob: float = float("-inf")


class _Token(msgspec.Struct):
    token: str = ""
    logprob: float = float("-inf")
    top_logprobs: list[_Top] | None = None


class _Logprobs(msgspec.Struct):
    """Those of a chat are in `content`, those of completions in the other three."""

    content: list[_Token] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Body(msgspec.Struct):
    choices: list[_Choice] = []


_CUT_OFF = frozenset({"length", "content_filter", "abort", "error"})
"""Why answers end before the model has said everything, as servers name it."""
_DECODER = msgspec.json.Decoder(_Body)


def _from_chat(body: _Body) -> Completion:
    choice = _only(body)
    if choice.message is None or choice.message.content is None:
        raise NoAnswer("the model answered without text")
    given = _alternatives(choice.logprobs.content if choice.logprobs is not None else None)
    return Completion(choice.message.content, _first(given), choice.finish_reason not in _CUT_OFF, given)


def _from_completions(body: _Body) -> Completion:
    choice = _only(body)
    if choice.text is None:
        raise NoAnswer("the model answered without text")
    found = choice.logprobs or _Logprobs()
    tokens, tops = found.tokens or (), found.top_logprobs or ()
    given = [(token, list((top or {}).items())) for token, top in zip(tokens, tops, strict=False)]
    # llama.cpp sends the form of a chat here too.
    given = given or _alternatives(found.content)
    return Completion(choice.text, _first(given), choice.finish_reason not in _CUT_OFF, given)


def _alternatives(tokens: Sequence[_Token] | None) -> list[Alternatives]:
    return [
        (one.token, [(top.token, top.logprob) for top in [*(one.top_logprobs or ()), one]])
        for one in tokens or ()
    ]


def _only(body: _Body) -> _Choice:
    if len(body.choices) != 1:
        raise NoAnswer(f"the model answered with {len(body.choices)} choices instead of one")
    return body.choices[0]


def _first(tokens: Sequence[Alternatives]) -> Mapping[str, float]:
    """Return the probabilities at the first token that is not blank, by token without its blanks."""
    for token, tops in tokens:
        if token.strip():
            return _chances(tops)
    return {}


def _chances(tops: Sequence[tuple[str, float]]) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for text, logprob in dict(tops).items():
        if word := text.strip():
            found[word] = found.get(word, 0.0) + exp(min(logprob, 0.0))
    return found
