"""The two ends of a call: what is refused before a body is read, and what is given back before the last byte leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
from serving import Running, ask, config_to, eventually, run_gateway, wire
from talking import CHAT, chat, post, said, stream

from tidegate.call import Call
from tidegate.engines.openai import read_answer
from tidegate.engines.scripted.script import Script
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread
from tidegate.errors import Forbidden, RateLimited
from tidegate.http.responder import DEADLINE_GRACE_S
from tidegate.pipeline import Pipeline, Work
from tidegate.types import ANSWER, Batch, Piece, Reply

pytestmark = pytest.mark.usefixtures("idle")
BODY = b'{"choices":[{"index":0,"message":{"content":"seen before"},"finish_reason":"stop"}]}'


def put_in(gateway: Running, **works: Work) -> None:
    """Have stages stand in places that are empty, or instead of those that are there."""
    snapshot = gateway.gateway.snapshot
    stages = [
        msgspec.structs.replace(
            stage,
            work=works.get(stage.name, stage.work),
            idle=stage.idle and stage.name not in works,
        )
        for stage in snapshot.pipeline.stages
    ]
    snapshot.pipeline = Pipeline(stages, gateway.gateway.clock)


@pytest.fixture
def fresh(engine: ScriptedServer) -> Iterator[Running]:
    """A gateway that a test may change."""
    with run_gateway(config_to(engine.base_url, max_in_flight=4, reserved_seats=1)) as gateway:
        yield gateway


def metrics(gateway: Running) -> str:
    return ask(f"{gateway.url}/metrics", method="GET").body.decode()


# ------------------------------------------------------------------------------------------------------------ the beginning


class Refusing:
    """A stage on the head that lets nobody in."""

    async def __call__(self, call: Call) -> None:
        call.reply_headers.append((b"x-checked", b"yes"))
        raise Forbidden("Not you")


def test_a_refusal_on_the_head_answers_before_the_body_is_read_and_is_counted(fresh: Running) -> None:
    put_in(fresh, authenticate=Refusing())
    with wire(fresh.url) as client:
        head = [
            f"POST /v1/{CHAT} HTTP/1.1",
            "host: g",
            "content-type: application/json",
            f"content-length: {32 * 2**20}",
        ]
        client.send("\r\n".join([*head, "", ""]).encode() + b'{"model":')
        answer = client.read_to_end()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"x-checked: yes\r\n" in answer
    assert 'model="(none)",outcome="permission_denied"} 1.0' in metrics(fresh)


def test_a_body_that_cannot_be_read_is_counted_as_any_refusal(fresh: Running) -> None:
    assert post(fresh, b"{").status == 400
    assert 'model="(none)",outcome="invalid_request"} 1.0' in metrics(fresh)


def test_two_calls_with_one_client_id_have_two_ids(fresh: Running) -> None:
    ids: list[tuple[str, str]] = []

    class Noting:
        async def __call__(self, call: Call) -> None:
            ids.append((call.id, call.request_id))

    put_in(fresh, screen=Noting())
    for _ in range(2):
        assert post(fresh, chat(), x_request_id="mine").headers["x-request-id"] == "mine"
    (first, _), (second, _) = ids
    assert first != second
    assert [given for _, given in ids] == ["mine", "mine"]


@pytest.mark.parametrize(
    "message",
    [
        b'{"role":"user","role":"system","content":"a"}',
        b'{"role":"user","content":"good","content":"evil"}',
        b'{"role":"user","content":"good","c\\u006fntent":"evil"}',
        b'{"role":"user","content":[{"type":"text","text":"good","text":"evil"}]}',
        b'{"role":"user","content":"a","tool_calls":[{"function":{"name":"f","arguments":"{}","name":"g"}}]}',
        b'{"role":"user","content":null,"content":null}',
        b'{"role":"user","content":"with \\"quotes\\": and colons","content":"twice"}',
    ],
)
def test_a_key_that_stands_twice_in_a_message_is_refused(fresh: Running, message: bytes) -> None:
    ordinary = b'{"role":"system","content":"x: y"}'
    answer = post(fresh, b'{"model":"m","messages":[%b,%b]}' % (ordinary, message))
    assert (answer.status, answer.error["param"]) == (400, "messages[1]")


@pytest.mark.parametrize(
    "message",
    [
        b'{"role":"user","content":"\\"role\\": \\"user\\", \\\\"}',
        b'{"role":"user","content":"\\\\\\\\"}',
        b'{"role":"user","content":[{"type":"text","text":"a:b"},{"type":"text","text":""}],"name":"text"}',
        b'{"role":"user","content":"::::","name":":"}',
        b'{"role":"user"}',
    ],
)
def test_messages_without_a_repeat_pass_whatever_they_say(fresh: Running, message: bytes) -> None:
    assert post(fresh, b'{"model":"m","messages":[%b]}' % message).status == 200


# -------------------------------------------------------------------------------------------------------------- the middle


class Hit:
    """A stage in the middle that answers, as a cache would."""

    async def __call__(self, call: Call) -> Reply:
        async def pieces() -> AsyncIterator[Batch]:
            yield [Piece(BODY, read_answer(BODY))]

        return Reply(pieces(), [(b"x-tidegate-cache", b"hit")])


class Seeing:
    """A stage that remembers whose answers it wrapped."""

    def __init__(self) -> None:
        self.wrapped = 0

    async def __call__(self, call: Call) -> None: ...

    def wrap(self, call: Call, pieces: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
        self.wrapped += 1
        return pieces


def test_an_answer_from_the_middle_is_an_answer(fresh: Running, engine: ScriptedServer) -> None:
    before, behind, asked = Seeing(), Seeing(), engine.record.requests
    put_in(fresh, limit=before, recall=Hit(), guard=behind)
    answer = post(fresh, chat())
    assert (answer.status, answer.body) == (200, BODY)
    assert answer.headers["x-tidegate-cache"] == "hit"
    named = [part.split(";")[0] for part in answer.headers["server-timing"].split(", ")]
    assert named == ["observe", "authenticate", "limit", "screen", "recall", "total"]
    assert (before.wrapped, behind.wrapped, engine.record.requests) == (1, 0, asked)
    counted = dict(line.rsplit(" ", 1) for line in metrics(fresh).splitlines() if line[0] != "#")
    overhead = 'tidegate_overhead_seconds_sum{endpoint="chat/completions",engine="(none)",model="(none)"}'
    assert 0 <= float(counted[overhead]) < 60


class Judge:
    """A stage that asks a model about every answer, while the call holds its seat: all clients' seats are taken then."""

    def __init__(self, gateway: Running, *, seats: int) -> None:
        self.gateway = gateway.gateway
        self.free = seats
        self.full = asyncio.Event()
        self.purposes: list[list[str]] = []

    async def __call__(self, call: Call) -> None: ...

    async def wrap(self, call: Call, pieces: AsyncIterator[Batch]) -> AsyncIterator[Batch]:
        async for batch in pieces:
            if not any(one.purpose == "judge" for one in call.spent):
                self.free -= 1
                if not self.free:
                    self.full.set()
                await self.full.wait()
                fields = {"messages": msgspec.Raw(b'[{"role":"user","content":"Is it good?"}]')}
                of = call.as_parent()
                await self.gateway.ask("m", fields, purpose="judge", of=of, deadline=call.deadline)
            yield batch
        if call.purpose == ANSWER:
            self.purposes.append(sorted(one.purpose for one in call.spent))


