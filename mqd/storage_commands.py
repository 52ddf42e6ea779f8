"""The commands `mqd check` and `mqd restore`: a data directory on this machine. Floor 4.

What it is: their options, what they may touch, exit codes.
What it is not: looking and mending, which `mqd.store` does, or the words
(`mqd.storage_words`).

Exit codes are those of `mqd`: 0 the directory is sound, or the new one holds everything;
1 the operating system has refused something; 2 the command line or the configuration is
wrong, or a directory that is to be made holds something; 3 somebody serves the directory;
4 something is damaged, not ours, or of another version, and after `--salvage`: the new
directory is there, and not everything is in it.

What needs time to import is imported in the functions, so that `mqd --help` answers at
once.
"""

# ruff: noqa: PLC0415  imports inside functions, as the docstring says

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mqd.config import Config
    from mqd.store import StorageError
    from mqd.store.files import Files
    from mqd.store.salvage import Salvaged

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_IN_USE: Final = 3
EXIT_DAMAGED: Final = 4

_data_dir = click.option(
    "--data-dir", metavar="DIRECTORY", help="Data directory (storage.path), instead of the file's."
)
_config = click.option(
    "-c",
    "--config",
    "config_path",
    metavar="FILE",
    help="Configuration file that names the data directory, as for the server.",
)
_json = click.option("--json", "is_json", is_flag=True, help="Print a line of JSON.")


@click.command("check", short_help="Look at a data directory; changes nothing.")
@_data_dir
@_config
@click.option(
    "--salvage",
    "destination",
    metavar="NEW_DIRECTORY",
    help="Copy what is sound to a new data directory.",
)
@_json
@click.pass_context
def check(
    context: click.Context,
    /,
    *,
    data_dir: str | None,
    config_path: str | None,
    destination: str | None,
    is_json: bool,
) -> None:
    """Say what is in a data directory, what is damaged, and whether a start would succeed.

    Reads only: not a byte of the directory changes. A server may serve it meanwhile; it is
    looked at as it stands.

    With --salvage everything that is sound goes to NEW_DIRECTORY, which must be empty or
    not there, and which a server can be started on. Where batches are lost, no message is
    removed that may still have been there, so some may be delivered a second time. Not
    while a server runs.

    Exit codes: 0 sound, 1 it cannot be read, 2 wrong command line, 3 in use, 4 damage, or
    files that are not ours or of another version; with --salvage 4 also where something is
    lost.
    """
    directory, config = _directory(context, data_dir, config_path)
    with _ending(is_json=is_json), _progress() as files:
        if destination is None:
            context.exit(_check(files, directory, is_json=is_json))
        else:
            context.exit(_salvage(files, directory, destination, config, is_json=is_json))


@click.command("restore", short_help="Make a data directory of a backup.")
@click.argument("backup_file", metavar="BACKUP_FILE")
@_data_dir
@_config
@_json
@click.pass_context
def restore(
    context: click.Context,
    /,
    *,
    backup_file: str,
    data_dir: str | None,
    config_path: str | None,
    is_json: bool,
) -> None:
    """Make a data directory of BACKUP_FILE, which `mqctl backup` has written.

    The backup is read from end to end before anything is made. The directory must not hold
    a data directory yet.

    Exit codes: 0 restored, 1 a file or directory cannot be used, 2 wrong command line, or
    the directory holds something, 3 in use, 4 the backup is damaged, none, or of another
    version.
    """
    directory, _ = _directory(context, data_dir, config_path)
    with _ending(is_json=is_json), _progress() as files:
        _restore(files, backup_file, directory, is_json=is_json)


