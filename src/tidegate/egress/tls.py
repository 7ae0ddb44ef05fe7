"""TLS to engines: the authorities that the gateway trusts, and its own certificate."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import msgspec

from tidegate.files import FromFiles


class TlsFiles(msgspec.Struct, frozen=True):
    """PEM files for TLS: an authority to trust in addition to the system's, and a client certificate with its key.

    The certificate and its key may be in the same file.
    """

    ca_path: Path | None = None
    certificate_path: Path | None = None
    key_path: Path | None = None


SYSTEM_ONLY = TlsFiles()
"""The system's authorities and no client certificate."""


class ClientTls:
    """The TLS context for new connections. The context is made again when one of its files changes."""

    def __init__(self, files: TlsFiles) -> None:
        """Read the files. Raises OSError for files that cannot be used."""
        paths = (files.ca_path, files.certificate_path, files.key_path)
        self._context = FromFiles([path for path in paths if path is not None], lambda: _context(files))

    async def context(self) -> ssl.SSLContext:
        """Return the context for the files as they are now."""
        if self._context.changed():
            # Making the context reads the system's authorities too, which takes about ten milliseconds.
            return await asyncio.to_thread(self._context.current)
        return self._context.value


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if files.ca_path is not None:
        context.load_verify_locations(files.ca_path)
    if files.certificate_path is not None:
        # Without a password, OpenSSL would ask for one on the terminal if the key is encrypted.
        context.load_cert_chain(files.certificate_path, files.key_path, password="")
    return context