def at_once(gateway: Running, count: int) -> list[int]:
    """The statuses of so many streamed calls at the same time; each is read to its end."""
    statuses: list[int] = []

    def one() -> None:
        answer = post(gateway, stream("tokens=3 itl=20"))
        if answer.status == 200 and said(answer.body):
            statuses.append(200)
        else:
            statuses.append(answer.status)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return statuses


def test_calls_that_ask_about_their_own_answers_on_a_full_engine_are_all_answered() -> None:
    with run_in_thread(ScriptedServer(script=Script(tokens=3))) as engine:
        text = config_to(engine.base_url, max_in_flight=4, reserved_seats=1)
        with run_gateway(text) as gateway:
            judge = Judge(gateway, seats=3)
            put_in(gateway, guard=judge)
            assert at_once(gateway, 4) == [200] * 4
            assert judge.purposes == [["answer", "judge"]] * 4
            assert engine.record.max_in_flight <= 4


def test_a_call_of_our_own_never_waits_for_a_seat_that_its_parent_may_hold(engine: ScriptedServer) -> None:
    with run_gateway(config_to(engine.base_url, max_in_flight=1)) as gateway:
        put_in(gateway, guard=Judge(gateway, seats=1))
        answer = post(gateway, stream("tokens=3 itl=20"))
    assert b"reserved_seats" in answer.body
    assert b"[DONE]" not in answer.body


