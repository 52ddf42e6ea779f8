"""What is sound in a damaged directory becomes a new one. The old one is only read.

Which files are taken, in which order, and what is lost: `mqd.store.remains`. What a record
means after a gap: `mqd.core.salvage`. What is written, beside segment and snapshot as in
`mqd.store.restore`:

    quarantine.jsonl      records that are in no queue now, a line of JSON each
    salvage-report.txt    what was lost, for whoever wonders later
"""

from __future__ import annotations

import base64
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mqd.core import job_records, order_records, step_records, view_records
from mqd.core import records as kinds
from mqd.core.broker import Broker
from mqd.core.salvage import Salvager
from mqd.store.checking import unusable
from mqd.store.contents import NOTHING, Contents, contents_of
from mqd.store.errors import DirectoryUnusable, JournalDamaged
from mqd.store.inventory import FileState, take
from mqd.store.pieces import Pieces
from mqd.store.readonly import ReadOnlyFiles
from mqd.store.recordlog import SEGMENT_MAGIC, SNAPSHOT_MAGIC, decode
from mqd.store.remains import plan
from mqd.store.restore import FIRST_NUMBER, establish, new_identity
from mqd.store.snapshot import CONTROL, Place
from mqwire.errors import RequestError
from mqwire.json_text import to_json
from mqwire.packs import decode_body, split_pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mqd.core.broker import Bounds
    from mqd.core.records import Record
    from mqd.core.salvage import QueueOutcome
    from mqd.store.files import Files
    from mqd.store.inventory import FileEntry, Inventory
    from mqd.store.remains import Part, Plan
    from mqd.store.snapshot import SnapshotInfo

QUARANTINE_NAME: Final = "quarantine.jsonl"
REPORT_NAME: Final = "salvage-report.txt"
_PLACE_LOST: Final = "it may be in the snapshot already, so that nothing was removed for it"
_NEVER_PROMISED: Final = (
    "it comes behind a gap and was never promised, so that nothing was removed for it"
)
_KIND_NAMES: Final = {
    kinds.CREATE: "CREATE",
    kinds.DELETE: "DELETE",
    kinds.PUSH: "PUSH",
    kinds.PULL: "PULL",
    kinds.PURGE: "PURGE",
    kinds.RESTORE: "RESTORE",
    job_records.LEASE: "LEASE",
    job_records.ACK: "ACK",
    job_records.EXTEND: "EXTEND",
    job_records.RETURN: "RETURN",
    job_records.READY: "READY",
    job_records.REDRIVE: "REDRIVE",
    job_records.PURGE_DEAD: "PURGE_DEAD",
    job_records.KEEP: "KEEP",
    job_records.LEASED: "LEASED",
    job_records.TALLY: "TALLY",
    job_records.SKIP: "SKIP",
    job_records.SEQUENCE: "SEQUENCE",
    job_records.MORE: "MORE",
    step_records.STEP: "STEP",
    step_records.KEYED_PUSH: "KEYED_PUSH",
    step_records.KEYED_STEP: "KEYED_STEP",
    step_records.KEYS: "KEYS",
    order_records.PUSH_WITH: "PUSH_WITH",
    order_records.PUSH_EACH: "PUSH_EACH",
    order_records.PULL_EACH: "PULL_EACH",
    order_records.PARCEL: "PARCEL",
    order_records.PAUSE: "PAUSE",
    order_records.RESUME: "RESUME",
    order_records.TURN: "TURN",
    order_records.EXPIRE: "EXPIRE",
    view_records.DONE: "DONE",
    view_records.RESULTS: "RESULTS",
    view_records.CANCEL: "CANCEL",
    view_records.MARK: "MARK",
    view_records.CANCELLED: "CANCELLED",
}
_OF_BODIES: Final = frozenset({"PUSH", "PUSH_WITH", "PUSH_EACH", "PARCEL"})


@dataclass
class Salvaged:
    """What a salvage has kept, and what it could not."""

    directory: str
    plan: Plan
    records: int = 0
    """How many are in the state."""
    known: int = 0
    """Records that said what was there already."""
    quarantined: int = 0
    """Records, and batches that hold no records, that are in the quarantine file."""
    unreadable_bytes: int = 0
    """Bytes that the disk itself could not read."""
    contents: Contents = NOTHING
    """What is kept."""
    ended_tokens: int = 0
    """Tokens that have ended since what is lost may have ended them."""
    newly_disabled_users: int = 0
    """Users that are disabled for the same reason."""
    touched: list[QueueOutcome] = field(default_factory=list)
    """The queues that are known to have lost something."""
    snapshot: SnapshotInfo | None = None
    """What was written; None before that."""


