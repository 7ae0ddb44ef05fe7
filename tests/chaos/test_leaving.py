"""Clients that leave on real sockets, in order: the call behind them gets the seat. `make chaos` has the milliseconds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from serving import Running, Wire, config_to, eventually, run_gateway, wire
from talking import CHAT, chat, stream

from tidegate.engines.scripted.script import Script
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread


@pytest.fixture
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=Script())) as server:
        yield server


def patient(config: str) -> str:
    """A configuration under which calls may wait for any time, so that none is refused at the door."""
    classes = {"default": {"longest_wait_s": 36_000}}
    return json.dumps({**json.loads(config), "queue": {"enqueue_timeout_s": 36_000, "classes": classes}})


@pytest.fixture
def gateway(engine: ScriptedServer) -> Iterator[Running]:
    with run_gateway(patient(config_to(engine.base_url, max_in_flight=1))) as running:
        yield running


class Line:
    """Clients of one gateway, one after the other."""

    def __init__(self, gateway: Running, stack: ExitStack) -> None:
        self._gateway = gateway
        self._stack = stack

    @property
    def calls(self) -> int:
        return self._gateway.gateway.snapshot.calls

    def join(self, body: bytes) -> Wire:
        """Send a call that has to wait or lasts, and wait until the gateway has it."""
        before = self.calls
        client = self.send(body)
        eventually(lambda: self.calls == before + 1, "the gateway has the call")
        return client

    def send(self, body: bytes) -> Wire:
        """Send a call. It may be over before anybody can see it in the gateway."""
        client = self._stack.enter_context(wire(self._gateway.url))
        client.post(body, path=f"/v1/{CHAT}")
        return client

    def leave(self, client: Wire) -> None:
        """Close the connection and wait until the gateway has ended the call."""
        before = self.calls
        client.connection.close()
        eventually(lambda: self.calls == before - 1, "the gateway has ended the call")


HOLDS = {
    "streaming": stream("tokens=10000 itl=10", user="first"),
    "before its first token": stream("ttft=60000", user="first"),
    "not streaming": chat("ttft=60000", user="first"),
}


@pytest.mark.parametrize("first", HOLDS.values(), ids=HOLDS)
@pytest.mark.parametrize("leavers", [1, 3])
def test_the_call_behind_those_that_left_gets_the_seat_and_theirs_never_reach_the_engine(
    gateway: Running, engine: ScriptedServer, first: bytes, leavers: int
) -> None:
    with ExitStack() as stack:
        line = Line(gateway, stack)
        holds = line.join(first)
        eventually(lambda: engine.record.in_flight == 1, "the engine works")
        queued = [line.join(stream("tokens=3", user="queued")) for _ in range(leavers)]
        following = line.join(stream("tokens=3", user="next"))
        for client in queued:
            line.leave(client)
        assert engine.record.requests == 1, "the seat is still taken"
        holds.connection.close()
        assert following.read_head()[0] == 200
        assert following.read_chunks()
        eventually(lambda: engine.record.in_flight == 0, "the engine is told")
        found = [(entry.fields["user"], entry.outcome) for entry in engine.record.entries]
        assert found == [("first", "cancelled"), ("next", "finished")]
        assert engine.record.max_in_flight == 1


def test_a_whole_line_that_leaves_at_once_leaves_a_free_seat(
    gateway: Running, engine: ScriptedServer
) -> None:
    with ExitStack() as stack:
        line = Line(gateway, stack)
        clients = [line.join(stream("tokens=10000 itl=10")) for _ in range(20)]
        for client in clients:
            client.connection.close()
        eventually(lambda: line.calls == 0, "all calls are over")
        eventually(lambda: engine.record.in_flight == 0, "the engine is told")
        following = line.send(stream("tokens=3"))
        assert following.read_head()[0] == 200
        assert following.read_chunks()
