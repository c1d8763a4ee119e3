"""A sweep as a person reads it: correct digits along its axes, what failed, and what it comes to."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from bncheck.render.page import STYLES, WORDS, Page, two_columns
from bncheck.render.words import broken
from bncheck.results import Verdict
from bncheck.sweep import Point
from bncheck.tally import MOST_VALUES, Cell, Tally

# A bar has a cell for each correct digit; float64 has 16.
LONGEST = 16
SHORT = {"bn_eps": "eps", "x_mean": "x-mean", "x_std": "x-std"}


@dataclass(frozen=True, slots=True)
class SweepReport:
    """The tables of a sweep."""

    tally: Tally
    reproduce: str = ""
    orders: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # by scheme and gradient
    seconds: float | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the report out for a stream's width and encoding."""
        of = Page.of(options)
        page = _Page(of.ascii_only, of.width, self)
        yield from page.laid_out(page.blocks())


@dataclass(frozen=True, slots=True)
class _Page(Page):
    report: SweepReport

    def blocks(self) -> Iterator[RenderableType]:
        tally = self.report.tally
        yield self.header()
        varied = {axis: cells for axis, cells in tally.varied.items() if axis not in tally.many}
        if len(tally.varied) == 2 and len(varied) == 2 and tally.rows is not None:
            # The axis with more values goes down the page.
            yield self.heat(*sorted(varied, key=lambda axis: -len(varied[axis])))
        elif not varied:
            yield self.along("", {"all": tally.whole})
        else:
            for axis, cells in varied.items():
                yield self.along(axis, cells)
        for axis in sorted(tally.many):
            yield self.text(f"{SHORT.get(axis, axis)}: more than {MOST_VALUES} values, not told one by one")
        yield self.summary()

    def header(self) -> Table:
        fixed = {
            axis: next(iter(cells))
            for axis, cells in self.report.tally.values.items()
            if len(cells) == 1 and (axis in ("target", "N", "D", "H", "seed", "scheme", "bn_eps"))
        }
        usual = Point()
        fixed |= {
            axis: next(iter(cells))
            for axis, cells in self.report.tally.values.items()
            if len(cells) == 1 and next(iter(cells)) != getattr(usual, axis)
        }
        words = [str(fixed.pop("target", "")), str(fixed.pop("scheme", ""))]
        grid = Table.grid()
        grid.add_row(self.text(", ".join(filter(None, words)) or "several targets", "bold"))
        grid.add_row(self.text("   ".join(f"{SHORT.get(axis, axis)} {_value(v)}" for axis, v in fixed.items())))
        return grid

    def along(self, axis: str, cells: Mapping[Any, Cell]) -> Table:
        """Return the table along one axis: the worst over everything else."""
        names = [name for name in self.report.tally.whole.digits if not self.zero(name)]
        columns = names if len(names) <= 6 and all(len(name) <= 6 for name in names) else []
        table = self.table(SHORT.get(axis, axis), *columns, "fewest correct digits")
        table.add_column("verdict", overflow="fold")  # counts of several, which may take two lines
        best = self.best(axis, cells)
        for value, cell in cells.items():
            digits = [_digits(cell.digits.get(name, 0.0)) for name in columns]
            bar = ("█" * round(min(LONGEST, cell.fewest))).ljust(LONGEST) + _digits(cell.fewest).rjust(5)
            verdict = self.verdicts(cell)
            if value == best:
                verdict.append(", best")
            table.add_row(_value(value), *digits, self.text(bar), verdict)
        for number, column in enumerate(table.columns[:-1]):
            column.min_width = max(len(str(cell)) for cell in (column.header, *column.cells))
            column.justify = "left" if number in (0, len(columns) + 1) else "right"
        return table

    def heat(self, first: str, second: str) -> Table:
        """Return the table of two axes: in each cell the fewest digits, and a mark for no pass."""
        tally = self.report.tally
        table = self.table(f"{SHORT.get(first, first)} \\ {SHORT.get(second, second)}")
        cells: dict[tuple[Any, Any], Cell] = {}
        for row in tally.rows or ():
            cells.setdefault((getattr(row.point, first), getattr(row.point, second)), Cell()).add(row)
        for value in tally.varied[second]:
            table.add_column(_value(value), justify="right", no_wrap=True)
        for value in tally.varied[first]:
            row_cells = [cells.get((value, other)) for other in tally.varied[second]]
            table.add_row(_value(value), *(self.mark(cell) for cell in row_cells))
        return table

    def mark(self, cell: Cell | None) -> Text:
        if cell is None:
            return self.text("-")
        verdict = cell.verdict
        signs = {Verdict.PASS: "", Verdict.INCONCLUSIVE: "?", Verdict.FAIL: "!", None: "x"}
        return self.text(_digits(cell.fewest) + signs[verdict], STYLES[verdict])

    def verdicts(self, cell: Cell) -> Text:
        counts = [(verdict, cell.verdicts[verdict]) for verdict in COUNTED if cell.verdicts[verdict]]
        if len(counts) == 1:
            return self.verdict(counts[0][0])
        told = ", ".join(f"{count:,} {WORDS[verdict]}" for verdict, count in counts)
        return self.text(told, STYLES[cell.verdict])

    def zero(self, name: str) -> bool:
        return math.isinf(self.report.tally.whole.digits[name])

    def best(self, axis: str, cells: Mapping[Any, Cell]) -> Any:
        """Return the step, or scheme, with the most digits that passes everywhere."""
        passing = {value: cell for value, cell in cells.items() if cell.verdict is Verdict.PASS}
        if axis not in ("step", "scheme") or not passing:
            return object()
        return max(passing, key=lambda value: passing[value].fewest)

    def summary(self) -> Table:
        grid = two_columns(width=9)
        report, tally = self.report, self.report.tally
        for row in tally.bad:
            grid.add_row(
                self.text("FAIL" if row.verdict else "not run", "bold red"),
                self.text(f"{row.said or f'{row.wrong:,} entries are wrong'}"),
            )
            if row.reproduce:
                grid.add_row("", self.text("\n".join(broken(row.reproduce, self.width - 11))))
        zeros = [name for name in tally.whole.digits if self.zero(name)]
        if zeros:
            grid.add_row("zero", self.text(f"{', '.join(zeros)}: exactly 0 everywhere, as it must be"))
        for scheme, orders in report.orders.items():
            told = ", ".join(f"{name} {order:.2f}" for name, order in orders.items())
            grid.add_row("order", self.text(f"{scheme}: the error falls as the step to the power {told}"))
        counts = tally.whole.verdicts
        told = ", ".join(f"{counts[v]:,} {WORDS[v].lower()}" for v in COUNTED if v is not None or counts[v])
        seconds = "" if report.seconds is None else f"   {report.seconds:.1f} s"
        grid.add_row("checks", self.text(f"{tally.count:,}: {told}{seconds}"))
        if report.reproduce:
            grid.add_row("again", self.text("\n".join(broken(report.reproduce, self.width - 11))), style="dim")
        return grid


# The order in which verdicts are counted.
COUNTED = (Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE, None)


def _value(value: Any) -> str:
    """Write a value of an axis: a power of ten as one, 1e-04."""
    if not isinstance(value, float):
        return str(value)
    power = f"{value:.0e}"
    return power if float(power) == value and not 0.1 < abs(value) < 1000 and value else f"{value:.3g}"


def _digits(digits: float) -> str:
    return "zero" if math.isinf(digits) else f"{digits:.1f}"
