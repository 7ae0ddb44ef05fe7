"""A conversation at a terminal: its messages, its commands, and the display of answers.

A question whose answer failed is removed from the conversation. The part of an answer that arrived before Ctrl-C is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from tidegate.cli.chat_server import ChatFailed, ChatServer, Turn
from tidegate.kernel.plain import plain

HELP = """\
/help            show this list
/model [NAME]    list the models, or change to another one
/system [TEXT]   show the system prompt, or set a new one; `/system -` removes it
/reset           forget the conversation; the system prompt stays
/save FILE       write the conversation as JSON: the body of a request, to send again or for `tidegate check --explain`
/quit            leave; so do Ctrl-D, and Ctrl-C at the prompt

Ctrl-C stops an answer. A line that begins with a space is sent as it is, even if a slash follows."""


class Conversation(msgspec.Struct):
    """The messages so far, and the settings for the next request."""

    model: str
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    messages: list[dict[str, str]] = []

    def request(self, question: str | None = None) -> dict[str, Any]:
        """Return the body of a request: all messages so far, followed by a question."""
        said = [{"role": "system", "content": self.system}] if self.system else []
        asked = [{"role": "user", "content": question}] if question is not None else []
        options = {"max_tokens": self.max_tokens, "temperature": self.temperature}
        chosen = {name: value for name, value in options.items() if value is not None}
        return {"model": self.model, "messages": [*said, *self.messages, *asked], **chosen}

    def keep(self, question: str, answer: str) -> None:
        """Add a question and its answer to the messages."""
        self.messages.append({"role": "user", "content": question})
        self.messages.append({"role": "assistant", "content": answer})


class Room:
    """The terminal of a conversation. `read` shows a prompt and returns a line, as `input` does."""

    def __init__(
        self,
        server: ChatServer,
        conversation: Conversation,
        *,
        console: Console,
        runner: asyncio.Runner,
        read: Callable[[str], str],
    ) -> None:
        self._server = server
        self._conversation = conversation
        self._console = console
        self._runner = runner
        self._read = read
        self._commands: dict[str, Callable[[str], None]] = {
            "help": self._help,
            "model": self._model,
            "system": self._system,
            "reset": self._reset,
            "save": self._save,
        }

    def stay(self) -> None:
        """Read and answer lines until the user leaves."""
        while True:
            try:
                line = self._read("> ")
            except (EOFError, KeyboardInterrupt):
                self._console.print()
                return
            if line.startswith("/"):
                name, _, rest = line[1:].partition(" ")
                if name in ("quit", "exit"):
                    return
                self._command(name, rest.strip())
            elif line.strip():
                self._talk(line.strip())

    def _command(self, name: str, rest: str) -> None:
        if command := self._commands.get(name):
            try:
                command(rest)
            except KeyboardInterrupt:
                self._say("stopped")
        else:
            self._say(f"There is no /{name}. /help lists the commands; begin with a space to send a slash.")

    # ------------------------------------------------------------------------------------------------- an answer

    def _talk(self, question: str) -> None:
        turn = Turn()
        try:
            self._runner.run(self._server.ask(self._conversation.request(question), turn, self._show))
        except KeyboardInterrupt:
            # The cancellation has closed the connection, so the server stops generating.
            self._end_line(turn)
            if turn.text:
                self._conversation.keep(question, turn.text)
            self._say(f"stopped; {_kept(turn)}")
        except ChatFailed as failed:
            self._end_line(turn)
            broken = "This answer is not complete. " if turn.events else ""
            self._say(f"{broken}Error: {failed}", style="bold red")
            self._say("The question was removed from the conversation: ask again, or ask something else.")
        else:
            self._end_line(turn)
            self._conversation.keep(question, turn.text)
            self._say(figures(turn))

    def _show(self, text: str, is_reasoning: bool) -> None:  # noqa: FBT001 - `Show` is called by position
        self._console.out(plain(text), end="", highlight=False, style="dim italic" if is_reasoning else None)

    def _end_line(self, turn: Turn) -> None:
        if turn.events:
            self._console.print()

    def _say(self, text: str, *, style: str = "dim") -> None:
        self._console.print(plain(text), markup=False, highlight=False, soft_wrap=True, style=style)

    # -------------------------------------------------------------------------------------------------- commands

    def _help(self, rest: str) -> None:
        del rest
        self._say(HELP)

    def _model(self, name: str) -> None:
        if name:
            self._conversation.model = name
            self._say(f"The next answers come from {name}.")
            return
        try:
            names = self._runner.run(self._server.models())
        except ChatFailed as failed:
            names = []
            self._say(f"Error: {failed}", style="bold red")
        current = self._conversation.model
        for listed in names if current in names else [current, *names]:
            self._say(f"{'*' if listed == current else ' '} {listed}")

    def _system(self, text: str) -> None:
        if text:
            self._conversation.system = None if text == "-" else text
        self._say(f"System prompt: {self._conversation.system or 'none'}")

    def _reset(self, rest: str) -> None:
        del rest
        self._conversation.messages.clear()
        self._say("Forgotten.")

    def _save(self, name: str) -> None:
        if not name:
            self._say("Name a file: /save FILE")
            return
        body = msgspec.json.format(msgspec.json.encode(self._conversation.request()))
        try:
            with Path(name).expanduser().open("xb") as file:  # "x" refuses to overwrite a file
                file.write(body + b"\n")
        except OSError as error:
            self._say(f"Error: {name}: {error.strerror}", style="bold red")
        else:
            self._say(f"Saved in {name}.")


def _kept(turn: Turn) -> str:
    return (
        "the part of the answer that arrived is kept"
        if turn.text
        else "no part of the answer had arrived, and the question was removed"
    )


def figures(turn: Turn) -> str:
    """Return a line with the times and counts of an answer."""
    parts: list[str] = []
    if turn.ttft_s is not None:
        parts.append(f"TTFT {1000 * turn.ttft_s:.0f} ms")
    if turn.itl_s is not None:
        parts.append(f"ITL {1000 * turn.itl_s:.1f} ms")
    if turn.tokens_per_s is not None:
        parts.append(f"{turn.tokens_per_s:.1f} tokens/s")
    if turn.usage is not None:
        cached = f" ({turn.usage.cached_tokens} cached)" if turn.usage.cached_tokens else ""
        parts.append(
            f"{turn.usage.prompt_tokens} prompt{cached} + {turn.usage.completion_tokens} answer tokens"
        )
    else:
        parts.append(f"{turn.events} events; the server reports no tokens")
    if turn.finish_reason == "length":
        parts.append("cut off at the limit of tokens")
    elif turn.finish_reason != "stop":
        parts.append(f"ended by: {turn.finish_reason}")
    return " · ".join(parts)