def plan_salvage(files: Files, directory: str) -> tuple[Inventory, Plan]:
    """Look at a directory, and choose what to take of it. Changes nothing.

    Raises:
        DirectoryUnusable: it, or a file in it, may not be read, or there is nothing of ours.
        JournalDamaged: nothing in it is sound.
    """
    try:
        inventory = take(ReadOnlyFiles(files, is_patient=True), directory)
    except OSError as error:
        raise unusable(directory, error) from error
    if not inventory.entries:
        raise DirectoryUnusable(
            f"there is nothing of mqd in {directory}: check the path", directory
        )
    for entry in inventory.entries:
        if entry.state is FileState.UNREADABLE:
            raise DirectoryUnusable(
                f"{directory}/{entry.name} cannot be read: {entry.reason}; do it as the user that "
                "the server runs as, or move the file away to go on without it",
                f"{directory}/{entry.name}",
            )
    found = plan(inventory)
    if found.is_empty:
        raise JournalDamaged(
            f"nothing in {directory} is sound: nothing was made; restore a backup", directory
        )
    return inventory, found


def salvage(
    files: Files,
    inventory: Inventory,
    chosen: Plan,
    directory: str,
    bounds: Bounds,
    now_seconds: float,
    describe: Callable[[Salvaged], str],
) -> Salvaged:
    """Make a data directory of what is sound in another.

    Args:
        files: the file operations.
        inventory: what was found in the old directory.
        chosen: what to take of it.
        directory: the new one; is there, empty, and its lock is held by the caller.
        bounds: of queues whose own are lost.
        now_seconds: the wall clock.
        describe: makes the text of the report.

    Durability: the new directory is on the disk when it returns; until its snapshot has its
    name, a start refuses it.

    Memory: the state, and the largest file that is damaged.

    Raises:
        OSError: the disk has refused something; what was made is gone again if that was
            possible.
        SnapshotDamaged: what was written does not read back; as above.
    """
    salvaged = Salvaged(directory, chosen)
    try:
        salvager = _gather(files, inventory, salvaged, bounds)
        _write_text(files, f"{directory}/{REPORT_NAME}", describe(salvaged))
        place = _place(inventory, chosen)
        identity = new_identity(inventory.epoch, now_seconds)
        salvaged.snapshot = establish(files, directory, salvager.export(), place, identity)
    except BaseException:
        for name in (QUARANTINE_NAME, REPORT_NAME):
            with suppress(OSError):  # the disk may be in no state to be tidy
                files.unlink(f"{directory}/{name}")
        raise
    return salvaged


def _gather(files: Files, inventory: Inventory, salvaged: Salvaged, bounds: Bounds) -> Salvager:
    """Apply what there is, put aside what cannot be, and count."""
    patient = ReadOnlyFiles(files, is_patient=True)
    quarantine = Quarantine(files, f"{salvaged.directory}/{QUARANTINE_NAME}")
    broker = Broker(bounds)
    salvager = Salvager(broker)
    try:
        for name, lsn, record in _records(patient, inventory, salvaged.plan, salvager, quarantine):
            reason = salvager.apply(record)
            if reason is None:
                salvaged.records += 1
            else:
                quarantine.add(reason, name, lsn, _shown(record))
    finally:
        quarantine.close()
    found = contents_of(broker)
    salvaged.touched = salvager.finish()
    salvaged.known, salvaged.quarantined = salvager.known, quarantine.count
    salvaged.unreadable_bytes = patient.unreadable_bytes
    salvaged.contents = contents_of(broker)
    kept = salvaged.contents
    salvaged.ended_tokens = found.tokens - kept.tokens
    salvaged.newly_disabled_users = kept.disabled_users - found.disabled_users
    return salvager


def _place(inventory: Inventory, chosen: Plan) -> Place:
    """Let numbers go on from those of the old directory."""
    numbers = [entry.number for entry in inventory.entries]
    firsts = [entry.first_segment for entry in inventory.entries]
    number = max(*numbers, 0, 0) + 1
    return Place(number, chosen.last_lsn, max(number, *firsts, FIRST_NUMBER))


