"""`tidegate` with a wall clock that jumps: SIGUSR2 moves it an hour ahead, the next one two hours back, and so on.

Only `time.time` jumps. The monotonic clock goes on, as it does when an operator or NTP sets the clock of a machine.
"""

from __future__ import annotations

import itertools
import signal
import time
from types import FrameType

JUMPS_S = (3600.0, -3600.0, 0.0)


def let_it_jump() -> None:
    real, jumps, ahead = time.time, itertools.cycle(JUMPS_S), [0.0]

    def jump(number: int, frame: FrameType | None) -> None:
        del number, frame
        ahead[0] = next(jumps)
        print(f"the clock is {ahead[0]:+g} s ahead", flush=True)

    signal.signal(signal.SIGUSR2, jump)
    time.time = lambda: real() + ahead[0]


if __name__ == "__main__":
    let_it_jump()  # before the gateway takes the clock
    from tidegate.cli import main

    main()
