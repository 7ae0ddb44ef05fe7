"""What the system does for a connection by itself."""

from __future__ import annotations

import socket

# A peer that vanished without a word (a machine that lost its power, a firewall that forgot) is found out after about a
# minute: the system asks for a sign of life after 30 s of silence, then every 10 s, three times (tcp(7)).
IDLE_S, ASK_EVERY_S, ASK_TIMES = 30, 10, 3


def keep_alive(one: socket.socket) -> None:
    """Have the system notice a peer that is gone without a word. What a listening socket accepts inherits it."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", IDLE_S),
        ("TCP_KEEPALIVE", IDLE_S),  # what macOS calls it
        ("TCP_KEEPINTVL", ASK_EVERY_S),
        ("TCP_KEEPCNT", ASK_TIMES),
    ):
        if hasattr(socket, name):
            one.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
