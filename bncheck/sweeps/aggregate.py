"""The aggregation of a sweep, row by row: its size depends on the number of axis values, not of rows."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from bncheck.model.verdict import Verdict
from bncheck.sweeps.grid import AXES, SweepPoint
from bncheck.sweeps.rows import GradientSummary, Row, correct_digits

# Values of an axis that are listed one by one; later values only count in the total.
MAX_LISTED_VALUES = 64
# Failed rows that are kept for the report.
MAX_FAILED_ROWS = 5
# If more than two axes vary, only these pairs of axes have a table; if exactly two vary, they always have one.
AXIS_PAIRS = {("scheme", "step"), ("target", "step")}


@dataclass(slots=True)
class GradientAggregate:
    """One gradient in some rows: the worst verdict, the largest error and the largest error bound."""

    verdict: Verdict = Verdict.PASS
    error: float | None = None  # norm relative error; None: no row, or exactly 0 in every row, as expected
    relative_error_bound: float = 0.0  # NaN: unknown in some row

    def add(self, gradient: GradientSummary) -> None:
        """Include the gradient of another row."""
        if gradient.verdict is not self.verdict:
            self.verdict = Verdict.worst((self.verdict, gradient.verdict))
        if gradient.norm_relative_error is not None:
            self.error = _max_or_nan(self.error or 0.0, gradient.norm_relative_error)
        self.relative_error_bound = _max_or_nan(self.relative_error_bound, gradient.relative_error_bound)


def _max_or_nan(a: float, b: float) -> float:
    """Return the larger number, or NaN if either is NaN."""
    return b if b > a or math.isnan(b) else a


@dataclass(slots=True)
class Durations:
    """How long some checks took, in integer nanoseconds, whose sum does not depend on the order."""

    count: int = 0
    total_ns: int = 0
    shortest_ns: int = 0
    longest_ns: int = 0

    def add(self, seconds: float) -> None:
        """Include the time of another check."""
        nanoseconds = round(1e9 * seconds)
        self.shortest_ns = min(nanoseconds, self.shortest_ns) if self.count else nanoseconds
        self.longest_ns = max(nanoseconds, self.longest_ns)
        self.count += 1
        self.total_ns += nanoseconds


@dataclass(slots=True)
class Aggregate:
    """Some rows of a sweep: the aggregate of each gradient, the number of rows by verdict, and the times."""

    gradients: dict[str, GradientAggregate] = field(default_factory=dict)
    verdicts: Counter[Verdict | None] = field(default_factory=Counter)  # number of rows; key None: could not run
    times: Durations = field(default_factory=Durations)  # of the checks that could run

    def add(self, row: Row) -> None:
        """Include another row."""
        self.verdicts[row.verdict] += 1
        for key, gradient in row.gradients.items():
            self.gradients.setdefault(key, GradientAggregate()).add(gradient)
        if row.verdict is not None:
            self.times.add(row.seconds)

    @property
    def digits(self) -> Mapping[str, float]:
        """Correct digits of each gradient in its worst row."""
        return {key: correct_digits(worst.error) for key, worst in self.gradients.items()}

    @property
    def min_digits(self) -> float:
        """Correct digits of the worst gradient; 0 if no check could run."""
        return min(self.digits.values(), default=0.0)

    @property
    def verdict(self) -> Verdict | None:
        """The worst verdict; None if a check could not run and no check failed."""
        if self.verdicts[None] and not self.verdicts[Verdict.FAIL]:
            return None
        return Verdict.worst(verdict for verdict in self.verdicts if verdict is not None)

    def verdict_of(self, gradient: str) -> Verdict:
        """Return the worst verdict of a gradient.

        If a check is inconclusive and no gradient is, the reason concerns all gradients: for example a cross-check
        that disagrees.
        """
        by_gradient = {worst.verdict for worst in self.gradients.values()}
        unexplained = self.verdicts[Verdict.INCONCLUSIVE] and Verdict.INCONCLUSIVE not in by_gradient
        return Verdict.worst((self.gradients[gradient].verdict, Verdict.INCONCLUSIVE if unexplained else Verdict.PASS))


def _sort_key(axis: str) -> Callable[[Any], tuple[bool, float, str]]:
    """Return the key that sorts the values of an axis: numbers, steps in descending order, then names."""
    sign = -1 if axis == "step" else 1
    return lambda value: (True, 0, value) if isinstance(value, str) else (False, sign * value, "")


class SweepSummary:
    """Aggregates of all rows, of the rows with each value of an axis, and of the rows with each pair of values.

    Pairs of values are aggregated for two axes if no other axis varies or ``AXIS_PAIRS`` contains them, unless an axis
    is truncated. A cell is the aggregate of one value or of one pair of values.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.total = Aggregate()
        self.cells: dict[str, dict[Any, Aggregate]] = {axis: {} for axis in AXES}  # by axis and value
        self.truncated_axes: set[str] = set()  # axes with more than MAX_LISTED_VALUES values
        self.failed_rows: list[Row] = []  # at most MAX_FAILED_ROWS that failed or could not run, sorted by point
        self.notes: dict[str, dict[str, None]] = {}  # the targets that each note concerns, as an ordered set
        self._pair_cells: dict[tuple[str, str], dict[tuple[Any, Any], Aggregate]] = {}
        self._problem_keys: set[int] = set()
        self._passed_problem_keys: set[int] = set()  # problems that pass with at least one scheme and step
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Include another row."""
        self._update_pair_tables(row.point)
        self.total.add(row)
        self._add_to_axes(row)
        for (first, second), cells in self._pair_cells.items():
            cells.setdefault((getattr(row.point, first), getattr(row.point, second)), Aggregate()).add(row)
        for note in row.notes:
            if note in self.notes or len(self.notes) < MAX_LISTED_VALUES:
                self.notes.setdefault(note, {})[row.point.target] = None
        if row.verdict in (Verdict.FAIL, None):
            self.failed_rows = sorted([*self.failed_rows, row], key=lambda r: repr(r.point))[:MAX_FAILED_ROWS]
        problem_key = row.point.problem_key
        self._problem_keys.add(problem_key)
        if row.verdict is Verdict.PASS:
            self._passed_problem_keys.add(problem_key)

    def _add_to_axes(self, row: Row) -> None:
        """Include a row in the table of each axis; an axis with too many values loses its pair tables."""
        for axis, cells in self.cells.items():
            value = getattr(row.point, axis)
            if value in cells or len(cells) < MAX_LISTED_VALUES:
                cells.setdefault(value, Aggregate()).add(row)
            elif axis not in self.truncated_axes:
                self.truncated_axes.add(axis)
                self._pair_cells = {pair: cells for pair, cells in self._pair_cells.items() if axis not in pair}

    def _update_pair_tables(self, point: SweepPoint) -> None:
        """Create and drop tables of axis pairs, if an axis has its second value at this point.

        A new table receives the earlier rows. A third axis that varies drops a table outside ``AXIS_PAIRS``.
        """
        new = {axis for axis, cells in self.cells.items() if len(cells) == 1 and getattr(point, axis) not in cells}
        if not new:
            return
        varied = [axis for axis, cells in self.cells.items() if axis in new or len(cells) > 1]
        pairs = [pair for pair in itertools.combinations(varied, 2) if len(varied) == 2 or pair in AXIS_PAIRS]
        self._pair_cells = {
            pair: self._pair_cells.get(pair) or self._copy_into_pair(*pair, new)
            for pair in pairs
            if not self.truncated_axes.intersection(pair)
        }

    def _copy_into_pair(self, first: str, second: str, new: set[str]) -> dict[tuple[Any, Any], Aggregate]:
        """Return the table of two axes from the cells of the axis that has varied; the other has had a single value."""
        pairs = itertools.product(self.cells[first], self.cells[second])
        return {(a, b): deepcopy(self.cells[second][b] if first in new else self.cells[first][a]) for a, b in pairs}

    @property
    def count(self) -> int:
        """The number of rows."""
        return self.total.verdicts.total()

    @property
    def varied(self) -> Mapping[str, Mapping[Any, Aggregate]]:
        """The axes with more than one value, and their aggregates by value; sorted, for any order of the rows."""
        several = {axis: cells for axis, cells in self.cells.items() if len(cells) > 1}
        return {axis: {v: cells[v] for v in sorted(cells, key=_sort_key(axis))} for axis, cells in several.items()}

    def pair(self, first: str, second: str) -> Mapping[tuple[Any, Any], Aggregate]:
        """Return the aggregates by the values of two axes; empty if the pair has no table."""
        transposed = self._pair_cells.get((second, first), {})
        return self._pair_cells.get((first, second)) or {(a, b): cell for (b, a), cell in transposed.items()}

    def has_no_pass(self, row: Row) -> bool:
        """Return whether the problem of a row passes with none of its schemes and steps."""
        return row.point.problem_key not in self._passed_problem_keys

    @property
    def passed(self) -> bool:
        """Whether no check failed or could not run, and every problem passes with some scheme and step."""
        return self.total.verdict not in (Verdict.FAIL, None) and self._problem_keys == self._passed_problem_keys
