"""Checks of code that is not ours, in a process of its own: the side that asks.

The other side is ``worker``. Messages are pickled pairs (kind, value) on the child's stdout; what
the code under test prints there goes to stderr.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import bncheck
from bncheck.errors import TargetError
from bncheck.model.options import CheckOptions
from bncheck.model.problem import Problem
from bncheck.model.progress import Progress
from bncheck.model.results import CheckResult

# A child that says nothing for so long past the time-out, not even that it lives, is stuck.
GRACE_SECONDS = 15.0
# How long an interrupted child may take to hand over what it has.
PARTIAL_RESULT_SECONDS = 10.0
# Once the child is killed its pipes close at once, unless a process that it started still holds them.
CLOSE_SECONDS = 1.0


class ChildInterrupted(Exception):
    """Ctrl-C; ``result`` is what the child had done, or None."""

    def __init__(self, result: CheckResult | None) -> None:
        super().__init__()
        self.result = result


def check_in_child(
    target: str, problem: Problem, options: tuple[CheckOptions, tuple[bool, ...]], timeout: float, progress: Progress
) -> CheckResult:
    """Check a file or module in a child process, made afresh.

    Raises
    ------
    TargetError
        What the child raised; or it exited or closed the pipe before it had a result, or a call did not return in
        time. At the latest this is raised when the child has sent nothing for ``timeout + GRACE`` seconds.
    Interrupted
        Ctrl-C.
    """
    root = str(Path(bncheck.__file__).parent.parent)
    # Where bncheck is goes last: beside it may lie anything, and it must hide nothing.
    # Until it listens itself, Ctrl-C ends it without a word.
    script = "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    script += f"import sys; sys.path.append({root!r}); from bncheck.execution.child_main import main; main()"
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches it through us, once
    )
    said: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    request = (target, problem, options, timeout)
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


def _outcome(kind: str, value: Any, child: subprocess.Popen[bytes]) -> CheckResult:
    if kind == "result":
        return value  # type: ignore[no-any-return]  # the worker sends a CheckResult
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


def _collect_partial_result(
    child: subprocess.Popen[bytes], said: "queue.SimpleQueue[tuple[str, Any]]"
) -> CheckResult | None:
    with suppress(ValueError, OSError):
        child.send_signal(signal.SIGINT)
    until = time.monotonic() + PARTIAL_RESULT_SECONDS
    with suppress(queue.Empty):
        while True:
            kind, value = said.get(timeout=max(0.0, until - time.monotonic()))
            if kind in ("interrupted", "result"):  # a result, if the code under test took the interruption
                left: CheckResult = replace(value, interrupted=True)
                return left
            if kind not in ("progress", "alive"):
                return None
    return None
