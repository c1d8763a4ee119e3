"""What theory says of an error against the step: the two slopes, and the step that is taken by itself."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bncheck.errors import InvalidInput
from bncheck.model.results import Verdict
from bncheck.numerical.basepoint import BasePoint
from bncheck.numerical.schemes import Scheme
from bncheck.numerical.steps import automatic_steps
from bncheck.sweeps.aggregate import Aggregate, SweepSummary
from bncheck.sweeps.sweep import SweepPoint

# Slopes are measured over this factor of the step at least, and within so much, or this share, of theory they
# show it: rounding scatters the error of a step by a factor of about two, and other powers come in.
APART, LOOSE, SHARE = 5.0, 0.3, 0.1
# A slope is drawn so many times above the errors that show it.
ABOVE = 4.0
# Of problems with larger arrays the automatic step is not computed for a picture.
MOST_ENTRIES = 1_000_000

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
PROBLEM = ("N", "D", "H", "bn_eps", "x_mean", "x_std", "seed")


@dataclass(frozen=True, slots=True)
class SlopeLine:
    """A power of the step that the error goes with, between two steps."""

    steps: tuple[float, float]  # the smaller first
    factor: float
    power: int
    label: str

    def error(self, step: float) -> float:
        """Return the error that the guide has at a step."""
        return float(self.factor * step**self.power)


@dataclass(frozen=True, slots=True)
class Automatic:
    """The automatic steps of a problem's inputs, one for each column or feature."""

    smallest: float
    median: float
    largest: float


def slope_lines(cells: Mapping[Any, Aggregate], scheme: Scheme) -> Iterator[SlopeLine]:
    """Yield the slopes that the worst right gradient shows: truncation above its best step, rounding below."""
    points = sorted((step, e) for step, c in cells.items() if not isinstance(step, str) and (e := _worst(c)) > 0)
    if not points:
        return
    best = min(range(len(points)), key=lambda i: points[i][1])
    above = _guide(points[best:], scheme.order, f"step{_exponent(scheme.order)}")
    below = _guide(points[: best + 1], -1, "u/step") if scheme.rounding else None
    yield from filter(None, (above, below))


def _exponent(power: int) -> str:
    """Write a positive power as a superscript; nothing for the power 1."""
    return str(power).translate(SUPERSCRIPTS) if power > 1 else ""


def _worst(cell: Aggregate) -> float:
    """Return the largest error of a gradient that is not wrong; 0 where there is none."""
    right = [name for name in cell.gradients if cell.verdict_of(name) is not Verdict.FAIL]
    errors = [cell.gradients[name].error or 0.0 for name in right]
    return max(filter(math.isfinite, errors), default=0.0)


def _guide(points: Sequence[tuple[float, float]], power: int, label: str) -> SlopeLine | None:
    """Return the guide along those points between which the error goes with that power of the step."""
    fitting = []
    for number, (step, error) in enumerate(points):
        far, more = next(((s, e) for s, e in points[number + 1 :] if s >= APART * step), (0.0, 0.0))
        if far and abs(math.log(more / error) / math.log(far / step) - power) <= max(LOOSE, SHARE * power):
            fitting += [(step, error), (far, more)]
    if not fitting:
        return None
    steps = [step for step, _ in fitting]
    return SlopeLine((min(steps), max(steps)), ABOVE * max(e / s**power for s, e in fitting), power, label)


def automatic(tally: SweepSummary, scheme: Scheme) -> Automatic | None:
    """Return the automatic steps of the problem of all rows; None where they have several, or a large one."""
    if any(len(tally.values[axis]) != 1 for axis in PROBLEM):
        return None
    point = SweepPoint(**{axis: next(iter(tally.values[axis])) for axis in PROBLEM})
    if max(point.N * point.D, point.D * point.H, point.N * point.H) > MOST_ENTRIES:
        return None
    try:
        with np.errstate(all="ignore"):  # a problem that no check could be made of either
            found = automatic_steps(BasePoint.from_problem(point.draw()), scheme)
    except InvalidInput:
        return None
    steps = np.concatenate([step.ravel() for step in found.values()])
    return Automatic(float(steps.min()), float(np.median(steps)), float(steps.max()))