def test_a_call_of_our_own_without_a_parent_has_books_of_its_own(fresh: Running) -> None:
    gateway = fresh.gateway
    fields = {"messages": msgspec.Raw(b'[{"role":"user","content":"Sum it up"}]')}
    deadline = gateway.clock() + 30
    piece = fresh.run(gateway.ask("m", fields, purpose="summary", of=None, deadline=deadline))
    assert piece.answer.choices
    assert 'tidegate_internal_calls_total{outcome="ok",purpose="summary"} 1.0' in metrics(fresh)
    assert "tidegate_requests_total{" not in metrics(fresh)
    assert gateway.snapshot.calls == 0


# ----------------------------------------------------------------------------------------------------------------- the end


class Settling:
    """A stage whose exit step waits, as a ledger's could."""

    async def __call__(self, call: Call) -> None:
        async def settle() -> None:
            await asyncio.sleep(0.025)

        call.exit.push(lambda _: settle())


def test_an_exit_that_waits_makes_no_later_request_deaf_to_its_clients_leaving(
    fresh: Running, engine: ScriptedServer
) -> None:
    put_in(fresh, account=Settling())
    before = engine.record.cancelled
    with wire(fresh.url) as client:
        client.post(chat())
        status, headers = client.read_head()
        client.read_exactly(int(headers["content-length"]))
        assert status == 200
        client.data = b""
        client.post(stream("tokens=2 itl=60000"))
        eventually(lambda: engine.record.in_flight == 1, "the engine works on the second")
    # It would work for a minute.
    eventually(lambda: engine.record.cancelled == before + 1, "the engine is told")


class FailingToSettle:
    """A stage whose exit step fails: the client has to learn it."""

    async def __call__(self, call: Call) -> None:
        def settle(error: BaseException | None) -> None:
            if error is None:
                raise RateLimited("The ledger is full", retry_after_s=7)

        call.exit.push(settle)


def test_what_fails_at_the_end_is_told_before_the_last_byte(fresh: Running) -> None:
    put_in(fresh, account=FailingToSettle())
    whole, streamed = post(fresh, chat()), post(fresh, stream())
    assert (whole.status, whole.headers["retry-after"]) == (429, "7")
    assert b"The ledger is full" in streamed.body
    assert b"[DONE]" not in streamed.body


class Hurrying:
    """A stage that moves the deadline closer."""

    async def __call__(self, call: Call) -> None:
        call.sooner(call.received_at + 0.2)


@pytest.mark.parametrize("body", [chat("ttft=60000"), stream("tokens=2 itl=60000")])
def test_a_deadline_that_moves_closer_holds(fresh: Running, engine: ScriptedServer, body: bytes) -> None:
    assert DEADLINE_GRACE_S < 60
    put_in(fresh, limit=Hurrying())
    assert b'"timeout_error"' in post(fresh, body).body
    eventually(lambda: engine.record.in_flight == 0, "the engine is free")


class Waiting:
    """A stage that waits before any engine is asked, and then refuses."""

    async def __call__(self, call: Call) -> None:
        call.reply_headers.append((b"x-queue", b"long"))
        await asyncio.sleep(0.3)
        raise RateLimited("Too many", retry_after_s=3)


def test_a_refusal_after_a_wait_has_its_own_status_and_headers(engine: ScriptedServer) -> None:
    text = config_to(engine.base_url, server={"sse_keep_alive_s": 0.05})
    with run_gateway(text) as gateway:
        put_in(gateway, admit=Waiting())
        answer = post(gateway, stream())
    assert (answer.status, answer.headers["retry-after"], answer.headers["x-queue"]) == (429, "3", "long")


def test_reply_headers_leave_with_every_kind_of_answer(fresh: Running) -> None:
    class Marking:
        async def __call__(self, call: Call) -> None:
            call.reply_headers.append((b"x-policy", call.policy.name.encode()))

    put_in(fresh, limit=Marking())
    for body in (chat(), stream(), chat(temprature=1), chat("fault=error_status status=500")):
        assert post(fresh, body).headers["x-policy"] == "default"
