"""Several workers behind one port, for real: processes, signals and kills; nothing here is in process but the engine."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from issuers import issuer
from serving import Answer, Process, ask, eventually, serve

from tidegate.engines.scripted.script import Script
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread

TWO = ("--workers", "2")
TOKEN = {"authorization": "Bearer let-me-in"}


def config(engine_url: str, **more: Any) -> str:
    tree: dict[str, Any] = {
        "server": {"port": 0, "drain_grace_s": 0.2, "drain_deadline_s": 30},
        "admin": {"port": 0, "token": "let-me-in"},
        "engines": {
            "upstream": {"kind": "openai", "url": engine_url, "max_in_flight": 3},
            "free": {"kind": "openai", "url": engine_url},
            **more.pop("engines", {}),
        },
        "models": {
            "m": {"deployments": [{"engine": "upstream"}]},
            "free": {"deployments": [{"engine": "free"}]},
            **more.pop("models", {}),
        },
    }
    return json.dumps(tree | more)


def admin_url(process: Process) -> str:
    """Where all workers are seen as one."""
    found = re.search(r"admin port .* (http://\S+)$", process.log(), re.MULTILINE)
    assert found, process.log()
    return found[1]


def workers(process: Process) -> list[dict[str, Any]]:
    """What each worker says of itself, by number."""
    return ask(f"{admin_url(process)}/readyz", method="GET").json["workers"]


def all_ready(process: Process) -> bool:
    return ask(f"{admin_url(process)}/readyz", method="GET").status == 200


def ended_calls(url: str) -> float:
    """The sum of all calls that have ended, as a scrape shows it."""
    page = ask(f"{url}/metrics", method="GET").body.decode()
    return sum(float(n) for n in re.findall(r"^tidegate_requests_total\{.*\} (\S+)$", page, re.MULTILINE))


def metric(url: str, line: str) -> float:
    page = ask(f"{url}/metrics", method="GET").body.decode()
    return float(page.split(f"\n{line} ")[1].split("\n")[0])


def chat(process: Process, text: str = "hi", **fields: Any) -> Answer:
    """One call on a connection of its own, so that the kernel chooses a worker anew."""
    body = {"model": "free", "messages": [{"role": "user", "content": text}]} | fields
    return ask(f"{process.base_url}/chat/completions", json.dumps(body).encode())


def runs(pid: int) -> bool:
    """Whether a process is there and not just waiting to be reaped. It holds its sockets until its last thread ends."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX" or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except FileNotFoundError:
        return False


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def llama_pids(process: Process) -> list[int]:
    everyone = [pid for parent in [process.pid, *children(process.pid)] for pid in children(parent)]
    return [pid for pid in everyone if b"embedded/child" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def names(process: Process) -> set[str]:
    """The models that are served, asked often enough to hear every worker."""
    lists = [ask(f"{process.base_url}/models", method="GET").json["data"] for _ in range(12)]
    return {" ".join(model["id"] for model in models) for models in lists}


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=Script(tokens=3))) as server:
        yield server


@pytest.fixture(scope="module")
def process(engine: ScriptedServer) -> Iterator[Process]:
    """Two workers that survive the test."""
    with serve(config(engine.base_url), args=TWO) as process:
        eventually(lambda: all_ready(process), "readiness")
        yield process


def test_both_workers_serve_and_every_scrape_shows_their_sum(process: Process) -> None:
    before = ended_calls(process.url)
    assert [chat(process).status for _ in range(40)] == [200] * 40
    eventually(lambda: ended_calls(process.url) - before >= 40, "the count of the last call")
    rows = workers(process)
    assert len({row["pid"] for row in rows}) == 2
    assert all(row["calls"] > 0 for row in rows), rows
    assert all(row["engines"] == {"upstream": "ready", "free": "ready"} for row in rows)
    # On the common port whichever worker answers, and on the admin port.
    assert [ended_calls(process.url) - before for _ in range(8)] == [40] * 8
    assert ended_calls(admin_url(process)) - before == 40
    count = 'tidegate_duration_seconds_count{endpoint="chat/completions",engine="free",model="free"}'
    assert metric(process.url, count) == ended_calls(process.url)
    assert metric(process.url, "tidegate_workers") == 2
    assert metric(process.url, 'tidegate_engine_ready{engine="free"}') == 1


def test_the_engine_never_gets_more_calls_at_once_than_it_may(
    process: Process, engine: ScriptedServer
) -> None:
    engine.record.reset()
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: chat(process, "[[scripted ttft=20]]", model="m"), range(72)))
    assert {answer.status for answer in answers} == {200}
    assert engine.record.max_in_flight == 3, "one worker has one place, the other two"


