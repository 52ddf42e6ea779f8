"""One of the processes behind `crash.pool`.

    python -m crash.worker PART OPTIONS

PART names a module here whose `work(options)` yields what was done as counts; OPTIONS is a
JSON object. Standard output is lines of JSON: counts to be added up, a few times a second,
and at the end `{"end": ...}` with "done" or "failed", and then the text of the failure.
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
import time
import traceback
from collections import Counter
from typing import Any, NoReturn

EVERY_SECONDS = 0.25
PARTS = ("states", "kills", "cuts", "restarts", "pipeline")


def _say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _stop(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(143)


def main(part: str, text: str) -> int:
    """Work until there is nothing more to do, or somebody says stop."""
    assert part in PARTS, part
    signal.signal(signal.SIGTERM, _stop)
    counts: Counter[str] = Counter()
    said_at = time.monotonic()
    end: dict[str, Any] = {"end": "done"}
    try:
        for done in importlib.import_module(f"crash.{part}").work(json.loads(text)):
            counts.update(done)
            if time.monotonic() - said_at > EVERY_SECONDS:
                _say(counts)
                counts.clear()
                said_at = time.monotonic()
    except Exception:  # noqa: BLE001  whatever it is, it is the result
        end = {"end": "failed", "text": traceback.format_exc()}
    finally:
        _say(counts)
    _say(end)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
