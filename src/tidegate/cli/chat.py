"""`tidegate chat`: talk to a model behind any server that speaks the OpenAI API."""

from __future__ import annotations

import asyncio
import io
import os
import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import uvloop
from cyclopts import Parameter, validators
from pydantic import ValidationError
from rich.console import Console

from tidegate.cli import settings
from tidegate.cli.chat_room import Conversation, Room
from tidegate.cli.chat_server import ChatFailed, ChatServer, Turn
from tidegate.config import OpenAIConfig
from tidegate.kernel.plain import plain, plain_json

INTERRUPTED = 130
"""The exit status that shells report for a command ended by Ctrl-C."""
_TIMEOUTS = {"first_byte_ms": 600_000, "idle_ms": 300_000, "total_ms": 3_600_000}
"""Long timeouts, since the user can stop an answer at any time."""


def chat(  # noqa: PLR0913 - an option each
    url: str = "http://127.0.0.1:8080/v1",
    /,
    *,
    model: Annotated[str | None, Parameter(("--model", "-m"))] = None,
    system: str | None = None,
    max_tokens: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    temperature: float | None = None,
    api_key: Annotated[str | None, Parameter(env_var="OPENAI_API_KEY")] = None,
    ca_path: Path | None = None,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Talk to a model. Answers are streamed, followed by times and token counts. /help lists the commands of the chat.

    If standard input is not a terminal, all of it is one question, and only the text of the answer is printed:
    `echo "What is a tide?" | tidegate chat`. The exit status is 1 if the answer is not complete. Standard error has the
    reason.

    Parameters
    ----------
    url
        The server's base URL, up to and including /v1.
    model
        The model to ask. Default: `default` if the server lists it, else the first model listed.
    system
        The system prompt.
    max_tokens
        The largest number of tokens in an answer.
    temperature
        The sampling temperature. With a higher one, answers are more random.
    api_key
        Key, sent as a bearer token.
    ca_path
        PEM file of a certificate authority to trust in addition to the system's.
    as_json
        Read one question from standard input, and print JSON: the text, times and counts, or the error.

    """
    conversation = Conversation(model or "", system, max_tokens, temperature)
    server = ChatServer(_config(url, api_key, ca_path), time.monotonic)
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # print a question mark instead of failing
    interactive = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
    question = "" if interactive else _question()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            if not model:
                conversation.model = runner.run(_choose(server))
            if interactive:
                _talk(server, conversation, runner)
            else:
                runner.run(_answer_once(server, conversation, question, as_json=as_json))
        except ChatFailed as failed:
            _fail(failed, as_json=as_json)
        except BrokenPipeError:  # the reader of the output has ended
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        finally:
            runner.run(server.close())


def _config(url: str, api_key: str | None, ca_path: Path | None) -> OpenAIConfig:
    if re.fullmatch(r"https?://[^/]+/?", url):
        url = url.rstrip("/") + "/v1"
    tree: dict[str, Any] = {"kind": "openai", "url": url, "api_key": api_key or None, "timeouts": _TIMEOUTS}
    try:
        return OpenAIConfig.model_validate({**tree, "ca_path": ca_path})
    except ValidationError as error:
        options = {"url": "URL", "api_key": "--api-key", "ca_path": "--ca-path"}
        lines = [
            f"{options.get(str(mistake['loc'][0]), 'URL')}: {mistake['msg'].removeprefix('Value error, ')}"
            for mistake in error.errors()
        ]
        settings.fail("\n".join(lines))


async def _choose(server: ChatServer) -> str:
    """Return the model to ask if none was named. Raises ChatFailed."""
    try:
        names = await server.models()
    except ChatFailed as failed:
        if failed.status is None:
            raise ChatFailed(
                f"{failed.message}\nStart a gateway with `tidegate serve`, or name another URL."
            ) from None
        raise ChatFailed(f"the models cannot be listed: {failed}\nName one with --model.") from None
    if not names:
        raise ChatFailed(f"{server.url} lists no model: name one with --model")
    return "default" if "default" in names else names[0]


def _talk(server: ChatServer, conversation: Conversation, runner: asyncio.Runner) -> None:
    # Importing this module gives `input` line editing and a history.
    import readline  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]

    console = Console(highlight=False)
    console.print(
        plain(f"{conversation.model} at {server.url} · /help for commands, Ctrl-D to leave"),
        style="dim",
        markup=False,
    )
    Room(server, conversation, console=console, runner=runner, read=input).stay()


def _question() -> str:
    """Return all of standard input as the question."""
    try:
        question = sys.stdin.read().strip()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    if not question:
        settings.fail("There is nothing to ask: standard input is empty")
    return question


async def _answer_once(
    server: ChatServer, conversation: Conversation, question: str, *, as_json: bool
) -> None:
    """Print the answer to one question. Raises ChatFailed."""
    turn = Turn()

    def show(text: str, is_reasoning: bool) -> None:  # noqa: FBT001 - `Show` is called by position
        if not (as_json or is_reasoning):
            sys.stdout.write(plain(text))
            sys.stdout.flush()

    try:
        await server.ask(conversation.request(question), turn, show)
    finally:
        if turn.text and not as_json:
            print(flush=True)
    if as_json:
        print(plain_json(msgspec.json.encode(_as_tree(conversation.model, turn)).decode()))


def _as_tree(model: str, turn: Turn) -> dict[str, Any]:
    def in_ms(seconds: float | None) -> float | None:
        return None if seconds is None else round(1000 * seconds, 3)

    return {
        "model": model,
        "text": turn.text,
        "reasoning": turn.reasoning or None,
        "finish_reason": turn.finish_reason,
        "usage": turn.usage,
        "ttft_ms": in_ms(turn.ttft_s),
        "itl_ms": in_ms(turn.itl_s),
        "total_ms": in_ms(turn.ended_at - turn.asked_at),
        "tokens_per_s": turn.tokens_per_s,
    }


def _fail(failed: ChatFailed, *, as_json: bool) -> None:
    if as_json:
        error = {
            "message": failed.message,
            "code": failed.code,
            "status": failed.status,
            "param": failed.param,
        }
        print(plain_json(msgspec.json.encode({"error": error}).decode()))
    else:
        print(f"Error: {plain(str(failed))}", file=sys.stderr)
    sys.exit(1)
