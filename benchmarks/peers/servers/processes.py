"""A server's processes as the kernel shows them: who they are, what they take. Linux only."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    import subprocess

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def tree(root: int) -> list[int]:
    """Return the ids of a process and of all that came from it, itself first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def memory_bytes(root: int) -> int:
    """Return the memory of a process and of those that came from it.

    Pages that processes share are counted once (proportional set size); where the kernel
    does not tell that, the resident sets are added up.
    """
    return sum(_memory_of(pid) for pid in tree(root))


def processor_seconds(root: int) -> float:
    """Return the processor time of a tree of processes.

    Of those that live it is exact; of those that have ended and were awaited it is what the
    kernel has counted in ticks.
    """
    seconds = 0.0
    for pid in tree(root):
        fields = _stat(pid)
        if fields:
            seconds += sum(int(field) for field in fields[13:15]) / TICKS_PER_SECOND
        with contextlib.suppress(OSError):
            seconds += time.clock_gettime(_clock_of(pid))
    return seconds


def _clock_of(pid: int) -> int:
    """Return the clock of a process's processor time, as clock_getcpuclockid(3) makes it."""
    return ~pid << 3 | 2


def send(root: int, number: signal.Signals) -> None:
    """Send a signal to a process and to all that came from it."""
    for pid in tree(root):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process without asking it, and wait until it has ended."""
    process.kill()
    process.wait()


def _stat(pid: int) -> list[str]:
    """Return the fields of a process behind its name, which may hold anything."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _memory_of(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    return 0
