"""Which form of mqd this is: its sources, or with the hot modules compiled."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from typing import Final


def is_compiled(module: str = "mqd.core.broker") -> bool:
    """Tell whether one of the modules that can be compiled is so here; all are, or none.

    The module itself is not imported.
    """
    spec = find_spec(module)
    return spec is not None and (spec.origin or "").endswith(tuple(EXTENSION_SUFFIXES))


IS_COMPILED: Final = is_compiled()
WORDS: Final = " (compiled)" if IS_COMPILED else ""
"""What is said after the version, for people."""
