"""What a sweep comes to, counted as its rows come: small however many there are."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from bncheck.model.results import MAX_RESOLUTION, Verdict
from bncheck.sweeps.sweep import AXES, GradientSummary, Row, SweepPoint, digits_of

# An axis of more values is not told value by value.
MAX_LISTED_VALUES = 64
# How many failures are kept to be shown.
MAX_FAILED_ROWS = 5
# With more than two axes, only these are kept together.
AXIS_PAIRS = {("scheme", "step"), ("target", "step")}


@dataclass(slots=True)
class WorstError:
    """The worst that some rows keep of one gradient."""

    error: float | None = None  # norm relative error; None: the gradient is exactly 0, as it must be, in every row
    bar: float = 0.0  # what the error bars allow of it; NaN: some row does not say
    of_tolerance: float = 0.0
    resolution: float = 0.0

    def add(self, found: GradientSummary) -> None:
        """Take a row's in."""
        if found.norm_relative_error is not None:
            self.error = _larger(self.error or 0.0, found.norm_relative_error)
        self.bar = _larger(self.bar, found.relative_error_bound)
        self.of_tolerance = _larger(self.of_tolerance, found.tolerance_ratio)
        self.resolution = _larger(self.resolution, found.resolution)


def _larger(one: float, other: float) -> float:
    """Return the larger, and NaN if either is."""
    return other if other > one or math.isnan(other) else one


@dataclass(slots=True)
class Durations:
    """How long some checks took, in whole nanoseconds: their sum is the same in any order."""

    count: int = 0
    total: int = 0
    shortest: int = 0
    longest: int = 0

    def add(self, seconds: float) -> None:
        """Take a check's in."""
        taken = round(1e9 * seconds)
        self.shortest = min(taken, self.shortest) if self.count else taken
        self.longest = max(taken, self.longest)
        self.count += 1
        self.total += taken


@dataclass(slots=True)
class Aggregate:
    """Some rows together: the worst of each gradient, the verdicts, and the times."""

    gradients: dict[str, WorstError] = field(default_factory=dict)
    verdicts: Counter[Verdict | None] = field(default_factory=Counter)
    times: Durations = field(default_factory=Durations)  # of those that ran

    def add(self, row: Row) -> None:
        """Take a row in."""
        self.verdicts[row.verdict] += 1
        for key, found in row.gradients.items():
            self.gradients.setdefault(key, WorstError()).add(found)
        if row.verdict is not None:
            self.times.add(row.seconds)

    @property
    def digits(self) -> Mapping[str, float]:
        """The fewest correct digits of each gradient."""
        return {key: digits_of(worst.error) for key, worst in self.gradients.items()}

    @property
    def fewest(self) -> float:
        """The fewest digits of any gradient; 0 where nothing ran."""
        return min(self.digits.values(), default=0.0)

    @property
    def verdict(self) -> Verdict | None:
        """The worst verdict; None where something failed to run and nothing is wrong."""
        judged = [verdict for verdict in self.verdicts if verdict is not None]
        worst = Verdict.worst(judged) if judged else None
        return None if None in self.verdicts and worst is not Verdict.FAIL else worst

    def verdict_of(self, gradient: str) -> Verdict:
        """The worst verdict of one of the gradients.

        A check that is inconclusive for another reason than a resolution is so for all of them.
        """
        if self.verdicts[Verdict.FAIL] and not self.gradients[gradient].of_tolerance <= 1:
            return Verdict.FAIL
        blunt = [key for key, worst in self.gradients.items() if not worst.resolution <= MAX_RESOLUTION]
        unsure = self.verdicts[Verdict.INCONCLUSIVE] and (gradient in blunt or not blunt)
        return Verdict.INCONCLUSIVE if unsure else Verdict.PASS


def _in_order(axis: str) -> Callable[[tuple[Any, Any]], Any]:
    """Return the key that numbers are sorted by, steps from the largest down, and words after them."""
    sign = -1 if axis == "step" else 1
    return lambda item: (1, 0, item[0]) if isinstance(item[0], str) else (0, sign * item[0], "")


