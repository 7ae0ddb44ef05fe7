"""What a request needs of a deployment: tools, images, a schema, and room in the context.

It is found out only for models with a deployment that cannot do everything.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.call import Call
from tidegate.dispatch.deployments import Deployment
from tidegate.errors import BadRequest, ContextExceeded, GatewayError
from tidegate.quotas.tokens import prompt_of
from tidegate.stages.counting import answer_tokens, described, made
from tidegate.types import Abilities, ChatRequest, CompletionRequest, Messages, Request
from tidegate.types.messages import has_images

_TOOLS = ("tools", "functions")
_SCHEMAS = (
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "structured_outputs",
    "json_schema",
    "grammar",
    "regex",
    "ebnf",
)
"""The fields of vLLM, llama.cpp and SGLang that bind the answer to a form, besides `response_format`."""
_NOTHING = frozenset({b"null", b"[]", b"{}", b'""', b"false"})
_SURELY_CHARS = 16
"""Hardly any prompt has more characters for each token."""
_USUAL_CHARS = 4
_SURELY = 0.5
"""No vocabulary needs fewer tokens for a prompt than this part of what another one needs."""


class Wants(msgspec.Struct, frozen=True):
    """The abilities that a request needs, and the fields that say so."""

    tools: str = ""
    vision: str = ""
    schemas: str = ""

    def lacking(self, can: Abilities) -> list[str]:
        """Return the fields of the request that a deployment with these abilities cannot serve."""
        named = (
            "" if can.tools else self.tools,
            "" if can.vision else self.vision,
            "" if can.schemas else self.schemas,
        )
        return [name for name in named if name]


class Length(msgspec.Struct, frozen=True):
    """The tokens of a request: of the prompt, probably and at least, and the most of each answer (0 if not limited)."""

    prompt: int
    prompt_at_least: int
    answer: int

    def probably_fits(self, can: Abilities) -> bool:
        """Whether the context is probably long enough."""
        return can.context_tokens is None or self._with_answer(self.prompt, can) <= can.context_tokens

    def may_fit(self, can: Abilities) -> bool:
        """Whether the context is not surely too short."""
        return (
            can.context_tokens is None or self._with_answer(self.prompt_at_least, can) <= can.context_tokens
        )

    def _with_answer(self, prompt: int, can: Abilities) -> int:
        return prompt + self.answer if can.reserves_answer else prompt


def able_of(call: Call, deployments: Sequence[Deployment]) -> Sequence[Deployment]:
    """Return the deployments that can do what a request needs. Raises BadRequest if there are none.

    A prompt whose length is near a limit goes to a deployment with a longer context, and if there is none, to those that
    may have room for it: the count of its tokens is an estimate.
    """
    wants = wants_of(call)
    if wants.schemas and call.demand is not None and call.demand.rules.check:
        wants = msgspec.structs.replace(wants, schemas="")  # the gateway checks the answer
    able = [one for one in deployments if not wants.lacking(one.can)]
    if not able:
        raise _refusal(call, wants, deployments)
    if all(one.can.context_tokens is None for one in able):
        return deployments if len(able) == len(deployments) else able
    length = length_of(call)
    fitting = [one for one in able if length.probably_fits(one.can)]
    fitting = fitting or [one for one in able if length.may_fit(one.can)]
    if not fitting:
        raise _too_long(call, length, able)
    return deployments if len(fitting) == len(deployments) else fitting


def wants_of(call: Call) -> Wants:
    """Return what a request needs besides room."""
    fields = call.fields
    tools = next((name for name in _TOOLS if name in fields and not _is_nothing(fields[name])), "")
    schema = next((name for name in _SCHEMAS if name in fields and not _is_nothing(fields[name])), "")
    if not schema and "response_format" in fields and _is_schema(fields["response_format"]):
        schema = "response_format"
    return Wants(tools, "messages" if _shows_images(call) else "", schema)


def length_of(call: Call) -> Length:
    """Return the tokens of a request, as they are known now. Raises BadRequest."""
    answer = (answer_tokens(call) or 0) // max(1, made(call))
    request = call.request
    if not _is_one_prompt(request):
        return Length(0, 0, answer)
    if call.prompt_tokens >= 0:
        exactness = 1.0 if call.policy.count == "engine" else _SURELY
        return Length(call.prompt_tokens, int(call.prompt_tokens * exactness), answer)
    if call.is_large or request is None:
        size = 0 if _shows_images(call) else call.body_bytes
        return Length(size // _USUAL_CHARS, size // _SURELY_CHARS, answer)
    prompt = prompt_of(request, described(call), call.fields.get("messages"))
    size = sum(map(len, prompt.texts))
    surely = prompt.others if type(request) is CompletionRequest else 0
    return Length(prompt.others + size // _USUAL_CHARS, surely + size // _SURELY_CHARS, answer)


def _is_one_prompt(request: Request | None) -> bool:
    """Whether a request has one prompt. Each of several prompts has a context of its own."""
    if type(request) is CompletionRequest:
        return isinstance(request.prompt, str) or all(isinstance(token, int) for token in request.prompt)
    return request is None or type(request) is ChatRequest


def why_not(call: Call, deployment: Deployment) -> str:
    """Return what a deployment cannot do that the request needs, for people; empty if it can do everything."""
    lacking = wants_of(call).lacking(deployment.can)
    if lacking:
        return f"cannot serve '{lacking[0]}'"
    if deployment.can.context_tokens is not None and not length_of(call).probably_fits(deployment.can):
        return f"its context of {deployment.can.context_tokens} tokens is too short"
    return ""


def _is_nothing(raw: msgspec.Raw) -> bool:
    view = memoryview(raw)
    return len(view) <= 16 and bytes(view).replace(b" ", b"") in _NOTHING


class _Format(msgspec.Struct):
    type: str = ""


def _is_schema(raw: msgspec.Raw) -> bool:
    try:
        return _FORMAT.decode(raw).type in ("json_schema", "structural_tag", "grammar", "regex")
    except msgspec.DecodeError:
        return False


_FORMAT = msgspec.json.Decoder(_Format)


def _shows_images(call: Call) -> bool:
    request = call.request
    if call.is_large:
        return call.has_images
    if type(request) is ChatRequest:
        return has_images(request.messages)
    return "messages" in call.fields and has_images(Messages(call.fields["messages"]))


_ABILITIES = {"tools": "calls tools", "vision": "takes images", "schemas": "follows a schema"}


def _refusal(call: Call, wants: Wants, deployments: Sequence[Deployment]) -> GatewayError:
    """The refusal of a request that no deployment can serve. It names an ability that none of them has, or else all."""
    needed = [name for name in _ABILITIES if getattr(wants, name)]
    lone = [name for name in needed if not any(getattr(one.can, name) for one in deployments)]
    named = lone[:1] or needed
    told = " and ".join(_ABILITIES[name] for name in named)
    param = getattr(wants, named[0])
    return BadRequest(
        f"No deployment of '{call.model}' {told}; leave '{param}' out, or ask for another model", param=param
    )


def _too_long(call: Call, length: Length, deployments: Sequence[Deployment]) -> GatewayError:
    longest = max(one.can.context_tokens or 0 for one in deployments)
    told = f"a prompt of at least {length.prompt_at_least} tokens"
    if length.answer and any(one.can.reserves_answer for one in deployments):
        told += f" and an answer of up to {length.answer}"
    return ContextExceeded(
        f"The longest context of '{call.model}' is {longest} tokens, and the request needs {told}",
        param="messages",
    )
