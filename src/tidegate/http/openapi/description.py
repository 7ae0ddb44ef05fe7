"""Generates the OpenAPI document from the code.

Paths are taken from the routes that are served, and failures from the error tree. Request bodies are taken from the
structs that parse them and from the fields that the configured engines take. Only two things are written here by hand:
the purpose of each route, and the few rules on values that a type cannot express. The format is OpenAPI 3.1
(https://spec.openapis.org/oas/v3.1.1.html).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

import msgspec
from starlette.routing import Route

from tidegate import errors
from tidegate.access.wanted import NewKey, NewTenant, Rotation
from tidegate.dispatch.deployments import Models
from tidegate.dispatch.state import STATES
from tidegate.errors import GatewayError
from tidegate.http.access import needed
from tidegate.http.admin import queue, review, usage
from tidegate.stages.authenticate import OPEN
from tidegate.stages.check import CheckResult
from tidegate.stages.moderate import ModerationResult
from tidegate.stages.narrowing import DEADLINE_MS, PRIORITY
from tidegate.stages.recall import IDEMPOTENCY_KEY, LONGEST_KEY
from tidegate.types import (
    Answer,
    ChatRequest,
    CheckRequest,
    CompletionRequest,
    EmbeddingRequest,
    Endpoint,
    ModerationRequest,
)

Json = dict[str, Any]

PATH = "/openapi.json"
"""The path at which the document itself is served."""


class _Cold(msgspec.Struct, frozen=True):
    """The description of a route that makes no call. `also` has the meanings of statuses other than 200 and 400.

    `body` is the struct of the request's body, and `query` has the parameters of the query.
    """

    summary: str
    answer: Json
    also: Mapping[int, str] = {}
    media_type: str = "application/json"
    body: type[msgspec.Struct] | None = None
    query: tuple[str, ...] = ()
    status: int = 200


_STATE: Json = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
_MODEL: Json = {
    "type": "object",
    "required": ["id", "object"],
    "properties": {"id": {"type": "string"}, "object": {"const": "model"}},
}
_MODELS: Json = {
    "type": "object",
    "required": ["object", "data"],
    "properties": {"object": {"const": "list"}, "data": {"type": "array", "items": _MODEL}},
}
_USAGE: Json = {
    "type": "object",
    "required": ["limits", "more", "configured", "silent_workers"],
    "properties": {"limits": {"type": "array", "items": {"type": "object"}}},
}
_QUEUE: Json = {
    "type": "object",
    "required": ["state", "utilization", "size", "max_size", "rejected", "classes", "tenants", "engines"],
    "properties": {"state": {"enum": [*STATES]}, "classes": {"type": "array", "items": {"type": "object"}}},
}
_KEY: Json = {"type": "object", "required": ["id", "state", "scopes", "version"]}
_MADE: Json = {**_KEY, "required": [*_KEY["required"], "key"]}
_PAGE: Json = {"type": "object", "required": ["next"]}
_TENANT: Json = {"type": "object", "required": ["organisation"]}
_NO_STORE = {409: "There is no store of keys"}
_CASE: Json = {"type": "object", "required": ["id", "text", "decision"]}
_NO_PEOPLE = {409: "No person is asked here"}
_ONE_KEY = {404: "No such key", 409: "There is no store of keys, or the key was revoked or changed meanwhile"}
# What a path has for all its methods, or for the one before it.
_COLD: Mapping[str, _Cold] = MappingProxyType(
    {
        "/healthz": _Cold("Whether the process runs", _STATE),
        "/health": _Cold("The same, under the name that engines give it", _STATE),
        "/readyz": _Cold("Whether new calls are welcome", _STATE, {503: "Not now: draining, or no engine"}),
        "/metrics": _Cold("Metrics for Prometheus", {"type": "string"}, media_type="text/plain"),
        "/v1/models": _Cold("The models that clients may name", _MODELS),
        "/v1/models/{model}": _Cold("One model", _MODEL, {404: "No such model"}),
        "/admin/reload": _Cold(
            "Read the configuration again",
            {**_STATE, "required": ["status", "models"]},
            {422: "A configuration with mistakes"},
        ),
        "/admin/usage": _Cold(
            "What is consumed of each limit",
            _USAGE,
            {503: "The workers cannot be asked now"},
            query=usage.PARAMETERS,
        ),
        "/admin/queue": _Cold(
            "What waits for engines, and what a new call has to expect",
            _QUEUE,
            {503: "The workers cannot be asked now"},
            query=queue.PARAMETERS,
        ),
        "GET /admin/keys": _Cold(
            "Keys of the store", _PAGE, _NO_STORE, query=("organisation", "after", "limit")
        ),
        "POST /admin/keys": _Cold("Make a key", _MADE, _NO_STORE, body=NewKey, status=201),
        "/admin/keys/{id}": _Cold("One key", _KEY, _ONE_KEY),
        "/admin/keys/{id}/rotate": _Cold("A new secret for a key", _MADE, _ONE_KEY, body=Rotation),
        "/admin/keys/{id}/revoke": _Cold("End a key", _KEY, _ONE_KEY),
        "GET /admin/tenants": _Cold(
            "Organisations, teams and users", _PAGE, _NO_STORE, query=("organisation", "after", "limit")
        ),
        "POST /admin/tenants": _Cold(
            "Make a tenant, or give it another policy", _TENANT, _NO_STORE, body=NewTenant
        ),
        "/admin/log": _Cold("Every change of keys and tenants", _PAGE, _NO_STORE, query=("after", "limit")),
        "/admin/reviews": _Cold("Cases for reviewers", _PAGE, _NO_PEOPLE, query=review.LISTED),
        "/admin/reviews/export": _Cold(
            "Decisions as labelled data, a line of JSON each",
            {"type": "string"},
            _NO_PEOPLE,
            query=("after", "limit"),
            media_type="application/x-ndjson",
        ),
        "/admin/reviews/{id}": _Cold("One case", _CASE, {404: "No such case", **_NO_PEOPLE}),
        "/admin/reviews/{id}/decision": _Cold(
            "Decide about a case",
            _CASE,
            {404: "No such case", 409: "No person is asked here, or the case was decided before"},
            body=review.NewDecision,
        ),
        PATH: _Cold("This document", {"type": "object", "required": ["openapi"]}),
    }
)

_CALLS: Mapping[Endpoint, tuple[type[msgspec.Struct], str]] = MappingProxyType(
    {
        Endpoint.CHAT: (ChatRequest, "Answer a conversation"),
        Endpoint.COMPLETIONS: (CompletionRequest, "Continue a text"),
        Endpoint.EMBEDDINGS: (EmbeddingRequest, "Turn texts into vectors"),
    }
)

_OWN: Mapping[Endpoint, tuple[type[msgspec.Struct], type[msgspec.Struct], str]] = MappingProxyType(
    {
        Endpoint.CHECKS: (CheckRequest, CheckResult, "What the rails say of texts, without an engine"),
        Endpoint.MODERATIONS: (ModerationRequest, ModerationResult, "Whether texts and images are harmful"),
    }
)

# Rules on values that are checked beyond the type.
_BOUNDS: Mapping[str, Json] = MappingProxyType(
    {"model": {"minLength": 1}, "messages": {"minItems": 1}, "n": {"minimum": 1}}
)
_IDEMPOTENCY: Json = {
    "name": IDEMPOTENCY_KEY.decode(),
    "in": "header",
    "description": "A text that marks repetitions of one request: they get one answer, and an engine makes it once.",
    "schema": {"type": "string", "pattern": f"^[!-~]{{1,{LONGEST_KEY}}}$"},
}
_ONLY_STREAMED: Json = {
    "stream_options": {
        "anyOf": [
            {"properties": {"stream_options": {"type": "null"}}},
            {"properties": {"stream": {"const": True}}, "required": ["stream"]},
        ]
    }
}


# Which route needs which scope is told by its 403. The empty one: without keys, or where everybody may ask.
_SECURITY: list[Json] = [{"bearer": []}, {"header": []}, {}]


def describe(models: Models, cold: Iterable[Route], classes: Iterable[str]) -> Json:
    """Return the whole document. `cold` are the routes that make no call, `classes` those that a request may name."""
    structs = [*(body for body, _ in _CALLS.values()), Answer, NewKey, Rotation, NewTenant]
    structs += [*(one for own in _OWN.values() for one in own[:2]), review.NewDecision]
    _, schemas = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    paths: Json = {}
    headers = [*_narrowing(classes), _IDEMPOTENCY]
    for endpoint, (body, summary) in _CALLS.items():
        fields = _fields(models, endpoint)
        schemas[body.__name__] = _request(schemas[body.__name__], fields)
        paths[f"/v1/{endpoint.value}"] = {"post": _call(endpoint, body.__name__, summary, headers)}
    for endpoint, (body, result, summary) in _OWN.items():
        schemas[body.__name__]["additionalProperties"] = False
        own = _own(endpoint, body.__name__, result.__name__, summary)
        paths[f"/v1/{endpoint.value}"] = {"post": {**own, "parameters": _narrowing(classes)}}
    for route in cold:
        paths.update(_cold_path(route))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tidegate",
            "version": version("tidegate"),
            "description": "The OpenAI API in front of the configured engines.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Error": _error_schema()},
            "headers": {"RequestId": {"required": True, "schema": {"type": "string"}}},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _fields(models: Models, endpoint: Endpoint) -> list[str]:
    """Return all fields that at least one configured engine takes on an endpoint, sorted."""
    found: set[str] = set()
    for name in models.names:
        for deployment in models.find(name)[1]:
            found |= deployment.engine.capabilities.fields.get(endpoint, frozenset())
    return sorted(found)


def _request(typed: Json, fields: Sequence[str]) -> Json:
    """Return the schema of a call's body. Fields that only the engine checks have no type."""
    known: Json = typed["properties"]
    shown = [*known, *(name for name in fields if name not in known)]
    properties = {name: {**known.get(name, {}), **_BOUNDS.get(name, {})} for name in shown}
    whole = {**typed, "properties": properties, "additionalProperties": False}
    whole["description"] = (
        "Which of these fields a model takes depends on its engine; another is a 400 naming it."
    )
    if "stream_options" in known:
        whole["dependentSchemas"] = _ONLY_STREAMED
    return whole


