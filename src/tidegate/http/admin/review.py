"""The admin API for reviewers: lists cases, shows them, takes decisions, and exports what was decided as labelled data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidegate.access.administration import date
from tidegate.access.wanted import wrong
from tidegate.errors import BadRequest, Conflict, GatewayError
from tidegate.http.access import visitor_of
from tidegate.http.admin.asking import MOST, PAGE, body_of, meant, number, query_of
from tidegate.http.answers import as_error, as_json
from tidegate.ports import Wall
from tidegate.review.desk import Desk
from tidegate.review.file import STATES, Wanted
from tidegate.types import Decision, Judged
from tidegate.types.case import APPROVE, EDIT, REJECT

# An answer has texts of users, and is right for a moment only (RFC 9111, 5.2.2.5).
_NOT_KEPT = {"cache-control": "no-store"}
LISTED = ("state", "rail", "policy", "model", "after", "limit")
"""The parameters of a list."""
LABELS: Mapping[str, str] = MappingProxyType({APPROVE: "good", EDIT: "bad", REJECT: "bad"})
"""What the decision of a person says of the text. That of a deadline says nothing."""

Answer = Callable[[Request], Awaitable[Response]]


class NewDecision(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of a decision. `text` is that of an edit, and `reason` is needed for a rejection."""

    action: Literal["approve", "edit", "reject"]
    text: str | None = None
    reason: str = ""

    def check(self) -> None:
        """Raise BadRequest for fields that do not go together."""
        if self.action == EDIT and not self.text:
            raise wrong("text", "is missing: an edit needs the text that leaves")
        if self.action != EDIT and self.text is not None:
            raise wrong("text", f"does not go with '{self.action}': leave it out, or use 'edit'")
        if self.action == REJECT and not self.reason.strip():
            raise wrong("reason", "is missing: say why the text must not leave")


class ReviewRoutes:
    """The routes below `/admin/reviews`."""

    def __init__(self, desk: Callable[[], Desk | None], wall: Wall) -> None:
        """`desk` returns the desk in force; None where no rail asks people."""
        self._find = desk
        self._wall = wall

    def routes(self) -> list[Route]:
        """For Starlette's router. They have to be `guarded`."""
        return [
            _route("/admin/reviews", "GET", self._list),
            _route("/admin/reviews/export", "GET", self._export),
            _route("/admin/reviews/{id}", "GET", self._show),
            _route("/admin/reviews/{id}/decision", "POST", self._decide),
        ]

    @property
    def _desk(self) -> Desk:
        desk = self._find()
        if desk is None:
            raise Conflict(
                "No person is asked here: give a rail `on_fail: review`, or set review.path to see the cases of before"
            )
        return desk

    async def _list(self, request: Request) -> Response:
        query = query_of(request, LISTED)
        most = number(query, "limit", PAGE, most=MOST)
        state = query.get("state", "open")
        if state not in STATES:
            raise BadRequest(f"There is no state '{state[:40]}'{meant(state, tuple(STATES))}", param="state")
        wanted = Wanted(state, query.get("rail", ""), query.get("policy", ""), query.get("model", ""))
        found = await self._desk.page(wanted, after=number(query, "after", 0), most=most)
        last = found[-1].number if found and len(found) == most else None
        return as_json({"cases": [shown(one) for one in found], "next": last}, more=_NOT_KEPT)

    async def _show(self, request: Request) -> Response:
        query_of(request, ())
        return as_json(shown(await self._desk.find(request.path_params["id"])), more=_NOT_KEPT)

    async def _decide(self, request: Request) -> Response:
        wanted = await body_of(request, NewDecision)
        wanted.check()
        by = f"key:{visitor_of(request).caller.key}"
        decision = Decision(wanted.action, by, wanted.text or "", wanted.reason.strip(), self._wall())
        return as_json(shown(await self._desk.take(request.path_params["id"], decision)), more=_NOT_KEPT)

    async def _export(self, request: Request) -> Response:
        query = query_of(request, ("after", "limit"))
        most = number(query, "limit", PAGE, most=MOST)
        found = await self._desk.decided(after=number(query, "after", 0), most=most)
        lines = b"".join(msgspec.json.encode(labelled(one)) + b"\n" for one in found)
        return Response(lines, headers=_NOT_KEPT, media_type="application/x-ndjson")


def shown(one: Judged) -> dict[str, Any]:
    """Return a case as the API shows it, with its number, and its decision if there is one."""
    case, made = one.case, one.decision
    fields = msgspec.to_builtins(case)
    times = {"created": date(case.created), "deadline": date(case.deadline)}
    decision = None if made is None else {**msgspec.to_builtins(made), "at": date(made.at)}
    return {"number": one.number, **fields, **times, "decision": decision}


def labelled(one: Judged) -> dict[str, Any]:
    """Return a line of labelled data: the text, what a person made of it, and what the rail had said.

    `number` is that of the decision, for the parameter `after`. `label` is `good` for a text that a person let go as it is,
    `bad` for one that was edited or rejected, and null where the deadline decided.
    """
    case, made = one.case, one.decision
    assert made is not None, "it was decided"
    return {
        "number": made.number,
        "case": case.id,
        "label": LABELS.get(made.action),
        "action": made.action,
        "surface": case.surface,
        "question": case.question,
        "text": case.text,
        "edited": made.text if made.action == EDIT else None,
        "reason": made.reason,
        "rail": case.rail,
        "category": case.category,
        "score": case.score,
        "policy": case.policy,
        "model": case.model,
        "by": made.by,
        "at": date(made.at),
    }


def _route(path: str, method: str, answer: Answer) -> Route:
    """A route whose errors become answers in OpenAI's form."""

    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except GatewayError as error:
            return as_error(error, _NOT_KEPT)

    return Route(path, answered, methods=[method])
