"""Run a function in a child process: child side."""

import io
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from types import FrameType
from typing import Any

from bncheck.errors import BncheckError

# How often the watchdog checks the time limit, and how often it sends that the child is alive.
WATCHDOG_SECONDS, HEARTBEAT_SECONDS = 0.1, 1.0


class ParentChannel:
    """Messages to the parent, and a watchdog for the time limit of each call of a function under test.

    Parameters
    ----------
    timeout : float
        Time limit of a call, in seconds.
    """

    def __init__(self, timeout: float) -> None:
        self._out = os.fdopen(os.dup(1), "wb")
        self._lock = threading.Lock()
        self._timeout = timeout
        self._call: tuple[str, float] | None = None  # name and start of the current call
        self._interrupted = False
        self._last_progress_time = 0.0
        os.dup2(2, 1)  # the output of the code under test does not belong in the pipe
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # no input: the request has been read
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(line_buffering=True, errors="backslashreplace")
        signal.signal(signal.SIGINT, self._interrupt)
        threading.Thread(target=self._watch, daemon=True).start()

    def send(self, kind: str, value: Any = None) -> None:
        """Send a message."""
        with self._lock:
            pickle.dump((kind, value), self._out, protocol=pickle.HIGHEST_PROTOCOL)
            self._out.flush()

    def call_started(self, name: str) -> None:
        """Start the time limit of a call; an empty name ends it."""
        self._call = (name, time.monotonic()) if name else None

    def interrupted(self) -> bool:
        """Return whether Ctrl-C was pressed."""
        return self._interrupted

    def progress(self, done: int, total: int) -> None:
        """Send the number of finished entries and the total, at most every WATCHDOG_SECONDS."""
        now = time.monotonic()
        if now - self._last_progress_time > WATCHDOG_SECONDS:
            self._last_progress_time = now
            self.send("progress", (done, total))

    def end(self) -> None:
        """Exit without waiting for threads that the code under test started."""
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(0)

    def _interrupt(self, _: int, __: FrameType | None) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def _watch(self) -> None:
        """Exit when a call exceeds its time limit, or when the parent has closed the pipe."""
        last_heartbeat = 0.0
        with suppress(OSError):  # the pipe is closed: no result can be sent any more
            while True:
                time.sleep(WATCHDOG_SECONDS)
                now, call = time.monotonic(), self._call
                if call is not None and now - call[1] > self._timeout:
                    self.send("error", f"{call[0]} did not return within {self._timeout:g} s")
                    self.end()
                if now - last_heartbeat > HEARTBEAT_SECONDS:
                    self.send("alive")
                    last_heartbeat = now
        os._exit(1)


def main() -> None:
    """Run the function that the parent sends on stdin, and exit."""
    function, arguments, timeout = pickle.load(sys.stdin.buffer)
    channel = ParentChannel(timeout)
    try:
        function(channel, *arguments)
    except BncheckError as error:
        channel.send("error", str(error))
    except KeyboardInterrupt:
        channel.send("stopped")
    except BaseException:  # noqa: BLE001 - reported as a bug of bncheck, not as a defect of the code under test
        channel.send("bug", traceback.format_exc())
    finally:
        channel.end()
