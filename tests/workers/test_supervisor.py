"""The supervisor in this process, its workers in theirs: what cannot be timed from outside."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

import pytest

from tidegate import gateway
from tidegate.workers.shares import Source
from tidegate.workers.supervisor import supervise

TEXT = """
server: {{port: 0, drain_grace_s: 0}}
admin: {{port: 0}}
engines: {{script: {{kind: scripted}}}}
models: {{{name}: {{deployments: [{{engine: script}}]}}}}
"""


@pytest.mark.anyio
# The admin port is open until the process ends; here that is the loop.
@pytest.mark.filterwarnings("ignore:unclosed resource <TCPServer:ResourceWarning")
async def test_a_change_of_the_file_while_the_workers_start_is_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gateway, "WATCH_EVERY_S", 0.05)
    path = tmp_path / "tidegate.yaml"
    path.write_text(TEXT.format(name="before"))
    with caplog.at_level(logging.INFO):
        running = asyncio.create_task(supervise(Source(), path, workers=1, log_level="WARNING"))
        # At its first pause the file is read, and no process can have started yet.
        await asyncio.sleep(0)
        path.write_text(TEXT.format(name="changed"))
        try:
            async with asyncio.timeout(20):
                while f"{path} is in force" not in caplog.text and not running.done():
                    await asyncio.sleep(0.01)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
    assert "serving before on" in caplog.text
    assert f"{path} is in force" in caplog.text