def test_a_bad_configuration_changes_nothing_anywhere(process: Process, engine: ScriptedServer) -> None:
    def reload_with(text: str) -> Answer:
        process.rewrite(text)
        return ask(f"{process.url}/admin/reload", headers=TOKEN)

    refused = 'tidegate_config_reloads_total{result="refused"}'
    before = metric(process.url, refused)
    process.rewrite("models: [")
    process.signal(signal.SIGHUP)
    eventually(lambda: metric(process.url, refused) > before, "the refusal")

    dead = {"kind": "openai", "url": "http://127.0.0.1:9/v1"}
    embedded = {"kind": "embedded"}
    narrow = {"kind": "openai", "url": engine.base_url, "max_in_flight": 1}
    for more, why in (
        (dead, "connection refused"),
        (embedded, "restart to change"),
        (narrow, "too few for 2"),
    ):
        answer = reload_with(config(engine.base_url, engines={"new": more}))
        assert (answer.status, answer.error["code"]) == (422, "invalid_config")
        assert why in answer.error["message"]
        assert answer.json["problems"][0]["path"].startswith("engines.new")
    assert names(process) == {"free m"}
    assert {row["engines"].keys() == {"upstream", "free"} for row in workers(process)} == {True}
    assert ask(f"{admin_url(process)}/admin/reload").status == 401

    good = config(engine.base_url, models={"new": {"deployments": [{"engine": "free"}]}})
    assert reload_with(good).json == {"status": "reloaded", "models": ["free", "m", "new"]}
    assert names(process) == {"free m new"}


class Choosy(BaseHTTPRequestHandler):
    """An engine that is ready for one process only."""

    friend = 0

    def do_GET(self) -> None:
        port = f":{self.client_address[1]:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        inode = next(row[9] for row in rows if row[1].endswith(port))
        files = [str(file.readlink()) for file in Path(f"/proc/{self.friend}/fd").iterdir()]
        self.send_response(200 if f"socket:[{inode}]" in files else 503)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def test_if_one_worker_cannot_use_a_configuration_none_does(process: Process, engine: ScriptedServer) -> None:
    Choosy.friend = workers(process)[0]["pid"]
    with ThreadingHTTPServer(("127.0.0.1", 0), Choosy) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        before = names(process)
        process.rewrite(
            config(
                engine.base_url,
                engines={"choosy": {"kind": "openai", "url": url, "probe": "/ready"}},
                models={"choosy": {"deployments": [{"engine": "choosy"}]}},
            )
        )
        answer = ask(f"{process.url}/admin/reload", headers=TOKEN)
        server.shutdown()
    assert (answer.status, [p["path"] for p in answer.json["problems"]]) == (422, ["engines.choosy"])
    assert names(process) == before
    assert len(before) == 1
    assert all("choosy" not in row["engines"] for row in workers(process))


BRITTLE = """
from pathlib import Path

from tidegate.config import EngineConfig
from tidegate.engines.scripted.engine import ScriptedEngine
from tidegate.types import Capabilities

class Brittle(ScriptedEngine):
    Config = EngineConfig

    def __init__(self, config):
        pass

    async def open(self, host):
        pass

    async def close(self):
        pass

    async def ready(self):
        return True

    async def load(self):
        return None

    @property
    def capabilities(self):
        try:
            Path(__file__).with_name("fragile").unlink()
        except FileNotFoundError:
            return Capabilities({})
        raise OSError("broken once, after it was prepared")
"""


def test_a_worker_that_does_not_swap_starts_anew_with_what_the_others_serve(
    engine: ScriptedServer, tmp_path: Path
) -> None:
    info = tmp_path / "brittle-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brittle\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tidegate.engines]\nbrittle = brittle:Brittle\n")
    (tmp_path / "brittle.py").write_text(BRITTLE)
    (tmp_path / "fragile").touch()
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with serve(config(engine.base_url), args=TWO, env={"PYTHONPATH": path}) as process:
        pids = [row["pid"] for row in workers(process)]
        process.rewrite(
            config(
                engine.base_url,
                engines={"brittle": {"kind": "brittle"}},
                models={"new": {"deployments": [{"engine": "free"}]}},
            )
        )
        answer = ask(f"{admin_url(process)}/admin/reload", headers=TOKEN)
        assert answer.status == 200
        (restarted,) = answer.json["restarted"]
        eventually(lambda: not runs(pids[restarted]), "the end of the one that did not swap")
        eventually(lambda: all_ready(process), "readiness")
        assert [row["pid"] == pid for row, pid in zip(workers(process), pids, strict=True)] == [
            number != restarted for number in range(2)
        ]
        assert names(process) == {"free m new"}
        assert {"brittle" in row["engines"] for row in workers(process)} == {True}
        assert metric(process.url, "tidegate_worker_reloads_unconfirmed_total") == 1
        assert f"worker {restarted} did not confirm" in process.log()


