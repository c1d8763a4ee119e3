"""SIGINT, SIGTERM and SIGHUP: the first ends a command, but not in a critical section; the second ends it at once."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bncheck.execution.processes import terminate_children

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A signal that follows the first one within this time belongs to it: a shell and a terminal that closes both send
# SIGHUP, and timeout sends SIGTERM to the process and then to its group. Nobody presses Ctrl-C twice so quickly.
REPEAT_SECONDS = 0.1

# The signals that were received since ``handle_signals`` was entered, and when the first of them was.
received_signals: list[int] = []
_first_time = 0.0
# One entry for each nested section in which signals are deferred.
_critical_sections: list[None] = []


@contextmanager
def handle_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise KeyboardInterrupt as SIGINT does, and record the signals."""
    received_signals.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A parent can set a signal to be ignored, as shells do with SIGINT for background jobs and nohup does with SIGHUP.
    numbers = [n for n in SIGNALS if signal.getsignal(n) not in (signal.SIG_IGN, None)]
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
    global _first_time  # noqa: PLW0603 - a handler has no other place for its state
    now = time.monotonic()
    if not received_signals:
        _first_time = now
    elif now - _first_time < REPEAT_SECONDS:
        return
    else:
        end_process(number)
    received_signals.append(number)
    if not _critical_sections:
        raise KeyboardInterrupt


def end_process(number: int) -> None:
    """End this process with the exit code for a signal, and its workers and children, without waiting for results."""
    threading.excepthook = lambda _: None  # the thread of the pool would print that its workers are lost
    terminate_children()
    os._exit(128 + number)


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
