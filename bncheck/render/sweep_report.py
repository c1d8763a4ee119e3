"""The report of a sweep: correct digits along its axes, failures, and totals."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bncheck.model.options import to_option_spelling
from bncheck.model.source import Source
from bncheck.model.verdict import Verdict
from bncheck.render.encoding import escape_control_chars
from bncheck.render.format import format_tolerance_ratio
from bncheck.render.layout import STYLES, WORDS, Command, Page, two_columns
from bncheck.render.report import ItemStatus, Report, ReportItem, Suite
from bncheck.sweeps.aggregate import MAX_LISTED_VALUES, Aggregate, SweepSummary
from bncheck.sweeps.grid import AXES, SweepPoint
from bncheck.sweeps.rows import SWEEP_SCHEMA, Row

# A bar has one segment per correct digit; float64 has 16.
DIGITS_BAR_WIDTH = 16
DIGITS_HEADING = "correct digits of the worst gradient"
# Larger tables of two axes are unreadable; each axis gets its own table instead.
MAX_TABLE_CELLS = 400
MAX_SHOWN_NOTES = 8
# More gradients, or longer names, do not fit into the table of an axis.
MAX_GRADIENT_COLUMNS, MAX_GRADIENT_CHARS = 6, 6
LABEL_WIDTH = 15
# Marks next to the digits of a cell, by its verdict.
SIGNS = {Verdict.PASS: "", Verdict.INCONCLUSIVE: "?", Verdict.FAIL: "!", None: "x"}
VERDICT_ORDER = (Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, None)
# Axes that the heading shows even with their default value.
ALWAYS_SHOWN = ("N", "D", "H", "bn_eps", "seed")
# Labels of the axes whose names are not their labels.
AXIS_LABELS = {"bn_eps": "eps", "x_mean": "x-mean", "x_std": "x-std"}


@dataclass(frozen=True, slots=True)
class SweepReport(Report):
    """The report of a sweep or of its row files."""

    summary: SweepSummary
    reproduce: str = ""  # command that repeats the sweep; "" for row files
    orders: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # observed order by scheme and gradient
    seconds: float | None = None  # wall-clock time; None for row files
    rows: Sequence[Row] = ()  # all rows, for the formats that show every check

    @property
    def headline(self) -> str:
        """The verdict and the number of checks by verdict."""
        verdicts = self.summary.total.verdicts
        not_passed = "FAIL" if verdicts[Verdict.FAIL] or verdicts[None] else "INCONCLUSIVE"
        return f"{'PASS' if self.summary.passed else not_passed}  {self.summary.count:,} checks: {self.counts}"

    @property
    def counts(self) -> str:
        """The number of checks by verdict."""
        counts = self.summary.total.verdicts
        return ", ".join(f"{counts[v]:,} {WORDS[v].lower()}" for v in VERDICT_ORDER if v is not None or counts[v])

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return the heading, a table for each axis or for two axes, and the summary."""
        return _SweepLayout(page.ascii_only, page.width, self).blocks()

    def data(self) -> Any:
        """Return the JSON content: whether the sweep passed, the counts, and every row."""
        counts = self.summary.total.verdicts
        return {
            "schema": SWEEP_SCHEMA,
            "passed": self.summary.passed,
            "checks": {verdict.value if verdict else "could_not_run": counts[verdict] for verdict in VERDICT_ORDER},
            "orders": self.orders,
            "rows": [row.to_dict() for row in self.rows],
        }

    def suites(self) -> Iterable[Suite]:
        """Yield a suite for each check."""
        for row in self.rows:
            settings = [f"{axis_label(a)} {format_axis_value(getattr(row.point, a))}" for a in AXES if a != "target"]
            name = ", ".join([row.point.target, *settings])
            yield Suite(name, tuple(self._items(row)), row.seconds, row.reproduce)

    def _items(self, row: Row) -> Iterator[ReportItem]:
        """Yield an item for each gradient, and one for a verdict that no gradient explains.

        An inconclusive item is skipped if the problem passes with another scheme or step.
        """
        target = row.point.target
        source = Source(os.path.realpath(target), 1) if os.path.isfile(target) else None
        statuses = {key: self._status(row, gradient.verdict) for key, gradient in row.gradients.items()}
        for key, status in statuses.items():
            used = format_tolerance_ratio(row.gradients[key].tolerance_ratio)
            message = to_option_spelling(row.message) or f"tolerance used: {used}"
            function, _, name = key.rpartition(".")
            subject = f"{target}.{function}" if function else target
            yield ReportItem(subject, name, status, "" if status is ItemStatus.PASS else message, row.reproduce, source)
        overall = self._status(row, row.verdict)
        if overall not in (ItemStatus.PASS, *statuses.values()):  # an output, an edge case, an error
            yield ReportItem(target, "check", overall, to_option_spelling(row.message), row.reproduce, source)

    def _status(self, row: Row, verdict: Verdict | None) -> ItemStatus:
        if verdict is Verdict.INCONCLUSIVE and not self.summary.has_no_pass(row):
            return ItemStatus.SKIPPED
        return ItemStatus.from_verdict(verdict)


