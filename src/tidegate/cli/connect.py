"""The network requests of `tidegate check`: it looks up host names, and with --connect it asks every engine behind a URL.

An engine is asked only for its list of models and for the path of its probe. It generates no text.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from tidegate.config import DEFAULT_PROBE, Config, EngineConfig, HttpEngineConfig, urls
from tidegate.egress.exchange import Exchange
from tidegate.egress.open import open_client, own_headers
from tidegate.engines.openai import read_whole
from tidegate.errors import GatewayError, Problem
from tidegate.kernel.plain import plain
from tidegate.telemetry.causes import cause_of

WITHIN_S = 10.0
LOOK_UP_S = 3.0
MAX_LIST_BYTES = 16 * 2**20
_SHOWN = 8

State = Literal["ok", "warning", "wrong", "not asked"]


class Finding(msgspec.Struct, frozen=True):
    """The result of asking one engine. `says` has a sentence for each fact found."""

    engine: str
    kind: str
    url: str | None
    state: State
    says: list[str]


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


class _Notes:
    """The sentences of a finding, and the worst state among them."""

    def __init__(self) -> None:
        self.says: list[str] = []
        self.state: State = "ok"

    def wrong(self, words: str) -> None:
        self.says.append(words)
        self.state = "wrong"

    def doubtful(self, words: str) -> None:
        self.says.append(words)
        self.state = "warning" if self.state == "ok" else self.state


async def ask_all(config: Config) -> list[Finding]:
    """Ask all engines at the same time. Each takes about ten seconds at most."""
    wanted = {name: dict(_wanted(config, name)) for name in config.engines}
    return list(
        await asyncio.gather(*(_ask(name, one, wanted[name]) for name, one in config.engines.items()))
    )


def unresolved(config: Config, *, engines: bool = True) -> list[Problem]:
    """Return the hosts that do not resolve: `server.host`, and with `engines` those of the engines.

    The look-ups together take at most three seconds.
    """
    hosts = {"server.host": config.server.host, **(dict(_hosts(config)) if engines else {})}
    why = dict.fromkeys(hosts, f"there was no answer within {LOOK_UP_S:g} s")

    def look_up(path: str, host: str) -> None:
        try:
            socket.getaddrinfo(host, None)
        except (OSError, UnicodeError) as error:
            why[path] = cause_of(error)
        else:
            del why[path]

    # Daemon threads, since a look-up cannot be cancelled and the process should not wait for it at its end.
    threads = [threading.Thread(target=look_up, args=pair, daemon=True) for pair in hosts.items()]
    for thread in threads:
        thread.start()
    ends_at = time.monotonic() + LOOK_UP_S
    for thread in threads:
        thread.join(max(0.0, ends_at - time.monotonic()))
    return [Problem(path, f"the host {hosts[path]} does not resolve: {words}") for path, words in why.items()]


def _hosts(config: Config) -> Iterator[tuple[str, str]]:
    for name, engine in config.engines.items():
        if isinstance(engine, HttpEngineConfig):
            setting, url = ("proxy", engine.proxy) if engine.proxy else ("url", engine.url)
            yield f"engines.{name}.{setting}", urlsplit(url).hostname or ""


def _wanted(config: Config, engine: str) -> Iterator[tuple[str, str]]:
    """Yield the path and the engine's name of each model that the engine should serve by the configuration."""
    for name, model in config.models.items():
        for at, one in enumerate(model.deployments):
            if one.engine == engine and (one.model or not name.endswith("*")):
                yield f"models.{name}.deployments[{at}]", one.model or name


async def _ask(name: str, engine: EngineConfig, wanted: Mapping[str, str]) -> Finding:
    if not isinstance(engine, HttpEngineConfig):
        return Finding(name, engine.kind, None, "not asked", ["runs within the gateway"])
    notes = _Notes()
    try:
        await _ask_models(engine, wanted, notes)
        if engine.probe_at is not None and engine.probe != DEFAULT_PROBE:
            await _ask_probe(engine, *engine.probe_at, notes)
    except GatewayError as error:
        notes.wrong(cause_of(error))
    return Finding(name, engine.kind, engine.url, notes.state, [plain(words) for words in notes.says])


