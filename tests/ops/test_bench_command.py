"""`tidegate bench` as it is typed, against a real server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from canned import canned
from load_results import result
from serving import run_gateway

from tidegate.cli.bench import UNTRUSTED, _show, app
from tidegate.engines.scripted.script import Script
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread
from tidegate.ops.load.options import BadOptions, Options, base_url, parse_slo
from tidegate.ops.load.plan import Open
from tidegate.ops.load.result import UnreadableResult, read

TLS = Path(__file__).parent.parent / "egress" / "tls"


def bench(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tidegate", "bench", *options]
    environment |= {
        name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ
    }  # the tree under test
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=50, check=False, env=environment
    )


def ended(ran: subprocess.CompletedProcess[str], status: int) -> bool:
    """On a busy machine the tester may say that it was too busy itself; the verdict is in the result all the same."""
    return ran.returncode in (status, UNTRUSTED)


@pytest.fixture(scope="module")
def server():
    with run_in_thread(ScriptedServer(script=Script(ttft_ms=5, itl_ms=1, tokens=8))) as running:
        yield running


def test_a_ramp_leaves_a_result_a_report_and_a_verdict(server, tmp_path):
    ran = bench(tmp_path, server.url, "-u", "1,3", "-n", "9", "-p", "40", "-o", "8", "--slo", "ttft:5000")
    assert ended(ran, 0), ran.stderr
    assert "Passed" in ran.stdout
    result = read(tmp_path / "bench.json")
    assert [(step.users, step.requests, step.errors) for step in result.steps] == [(1, 9, {}), (3, 9, {})]
    first = result.steps[0].metrics
    assert first["input_sequence_length"].avg == pytest.approx(40, abs=2)
    assert first["output_sequence_length"].avg == 8
    assert first["time_to_first_token"].min >= 5
    assert first["good_request_fraction"].avg == 1
    assert "<html" in (tmp_path / "bench.html").read_text()


def test_a_verdict_of_a_busy_tester_says_that_it_is_one(tmp_path, capsys):
    well = result(seconds=2)
    for degraded in (False, True):
        busy = msgspec.structs.replace(well, passed=True, degraded=degraded)
        _show(busy, None, (tmp_path / "a.json", tmp_path / "a.html"), as_json=False)
        assert ("not to be trusted" in capsys.readouterr().out.split("Passed")[-1]) is degraded


def test_the_result_goes_to_standard_output_on_request(server, tmp_path):
    ran = bench(tmp_path, server.url, "-r", "40", "-d", "0.5", "-o", "2", "--json", "-q")
    result = json.loads(ran.stdout)
    assert result["model"] == "scripted"
    assert result["steps"][0]["rate_per_s"] == 40
    assert not ran.stderr


def test_a_missed_criterion_is_status_1_and_named(server, tmp_path):
    ran = bench(tmp_path, server.url, "-u", "2", "-n", "6", "--ttft-p95", "1")
    assert ended(ran, 1)
    assert "TTFT p95" in ran.stdout
    assert "Failed" in ran.stdout


def test_errors_are_counted_by_kind_and_fail_the_run(server, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("good\n[[scripted fault=close@3]]\n[[scripted fault=error_status status=429]]\n")
    ran = bench(tmp_path, server.url, "-u", "1", "-n", "6", "--prompts", "prompts.txt")
    assert ended(ran, 1)
    assert read(tmp_path / "bench.json").steps[0].errors == {"broken_off": 2, "http_429": 2}
    assert "http_429" in ran.stdout


def test_a_trace_is_replayed(server, tmp_path):
    rows = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    rows += [f"2023-11-16 18:15:4{second}.000,{20 + second},3" for second in range(6)]
    (tmp_path / "day.csv").write_text("\n".join(rows))
    ran = bench(tmp_path, server.url, "--trace", "day.csv", "--speed", "10")
    assert ended(ran, 0), ran.stderr
    step = read(tmp_path / "bench.json").steps[0]
    assert (step.name, step.requests, step.metrics["output_sequence_length"].avg) == ("day.csv", 6, 3)


def test_the_key_is_sent_and_never_kept(tmp_path):
    with run_in_thread(ScriptedServer(script=Script(tokens=2))) as running:
        ran = bench(tmp_path, running.url, "-u", "1", "-n", "2", OPENAI_API_KEY="sk-very-secret")
        assert ended(ran, 0), ran.stderr
    left = (tmp_path / "bench.json").read_text() + (tmp_path / "bench.html").read_text()
    assert "sk-very-secret" not in left + ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("-u", "0"), "--users: '0' should be numbers above 0"),
        (("-u", "1", "-r", "1"), "exclude each other"),
        (("--body", "[1]"), "--body"),
        (("--slo", "speed:1"), "'speed:1' is not ttft, itl or latency"),
        (("--trace", "nowhere.csv"), "nowhere.csv cannot be read"),
        (("--prompts", "nowhere.txt"), "nowhere.txt cannot be read"),
        (("--baseline", "nowhere.json"), "nowhere.json cannot be read"),
        (("-r", "nan"), "--rate: 'nan' should be numbers above 0"),
        (("-r", "inf"), "--rate: 'inf' should be numbers above 0"),
        (("--slo", "ttft:nan"), "'ttft:nan' is not"),
        (("--no-stream", "--slo", "ttft:500"), "without --stream only latency"),
        (("-O", "nowhere/bench.json"), "nowhere/bench.json cannot be written"),
        (("-O", "."), "is a folder"),
        (("-O", "bench.html"), "would overwrite the result"),
        (("--ca-path", "nowhere.pem"), "--ca-path: there is no file nowhere.pem"),
        (("--ca-path", "fault.txt"), "--ca-path: no certificate can be read from fault.txt"),
        (("--api-key", "sk-a\nb"), "not valid in a header"),
        (("ftp://x",), "is not an address"),
        (("127.0.0.1:http",), "is not an address"),
        (("127.0.0.1:99999",), "is not an address"),
        (("127.0.0.1:8080/v1?api-version=1",), "has a query"),
        (("127.0.0.1:9",), "does not answer"),
        (("-m", "nobody", "--prompts", "fault.txt"), "refuses a first request"),
    ],
)
def test_what_cannot_be_ends_with_status_2_and_clear_words(
    server, tmp_path, monkeypatch, capsys, options, says
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fault.txt").write_text("[[scripted fault=error_status status=404]]")
    where = () if options[0].startswith(("ftp:", "127.")) else (server.url,)
    with pytest.raises(SystemExit) as left:
        app([*where, *options])
    assert left.value.code == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "bench.json").exists()


@pytest.mark.parametrize("option", ["--duration", "--timeout", "--ttft-p95", "--errors"])
def test_no_option_is_infinite(tmp_path, monkeypatch, capsys, option):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        app(["127.0.0.1:9", option, "inf"])
    assert left.value.code
    assert "Must be <" in capsys.readouterr().err


def test_a_number_of_requests_limits_an_open_loop_too():
    (step,) = Options(url="http://h/v1", rates=(10.0,), arrivals="constant", requests=5).steps()
    assert isinstance(step, Open)
    assert [arrival.at_s for arrival in step.arrivals] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert step.duration_s == pytest.approx(0.6)


def test_no_word_of_a_server_steers_the_terminal(tmp_path):
    (tmp_path / "[red]day.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:40,9,2\n"
    )
    with run_in_thread(ScriptedServer(script=Script(tokens=2))) as running:
        ran = bench(tmp_path, running.url, "--trace", "[red]day.csv", "-m", "evil[/]\x1b]0;owned\x07[bold")
    assert "evil[/]" in ran.stdout, ran.stderr
    assert "[red]day.csv" in ran.stdout
    assert "[red]day.csv" in ran.stderr
    assert "\x1b" not in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


def test_more_users_than_files_are_refused_before_the_load(server, tmp_path):
    command = f"ulimit -n 100; exec {sys.executable} -m tidegate bench {server.url} -u 200 -n 1"
    ran = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False, env={}
    )
    assert ran.returncode == 2
    assert "ulimit -n" in ran.stderr


def test_ctrl_c_before_the_load_leaves_an_earlier_result_alone(tmp_path):
    (tmp_path / "bench.json").write_text("kept")
    asked = threading.Event()

    def never(connection: socket.socket) -> None:
        asked.set()
        connection.recv(1)

    with canned(never) as engine:
        command = [sys.executable, "-m", "tidegate", "bench", engine.base_url, "-m", "x", "--timeout", "3"]
        ran = subprocess.Popen(
            command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True, env={}
        )
        assert asked.wait(40)
        os.killpg(ran.pid, signal.SIGINT)  # as a terminal does: to all of the group
        _, said = ran.communicate(timeout=40)
    assert ran.returncode in (2, 130)
    assert "Traceback" not in said
    assert "Ctrl-C again" in said
    assert (tmp_path / "bench.json").read_text() == "kept"


def test_two_results_are_compared_and_aipers_export_is_read(server, tmp_path):
    for name in ("old.json", "new.json"):
        assert ended(bench(tmp_path, server.url, "-u", "2", "-n", "8", "-q", "-O", name), 0)
    ran = bench(tmp_path, "compare", "old.json", "new.json", "--json")
    rows = json.loads(ran.stdout)
    assert any("time_to_first_token" in json.dumps(row) for row in rows)
    metric = {
        "unit": "ms",
        "avg": 5.0,
        "p50": 5.0,
        "p95": 6.0,
        "p99": 7.0,
        "min": 4.0,
        "max": 8.0,
        "std": 1.0,
    }
    export = {"aiperf_version": "0.13", "request_latency": metric, "time_to_first_token": metric}
    (tmp_path / "aiperf.json").write_text(json.dumps(export))
    assert bench(tmp_path, "compare", "old.json", "aiperf.json").returncode == 0
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(UnreadableResult, match=r"other\.json is neither"):
        read(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("https://api.example.com/", "https://api.example.com/v1"),
        ("http://h/openai/v1", "http://h/openai/v1"),
        ("http://h/v1/chat/completions", "http://h/v1"),
    ],
)
def test_an_address_is_understood_as_people_write_it(text, url):
    assert base_url(text) == url


def test_limits_of_a_good_answer():
    slo = parse_slo("ttft:500, itl:50")
    assert (slo.ttft_ms, slo.itl_ms, slo.latency_ms) == (500, 50, None)
    with pytest.raises(BadOptions, match="like ttft:500"):
        parse_slo("ttft=500")


def test_a_server_with_a_certificate_of_its_own_authority(tmp_path):
    files = {"certificate_path": str(TLS / "server.pem"), "key_path": str(TLS / "server.pem")}
    tree = {
        "server": {"port": 0, "tls": files},
        "engines": {"s": {"kind": "scripted", "tokens": 2}},
        "models": {"m": {"deployments": [{"engine": "s"}]}},
    }
    with run_gateway(json.dumps(tree)) as gateway:
        url = f"https://localhost:{gateway.port}/v1"
        ran = bench(tmp_path, url, "-u", "1", "-n", "2", "--ca-path", str(TLS / "ca.pem"))
        assert ended(ran, 0), ran.stderr
        ran = bench(tmp_path, url, "-u", "1", "-n", "2")
        assert ran.returncode == 2
        assert "does not answer" in ran.stderr
