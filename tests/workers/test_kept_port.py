"""The port that a gateway with several workers has chosen is kept for them while none of them listens."""

from __future__ import annotations

import pytest

from tidegate.config.server import ServerConfig
from tidegate.http.edge.server import CannotListen, bind


def test_a_kept_port_is_for_those_who_share_it() -> None:
    with bind(ServerConfig(port=0), shared=True, listens=False) as kept:
        port = kept.getsockname()[1]
        with pytest.raises(CannotListen), bind(ServerConfig(port=port)):
            pass
        with bind(ServerConfig(port=port), shared=True) as worker:
            assert worker.getsockname()[1] == port
