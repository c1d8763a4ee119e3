"""The progress of a command, on stderr."""

import math
import sys
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from bncheck.cli import stdio

if TYPE_CHECKING:
    from rich.progress import Progress

# Seconds after which a progress bar appears; a shorter command would only flicker.
PROGRESS_DELAY_SECONDS = 0.5
# Seconds between two updates: of the bar on a terminal, and of the lines in a log.
LIVE_REFRESH_SECONDS, LOG_INTERVAL_SECONDS = 0.1, 10.0


class ProgressDisplay:
    """A progress bar if stderr is a terminal, otherwise nothing or, with ``log``, a line every ten seconds.

    Parameters
    ----------
    unit : str
        What is counted: "entries", "checks".
    log : bool, default False
        Write lines if stderr is not a terminal.
    """

    def __init__(self, unit: str, *, log: bool = False) -> None:
        self._unit, self._started = unit, time.monotonic()
        self._is_live = sys.stderr is not None and sys.stderr.isatty()
        self._interval = LIVE_REFRESH_SECONDS if self._is_live else LOG_INTERVAL_SECONDS
        delay = PROGRESS_DELAY_SECONDS if self._is_live else LOG_INTERVAL_SECONDS if log else math.inf
        self._next_update = self._started + delay
        self._first: int | None = None  # number of finished items at the first update
        self._bar: Progress | None = None  # None: not visible yet

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar."""
        if self._bar is not None:
            with suppress(OSError):  # the terminal was closed
                self._bar.stop()

    def update(self, done: int, total: int, note: str = "") -> None:
        """Show the number of finished items, the total and a note."""
        if self._first is None:
            self._first = done
        now = time.monotonic()
        if now < self._next_update:
            return
        self._next_update = now + self._interval
        with suppress(OSError):  # nobody reads stderr
            if self._is_live:
                self._show_bar(done, total, note)
            else:
                rate = (done - self._first) / (now - self._started)
                left = f"{timedelta(seconds=round((total - done) / rate))} left" if rate else ""
                parts = (f"{done:,} of {total:,} {self._unit}", f"{rate:.0f} per s", left, note)
                stdio.write_message("  " + "   ".join(filter(None, parts)))

    def _show_bar(self, done: int, total: int, note: str) -> None:
        if self._bar is None:
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415 - slow import, only needed if the command takes long

            count = TextColumn(f"{{task.completed:,}} of {{task.total:,}} {self._unit}")
            # It refreshes without a thread. stdout is not redirected because a sweep writes rows to it meanwhile.
            self._bar = Progress(
                count, BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"),
                console=stdio.console_on(sys.stderr), transient=True, auto_refresh=False, redirect_stdout=False,
            )  # fmt: skip
            self._bar.add_task(note, total=total, completed=done)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, description=note, refresh=True)
