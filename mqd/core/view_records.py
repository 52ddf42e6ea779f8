"""The records of results and cancellations, in the form of those in `mqd.core.records`.

    (DONE,    uid, epoch, seq, ids, now_ms, result)
                                    as ACK, in a queue that keeps results: `result` is what
                                    the worker says came of each, None for nothing
    (RESULTS, uid, groups)          what has become of messages, as it was; a group is
                                    (ids, *outcome), see `mqd.core.results`
    (CANCEL,  uid, ids, now_ms)     ready and delayed messages go
    (MARK,    uid, seq, ids)        leased messages are cancelled, once they come back
    (CANCELLED, uid, count)         a queue's counter of cancelled messages as it was

`ids` is a tuple of runs, see `mqd.core.held`.
"""

from __future__ import annotations

from typing import Final

DONE: Final = 50
RESULTS: Final = 51
CANCEL: Final = 52
MARK: Final = 53
CANCELLED: Final = 54
