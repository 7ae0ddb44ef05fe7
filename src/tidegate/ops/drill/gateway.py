"""`tidegate serve` as a process that does not outlive the drill: python -m tidegate.ops.drill.gateway CONFIG.

The process ends as after SIGTERM when its standard input ends, which also happens when the drill itself is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from tidegate.cli.serve import serve


def _end_with_input() -> None:
    # Unlike sys.stdin, this holds no lock that the end of the interpreter would wait for.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_input, daemon=True).start()
    serve(config=Path(sys.argv[1]))