@dataclass(frozen=True, slots=True)
class _SweepLayout(Page):
    report: SweepReport

    def blocks(self) -> Iterator[RenderableType]:
        summary = self.report.summary
        yield self.heading()
        axes = listed_axes(summary)
        if len(summary.varied) == 2 and 0 < len(summary.pair(*summary.varied)) <= MAX_TABLE_CELLS:
            yield self.heatmap_table(*sorted(axes, key=lambda axis: -len(axes[axis])))  # more rows than columns
        elif not axes:
            yield self.axis_table("", {"all": summary.total})
        else:
            yield from (self.axis_table(axis, cells) for axis, cells in axes.items())
        for axis in sorted(summary.truncated_axes):
            limit = f"more than {MAX_LISTED_VALUES} values, not listed"
            yield self.text(f"{axis_label(axis)}: {limit}; use --out to save every row")
        yield self.summary_grid()

    def heading(self) -> Table:
        subject, settings = headings(self.report.summary)
        grid = Table.grid()
        grid.add_row(self.text(subject, "bold"))
        grid.add_row(self.text(settings))
        return grid

    def axis_table(self, axis: str, cells: Mapping[Any, Aggregate]) -> Table:
        """Return the digits of each gradient along one axis, in the worst check over the other axes."""
        summary = self.report.summary
        names = [name for name in summary.total.gradients if name not in exact_zeros(summary)]
        fit = len(names) <= MAX_GRADIENT_COLUMNS and all(len(name) <= MAX_GRADIENT_CHARS for name in names)
        columns = names if fit else []
        table = self.table(axis_label(axis), *columns)
        table.add_column(DIGITS_HEADING, width=DIGITS_BAR_WIDTH + 5)
        table.add_column("verdict", overflow="fold")  # several counts may need two lines
        best = self.best_value(axis, cells)
        for value, cell in cells.items():
            digits = [format_digits(cell.digits.get(name, 0.0)) for name in columns]
            bar = "█" * round(min(DIGITS_BAR_WIDTH, cell.min_digits))
            worst = self.text(f"{bar:{DIGITS_BAR_WIDTH}}{format_digits(cell.min_digits):>5}")
            verdict = self.verdict_counts(cell).append(", best" if value == best else "")
            table.add_row(format_axis_value(value), *digits, worst, verdict)
        for column in table.columns[:-2]:
            column.min_width = max(len(str(cell)) for cell in (column.header, *column.cells))
        return table

    def heatmap_table(self, down: str, across: str) -> Table:
        """Return the table of two axes, with the digits of the worst gradient and a mark for each verdict."""
        summary = self.report.summary
        table = self.table(f"{axis_label(down)} \\ {axis_label(across)}")
        for value in summary.varied[across]:
            table.add_column(format_axis_value(value), justify="right", no_wrap=True)
        cells = summary.pair(down, across)
        for value in summary.varied[down]:
            row = [self.digits_and_sign(cells.get((value, other))) for other in summary.varied[across]]
            table.add_row(format_axis_value(value), *row)
        return table

    def digits_and_sign(self, cell: Aggregate | None) -> Text:
        if cell is None:
            return self.text("-")
        return self.text(format_digits(cell.min_digits) + SIGNS[cell.verdict], STYLES[cell.verdict])

    def verdict_counts(self, cell: Aggregate) -> Text:
        """Return the verdict of all checks, or how many have which one."""
        if len(cell.verdicts) == 1:
            return self.verdict(cell.verdict)
        counts = [f"{cell.verdicts[v]:,} {WORDS[v]}" for v in VERDICT_ORDER if cell.verdicts[v]]
        return self.text(", ".join(counts), STYLES[cell.verdict])

    def best_value(self, axis: str, cells: Mapping[Any, Aggregate]) -> Any:
        """Return the step or scheme with the most digits of those that always pass; None if there is none."""
        passed = [value for value, cell in cells.items() if cell.verdict is Verdict.PASS]
        return max(passed, key=lambda v: cells[v].min_digits, default=None) if axis in ("step", "scheme") else None

    def summary_grid(self) -> Table:
        """Return the failures, notes, observed orders and totals, with labels."""
        grid = two_columns(width=LABEL_WIDTH)
        report, summary = self.report, self.report.summary
        for row in summary.failed_rows:
            message = to_option_spelling(row.message) or f"{row.wrong:,} entries are wrong"
            grid.add_row(self.text(WORDS[row.verdict], "bold red"), self.text(message))
            if row.reproduce:
                grid.add_row("", Command(row.reproduce))
        for label, text in self.annotations():
            grid.add_row(label, self.text(text))
        seconds = "" if report.seconds is None else f"   {report.seconds:.1f} s"
        grid.add_row("checks", self.text(f"{summary.count:,}: {report.counts}{seconds}"))
        if report.reproduce:
            grid.add_row("reproduce", Command(report.reproduce), style="dim")
        return grid

    def annotations(self) -> Iterator[tuple[str, str]]:
        """Yield the notes, the gradients that are exactly 0, and the observed orders, each with its label."""
        summary = self.report.summary
        several = len(summary.cells["target"]) > 1
        notes = sorted(summary.notes.items())
        for note, targets in notes[:MAX_SHOWN_NOTES]:
            yield "note", to_option_spelling(f"{', '.join(targets)}: {note}" if several else note)
        if len(notes) > MAX_SHOWN_NOTES:
            yield "", f"and {len(notes) - MAX_SHOWN_NOTES} more notes, in --format json"
        if zeros := exact_zeros(summary):
            verb = "is" if len(zeros) == 1 else "are"
            yield "exact zero", f"{', '.join(zeros)} {verb} exactly 0 in every check, as expected"
        for scheme, orders in self.report.orders.items():
            yield "observed order", f"{scheme}: {', '.join(f'{name} {order:.2f}' for name, order in orders.items())}"


