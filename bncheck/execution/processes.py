"""The processes that this process started: a registry of them, and how they end with it.

It imports nothing that is slow: the command line needs it to end at a signal.
"""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

# Operations of prctl, from linux/prctl.h.
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36
# How often strays are looked for: the end of one makes its children strays.
MAX_STRAY_ROUNDS = 1000

_live_groups: set[int] = set()
# Held while a process is started and registered: until then it would be taken for a stray.
start_lock = threading.RLock()
# Whether this process adopts the descendants whose parents end; every child that bncheck did not start is then a stray.
_is_prepared = False


def register(pid: int) -> None:
    """Let ``terminate_all`` terminate a child process, and its process group if it leads one.

    Parameters
    ----------
    pid : int
        Process id of a child that was not yet waited for; later the id may belong to another process.
    """
    _live_groups.add(pid)


def unregister(pid: int) -> None:
    """Remove a child process from the registry, if it is there; do so before it is waited for."""
    _live_groups.discard(pid)


def terminate_all() -> None:
    """Terminate the registered processes and the workers of this process with SIGKILL; do not wait for them."""
    while _live_groups:
        terminate_group(_live_groups.pop())
    multiprocessing = sys.modules.get("multiprocessing")  # it has another registry
    for worker in multiprocessing.active_children() if multiprocessing else ():
        worker.kill()


def terminate_children() -> None:
    """Terminate every child process before this process ends, but the tracker of resources, which cleans up."""
    terminate_all()
    terminate_strays()


def terminate_group(pid: int) -> None:
    """Terminate a process, and its process group if it leads one, with SIGKILL."""
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def prepare_process() -> None:
    """Prepare this process for code under test in its children, which must not read it or outlive it (Linux only).

    It adopts the descendants whose parents end, and other processes of the user cannot open its memory and files. A
    process that may trace every process, such as one of root, still can. Only the command line may do so: the process
    of somebody else may have child processes that bncheck does not know.
    """
    global _is_prepared  # noqa: PLW0603 - a property of the process
    if sys.platform == "linux" and not _is_prepared:
        import ctypes  # noqa: PLC0415 - slow import (5 to 10 ms), only needed if code under test runs

        prctl = ctypes.CDLL(None).prctl
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        _is_prepared = True
        atexit.register(terminate_strays)


def terminate_strays() -> None:
    """Terminate and reap every child process that bncheck did not start, in a process that is prepared."""
    if _is_prepared:
        with start_lock:
            _terminate_strays(_live_groups | _pool_processes())


def _terminate_strays(spared: set[int]) -> None:
    for _ in range(MAX_STRAY_ROUNDS):
        strays = set(_child_pids()) - spared
        if not strays:
            return
        for pid in strays:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except PermissionError:  # it runs as another user
                spared.add(pid)
            except (ProcessLookupError, ChildProcessError):  # another thread waited for it
                pass


def _pool_processes() -> set[int]:
    """Return the process ids of the workers of this process, and of their tracker of resources."""
    multiprocessing, tracker = map(sys.modules.get, ("multiprocessing", "multiprocessing.resource_tracker"))
    pids = {worker.pid for worker in multiprocessing.active_children()} if multiprocessing else set()
    return pids | ({tracker._resource_tracker._pid} if tracker else set())


def _child_pids() -> Iterator[int]:
    """Yield the process ids of the children of this process; Linux lists them by the thread that they belong to."""
    folder = "/proc/self/task"
    for thread in os.listdir(folder) if os.path.isdir(folder) else ():
        with suppress(OSError), open(f"{folder}/{thread}/children", encoding="ascii") as file:  # it may have ended
            yield from map(int, file.read().split())
