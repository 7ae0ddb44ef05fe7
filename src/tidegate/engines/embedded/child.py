"""The llama.cpp server as a process of its own, run by path and not as a module of the package.

Reads one JSON line of settings from stdin (not argv, so that the API key never shows in a process list), starts the C++
server of `xllamacpp` on a free loopback port, and prints `{"url": ...}` on stdout once it listens. The log of llama.cpp
goes to stderr. Two things end it with its parent: the kernel's parent-death signal, and end-of-file on stdin, which also
works where that signal does not exist. SIGTERM and SIGINT do not: they may reach all processes of a service or a terminal
at once, and the gateway lets running streams finish before it ends this one. Only the standard library and `xllamacpp` are
imported: the start takes about 1.5 s.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import shutil
import signal
import sys
from typing import Any

xllamacpp: Any = importlib.import_module("xllamacpp")  # it carries no types

_PR_SET_PDEATHSIG = 1
_PARENT_DIED = signal.SIGUSR1
_HTTP_THREADS_BESIDE_SLOTS = 4  # health, metrics, slot save and restore must not wait behind open streams


def die_with_parent(parent: int) -> None:
    """Ask Linux to end this process when its parent ends; `parent` is the parent's pid as the parent knows it."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, _PARENT_DIED)
    if os.getppid() != parent:  # it ended before the signal was set
        os._exit(1)


def leave(slot_dir: str) -> None:
    """End now: whoever wanted the running streams is gone. Prompts on disk are nobody's business afterwards."""
    shutil.rmtree(slot_dir, ignore_errors=True)
    os._exit(0)


def params_from(settings: dict[str, Any]) -> Any:
    """llama.cpp's parameters: its defaults are for one trusting user, these are for a server behind a gateway."""
    params: Any = xllamacpp.CommonParams()
    params.model.path = settings["model_path"]
    params.model_alias = {settings["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["api_key"]]
    params.cors_origins = ""
    params.cors_credentials = False
    params.ui = False
    params.endpoint_metrics = True
    params.slot_save_path = settings["slot_dir"].rstrip("/") + "/"  # llama.cpp joins by plain concatenation
    params.timeout_read = params.timeout_write = settings["socket_timeout_s"]  # default: an hour
    params.n_threads_http = settings["slots"] + _HTTP_THREADS_BESIDE_SLOTS
    params.verbosity = 2  # warnings and errors; the default tells of every request
    params.embedding = False
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["context_tokens"]
    params.kv_unified = False  # each slot has its own share: one long conversation cannot starve the others
    params.fit_params = False  # never shrink the context behind our back
    params.warmup = False  # saves nothing on the first request, and costs seconds at a start under load
    # Prompts of other conversations kept in memory; default: 8 GiB. It is blind to adapters, so it is off with them.
    params.cache_ram_mib = 0 if settings["lora"] else settings["cache_ram_mib"]
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["batch_threads"]
    if settings["speculation"] == "ngram":
        kinds = xllamacpp.common_speculative_type
        params.speculative.types = [kinds.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
    params.lora_adapters = [_adapter(path, scale) for path, scale in settings["lora"]]
    return params


def _adapter(path: str, scale: float) -> Any:
    adapter: Any = xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = path, scale
    return adapter


def main() -> None:
    """Serve until stdin ends or the parent does."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    settings: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    signal.signal(_PARENT_DIED, lambda _number, _frame: leave(settings["slot_dir"]))
    die_with_parent(settings["parent"])
    server: Any = xllamacpp.Server(params_from(settings))
    print(json.dumps({"url": server.listening_address}), flush=True)
    while sys.stdin.buffer.read(4096):
        pass
    leave(settings["slot_dir"])


if __name__ == "__main__":
    main()
