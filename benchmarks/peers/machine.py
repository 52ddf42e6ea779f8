"""What a run was measured on."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any


def described() -> dict[str, Any]:
    """Return cores, memory, kernel, Python, file system, and how busy the machine was."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "time": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_bytes": pages * page_bytes,
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "file_system": _file_system(tempfile.gettempdir()),
        "load_average": os.getloadavg()[0],
    }


def sentence(machine: dict[str, Any]) -> str:
    """Return the same for people."""
    return (
        f"{machine['time']} UTC, {machine['cores']} cores ({machine['processor']}), "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB, {machine['kernel']}, "
        f"Python {machine['python']}, data on {machine['file_system']}, loopback; "
        f"load average when it began: {machine['load_average']:.1f}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(path: str) -> str:
    """Return the type of the file system that a path lies on: that of the longest mount point."""
    best, kind = "", "unknown"
    real = os.path.realpath(path)
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, this_kind, *_ = line.split()
        if os.path.commonpath([real, point]) == point and len(point) >= len(best):
            best, kind = point, this_kind
    return kind
