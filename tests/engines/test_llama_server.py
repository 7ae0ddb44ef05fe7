"""The supervised llama.cpp child, with the real server and the real model: one start serves the tests that only ask."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvloop
from serving import PATIENCE_S, eventually

from tidegate.engines.embedded.prefixes import SlotBook, SlotShare, trail_of
from tidegate.engines.embedded.server import LlamaServer, LlamaSettings
from tidegate.engines.embedded.slot_folder import remove_stale
from tidegate.engines.embedded.weights import SMOLLM2_FILE, check_gguf, find_smollm2
from tidegate.errors import ConfigError, UpstreamUnreachable
from tidegate.kernel.backoff import Backoff

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 8}


def settings(model: Path | None = None, **other: object) -> LlamaSettings:
    return LlamaSettings(model_path=str(model or find_smollm2()), alias="smollm2", **other)  # type: ignore[arg-type]


def ask(server: LlamaServer, path: str, body: object = None, *, key: str | None = None) -> tuple[int, dict]:
    where = urlsplit(server.url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    try:
        headers = {"authorization": f"Bearer {key or server.api_key}", "content-type": "application/json"}
        connection.request("GET" if body is None else "POST", path, body and json.dumps(body), headers)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def running(server: LlamaServer) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.start())
        try:
            yield runner
        finally:
            runner.run(server.stop())


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[LlamaServer, asyncio.Runner]]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        server = LlamaServer(settings(context_tokens=4096), clock=time.monotonic)
        runner.run(server.start())
        yield server, runner
        pid = server.pid
        assert pid is not None
        folder = server.slot_dir
        runner.run(server.stop())
        assert not is_alive(pid)
        assert folder is not None
        assert not folder.exists()


def test_it_answers_those_who_have_the_key(served):
    server, _ = served
    status, reply = ask(server, "/v1/chat/completions", QUESTION)
    assert status == 200
    assert reply["model"] == "smollm2"
    assert reply["choices"][0]["message"]["content"]
    assert reply["usage"]["completion_tokens"] > 0
    status, reply = ask(server, "/v1/chat/completions", QUESTION, key="wrong")
    assert status == 401
    assert reply["error"]["type"] == "authentication_error"


def test_its_defaults_are_those_of_a_server_behind_a_gateway(served):
    server, _ = served
    _, props = ask(server, "/props")
    assert (props["total_slots"], props["default_generation_settings"]["n_ctx"]) == (4, 1024)
    assert props["ui"] is False
    assert props["endpoint_metrics"] is True


def test_the_key_is_not_in_the_process_list(served):
    server, _ = served
    shown = Path(f"/proc/{server.pid}")
    assert server.api_key.encode() not in (shown / "cmdline").read_bytes() + (shown / "environ").read_bytes()


def test_a_system_prompt_read_by_one_slot_is_known_to_all_four_at_once(served):
    server, runner = served
    rules = " ".join(f"Rule {number}: be kind and brief." for number in range(30))
    reused, saved_files = runner.run(share_a_prompt(server, rules))
    assert reused[0] < 30
    assert min(reused[1:]) > 250
    assert saved_files == 1


async def share_a_prompt(server: LlamaServer, rules: str) -> tuple[list[int], int]:
    async def post(path: str, body: bytes) -> tuple[int, bytes]:
        status, reply = await asyncio.to_thread(ask, server, path, json.loads(body))
        return status, json.dumps(reply).encode()

    async def call(question: str) -> int:
        messages = [{"role": "system", "content": rules}, {"role": "user", "content": question}]
        async with share.lease(trail_of(json.dumps(messages).encode()), server.generation) as held:
            body = {"messages": messages, "max_tokens": 2, "id_slot": held.slot}
            _, reply = await asyncio.to_thread(ask, server, "/v1/chat/completions", body)
            held.read = True
        return reply["usage"]["prompt_tokens_details"]["cached_tokens"]

    assert server.slot_dir is not None
    async with asyncio.TaskGroup() as group:
        share = SlotShare(
            SlotBook(range(4)),
            post,
            server.slot_dir,
            clock=time.monotonic,
            spawn=lambda work, *, name: group.create_task(work, name=name) and None,
        )
        first = await call("One?")
        rest = await asyncio.gather(*(call(f"{number}?") for number in range(4)))
    return [first, *rest], len(list(server.slot_dir.iterdir()))


def test_it_is_deaf_to_the_signals_that_reach_a_whole_service(served):
    server, _ = served
    before, generation = server.pid, server.generation
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(before, number)
    assert ask(server, "/v1/chat/completions", QUESTION)[0] == 200
    assert (server.pid, server.generation) == (before, generation)


def test_what_killed_gateways_left_behind_is_removed_and_nothing_else(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    stale = tmp_path / f"tidegate-slots-{ended.pid}-abc"
    living = tmp_path / f"tidegate-slots-{os.getpid()}-abc"
    others = [tmp_path / "tidegate-slots-abc", tmp_path / f"slots-{ended.pid}-abc"]
    for folder in (stale, living, *others):
        folder.mkdir()
        (folder / "prompt").touch()
    link = tmp_path / f"tidegate-slots-{ended.pid}-link"
    link.symlink_to(living)
    remove_stale(tmp_path)
    assert not stale.exists()
    assert link.is_symlink()
    assert all((folder / "prompt").exists() for folder in (living, *others))


def test_a_killed_child_serves_again(served):
    server, runner = served
    before, generation = server.pid, server.generation
    assert before is not None

    async def kill_and_wait() -> None:
        supervision = asyncio.ensure_future(server.run())
        os.kill(before, signal.SIGKILL)
        while server.generation == generation:
            await asyncio.sleep(0.01)
        await server.await_ready(time.monotonic() + PATIENCE_S)
        supervision.cancel()
        await asyncio.wait([supervision])

    runner.run(kill_and_wait())
    assert server.pid not in (None, before)
    assert not is_alive(before)
    assert ask(server, "/v1/chat/completions", QUESTION)[0] == 200


OWNER = """
import asyncio, sys, time
from tidegate.engines.embedded.server import LlamaServer, LlamaSettings

