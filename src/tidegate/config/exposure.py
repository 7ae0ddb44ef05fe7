"""Whether everybody could use the gateway: there are no keys, and the address is not of this machine alone."""

from __future__ import annotations

import ipaddress

from tidegate.config.tree import Config
from tidegate.errors import ConfigError, Problem


def is_loopback(address: str) -> bool:
    """Whether a socket that is bound to this address hears this machine only."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def may_be_loopback(host: str) -> bool:
    """Whether the host of the settings can be an address of this machine only; a name can, until it is resolved."""
    try:
        return is_loopback(host)
    except ValueError:
        return True


def check_exposure(config: Config, address: str, *, setting: str = "server.host") -> None:
    """Raises ConfigError for an address that needs keys where there are none. `setting` is what names the address.

    Whoever wants a gateway without keys on a network writes `auth.mode: none`.
    """
    if config.has_keys or config.auth.mode == "none" or is_loopback(address):
        return
    found = (
        f"{address} is not of this machine alone, and there are no keys: everybody who reaches it could use the models;"
        " add keys, listen on 127.0.0.1, or write auth: {mode: none}"
    )
    raise ConfigError("cannot listen", [Problem(setting, found)])


def exposure(config: Config) -> str:
    """Who is served, for the log at the start."""
    if config.has_keys:
        shown = "a key" if config.auth.jwt is None else "a key or a token"
        return f"only callers with {shown} are served"
    if config.auth.mode == "none":
        return "auth.mode is none: everybody who reaches the port is served"
    return "there are no keys: only this machine is served"
