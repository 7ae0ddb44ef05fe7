"""Files that a setting names: looked at when the configuration is read, not first when they are used."""

from __future__ import annotations

import ssl
from pathlib import Path

_GGUF_MAGIC = b"GGUF"


def check_file(path: Path) -> Path:
    """`path` itself, if a file is there. Raises ValueError."""
    if path == Path():  # what an empty text becomes
        raise ValueError("is empty: name a file, or leave the setting out")
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


def check_gguf(path: Path) -> Path:
    """`path` itself, if it is a readable GGUF file. Raises ValueError."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(_GGUF_MAGIC))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if magic != _GGUF_MAGIC:
        raise ValueError(f"{path} is not a GGUF file: it starts with {magic!r}, not {_GGUF_MAGIC!r}")
    return path


def check_certificates(path: Path) -> Path:
    """`path` itself, if certificates can be read from it. Raises ValueError."""
    check_file(path)
    try:
        # A client may take a file without certificates for one that names none.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:
        raise ValueError(f"no certificate can be read from {path}") from error
    return path
