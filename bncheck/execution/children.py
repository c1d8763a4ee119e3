"""The child processes of targets: started early, used by one check at a time, and kept for the next check."""

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from bncheck.execution.child_process import ChildProcess
from bncheck.execution.limits import Limits

if TYPE_CHECKING:  # numpy, which need not be imported before a child is started
    from bncheck.execution.remote import RemoteTarget

_keeps_children: ContextVar[bool] = ContextVar("keeps_children", default=False)
_lock = threading.Lock()
# Children that no check uses, by target: children that load, and children that an earlier check has used.
_started: dict[str, ChildProcess] = {}
_idle: dict[str, list[tuple["RemoteTarget", threading.Timer]]] = {}
# An idle child that no check uses for this time is terminated; the worker of a cluster may live for months.
MAX_IDLE_SECONDS = 10.0


def start(target: str) -> None:
    """Start the child of a target, so that it loads while this process does something else."""
    with _lock:
        _started[target] = ChildProcess(target)


@contextmanager
def kept_for_next_check() -> Iterator[None]:
    """Keep children after a check, and use them for the next check of the same target in this process."""
    token = _keeps_children.set(True)
    try:
        yield
    finally:
        _keeps_children.reset(token)


@contextmanager
def use(target: str, limits: Limits) -> Iterator["RemoteTarget"]:
    """Provide the child of a target for one check.

    An idle child is only used if it repeats the answers that it gave before: a check must not depend on earlier ones.
    """
    from bncheck.execution.remote import RemoteTarget  # noqa: PLC0415 - numpy, imported while the child loads

    remote = _take_idle(target)
    if remote is not None and not remote.repeats_its_answers(limits):
        remote.child.terminate()
        remote = None
    if remote is None:
        with _lock:
            child = _started.pop(target, None)
        remote = RemoteTarget(child or ChildProcess(target))
    is_finished = False
    try:
        remote.child.begin(limits)
        yield remote
        is_finished = True
    finally:
        if is_finished and _keeps_children.get() and not remote.child.failure:
            _keep_idle(remote)
        else:
            remote.child.terminate()


def _keep_idle(remote: "RemoteTarget") -> None:
    timer = threading.Timer(MAX_IDLE_SECONDS, _terminate_if_idle, (remote,))
    timer.daemon = True
    with _lock:
        _idle.setdefault(remote.child.target, []).append((remote, timer))
    timer.start()


def _take_idle(target: str) -> "RemoteTarget | None":
    with _lock:
        if not _idle.get(target):
            return None
        remote, timer = _idle[target].pop()
    timer.cancel()
    return remote


def _terminate_if_idle(remote: "RemoteTarget") -> None:
    """Terminate a child, unless a check uses it."""
    with _lock:
        idle = _idle.get(remote.child.target, [])
        others = [item for item in idle if item[0] is not remote]
        is_idle = len(others) < len(idle)
        idle[:] = others
    if is_idle:
        remote.child.terminate()


@atexit.register
def terminate_idle() -> None:
    """Terminate all children that no check uses."""
    with _lock:
        children = [*_started.values(), *(remote.child for idle in _idle.values() for remote, _ in idle)]
        _started.clear()
        _idle.clear()
    for child in children:
        child.terminate()
