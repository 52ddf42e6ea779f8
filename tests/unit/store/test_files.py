from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mqd.store.files import OsFiles


def test_a_file_s_life(tmp_path: Path) -> None:
    files = OsFiles()
    directory = str(tmp_path / "a" / "b")
    files.make_directory(directory)
    files.make_directory(directory)
    assert stat.S_IMODE(Path(directory).stat().st_mode) == 0o700
    path = f"{directory}/one"
    handle = files.create(path)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert not os.get_inheritable(handle)
    with pytest.raises(FileExistsError):
        files.create(path)
    files.allocate(handle, 100)
    assert files.size_bytes(handle) == 100
    parts = [b"%d," % number for number in range(2000)]
    files.write(handle, 10, parts)
    files.sync_data(handle)
    files.sync(handle)
    assert files.read(handle, 0, 10**6) == bytes(10) + b"".join(parts)
    files.truncate(handle, 12)
    files.close(handle)
    files.rename(path, f"{directory}/two")
    files.sync_directory(directory)
    assert files.names(directory) == ["two"]
    handle = files.open(f"{directory}/two")
    assert files.read(handle, 0, 100) == bytes(10) + b"0,"
    with pytest.raises(OSError, match=r"Bad file descriptor|symbolic links|File exists"):
        files.write(handle, 0, [b"x"])
    files.close(handle)
    files.close(files.open(f"{directory}/two", writable=True))
    files.unlink(f"{directory}/two")
    assert files.names(directory) == []


def test_symbolic_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match=r"Bad file descriptor|symbolic links|File exists"):
        OsFiles().open(str(tmp_path / "link"))
    with pytest.raises(OSError, match=r"Bad file descriptor|symbolic links|File exists"):
        OsFiles().create(str(tmp_path / "link"))


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwritev

    def short(handle: int, parts: list[bytes], offset: int) -> int:
        data = b"".join(parts)[:7]
        return real(handle, [data], offset)

    files = OsFiles()
    handle = files.create(str(tmp_path / "x"))
    real_pwrite = os.pwrite
    monkeypatch.setattr(os, "pwritev", short)
    monkeypatch.setattr(os, "pwrite", lambda handle, data, at: real_pwrite(handle, data[:4], at))
    files.write(handle, 0, [b"abc", b"", b"defghijkl", b"mnopqrstuvwxyz"])
    assert files.read(handle, 0, 99) == b"abcdefghijklmnopqrstuvwxyz"
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    with pytest.raises(OSError, match="takes nothing"):
        files.write(handle, 0, [b"abcdefghijkl"])
    files.close(handle)


def test_short_reads_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pread
    files = OsFiles()
    handle = files.create(str(tmp_path / "x"))
    files.write(handle, 0, [b"abcdefghijkl"])
    monkeypatch.setattr(
        os, "pread", lambda handle, size, offset: real(handle, min(size, 5), offset)
    )
    assert files.read(handle, 1, 10) == b"bcdefghijk"
    assert files.read(handle, 0, 100) == b"abcdefghijkl"
    files.close(handle)
