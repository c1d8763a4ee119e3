"""Many checks: a grid of problems, methods and targets, as rows that come as they are done."""

import hashlib
import itertools
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from bncheck.checking.check import check
from bncheck.checking.target_check import NOT_ASKED_FOR
from bncheck.errors import BncheckError, InvalidInput
from bncheck.execution.pool import ProcessPool, WorkerPool, run_unordered
from bncheck.model.options import CheckOptions, parse_gradient_names
from bncheck.model.problem import PROBLEM_DEFAULTS, Problem, random_problem, require_settings
from bncheck.model.results import CheckResult, GradientResult, Verdict
from bncheck.numerical.schemes import get_scheme
from bncheck.targets.bundle import UnpackedBundle

SCHEMA = "bncheck-sweep/1"


@dataclass(frozen=True, slots=True)
class SweepPoint:
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
    def problem(self) -> "SweepPoint":
        """The same for every scheme and step: what a problem passes or does not pass at."""
        return replace(self, scheme="", step="")

    def draw(self) -> Problem:
        """Return the problem with its arrays.

        Raises
        ------
        InvalidInput
            There is none with these settings.
        """
        settings = {"bn_eps": self.bn_eps, "x_mean": self.x_mean, "x_std": self.x_std}
        return random_problem(self.N, self.D, self.H, seed=self.seed, **settings)

    def can_be_drawn(self) -> bool:
        """Tell whether there is a problem with these settings."""
        try:
            self.draw()
        except InvalidInput:
            return False
        return True

    @property
    def key(self) -> int:
        """A number that stands for it, small to keep."""
        return int.from_bytes(hashlib.blake2b(repr(self).encode(), digest_size=8).digest(), "big")


