"""Changes how the C library keeps freed memory, to suit a server.

glibc gives a large block back to the system when it is freed, until it has seen one: from then on it keeps blocks of that
size in its heap. Answers and bodies of megabytes then leave holes that others do not fit into, and the process grows past
every bound on what it holds.
"""

from __future__ import annotations

import ctypes

# From mallopt(3). Below it are the slices in which large answers leave.
_M_MMAP_THRESHOLD = -3
LARGE_BLOCK_BYTES = 512 * 1024


def give_back_large_blocks() -> bool:
    """From now on, a freed block of that size goes back at once; False where the C library has no such switch."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES) == 1
