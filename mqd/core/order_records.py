"""The records of order and time, beside those of `mqd.core.records` and in their form.

    (PUSH_WITH, uid, first_id, count, pack, headers, now_ms, priority, due_ms, expires_ms, terms)
                                    messages are pushed as a parcel
    (PUSH_EACH, uid, first_id, count, pack, priorities, now_ms, due_ms, expires_ms)
                                    messages are pushed, each as a parcel with a priority of its
                                    own: a byte of `priorities`
    (PULL_EACH, uid, count)         so many takes of one message each, while there was a choice
                                    between priorities
    (PARCEL, uid, first_id, count, pack, headers, pushed_ms, priority, due_ms, expires_ms, terms)
                                    a parcel as it was, its ids given by SKIPs
    (PAUSE,  uid)                   nothing is delivered until a RESUME
    (RESUME, uid)
    (TURN,   uid, turn)             so many takes were counted since the last that went by age
    (EXPIRE, uid, numbers, parts, now_ms)
                                    messages that have waited too long go: an id, or that of
                                    the last message of a parcel for all of it. A part is
                                    (fate, ids, uid of the queue they go to), as in a RETURN,
                                    with the fates OLD_DEAD and OLD_MOVED; without parts they
                                    are all dropped

What a parcel is says `mqd.core.parcels`; `numbers` and `ids` are runs, see `mqd.core.held`.
"""

from __future__ import annotations

from typing import Final

PUSH_WITH: Final = 40
PARCEL: Final = 41
PAUSE: Final = 42
RESUME: Final = 43
TURN: Final = 44
EXPIRE: Final = 45
PUSH_EACH: Final = 46
PULL_EACH: Final = 47

# Where messages go that have waited too long, beside the places of `mqd.core.job_records`;
# in a RETURN they are those that have expired while they were under the lease.
DROPPED: Final = 4
OLD_DEAD: Final = 5
OLD_MOVED: Final = 6
OLD: Final = frozenset({DROPPED, OLD_DEAD, OLD_MOVED})
