"""Several addresses of one name: each has its turn, and a silent one costs a quarter of a second and no call."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from egress import servers
from egress.servers import Peer
from virtual import VirtualLoop

from tidegate.egress.addresses import NEXT_AFTER_S, SET_BACK, Addresses
from tidegate.egress.exchange import Timeouts
from tidegate.egress.pool import HttpClient, Reuse

Answer = float | OSError
"""After how many seconds an address answers, or how it refuses."""
REFUSED = ConnectionRefusedError(111, "refused")
NEVER = 1000.0


def v4(last: int) -> tuple[int, tuple[Any, ...]]:
    return socket.AF_INET, (f"192.0.2.{last}", 80)


def v6(last: int) -> tuple[int, tuple[Any, ...]]:
    return socket.AF_INET6, (f"2001:db8::{last}", 80, 0, 0)


class Net(VirtualLoop):
    """A loop with one name in its world, and what becomes of connections to the addresses of it."""

    def __init__(self, answers: Mapping[tuple[int, tuple[Any, ...]], Answer]) -> None:
        super().__init__()
        self.answers = dict(answers)
        self.tried: list[tuple[float, str]] = []
        self.open: list[socket.socket] = []

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        return [(family, socket.SOCK_STREAM, 6, "", at) for family, at in self.answers]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        self.tried.append((round(self.time(), 2), address[0]))
        self.open.append(sock)
        answer = self.answers[sock.family, address]
        if isinstance(answer, OSError):
            raise answer
        await asyncio.sleep(answer)


def connect(net: Net, times: int = 1, *, at_once: bool = False) -> Sequence[float | OSError]:
    """How long each connection took, or how it failed; sockets of failed and lost attempts have to be closed."""

    async def one(addresses: Addresses) -> float | OSError:
        began = net.time()
        try:
            connected = await addresses.connect()
        except OSError as error:
            return error
        kept.append(connected)
        return round(net.time() - began, 2)

    async def scene() -> Sequence[float | OSError]:
        addresses = Addresses("engine.test", 80)
        if at_once:
            return await asyncio.gather(*(one(addresses) for _ in range(times)))
        return [await one(addresses) for _ in range(times)]

    kept: list[socket.socket] = []
    with asyncio.Runner(loop_factory=lambda: net) as runner:
        took = runner.run(scene())
    assert {sock for sock in net.open if sock.fileno() >= 0} == set(kept)
    for sock in kept:
        sock.close()
    return took


def names(net: Net) -> list[str]:
    return [name for _, name in net.tried]


@pytest.mark.parametrize("at_once", [False, True])
def test_addresses_are_used_in_turn(at_once: bool) -> None:
    net = Net({v4(1): 0.01, v4(2): 0.01, v4(3): 0.01})
    connect(net, 9, at_once=at_once)
    assert sorted(names(net)) == sorted(["192.0.2.1", "192.0.2.2", "192.0.2.3"] * 3)


def test_a_resolver_that_turns_them_itself_does_not_undo_it() -> None:
    """Many name servers give the addresses in another order each time: two turns must not add up to none."""
    net = Net({v4(1): 0.01, v4(2): 0.01})

    async def scene() -> None:
        addresses = Addresses("engine.test", 80)
        for _ in range(10):
            (await addresses.connect()).close()
            net.answers = dict(reversed(net.answers.items()))

    with asyncio.Runner(loop_factory=lambda: net) as runner:
        runner.run(scene())
    assert names(net).count("192.0.2.1") == 5


def test_a_silent_address_costs_a_quarter_of_a_second_and_is_set_back() -> None:
    net = Net({v6(1): NEVER, v4(1): 0.01})
    took = connect(net, SET_BACK - 1)
    assert took[0] == pytest.approx(NEXT_AFTER_S + 0.01)
    assert net.tried[:2] == [(0.0, "2001:db8::1"), (0.25, "192.0.2.1")]
    assert set(took[1:]) == {0.01}


def test_a_refusing_address_costs_no_time() -> None:
    net = Net({v4(1): REFUSED, v4(2): 0.01})
    assert connect(net) == [0.01]


def test_the_families_alternate_when_a_whole_one_is_silent() -> None:
    net = Net({v6(1): NEVER, v6(2): NEVER, v6(3): NEVER, v4(1): 0.01})
    assert connect(net) == [pytest.approx(0.26)]
    assert names(net) == ["2001:db8::1", "192.0.2.1"]


def test_a_slow_address_that_answers_first_is_taken() -> None:
    net = Net({v4(1): 0.4, v4(2): 0.4})
    assert connect(net) == [pytest.approx(0.4)]
    assert len(net.tried) == 2


def test_where_none_answers_the_first_failure_is_told() -> None:
    slow = OSError(113, "no route")
    net = Net({v4(1): REFUSED, v4(2): slow, v6(1): slow})
    assert connect(net) == [REFUSED]
    assert len(net.tried) == 3


def test_one_address_is_tried_once() -> None:
    assert connect(Net({v4(1): REFUSED})) == [REFUSED]
    assert connect(Net({v4(1): 0.3})) == [0.3]


def test_two_that_answer_in_the_same_moment_leave_one_socket() -> None:
    net = Net({v4(1): 0.5, v4(2): 0.25})
    assert len(connect(net)) == 1


def test_who_gives_up_leaves_no_socket_open() -> None:
    net = Net({v4(1): NEVER, v4(2): NEVER})

    async def scene() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await Addresses("engine.test", 80).connect()

    with asyncio.Runner(loop_factory=lambda: net) as runner:
        runner.run(scene())
    assert len(net.open) == 2
    assert all(sock.fileno() < 0 for sock in net.open)


# -- on the wire ----------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_connection_older_than_its_highest_age_carries_no_further_call() -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.answer(b"ok")

    async def told(client: HttpClient) -> None:
        exchange = await client.send(client.target("POST", "chat", []), [], b"{}", 20)
        while await exchange.read():
            pass
        await exchange.close()

    url, times = "http://localhost:{}/v1", Timeouts(20, 20, 20, 20)
    async with servers.serve(script) as server:
        for max_age_s, connections in ((0.0, 5), (3600.0, 1)):
            before = len(server.peers)
            client = HttpClient(url.format(server.port), times, max_connections=2, reuse=Reuse(max_age_s))
            for _ in range(5):
                await told(client)
            assert len(server.peers) - before == connections
            await client.close()


@pytest.mark.anyio
async def test_a_call_that_runs_is_not_cut_for_the_age_of_its_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.begin(b"one")
        await asyncio.sleep(0.05)
        await peer.send(b"3\r\ntwo\r\n0\r\n\r\n")
        await peer.gone()

    async with servers.serve(script) as server:
        url, times = f"http://127.0.0.1:{server.port}/v1", Timeouts(20, 20, 20, 20)
        client = HttpClient(url, times, max_connections=2, reuse=Reuse(0.001))
        exchange = await client.send(client.target("POST", "chat", []), [], b"{}", 20)
        assert [await exchange.read(), await exchange.read(), await exchange.read()] == [b"one", b"two", b""]
        await exchange.close()
        async with asyncio.timeout(20):
            await server.peers[0].left.wait()
        await client.close()


@pytest.mark.anyio
async def test_connections_have_tcp_keep_alive() -> None:
    async with servers.serve(Peer.gone) as server:
        connected = await Addresses("127.0.0.1", server.port).connect()
        assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        connected.close()
