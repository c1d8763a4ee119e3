"""One panel of a plot: the errors of every gradient along an axis, or the seconds per check."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator

from bncheck.model.verdict import Verdict
from bncheck.numerical.schemes import get_scheme
from bncheck.render.plots.panels import MIN_LINEAR_GAP, Panel, name_of
from bncheck.render.plots.slope_lines import AutomaticSteps, automatic_steps_of, slope_lines
from bncheck.render.sweep_report import axis_label, format_axis_value
from bncheck.sweeps.aggregate import Aggregate, GradientAggregate, SweepSummary
from bncheck.sweeps.rows import MIN_RELATIVE_ERROR

# Colors that color-blind readers can distinguish (Okabe & Ito 2008); in gray, markers and dashes differ.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#8C6D00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "<", ">")
DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (4, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 1)))

# The gradients at one value are spread over this fraction of the distance to the next value, and of the axis.
MAX_SPREAD, MAX_SPREAD_OF_AXIS = 0.36, 0.06
# If the automatic step is outside the axis by more than this factor, an arrow points to it.
MAX_AUTOMATIC_DISTANCE = 10.0
# Error bounds above this multiple of the largest error extend beyond the panel.
MAX_BOUND_FACTOR = 300.0
# Tick labels on an axis.
MAX_TICKS = 10
SMALL_FONT = 8.5


@dataclass(frozen=True, slots=True)
class LineStyle:
    """What distinguishes a gradient from the others, in black and white too."""

    color: str
    marker: str
    dash: Any  # a line style of matplotlib
    shift: float  # position among the gradients at a value, from -1/2 to 1/2

    @classmethod
    def numbered(cls, number: int, count: int) -> "LineStyle":
        """Return the style of gradient ``number`` of ``count``."""
        shift = (number - (count - 1) / 2) / count
        return cls(COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)], DASHES[number % len(DASHES)], shift)

    @property
    def marks(self) -> Mapping[Verdict, Mapping[str, Any]]:
        """The mark of each verdict."""
        return {
            Verdict.PASS: {"marker": self.marker, "markersize": 5},
            Verdict.INCONCLUSIVE: {"marker": self.marker, "markersize": 5.5, "markerfacecolor": "white"},
            Verdict.FAIL: {"marker": "x", "markersize": 7, "markeredgewidth": 2},
        }


@dataclass(frozen=True, slots=True)
class AxisPositions:
    """The positions of values on an axis."""

    x: Mapping[Any, float]  # by value
    log: bool = False
    spread: float = MAX_SPREAD  # of the gradients at one value: a distance, or the logarithm of a factor

    def shifted(self, value: Any, shift: float) -> float:
        """Return the position of a gradient at a value."""
        distance = shift * self.spread
        return float(self.x[value] * math.exp(distance) if self.log else self.x[value] + distance)


def draw_errors(
    axes: Axes, panel: Panel, styles: Mapping[str, LineStyle], limits: tuple[float, float], summary: SweepSummary
) -> None:
    """Draw the errors of every gradient along an axis; along steps also the theoretical slopes."""
    axes.set(yscale="log", ylim=limits)
    axes.yaxis.set_major_locator(LogLocator(numticks=10))
    axes.yaxis.set_major_formatter(lambda value, _: _tick_label(value))
    automatic = automatic_steps_of(summary, get_scheme(panel.scheme)) if panel.scheme else None
    positions = _draw_axis(axes, panel, list(styles), automatic)
    axes.minorticks_off()
    if panel.scheme:
        _draw_theory(axes, panel, automatic)
    for name, style in styles.items():
        _draw_gradient(axes, panel, name, style, positions, limits[1])
    _label_missing_values(axes, panel, positions)


def _label_missing_values(axes: Axes, panel: Panel, positions: AxisPositions) -> None:
    """Label the values at which no check could run."""
    missing = [value for value, cell in panel.cells.items() if not cell.gradients]
    font: dict[str, Any] = {"ha": "center", "fontsize": SMALL_FONT}
    if len(missing) == len(panel.cells):
        axes.text(0.5, 0.5, "could not run", transform=axes.transAxes, **font)
        return
    for value in filter(positions.x.__contains__, missing):
        transform = axes.get_xaxis_transform()
        axes.text(positions.x[value], 0.03, "could not run", rotation=90, va="bottom", transform=transform, **font)


def draw_seconds(axes: Axes, panel: Panel) -> None:
    """Draw the seconds per check: the mean, with a line from the shortest to the longest."""
    axes.set(yscale="log", ylabel="seconds per check")
    positions = _draw_axis(axes, panel, (), None)
    axes.minorticks_off()
    times = {positions.x[value]: cell.times for value, cell in panel.cells.items() if cell.times.shortest_ns}
    mean = {x: 1e-9 * t.total_ns / t.count for x, t in times.items()}
    axes.plot(list(mean), list(mean.values()), "o-", color="black", markersize=5, linewidth=1.3, label="mean")
    for x, t in times.items():
        if t.shortest_ns < t.longest_ns:
            ends = [1e-9 * t.shortest_ns, 1e-9 * t.longest_ns]
            axes.plot([x, x], ends, color="black", marker="_", linewidth=0.7, gid="bar seconds")
    low, high = axes.get_ylim()
    axes.set_ylim(low / 2, high * 2)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 50 * low else (1.0,)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")


def error_limits(panels: Sequence[Panel], names: Sequence[str]) -> tuple[float, float]:
    """Return the limits of the error axis, the same for all panels."""
    worst = [c.gradients[name] for p in panels for c in p.cells.values() for name in names if name in c.gradients]
    heights = [height for w in worst if math.isfinite(height := _height(w, math.inf))] or [1e-16, 1.0]
    bounds = [min(bound, MAX_BOUND_FACTOR * max(heights)) for w in worst if (bound := error_bound_of(w))]
    headroom = 10.0 if any(_height(w, math.inf) == math.inf for w in worst) else 1.0
    return min((*heights, *bounds)) / 3, 3 * headroom * max((*heights, *bounds))


def error_bound_of(worst: GradientAggregate) -> float:
    """Return the relative error bound; 0 if it is not known, or if the gradient is exactly 0."""
    bound = worst.relative_error_bound
    return 0.0 if math.isnan(bound) or worst.error is None else bound


def _height(worst: GradientAggregate | None, ceiling: float) -> float:
    """Return the height of an error: NaN for none, the ceiling for a value that is not finite."""
    if worst is None or worst.error is None:
        return math.nan
    return max(worst.error, MIN_RELATIVE_ERROR) if math.isfinite(worst.error) else ceiling


def _draw_gradient(
    axes: Axes, panel: Panel, name: str, style: LineStyle, positions: AxisPositions, ceiling: float
) -> None:
    """Draw the line of a gradient, its error bounds, and at each value the mark of its verdict."""
    cells = _cells_of(panel, name, positions)
    x = {value: positions.shifted(value, style.shift if panel.axis else 0.0) for value in cells}
    y = {value: _height(cell.gradients.get(name), ceiling) for value, cell in cells.items()}
    if panel.is_connected:
        line = [value for value in cells if not isinstance(value, str)]
        axes.plot(
            [x[v] for v in line], [y[v] for v in line], color=style.color, linestyle=style.dash, linewidth=1.3,
            label=name,
        )  # fmt: skip
    shown = {value: cell for value, cell in cells.items() if not math.isnan(y[value])}
    for value, cell in shown.items():
        bound = min(error_bound_of(cell.gradients[name]), MAX_BOUND_FACTOR * ceiling)
        if bound:
            ends = sorted((y[value], bound))
            axes.plot([x[value]] * 2, ends, color=style.color, linewidth=0.7, alpha=0.5, gid=f"bar {name}")
            axes.plot(x[value], bound, "_", color=style.color, markersize=5, gid=f"cap {name}")
    for verdict, mark in style.marks.items():
        values = [value for value, cell in shown.items() if cell.verdict_of(name) is verdict]
        if values:  # matplotlib would reserve space for an unclipped line without points
            axes.plot(
                [x[v] for v in values], [y[v] for v in values], color=style.color, linestyle="none", clip_on=False,
                zorder=3, gid=f"{verdict.value} {name}", **mark,
            )  # fmt: skip


def _cells_of(panel: Panel, name: str, positions: AxisPositions) -> Mapping[Any, Aggregate]:
    """Return the cells of a gradient by position; if the gradients are the axis, the only cell at its own position."""
    if panel.axis:
        return {value: cell for value, cell in panel.cells.items() if value in positions.x}
    (cell,) = panel.cells.values()
    return {name: cell}


def _draw_axis(axes: Axes, panel: Panel, names: Sequence[str], automatic: AutomaticSteps | None) -> AxisPositions:
    """Scale and label the horizontal axis of a panel, and return the positions of its values."""
    axes.set_xlabel(axis_label(panel.axis))
    if panel.scale == "names":
        return _draw_even_axis(axes, list(panel.cells) if panel.axis else names)
    log, numbers = panel.scale == "log", sorted(panel.numbers)
    by_value: dict[Any, float] = {number: float(number) for number in numbers}
    if "auto" in panel.cells and automatic is not None:
        by_value["auto"] = automatic.median
    axes.set_xscale("log" if log else "linear")
    low, high = (math.log(x) if log else x for x in (min(by_value.values()), max(by_value.values())))
    smallest_gap = min(math.log(b / a) if log else b - a for a, b in itertools.pairwise(numbers))
    margin = min(0.6 * smallest_gap, 0.15 * (high - low))
    limits = (low - margin, high + margin)
    axes.set_xlim(*map(math.exp, limits) if log else limits)
    integers = all(isinstance(number, int) for number in numbers)
    if panel.axis != "step" and len(numbers) <= MAX_TICKS and smallest_gap >= MIN_LINEAR_GAP * (high - low):
        axes.set_xticks([float(number) for number in numbers], [format_axis_value(number) for number in numbers])
    else:
        axes.xaxis.set_major_locator(LogLocator(numticks=9) if log else MaxNLocator(8, integer=integers))
        axes.xaxis.set_major_formatter(lambda x, _: str(round(x)) if integers else _tick_label(x))
    return AxisPositions(by_value, log, min(MAX_SPREAD * smallest_gap, MAX_SPREAD_OF_AXIS * (high - low)))


def _tick_label(value: float) -> str:
    """Return the label of a tick without the rounding error of its power of ten."""
    return format_axis_value(float(f"{value:.6g}"))


def _draw_even_axis(axes: Axes, values: Sequence[Any]) -> AxisPositions:
    """Space values evenly; of many numbers only some are labeled."""
    names = [name_of(value) for value in values]
    axes.set_xlim(-0.6, max(len(names), 1) - 0.4)
    axes.grid(False, axis="x")
    if len(names) > MAX_TICKS and not any(isinstance(value, str) for value in values):
        axes.xaxis.set_major_locator(MaxNLocator(MAX_TICKS, integer=True))
        axes.xaxis.set_major_formatter(lambda x, _: names[round(x)] if 0 <= x < len(names) else "")
    else:
        label_columns(axes, range(len(names)), names)
    return AxisPositions({value: float(i) for i, value in enumerate(values)})


def label_columns(axes: Axes, positions: Sequence[float], names: Sequence[str]) -> None:
    """Label positions of the horizontal axis; labels that would touch are rotated."""
    axes.set_xticks(positions, names)
    labels = axes.get_xticklabels()
    if sum(label.get_window_extent().width for label in labels) > 0.8 * axes.get_window_extent().width:
        for label in labels:
            label.set(rotation=30, ha="right", rotation_mode="anchor")


def _draw_theory(axes: Axes, panel: Panel, automatic: AutomaticSteps | None) -> None:
    """Draw the theoretical slopes that the errors show, and the automatic step."""
    for line in slope_lines(panel.cells, get_scheme(panel.scheme)):
        axes.plot(line.steps, [line.error(step) for step in line.steps], color="0.3", linewidth=0.9, gid=line.label)
        rising = line.power > 0
        end = line.steps[1 if rising else 0]  # the upper one, between the two slopes
        axes.annotate(
            line.label, (end, line.error(end)), (-8 if rising else 8, 2), textcoords="offset points",
            ha="right" if rising else "left", va="center", style="italic", zorder=4,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )  # fmt: skip
    if automatic is None:
        return
    left, right = axes.get_xlim()
    if left / MAX_AUTOMATIC_DISTANCE < automatic.median < right * MAX_AUTOMATIC_DISTANCE:
        axes.axvspan(automatic.smallest, automatic.largest, color="0.91", linewidth=0, zorder=0, gid="auto")
        axes.axvline(automatic.median, color="0.45", linewidth=0.9, linestyle=(0, (3, 2)), zorder=1, gid="auto")
        _label_step(axes, automatic.median, "center", "auto")
        axes.set_xlim(min(left, automatic.median / 2), max(right, automatic.median * 2))
    elif automatic.median < left:
        _label_step(axes, left, "left", f"← auto: {automatic.median:.0e}")
    else:
        _label_step(axes, right, "right", f"auto: {automatic.median:.0e} →")


def _label_step(axes: Axes, step: float, alignment: str, label: str) -> None:
    """Write a label above the panel, at a step."""
    axes.text(step, 1.01, label, ha=alignment, va="bottom", fontsize=SMALL_FONT, transform=axes.get_xaxis_transform())
