"""What theory predicts for the error against the step: two slopes, and the automatic step."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bncheck.errors import InvalidInput
from bncheck.model.verdict import Verdict
from bncheck.numerical.basepoint import BasePoint
from bncheck.numerical.plan import automatic_steps
from bncheck.numerical.schemes import Scheme
from bncheck.sweeps.aggregate import Aggregate, SweepSummary
from bncheck.sweeps.grid import SweepPoint

# A slope is measured between two steps at least this factor apart. It matches theory if it differs by at most
# MAX_SLOPE_ERROR or this fraction of the slope: rounding errors scatter by a factor of about two.
MIN_STEP_RATIO, MAX_SLOPE_ERROR, MAX_RELATIVE_SLOPE_ERROR = 5.0, 0.3, 0.1
# A slope is drawn above the errors that show it, by this factor.
LINE_OFFSET = 4.0
# The automatic step of a problem with larger arrays is not computed for a plot.
MAX_ARRAY_ENTRIES = 1_000_000

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
PROBLEM_AXES = ("N", "D", "H", "bn_eps", "x_mean", "x_std", "seed")


@dataclass(frozen=True, slots=True)
class SlopeLine:
    """A power law of the error between two steps."""

    steps: tuple[float, float]  # the smaller first
    factor: float
    power: int
    label: str

    def error(self, step: float) -> float:
        """Return the error that the line has at a step."""
        return float(self.factor * step**self.power)


@dataclass(frozen=True, slots=True)
class AutomaticSteps:
    """The automatic steps of all inputs of a problem."""

    smallest: float
    median: float
    largest: float


def slope_lines(cells: Mapping[Any, Aggregate], scheme: Scheme) -> Iterator[SlopeLine]:
    """Yield the slopes that the worst correct gradient shows: truncation above its best step, rounding below."""
    points = sorted((step, e) for step, c in cells.items() if not isinstance(step, str) and (e := _worst_error(c)) > 0)
    if not points:
        return
    best = min(range(len(points)), key=lambda i: points[i][1])
    exponent = str(scheme.order).translate(SUPERSCRIPTS) if scheme.order > 1 else ""
    truncation = _fit_slope(points[best:], scheme.order, f"step{exponent}")
    rounding = _fit_slope(points[: best + 1], -1, "u/step") if scheme.rounding else None
    yield from filter(None, (truncation, rounding))


def _worst_error(cell: Aggregate) -> float:
    """Return the largest error of a gradient that does not fail; 0 if there is none."""
    names = [name for name in cell.gradients if cell.verdict_of(name) is not Verdict.FAIL]
    errors = [cell.gradients[name].error or 0.0 for name in names]
    return max(filter(math.isfinite, errors), default=0.0)


def _fit_slope(points: Sequence[tuple[float, float]], power: int, label: str) -> SlopeLine | None:
    """Return the line over the points whose error grows with a power of the step; None if there are none."""
    matching = []
    for number, (step, error) in enumerate(points):
        distant = next(((s, e) for s, e in points[number + 1 :] if s >= MIN_STEP_RATIO * step), None)
        if distant is None:
            continue
        slope = math.log(distant[1] / error) / math.log(distant[0] / step)
        if abs(slope - power) <= max(MAX_SLOPE_ERROR, MAX_RELATIVE_SLOPE_ERROR * power):
            matching += [(step, error), distant]
    if not matching:
        return None
    steps = [step for step, _ in matching]
    return SlopeLine((min(steps), max(steps)), LINE_OFFSET * max(e / s**power for s, e in matching), power, label)


def automatic_steps_of(summary: SweepSummary, scheme: Scheme) -> AutomaticSteps | None:
    """Return the automatic steps of the problem of all rows; None if there are several problems, or a large one."""
    if any(len(summary.cells[axis]) != 1 for axis in PROBLEM_AXES):
        return None
    point = SweepPoint(**{axis: next(iter(summary.cells[axis])) for axis in PROBLEM_AXES})
    if max(a * b for a, b in itertools.combinations((point.N, point.D, point.H), 2)) > MAX_ARRAY_ENTRIES:
        return None
    try:
        with np.errstate(all="ignore"):  # a problem on which no check can run
            by_input = automatic_steps(BasePoint.from_problem(point.draw()), scheme)
    except InvalidInput:
        return None
    steps = np.concatenate([step.ravel() for step in by_input.values()])
    return AutomaticSteps(float(steps.min()), float(np.median(steps)), float(steps.max()))
