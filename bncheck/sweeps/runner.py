"""Run the checks of a sweep, in this process or on a pool of workers."""

import os
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from bncheck.checking.check import check
from bncheck.errors import BncheckError
from bncheck.execution import children
from bncheck.execution.pool import MAX_ATTEMPTS, ProcessPool, WorkerPool, run_unordered
from bncheck.model.options import CheckOptions, parse_gradient_names
from bncheck.sweeps.grid import Grid, SweepPoint
from bncheck.sweeps.rows import Row
from bncheck.targets.bundle import UnpackedBundle

# One of 4 checks is cross-checked, chosen by the key of its point, on 8 entries. A single run recomputes up to 64
# entries; a sweep needs fewer per check, because its checks are many and similar.
CROSS_CHECK_INTERVAL, CROSS_CHECK_ENTRIES = 4, 8


def run_point(
    options: CheckOptions,
    limits: Mapping[str, Any],
    first: SweepPoint,
    point: SweepPoint,
    unpacked: UnpackedBundle | None = None,
) -> Row:
    """Run one check; an error becomes a row without a verdict.

    The edge cases do not depend on the point, so only the check of each target at ``first`` includes them.

    Parameters
    ----------
    options : CheckOptions
        Its scheme and step are replaced by those of the point.
    limits : mapping of str to object
        ``call_timeout``, ``timeout`` and ``memory``, as in ``check``.
    first : SweepPoint
        ``Grid.first_point``.
    point : SweepPoint
        The settings of the check.
    unpacked : UnpackedBundle, optional
        Copy of the target on this machine, if the path of the target belongs to another one.
    """
    started = time.perf_counter()
    try:
        entries = 0 if point.key % CROSS_CHECK_INTERVAL else CROSS_CHECK_ENTRIES
        settings = replace(options, scheme=point.scheme, step=point.step, cross_check_entries=entries).as_dict()
        target, edge_cases = unpacked.target if unpacked else point.target, point == replace(first, target=point.target)
        with children.kept_for_next_check():
            result = check(point.draw(), target, **settings, **limits, edge_cases=edge_cases, explain=False)
        return Row.from_result(point, result)
    except (BncheckError, MemoryError) as error:
        message = str(error) or "out of memory"
        message = unpacked.to_local_paths(message, point.target) if unpacked else message
        return failed_row(point, message, time.perf_counter() - started)


def failed_row(point: SweepPoint, message: str, seconds: float = 0.0) -> Row:
    """Return the row of a check that could not run."""
    return Row(point, None, {}, 0, 0, 0, seconds, "", message.partition("\n")[0])


def run_grid(grid: Grid, pool: WorkerPool | None = None, *, done: Collection[int] = ()) -> Iterator[Row]:
    """Run the checks of a grid and yield each row as it is finished.

    Parameters
    ----------
    grid : Grid
        The points to check.
    pool : WorkerPool, optional
        The workers, which finish rows in any order; by default this process runs the checks in order.
    done : collection of int
        Keys of the points to skip.

    Yields
    ------
    Row
    """
    points = (point for point in grid.points() if point.key not in done)
    run_item = partial(run_point, grid.options, grid.limits, grid.first_point)
    on_give_up = partial(failed_row, message=f"the worker process crashed {MAX_ATTEMPTS} times on this check")
    try:
        yield from map(run_item, points) if pool is None else run_unordered(run_item, points, pool, on_give_up)
    finally:
        children.terminate_idle()


def create_pool(grid: Grid, jobs: int, dask: str | None, warn: Callable[[str], None]) -> WorkerPool | None:
    """Create the workers of a sweep; None if this process runs the checks.

    Parameters
    ----------
    grid : Grid
        Its targets are sent to a Dask cluster.
    jobs : int
        Number of processes on this machine.
    dask : str or None
        Address of a Dask scheduler, whose workers replace these processes.
    warn : callable
        Called with a message when the sweep has to wait for the cluster.

    Raises
    ------
    InvalidInput
        The cluster cannot be used.
    """
    if dask is None:
        return ProcessPool(jobs) if jobs > 1 else None
    from bncheck.execution.dask_pool import DaskPool  # noqa: PLC0415 - asyncio and logging are only needed for Dask

    encode = partial(Row.to_dict, exact=True)
    return DaskPool(dask, grid.axes.get("target", (SweepPoint().target,)), warn, encode=encode, decode=Row.from_worker)


def sweep(
    *,
    jobs: int = 1,
    dask: str | None = None,
    engine: str = "local",
    only: Iterable[str] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    call_timeout: float = 60.0,
    timeout: float = 600.0,
    memory: str | int | None = None,
    **axes: Any,
) -> Iterator[Row]:
    """Run a check for every combination of settings and yield each row as it is finished.

    Parameters
    ----------
    jobs : int, default 1
        Number of worker processes; several of them finish rows in any order.
    dask : str, optional
        Address of a Dask scheduler whose workers run the checks, such as "tcp://10.0.0.1:8786".
    engine, only, rtol, atol, call_timeout, timeout, memory
        Options of ``check``, shared by all checks.
    **axes
        A value or a sequence of values for target, N, D, H, bn_eps, x_mean, x_std, seed, scheme and step.

    Yields
    ------
    Row
        For example with .point, .verdict, .gradients["dW"].digits and .reproduce.

    Raises
    ------
    InvalidInput
        An axis is unknown, has no values or an invalid one; or the Dask cluster cannot be used.
    """
    lists = {axis: v if isinstance(v, Iterable) and not isinstance(v, str) else (v,) for axis, v in axes.items()}
    values = {axis: tuple(os.fspath(v) if isinstance(v, os.PathLike) else v for v in vs) for axis, vs in lists.items()}
    limits = {"call_timeout": call_timeout, "timeout": timeout, "memory": memory}
    grid = Grid(values, CheckOptions(engine=engine, only=parse_gradient_names(only), rtol=rtol, atol=atol), limits)
    return run_grid(grid, create_pool(grid, jobs, dask, warnings.warn))
