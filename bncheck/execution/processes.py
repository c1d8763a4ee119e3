"""The processes that this process started: a registry of them, and how they end with it.

It imports nothing that is slow: the command line needs it to end at a signal.
"""

import os
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress

# Operations of prctl, from linux/prctl.h.
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36
# How often strays are looked for: the end of one makes its children strays.
MAX_STRAY_ROUNDS = 1000

_live_groups: set[int] = set()


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
    multiprocessing = sys.modules.get("multiprocessing")  # it has a registry of its own
    for worker in multiprocessing.active_children() if multiprocessing else ():
        worker.kill()


def terminate_children() -> None:
    """Terminate every child process before this process ends, but the tracker of resources, which cleans up."""
    terminate_all()
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    terminate_strays(() if tracker is None else (tracker._resource_tracker._pid,))


def terminate_group(pid: int) -> None:
    """Terminate a process, and its process group if it leads one, with SIGKILL."""
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def prepare_process() -> None:
    """Prepare this process for code under test in its children: see the two functions that it calls."""
    become_subreaper()
    make_undumpable()


def become_subreaper() -> None:
    """Adopt the descendants of this process whose parents end, so that they can be terminated (Linux only)."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def make_undumpable() -> None:
    """Keep other processes of the user from opening the memory and files of this process (Linux only).

    A process that may trace every process, such as one of root, still can.
    """
    _prctl(PR_SET_DUMPABLE, 0)


def _prctl(operation: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - slow import (5 to 10 ms), only needed if code under test runs

        ctypes.CDLL(None).prctl(operation, value, 0, 0, 0)


def terminate_strays(keep: Collection[int]) -> None:
    """Terminate and reap every child process that is not kept (Linux only).

    Parameters
    ----------
    keep : collection of int
        Process ids of the other children. The workers of a pool and their resource tracker are children, too.
    """
    spared = set(keep)
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


def _child_pids() -> Iterator[int]:
    """Yield the process ids of the children of this process; Linux lists them by the thread that they belong to."""
    folder = "/proc/self/task"
    for thread in os.listdir(folder) if os.path.isdir(folder) else ():
        with suppress(OSError), open(f"{folder}/{thread}/children", encoding="ascii") as file:  # it may have ended
            yield from map(int, file.read().split())
