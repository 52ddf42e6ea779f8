"""Every bit of a small data directory, flipped: nothing changed is ever served."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from crash.crash_files import Content, MemoryFiles
from crash.history import DIRECTORY, SEGMENT_BYTES, Driver, Model, new_broker, view
from mqd.store.errors import StorageError
from mqd.store.recovery import recover
from mqd.store.segments import segment_number
from mqwire.levels import Level

if TYPE_CHECKING:
    from crash.history import View
    from mqd.core.records import Record


class Directory(NamedTuple):
    content: Content
    model: Model
    promised_lsn: int
    """What the files themselves say was on the disk."""


class Result(NamedTuple):
    state: View
    lsn: int
    warnings: list[str]


def small_directory(*, is_marked: bool) -> Directory:
    """A snapshot and two segments; the last batches are synced and, if marked, say so."""
    files = MemoryFiles()
    model = Model()
    marker_seconds = 0.0 if is_marked else 3600.0
    driver = Driver(files, model, marker_seconds=marker_seconds)
    broker = driver.broker
    driver.do(broker.plan_create("a", {}, 1))
    for number in range(6):
        driver.do(driver.push("a", b"body %d" % number, "text", headers=((1, 1, {"k": 1}, 4),)))
    driver.fold()
    for number in range(4):
        driver.do(driver.push("a", b"later %d" % number))
    driver.seal()
    for number in range(4):
        lsn = driver.do(driver.push("a", b"last %d" % number))
    driver.wait(lambda: not is_marked or driver.journal.written_lsn > lsn)
    content = {name: data for name, data in files.content().items() if name != "spare.mqj"}
    return Directory(content, model, lsn if is_marked else lsn - 1)


def open_again(content: Content) -> Result | StorageError:
    files = MemoryFiles(content)
    broker = new_broker()
    try:
        recovered = recover(files, DIRECTORY, broker.apply_all, segment_bytes=SEGMENT_BYTES)
    except StorageError as error:
        assert files.content() == content, "a refusal has changed something"
        return error
    return Result(view(broker), recovered.next_lsn - 1, recovered.warnings)


def judge(directory: Directory, result: Result | StorageError) -> str:
    if isinstance(result, StorageError):
        assert result.path is not None
        assert result.path in result.message
        return "refused"
    assert result.lsn >= directory.promised_lsn, "something that was promised is gone"
    assert result.state == directory.model.at(result.lsn), "something changed was served"
    if result.lsn == max(directory.model.states):
        return "unharmed"
    return "cut"


@pytest.mark.parametrize("is_marked", [True, False])
def test_every_bit(*, is_marked: bool) -> None:
    directory = small_directory(is_marked=is_marked)
    counts = {"refused": 0, "unharmed": 0, "cut": 0}
    last = max(name for name in directory.content if segment_number(name))
    for name, data in directory.content.items():
        used = len(data.rstrip(b"\0")) + 64  # what is reserved is all alike
        for position in range(min(used, len(data)) * 8):
            flipped = bytearray(data)
            flipped[position // 8] ^= 1 << (position % 8)
            outcome = judge(directory, open_again({**directory.content, name: bytes(flipped)}))
            counts[outcome] += 1
            if outcome != "refused":
                assert name == last
                assert position // 8 >= 56, "a header is never waved through"
    print(f"\n{counts}")  # noqa: T201  the figures are the result
    assert counts["refused"] > 4000
    assert counts["cut"] > 0 or is_marked


@pytest.mark.parametrize("length", [36, 60, 512])
def test_every_stretch_of_zeros(length: int) -> None:
    """A sector that was lost: zeros in the middle are no end."""
    directory = small_directory(is_marked=True)
    for name, data in directory.content.items():
        used = len(data.rstrip(b"\0"))
        for start in range(used - 36 - length):
            zeroed = data[:start] + bytes(length) + data[start + length :]
            result = open_again({**directory.content, name: zeroed})
            assert isinstance(result, StorageError) or zeroed == data


@pytest.mark.slow
def test_random_damage() -> None:
    """Garbage, zeros and swapped pieces, anywhere."""
    directory = small_directory(is_marked=True)
    chooser = random.Random(7)
    for _ in range(4000):
        name = chooser.choice(sorted(directory.content))
        data = bytearray(directory.content[name])
        start = chooser.randrange(len(data))
        length = chooser.choice((1, 4, 16, 64, 512))
        end = min(len(data), start + length)
        what = chooser.randrange(3)
        other = chooser.randrange(len(data))
        if what == 0:
            data[start:end] = chooser.randbytes(end - start)
        elif what == 1:
            data[start:end] = bytes(end - start)
        else:
            data[start:end] = data[other : other + end - start].ljust(end - start, b"\0")
        # Where the last batch of all is gone, nothing is left that says what was promised.
        is_silenced = segment_number(name) and end > len(directory.content[name].rstrip(b"\0")) - 36
        told = directory._replace(promised_lsn=0) if is_silenced else directory
        judge(told, open_again({**directory.content, name: bytes(data)}))


def test_every_truncation_and_every_missing_file() -> None:
    directory = small_directory(is_marked=False)
    for name, data in directory.content.items():
        for end in range(len(data)):
            result = open_again({**directory.content, name: data[:end]})
            if not isinstance(result, StorageError):
                # An end between two batches is what an earlier crash may have left.
                assert result.state == directory.model.at(result.lsn)
                assert name == max(n for n in directory.content if segment_number(n))
        rest = {other: each for other, each in directory.content.items() if other != name}
        is_last = name == max(n for n in directory.content if segment_number(n))
        assert isinstance(open_again(rest), StorageError) or is_last


def test_swapped_files() -> None:
    directory = small_directory(is_marked=True)
    names = sorted(directory.content)
    for one in names:
        for other in names:
            if one < other:
                swapped = dict(directory.content)
                swapped[one], swapped[other] = swapped[other], swapped[one]
                assert isinstance(open_again(swapped), StorageError)


def test_a_file_of_another_directory() -> None:
    directory = small_directory(is_marked=True)
    foreign = small_directory(is_marked=True)
    for name in directory.content:
        mixed = {**directory.content, name: foreign.content[name]}
        assert isinstance(open_again(mixed), StorageError)


def test_a_batch_that_somebody_has_pushed_is_a_body() -> None:
    """A message that holds the bytes of a journal is not taken for one."""
    first = small_directory(is_marked=True)
    journal = b"".join(first.content.values())
    files = MemoryFiles()
    driver = Driver(files, Model())
    driver.do(driver.broker.plan_create("a", {}, 1))
    record: Record = driver.push("a", journal)
    lsn = driver.do(record, level=Level.WRITTEN)
    name = max(name for name in files.content() if segment_number(name))
    data = bytearray(files.content()[name])
    place = data.rindex(journal[:200])
    data[place - 20] ^= 1  # the batch that holds it is torn
    result = open_again({**files.content(), name: bytes(data)})
    assert isinstance(result, Result)
    assert result.lsn == lsn - 1
