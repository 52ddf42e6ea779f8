"""The records of the life of a job, beside those of `mqd.core.records` and in their form.

    (LEASE,  uid, epoch, seq, count, deadline_ms, owner, now_ms, ids)
                                    the first `count` ready messages come under a lease; which
                                    they are, as they were taken, is there for whoever cannot
                                    tell (`mqd.core.salvage`)
    (ACK,    uid, epoch, seq, ids)  messages are done; no ids: the whole lease
    (EXTEND, uid, epoch, seq, deadline_ms, ids, now_ms)
                                    no ids: the whole lease; older ones have no place for the
                                    time, and those before them none for ids
    (RETURN, uid, epoch, seq, cause, reason, now_ms, parts)
                                    messages leave a lease for one of `mqwire.causes`; a part is
                                    (fate, ids, due_ms or the uid of the queue they go to)
    (READY,  uid, ids)              delayed messages become ready; the id of the last message
                                    of a parcel stands for all of it
    (REDRIVE, uid, ids, target_uid, now_ms)
                                    dead messages are ready again, in their own queue or in
                                    the one that they came from
    (PURGE_DEAD, uid)               the dead messages of a queue go
    (KEEP,   uid, place, message)   a message as it was: `place` READY_HERE, DELAYED or DEAD
    (LEASED, uid, epoch, seq, deadline_ms, owner, leased_ms, size_bytes, parts, messages, parcels)
                                    a lease as it was; `parcels` only where it has some
    (TALLY,  uid, acked, moved, expired)
                                    a queue's other counters as they were; `expired` only
                                    where it is not 0
    (SKIP,   uid, count)            the next ids are those of messages that are not in packs
    (SEQUENCE, seq)                 numbers of leases up to this one have been used
    (MORE,   uid, seq, messages)    more of a lease as it was: it follows the LEASED

`ids` is a tuple of runs, see `mqd.core.held`; `message` is what `Message.export` returns.
"""

from __future__ import annotations

from typing import Final

LEASE: Final = 8
ACK: Final = 9
EXTEND: Final = 10
RETURN: Final = 11
READY: Final = 12
REDRIVE: Final = 13
PURGE_DEAD: Final = 14
KEEP: Final = 15
LEASED: Final = 16
TALLY: Final = 17
SKIP: Final = 18
SEQUENCE: Final = 19
MORE: Final = 20

# Where messages go that leave a lease without having been done.
READY_HERE: Final = 0
DELAYED: Final = 1
DEAD: Final = 2
MOVED: Final = 3
CANCELLED: Final = 7
"""They were cancelled, and are gone. Those between are in `mqd.core.order_records`."""
