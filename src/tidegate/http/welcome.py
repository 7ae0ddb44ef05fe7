"""Serves a page for people with a browser, at `GET /`: what runs here, and links to the documentation."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib.metadata import metadata, version

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

API_REFERENCE = "https://platform.openai.com/docs/api-reference"
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Tidegate</title>
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }}</style>
<h1>Tidegate {version}</h1>
<p>A gateway to large language models. It speaks the OpenAI API; the base URL for clients ends in <code>/v1</code>.</p>
<ul>
{endpoints}
</ul>
<p>Read on: {links}.</p>
</html>
"""
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


def welcome(calls: Iterable[str], cold: Iterable[Route]) -> Route:
    """Return the route of the page that lists these paths and routes. It shows no settings: any client may read it."""
    lines = [f"POST {path}" for path in calls]
    lines += [
        f"GET {route.path.replace(':path}', '}')}" for route in cold if "GET" in (route.methods or set())
    ]
    endpoints = "\n".join(f"<li><code>{escape(line)}</code>" for line in lines)
    links = ", ".join(f'<a href="{escape(url)}">{escape(label)}</a>' for label, url in _links())
    page = _PAGE.format(version=escape(version("tidegate")), endpoints=endpoints, links=links)

    async def answer(_: Request) -> Response:
        return Response(page, headers=_HEADERS, media_type="text/html")

    return Route("/", answer, methods=["GET"], include_in_schema=False)


def _links() -> Iterable[tuple[str, str]]:
    """Yield label and URL of each link: the API's description, OpenAI's reference, and the package's project URLs."""
    yield "this API as an OpenAPI document", "/openapi.json"
    yield "the API reference of OpenAI", API_REFERENCE
    for place in metadata("tidegate").get_all("Project-URL") or ():
        label, _, url = str(place).partition(", ")
        yield label.lower(), url