async def main():
    settings = LlamaSettings(model_path=sys.argv[1], alias="m", slots=1, context_tokens=512)
    server = LlamaServer(settings, clock=time.monotonic)
    await server.start()
    print(server.url, server.slot_dir, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def connects(url: str) -> bool:
    where = urlsplit(url)
    try:
        socket.create_connection((where.hostname, where.port), timeout=1).close()
    except (ConnectionError, TimeoutError):  # what listens no more may refuse or be silent
        return False
    return True


def test_a_killed_owner_leaves_neither_child_nor_prompts_on_disk():
    command = [sys.executable, "-c", OWNER, str(find_smollm2())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        url, folder = owner.stdout.readline().split()
        assert connects(url)
        owner.kill()
    eventually(lambda: not connects(url), "the end of the child")
    eventually(lambda: not Path(folder).exists(), "the end of the prompts on disk")


def test_a_broken_model_is_one_clear_error_and_no_process(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(find_smollm2().read_bytes()[:100_000])
    server = LlamaServer(settings(broken), clock=time.monotonic)
    with pytest.raises(ConfigError, match=r"cannot serve .*broken\.gguf"), running(server):
        pass
    assert server.pid is None
    assert not server.ready


def test_what_is_no_gguf_file_is_never_started(tmp_path):
    text = tmp_path / "notes.gguf"
    text.write_text("hello")
    with pytest.raises(ConfigError, match="not a GGUF file"):
        check_gguf(text)
    with (
        pytest.raises(ConfigError, match="cannot be read"),
        running(LlamaServer(settings(tmp_path / "none.gguf"), clock=time.monotonic)),
    ):
        pass


def test_waiting_for_a_server_that_is_not_there_ends_at_the_deadline():
    async def wait() -> None:
        await LlamaServer(settings(), clock=time.monotonic).await_ready(time.monotonic())

    with pytest.raises(UpstreamUnreachable):
        asyncio.run(wait())


def test_the_default_model_is_found():
    assert find_smollm2().name == SMOLLM2_FILE


def test_restarts_are_immediate_once_and_then_ever_later_up_to_a_cap():
    backoff = Backoff()
    assert backoff.delay(1) == 0
    for failures in range(2, 200):
        longest = min(10.0, 0.25 * 2 ** (failures - 2))
        assert longest / 2 <= backoff.delay(failures) <= longest
