"""Who a session is to the leases that it takes, and whether it is still heard.

A client that names an *instance* is the same holder over all its connections: leases go on
while one of them is there, and for a grace after the last. A connection that names none is a
holder of its own, and nobody can come back as it. One that is *detached* works for somebody
without a connection, as a gateway does: its leases go on to their time, whoever is there.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mqd.engine.base import GiveBack
from mqwire import causes
from mqwire.errors import CodedError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from mqd.engine.base import JobEngine

_CHECKS_PER_PERIOD: Final = 2
_SILENT_CHECKS: Final = 4
"""So many checks without a byte, which is twice what the client promised, and it is gone."""


_UNDELIVERED: Final = GiveBack(
    causes.HAND_BACK, "the connection was lost before its messages had left"
)


class Holder:
    """A session's identity as a holder of leases.

    Args:
        jobs: where it comes and goes.
        user: its name.
        origin: tells connections apart, over restarts too: epoch and number.
        peer: the client's address.
        options: those of AUTH.
    """

    __slots__ = (
        "_has_arrived",
        "_has_instance",
        "_is_detached",
        "_jobs",
        "_known",
        "_owner",
        "who",
    )

    def __init__(
        self,
        jobs: JobEngine,
        user: str,
        origin: tuple[int, int],
        peer: str,
        options: Mapping[str, Any],
    ) -> None:
        instance = options.get("instance")
        self._is_detached: bool = options.get("detached", False)
        # No user's name has any of these signs, so nobody can be taken for another.
        if self._is_detached:
            self.who = f"{user}~{instance or ''}"
        elif instance is None:
            self.who = f"{user}#{origin[0]}.{origin[1]}"
        else:
            self.who = f"{user}/{instance}"
        self._jobs = jobs
        self._known = (user, peer, options)
        self._owner: dict[str, Any] | None = None
        self._has_instance = instance is not None
        self._has_arrived = False
        if self._has_instance:
            self._arrive()

    @property
    def is_detached(self) -> bool:
        """Whether its leases go on to their time, whoever is there."""
        return self._is_detached

    @property
    def owner(self) -> dict[str, Any]:
        """What a lease says of it."""
        if self._owner is None:
            user, peer, options = self._known
            self._owner = {"instance": self.who, "user": user, "peer": peer}
            for key in ("client", "host"):
                if key in options:
                    self._owner[key] = options[key]
            if self._is_detached:
                self._owner["is_detached"] = True
            self._arrive()
        return self._owner

    def leave(self, undelivered: Sequence[tuple[int, int]] = ()) -> None:
        """Go; the engine's turn has begun.

        Args:
            undelivered: leases whose messages have not left the server. Others of the same
                instance may be there, and do not know of them: they are handed back.
        """
        for lease in undelivered:
            with suppress(CodedError):  # it is settled, or of a holder that this was before
                self._jobs.give_back((*lease, (), self.who), _UNDELIVERED, None)
        if self._has_arrived:
            self._has_arrived = False
            self._jobs.leave(self.who, has_grace=self._has_instance, is_detached=self._is_detached)

    def _arrive(self) -> None:
        if not self._has_arrived:
            self._has_arrived = True
            self._jobs.arrive(self.who)


class Keepalive:
    """Watches a connection whose client has promised to be heard.

    Args:
        loop: where its timer runs.
        seconds: the client sends something at least so often.
        is_deaf: tells whether the server itself does not listen just now.
        on_silence: called once, when nothing has come for twice that time.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        is_deaf: Callable[[], bool],
        on_silence: Callable[[], None],
    ) -> None:
        self.was_heard = False
        """Set when something has come."""
        self._loop = loop
        self._pause_seconds = seconds / _CHECKS_PER_PERIOD
        self._is_deaf = is_deaf
        self._on_silence = on_silence
        self._silent = 0
        self._timer = loop.call_later(self._pause_seconds, self._check)

    def cancel(self) -> None:
        """Watch no longer."""
        self._timer.cancel()
        del self._timer

    def _check(self) -> None:
        self._silent = 0 if self.was_heard or self._is_deaf() else self._silent + 1
        self.was_heard = False
        if self._silent >= _SILENT_CHECKS:
            self._on_silence()
            return
        self._timer = self._loop.call_later(self._pause_seconds, self._check)
