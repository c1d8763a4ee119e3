"""Run a function in a child process: the parent's side.

The child's side is ``child_main``. Messages are pickled pairs (kind, value) on the child's stdout; the output of the
code under test goes to stderr instead.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bncheck.errors import TargetError
from bncheck.model.progress import Progress, silent
from bncheck.model.version import PACKAGE_DIR

# A child that says nothing for so long past the time-out, not even that it lives, is stuck.
GRACE_SECONDS = 15.0
# How long an interrupted child may take to hand over what it has.
PARTIAL_RESULT_SECONDS = 10.0
# Once the child is killed its pipes close at once, unless a process that it started still holds them.
CLOSE_SECONDS = 1.0


class ChildInterrupted(Exception):
    """Ctrl-C; ``result`` is what the child had computed until then, or None."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


def run_in_child(
    function: Callable[..., None], arguments: tuple[Any, ...], timeout: float, progress: Progress = silent
) -> Any:
    """Call ``function(channel, *arguments)`` in a new process, and return the result that it sends.

    Parameters
    ----------
    function : callable
        A function of a module, which is pickled by its name; its first argument is a ``ParentChannel``.
    arguments : tuple
        Its other arguments, which are pickled.
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
    script += f"import sys; sys.path.append({str(PACKAGE_DIR.parent)!r}); "
    script += "from bncheck.execution.child_main import main; main()"
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches it through us, once
    )
    said: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    request = (function, arguments, timeout)
    threads = [
        threading.Thread(target=_read_messages, args=(child, said), daemon=True),
        threading.Thread(target=_send_request, args=(child, request), daemon=True),
    ]
    try:
        for thread in threads:
            thread.start()
        while True:
            try:
                kind, value = said.get(timeout=timeout + GRACE_SECONDS)
            except queue.Empty:
                raise TargetError(f"it did not answer within {timeout + GRACE_SECONDS:g} s") from None
            if kind == "progress":
                progress(*value)
            elif kind != "alive":
                return _outcome(kind, value, child)
    except KeyboardInterrupt:
        raise ChildInterrupted(_collect_partial_result(child, said)) from None
    finally:
        _kill_process_group(child)
        for thread in threads:
            thread.join(CLOSE_SECONDS)


def _kill_process_group(child: subprocess.Popen[bytes]) -> None:
    """End the child and what it has started: it leads a session of its own."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.wait()


def _send_request(child: subprocess.Popen[bytes], request: object) -> None:
    assert child.stdin is not None
    with suppress(OSError), child.stdin:  # it is gone: _listen notices
        pickle.dump(request, child.stdin, protocol=pickle.HIGHEST_PROTOCOL)


def _read_messages(child: subprocess.Popen[bytes], said: "queue.SimpleQueue[tuple[str, Any]]") -> None:
    assert child.stdout is not None
    try:
        with child.stdout:
            while True:
                said.put(pickle.load(child.stdout))
    except EOFError:
        said.put(("gone", None))
    except Exception:  # noqa: BLE001 - bytes that are not a pickle can raise anything
        said.put(("garbled", None))


def _outcome(kind: str, value: Any, child: subprocess.Popen[bytes]) -> Any:
    if kind == "result":
        return value
    if kind == "bug":
        raise TargetError(f"bncheck failed on it, which is a bug in bncheck:\n{value}")
    if kind == "error":
        raise TargetError(value)
    if kind == "garbled":
        raise TargetError("it wrote to a file descriptor that it did not open, through which bncheck gets its results")
    try:
        code = child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        raise TargetError("it closed a file descriptor that it did not open, and did not exit") from None
    if code < 0:
        name = signal.Signals(-code).name
        meaning = {"SIGSEGV": "a segmentation fault", "SIGABRT": "it aborted"}.get(name, name)
        raise TargetError(f"its process was killed by {name} ({meaning})")
    raise TargetError(f"it ended its process with exit code {code}")


def _collect_partial_result(child: subprocess.Popen[bytes], said: "queue.SimpleQueue[tuple[str, Any]]") -> Any:
    with suppress(ValueError, OSError):
        child.send_signal(signal.SIGINT)
    until = time.monotonic() + PARTIAL_RESULT_SECONDS
    with suppress(queue.Empty):
        while True:
            kind, value = said.get(timeout=max(0.0, until - time.monotonic()))
            if kind in ("interrupted", "result"):  # a result, if the code under test took the interruption
                return value
            if kind not in ("progress", "alive"):
                return None
    return None