async def _ask_models(engine: HttpEngineConfig, wanted: Mapping[str, str], notes: _Notes) -> None:
    status, headers, body = await _get(engine, engine.url, "models")
    if status != 200:
        _judge_status(engine, status, headers, notes)
        return
    try:
        listed = [model.id for model in msgspec.json.decode(body, type=_Models).data]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        likely = urls.likely(engine.url)
        notes.wrong(
            f"answers {engine.url}/models with something that is not a list of models:"
            f" {f'the url is more likely {likely}' if likely else 'is the url right?'}"
        )
        return
    notes.says.append(f"answers, and lists {len(listed)} model{'' if len(listed) == 1 else 's'}")
    for path, model in wanted.items():
        if not _lists(listed, model):
            notes.wrong(f"does not list the model '{model}' ({path}); {_instead(listed, model)}")


def _judge_status(
    engine: HttpEngineConfig, status: int, headers: Mapping[bytes, bytes], notes: _Notes
) -> None:
    url = f"{engine.url}/models"
    if status == 401:
        key = "see api_key and headers" if engine.api_key or engine.headers else "no api_key is set"
        notes.wrong(f"refuses the gateway's credentials (401): {key}")
    elif status == 403:
        notes.doubtful("does not let this key list models (403): names of models cannot be checked")
    elif status == 407:
        notes.wrong("the proxy refuses the gateway's credentials (407): see proxy")
    elif 300 <= status < 400:
        to = headers.get(b"location", b"").decode("latin-1")
        notes.wrong(f"redirects {url} ({status}) to {to or 'an unknown place'}: set url to that place")
    elif status in (404, 405, 501) and (likely := urls.likely(engine.url)):
        notes.wrong(f"has no {url} ({status}): the url is more likely {likely}")
    elif status in (404, 405, 501):
        notes.doubtful(f"has no {url} ({status}): is the url right? Names of models cannot be checked")
    elif status >= 500:
        notes.wrong(f"answers {url} with status {status}: it is broken, or still starting")
    else:
        notes.doubtful(f"answers {url} with status {status}: names of models cannot be checked")


async def _ask_probe(engine: HttpEngineConfig, base: str, path: str, notes: _Notes) -> None:
    status, _, _ = await _get(engine, base, path)
    if status == 401 or status >= 500:
        notes.wrong(
            f"answers the probe, GET {engine.probe}, with status {status}: the gateway would not count it as ready"
        )


async def _get(engine: HttpEngineConfig, base: str, path: str) -> tuple[int, Mapping[bytes, bytes], bytes]:
    """Return the status, the headers and, for a 200, the body. Raises GatewayError."""
    client = open_client(engine.model_copy(update={"url": base}))
    exchange: Exchange | None = None
    try:
        exchange = await client.send(client.target("GET", path, own_headers(engine)), [], b"", WITHIN_S)
        body = await read_whole(exchange, MAX_LIST_BYTES) if exchange.status == 200 else b""
        return exchange.status, dict(exchange.headers), body
    finally:
        if exchange is not None:
            await exchange.close()
        await client.close()


def _lists(listed: list[str], model: str) -> bool:
    """Return whether a model is listed. Some servers add a folder before the name, or `:latest` after it."""
    return any(one in (model, f"{model}:latest") or one.endswith(f"/{model}") for one in listed)


def _instead(listed: list[str], model: str) -> str:
    if close := get_close_matches(model, listed, n=1, cutoff=0.5):
        return f"did you mean '{close[0]}'?"
    shown = ", ".join(sorted(listed)[:_SHOWN]) or "none"
    return f"it lists: {shown}{', …' if len(listed) > _SHOWN else ''}"
