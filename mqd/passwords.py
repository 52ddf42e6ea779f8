"""Passwords and tokens: who somebody is.

What it is: argon2id hashes, checked in two threads behind a bounded queue, and
random tokens of which only a digest is kept.
What it is not: what somebody may do (`mqd.core.access`), where users are configured
(`mqd.config`), or which there are beside those (`mqd.core.accounts`).

Theory of operation. One check takes tens of milliseconds and 19 MiB, so checks
run off the event loop, two at a time, and no more than a few wait: past that a
client is told to come again. A slot is given back by the thread that has done
the check, or that skips it because nobody waits for it any longer; so a client
that hangs up in the middle cannot make more work than one that stays.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import argon2

from mqwire.codes import Code
from mqwire.errors import CodedError

if TYPE_CHECKING:
    from mqd.core.standings import Standing

TOKEN_BYTES: Final = 32
TOKEN_PREFIX: Final = "mqt_"  # noqa: S105  no token begins and ends with it
"""What the tokens of users begin with, so that people and scanners know them for what they are."""
THREADS: Final = 2
MAX_WAITING: Final = 32

# OWASP's least for argon2id with one lane: 19 MiB and two passes.
_HASHER: Final = argon2.PasswordHasher(
    time_cost=2,
    memory_cost=19 * 1024,
    parallelism=1,
    hash_len=32,
    salt_len=16,
    type=argon2.Type.ID,
)

# A hash of random bytes that nobody has kept, for users that do not exist.
_NOBODY: Final = (
    "$argon2id$v=19$m=19456,t=2,p=1$"
    "OXzn0nWpS7OtP+jLw6MzKA$2G1nGenCLOvLfb0qUQLY7mj1YYjIAZjMHyrB1O4s5Z4"
)


class Entry(Protocol):
    """A user who has a password."""

    @property
    def password_hash(self) -> str:
        """Encoded as argon2 does it."""


EntryT = TypeVar("EntryT", bound=Entry)


def hash_password(text: str) -> str:
    """Return the encoded argon2id hash of a password, with a salt of its own.

    Takes tens of milliseconds: off the event loop, please.
    """
    return _HASHER.hash(text)


def new_token() -> str:
    """Return 256 random bits as text that a URL can hold."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def new_user_token() -> str:
    """Return a token for a user: as `new_token`, with a beginning by which people know it."""
    return TOKEN_PREFIX + new_token()


def digest_of(token: str) -> bytes:
    """Return what a token is known by."""
    # A token is 256 random bits: a fast digest is enough, there is nothing to guess.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class Tokens:
    """The tokens of this run of the server alone. Holds digests, never tokens."""

    def __init__(self) -> None:
        self._known: list[tuple[bytes, Standing]] = []

    def add(self, token: str, standing: Standing) -> None:
        """Take `token` from here on as the word of somebody."""
        self._known.append((digest_of(token), standing))

    def check(self, token: str) -> Standing | None:
        """Return whose token this is, or None.

        Complexity: a comparison with every token that is taken, whichever it is, so
        that the time tells nothing.
        """
        digest = digest_of(token)
        found = [whose for known, whose in self._known if hmac.compare_digest(known, digest)]
        return found[0] if found else None


class PasswordChecker:
    """Checks passwords off the event loop, a few at a time.

    Args:
        threads: checks that run at a time.
        max_waiting: checks that wait beside those.
    """

    def __init__(self, *, threads: int = THREADS, max_waiting: int = MAX_WAITING) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="mqd-password")
        self._slots = threading.BoundedSemaphore(threads + max_waiting)
        self._is_closed = False

    async def check(self, entry: EntryT | None, password: str, decoy: str = "") -> EntryT | None:
        """Return the entry if this is its password, else None.

        A user that does not exist takes as long as one that does.

        Args:
            entry: the user's; None for one that does not exist.
            password: as the client gave it.
            decoy: a user's hash to check against where there is no entry, so that the time is
                right also for other costs than ours.

        Raises:
            CodedError: AUTH_BUSY if as many checks are under way as may be,
                SHUTTING_DOWN after `close`.

        Cancellation: a check that has not begun is skipped; nothing else is left behind.
        """
        encoded = entry.password_hash if entry is not None else decoy or _NOBODY
        is_right = await self._do(_Job(encoded, password))
        return entry if entry is not None and is_right else None

    async def hash(self, password: str) -> str:
        """Return the encoded hash of a password; it counts as a check.

        Raises:
            CodedError: as `check`.

        Cancellation: as with `check`.
        """
        encoded = await self._do(_Job("", password))
        assert isinstance(encoded, str)
        return encoded

    async def _do(self, job: _Job) -> bool | str:
        if self._is_closed:
            raise _shutting_down()
        if not self._slots.acquire(blocking=False):
            raise CodedError(Code.AUTH_BUSY, "too many password checks are under way; try again")
        future = self._executor.submit(self._run, job)
        try:
            outcome = await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            job.is_wanted = False
            raise
        if outcome is None:
            raise _shutting_down()
        return outcome

    def close(self) -> None:
        """Take no more checks and skip those that wait. Does not wait for the running ones."""
        self._is_closed = True
        self._executor.shutdown(wait=False)

    def _run(self, job: _Job) -> bool | str | None:
        """Run a check in a thread, or make a hash; None if it is skipped."""
        try:
            if self._is_closed or not job.is_wanted:
                return None
            if not job.encoded:
                return hash_password(job.password)
            return _is_right(job.encoded, job.password)
        finally:
            self._slots.release()


@dataclass
class _Job:
    encoded: str = field(repr=False)
    password: str = field(repr=False)
    is_wanted: bool = True


def _is_right(encoded: str, password: str) -> bool:
    try:
        return _HASHER.verify(encoded, password)
    except argon2.exceptions.VerifyMismatchError:
        return False


def _shutting_down() -> CodedError:
    return CodedError(Code.SHUTTING_DOWN, "the server is stopping")
