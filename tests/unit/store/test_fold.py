from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from crash.crash_files import MemoryFiles
from crash.history import DIRECTORY, Driver, Model, reopen, view
from mqd.core import records
from mqd.core.errors import BrokerError, page_lost
from mqd.store import fold as fold_module
from mqd.store.dirlock import FOLD_LOCK_NAME, DirectoryLock
from mqd.store.errors import JournalDamaged, SnapshotDamaged, SnapshotRefused
from mqd.store.files import OsFiles
from mqd.store.fold import fold, main
from mqd.store.segments import segment_name
from mqd.store.snapshot import snapshot_name
from support.pages import small_pager

if TYPE_CHECKING:
    from pathlib import Path


def make(files: Any = None) -> Driver:
    driver = Driver(files or MemoryFiles(), Model())
    driver.do(driver.broker.plan_create("a", {}, 1))
    driver.do(driver.push("a", "one", "two", "three"))
    driver.do((records.PULL, 1, 1))
    return driver


def test_fold_upon_fold() -> None:
    driver = make()
    for number in range(1, 4):
        driver.do(driver.push("a", "x"))
        folded = fold(driver.files, DIRECTORY, driver.seal())
        assert folded.snapshot == number
        assert folded.removed >= 1
        names = [name for name in driver.files.names(DIRECTORY) if name != "spare.mqj"]
        assert names == [segment_name(driver.journal.segment_number), snapshot_name(number)]
    driver.journal.close()
    assert reopen(driver.files).state == view(driver.broker)


def test_a_fold_that_puts_bodies_aside_makes_the_same_snapshot() -> None:
    driver = make()
    for number in range(30):
        driver.do(driver.push("a", f"body {number}"))
    pager, pages = small_pager()
    fold(driver.files, DIRECTORY, driver.seal(), pager)
    assert pages.put_aside > 0
    driver.journal.close()
    assert reopen(driver.files).state == view(driver.broker)


def test_a_fold_that_loses_a_page_leaves_all_as_it_is() -> None:
    driver = make()
    for number in range(30):
        driver.do(driver.push("a", f"body {number}"))
    number = driver.seal()
    driver.journal.close()  # else it writes a mark
    before = driver.files.content()
    pager, pages = small_pager()
    pages.is_broken = True
    with pytest.raises(BrokerError, match="cannot be had"):
        fold(driver.files, DIRECTORY, number, pager)
    assert driver.files.content() == before


def test_serving_goes_on_meanwhile() -> None:
    driver = make()
    number = driver.seal()
    driver.do(driver.push("a", "after the seal"))
    driver.seal()
    driver.do(driver.push("a", "after another"))
    fold(driver.files, DIRECTORY, number)
    driver.journal.close()
    assert reopen(driver.files).state == view(driver.broker)


def test_an_accepted_tail_of_a_killed_server_is_folded_once() -> None:
    driver = make()
    again = Driver(driver.files, driver.model)  # the first one was killed, so to speak
    number = again.seal()
    again.do(again.push("a", "y"))
    fold(again.files, DIRECTORY, again.seal())
    assert number < again.journal.segment_number
    again.journal.close()
    assert reopen(again.files).state == view(again.broker)
    driver.journal._writer.finish = lambda: None  # its files are not its own any more
    driver.journal.close()


def test_refusals_change_nothing() -> None:
    driver = make()
    driver.seal()
    driver.journal.close()
    files = driver.files
    before = files.content()
    for number, kind in ((9, SnapshotRefused), (1, SnapshotRefused)):
        with pytest.raises(kind):
            fold(files, DIRECTORY, number)
    assert files.content() == before
    data = bytearray(before[segment_name(1)])
    data[70] ^= 1
    spoilt = {**before, segment_name(1): bytes(data)}
    damaged = MemoryFiles(spoilt)
    with pytest.raises(JournalDamaged):
        fold(damaged, DIRECTORY, 2)
    assert damaged.content() == spoilt
    missing = MemoryFiles({name: each for name, each in before.items() if "0001" not in name})
    with pytest.raises(JournalDamaged, match="missing"):
        fold(missing, DIRECTORY, 2)


