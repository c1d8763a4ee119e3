"""Many checks: a grid of problems, methods and targets, as rows that come as they are done."""

import hashlib
import itertools
import json
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from multiprocessing import resource_tracker
from typing import Any

import numpy as np

from bncheck import network
from bncheck.check import check
from bncheck.errors import BncheckError, InvalidInput
from bncheck.method import Method, gradients_named
from bncheck.numerical.measure import prepare
from bncheck.numerical.schemes import scheme_named
from bncheck.pieces import NETWORK
from bncheck.problem import USUAL, FloatArray, Problem, random_problem, require_settings
from bncheck.progress import silent
from bncheck.results import CheckResult, Verdict
from bncheck.targets import BUILT_IN

SCHEMA = "bncheck-sweep/1"

# A check that ended its worker so often is not tried again.
MOST_TRIES = 3
# Checks handed out and not yet done, for each worker: enough to keep it busy.
IN_FLIGHT = 4
# Truncation is seen at the largest steps.
MOST_STEPS = 10
# Threads of a matrix product in each worker, by the variable that each BLAS reads.
THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True, slots=True)
class Point:
    """One check of a sweep: everything that may vary."""

    target: str = "reference"
    N: int = 64
    D: int = 100
    H: int = 50
    bn_eps: float = 1e-5
    x_mean: float = 0.0
    x_std: float = 1.0
    seed: int = 0
    scheme: str = "central"
    step: float | str = "auto"

    @property
    def problem(self) -> "Point":
        """The same for every scheme and step: what a problem passes or does not pass at."""
        return replace(self, scheme="", step="")

    @property
    def key(self) -> int:
        """A number that stands for it, small to keep."""
        return int.from_bytes(hashlib.blake2b(repr(self).encode(), digest_size=8).digest(), "big")


