"""The OpenAPI document says what is served, no more and no less, and what it says of a request is what happens."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from serving import Running, ask, eventually, run_gateway, serve
from starlette.routing import Route
from talking import ENDPOINTS, NEEDED, body_of

from tidegate import errors
from tidegate.engines import fields
from tidegate.errors import GatewayError
from tidegate.gateway import Gateway
from tidegate.http.app import App
from tidegate.http.edge.refusals import Refusals
from tidegate.types import Endpoint

Json = dict[str, Any]


def config(*kinds: str) -> str:
    engines = {kind: {"kind": kind, "url": "http://127.0.0.1:9/v1"} for kind in kinds}
    models = {f"a-{kind}": {"deployments": [{"engine": kind}]} for kind in kinds}
    return json.dumps({"server": {"port": 0}, "engines": engines, "models": models})


@pytest.fixture(scope="module")
def gateway() -> Iterator[Running]:
    with run_gateway(config("openai")) as running:
        yield running


@pytest.fixture(scope="module")
def document(gateway: Running) -> Json:
    answer = ask(f"{gateway.url}/openapi.json", method="GET")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    return answer.json


def served(gateway: Gateway) -> set[tuple[str, str]]:
    """Every path with its method as the application routes it; white-box, because this is what the document is about."""
    app = App(gateway, Refusals())
    found = {(path, "post") for path in app._calls}
    for route in app._rest.routes:
        assert isinstance(route, Route)
        if not route.include_in_schema:  # the page for people
            continue
        found |= {
            (route.path.replace(":path", ""), method.lower())
            for method in route.methods or ()
            if method != "HEAD"
        }
    return found


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key == "$ref")
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def body_schema(document: Json, endpoint: str) -> Json:
    content = document["paths"][f"/v1/{endpoint}"]["post"]["requestBody"]["content"]
    reference: str = content["application/json"]["schema"]["$ref"]
    return document["components"]["schemas"][reference.rsplit("/", 1)[-1]]


def test_every_route_is_in_it_and_every_path_is_served(gateway: Running, document: Json):
    described = {(path, method) for path, item in document["paths"].items() for method in item}
    assert described == served(gateway.gateway)
    assert len(described) >= 10


def test_every_path_answers_as_a_route_and_not_as_a_stranger(gateway: Running, document: Json):
    for path, item in document["paths"].items():
        for method in item:
            url = gateway.url + re.sub(r"\{\w+\}", "a-openai", path)
            answer = ask(url, b"{}" if method == "post" else None, method=method.upper())
            assert str(answer.status) in item[method]["responses"], (path, answer.status)
            assert answer.status not in (404, 405)


def test_the_form_is_that_of_openapi_3_1(document: Json):
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"]
    assert document["info"]["version"]
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"\w+", name) for name in names)
    for operation in operations:
        assert operation["summary"]
        assert all(response["description"] for response in operation["responses"].values())


def test_every_parameter_of_a_path_is_described(document: Json):
    for path, item in document["paths"].items():
        for operation in item.values():
            parameters = operation.get("parameters", ())
            named = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))


def test_every_reference_leads_somewhere(document: Json):
    found = set(references(document))
    assert len(found) > 5
    for reference in found:
        part = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_fields_of_a_body_are_those_that_the_engine_takes(document: Json, endpoint: str):
    schema = body_schema(document, endpoint)
    assert set(schema["properties"]) == fields.OPENAI[Endpoint(endpoint)]
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == set(NEEDED[endpoint])


def test_an_engine_that_takes_more_adds_its_fields():
    with run_gateway(config("openai", "vllm")) as running:
        document = ask(f"{running.url}/openapi.json", method="GET").json
    schema = body_schema(document, "chat/completions")
    assert set(schema["properties"]) == fields.VLLM[Endpoint.CHAT] | fields.OPENAI[Endpoint.CHAT]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_field_that_is_required_is_missed_by_name(gateway: Running, document: Json, endpoint: str):
    for name in body_schema(document, endpoint)["required"]:
        values = {**NEEDED[endpoint], "model": b'"a-openai"'}
        del values[name]
        answer = ask(f"{gateway.base_url}/{endpoint}", body_of(values))
        assert (answer.status, answer.error["param"]) == (400, name)


def test_every_status_of_the_error_tree_is_a_response_of_a_call(document: Json):
    tree = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GatewayError)
    ]
    assert len(tree) > 15
    for endpoint in ENDPOINTS:
        responses = document["paths"][f"/v1/{endpoint}"]["post"]["responses"]
        for kind in tree:
            assert kind.code in responses[str(kind.status)]["description"]
    detail = document["components"]["schemas"]["Error"]["properties"]["error"]
    assert set(detail["required"]) == set(json.loads(GatewayError("why").body())["error"])
    assert set(detail["properties"]["type"]["enum"]) == {kind.type for kind in tree}


def test_a_reload_that_takes_an_engine_away_takes_its_fields():
    with serve(config("openai", "vllm")) as process:

        def fields_now() -> set[str]:
            answer = ask(f"{process.url}/openapi.json", method="GET")
            return set(body_schema(answer.json, "chat/completions")["properties"])

        assert "top_k" in fields_now()
        process.rewrite(config("openai"))
        process.signal(signal.SIGHUP)
        eventually(lambda: fields_now() == fields.OPENAI[Endpoint.CHAT], "the fields of the one engine left")
