"""The records of steps and of message keys, in the form of those in `mqd.core.records`.

    (STEP,       records)           what one step does: records, applied in their order
    (KEYED_PUSH, uid, key, digest, now_ms, push)
                                    the record of a push, and the key that it came with
    (KEYED_STEP, key, digest, now_ms, results, records)
                                    a step, the key that it came with, and what it answered
    (KEYS,       uid, keys)         keys as they were, the oldest first; of steps where `uid` is
                                    STEPS. A key is (key, digest, now_ms, results)

The records in a step are ACK, RETURN, a push of any kind, and KEYED_PUSH. `results` has a
number for each part: messages settled, or the first id of a push; the negative of that
where the push had been made before. A push has one result, its first id.
"""

from __future__ import annotations

from typing import Final

STEP: Final = 30
KEYED_PUSH: Final = 31
KEYED_STEP: Final = 32
KEYS: Final = 33

STEPS: Final = 0
"""Stands for all steps where other keys have their queue's number, which is never 0."""