def _records(
    files: Files, inventory: Inventory, chosen: Plan, salvager: Salvager, quarantine: Quarantine
) -> Iterator[tuple[str, int, Record]]:
    """Yield what a plan takes, with file and lsn, in order."""
    expected = 1
    if chosen.base is not None:
        if any(loss.name == chosen.base.name for loss in chosen.losses):
            salvager.note_gap()
        for lsn, payload in _snapshot_payloads(files, inventory, chosen.base):
            yield from _decoded(chosen.base.name, lsn, payload, salvager, quarantine)
        expected = chosen.parts[0].first_lsn if chosen.parts else 0
    place_reason = _PLACE_LOST if chosen.is_place_lost else ""
    for part in chosen.parts:
        salvager.why_all_is_kept = _NEVER_PROMISED if part.is_doubtful else place_reason
        for lsn, payload in _segment_payloads(files, inventory, part):
            if lsn != expected:
                salvager.note_gap()
            expected = lsn + 1
            yield from _decoded(part.entry.name, lsn, payload, salvager, quarantine)


def _decoded(
    name: str, lsn: int, payload: memoryview, salvager: Salvager, quarantine: Quarantine
) -> Iterator[tuple[str, int, Record]]:
    try:
        found = decode([payload])
    except ValueError as error:
        shown = {"base64": base64.b64encode(payload).decode("ascii")}
        salvager.note_gap()
        quarantine.add(f"it has a good checksum and {error}", name, lsn, {"bytes": shown})
        return
    for record in found:
        if not record or record[0] != CONTROL:
            yield name, lsn, record


def _snapshot_payloads(
    files: Files, inventory: Inventory, entry: FileEntry
) -> Iterator[tuple[int, memoryview]]:
    pieces = Pieces(files, f"{inventory.directory}/{entry.name}", SNAPSHOT_MAGIC)
    try:
        for run in pieces.runs():
            yield from enumerate(run.scan.payloads, run.scan.first_lsn)
    finally:
        pieces.close()


def _segment_payloads(
    files: Files, inventory: Inventory, part: Part
) -> Iterator[tuple[int, memoryview]]:
    last_lsn = part.last_lsn
    pieces = Pieces(files, f"{inventory.directory}/{part.entry.name}", SEGMENT_MAGIC)
    try:
        for run in pieces.runs():
            for lsn, payload in enumerate(run.scan.payloads, run.scan.first_lsn):
                if last_lsn is not None and lsn > last_lsn:
                    return
                if lsn >= part.first_lsn:
                    yield lsn, payload
    finally:
        pieces.close()


class Quarantine:
    """A file of things that are in no queue, a line of JSON for each. Made with the first.

    Args:
        files: the file operations.
        path: the file; must not exist.
    """

    def __init__(self, files: Files, path: str) -> None:
        self.count = 0
        """How many things are in it."""
        self._files = files
        self._path = path
        self._handle: int | None = None
        self._offset = 0

    def add(self, reason: str, name: str, lsn: int, shown: dict[str, Any]) -> None:
        """Write a line.

        Args:
            reason: why it is in no queue.
            name: the file that it was in.
            lsn: the batch's number there.
            shown: what it is.
        """
        if self._handle is None:
            self._handle = self._files.create(self._path)
        line = to_json({"reason": reason, "file": name, "lsn": lsn, **shown}) + "\n"
        data = line.encode("utf-8", "backslashreplace")
        self._files.write(self._handle, self._offset, [data])
        self._offset += len(data)
        self.count += 1

    def close(self) -> None:
        """Sync what was written and close the file."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            try:
                self._files.sync(handle)
            finally:
                self._files.close(handle)


def _shown(record: Record) -> dict[str, Any]:
    """Return what a person needs of a record: for a push that is its bodies."""
    kind = record[0] if record else None
    name = _KIND_NAMES.get(kind, "other") if type(kind) is int else "other"
    packs = [value for value in record if isinstance(value, bytes)]
    shown: dict[str, Any] = {"kind": name, "record": record}
    if name in _OF_BODIES and packs:
        try:
            shown["bodies"] = [decode_body(piece) for piece in split_pack(packs[0])]
        except (ValueError, RequestError):
            return shown
        shown["record"] = [value for value in record if not isinstance(value, bytes)]
    return shown


def _write_text(files: Files, path: str, text: str) -> None:
    handle = files.create(path)
    try:
        files.write(handle, 0, [text.encode()])
        files.sync(handle)
    finally:
        files.close(handle)
