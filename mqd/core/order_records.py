"""The records of order and time, beside those of `mqd.core.records` and in their form.

(PUSH_WITH, uid, first_id, count, pack, headers, now_ms, priority, due_ms, expires_ms, terms)
                                messages are pushed as a parcel, see `mqd.core.parcels`
(PARCEL, uid, first_id, count, pack, headers, pushed_ms, priority, due_ms, expires_ms, terms)
                                a parcel as it was, its ids given by SKIPs
(PAUSE,  uid)                   nothing is delivered until a RESUME
(RESUME, uid)
(TURN,   uid, turn)             so many takes were counted since the last that went by age
"""

from __future__ import annotations

from typing import Final

PUSH_WITH: Final = 40
PARCEL: Final = 41
PAUSE: Final = 42
RESUME: Final = 43
TURN: Final = 44
