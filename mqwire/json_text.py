"""Values that came from msgpack as JSON text. Floor 0: pure.

One rendering for everything that is printed for machines: `mqctl --json` and frame
logs in JSON lines.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any


def to_json(value: Any) -> str:
    """Return `value`, which came from msgpack, as JSON text on one line.

    Binary becomes `{"base64": text}`, a number that JSON does not have a string, and a
    map's key that is no string its JSON text.

    Raises:
        RecursionError: nested too deeply.
    """
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def base64_of(data: bytes) -> str:
    """Return `data` in base64."""
    return base64.b64encode(data).decode("ascii")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"base64": base64_of(bytes(value))}
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else to_json(key): _plain(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value)
