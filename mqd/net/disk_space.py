"""Space for a file that grows, reserved beyond its end. Linux alone; elsewhere nothing happens.

What Python has for that (`os.posix_fallocate`) makes the file longer, which one that others
read while it grows must not be.
"""

from __future__ import annotations

import ctypes
from typing import Final

_KEEP_SIZE: Final = 1
"""FALLOC_FL_KEEP_SIZE of fallocate(2)."""

_HAS_LONG_OFFSETS: Final = ctypes.sizeof(ctypes.c_long) == 8
_fallocate = getattr(ctypes.CDLL(None), "fallocate", None) if _HAS_LONG_OFFSETS else None
if _fallocate is not None:
    _fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)


def reserve_space(fd: int, start: int, size_bytes: int) -> None:
    """Reserve space for bytes from `start` on, if the system and the file system can.

    Whether they could is not told: who writes there finds out.
    """
    if _fallocate is not None:
        _fallocate(fd, _KEEP_SIZE, start, size_bytes)
