"""The entry point of the command ``bncheck`` and of ``python -m bncheck``."""

import atexit
import os
import signal


def main() -> None:
    """Run the command line; before and after it, a signal ends the process without a traceback."""
    atexit.register(_ignore_signals)  # the first that is registered runs last
    _end_at_signals(b"Interrupted before any result.\n")
    _open_standard_streams()
    from bncheck.cli import signals  # noqa: PLC0415 - slow imports, during which a signal must not raise an exception
    from bncheck.cli.main import main as run_command_line  # noqa: PLC0415 - a slow import as well: it imports click

    try:
        run_command_line(prog_name="bncheck")
    finally:
        if signals.received_signals:  # do not wait for what its workers and threads have begun
            signals.end_process(signals.received_signals[0])
        _end_at_signals(b"")  # the result is complete


def _end_at_signals(message: bytes) -> None:
    """Make SIGINT, SIGTERM and SIGHUP end this process with a message, unless the parent process ignores them."""

    def end(number: int, _: object) -> None:
        try:
            os.write(2, message)
        finally:  # also if stderr cannot be written
            os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


def _ignore_signals() -> None:
    """Ignore the signals: while Python ends, it removes their handlers, and the exit code would be lost."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _open_standard_streams() -> None:
    """Open the null device for closed standard streams, or the next file would get their number, and their text."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)


if __name__ == "__main__":
    main()
