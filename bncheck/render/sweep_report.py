"""A sweep as a person reads it: correct digits along its axes, what failed, and what it comes to."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bncheck.model.results import MAX_RESOLUTION, Source, Verdict
from bncheck.render.layout import STYLES, WORDS, Command, Page, two_columns
from bncheck.render.report import ItemStatus, Report, ReportItem, Suite
from bncheck.sweeps.aggregate import MAX_LISTED_VALUES, Aggregate, SweepSummary
from bncheck.sweeps.sweep import AXES, SCHEMA, Row, SweepPoint

# A bar has a cell for each correct digit; float64 has 16.
DIGITS_BAR_WIDTH = 16
# A table of two axes with more cells is not read.
MOST_CELLS = 400
# Notes that are shown.
MOST_NOTES = 8
# Behind a number, for what its checks came to.
SIGNS = {Verdict.PASS: "", Verdict.INCONCLUSIVE: "?", Verdict.FAIL: "!", None: "x"}
AXIS_LABELS = {"bn_eps": "eps", "x_mean": "x-mean", "x_std": "x-std"}


@dataclass(frozen=True, slots=True)
class SweepReport(Report):
    """The tables of a sweep."""

    tally: SweepSummary
    reproduce: str = ""
    orders: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # by scheme and gradient
    seconds: float | None = None
    rows: Sequence[Row] = ()  # every one, for the formats that tell of every check

    @property
    def headline(self) -> str:
        """How many checks ended how."""
        counts = self.tally.total.verdicts
        worse = "FAIL" if counts[Verdict.FAIL] or counts[None] else "INCONCLUSIVE"
        return f"{'PASS' if self.tally.passed else worse}  {self.tally.count:,} checks: {self.counts}"

    @property
    def counts(self) -> str:
        """How many checks there are of each verdict."""
        counts = self.tally.total.verdicts
        return ", ".join(f"{counts[v]:,} {WORDS[v].lower()}" for v in VERDICT_ORDER if v is not None or counts[v])

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return a table for each axis, or of two axes, and what it comes to."""
        return _Page(page.ascii_only, page.width, self).blocks()

    def data(self) -> Any:
        """Return the verdict, the counts, and every row."""
        rows = [row.to_dict() for row in self.rows]
        counts = {WORDS[v].lower(): self.tally.total.verdicts[v] for v in VERDICT_ORDER}
        return {"schema": SCHEMA, "passed": self.tally.passed, "checks": counts, "orders": self.orders, "rows": rows}

    def suites(self) -> Iterable[Suite]:
        """Return a suite for each check."""
        for row in self.rows:
            told = {AXIS_LABELS.get(axis, axis): getattr(row.point, axis) for axis in AXES}
            target = told.pop("target")
            name = ", ".join([target, *(f"{axis} {format_axis_value(value)}" for axis, value in told.items())])
            yield Suite(name, tuple(self._findings(row)), row.seconds, row.reproduce)

    def _findings(self, row: Row) -> Iterator[ReportItem]:
        """Yield a finding for each gradient; a check that is merely blunt counts if its problem passes nowhere."""
        target, verdict = row.point.target, row.verdict
        source = Source(os.path.realpath(target), 1) if os.path.isfile(target) else None
        blunt = ItemStatus.INCONCLUSIVE if self.tally.has_no_pass(row) else ItemStatus.SKIPPED
        found = []
        for key, gradient in row.gradients.items():
            wrong = not gradient.tolerance_ratio <= 1
            unsure = verdict is Verdict.INCONCLUSIVE and not gradient.resolution <= MAX_RESOLUTION
            outcome = ItemStatus.FAIL if wrong and verdict is Verdict.FAIL else blunt if unsure else ItemStatus.PASS
            told = (
                row.message or f"of tolerance: {gradient.tolerance_ratio:.3g}" if outcome is not ItemStatus.PASS else ""
            )
            function, _, name = key.rpartition(".")
            subject = f"{target}.{function}" if function else target
            found.append(ReportItem(subject, name, outcome, told, row.reproduce, source))
        yield from found
        wanted = blunt if verdict is Verdict.INCONCLUSIVE else ItemStatus.from_verdict(verdict)
        if wanted not in (ItemStatus.PASS, *(f.status for f in found)):  # an output, a dead unit, an error
            yield ReportItem(target, "check", wanted, row.message, row.reproduce, source)


