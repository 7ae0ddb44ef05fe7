"""`tidegate scripted`: a server that answers by script."""

from __future__ import annotations

from typing import Annotated, Literal

import uvloop
from cyclopts import Parameter, validators

from tidegate.cli import settings
from tidegate.errors import BadRequest


def scripted(
    *,
    host: str = "127.0.0.1",
    port: settings.Port = 9000,
    slots: Annotated[int | None, Parameter(validator=validators.Number(gte=1))] = None,
    like: Literal["openai", "vllm", "sglang", "llamacpp"] = "openai",
    options: Annotated[list[str] | None, Parameter(("--set", "-s"), negative="")] = None,
) -> None:
    """Serve scripted answers over the OpenAI API, with exact timing and faults of the connection.

    A marker in the prompt of a request changes the script for this request:
    `[[scripted ttft=50 itl=5 tokens=32 fault=reset@10]]`. `GET /record` reports the concurrency and the answers delivered.

    Parameters
    ----------
    host
        Address to listen on.
    port
        Port to listen on; 0 chooses a free port.
    slots
        Largest number of calls at once; further calls get a 503. Default: no limit.
    like
        The engine to imitate: its pages about the load, and its error messages.
    options
        Options of the marker for every request: `--set ttft=50 --set itl=5 --set tokens=32`.

    """
    # Imported here, because only this command needs the server.
    from tidegate.engines.scripted.persona import Persona  # noqa: PLC0415
    from tidegate.engines.scripted.script import Script, override  # noqa: PLC0415
    from tidegate.engines.scripted.server import ScriptedServer, serve  # noqa: PLC0415

    pairs = [option.partition("=") for option in options or []]
    try:
        script = override(Script(), {name: value for name, _, value in pairs})
    except BadRequest as error:
        settings.fail(f"--set: {error.message}")
    server = ScriptedServer(script=script, port=port, host=host, slots=slots, like=Persona(like))
    try:
        uvloop.run(serve(server, listening=lambda url: print(f"scripted engine on {url}/v1", flush=True)))
    except OSError as error:
        settings.fail(f"cannot listen on {host}:{port}: {error.strerror}")
