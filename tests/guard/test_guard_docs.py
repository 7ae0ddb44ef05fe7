"""The script of `docs/guard.md` works as it stands there: by itself, in a thread, in asyncio and on a stream."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "guard.md").read_text()
SCRIPT = re.search(r'```python title="guarded.py"\n(.*?)```', PAGE, re.DOTALL)[1]  # type: ignore[index]
PRINTED = re.search(r"It prints:\n\n```text\n(.*?)```", PAGE, re.DOTALL)[1]  # type: ignore[index]
LOOP = re.search(r"```python\n(async for .*?)```", PAGE, re.DOTALL)[1]  # type: ignore[index]


def test_it_is_ten_lines_long() -> None:
    assert sum(bool(line.strip()) for line in SCRIPT.splitlines()) <= 10


def test_it_runs_as_it_stands_there(capsys) -> None:
    exec(SCRIPT, {})
    assert capsys.readouterr().out == PRINTED


def test_it_runs_in_a_thread(capsys) -> None:
    thread = threading.Thread(target=exec, args=(SCRIPT, {}))
    thread.start()
    thread.join()
    assert capsys.readouterr().out == PRINTED


def test_it_runs_in_asyncio(capsys) -> None:
    async def work() -> None:
        exec(SCRIPT, {})

    asyncio.run(work())
    assert capsys.readouterr().out == PRINTED


def test_its_guard_cleans_a_stream(capsys) -> None:
    names: dict = {}
    exec(SCRIPT, names)
    capsys.readouterr()

    async def deltas():
        for text in ("Contact john@exa", "mple.com or call 555-", "0123 for help."):
            yield text

    names["deltas"] = deltas()
    body = "".join(f"    {line}\n" for line in LOOP.splitlines())
    exec(f"async def work():\n{body}", names)
    asyncio.run(names["work"]())
    assert capsys.readouterr().out == "Contact <EMAIL_ADDRESS> or call <PHONE_NUMBER> for help."
