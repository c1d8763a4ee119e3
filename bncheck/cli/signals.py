"""Ctrl-C and SIGTERM: both end a command, and never in the middle of what belongs together."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# The signals that came and ask for an end.
received_signals: list[int] = []
# What must not be torn apart by one, while it is done.
_critical_section_depth: list[None] = []


@contextmanager
def handle_signals() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, and remember which came."""
    received_signals.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A parent may have asked for Ctrl-C to be ignored, as shells do for what runs in the background.
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) not in (signal.SIG_IGN, None)]
    before, hook = {number: signal.signal(number, _handle_signal) for number in numbers}, sys.unraisablehook
    sys.unraisablehook = lambda lost: None if isinstance(lost.exc_value, KeyboardInterrupt) else hook(lost)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle_signal(number: int, _: FrameType | None) -> None:
    received_signals.append(number)
    if not _critical_section_depth:
        raise KeyboardInterrupt


@contextmanager
def defer_signals() -> Iterator[None]:
    """Let an interruption wait until this is done; one that came before and was lost is raised then as well.

    Python drops it where it comes within a ``__del__``, of which Dask has many.
    """
    _critical_section_depth.append(None)
    try:
        yield
    finally:
        _critical_section_depth.pop()
    if received_signals:
        raise KeyboardInterrupt