def test_a_killed_worker_comes_back_while_the_other_serves_on(engine: ScriptedServer) -> None:
    with serve(config(engine.base_url), args=TWO) as process:
        assert {chat(process).status for _ in range(20)} == {200}
        eventually(lambda: ended_calls(process.url) == 20, "the count of the last call")
        killed = workers(process)[0]["pid"]
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: not runs(killed), "the worker's end")
        assert {chat(process).status for _ in range(20)} == {200}
        process.wait_for_log("restart in 0.00 s")  # and with that the dead one counts as gone
        eventually(lambda: all_ready(process), "readiness")
        assert killed not in {row["pid"] for row in workers(process)}
        sent = 40
        while not workers(process)[0]["calls"]:
            assert chat(process).status == 200
            sent += 1
        assert metric(process.url, "tidegate_worker_restarts_total") == 1
        # The dead worker had been scraped, so what it counted is still in the sum.
        eventually(lambda: ended_calls(process.url) >= sent, "the count of the last call")
        assert ended_calls(process.url) == sent


@pytest.mark.parametrize("everyone", [False, True], ids=["supervisor", "every process"])
def test_sigterm_breaks_no_stream_and_leaves_no_process(engine: ScriptedServer, *, everyone: bool) -> None:
    with serve(config(engine.base_url), args=TWO) as process, ThreadPoolExecutor(40) as pool:
        pids = [row["pid"] for row in workers(process)]
        engine.record.reset()
        streams = [
            pool.submit(chat, process, "[[scripted itl=30 tokens=50]]", stream=True) for _ in range(40)
        ]
        eventually(lambda: engine.record.in_flight == 40, "forty streams")
        for pid in (process.pid, *(pids if everyone else ())):
            os.kill(pid, signal.SIGTERM)
        ends = [stream.result().body for stream in streams]
        assert [body.count(b'"content"') for body in ends] == [ends[0].count(b'"content"')] * 40
        assert all(body.endswith(b"data: [DONE]\n\n") for body in ends)
        assert process.wait() == 0
        assert not any(map(runs, pids))


def test_workers_end_when_the_supervisor_is_killed_but_finish_what_runs(engine: ScriptedServer) -> None:
    with serve(config(engine.base_url), args=TWO) as process, ThreadPoolExecutor(8) as pool:
        pids = [row["pid"] for row in workers(process)]
        engine.record.reset()
        streams = [pool.submit(chat, process, "[[scripted itl=30 tokens=40]]", stream=True) for _ in range(8)]
        eventually(lambda: engine.record.in_flight == 8, "eight streams")
        process.signal(signal.SIGKILL)
        assert all(stream.result().body.endswith(b"data: [DONE]\n\n") for stream in streams)
        eventually(lambda: not any(map(runs, pids)), "the workers' end")


def test_one_embedded_engine_serves_all_workers_and_its_death_stops_none() -> None:
    text = json.dumps({"server": {"drain_grace_s": 0}, "admin": {"port": 0}})
    with serve(text, args=TWO) as process:

        def both_answer() -> None:
            before = [row["calls"] for row in workers(process)]
            eventually(
                lambda: (
                    chat(process, model="default", max_tokens=2).status == 200
                    and all(row["calls"] > n for row, n in zip(workers(process), before, strict=True))
                ),
                "an answer by each worker",
            )

        both_answer()
        (llama,) = llama_pids(process)
        os.kill(llama, signal.SIGKILL)
        eventually(
            lambda: chat(process, model="default", max_tokens=2).status == 200,
            "an answer after the engine's death",
        )
        both_answer()
        assert re.findall(r"llama\.cpp .* restart in (\S+) s$", process.log(), re.MULTILINE) == ["0.00"], (
            "once, at once"
        )
        (successor,) = llama_pids(process)
        pids = [successor, *(row["pid"] for row in workers(process))]
        assert successor != llama
        process.signal(signal.SIGKILL)
        eventually(lambda: not any(map(runs, pids)), "the end of every process")


def refusal(folder: Path, *args: str) -> str:
    """What `tidegate serve` says when it does not start."""
    command = [sys.executable, "-m", "tidegate", "serve", *args]
    ended = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_what_cannot_be_shared_is_refused_once_and_in_words(tmp_path: Path) -> None:
    said = refusal(tmp_path, "--port", "0", "--workers", "5")
    assert said.count("engines.local.slots: is 4, too few for 5 workers to share") == 1