def _call(endpoint: Endpoint, schema: str, summary: str, headers: Sequence[Json]) -> Json:
    answer: Json = {"$ref": "#/components/schemas/Answer"}
    content: Json = {"application/json": {"schema": answer}}
    if endpoint is not Endpoint.EMBEDDINGS:
        content["application/json"]["schema"] = {"allOf": [answer, {"required": ["choices"]}]}
        content["text/event-stream"] = {}  # its events are `data` lines with an Answer, and `[DONE]`
    return {
        "operationId": endpoint.value.replace("/", "_"),
        "summary": summary,
        "security": _SECURITY,
        "parameters": [*headers],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
        },
        "responses": {"200": _response("The answer, whole or streamed", content), **_failures()},
    }


def _own(endpoint: Endpoint, request: str, result: str, summary: str) -> Json:
    """Return the operation of an endpoint that rails answer."""
    answer: Json = {"application/json": {"schema": {"$ref": f"#/components/schemas/{result}"}}}
    body: Json = {"application/json": {"schema": {"$ref": f"#/components/schemas/{request}"}}}
    return {
        "operationId": endpoint.value,
        "summary": summary,
        "security": _SECURITY,
        "requestBody": {"required": True, "content": body},
        "responses": {"200": _response("What the rails say", answer), **_failures()},
    }