def _directory(
    context: click.Context, data_dir: str | None, config_path: str | None
) -> tuple[str, Config]:
    """Return the data directory that is meant, and the configuration.

    Options may stand before the command's name as well, as for the server.
    """
    from mqd.config import CONFIG_VARIABLE, ConfigError, load

    before = context.parent.params if context.parent is not None else {}
    data_dir = data_dir if data_dir is not None else before.get("data_dir")
    path = config_path if config_path is not None else before.get("config_path")
    path = path if path is not None else os.environ.get(CONFIG_VARIABLE)
    flags = {} if data_dir is None else {"storage.path": data_dir}
    try:
        config = load(path, os.environ, flags)
        return str(config.storage_path), config
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"mqd: {problem}", err=True)
        raise SystemExit(EXIT_USAGE) from error


# The work


def _check(files: Files, directory: str, *, is_json: bool) -> int:
    from mqd import storage_words as words
    from mqd.store.checking import check as look

    checked = look(files, directory)
    if checked.is_empty and checked.is_sound:
        _check_meant(files, directory)
    _say(words.check_json(checked) if is_json else words.check_lines(checked))
    if checked.is_sound:
        return EXIT_OK
    return EXIT_DAMAGED if checked.problem is None else _exit_code(checked.problem)


def _salvage(
    files: Files, directory: str, destination: str, config: Config, *, is_json: bool
) -> int:
    from mqd import storage_words as words
    from mqd.core.broker import Bounds
    from mqd.store.checking import hold_still
    from mqd.store.dirlock import DirectoryLock
    from mqd.store.salvage import plan_salvage, salvage

    destination = str(Path(destination).absolute())
    _check_apart(directory, destination)
    with hold_still(directory):
        inventory, plan = plan_salvage(files, directory)
        _check_new(files, destination)
        files.make_directory(destination)
        bounds = Bounds(config.queues.max_messages, config.queues.max_bytes, sys.maxsize)
        with DirectoryLock(destination):
            salvaged = salvage(
                files,
                inventory,
                plan,
                destination,
                bounds,
                time.time(),
                lambda done: "\n".join(words.salvage_lines(directory, done)) + "\n",
            )
    if is_json:
        _say(words.salvage_json(directory, salvaged))
    else:
        _say(words.salvage_lines(directory, salvaged))
        click.echo(f"next: {_next_step(salvaged, directory, destination)}")
    return EXIT_OK if words.is_whole(salvaged) else EXIT_DAMAGED


def _next_step(salvaged: Salvaged, directory: str, destination: str) -> str:
    """Say what to do with what was salvaged."""
    from mqd import storage_words as words
    from mqd.store.contents import NOTHING

    if salvaged.contents == NOTHING and not words.is_whole(salvaged):
        return (
            "restore a backup (`mqd restore`): nothing of the state could be read; keep "
            f"{directory}, which is as it was"
        )
    return f"mqd --data-dir {destination}; {directory} is as it was"


def _restore(files: Files, backup_file: str, directory: str, *, is_json: bool) -> None:
    from mqd import storage_words as words
    from mqd.store import DirectoryUnusable
    from mqd.store.dirlock import DirectoryLock
    from mqd.store.readonly import ReadOnlyFiles
    from mqd.store.restore import check_target, read_backup, restore

    path = os.path.realpath(backup_file)  # the store follows no symbolic links
    try:
        is_file = S_ISREG(Path(path).stat().st_mode)
    except OSError as error:
        sentence = f"the backup {backup_file} cannot be read: {error.strerror}; check the path"
        raise DirectoryUnusable(sentence, backup_file) from error
    if not is_file:
        raise DirectoryUnusable(
            f"the backup {backup_file} is no file: give one that `mqctl backup` has written",
            backup_file,
        )
    check_target(files, directory)
    backup = read_backup(ReadOnlyFiles(files, aliases={backup_file: path}), backup_file)
    files.make_directory(directory)
    with DirectoryLock(directory):
        restored = restore(files, backup, directory, time.time())
    lines = words.restore_lines(directory, backup, restored)
    _say(words.restore_json(directory, backup, restored) if is_json else lines)


