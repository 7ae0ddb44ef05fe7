"""TLS to engines: the authorities that the gateway trusts, and its own certificate."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import msgspec

from tidegate.files import FromFiles


class TlsFiles(msgspec.Struct, frozen=True):
    """PEM files: an authority to trust beside the system's, and a client certificate. One file may hold it and its key."""

    ca_path: Path | None = None
    certificate_path: Path | None = None
    key_path: Path | None = None


SYSTEM_ONLY = TlsFiles()
"""The system's authorities and no client certificate."""


class ClientTls:
    """The context for new connections. It is made again when one of its files changes."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises OSError for files that cannot be used."""
        paths = (files.ca_path, files.certificate_path, files.key_path)
        self._context = FromFiles([path for path in paths if path is not None], lambda: _context(files))

    async def context(self) -> ssl.SSLContext:
        """Return the context for the files as they are now."""
        if self._context.changed():
            # This reads the system's authorities too, which takes some ten milliseconds.
            return await asyncio.to_thread(self._context.current)
        return self._context.value


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if files.ca_path is not None:
        context.load_verify_locations(files.ca_path)
    if files.certificate_path is not None:
        # A password keeps OpenSSL from asking for one on the terminal.
        context.load_cert_chain(files.certificate_path, files.key_path, password="")
    return context
