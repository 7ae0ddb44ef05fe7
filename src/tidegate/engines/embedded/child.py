"""The program of the llama.cpp server's process. It is run by path and not as a module of the package.

The process reads one JSON line of settings from stdin (not from argv, so that a process list never shows the API key). It
starts the C++ server of `xllamacpp` on a free loopback port, and prints `{"url": ...}` on stdout once the server listens.
The log of llama.cpp goes to stderr.

The process ends with its parent in two ways: by the kernel's parent-death signal, and by end-of-file on stdin, which also
works on systems without that signal. It ignores SIGTERM and SIGINT. These may reach all processes of a service or a
terminal at once, and the gateway lets running streams finish before it ends this process. Only the standard library and
`xllamacpp` are imported, and the start takes about 1.5 s.
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

xllamacpp: Any = importlib.import_module("xllamacpp")  # the package has no types

_PR_SET_PDEATHSIG = 1
_PARENT_DIED = signal.SIGUSR1
_HTTP_THREADS_BESIDE_SLOTS = 4  # so that health, metrics, slot save and restore never wait for open streams


def die_with_parent(parent: int) -> None:
    """Ask Linux to signal this process when its parent ends. `parent` is the pid that the parent gave as its own."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, _PARENT_DIED)
    if os.getppid() != parent:  # the parent ended before the signal was set
        os._exit(1)


def leave(slot_dir: str) -> None:
    """Remove the saved slots, which contain prompts, and end the process at once: the gateway has ended."""
    shutil.rmtree(slot_dir, ignore_errors=True)
    os._exit(0)


def params_from(settings: dict[str, Any]) -> Any:
    """Return the parameters of llama.cpp for a server behind a gateway. Its own defaults are for a single trusted user."""
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
    params.verbosity = 2  # warnings and errors; the default logs every request
    params.embedding = False
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["context_tokens"]
    params.kv_unified = (
        False  # each slot has its own share, so that one long conversation cannot starve the others
    )
    params.fit_params = False  # never shrink the context silently
    params.warmup = False  # does not speed up the first request, and takes seconds at a start under load
    # Memory for prompts of earlier conversations (default: 8 GiB). This cache ignores adapters, so with adapters it is
    # off.
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
    """Serve until the end of stdin or the end of the parent process."""
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
