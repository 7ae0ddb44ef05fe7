"""Driving the load, on a clock that jumps: who sends when, and what a server that stalls cannot hide."""

from __future__ import annotations

import asyncio
from array import array

import numpy as np
import pytest
from virtual import run

from tidegate.ops.load import figures
from tidegate.ops.load.bench import notes
from tidegate.ops.load.figures import Slo
from tidegate.ops.load.options import Options
from tidegate.ops.load.plan import Arrival, Closed, Open, arrivals
from tidegate.ops.load.prompts import MadeUp, Scale, Shape
from tidegate.ops.load.run import PAUSE_AFTER_ERROR_S, Record, Runner
from tidegate.ops.load.sample import Sample


class Server:
    """Answers after `takes` seconds, not at all while it stalls, and `slots` at a time. Satisfies `Asker`."""

    def __init__(self, takes: float, *, stalls=lambda now: 0.0, slots: int = 10_000, error: str = "") -> None:
        self.takes, self.stalls, self.error = takes, stalls, error
        self.slots = asyncio.Semaphore(slots)
        self.now = self.most = 0
        self.texts: list[bytes] = []

    async def ask(self, prompt, due, *, keep=False):
        clock = asyncio.get_running_loop().time
        sample = Sample(due=due, sent=clock(), error=self.error)
        self.texts.append(bytes(prompt.messages))
        self.now += 1
        self.most = max(self.most, self.now)
        async with self.slots:
            await asyncio.sleep(self.stalls(clock()))
            await asyncio.sleep(self.takes)
        self.now -= 1
        sample.done = clock()
        sample.contents = array("d", [sample.done])
        sample.output_tokens = 1
        return sample, "an answer" if keep else ""


def drive(make_server, step, *, shape: Shape | None = None, stop_at: float | None = None):
    async def work():
        loop = asyncio.get_running_loop()
        server = make_server()
        runner = Runner(server, MadeUp(shape or Shape(), Scale()), clock=loop.time)
        if stop_at is not None:
            loop.call_later(stop_at, runner.stop)
        record = Record(step)
        await runner.run(record)
        return server, record

    return run(work())


def open_loop(rate: float, seconds: float, *, cap: int = 1000) -> Open:
    due = arrivals(rate, seconds, process="constant")
    return Open(name="open", rate=rate, arrivals=due, duration_s=seconds, max_in_flight=cap)


def test_users_ask_again_when_answered_and_never_more_at_once():
    server, record = drive(lambda: Server(0.5), Closed(users=4, duration_s=10.0))
    assert server.most == 4
    assert len(record.samples) == 4 * 20
    assert record.ended == pytest.approx(10.0, abs=0.02)


def test_a_number_of_requests_is_sent_exactly():
    server, record = drive(lambda: Server(0.5), Closed(users=4, duration_s=100.0, requests=10))
    assert len(record.samples) == len(server.texts) == 10


def test_an_open_loop_sends_by_the_clock_however_slow_the_answers():
    server, record = drive(lambda: Server(2.95), open_loop(10, 5.0))
    assert [sample.sent for sample in record.samples] == pytest.approx(np.arange(1, 51) / 10, abs=0.001)
    assert server.most == 30
    assert record.ended == pytest.approx(7.95, abs=0.01)


def test_requests_that_find_no_room_are_measured_from_when_they_were_due():
    # One place, answers of 0.2 s, ten a second: half of them wait, ever longer.
    _, record = drive(lambda: Server(0.2), open_loop(10, 4.0, cap=1))
    found = figures.metrics(record, Slo())
    assert found["time_to_first_token"].max == pytest.approx(200, abs=2)
    assert found["time_to_first_token_from_schedule"].max == pytest.approx(200 + 39 * 100, abs=5)
    assert max(record.lags) < 0.001  # the tester itself was on time
    assert record.held == 39
    assert any("39 requests had to wait" in note for note in notes(record, Options(url="", rates=(10,))))


def stalling(now: float) -> float:
    """Nothing is answered in the first second of every ten."""
    return max(0.0, 1.0 - now % 10)


def test_a_stall_of_one_second_in_ten_shows_in_the_p99_from_schedule():
    _, record = drive(lambda: Server(0.01, stalls=stalling, slots=1), open_loop(50, 60.0, cap=1))
    found = figures.metrics(record, Slo())
    # From sending, one request in 500 has met each stall: the p99 says all is well.
    assert found["time_to_first_token"].p99 == pytest.approx(10, abs=1)
    assert found["time_to_first_token_from_schedule"].p99 > 800


def test_a_failing_server_is_not_asked_thousands_of_times():
    _, record = drive(lambda: Server(0.0, error="http_429"), Closed(users=1, duration_s=10.0))
    assert len(record.samples) == pytest.approx(10 / PAUSE_AFTER_ERROR_S, rel=0.05)


def test_stopping_sends_nothing_more_and_lets_answers_end():
    _, record = drive(lambda: Server(1.0), Closed(users=3, duration_s=60.0), stop_at=2.5)
    assert len(record.samples) == 9
    assert all(sample.ok for sample in record.samples)
    _, record = drive(lambda: Server(1.0), open_loop(10, 60.0), stop_at=2.55)
    assert len(record.samples) == 25


def test_a_trace_brings_its_lengths_to_the_prompts():
    step = Open(
        name="", rate=1, arrivals=[Arrival(0.0, 30, 5), Arrival(1.0, 50, 5)], duration_s=1.0, max_in_flight=9
    )
    server, _ = drive(lambda: Server(0.1), step)
    assert [text.count(b" ") + 1 for text in server.texts] == [20, 40]


def test_conversations_send_the_answers_back():
    server, _ = drive(lambda: Server(0.1), Closed(users=1, duration_s=0.15), shape=Shape(turns=3))
    assert b"an answer" not in server.texts[0]
    assert b"an answer" in server.texts[1]


def test_what_the_figures_do_not_say_is_noted():
    step = Closed(users=8, duration_s=9.0, requests=2)
    asked = Options(url="http://h/v1")
    cached = Sample(due=0.0, contents=array("d", [1.0]), prompt_tokens=100, cached_tokens=90)
    empty = Sample(due=0.0, prompt_tokens=100, cached_tokens=90)
    few, nothing, seen = notes(Record(step, samples=[cached, empty]), asked)
    assert few == "8 users: only 2 requests, so there were never more at once."
    assert nothing.startswith("8 users: 1 of 2 answers had no content")
    assert "had 90% of the prompts' tokens in a cache" in seen
    wanted = Options(url="http://h/v1", shape=Shape(prefix_tokens=100), stream=False)
    assert notes(Record(Closed(users=1, duration_s=9.0), samples=[cached, empty]), wanted) == []
