"""Makes the C library return large freed blocks of memory to the system at once.

By default glibc does this only until the first large block is freed. Then it raises its threshold and keeps blocks of that
size in its heap. Freed answers and bodies of megabytes leave holes in the heap that later blocks do not fit into. So the
process would grow beyond all limits on the memory it uses.
"""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD = -3  # from mallopt(3)
# The slices in which large answers are sent are smaller than this, so they stay in the heap.
LARGE_BLOCK_BYTES = 512 * 1024


def give_back_large_blocks() -> bool:
    """Return freed blocks of `LARGE_BLOCK_BYTES` or more to the system from now on.

    Returns False if the C library has no such setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES) == 1
