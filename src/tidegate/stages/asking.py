"""What one engine is asked for a call."""

from __future__ import annotations

import msgspec

from tidegate.call import Call
from tidegate.dispatch.deployments import Deployment
from tidegate.stages.demanded import fields_for
from tidegate.stages.marking import marked
from tidegate.types import Ask, Generation

_ENCODER = msgspec.json.Encoder()


def ask_for(call: Call, deployment: Deployment) -> Ask:
    """Return the Ask of a call for one deployment, with the engine's own name for the model if it has one."""
    fields, messages, model = call.fields, call.messages, deployment.model
    if call.demand is not None:
        fields = fields_for(call, deployment)
    if call.checks is not None and call.checks.plan.markers:
        fields, messages = marked(call, fields)
    if call.stream and deployment.engine.capabilities.stream_usage and not asks_usage(call):
        fields = {**fields, "stream_options": _options_with_usage(call)}
    if model is not None and model != call.model:
        fields = {**fields, "model": msgspec.Raw(_ENCODER.encode(model))}
    return Ask(
        call.id,
        call.endpoint,
        model or call.model,
        fields,
        messages,
        call.onward,
        call.deadline,
        call.stream,
        call.choices,
        call.priority.rank,
        call.room,
        call.is_large,
    )


def asks_usage(call: Call) -> bool:
    """Return whether the client wants the event with the token counts at the end of its stream."""
    request = call.request
    options = request.stream_options if isinstance(request, Generation) else None
    # Engines differ in what they make of a text or a number, so only `true` counts.
    return options is not None and options.get("include_usage") is True


def _options_with_usage(call: Call) -> msgspec.Raw:
    """The client's `stream_options`, which ask for the token counts: every stream is charged with them."""
    request = call.request
    options = request.stream_options if isinstance(request, Generation) else None
    return msgspec.Raw(_ENCODER.encode({**options, "include_usage": True})) if options else _USAGE


_USAGE = msgspec.Raw(b'{"include_usage":true}')