def _check_apart(directory: str, destination: str) -> None:
    """Make sure that nothing is made in the directory that is only to be read."""
    source, target = os.path.realpath(directory), os.path.realpath(destination)
    if target == source or target.startswith(f"{source}{os.sep}"):
        _refuse_usage(
            f"--salvage {destination} lies in {directory}, which is only read: give a directory "
            "elsewhere, on another disk if there is one"
        )


def _refuse_usage(sentence: str) -> NoReturn:
    click.echo(f"mqd: {sentence}", err=True)
    raise SystemExit(EXIT_USAGE)


def _check_meant(files: Files, directory: str) -> None:
    """Make sure that a directory with nothing of ours in it is not just the wrong one."""
    from mqd.store import FOLD_LOCK_NAME, LOCK_NAME

    others = set(files.names(directory)) - {LOCK_NAME, FOLD_LOCK_NAME, "frames"}
    if others:
        _refuse_usage(
            f"{directory} holds no data of mqd, and other files ({min(others)}): give the "
            "directory in which its segment-*.mqj lie; the line of the server's log "
            "that ends its start names it (`state is kept in ...`)"
        )


def _check_new(files: Files, destination: str) -> None:
    """Make sure that a directory is empty or not there."""
    from mqd.store import LOCK_NAME, DirectoryOccupied, DirectoryUnusable

    try:
        names = set(files.names(destination)) - {LOCK_NAME}
    except FileNotFoundError:
        return
    except OSError as error:
        raise DirectoryUnusable(
            f"{destination} cannot be salvaged to: {error.strerror}; give a path where there is "
            "nothing yet",
            destination,
        ) from error
    if names:
        raise DirectoryOccupied(
            f"{destination} is not empty; nothing was changed: give a directory that is, or a path "
            "where there is none",
            destination,
        )


# Ends


def _say(report: dict[str, Any] | Iterator[str]) -> None:
    if isinstance(report, dict):
        click.echo(json.dumps(report))
        return
    for line in report:
        click.echo(line)


@contextmanager
def _ending(*, is_json: bool) -> Iterator[None]:
    """Turn errors into a sentence and an exit code."""
    from mqd.store import StorageError

    try:
        yield
    except StorageError as error:
        _end(error.message, error.path, _exit_code(error), is_json=is_json)
    except BrokenPipeError:
        raise  # nobody reads the report any more
    except OSError as error:
        path = os.fsdecode(error.filename) if error.filename else None
        reason = error.strerror or str(error)
        sentence = f"{path}: {reason}" if path else f"the disk has refused something: {reason}"
        _end(f"{sentence}; mend that and do it again", path, EXIT_FAILED, is_json=is_json)


def _exit_code(error: StorageError) -> int:
    from mqd.store import DirectoryLocked, DirectoryOccupied, DirectoryUnusable

    if isinstance(error, DirectoryLocked):
        return EXIT_IN_USE
    if isinstance(error, DirectoryOccupied):
        return EXIT_USAGE
    return EXIT_FAILED if isinstance(error, DirectoryUnusable) else EXIT_DAMAGED


def _end(sentence: str, path: str | None, code: int, *, is_json: bool) -> NoReturn:
    click.echo(f"mqd: {sentence}", err=True)
    if is_json:
        click.echo(json.dumps({"error": sentence, "path": path}))
    raise SystemExit(code)


@contextmanager
def _progress() -> Iterator[Files]:
    """Give the file operations; on a terminal they tell how far they have come.

    The garbage collector rests meanwhile: all that is made stays until the end.
    """
    import gc

    from mqd.storage_progress import TellingFiles
    from mqd.store import OsFiles

    is_collecting = gc.isenabled()
    gc.disable()
    files = TellingFiles(sys.stderr) if sys.stderr.isatty() else OsFiles()
    try:
        yield files
    finally:
        if isinstance(files, TellingFiles):
            files.clear()
        if is_collecting:
            gc.enable()
