"""SIGINT and SIGTERM: both end a command, but not within a critical section."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# The signals that were received since ``handle_signals`` was entered.
received_signals: list[int] = []
# One entry for each nested section in which signals are deferred.
_critical_sections: list[None] = []


@contextmanager
def handle_signals() -> Iterator[None]:
    """Make SIGTERM raise KeyboardInterrupt as SIGINT does, and record the signals."""
    received_signals.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A parent can set SIGINT to be ignored, as shells do for background jobs.
    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) not in (signal.SIG_IGN, None)]
    previous_handlers = {number: signal.signal(number, _handle_signal) for number in numbers}
    previous_hook = sys.unraisablehook
    # An interrupt in a __del__ cannot be raised; defer_signals raises it later, so Python need not report it.
    sys.unraisablehook = lambda args: None if isinstance(args.exc_value, KeyboardInterrupt) else previous_hook(args)
    try:
        yield
    finally:
        sys.unraisablehook = previous_hook
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)


def _handle_signal(number: int, _: FrameType | None) -> None:
    received_signals.append(number)
    if not _critical_sections:
        raise KeyboardInterrupt


@contextmanager
def defer_signals() -> Iterator[None]:
    """Defer KeyboardInterrupt to the end of the section; also raise one that Python dropped before.

    Python drops an exception within a ``__del__``, and Dask has many of these.
    """
    _critical_sections.append(None)
    try:
        yield
    finally:
        _critical_sections.pop()
    if received_signals:
        raise KeyboardInterrupt
