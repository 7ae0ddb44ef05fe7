"""Options of sockets."""

from __future__ import annotations

import socket

# A peer can disappear without closing its connection, if its machine loses power or a firewall drops its state. The system
# sends a probe after 30 s of silence, then every 10 s, and closes the connection after three unanswered probes: about a
# minute in all (tcp(7)).
IDLE_S, ASK_EVERY_S, ASK_TIMES = 30, 10, 3


def keep_alive(one: socket.socket) -> None:
    """Switch on TCP keep-alive. Sockets that a listening socket accepts inherit it."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", IDLE_S),
        ("TCP_KEEPALIVE", IDLE_S),  # the option's name on macOS
        ("TCP_KEEPINTVL", ASK_EVERY_S),
        ("TCP_KEEPCNT", ASK_TIMES),
    ):
        if hasattr(socket, name):
            one.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