def test_a_port_that_is_taken_is_refused_even_if_its_owner_would_share_it(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        said = refusal(tmp_path, "--port", str(other.getsockname()[1]), *TWO)
    assert said.count("cannot listen") == 1


def test_tokens_hold_on_the_admin_port_and_at_every_worker() -> None:
    with issuer() as idp:
        claims = {
            "scopes": "roles",
            "scopes_by_value": {"operator": ["admin:read", "admin:write", "metrics"]},
        }
        with serve(config("http://127.0.0.1:9/v1", auth=idp.settings(claims=claims)), args=TWO) as process:

            def status(method: str, url: str, *roles: str) -> int:
                headers = {"authorization": f"Bearer {idp.token(roles=list(roles))}"}
                return ask(url, headers=headers, method=method).status

            admin = admin_url(process)
            assert status("GET", f"{admin}/metrics", "operator") == 200
            assert status("GET", f"{admin}/metrics", "other") == 403
            assert status("GET", f"{process.url}/metrics", "operator") == 200
            eventually(lambda: idp.fetches == 3, "the supervisor and both workers have the keys")
            process.rewrite(config("http://127.0.0.1:9/v1", auth=idp.settings(audience="other")))
            assert status("POST", f"{admin}/admin/reload", "operator") == 200
            assert status("GET", f"{admin}/metrics", "operator") == 401
            assert status("GET", f"{process.url}/metrics", "operator") == 401
            assert idp.fetches == 3


def test_an_admin_port_that_is_taken_is_refused_by_its_name(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        (tmp_path / "tidegate.yaml").write_text(config("http://127.0.0.1:9/v1", admin={"port": port}))
        said = refusal(tmp_path, *TWO)
    assert f"admin.port: cannot listen on 127.0.0.1:{port}" in said


def test_the_usage_of_all_workers_is_added_up(engine: ScriptedServer) -> None:
    headers = {"authorization": "Bearer ann-sends-this-key"}
    more: dict[str, Any] = {
        "quotas": {"divide": True},
        "policies": {"default": {"limits": {"requests_per_day": 101, "concurrent_calls": 5}}},
        "keys": {"ann": {"secret": "ann-sends-this-key"}},
    }
    with serve(config(engine.base_url, **more), args=TWO) as process:
        eventually(lambda: all_ready(process), "readiness")
        body = json.dumps({"model": "free", "messages": [{"role": "user", "content": "hi"}]}).encode()
        url = f"{process.base_url}/chat/completions"
        assert [ask(url, body, headers).status for _ in range(12)] == [200] * 12
        # On the common port whichever worker answers, and on the admin port.
        for place in [process.url] * 6 + [admin_url(process)]:
            answer = ask(f"{place}/admin/usage?level=key", headers=TOKEN, method="GET")
            page = answer.json
            found = {row["dimension"]: (row["used"], row["limit"], row["left"]) for row in page["limits"]}
            assert found == {"requests_per_day": (12, 101, 89)}, page
            assert page["silent_workers"] == 0
        wrong = ask(f"{admin_url(process)}/admin/usage?level=x", headers=TOKEN, method="GET")
        assert (wrong.status, wrong.error["param"]) == (400, "level")
        assert ask(f"{admin_url(process)}/admin/usage", headers=headers, method="GET").status == 403


def test_the_queues_of_all_workers_are_seen_as_one(engine: ScriptedServer) -> None:
    headers = {"authorization": "Bearer ann-sends-this-key"}
    more: dict[str, Any] = {"keys": {"ann": {"secret": "ann-sends-this-key"}}, "queue": {"max_size": 7}}
    with serve(config(engine.base_url, **more), args=TWO) as process:
        eventually(lambda: all_ready(process), "readiness")
        for place in [process.url] * 6 + [admin_url(process)]:
            page = ask(f"{place}/admin/queue?model=free&tokens=5", headers=TOKEN, method="GET").json
            assert (page["state"], page["size"], page["max_size"], page["silent_workers"]) == (
                "healthy",
                0,
                14,
                0,
            )
            assert [(one["worker"], one["max_size"]) for one in page["workers"]] == [(0, 7), (1, 7)]
            assert page["forecast"]["position"] == 0
        details = ask(f"{admin_url(process)}/readyz", headers=TOKEN, method="GET").json
        assert details["queue"] == {
            "state": "healthy",
            "utilization": 0,
            "size": 0,
            "max_size": 14,
            "rejected": 0,
        }
        assert [one["queue"]["max_size"] for one in details["workers"]] == [7, 7]
        metrics = ask(f"{admin_url(process)}/metrics", headers=TOKEN, method="GET").body.decode()
        assert 'tidegate_queue_state{state="healthy"} 2.0' in metrics
        wrong = ask(f"{admin_url(process)}/admin/queue?model=free&priority=x", headers=TOKEN, method="GET")
        assert (wrong.status, wrong.error["param"]) == (400, "priority")
        assert ask(f"{admin_url(process)}/admin/queue", headers=headers, method="GET").status == 403
