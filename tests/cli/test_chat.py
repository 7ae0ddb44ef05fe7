"""`tidegate chat` as a person and as a script use it: against servers on the loopback, and at a real terminal."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from canned import canned, streamed, whole
from serving import PATIENCE_S, Running, config_to, eventually, run_gateway
from talking import SCRIPT, STREAM_END, TEXT

from tidegate import cli
from tidegate.engines.scripted.script import Script
from tidegate.engines.scripted.server import ScriptedServer, run_in_thread

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
COMMAND = [sys.executable, "-m", "tidegate", "chat"]
ANSWERING = r"\n(?:\x1b\[\?2004l\r)?"
"""What stands between a line that was typed, which the terminal shows too, and the answer."""
# Takes the terminal at its standard input for its own, as a shell's child does, and becomes the command. Whoever runs the
# tests in the background has them ignore Ctrl-C; the command must not.
AT_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[ScriptedServer]:
    with run_in_thread(ScriptedServer(script=SCRIPT)) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(engine: ScriptedServer) -> Iterator[Running]:
    with run_gateway(config_to(engine.base_url)) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def fresh(engine: ScriptedServer) -> None:
    eventually(lambda: engine.record.in_flight == 0, "the engine is free")
    engine.record.reset()


@dataclass
class Done:
    """How a question through a pipe ended."""

    returncode: int
    stdout: str
    stderr: str


Chat = Callable[..., Done]


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Chat:
    """The command with a text on its standard input, in this process."""

    def run(url: str, *options: str, said: str, **env: str) -> Done:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(said.encode())))
        monkeypatch.setattr("sys.argv", ["tidegate", "chat", url, *options])
        status = 0
        try:
            cli.main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        return Done(status, *capsys.readouterr())

    return run


# ------------------------------------------------------------------------------------------------------------ at a terminal


@dataclass
class Terminal:
    """A terminal with the chat at it. `seen` is everything that was written to it."""

    master: int
    popen: subprocess.Popen[bytes]
    seen: str = ""
    mark: int = 0

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def read_until(self, pattern: str) -> str:
        """What appears from the last match on, up to and with the pattern; fails where it never does."""
        ends_at = time.monotonic() + PATIENCE_S
        while not (found := re.compile(pattern).search(self.seen, self.mark)):
            assert time.monotonic() < ends_at, f"{pattern!r} never appeared in {self.seen[self.mark :]!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += self.read()
        text, self.mark = self.seen[self.mark : found.end()], found.end()
        return text

    def read(self) -> str:
        try:
            return os.read(self.master, 65536).decode(errors="replace")
        except OSError:  # the other side has closed it
            assert self.popen.wait(PATIENCE_S) is not None
            return ""

    def ask(self, text: str) -> None:
        """Types a line once the chat waits for one."""
        self.read_until(r"(?:^|\n|\x1b\[\?2004h\r?)> ")
        self.type(text + "\r")

    def interrupt(self) -> int:
        """Ctrl-C at the prompt, and the status. Again where `input` missed it: it shows its prompt before it listens."""
        while self.popen.poll() is None:
            with suppress(subprocess.TimeoutExpired, OSError):  # OSError: it has left by itself meanwhile
                self.type("\x03")
                self.popen.wait(1)
        return self.popen.returncode

    def status(self) -> int:
        return self.popen.wait(PATIENCE_S)


@contextmanager
def terminal(url: str, *options: str, folder: Path | None = None) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    popen = subprocess.Popen(
        [sys.executable, "-c", AT_TERMINAL, *COMMAND, url, *options],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        cwd=folder,
        env=ENVIRONMENT | {"TERM": "xterm"},
    )
    os.close(slave)
    try:
        yield Terminal(master, popen)
    finally:
        popen.kill()
        popen.wait()
        os.close(master)


def test_a_conversation_at_a_terminal(gateway: Running, engine: ScriptedServer) -> None:
    with terminal(gateway.base_url, "--model", "m", "--system", "Be brief.", "--temperature", "0.5") as at:
        at.ask("What turns?")
        at.read_until(re.escape(TEXT))
        figures = at.read_until(r"TTFT \d+ ms · .*tokens\b")
        assert "+ 3 answer tokens" in figures
        at.ask("And then?")
        at.read_until(re.escape(TEXT))
        at.ask("/quit")
        assert at.status() == 0
    second = engine.record.entries[-1].fields
    assert second["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What turns?"},
        {"role": "assistant", "content": TEXT},
        {"role": "user", "content": "And then?"},
    ]
    assert (second["model"], second["temperature"], second["stream"]) == ("m", 0.5, True)


def test_ctrl_c_stops_an_answer_and_the_server_knows(gateway: Running, engine: ScriptedServer) -> None:
    with terminal(gateway.base_url, "--model", "m") as at:
        at.ask("[[scripted text='one two three' tokens=3 fault=stall@1]]")
        at.read_until(ANSWERING + "one")
        at.type("\x03")
        at.read_until("stopped; the part of the answer that arrived is kept")
        # The chat is at its prompt and nothing else wakes it: the engine hears it now or never.
        eventually(lambda: engine.record.cancelled == 1, "the engine knows that nobody waits")
        at.ask("[[scripted]] Go on.")  # as scripted before the marker that is now part of the conversation
        at.read_until(re.escape(TEXT))
        assert engine.record.entries[-1].fields["messages"][1] == {"role": "assistant", "content": "one "}
        at.read_until("> ")
        assert at.interrupt() == 0


def test_ctrl_c_stops_the_waiting_for_an_answer(gateway: Running, engine: ScriptedServer) -> None:
    with terminal(gateway.base_url, "--model", "m") as at:
        at.ask("[[scripted fault=stall@0]]")
        eventually(lambda: engine.record.in_flight == 1, "the engine works on it")
        at.type("\x03")
        at.read_until("stopped; no part of the answer had arrived")
        eventually(lambda: engine.record.cancelled == 1, "the engine knows that nobody waits")
        at.ask("Hello?")
        at.read_until(re.escape(TEXT))
        assert len(engine.record.entries[-1].fields["messages"]) == 1


def test_ctrl_d_leaves(gateway: Running) -> None:
    with terminal(gateway.base_url, "--model", "m") as at:
        at.read_until("> ")
        at.type("\x04")
        assert at.status() == 0


def test_an_answer_that_breaks_off_is_told_as_such_and_the_chat_goes_on(
    gateway: Running, engine: ScriptedServer
) -> None:
    with terminal(gateway.base_url, "--model", "m") as at:
        at.ask("[[scripted text='one two three' tokens=3 fault=reset@2]]")
        said = at.read_until(r"\(engine_error\)")
        assert re.search(ANSWERING + "one two", said)
        assert "This answer is not complete." in said
        assert "TTFT" not in said
        at.ask("Hello?")
        at.read_until(re.escape(TEXT))
    assert [m["content"] for m in engine.record.entries[-1].fields["messages"]] == ["Hello?"]


def test_a_refusal_is_shown_with_its_code_and_the_chat_goes_on(gateway: Running) -> None:
    with terminal(gateway.base_url, "--model", "m") as at:
        at.ask("[[scripted fault=error_status status=429]]")
        at.read_until(r"Error: .*capacity.*try again in 1 s \(503 engine_overloaded\)")
        at.ask("Hello?")
        at.read_until(re.escape(TEXT))


def test_a_model_cannot_speak_to_the_terminal(gateway: Running) -> None:
    text = "\x1b]0;owned\x07 red \x1b[31m \x9b2J \r over\b\b \u202e end"
    marker = f"[[scripted tokens=9 text={json.dumps(text)}]]"
    with terminal(gateway.base_url, "--model", "m") as at:
        at.ask(marker)
        at.read_until("owned")
        at.read_until("owned")  # the first one was the line that was typed
        answer = at.read_until("TTFT")
    for mark in ("\x1b[31m", "\x9b", "\x07", "\b", "\u202e", "\x1b]"):
        assert mark not in answer
    assert "red [31m 2J  over  end" in answer


def test_the_commands(gateway: Running, engine: ScriptedServer, tmp_path: Path) -> None:
    with terminal(gateway.base_url, "--model", "m", folder=tmp_path) as at:
        at.ask("/help")
        at.read_until("/save FILE")
        at.ask("/nothing")
        at.read_until("There is no /nothing")
        at.ask("One")
        at.read_until("TTFT")
        at.ask("/reset")
        at.read_until("Forgotten")
        at.ask("/system Be kind.")
        at.read_until("System prompt: Be kind.")
        at.ask("/model other")
        at.read_until("come from other")
        at.ask(" /etc/hosts is what?")
        at.read_until("TTFT")
        at.ask("/save said.json")
        at.read_until("Saved in said.json")
        at.ask("/save said.json")
        at.read_until("Error: said.json: File exists")
        at.ask("/model")
        at.read_until(r"\* other")
        at.ask("/system -")
        at.read_until("System prompt: none")
        at.ask("/quit")
        assert at.status() == 0
    saved = json.loads((tmp_path / "said.json").read_bytes())
    sent = engine.record.entries[-1].fields
    assert sent["model"] == saved["model"] == "other"
    assert saved["messages"] == [*sent["messages"], {"role": "assistant", "content": TEXT}]
    assert saved["messages"][0] == {"role": "system", "content": "Be kind."}
    assert saved["messages"][1] == {"role": "user", "content": "/etc/hosts is what?"}


# ------------------------------------------------------------------------------------------------------------- in a script


def test_a_pipe_gets_the_text_and_nothing_else(gateway: Running, engine: ScriptedServer) -> None:
    command = [*COMMAND, gateway.base_url, "--model", "m", "--max-tokens", "7"]
    asked = b"What\n\nturns?\n"
    done = subprocess.run(
        command, input=asked, capture_output=True, timeout=PATIENCE_S, env=ENVIRONMENT, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, TEXT.encode() + b"\n", b"")
    (entry,) = engine.record.entries
    assert entry.fields["messages"] == [{"role": "user", "content": "What\n\nturns?"}]
    assert entry.fields["max_tokens"] == 7


def test_json_tells_text_times_and_counts(gateway: Running, chat: Chat) -> None:
    done = chat(
        gateway.base_url,
        "--model",
        "m",
        "--json",
        said="[[scripted text='\\u009bx' tokens=1 cached_tokens=2]]",
    )
    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert told["finish_reason"] == "stop"
    assert told["usage"]["completion_tokens"] == 1
    assert told["usage"]["cached_tokens"] == 2
    assert 0 <= told["ttft_ms"] <= told["total_ms"]
    assert told["itl_ms"] is None, "one event has no gap"


@pytest.mark.parametrize("fault", ["close@2", "reset@2", "no_finish", "cut_json@2", "error_event@2"])
def test_half_an_answer_ends_with_1(fault: str, engine: ScriptedServer, chat: Chat) -> None:
    """Straight to an engine, without a gateway that would tell it first."""
    said = f"[[scripted text='one two three' tokens=3 fault={fault}]]"
    done = chat(engine.base_url, "--model", "m", said=said)
    assert done.returncode == 1
    assert done.stdout.startswith("one two")
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr


def test_a_refusal_ends_with_1_and_its_code(gateway: Running, chat: Chat) -> None:
    said = "[[scripted nonsense=1]]"
    done = chat(gateway.base_url, "--model", "m", said=said)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no option `nonsense`" in done.stderr
    assert "(400 engine_rejected_request)" in done.stderr
    told = json.loads(chat(gateway.base_url, "--model", "m", "--json", said=said).stdout)
    assert (told["error"]["status"], told["error"]["code"]) == (400, "engine_rejected_request")


def test_reasoning_is_not_part_of_the_text(engine: ScriptedServer, chat: Chat) -> None:
    done = chat(engine.base_url, "--model", "m", said="[[scripted text=yes tokens=1 reasoning=3]]")
    assert done.stdout == "yes\n"


def test_the_first_model_is_asked_where_none_is_named(engine: ScriptedServer, chat: Chat) -> None:
    assert chat(engine.base_url, said="hi").stdout == TEXT + "\n"
    assert engine.record.entries[-1].fields["model"] == "scripted"


def test_a_url_without_a_path_means_v1(engine: ScriptedServer, chat: Chat) -> None:
    assert chat(engine.url, said="hi").returncode == 0


def test_default_goes_before_the_first(engine: ScriptedServer, chat: Chat) -> None:
    deployments = {"deployments": [{"engine": "e"}]}
    tree = {
        "server": {"port": 0},
        "engines": {"e": {"kind": "openai", "url": engine.base_url}},
        "models": {"an-embedder": deployments, "default": deployments},
    }
    with run_gateway(json.dumps(tree)) as gateway:
        assert chat(gateway.base_url, said="hi").returncode == 0
    assert engine.record.entries[-1].fields["model"] == "default"


def test_a_server_without_models_asks_for_a_name(gateway: Running, chat: Chat) -> None:
    """The models of this gateway are a pattern, and patterns are not listed."""
    done = chat(gateway.base_url, said="hi")
    assert done.returncode == 1
    assert "lists no model: name one with --model" in done.stderr


def test_nobody_there(engine: ScriptedServer, chat: Chat) -> None:
    with run_in_thread(ScriptedServer(script=Script())) as gone:
        url = gone.base_url
    done = chat(url, said="hi")
    assert done.returncode == 1
    assert f"no server answers at {url}" in done.stderr
    assert "tidegate serve" in done.stderr


def test_the_key_comes_from_the_option_or_the_environment(engine: ScriptedServer, chat: Chat) -> None:
    chat(engine.base_url, "--model", "m", said="hi", OPENAI_API_KEY="of-the-environment")
    chat(
        engine.base_url, "--model", "m", "--api-key", "given", said="hi", OPENAI_API_KEY="of-the-environment"
    )
    chat(engine.base_url, "--model", "m", said="hi")
    keys = [entry.headers.get("authorization") for entry in engine.record.entries]
    assert keys == ["Bearer of-the-environment", "Bearer given", None]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (b"Unrecognized request argument supplied: stream_options", "stream_options"),
        (b"Unsupported parameter: use 'max_completion_tokens' instead of this", "max_tokens"),
    ],
)
def test_a_server_that_wants_it_otherwise_is_asked_otherwise(words: bytes, name: str, chat: Chat) -> None:
    refusal = whole(b'{"error": {"message": "%b"}}' % words, status=b"400 Bad Request")
    said = b'data: {"choices":[{"index":0,"delta":{"content":"hey"}}]}\n\n' + STREAM_END
    answers = iter([refusal, streamed(said)])
    with canned(lambda connection: connection.sendall(next(answers))) as server:
        done = chat(server.base_url, "--model", "m", "--max-tokens", "9", said="hi")
        first, second = (json.loads(heard.body) for heard in server.heard)
    assert (done.returncode, done.stdout) == (0, "hey\n")
    assert name in first
    assert name not in second
    assert len(first) - len(second) == (name == "stream_options")


def test_a_server_that_does_not_stream_is_understood(chat: Chat) -> None:
    body = b'{"choices":[{"index":0,"message":{"content":"all at once"},"finish_reason":"stop"}]}'
    with canned(whole(body)) as server:
        done = chat(server.base_url, "--model", "m", said="hi")
    assert (done.returncode, done.stdout) == (0, "all at once\n")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (("ftp://somewhere",), "URL: must look like http://host:port/v1"),
        (("http://h/v1", "--max-tokens", "0"), "--max-tokens"),
        (("http://h/v1", "--api-key", "a\nb"), "--api-key: contains a line break"),
        (("http://h/v1", "--ca-path", "nowhere.pem"), "--ca-path: there is no file nowhere.pem"),
        (("http://127.0.0.1:9/v1", "--model", "m"), "standard input is empty"),
    ],
)
def test_a_command_line_that_cannot_be_ends_with_2(line: tuple[str, ...], named: str, chat: Chat) -> None:
    done = chat(line[0], *line[1:], said="")
    assert done.returncode == 2
    assert named in done.stdout + done.stderr
