"""What a plot of a sweep shows: its panels or its heat map, and the notes below. It does not import matplotlib."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bncheck.model.options import GRADIENTS
from bncheck.render.layout import WORDS
from bncheck.render.sweep_report import SIGNS, axis_label, exact_zeros, format_axis_value, listed_axes
from bncheck.sweeps.aggregate import MAX_LISTED_VALUES, Aggregate, SweepSummary
from bncheck.sweeps.rows import MIN_RELATIVE_ERROR

# More panels in one figure are too small to read.
MAX_PANELS = 6
# A numerical axis is logarithmic if its values are positive and span more than this factor.
MIN_LOG_SPAN = 10.0
# Smallest distance of two numbers on a linear axis, as a fraction of its length; closer numbers are spaced evenly.
MIN_LINEAR_GAP = 0.08
# Larger numbers, and smaller ones than its inverse, are spaced evenly: the margins of an axis would overflow.
MAX_MAGNITUDE = 1e100
# Longer names on an axis are cut on the left, because the end of a path is more specific.
MAX_NAME_CHARS = 24
SHAPE_AXES = ("N", "D", "H")


@dataclass(frozen=True, slots=True)
class Panel:
    """The worst case of every gradient along one axis, or the seconds per check."""

    axis: str  # a field of SweepPoint; "": the gradients themselves are the axis
    cells: Mapping[Any, Aggregate]  # by the value of the axis
    title: str = ""
    scheme: str = ""  # the scheme whose theoretical slopes are drawn; "": none
    seconds: bool = False

    @property
    def numbers(self) -> Sequence[float]:
        """The values that are numbers."""
        return [value for value in self.cells if not isinstance(value, str)]

    @property
    def scale(self) -> str:
        """The scale of the axis: "log", "linear", or "names" for evenly spaced values."""
        numbers = sorted(self.numbers)
        if not self.axis or len(numbers) < 2 or (len(numbers) < len(self.cells) and self.axis != "step"):
            return "names"
        if not all(1 / MAX_MAGNITUDE <= abs(number) <= MAX_MAGNITUDE for number in numbers if number):
            return "names"
        if numbers[0] > 0 and (self.axis == "step" or numbers[-1] / numbers[0] > MIN_LOG_SPAN):
            return "log"
        smallest_gap = min(b - a for a, b in itertools.pairwise(numbers))
        return "linear" if smallest_gap >= MIN_LINEAR_GAP * (numbers[-1] - numbers[0]) else "names"

    @property
    def is_connected(self) -> bool:
        """Whether a line between two values has a meaning."""
        return self.scale != "names" and self.axis != "seed"


@dataclass(frozen=True, slots=True)
class Heatmap:
    """The correct digits of the worst gradient by the values of two axes."""

    down: str  # the axis of the rows
    across: str  # the axis of the columns
    rows: Sequence[Any]  # values, from the top
    columns: Sequence[Any]  # values, from the left
    cells: Mapping[tuple[Any, Any], Aggregate]  # by (row, column); a combination that was not checked is absent


def name_of(value: Any) -> str:
    """Return a value as a tick label."""
    name = format_axis_value(value)
    return name if len(name) <= MAX_NAME_CHARS else f"…{name[1 - MAX_NAME_CHARS :]}"


def names_of(summary: SweepSummary) -> Sequence[str]:
    """Return the gradients that have an error, in an order that does not depend on the order of the rows."""
    names = summary.total.gradients.keys() - exact_zeros(summary)
    return sorted(names, key=lambda name: (GRADIENTS.index(name) if name in GRADIENTS else len(GRADIENTS), name))


def build_heatmap(summary: SweepSummary) -> Heatmap | None:
    """Return the heat map of two axes; None if not exactly two vary, or if steps are split by scheme or target."""
    axes = listed_axes(summary)
    if len(summary.varied) != 2 or len(axes) != 2 or _split_axis(axes):
        return None
    down, across = sorted(axes, key=lambda axis: -len(axes[axis]))  # as in the table
    return Heatmap(down, across, list(axes[down]), list(axes[across]), summary.pair(down, across))


def panels_of(summary: SweepSummary) -> Sequence[Panel]:
    """Return the panels: first the steps, by scheme or target, then every other axis."""
    axes = listed_axes(summary)
    panels: list[Panel] = []
    if _has_steps(axes):
        split = _split_axis(axes)
        panels += _step_panels(summary, axes, split)
        axes = {axis: cells for axis, cells in axes.items() if axis not in ("step", split)}
    panels += [Panel(axis, cells) for axis, cells in axes.items()]
    if not panels:
        return [Panel("", {"": summary.total})]
    if len(panels) == 1 and panels[0].axis in SHAPE_AXES:
        return [*panels, Panel(panels[0].axis, panels[0].cells, seconds=True)]
    return panels[:MAX_PANELS]


def notes_of(summary: SweepSummary) -> Iterator[str]:
    """Yield the notes that a reader of the plot needs."""
    if zeros := exact_zeros(summary):
        yield f"{', '.join(sorted(zeros))}: exactly 0"
    for axis in sorted(summary.truncated_axes):
        yield f"{axis_label(axis)}: more than {MAX_LISTED_VALUES} values, not plotted"
    heatmap = build_heatmap(summary)
    if heatmap is None:
        yield from _panel_notes(summary)
        return
    verdicts = {cell.verdict for cell in heatmap.cells.values()}
    marks = [f"{sign} {WORDS[verdict]}" for verdict, sign in SIGNS.items() if sign and verdict in verdicts]
    if marks:
        yield "   ".join(marks)


def _panel_notes(summary: SweepSummary) -> Iterator[str]:
    panels, axes = panels_of(summary), listed_axes(summary)
    errors = [worst.error for panel in panels for cell in panel.cells.values() for worst in cell.gradients.values()]
    if any(error is not None and error < MIN_RELATIVE_ERROR for error in errors):
        yield f"errors below {MIN_RELATIVE_ERROR:.0e} are drawn at {MIN_RELATIVE_ERROR:.0e}"
    shown = {panel.axis for panel in panels} | {_split_axis(axes)}
    missing = [axis_label(axis) for axis in axes if axis not in shown]
    if missing:
        yield f"not plotted: {', '.join(missing)}"


def _has_steps(axes: Mapping[str, Mapping[Any, Aggregate]]) -> bool:
    return sum(not isinstance(step, str) for step in axes.get("step", ())) > 1


def _split_axis(axes: Mapping[str, Mapping[Any, Aggregate]]) -> str:
    """Return the axis each value of which gets its own panel of steps; "" if there is none."""
    candidates = [axis for axis in ("scheme", "target") if 1 < len(axes.get(axis, ())) <= MAX_PANELS]
    return candidates[0] if candidates and _has_steps(axes) else ""


def _step_panels(summary: SweepSummary, axes: Mapping[str, Mapping[Any, Aggregate]], split: str) -> Iterator[Panel]:
    schemes = list(summary.cells["scheme"])
    scheme = schemes[0] if len(schemes) == 1 else ""
    if not split:
        yield Panel("step", axes["step"], scheme=scheme)
        return
    pair = summary.pair(split, "step")
    for value in axes[split]:
        cells = {step: pair[value, step] for step in axes["step"] if (value, step) in pair}
        if cells:
            yield Panel("step", cells, str(value), value if split == "scheme" else scheme)
