"""Run a function in a child process: the parent side, and then the child side, which begins with ``ParentChannel``.

Messages are pickled pairs (kind, value) on the stdout of the child; the output of the code under test goes to stderr.
"""

import io
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, TypeAlias

from bncheck.errors import BncheckError, TargetError
from bncheck.model.progress import Progress, silent
from bncheck.model.version import PACKAGE_DIR

# A child that sends nothing for the time limit of a call and this time, not even that it is alive, is stuck.
GRACE_SECONDS = 15.0
# How long an interrupted child may take to send the result that it has.
PARTIAL_RESULT_SECONDS = 10.0
# The pipes of a terminated child close at once, unless a process that it started has them open.
CLOSE_SECONDS = 1.0
# How often the watchdog checks the time limit, and how often it sends that the child is alive.
WATCHDOG_SECONDS, HEARTBEAT_SECONDS = 0.1, 1.0

SIGNAL_MEANINGS = {"SIGSEGV": " (segmentation fault)", "SIGABRT": " (abort)"}

Message: TypeAlias = tuple[str, Any]


class ChildInterrupted(Exception):
    """Ctrl-C; ``result`` is the partial result of the child, or None."""

    def __init__(self, result: Any) -> None:
        self.result = result


def run_in_child(
    function: Callable[..., None], arguments: tuple[Any, ...], name: str, timeout: float, progress: Progress = silent
) -> Any:
    """Call ``function(channel, *arguments)`` in a new process, and return the result that it sends.

    Parameters
    ----------
    function : callable
        A function of a module, which is pickled by its name; its first argument is a ``ParentChannel``.
    arguments : tuple
        Its other arguments, which are pickled.
    name : str
        Name of the code under test, for error messages.
    timeout : float
        Time limit of each call that the function announces to the channel, in seconds.
    progress : callable, optional
        Called with the number of finished entries and the total.

    Raises
    ------
    TargetError
        The child raised it; or it exited or closed the pipe before it sent a result, or a call did not return in
        time. At the latest this is raised when the child has sent nothing for ``timeout + GRACE_SECONDS`` seconds.
    ChildInterrupted
        Ctrl-C.
    """
    # The folder of bncheck is last on the import path: no file next to bncheck may shadow a module of the user.
    # Before the child installs its handler, SIGINT ends it silently.
    script = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    script += f"import sys; sys.path.append({os.path.dirname(PACKAGE_DIR)!r}); "
    script += "from bncheck.execution.child import main; main()"
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # the terminal does not send Ctrl-C to the child, only this process does
    )
    messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threads = [
        threading.Thread(target=_read_messages, args=(child, messages), daemon=True),
        threading.Thread(target=_send_request, args=(child, (function, arguments, timeout)), daemon=True),
    ]
    try:
        for thread in threads:
            thread.start()
        while True:
            try:
                kind, value = messages.get(timeout=timeout + GRACE_SECONDS)
            except queue.Empty:
                raise TargetError(f"{name} did not respond within {timeout + GRACE_SECONDS:g} s") from None
            if kind == "progress":
                progress(*value)
            elif kind == "result":
                return value
            elif kind != "alive":
                raise TargetError(_describe_failure(name, kind, value, child))
    except KeyboardInterrupt:
        raise ChildInterrupted(_collect_partial_result(child, messages)) from None
    finally:
        _kill_process_group(child)
        for thread in threads:
            thread.join(CLOSE_SECONDS)


def _kill_process_group(child: subprocess.Popen[bytes]) -> None:
    """Terminate the child and the processes that it started; it is the leader of their session."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.wait()


def _send_request(child: subprocess.Popen[bytes], request: object) -> None:
    assert child.stdin is not None
    with suppress(OSError), child.stdin:  # if the child has exited, _read_messages reports it
        pickle.dump(request, child.stdin, protocol=pickle.HIGHEST_PROTOCOL)


def _read_messages(child: subprocess.Popen[bytes], messages: "queue.SimpleQueue[Message]") -> None:
    """Put each message of the child into the queue, and a last one when the pipe ends."""
    assert child.stdout is not None
    try:
        with child.stdout:
            while True:
                messages.put(pickle.load(child.stdout))
    except EOFError:
        messages.put(("closed", None))
    except Exception:  # noqa: BLE001 - bytes that are not a pickle can raise anything
        messages.put(("garbled", None))


def _describe_failure(name: str, kind: str, value: Any, child: subprocess.Popen[bytes]) -> str:
    """Return the error message for a child that sends no result."""
    if kind == "error":
        return str(value)
    if kind == "bug":
        return f"internal error in bncheck; please report it:\n{value}"
    if kind == "garbled":
        return f"{name} wrote to a file descriptor that it did not open and that bncheck uses for its results"
    try:
        code = child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        return f"{name} closed a file descriptor that it did not open, and did not exit"
    if code >= 0:
        return f"{name} exited with code {code}"
    signal_name = signal.Signals(-code).name
    return f"{name} was terminated by {signal_name}{SIGNAL_MEANINGS.get(signal_name, '')}"


def _collect_partial_result(child: subprocess.Popen[bytes], messages: "queue.SimpleQueue[Message]") -> Any:
    """Interrupt the child and return its partial result; None if it sends none in time."""
    with suppress(ValueError, OSError):
        child.send_signal(signal.SIGINT)
    end = time.monotonic() + PARTIAL_RESULT_SECONDS
    with suppress(queue.Empty):
        while True:
            kind, value = messages.get(timeout=max(0.0, end - time.monotonic()))
            if kind in ("interrupted", "result"):  # a result, if the code under test caught the interrupt
                return value
            if kind not in ("progress", "alive"):
                return None
    return None


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
        channel.send("stopped")  # interrupted before there was a partial result
    except BaseException:  # noqa: BLE001 - reported as a bug of bncheck, not as a defect of the code under test
        channel.send("bug", traceback.format_exc())
    finally:
        channel.end()