AXES = tuple(Point.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Found:
    """What a row keeps of one gradient."""

    norm_relative_error: float | None  # None for a gradient that is exactly 0, as it must be
    of_tolerance: float
    resolution: float

    @property
    def digits(self) -> float:
        """Correct digits of the gradient as a whole."""
        error = self.norm_relative_error
        if error is None:
            return math.inf
        return -math.log10(max(error, 1e-17)) if math.isfinite(error) else 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """One check, done: self-contained, and small."""

    point: Point
    verdict: Verdict | None  # None: it failed to run
    gradients: Mapping[str, Found]
    checked: int
    wrong: int
    guarded: int
    seconds: float
    reproduce: str
    said: str  # why it is no pass, or did not run

    @classmethod
    def of(cls, point: Point, result: CheckResult) -> "Row":
        """Return the row of a result."""
        gradients = {
            key: Found(None if g.zero and not g.wrong else g.norm_relative_error, g.of_tolerance, g.resolution)
            for key, g in result.gradients.items()
        }
        reasons = [reason for g in result.gradients.values() for reason in g.reasons]
        wrong = sum(f.wrong for f in result.forward) + sum(g.wrong for g in result.gradients.values())
        said = (*[f.note for f in result.forward if f.note], *reasons, "")[0]
        return cls(
            point, result.verdict, gradients, result.checked, wrong, result.kinks.guarded, result.seconds,
            result.reproduce or "", said,
        )  # fmt: skip

    def line(self, sweep: str) -> str:
        """Return it as a line of JSON of that sweep's file, without the line's end."""
        told = self.to_dict()
        return json.dumps({"schema": told.pop("schema"), "sweep": sweep, **told}, allow_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of its JSON; numbers of gradients to four digits."""
        gradients = {
            key: [_short(f.norm_relative_error), _short(f.of_tolerance), _short(f.resolution)]
            for key, f in self.gradients.items()
        }
        content = {"schema": SCHEMA, **asdict(self.point)}
        content |= {"verdict": self.verdict and self.verdict.value, "gradients": gradients, "checked": self.checked}
        content |= {"wrong": self.wrong, "guarded": self.guarded, "seconds": _short(self.seconds)}
        return content | {"reproduce": self.reproduce, "said": self.said[:200]}

    @classmethod
    def parsed(cls, content: Mapping[str, Any]) -> "Row":
        """Return the row that a parsed line holds."""
        point = Point(**{axis: content[axis] for axis in AXES})
        verdict = Verdict(content["verdict"]) if content["verdict"] else None
        gradients = {
            key: Found(None if error is None else float(error), float(share), float(resolution))
            for key, (error, share, resolution) in content["gradients"].items()
        }
        kept = (content[name] for name in ("checked", "wrong", "guarded", "seconds", "reproduce", "said"))
        return cls(point, verdict, gradients, *kept)


def _short(value: float | None) -> float | str | None:
    """Return a number with four digits, and one that JSON cannot hold by its name."""
    if value is None:
        return None
    return float(f"{value:.3e}") if math.isfinite(value) else str(value)


@dataclass(frozen=True, slots=True)
class Grid:
    """The axes of a sweep and what is the same for all of it."""

    axes: Mapping[str, Sequence[Any]]  # by the field of Point; what is not named has its default
    method: Method  # engine, sample, only, rtol and atol; scheme and step are the points'
    probes: bool = False
    timeout: float = 60.0

    def __post_init__(self) -> None:
        """Refuse unknown axes and empty ones.

        Raises
        ------
        InvalidInput
        """
        for axis, values in self.axes.items():
            if axis not in AXES:
                raise InvalidInput(f"no axis {axis!r}; there are {', '.join(AXES)}")
            if not values:
                raise InvalidInput(f"the axis {axis} has no values")
            for value in values:
                _require(axis, value)

    def __len__(self) -> int:
        """Return how many checks it is."""
        return math.prod(len(dict.fromkeys(values)) for values in self.axes.values())

    def points(self) -> Iterator[Point]:
        """Yield the checks, the last axis fastest; a value named twice counts once."""
        for values in itertools.product(*(dict.fromkeys(values) for values in self.axes.values())):
            yield Point(**dict(zip(self.axes, values, strict=True)))

    @property
    def name(self) -> str:
        """What a row of this sweep is known by: the same axes and method, the same name."""
        axes = {axis: list(self.axes.get(axis, [Point.__dataclass_fields__[axis].default])) for axis in AXES}
        told = json.dumps([axes, asdict(self.method), self.probes], sort_keys=True)
        return hashlib.blake2b(told.encode(), digest_size=6).hexdigest()


def _require(axis: str, value: Any) -> None:
    """Refuse a value that no check can have; what only some combinations cannot have makes rows."""
    if axis == "scheme":
        scheme_named(value)
    elif axis == "step":
        Method(step=value)
    elif axis != "target":
        settings = {"N": 2, "D": 1, "H": 1, "seed": 0, **USUAL, axis: value}
        require_settings(**settings)


def run_point(grid: Grid, point: Point) -> Row:
    """Do one check; one that fails to run is a row that says so."""
    started = time.perf_counter()
    p, m = point, grid.method
    try:
        problem = random_problem(
            p.N, p.D, p.H, seed=p.seed, bn_eps=p.bn_eps, x_mean=p.x_mean, x_std=p.x_std
        )  # fmt: skip
        result = check(
            problem, p.target, scheme=p.scheme, step=p.step, engine=m.engine, sample=m.sample, only=m.only,
            rtol=m.rtol, atol=m.atol, probes=grid.probes, timeout=grid.timeout, explain=False,
            audit=0 if p.key % AUDITED else AUDIT,
        )  # fmt: skip
        return Row.of(point, result)
    except BncheckError as error:
        return _not_run(point, str(error), time.perf_counter() - started)


def _not_run(point: Point, said: str, seconds: float = 0.0) -> Row:
    return Row(point, None, {}, 0, 0, 0, seconds, "", said.split("\n", maxsplit=1)[0])


# One check in so many is audited by whole forward passes, whichever order they come in, and on so
# many entries; a run by itself takes up to 64 each time.
AUDITED, AUDIT = 4, 8


def run_grid(
    grid: Grid, *, jobs: int = 1, done: Collection[int] = (), executors: Callable[[], Executor] | None = None
) -> Iterator[Row]:
    """Yield the rows of a grid as they are done, but for the points whose keys are in ``done``.

    With one job in this process; otherwise by what ``executors`` makes, by default a pool of
    processes. A worker that dies breaks its whole pool: the pool is made anew and what was
    not finished goes again.
    """
    points = (point for point in grid.points() if point.key not in done)
    if jobs == 1 and executors is None:
        yield from (run_point(grid, point) for point in points)
        return
    with one_thread_each():
        yield from _by_executor(grid, points, executors or (lambda: pool(jobs)), jobs * IN_FLIGHT)


def _by_executor(grid: Grid, points: Iterator[Point], executors: Callable[[], Executor], most: int) -> Iterator[Row]:
    tries: dict[Point, int] = {}  # of what is handed out
    again: list[Point] = []
    executor, futures = executors(), dict[Future[Row], Point]()
    try:
        while True:
            # After a death one at a time, until it is known whose it was.
            suspects = again or any(tries[point] > 1 for point in futures.values())
            free = (1 if suspects else most) - len(futures)
            for point in itertools.islice(itertools.chain(_emptied(again), points), max(free, 0)):
                tries[point] = tries.get(point, 0) + 1
                with born_deaf():
                    futures[executor.submit(run_point, grid, point)] = point
            if not futures:
                return
            finished, _ = wait(futures, return_when=FIRST_COMPLETED)
            broken = False
            for future in finished:
                point = futures.pop(future)
                try:
                    row = future.result()
                except BrokenExecutor:
                    broken = True
                    if tries[point] < MOST_TRIES:
                        again.append(point)
                        continue
                    row = _not_run(point, f"its worker died {MOST_TRIES} times")
                del tries[point]
                yield row
            if broken:
                again += futures.values()
                futures.clear()
                executor.shutdown(wait=False, cancel_futures=True)
                executor = executors()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _emptied(points: list[Point]) -> Iterator[Point]:
    while points:
        yield points.pop()


def pool(jobs: int) -> Executor:
    """Return an executor of so many fresh processes."""
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_deaf)


@contextmanager
def born_deaf() -> Iterator[None]:
    """Let processes that are started now not hear Ctrl-C, from their first moment: it stays blocked in them.

    Here it is delivered afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # the first worker would start it, and that unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _deaf() -> None:
    """Leave Ctrl-C, which a terminal sends to all, to the process that hands out the work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def observed_orders(grid: Grid) -> dict[str, dict[str, float]]:
    """Return with which power of the step the error of bncheck's own network falls, by scheme and gradient.

    One problem is guarded for the largest step, so that every step differentiates the same loss.
    Read off where truncation is well above rounding, at the smallest such steps.
    """
    steps = sorted({s for s in grid.axes.get("step", ()) if not isinstance(s, str)}, reverse=True)[:MOST_STEPS]
    point = next(grid.points())
    if len(steps) < 2 or point.target not in BUILT_IN:
        return {}
    problem = random_problem(
        point.N, point.D, point.H, seed=point.seed, bn_eps=point.bn_eps, x_mean=point.x_mean, x_std=point.x_std
    )  # fmt: skip
    orders = {}
    for scheme in dict.fromkeys(grid.axes.get("scheme", ("central",))):
        usable = [s for s in steps if prepare(problem, NETWORK, Method(scheme, step=s), ()).kinks.dead_units == 0]
        if len(usable) < 2:
            continue
        inputs = [name for name in NETWORK.inputs if f"d{name}" in grid.method.only]
        guarded = prepare(problem, NETWORK, Method(scheme, step=usable[0]), ()).problem
        _, cache = network.forward(guarded.X, guarded.W, guarded.b, guarded.gamma, guarded.beta, guarded.bn_eps)
        truth = network.backward(guarded.dout, cache)
        errors = [_errors(guarded, Method(scheme, step=s), inputs, truth) for s in usable]
        found = {f"d{name}": _order(usable, [error[name] for error in errors]) for name in inputs}
        orders[scheme] = {name: order for name, order in found.items() if order is not None}
    return {scheme: found for scheme, found in orders.items() if found}


def _errors(
    problem: Problem, method: Method, inputs: Sequence[str], truth: Mapping[str, FloatArray]
) -> dict[str, tuple[float, float]]:
    """Return the norm of each gradient's error, and what of it rounding may make."""
    ground = prepare(problem, NETWORK, method, inputs)
    values = ground.local(silent)
    bars = ground.bars
    return {
        name: (
            float(np.linalg.norm(values[name] - truth[f"d{name}"])),
            float(np.linalg.norm(np.broadcast_to(bars.rounding[name] + bars.conditioning[name], values[name].shape))),
        )
        for name in inputs
    }


def _order(steps: Sequence[float], errors: Sequence[tuple[float, float]]) -> float | None:
    above = [(s, e) for s, (e, rounding) in zip(steps, errors, strict=True) if e > rounding > 0]
    if len(above) < 2:
        return None
    (larger, more), (smaller, less) = above[-2:]
    return math.log(more / less) / math.log(larger / smaller)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let workers that are started now use one thread each; several would fight for the cores."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def sweep(
    *,
    jobs: int = 1,
    engine: str = "local",
    only: Iterable[str] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    **axes: Any,
) -> Iterator[Row]:
    """Check a grid, and yield a row for each check as it is done.

    Parameters
    ----------
    jobs : int, default 1
        Processes; with several, rows come in whatever order they are done.
    engine, only, rtol, atol
        As for ``check``.
    **axes
        target, N, D, H, bn_eps, x_mean, x_std, seed, scheme, step: a value or a sequence of values.

    Yields
    ------
    Row
        With .point, .verdict, .gradients["dW"].digits, .reproduce.

    Raises
    ------
    InvalidInput
        There is no such axis, or it has no values.
    """
    listed = {
        axis: tuple(v) if isinstance(v, Iterable) and not isinstance(v, str) else (v,) for axis, v in axes.items()
    }
    grid = Grid(listed, Method(engine=engine, only=gradients_named(only), rtol=rtol, atol=atol))
    return run_grid(grid, jobs=jobs)
