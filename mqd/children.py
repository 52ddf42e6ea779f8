"""Processes that do the server's work beside it."""

from __future__ import annotations

import sys


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs `main` of one of our modules in a Python of its own.

    It finds modules where this process does, and nowhere else: `python -m` would look into
    the working directory first, where anybody's file may lie.
    """
    program = f"import sys; sys.path[:] = {sys.path!r}; from {module} import main; sys.exit(main())"
    return [sys.executable, "-c", program, *arguments]
