"""Checks the files that settings name, so that a mistake is found when the configuration is read."""

from __future__ import annotations

import ssl
from pathlib import Path

_GGUF_MAGIC = b"GGUF"


def check_file(path: Path) -> Path:
    """Return `path` if it is a file. Raises ValueError otherwise."""
    if path == Path():  # the path of an empty text
        raise ValueError("is empty: name a file, or leave the setting out")
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


def check_gguf(path: Path) -> Path:
    """Return `path` if it is a readable GGUF file. Raises ValueError otherwise."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(_GGUF_MAGIC))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if magic != _GGUF_MAGIC:
        raise ValueError(f"{path} is not a GGUF file: it starts with {magic!r}, not {_GGUF_MAGIC!r}")
    return path


def check_certificates(path: Path) -> Path:
    """Return `path` if certificates can be read from the file. Raises ValueError otherwise."""
    check_file(path)
    try:
        # The HTTP client might silently accept a file without certificates. This call refuses such a file.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:
        raise ValueError(f"no certificate can be read from {path}") from error
    return path
