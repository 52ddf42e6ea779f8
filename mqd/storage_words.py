"""What the storage commands say: reports as lines for people, and as JSON. Pure. Floor 4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mqd.store.errors import (
    ADVICE_FOR_DAMAGE,
    DirectoryUnusable,
    JournalDamaged,
    RecordRefused,
    SnapshotDamaged,
)
from mqd.store.inventory import FileEntry, FileKind, FileState, name_of
from mqd.store.restore import is_unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mqd.store.checking import Checked
    from mqd.store.contents import Contents
    from mqd.store.remains import Loss
    from mqd.store.restore import Backup, Restored
    from mqd.store.salvage import Salvaged

_DAMAGE: Final = (JournalDamaged, RecordRefused, SnapshotDamaged)


# mqd check


def verdict(checked: Checked) -> str:
    """Return what a directory is, in a word or a few."""
    if checked.is_empty and checked.is_sound:
        return "empty"
    if checked.is_sound:
        return "sound"
    if checked.problem is None:
        return "damaged, and a start succeeds without what is damaged"
    return "damaged" if isinstance(checked.problem, _DAMAGE) else "cannot be used as it is"


def check_lines(checked: Checked) -> Iterator[str]:
    """Yield the report of `mqd check`."""
    yield f"{checked.directory}: {verdict(checked)}"
    if checked.holder is not None:
        yield (
            f"in use: {checked.holder.who} {checked.holder.does} there; looked at as it stands, so "
            "what is being written now is left out"
        )
    store_id = checked.inventory.store_id
    if store_id:
        yield f"identity: store {store_id.hex()}, epoch {checked.inventory.epoch}"
    yield _start_line(checked)
    yield from _state_lines(checked)
    entries = checked.inventory.entries
    if entries:
        yield ""
        yield from _file_lines(entries)
    losses = lost(checked)
    if losses:
        yield ""
        yield "lost, at least:"
        yield from (f"  {loss_words(loss)}" for loss in losses)
    advice = list(_advice(checked))
    if advice:
        yield ""
        yield "next:"
        yield from (f"  {line}" for line in advice)


def lost(checked: Checked) -> list[Loss]:
    """Return what is lost, where that is why a start would be refused."""
    is_damage = isinstance(checked.problem, _DAMAGE) and not is_unfinished(checked.inventory)
    return checked.plan.losses if is_damage else []


def _start_line(checked: Checked) -> str:
    if checked.problem is not None:
        sentence = checked.problem.message.removesuffix(f"; {ADVICE_FOR_DAMAGE}")
        return f"start: would be refused: {sentence}"
    assert checked.recovered is not None
    words = f"would succeed: {checked.recovered.decision.reason}"
    if checked.holder is not None:
        words = f"would be refused now, as {checked.holder.who} is there; otherwise it {words}"
    return f"start: {words}"


def _state_lines(checked: Checked) -> Iterator[str]:
    recovered = checked.recovered
    if recovered is None or checked.is_empty:
        return
    source = "the journal alone"
    if recovered.snapshot_number:
        source = f"snapshot {recovered.snapshot_number} and the journal after it"
    yield (
        f"state: {_contents_words(checked.contents)}; {counted(recovered.records, 'record')} from "
        f"{source}, up to lsn {recovered.next_lsn - 1}"
    )
    if recovered.cut_bytes and checked.holder is None:
        yield (
            f"torn tail: {counted(recovered.cut_bytes, 'byte')} at the end were never promised; a "
            "start cuts them off, and nothing is lost by that"
        )


def _file_lines(entries: list[FileEntry]) -> Iterator[str]:
    rows = [("file", "bytes", "epoch", "lsn", "state")]
    for entry in entries:
        epoch = str(entry.header.epoch) if entry.header else ""
        rows.append((entry.name, str(entry.size_bytes), epoch, _lsn_words(entry), _state(entry)))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for name, size, epoch, lsn, state in rows:
        yield (
            f"{name:<{widths[0]}}  {size:>{widths[1]}}  {epoch:>{widths[2]}}  "
            f"{lsn:<{widths[3]}}  {state}"
        )


def _lsn_words(entry: FileEntry) -> str:
    if entry.kind is FileKind.SNAPSHOT:
        return f"up to {entry.first_lsn - 1}" if entry.header else ""
    if not entry.extents:
        return f"none from {entry.first_lsn}" if entry.header else ""
    return f"{entry.extents[0].first_lsn} to {entry.next_lsn - 1}"


def _state(entry: FileEntry) -> str:
    """Return what is the matter with a file, in words."""
    words = entry.state.value
    start, end = entry.tail
    places = [f"bytes {first} to {past - 1}" for first, past in bad_ranges(entry)]
    longer = {
        FileState.TAIL: f"sound up to byte {start}; {counted(end - start, 'byte')} behind that are "
        "no batch",
        FileState.DAMAGED: ", ".join([words, *places]),
        FileState.NO_HEADER: ", ".join([words, *places]),
        FileState.MISNAMED: f"{words}: it was written as {name_of(entry)}",
        FileState.UNREADABLE: f"{words}: {entry.reason}",
        FileState.UNFINISHED: "spare or never finished; a start removes it",
    }
    if entry.info is not None and entry.state is FileState.SOUND:
        return f"{words}, {counted(entry.info.records, 'record')}"
    return longer.get(entry.state, words)


def bad_ranges(entry: FileEntry) -> list[tuple[int, int]]:
    """Return where a damaged file holds nothing sound."""
    found = [*entry.bad, entry.tail]
    return [(start, end) for start, end in found if start < end]


def loss_words(loss: Loss) -> str:
    """Return what is lost, and where, in words."""
    if loss.start is None or loss.end is None:
        words = f"{loss.name}: not there"
    elif loss.start == loss.end:
        words = f"{loss.name}: ends at byte {loss.start}, and more was there"
    else:
        words = f"{loss.name}: bytes {loss.start} to {loss.end - 1}"
    if not loss.first_lsn:
        return words
    if not loss.last_lsn:
        return f"{words}; lsn {loss.first_lsn} and all after it, if there were any"
    more = "" if loss.was_promised else ", never promised"
    if loss.first_lsn == loss.last_lsn:
        return f"{words}; lsn {loss.first_lsn}{more}"
    return f"{words}; lsn {loss.first_lsn} to {loss.last_lsn}{more}"


def _advice(checked: Checked) -> Iterator[str]:
    if checked.is_sound:
        return
    directory = checked.directory
    if is_unfinished(checked.inventory):
        yield "this is what a restore that was interrupted leaves; it holds no record: run"
        yield f"`mqd restore FILE --data-dir {directory}` again"
        return
    if checked.problem is None:
        yield "make a backup soon (`mqctl backup`), and have the disk looked at"
        return
    if isinstance(checked.problem, DirectoryUnusable):
        yield "do it as the user that the server runs as, on a disk that can be read"
        return
    if not isinstance(checked.problem, _DAMAGE):
        return  # the sentence itself says what to do
    yield f"leave {directory} as it is; have the disk looked at; then either"
    yield "restore the last backup:  mqd restore FILE --data-dir NEW_DIRECTORY"
    yield f"or salvage what is sound: mqd check --data-dir {directory} --salvage NEW_DIRECTORY"


def check_json(checked: Checked) -> dict[str, Any]:
    """Return the report of `mqd check` for programs."""
    recovered, problem, holder = checked.recovered, checked.problem, checked.holder
    store_id = checked.inventory.store_id
    return {
        "directory": checked.directory,
        "verdict": verdict(checked),
        "is_sound": checked.is_sound,
        "would_start": problem is None,
        "in_use": None if holder is None else {"pid": holder.pid, "does": holder.does},
        "store_id": store_id.hex() or None,
        "epoch": checked.inventory.epoch,
        "decision": None if recovered is None else recovered.decision.reason,
        "problem": None
        if problem is None
        else {"message": problem.message, "path": problem.path, "offset": problem.offset},
        "warnings": [] if recovered is None else recovered.warnings,
        "snapshot": None if recovered is None else recovered.snapshot_number or None,
        "last_lsn": None if recovered is None else recovered.next_lsn - 1,
        "records": 0 if recovered is None else recovered.records,
        **_contents_json(checked.contents),
        "torn_bytes": 0 if recovered is None else recovered.cut_bytes,
        "files": [_file_json(entry) for entry in checked.inventory.entries],
        "lost": [loss._asdict() for loss in lost(checked)],
    }


def _file_json(entry: FileEntry) -> dict[str, Any]:
    header, extents = entry.header, entry.extents
    is_segment = entry.kind is FileKind.SEGMENT
    return {
        "name": entry.name,
        "kind": entry.kind.value,
        "state": entry.state.name.lower(),
        "bytes": entry.size_bytes,
        "number": entry.number or None,
        "store_id": header.store_id.hex() if header else None,
        "epoch": header.epoch if header else None,
        "first_lsn": entry.first_lsn or None,
        "last_lsn": extents[-1].next_lsn - 1 if is_segment and extents else None,
        "batches": entry.batches,
        "records": entry.info.records if entry.info else None,
        "bad": [[start, end] for start, end in bad_ranges(entry)],
        "reason": entry.reason or None,
    }


# mqd check --salvage


def salvage_lines(source: str, salvaged: Salvaged) -> Iterator[str]:
    """Yield the report of `mqd check --salvage`."""
    plan = salvaged.plan
    base = "the beginning of the journal" if plan.base is None else plan.base.name
    yield f"salvaged: {source} -> {salvaged.directory}"
    yield f"kept: {_contents_words(salvaged.contents)}"
    yield f"from: {base} and {counted(len(plan.parts), 'segment')}, up to lsn {plan.last_lsn}"
    if plan.torn_bytes:
        yield f"torn tail: {counted(plan.torn_bytes, 'byte')}, never promised; left out"
    if salvaged.unreadable_bytes:
        yield f"unreadable: {counted(salvaged.unreadable_bytes, 'byte')}; the disk is failing"
    if plan.is_place_lost:
        yield (
            "doubtful: where the snapshot stands in the journal is lost; nothing was removed for "
            "records of the journal, so what was pulled since then is delivered again"
        )
    if is_whole(salvaged):
        yield "lost: nothing that was promised"
        return
    if plan.losses:
        yield "lost:"
        yield from (f"  {loss_words(loss)}" for loss in plan.losses)
    if salvaged.touched:
        yield "queues that are known to be touched:"
        yield from (f"  {line}" for line in _touched_lines(salvaged))
    if salvaged.quarantined:
        yield (
            f"quarantined: {counted(salvaged.quarantined, 'record')} that fit nowhere, in "
            f"{salvaged.directory}/quarantine.jsonl"
        )
    yield from _distrust_lines(salvaged)
    if plan.losses:
        yield (
            "doubtful: what is lost may have held pushes to any queue, pulls (their messages are "
            "delivered again), and queues that were created or deleted; bodies of pushes may be in "
            "the frame log (`mqctl log --verb PUSH --json`)"
        )


def _distrust_lines(salvaged: Salvaged) -> Iterator[str]:
    """Say who does not come in any more, since what is lost may have ended them."""
    tokens, users = salvaged.ended_tokens, salvaged.newly_disabled_users
    if tokens or users:
        yield (
            "doubtful: what is lost may have ended users and tokens; for that reason ended: "
            f"{counted(tokens, 'token')}; disabled: {counted(users, 'user')} (`mqctl user enable`)"
        )


def _touched_lines(salvaged: Salvaged) -> Iterator[str]:
    for queue in salvaged.touched:
        words = f"{queue.name}: {counted(queue.kept, 'message')} kept"
        if queue.is_made_up:
            words += ", its name and options lost"
        elif queue.missing:
            words += f", up to {queue.missing} missing"
        if queue.again:
            words += f", {queue.again} of them delivered again though they may be done"
        yield words


def is_whole(salvaged: Salvaged) -> bool:
    """Tell whether nothing is lost and nothing is doubtful."""
    plan = salvaged.plan
    return not (plan.losses or plan.is_place_lost or salvaged.touched or salvaged.quarantined)


def salvage_json(source: str, salvaged: Salvaged) -> dict[str, Any]:
    """Return the report of `mqd check --salvage` for programs."""
    plan = salvaged.plan
    return {
        "source": source,
        "directory": salvaged.directory,
        "is_whole": is_whole(salvaged),
        **_contents_json(salvaged.contents),
        "ended_tokens": salvaged.ended_tokens,
        "newly_disabled_users": salvaged.newly_disabled_users,
        "records": salvaged.records,
        "known_records": salvaged.known,
        "quarantined": salvaged.quarantined,
        "snapshot": plan.base.name if plan.base else None,
        "segments": [part.entry.name for part in plan.parts],
        "last_lsn": plan.last_lsn,
        "is_place_lost": plan.is_place_lost,
        "torn_bytes": plan.torn_bytes,
        "unreadable_bytes": salvaged.unreadable_bytes,
        "lost": [loss._asdict() for loss in plan.losses],
        "touched": [queue._asdict() for queue in salvaged.touched],
    }


# mqd restore


def restore_lines(directory: str, backup: Backup, restored: Restored) -> Iterator[str]:
    """Yield the report of `mqd restore`."""
    if restored.removed:
        names = ", ".join(restored.removed)
        yield f"removed what an interrupted restore had left: {names}"
    yield (
        f"restored: {backup.path} -> {directory}: {_contents_words(backup.contents)}, up to lsn "
        f"{restored.snapshot.covered_lsn}"
    )
    yield f"next: mqd --data-dir {directory}"


def restore_json(directory: str, backup: Backup, restored: Restored) -> dict[str, Any]:
    """Return the report of `mqd restore` for programs."""
    info = restored.snapshot
    return {
        "backup": backup.path,
        "directory": directory,
        **_contents_json(backup.contents),
        "records": info.records,
        "last_lsn": info.covered_lsn,
        "bytes": info.size_bytes,
        "store_id": info.identity.store_id.hex(),
        "epoch": info.identity.epoch,
        "removed": restored.removed,
    }


def _contents_words(contents: Contents) -> str:
    """Return what a state holds, in words; users and tokens only where there are any."""
    found = [
        counted(contents.queues, "queue"),
        counted(contents.messages, "message"),
        counted(contents.size_bytes, "byte"),
    ]
    if contents.users:
        disabled = contents.disabled_users
        found.append(counted(contents.users, "user") + (f" ({disabled} disabled)" * bool(disabled)))
    if contents.tokens:
        found.append(counted(contents.tokens, "token"))
    return ", ".join(found)


def _contents_json(contents: Contents) -> dict[str, int]:
    return {
        "queues": contents.queues,
        "messages": contents.messages,
        "bytes": contents.size_bytes,
        "users": contents.users,
        "disabled_users": contents.disabled_users,
        "tokens": contents.tokens,
    }


def counted(count: int, word: str) -> str:
    """Return a number with its word, in the plural where that is due."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
