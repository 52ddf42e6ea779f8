"""The records: the only things that change a broker.

A record is a plain tuple, its kind first, so that making one costs next to
nothing and msgpack can hold it as it is:

    (CREATE, uid, name, options, now_ms)
    (DELETE, uid)
    (PUSH,   uid, first_id, count, pack, headers, now_ms)
    (PULL,   uid, count)            the first `count` ready messages leave
    (PURGE,  uid)
    (RESTORE, uid, name, options, created_ms, first_id, pulled, purged)
                                    a queue as it was, its messages to follow as PUSHes
    (COUNTERS, uid, now_ms)         numbers up to this one have been used, and it was so late

Those for the life of a job are in `mqd.core.job_records`.

`uid` numbers queues over the whole life of the server and is never used twice,
so a record can never meet another queue that happens to have the same name.
`headers` is a tuple of header runs, see `mqd.core.fifo`. `options` is a map, see
`mqd.core.queue.Queue`.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

Record: TypeAlias = tuple[Any, ...]

CREATE: Final = 1
DELETE: Final = 2
PUSH: Final = 3
PULL: Final = 4
PURGE: Final = 5
RESTORE: Final = 6
COUNTERS: Final = 7