def test_a_damaged_last_snapshot_is_not_folded_upon() -> None:
    driver = make()
    driver.fold()
    driver.do(driver.push("a", "x"))
    number = driver.seal()
    driver.journal.close()
    content = driver.files.content()
    data = bytearray(content[snapshot_name(1)])
    data[-1] ^= 1
    files = MemoryFiles({**content, snapshot_name(1): bytes(data)})
    with pytest.raises(SnapshotDamaged):
        fold(files, DIRECTORY, number)
    assert segment_name(2) in files.content()


def run_main(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "mqd.store.fold", *arguments], capture_output=True, check=False
    )
    return done.returncode, json.loads(done.stdout)


def test_as_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / DIRECTORY).mkdir()
    driver = make(OsFiles())
    number = driver.seal()
    directory = str(tmp_path / DIRECTORY)
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    (tmp_path / DIRECTORY / "snapshot-0000000001.tmp").write_bytes(b"left by one that was killed")
    code, said = run_main(directory, "--before", str(number), "--resident-bytes", "1")
    assert code == 0
    assert said["snapshot"] == 1
    assert said["records"] >= 3
    assert {"bytes", "seconds", "read_bytes", "removed", "covered_lsn"} <= set(said)
    code, said = run_main(directory, "--before", str(number))
    assert (code, sorted(said)) == (6, ["error", "path"])
    driver.journal.close()
    assert reopen(OsFiles()).state == view(driver.broker)


@pytest.mark.parametrize(("free_bytes", "warnings"), [(100 << 20, 1), (200 << 20, 0)])
def test_what_it_warns_of_is_said_with_the_result(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    free_bytes: int,
    warnings: int,
) -> None:
    monkeypatch.setattr(fold_module.gc, "disable", lambda: None)
    monkeypatch.setattr(fold_module, "_files_bytes", lambda _: 90 << 20)
    monkeypatch.setattr(fold_module.OsScratchFiles, "free_bytes", lambda _: free_bytes)
    monkeypatch.chdir(tmp_path)
    (tmp_path / DIRECTORY).mkdir()
    driver = make(OsFiles())
    for _ in range(400):
        driver.do(driver.push("a", "x" * 1000))
    number = str(driver.seal())
    assert main([DIRECTORY, "--before", number, "--nice", "0", "--resident-bytes", "1"]) == 0
    driver.journal.close()
    out, err = capfd.readouterr()
    said = json.loads(out).get("warnings", [])
    assert (len(said), err) == (warnings, "")
    assert all("cannot be put aside on the disk" in sentence for sentence in said)


def test_how_much_the_next_snapshot_may_need(tmp_path: Path) -> None:
    for name, size_bytes in ((segment_name(3), 5), (snapshot_name(2), 70), ("address", 900)):
        (tmp_path / name).write_bytes(b"x" * size_bytes)
    (tmp_path / segment_name(4)).symlink_to("renamed-meanwhile")
    assert fold_module._files_bytes(str(tmp_path)) == 75


def test_exit_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fold_module.gc, "disable", lambda: None)
    arguments = [str(tmp_path), "--before", "2", "--nice", "0"]
    with DirectoryLock(str(tmp_path), FOLD_LOCK_NAME):
        assert main(arguments) == 3
    assert main(arguments) == 4
    assert main([str(tmp_path / "missing"), "--before", "2", "--nice", "0"]) == 5

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "file")

    monkeypatch.setattr(fold_module, "fold", fail)
    assert main(arguments) == 5

    def lose(*_: object) -> None:
        raise page_lost("Input/output error")

    monkeypatch.setattr(fold_module, "fold", lose)
    assert main(arguments) == 5
    lines = capsys.readouterr().out.splitlines()
    assert all(set(json.loads(line)) == {"error", "path"} for line in lines)
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path)])
    assert caught.value.code == 2
