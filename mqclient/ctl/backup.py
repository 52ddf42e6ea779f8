"""The commands snapshot and backup: the server's state on its own disk, and on ours. Floor 4."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mqclient.ctl import exits, output
from mqclient.ctl.exits import Failure
from mqclient.ctl.progress import Bar
from mqclient.ctl.session import Session, global_options, pass_session

if TYPE_CHECKING:
    from mqclient.models import SnapshotInfo


@click.command(short_help="Make a snapshot on the server's disk.")
@global_options
@pass_session
def snapshot(session: Session) -> None:
    """Make a snapshot of the server's state on its disk, now.

    The server makes some by itself, and one when it stops; it serves everybody meanwhile.
    Without --timeout it may take ten minutes.
    """
    with session.client() as client:
        info = client.snapshot(timeout=session.timeout)
    if session.is_json:
        output.write_json(asdict(info))
    output.note(f"snapshot {info.number}: {_what(info)}, made in {info.seconds:.1f} s")


@click.command(short_help="Write a backup of the server into a file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace FILE, once all of the backup is there.")
@global_options
@pass_session
def backup(session: Session, file: Path, *, overwrite: bool) -> None:
    """Write a backup of the server's queues and messages into FILE.

    The server makes a snapshot, serves everybody meanwhile, and sends it. FILE gets its
    name when all of it is on the disk; a backup that breaks off leaves nothing behind. It
    is readable by its owner only. Without --timeout the snapshot may take ten minutes.

    `mqd restore FILE --data-dir DIR` makes a data directory of it.
    """

    def on_progress(done_bytes: int, total_bytes: int) -> None:
        done, total = output.human_bytes(done_bytes), output.human_bytes(total_bytes)
        bar.show(done_bytes, f"{done} of {total}", total=total_bytes)

    # Named in full, so that the last line can be used from anywhere.
    path = Path.cwd() / file
    output.note("the server makes a snapshot")
    try:
        with session.client() as client, Bar(None) as bar:
            info = client.backup(
                path, overwrite=overwrite, on_progress=on_progress, timeout=session.timeout
            )
    except FileExistsError as error:
        raise Failure(_there_already(file), exits.USAGE) from error
    except OSError as error:
        where = f"cannot write {file}: {error.strerror or error}; nothing of it was kept"
        raise Failure(where, exits.INTERNAL) from error
    if session.is_json:
        output.write_json({"file": str(path), **asdict(info)})
    restore = f"mqd restore {shlex.quote(str(path))} --data-dir DIR"
    output.note(f"{file}: {_what(info)}; restore it with `{restore}`")


def _there_already(file: Path) -> str:
    if file.is_file():
        return f"{file} is there already; choose another name, or replace it with --overwrite"
    return f"{file} is there already and is no plain file; choose another name"


def _what(info: SnapshotInfo) -> str:
    records = "1 record" if info.records == 1 else f"{info.records:,} records"
    return f"{records}, {output.human_bytes(info.bytes)}"


COMMANDS = (snapshot, backup)