AXES = tuple(SweepPoint.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class GradientSummary:
    """What a row keeps of one gradient."""

    norm_relative_error: float | None  # None for a gradient that is exactly 0, as it must be
    tolerance_ratio: float
    resolution: float
    relative_error_bound: (
        float  # what the error bars allow of the norm relative error; NaN: not kept, by an older version
    )

    @property
    def digits(self) -> float:
        """Correct digits of the gradient as a whole."""
        return digits_of(self.norm_relative_error)


# Points that are tried for one that can be drawn.
MAX_FIRST_POINTS = 64
# A norm relative error under this is none: float64 holds no 17 digits.
MIN_RELATIVE_ERROR = 1e-17


def digits_of(error: float | None) -> float:
    """Return the correct digits that a norm relative error leaves; None: of a gradient that is exactly 0."""
    if error is None:
        return math.inf
    return -math.log10(max(error, MIN_RELATIVE_ERROR)) if math.isfinite(error) else 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """One check, done: self-contained, and small."""

    point: SweepPoint
    verdict: Verdict | None  # None: it failed to run
    gradients: Mapping[str, GradientSummary]
    checked: int
    wrong: int
    excluded: int
    seconds: float
    reproduce: str
    message: str  # why it is no pass, or did not run
    notes: tuple[str, ...] = ()  # what was remarked, and what of the target was not checked

    @classmethod
    def from_result(cls, point: SweepPoint, result: CheckResult) -> "Row":
        """Return the row of a result."""
        gradients = {
            key: GradientSummary(
                None if g.exact_zero and not g.wrong else g.norm_relative_error,
                g.tolerance_ratio,
                g.resolution,
                _bar(g),
            )
            for key, g in result.gradients.items()
        }
        reasons = [reason for g in result.gradients.values() for reason in g.reasons]
        reasons += [f"{n.function} {n.reason}".split("\n", maxsplit=1)[0] for n in result.unchecked_functions]
        wrong = sum(f.wrong for f in result.forward) + sum(g.wrong for g in result.gradients.values())
        unlike = [probe for probe in result.edge_cases if probe.verdict is not Verdict.PASS]
        on_edge_cases = [f"edge case {probe.name}: {', '.join(probe.failed)}" for probe in unlike]
        if not wrong:  # the edge cases first, if they alone make it a failure
            reasons = [*on_edge_cases, *reasons] if result.verdict is Verdict.FAIL else [*reasons, *on_edge_cases]
        said = (*[f.message for f in result.forward if f.message], *reasons, "")[0]
        return cls(
            point, result.verdict, gradients, result.checked, wrong, result.kink_exclusion.excluded, result.seconds,
            result.options.command(result.problem, point.target) or "", said, _notes(result),
        )  # fmt: skip

    def line(self, sweep: str) -> str:
        """Return it as a line of JSON of that sweep's file, without the line's end."""
        told = self.to_dict()
        return json.dumps({"schema": told.pop("schema"), "sweep": sweep, **told}, allow_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of its JSON; numbers of gradients to four digits."""
        gradients = {
            key: [
                _short(f.norm_relative_error),
                _short(f.tolerance_ratio),
                _short(f.resolution),
                _short(f.relative_error_bound, 1),
            ]
            for key, f in self.gradients.items()
        }
        content = {"schema": SCHEMA, **asdict(self.point)}
        content |= {"verdict": self.verdict and self.verdict.value, "gradients": gradients, "checked": self.checked}
        content |= {"wrong": self.wrong, "guarded": self.excluded, "seconds": _short(self.seconds)}
        return content | {"reproduce": self.reproduce, "said": self.message[:200], "notes": list(self.notes)}

    @property
    def rounded(self) -> "Row":
        """The row as its line gives it back: what is made of rows is the same from a file of them."""
        return Row.from_dict(self.to_dict())

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Row":
        """Return the row that a parsed line holds."""
        point = SweepPoint(**{axis: content[axis] for axis in AXES})
        verdict = Verdict(content["verdict"]) if content["verdict"] else None
        gradients = {
            key: GradientSummary(None if error is None else float(error), *map(float, (*rest, "nan")[:3]))
            for key, (error, *rest) in content["gradients"].items()
        }
        kept = {name: content[name] for name in ("checked", "wrong", "seconds", "reproduce")}
        kept |= {"excluded": content["guarded"], "message": content["said"]}
        notes = tuple(content.get("notes", ()))  # older files have none
        return cls(point, verdict, gradients, **kept, notes=notes)


def _notes(result: CheckResult) -> tuple[str, ...]:
    """Return what was remarked of a check, and what was not checked, a line each."""
    remarks = [remark.text for remark in result.notes if remark.code != "low-resolution"]
    left_out = [  # the edge cases are a part of another row
        f"not checked: {item.function}: {item.reason}" for item in result.not_checked if item.reason != NOT_ASKED_FOR
    ]
    return (*remarks, *left_out)


def _bar(gradient: GradientResult) -> float:
    """Return ||error bar|| / ||n||, over the entries that were checked."""
    known = np.isfinite(gradient.numerical)
    whole = float(np.linalg.norm(gradient.numerical[known]))
    return float(np.linalg.norm(gradient.error_bound[known])) / whole if whole else math.inf


def _short(value: float | None, decimals: int = 3) -> float | str | None:
    """Return a number with so many decimals of its power of ten, and one that JSON cannot hold by its name."""
    if value is None:
        return None
    return float(f"{value:.{decimals}e}") if math.isfinite(value) else str(value)


@dataclass(frozen=True, slots=True)
class Grid:
    """The axes of a sweep and what is the same for all of it."""

    axes: Mapping[str, Sequence[Any]]  # by the field of Point; what is not named has its default
    method: CheckOptions  # engine, sample, only, rtol and atol; scheme and step are the points'
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

    def points(self) -> Iterator[SweepPoint]:
        """Yield the checks, the last axis fastest; a value named twice counts once."""
        for values in itertools.product(*(dict.fromkeys(values) for values in self.axes.values())):
            yield SweepPoint(**dict(zip(self.axes, values, strict=True)))

    @property
    def first(self) -> SweepPoint:
        """The first check that can be done; that of each target, which includes the edge cases, has its settings."""
        some = itertools.islice(self.points(), MAX_FIRST_POINTS)
        return next(filter(SweepPoint.can_be_drawn, some), next(self.points()))

    @property
    def name(self) -> str:
        """What a row of this sweep is known by: the same axes and method, the same name."""
        axes = {axis: list(self.axes.get(axis, [SweepPoint.__dataclass_fields__[axis].default])) for axis in AXES}
        told = json.dumps([axes, asdict(self.method)], sort_keys=True)
        return hashlib.blake2b(told.encode(), digest_size=6).hexdigest()


def _require(axis: str, value: Any) -> None:
    """Refuse a value that no check can have; what only some combinations cannot have makes rows."""
    if axis == "scheme":
        get_scheme(value)
    elif axis == "step":
        CheckOptions(step=value)
    elif axis == "target":
        if not isinstance(value, str):
            raise InvalidInput(f"target is {value!r}; a sweep takes the names of files and modules")
    else:
        settings = {"N": 2, "D": 1, "H": 1, "seed": 0, **PROBLEM_DEFAULTS, axis: value}
        require_settings(**settings)


def run_point(
    method: CheckOptions, timeout: float, first: SweepPoint, point: SweepPoint, unpacked: UnpackedBundle | None = None
) -> Row:
    """Do one check; one that fails to run is a row that says so.

    The edge cases do not depend on the point, and so they are a part of the ``first`` check of each target alone.
    ``unpacked`` is where the target is on this machine, if that is not what the row is to call it.
    """
    started = time.perf_counter()
    p, m = point, method
    try:
        result = check(
            p.draw(), unpacked.target if unpacked else p.target, scheme=p.scheme, step=p.step, engine=m.engine,
            sample=m.sample, only=m.only, rtol=m.rtol, atol=m.atol,
            edge_cases=p == replace(first, target=p.target), timeout=timeout,
            explain=False, cross_check_entries=0 if p.key % CROSS_CHECK_INTERVAL else CROSS_CHECK_ENTRIES,
        )  # fmt: skip
        return Row.from_result(point, result)
    except BncheckError as error:
        said = unpacked.to_local_paths(str(error), p.target) if unpacked else str(error)
        return failed_row(point, said, time.perf_counter() - started)


def failed_row(point: SweepPoint, said: str, seconds: float = 0.0) -> Row:
    """Return the row of a check that did not run, and why."""
    return Row(point, None, {}, 0, 0, 0, seconds, "", said.split("\n", maxsplit=1)[0])


# One check in so many is audited by whole forward passes, whichever order they come in, and on so
# many entries; a run by itself takes up to 64 each time.
CROSS_CHECK_INTERVAL, CROSS_CHECK_ENTRIES = 4, 8


def run_grid(grid: Grid, workers: WorkerPool | None = None, *, done: Collection[int] = ()) -> Iterator[Row]:
    """Yield the rows of a grid as they are done, but for the points whose keys are in ``done``.

    In this process, in order; or by ``workers``, in whatever order they are done.
    """
    points = (point for point in grid.points() if point.key not in done)
    work = partial(run_point, grid.method, grid.timeout, grid.first)
    return map(work, points) if workers is None else run_unordered(work, points, workers, failed_row)


def create_pool(grid: Grid, jobs: int, dask: str | None, warn: Callable[[str], None]) -> WorkerPool | None:
    """Return those that do a grid's checks: a cluster's, processes, or with one job nobody else.

    Raises
    ------
    InvalidInput
        The cluster cannot be used.
    """
    if dask is not None:
        from bncheck.execution.dask_pool import DaskPool  # noqa: PLC0415 - few sweeps leave the machine

        return DaskPool(dask, grid.axes.get("target", (SweepPoint().target,)), warn)
    return ProcessPool(jobs) if jobs > 1 else None


def sweep(
    *,
    jobs: int = 1,
    dask: str | None = None,
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
    dask : str, optional
        The address of a Dask scheduler, whose workers do the checks instead: "tcp://10.0.0.1:8786".
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
        There is no such axis, or it has no values; or the Dask cluster cannot be used.
    """
    listed = {
        axis: tuple(v) if isinstance(v, Iterable) and not isinstance(v, str) else (v,) for axis, v in axes.items()
    }
    if "target" in listed:
        listed["target"] = tuple(os.fspath(v) if isinstance(v, os.PathLike) else v for v in listed["target"])
    grid = Grid(listed, CheckOptions(engine=engine, only=parse_gradient_names(only), rtol=rtol, atol=atol))
    return run_grid(grid, create_pool(grid, jobs, dask, warnings.warn))