def headings(summary: SweepSummary) -> tuple[str, str]:
    """Return the target and scheme, and the settings, as far as all checks share them.

    Settings that are rarely changed are shown only if they differ from their default.
    """
    shared = {axis: next(iter(cells)) for axis, cells in summary.cells.items() if len(cells) == 1}
    subject = ", ".join(str(shared.pop(axis)) for axis in ("target", "scheme") if axis in shared)
    axes = [axis for axis in shared if axis in ALWAYS_SHOWN]
    axes += [axis for axis in shared if axis not in ALWAYS_SHOWN and shared[axis] != getattr(SweepPoint(), axis)]
    settings = (f"{axis_label(axis)} {format_axis_value(shared[axis])}" for axis in axes)
    return subject or "several targets", "   ".join(settings)


def listed_axes(summary: SweepSummary) -> dict[str, Mapping[Any, Aggregate]]:
    """Return the axes that vary and have few enough values to list or plot each."""
    return {axis: cells for axis, cells in summary.varied.items() if axis not in summary.truncated_axes}


def exact_zeros(summary: SweepSummary) -> list[str]:
    """Return the gradients that are exactly 0 in every check."""
    return [name for name, worst in summary.total.gradients.items() if worst.error is None]


def axis_label(axis: str) -> str:
    """Return the label of an axis: its name, as short as it is on the command line."""
    return AXIS_LABELS.get(axis, axis)


def format_axis_value(value: Any) -> str:
    """Format a value of an axis on one line; a power of ten in scientific notation, such as 1e-04."""
    if not isinstance(value, float):
        return escape_control_chars(str(value)).replace("\n", " ")
    power = f"{value:.0e}"
    return power if float(power) == value and not 0.1 < abs(value) < 1000 and value else f"{value:.3g}"


def format_digits(digits: float) -> str:
    """Format correct digits; a gradient that is exactly 0 has infinitely many."""
    return "zero" if math.isinf(digits) else f"{round(digits, 1) + 0.0:.1f}"  # + 0.0 turns -0.0 into 0.0
