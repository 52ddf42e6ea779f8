"""A bar on standard error for what takes long. Floor 4.

Drawn only for a person, and only if there is something to wait for.
"""

# ruff: noqa: PLC0415  nothing heavy is imported before a command needs it

from __future__ import annotations

from time import monotonic as _monotonic
from typing import TYPE_CHECKING, Any, Final

from mqclient.ctl import output

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

SHOW_AFTER_SECONDS: Final = 1.0


class Bar:
    """The bar of one command.

    Args:
        total: how much there is to do, or None where that cannot be known.
    """

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._is_wanted = output.stderr_is_terminal()
        self._started_at = _monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int, text: str, *, total: int | None = None, is_due: bool = False) -> None:
        """Show how far it has come.

        Args:
            done: how much of the total.
            text: the same in words, to the left of the bar.
            total: how much there is to do, where that has come to light since.
            is_due: draw it even if it has not taken long yet.
        """
        if not self._is_wanted:
            return
        self._total = self._total if total is None else total
        if self._bar is None:
            if not is_due and _monotonic() - self._started_at < SHOW_AFTER_SECONDS:
                return
            self._draw()
        self._bar.update(self._task, completed=done, total=self._total, text=text)

    def _draw(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = [
            TextColumn("{task.fields[text]}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %" if self._total else ""),
            TimeElapsedColumn(),
        ]
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task("", total=self._total, text="")
        self._bar.start()