@dataclass(frozen=True, slots=True)
class _Page(Page):
    report: SweepReport

    def blocks(self) -> Iterator[RenderableType]:
        tally = self.report.tally
        yield self.header()
        varied = {axis: cells for axis, cells in tally.varied.items() if axis not in tally.truncated_axes}
        if len(tally.varied) == 2 and 0 < len(tally.pair(*tally.varied)) <= MOST_CELLS:
            # The axis with more values goes down the page.
            yield self.heat(*sorted(varied, key=lambda axis: -len(varied[axis])))
        elif not varied:
            yield self.along("", {"all": tally.total})
        else:
            for axis, cells in varied.items():
                yield self.along(axis, cells)
        for axis in sorted(tally.truncated_axes):
            yield self.text(f"{AXIS_LABELS.get(axis, axis)}: more than {MAX_LISTED_VALUES} values, not told one by one")
        yield self.summary()

    def header(self) -> Table:
        subject, settings = headings(self.report.tally)
        grid = Table.grid()
        grid.add_row(self.text(subject, "bold"))
        grid.add_row(self.text(settings))
        return grid

    def along(self, axis: str, cells: Mapping[Any, Aggregate]) -> Table:
        """Return the table along one axis: the worst over everything else."""
        names = [name for name in self.report.tally.total.digits if not self.zero(name)]
        columns = names if len(names) <= 6 and all(len(name) <= 6 for name in names) else []
        table = self.table(AXIS_LABELS.get(axis, axis), *columns, "fewest correct digits")
        table.add_column("verdict", overflow="fold")  # counts of several, which may take two lines
        best = self.best(axis, cells)
        for value, cell in cells.items():
            digits = [format_digits(cell.digits.get(name, 0.0)) for name in columns]
            bar = ("█" * round(min(DIGITS_BAR_WIDTH, cell.fewest))).ljust(DIGITS_BAR_WIDTH) + format_digits(
                cell.fewest
            ).rjust(5)
            verdict = self.verdicts(cell)
            if value == best:
                verdict.append(", best")
            table.add_row(format_axis_value(value), *digits, self.text(bar), verdict)
        for number, column in enumerate(table.columns[:-1]):
            column.min_width = max(len(str(cell)) for cell in (column.header, *column.cells))
            column.justify = "left" if number in (0, len(columns) + 1) else "right"
        return table

    def heat(self, first: str, second: str) -> Table:
        """Return the table of two axes: in each cell the fewest digits, and a mark for no pass."""
        tally = self.report.tally
        table = self.table(f"{AXIS_LABELS.get(first, first)} \\ {AXIS_LABELS.get(second, second)}")
        cells = tally.pair(first, second)
        for value in tally.varied[second]:
            table.add_column(format_axis_value(value), justify="right", no_wrap=True)
        for value in tally.varied[first]:
            row_cells = [cells.get((value, other)) for other in tally.varied[second]]
            table.add_row(format_axis_value(value), *(self.mark(cell) for cell in row_cells))
        return table

    def mark(self, cell: Aggregate | None) -> Text:
        if cell is None:
            return self.text("-")
        return self.text(format_digits(cell.fewest) + SIGNS[cell.verdict], STYLES[cell.verdict])

    def verdicts(self, cell: Aggregate) -> Text:
        counts = [(verdict, cell.verdicts[verdict]) for verdict in VERDICT_ORDER if cell.verdicts[verdict]]
        if len(counts) == 1:
            return self.verdict(counts[0][0])
        told = ", ".join(f"{count:,} {WORDS[verdict]}" for verdict, count in counts)
        return self.text(told, STYLES[cell.verdict])

    def zero(self, name: str) -> bool:
        return math.isinf(self.report.tally.total.digits[name])

    def best(self, axis: str, cells: Mapping[Any, Aggregate]) -> Any:
        """Return the step, or scheme, with the most digits that passes everywhere."""
        passing = {value: cell for value, cell in cells.items() if cell.verdict is Verdict.PASS}
        if axis not in ("step", "scheme") or not passing:
            return object()
        return max(passing, key=lambda value: passing[value].fewest)

    def summary(self) -> Table:
        grid = two_columns(width=9)
        report, tally = self.report, self.report.tally
        for row in tally.failed_rows:
            grid.add_row(
                self.text("FAIL" if row.verdict else "not run", "bold red"),
                self.text(f"{row.message or f'{row.wrong:,} entries are wrong'}"),
            )
            if row.reproduce:
                grid.add_row("", Command(row.reproduce))
        several = len(tally.values["target"]) > 1
        notes = sorted(tally.notes.items())
        for note, targets in notes[:MOST_NOTES]:
            grid.add_row("note", self.text(f"{', '.join(targets)}: {note}" if several else note))
        if len(notes) > MOST_NOTES:
            grid.add_row("", self.text(f"and {len(notes) - MOST_NOTES} more notes, in --format json"))
        zeros = [name for name in tally.total.digits if self.zero(name)]
        if zeros:
            grid.add_row("zero", self.text(f"{', '.join(zeros)}: exactly 0 everywhere, as it must be"))
        for scheme, orders in report.orders.items():
            told = ", ".join(f"{name} {order:.2f}" for name, order in orders.items())
            grid.add_row("order", self.text(f"{scheme}: the error falls as the step to the power {told}"))
        seconds = "" if report.seconds is None else f"   {report.seconds:.1f} s"
        grid.add_row("checks", self.text(f"{tally.count:,}: {report.counts}{seconds}"))
        if report.reproduce:
            grid.add_row("again", Command(report.reproduce), style="dim")
        return grid


# The order in which verdicts are counted.
VERDICT_ORDER = (Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, None)


def headings(tally: SweepSummary) -> tuple[str, str]:
    """Return what was checked and how, and on which problem, as far as these are the same for all."""
    same = {axis: next(iter(cells)) for axis, cells in tally.values.items() if len(cells) == 1}
    told = [axis for axis in same if axis in ("target", "N", "D", "H", "seed", "scheme", "bn_eps")]
    told += [axis for axis in same if axis not in told and same[axis] != getattr(SweepPoint(), axis)]
    words = [str(same[axis]) for axis in ("target", "scheme") if axis in told]
    settings = [
        f"{AXIS_LABELS.get(axis, axis)} {format_axis_value(same[axis])}"
        for axis in told
        if axis not in ("target", "scheme")
    ]
    return ", ".join(words) or "several targets", "   ".join(settings)


def format_axis_value(value: Any) -> str:
    """Write a value of an axis: a power of ten as one, 1e-04."""
    if not isinstance(value, float):
        return str(value)
    power = f"{value:.0e}"
    return power if float(power) == value and not 0.1 < abs(value) < 1000 and value else f"{value:.3g}"


def format_digits(digits: float) -> str:
    """Write correct digits; endless are those of a gradient that is exactly 0."""
    return "zero" if math.isinf(digits) else f"{round(digits, 1) + 0.0:.1f}"  # and never -0.0
