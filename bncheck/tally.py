"""What a sweep comes to, counted as its rows come: small however many there are."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bncheck.grid import AXES, Row
from bncheck.results import Verdict

# An axis of more values is not told value by value, and a sweep of more rows not cell by cell.
MOST_VALUES, MOST_ROWS = 64, 400
# How many failures are kept to be shown.
KEPT = 5


@dataclass(slots=True)
class Cell:
    """Some rows together: the fewest correct digits of each gradient, and the verdicts."""

    digits: dict[str, float] = field(default_factory=dict)
    verdicts: Counter[Verdict | None] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        """Take a row in."""
        self.verdicts[row.verdict] += 1
        for key, found in row.gradients.items():
            self.digits[key] = min(found.digits, self.digits.get(key, found.digits))

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


def _in_order(axis: str) -> Callable[[tuple[Any, Any]], Any]:
    """Return the key that numbers are sorted by, steps from the largest down, and words after them."""
    sign = -1 if axis == "step" else 1
    return lambda item: (1, 0, item[0]) if isinstance(item[0], str) else (0, sign * item[0], "")


class Tally:
    """Counts rows, by axis and value."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.whole = Cell()
        self.values: dict[str, dict[Any, Cell]] = {axis: {} for axis in AXES}
        self.many: set[str] = set()  # axes of more values than are told
        self.rows: list[Row] | None = []
        self.bad: list[Row] = []
        self._passed: set[int] = set()
        self._problems: set[int] = set()
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Take a row in."""
        self.whole.add(row)
        for axis, cells in self.values.items():
            value = getattr(row.point, axis)
            if value in cells or len(cells) < MOST_VALUES:
                cells.setdefault(value, Cell()).add(row)
            else:
                self.many.add(axis)
        if self.rows is not None:
            self.rows.append(row)
            if len(self.rows) > MOST_ROWS:
                self.rows = None
        if row.verdict in (Verdict.FAIL, None):
            self.bad = sorted([*self.bad, row], key=lambda bad: repr(bad.point))[:KEPT]
        problem = row.point.problem.key
        self._problems.add(problem)
        if row.verdict is Verdict.PASS:
            self._passed.add(problem)

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self.whole.verdicts.total()

    @property
    def varied(self) -> Mapping[str, Mapping[Any, Cell]]:
        """The axes of more than one value; these in order, whatever order their rows came in."""
        return {axis: dict(sorted(c.items(), key=_in_order(axis))) for axis, c in self.values.items() if len(c) > 1}

    def never_passes(self, row: Row) -> bool:
        """Tell whether the problem of a row passed at no scheme and step."""
        return row.point.problem.key not in self._passed

    @property
    def passed(self) -> bool:
        """Whether nothing failed, and every problem passed at some scheme and step."""
        clean = not self.whole.verdicts[Verdict.FAIL] and not self.whole.verdicts[None]
        return clean and self._problems == self._passed
