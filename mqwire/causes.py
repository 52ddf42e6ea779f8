"""Why a delivery ended otherwise than with an ack. Floor 0: data only.

The words stand on the wire, in the journal and in what people are shown.
"""

from __future__ import annotations

from typing import Final

NACK: Final = "nack"
"""It failed."""

REJECT: Final = "reject"
"""It failed, and is never to be tried again."""

HAND_BACK: Final = "hand_back"
"""It was handed back on purpose."""

EXPIRED: Final = "expired"
"""The lease's deadline has passed."""

GONE: Final = "gone"
"""The holder has gone."""

TTL: Final = "ttl"
"""The message has waited longer than it may. That is no delivery, so its entry in a history
has no owner, and begins when it ends."""

CAUSES: Final = (NACK, REJECT, HAND_BACK, EXPIRED, GONE, TTL)
