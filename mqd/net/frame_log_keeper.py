"""The frame log's keeper: a thread that removes and compresses files that are closed.

It works when a file has been closed, and every `LOOK_SECONDS`, since files grow old by
themselves. What a crash has left behind is dealt with at the start. Compressing is done by
another process (`mqd.net.frame_log_gzip`), one file at a time; the thread only waits for it.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mqd.net import frame_log_gzip
from mqd.net.frame_log_files import Stored, is_held, leftover_parts, stored_files, surplus

if TYPE_CHECKING:
    from collections.abc import Callable

    from mqd.config import FrameLogConfig

LOOK_SECONDS: Final = 60.0
CLOSE_SECONDS: Final = 5.0
"""How long a stopping server waits for a disk that hangs."""

_logger = logging.getLogger("mqd.frame_log")


class Keeper:
    """Keeps a directory within its bounds.

    Args:
        directory: of the log; it exists.
        config: the bounds, and whether to compress.
        now_ns: the time.
        current_number: gives the number of the file that is written; the others are below.
    """

    def __init__(
        self,
        directory: Path,
        config: FrameLogConfig,
        now_ns: Callable[[], int],
        current_number: Callable[[], int],
    ) -> None:
        self._directory = directory
        self._config = config
        self._now_ns = now_ns
        self._current_number = current_number
        self._wanted = threading.Event()
        self._is_closing = False
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._complaints: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="mqd-frame-log-keeper", daemon=True)

    def start(self) -> None:
        """Begin with what an earlier run has left."""
        self._thread.start()

    def wake(self) -> None:
        """Look now: a file has been closed."""
        self._wanted.set()

    def close(self) -> None:
        """Stop; a file that is being compressed stays as it is until the next start."""
        with self._lock:
            self._is_closing = True
            if self._child is not None:
                self._child.terminate()
        self._wanted.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        self._remove_parts()
        while not self._is_closing:
            self._wanted.clear()
            self.tidy()
            self._wanted.wait(LOOK_SECONDS)

    def tidy(self) -> None:
        """Remove what has to go, and compress the rest."""
        failed: set[int] = set()
        while not self._is_closing:
            try:
                self._remove_surplus()
                file = self._next_plain(failed)
                if file is None:
                    return
                has_room = self._has_room_for(file)
            except OSError as error:
                self._complain(f"the directory of the frame log cannot be kept in order: {error}")
                return
            if not (has_room and self._compress(file.path)):
                failed.add(file.number)

    def _closed_files(self) -> list[Stored]:
        number = self._current_number()  # before the look: what is made meanwhile is above it
        return [file for file in stored_files(self._directory) if file.number < number]

    def _remove_surplus(self) -> None:
        closed, now_ns, kept = self._closed_files(), self._now_ns(), frozenset[Path]()
        for file in surplus(closed, self._config, now_ns):
            if is_held(file.path):
                kept |= {file.path}
        for file in surplus(closed, self._config, now_ns, kept):
            self._remove(file.path, "it is beyond what is kept")

    def _next_plain(self, failed: set[int]) -> Stored | None:
        if not self._config.compress:
            return None
        for file in self._closed_files():
            if not file.is_compressed and file.number not in failed and not is_held(file.path):
                return file
        return None

    def _has_room_for(self, file: Stored) -> bool:
        """Tell whether a copy cannot take the last room from those who write."""
        has_room = shutil.disk_usage(self._directory).free > 2 * file.size_bytes
        if not has_room:
            self._complain(f"{file.path} cannot be compressed: its disk is nearly full")
        return has_room

    def _compress(self, path: Path) -> bool:
        """Have a file compressed; tell whether that was done."""
        command = [sys.executable, "-I", "-S", frame_log_gzip.__file__, str(path)]
        with self._lock:
            if self._is_closing:
                return False
            try:
                # A session of its own: Ctrl-C in the server's terminal is not meant for it.
                self._child = subprocess.Popen(  # noqa: S603  nothing of it is from outside
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
            except OSError as error:
                self._complain(f"no process can be started to compress frame logs: {error}")
                return False
        _, reason = self._child.communicate()
        with self._lock:
            exit_code, self._child = self._child.returncode, None
        if exit_code and not self._is_closing:
            last_line = reason.strip().rpartition("\n")[2] or f"it ended with {exit_code}"
            self._complain(f"{path} cannot be compressed: {last_line}")
        return not exit_code

    def _remove_parts(self) -> None:
        try:
            for part in leftover_parts(self._directory):
                if not is_held(part):
                    self._remove(part, "a crash has left it half-done")
        except OSError as error:
            self._complain(f"the directory of the frame log cannot be read: {error}")

    def _remove(self, path: Path, why: str) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._complain(f"{path} cannot be removed: {error.strerror}")
        else:
            _logger.info("%s was removed: %s", path, why)

    def _complain(self, sentence: str) -> None:
        """Warn, once in the life of the server for each cause."""
        if sentence not in self._complaints:
            self._complaints.add(sentence)
            _logger.warning("%s", sentence)