class SweepSummary:
    """Counts rows, by axis and value, and by the values of two axes where no others vary."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.total = Aggregate()
        self.values: dict[str, dict[Any, Aggregate]] = {axis: {} for axis in AXES}
        self.truncated_axes: set[str] = set()  # axes of more values than are told
        self.failed_rows: list[Row] = []
        self.notes: dict[str, list[str]] = {}  # the targets that each note is about
        self._pairs: dict[tuple[str, str], dict[tuple[Any, Any], Aggregate]] = {}
        self._passed: set[int] = set()
        self._problems: set[int] = set()
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Take a row in."""
        self._start_pair_tables(row.point)
        self.total.add(row)
        for axis, cells in self.values.items():
            value = getattr(row.point, axis)
            if value in cells or len(cells) < MAX_LISTED_VALUES:
                cells.setdefault(value, Aggregate()).add(row)
            elif axis not in self.truncated_axes:
                self.truncated_axes.add(axis)
                self._pairs = {pair: cells for pair, cells in self._pairs.items() if axis not in pair}
        for (first, second), together in self._pairs.items():
            together.setdefault((getattr(row.point, first), getattr(row.point, second)), Aggregate()).add(row)
        for note in row.notes:
            if note in self.notes or len(self.notes) < MAX_LISTED_VALUES:
                targets = self.notes.setdefault(note, [])
                targets += [row.point.target] if row.point.target not in targets else []
        if row.verdict in (Verdict.FAIL, None):
            self.failed_rows = sorted([*self.failed_rows, row], key=lambda bad: repr(bad.point))[:MAX_FAILED_ROWS]
        problem = row.point.problem.key
        self._problems.add(problem)
        if row.verdict is Verdict.PASS:
            self._passed.add(problem)

    def _start_pair_tables(self, point: SweepPoint) -> None:
        """Begin to count two axes together when the second of them gets its second value: until then it had one."""
        new = {axis for axis, cells in self.values.items() if len(cells) == 1 and getattr(point, axis) not in cells}
        if not new:
            return
        varied = [axis for axis, cells in self.values.items() if axis in new or len(cells) > 1]
        wanted = [pair for pair in itertools.combinations(varied, 2) if len(varied) == 2 or pair in AXIS_PAIRS]
        self._pairs = {
            pair: self._pairs.get(pair) or self._copy_into_pair(*pair, new)
            for pair in wanted
            if not self.truncated_axes.intersection(pair)
        }

    def _copy_into_pair(self, first: str, second: str, new: set[str]) -> dict[tuple[Any, Any], Aggregate]:
        """Return what two axes come to by now, one of which had one value."""
        if first in new:
            (only,) = self.values[first]
            return {(only, other): deepcopy(cell) for other, cell in self.values[second].items()}
        (only,) = self.values[second]
        return {(other, only): deepcopy(cell) for other, cell in self.values[first].items()}

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self.total.verdicts.total()

    @property
    def varied(self) -> Mapping[str, Mapping[Any, Aggregate]]:
        """The axes of more than one value; these in order, whatever order their rows came in."""
        return {axis: dict(sorted(c.items(), key=_in_order(axis))) for axis, c in self.values.items() if len(c) > 1}

    def pair(self, first: str, second: str) -> Mapping[tuple[Any, Any], Aggregate]:
        """Return the cells by the values of both axes; none where they are not kept together."""
        if (second, first) in self._pairs:
            return {(one, other): cell for (other, one), cell in self._pairs[second, first].items()}
        return self._pairs.get((first, second), {})

    def has_no_pass(self, row: Row) -> bool:
        """Tell whether the problem of a row passed at no scheme and step."""
        return row.point.problem.key not in self._passed

    @property
    def passed(self) -> bool:
        """Whether nothing failed, and every problem passed at some scheme and step."""
        clean = not self.total.verdicts[Verdict.FAIL] and not self.total.verdicts[None]
        return clean and self._problems == self._passed