def _narrowing(classes: Iterable[str]) -> list[Json]:
    """Return the headers with which a call makes less of its policy, as parameters."""
    return [
        {
            "name": PRIORITY.decode(),
            "in": "header",
            "description": "The class of the call, if it goes later than that of the caller's policy.",
            "schema": {"type": "string", "enum": [*classes]},
        },
        {
            "name": DEADLINE_MS.decode(),
            "in": "header",
            "description": "Milliseconds from the arrival of the request, if they end before the policy's deadline.",
            "schema": {"type": "integer", "minimum": 1},
        },
    ]


def _failures() -> Json:
    """Return one response for each status of the error tree. `4XX` stands for an engine's own refusal of a request."""
    meanings: dict[int, list[str]] = {}
    for kind in error_kinds():
        meanings.setdefault(kind.status, []).append(kind.code)
    found = {str(status): _failure(", ".join(codes)) for status, codes in sorted(meanings.items())}
    return {**found, "4XX": _failure(errors.UpstreamRejected.code)}


def _cold_path(route: Route) -> Json:
    path = route.path.replace(":path}", "}")
    methods = sorted((route.methods or set()) - {"HEAD"})
    return {path: {method.lower(): _operation(route, path, method) for method in methods}}


def _operation(route: Route, path: str, method: str) -> Json:
    cold = _COLD.get(path) or _COLD[f"{method} {path}"]
    name = path.strip("/{}").translate(str.maketrans("/{}.", "____")).replace("__", "_")
    operation: Json = {
        "operationId": name if path in _COLD else f"{method.lower()}_{name}",
        "summary": cold.summary,
        "parameters": [
            *(
                {"name": one, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
                for one in route.param_convertors
            ),
            *({"name": one, "in": "query", "schema": {"type": "string"}} for one in cold.query),
        ],
        "responses": {
            str(cold.status): _response("As asked", {cold.media_type: {"schema": cold.answer}}),
            "400": _failure(errors.BadRequest.code),
        },
    }
    if cold.body is not None:
        schema = {"$ref": f"#/components/schemas/{cold.body.__name__}"}
        operation["requestBody"] = {"content": {"application/json": {"schema": schema}}}
        for error in (errors.PayloadTooLarge, errors.UnsupportedMediaType):
            operation["responses"][str(error.status)] = _failure(error.code)
    for status, meaning in cold.also.items():
        # The 503 of /readyz has the form of its 200, not that of an error.
        shown = cold.answer if path == "/readyz" else {"$ref": "#/components/schemas/Error"}
        operation["responses"][str(status)] = _response(meaning, {"application/json": {"schema": shown}})
    if (scope := needed(route.path, method)) != OPEN:
        operation["security"] = _SECURITY
        operation["responses"]["401"] = _failure(errors.Unauthenticated.code)
        operation["responses"]["403"] = _failure(f"{errors.Forbidden.code}: the key lacks the scope {scope}")
        operation["responses"].setdefault(
            "503", _failure(f"{errors.Overloaded.code}: the store does not answer")
        )
    return operation


def _failure(meaning: str) -> Json:
    return _response(meaning, {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}})


def _response(description: str, content: Json) -> Json:
    headers = {"x-request-id": {"$ref": "#/components/headers/RequestId"}}
    return {"description": description, "headers": headers, "content": content}


def _error_schema() -> Json:
    text: Json = {"type": "string"}
    detail: Json = {
        "type": "object",
        "required": ["message", "type", "code", "param"],
        "properties": {
            "message": text,
            "type": {"enum": sorted({kind.type for kind in error_kinds()})},
            # Examples only: a reload can also answer `invalid_config`.
            "code": {**text, "examples": sorted({kind.code for kind in error_kinds()})},
            "param": {"type": ["string", "null"]},
        },
    }
    return {"type": "object", "required": ["error"], "properties": {"error": detail}}


def error_kinds() -> Iterator[type[GatewayError]]:
    """Yield every class of the error tree, in the order of `errors.py`."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, GatewayError):
            yield kind
