"""Run a function in a child process: the child's side."""

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

# How often the watchdog looks, and how often it says that we live.
WATCHDOG_SECONDS, HEARTBEAT_SECONDS = 0.1, 1.0


class ParentChannel:
    """What goes to the side that asked, and the watch over the calls that are not ours."""

    def __init__(self, timeout: float) -> None:
        self._out = os.fdopen(os.dup(1), "wb")
        self._lock = threading.Lock()
        self._timeout = timeout
        self._call: tuple[str, float] | None = None
        self._interrupted = False
        self._last_progress_time = 0.0
        os.dup2(2, 1)  # what it prints is no result
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)  # and there is nobody to ask
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

    def calling(self, name: str) -> None:
        """Note that a call begins, or with no name that it has ended."""
        self._call = (name, time.monotonic()) if name else None

    def interrupted(self) -> bool:
        """Tell whether Ctrl-C came."""
        return self._interrupted

    def progress(self, done: int, total: int) -> None:
        """Send how many entries are finished, at most once in WATCHDOG_SECONDS."""
        now = time.monotonic()
        if now - self._last_progress_time > WATCHDOG_SECONDS:
            self._last_progress_time = now
            self.send("progress", (done, total))

    def end(self) -> None:
        """End the process, whatever threads the code under test has left."""
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(0)

    def _interrupt(self, _: int, __: FrameType | None) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def _watch(self) -> None:
        """End the process when a call exceeds its time limit, or when the parent has closed the pipe."""
        last = 0.0
        with suppress(OSError):  # the pipe is closed: no result can be sent any more
            while True:
                time.sleep(WATCHDOG_SECONDS)
                now, call = time.monotonic(), self._call
                if call is not None and now - call[1] > self._timeout:
                    self.send("error", f"{call[0]} did not return within {self._timeout:g} s")
                    self.end()
                if now - last > HEARTBEAT_SECONDS:
                    self.send("alive")
                    last = now
        os._exit(1)


def main() -> None:
    """Serve the single request on stdin, and end the process whatever threads the code under test has left."""
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


if __name__ == "__main__":
    main()
