"""A panel of a picture: what every gradient comes to along an axis, or how long the checks took."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from bncheck.model.results import Verdict
from bncheck.numerical.schemes import get_scheme
from bncheck.render.plots.panels import CLOSEST, Panel, name_of
from bncheck.render.plots.slope_lines import Automatic, SlopeLine, automatic, slope_lines
from bncheck.render.sweep_report import AXIS_LABELS, format_axis_value
from bncheck.sweeps.aggregate import Aggregate, SweepSummary, WorstError
from bncheck.sweeps.rows import MIN_RELATIVE_ERROR

# Colours that the colour-blind tell apart (Okabe & Ito 2008); in grey the markers and dashes do.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#8C6D00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "<", ">")
DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (4, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 1)))

# The gradients at a value stand beside one another: over this share of the way to the next, and of the axis.
SPREAD, MOST_SPREAD = 0.36, 0.06
# An automatic step so many times outside of the steps is pointed at and not drawn.
FAR = 10.0
# Bars that are wider than so many times the largest error run out of the panel.
WIDE = 300.0
# So many values of an axis stand under it, and so many characters on an inch of the picture.
MOST_TICKS, PER_INCH = 10, 11.0
SMALL_PRINT = 8.5


@dataclass(frozen=True, slots=True)
class LineStyle:
    """How a gradient is told from the others, in black and white too."""

    colour: str
    marker: str
    dash: Any  # as matplotlib takes it
    shift: float  # where among the gradients it stands beside a value, -1/2 to 1/2

    @classmethod
    def of(cls, number: int, count: int) -> "LineStyle":
        """Return the look of one of so many gradients."""
        shift = (number - (count - 1) / 2) / count
        return cls(COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)], DASHES[number % len(DASHES)], shift)

    @property
    def marks(self) -> Mapping[Verdict, Mapping[str, Any]]:
        """What stands for a verdict."""
        return {
            Verdict.PASS: {"marker": self.marker, "markersize": 5},
            Verdict.INCONCLUSIVE: {"marker": self.marker, "markersize": 5.5, "markerfacecolor": "white"},
            Verdict.FAIL: {"marker": "x", "markersize": 7, "markeredgewidth": 2},
        }


@dataclass(frozen=True, slots=True)
class AxisPositions:
    """Where the values of an axis stand on it."""

    at: Mapping[Any, float]
    log: bool = False
    spread: float = SPREAD  # over which the gradients stand: a distance, or the logarithm of a factor

    def beside(self, value: Any, shift: float) -> float:
        """Return where a gradient stands at a value."""
        move = shift * self.spread
        return float(self.at[value] * math.exp(move) if self.log else self.at[value] + move)


def draw_errors(
    axes: Axes, panel: Panel, looks: Mapping[str, LineStyle], limits: tuple[float, float], tally: SweepSummary
) -> None:
    """Draw the errors of every gradient along an axis, and of steps what theory says of them."""
    axes.set(yscale="log", ylim=limits)
    axes.yaxis.set_major_locator(LogLocator(numticks=10))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_axis_value(_rounded(value))))
    axes.yaxis.set_minor_locator(NullLocator())
    auto = automatic(tally, get_scheme(panel.scheme)) if panel.scheme else None
    places = _placed(axes, panel, list(looks), auto)
    if panel.scheme:
        _draw_theory(axes, panel, auto)
    for name, look in looks.items():
        _draw_gradient(axes, panel, name, look, places, limits[1])
    _draw_not_run(axes, panel, places)


def _draw_not_run(axes: Axes, panel: Panel, places: AxisPositions) -> None:
    """Say where nothing ran."""
    missing = [value for value, cell in panel.cells.items() if not cell.gradients]
    style: dict[str, Any] = {"ha": "center", "fontsize": SMALL_PRINT}
    if len(missing) == len(panel.cells):
        axes.text(0.5, 0.5, "not run", transform=axes.transAxes, **style)
        return
    for value in filter(places.at.__contains__, missing):
        across = axes.get_xaxis_transform()
        axes.text(places.at[value], 0.03, "not run", rotation=90, va="bottom", transform=across, **style)


def draw_seconds(axes: Axes, panel: Panel) -> None:
    """Draw how long a check takes: the mean, from the shortest to the longest."""
    axes.set(yscale="log", ylabel="seconds per check")
    places = _placed(axes, panel, (), None)
    times = {places.at[value]: cell.times for value, cell in panel.cells.items() if cell.times.shortest}
    mean = {x: 1e-9 * t.total / t.count for x, t in times.items()}
    axes.plot(list(mean), list(mean.values()), "o-", color="black", markersize=5, linewidth=1.3, label="mean")
    for x, t in times.items():
        if t.shortest < t.longest:
            ends = [1e-9 * t.shortest, 1e-9 * t.longest]
            axes.plot([x, x], ends, color="black", marker="_", linewidth=0.7, gid="bar seconds")
    low, high = axes.get_ylim()
    axes.set_ylim(low / 2, high * 2)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 50 * low else (1.0,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def limits_of(panels: Sequence[Panel], names: Sequence[str]) -> tuple[float, float]:
    """Return the lowest and the highest error that all the panels have room for."""
    worst = [c.gradients[name] for p in panels for c in p.cells.values() for name in names if name in c.gradients]
    heights = [height for w in worst if math.isfinite(height := _height(w, math.inf))] or [1e-16, 1.0]
    bars = [min(bar, WIDE * max(heights)) for w in worst if (bar := bar_of(w))]
    odd = 10.0 if any(_height(w, math.inf) == math.inf for w in worst) else 1.0
    return min((*heights, *bars)) / 3, 3 * odd * max((*heights, *bars))


def bar_of(worst: WorstError) -> float:
    """Return what the error bars allow; 0 where it is not known, or nothing is measured."""
    bound = worst.relative_error_bound
    return 0.0 if math.isnan(bound) or worst.error is None else bound


def _height(worst: WorstError | None, ceiling: float) -> float:
    """Return where an error is drawn: NaN for none, what is not finite at the ceiling, and 0 on the floor."""
    if worst is None or worst.error is None:
        return math.nan
    return max(worst.error, MIN_RELATIVE_ERROR) if math.isfinite(worst.error) else ceiling


def _draw_gradient(axes: Axes, panel: Panel, name: str, look: LineStyle, places: AxisPositions, ceiling: float) -> None:
    """Draw the line of a gradient, its bars, and at each value the mark of its verdict."""
    cells = _cells(panel, name, places)
    x = {value: places.beside(value, look.shift if panel.axis else 0.0) for value in cells}
    y = {value: _height(cell.gradients.get(name), ceiling) for value, cell in cells.items()}
    if panel.connected:
        line = [value for value in cells if not isinstance(value, str)]
        axes.plot(
            [x[v] for v in line], [y[v] for v in line], color=look.colour, linestyle=look.dash, linewidth=1.3,
            label=name,
        )  # fmt: skip
    shown = {value: cell for value, cell in cells.items() if not math.isnan(y[value])}
    for value, cell in shown.items():
        bar = min(bar_of(cell.gradients[name]), WIDE * ceiling)
        if bar:
            line_ends = sorted((y[value], bar))
            axes.plot([x[value]] * 2, line_ends, color=look.colour, linewidth=0.7, alpha=0.5, gid=f"bar {name}")
            axes.plot(x[value], bar, "_", color=look.colour, markersize=5, gid=f"cap {name}")
    for verdict, style in look.marks.items():
        here = [value for value, cell in shown.items() if cell.verdict_of(name) is verdict]
        if here:  # else matplotlib makes room for them all the same, as they are not clipped
            axes.plot(
                [x[v] for v in here], [y[v] for v in here], color=look.colour, linestyle="none", clip_on=False,
                zorder=3, gid=f"{verdict.value} {name}", **style,
            )  # fmt: skip


def _cells(panel: Panel, name: str, places: AxisPositions) -> Mapping[Any, Aggregate]:
    """Return by place the cells of a gradient; where the gradients are the axis, the one at its own."""
    if panel.axis:
        return {value: cell for value, cell in panel.cells.items() if value in places.at}
    return {name: cell for cell in panel.cells.values()}  # noqa: B035 - there is one


def _placed(axes: Axes, panel: Panel, names: Sequence[str], auto: Automatic | None) -> AxisPositions:
    """Lay out the axis of a panel, and return where its values stand."""
    axes.set_xlabel(AXIS_LABELS.get(panel.axis, panel.axis))
    axes.xaxis.set_minor_locator(NullLocator())
    if panel.scale == "names":
        return _named(axes, list(panel.cells) if panel.axis else names)
    log, numbers = panel.scale == "log", sorted(panel.numbers)
    at: dict[Any, float] = {number: float(number) for number in numbers}
    if "auto" in panel.cells and auto is not None:
        at["auto"] = auto.median
    axes.set_xscale("log" if log else "linear")
    axes.xaxis.set_minor_locator(NullLocator())
    ends = [math.log(x) if log else x for x in (min(at.values()), max(at.values()))]
    between = [math.log(b / a) if log else b - a for a, b in itertools.pairwise(numbers)]
    edge = min(0.6 * min(between), 0.15 * (ends[1] - ends[0]))
    around = (ends[0] - edge, ends[1] + edge)
    axes.set_xlim(*map(math.exp, around) if log else around)
    whole = all(isinstance(number, int) for number in numbers)
    if panel.axis != "step" and len(numbers) <= MOST_TICKS and min(between) >= CLOSEST * (ends[1] - ends[0]):
        axes.set_xticks(numbers, [format_axis_value(number) for number in numbers])
    else:
        axes.xaxis.set_major_locator(LogLocator(numticks=9) if log else MaxNLocator(8, integer=whole))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda x, _: format_axis_value(round(x) if whole else _rounded(x)))
        )
    return AxisPositions(at, log, min(SPREAD * min(between), MOST_SPREAD * (ends[1] - ends[0])))


def _rounded(value: float) -> float:
    """Return a tick without the rounding of its power of ten."""
    return float(f"{value:.6g}")


def _named(axes: Axes, values: Sequence[Any]) -> AxisPositions:
    """Lay out values that stand for themselves, evenly spaced; of many numbers only some are written."""
    names = [name_of(value) for value in values]
    crowded = max(1, math.ceil(len(names) * (max(map(len, names), default=0) + 2) / _room(axes)))
    numbers = not any(isinstance(value, str) for value in values)
    written_out = range(0, len(names), crowded if numbers else 1)
    axes.set_xticks(written_out, [names[i] for i in written_out])
    if crowded > 1 and not numbers:
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.6, max(len(names), 1) - 0.4)
    axes.grid(False, axis="x")
    return AxisPositions({value: float(i) for i, value in enumerate(values)})


def _room(axes: Axes) -> float:
    """Return how many characters stand beside one another under a panel."""
    place = axes.get_subplotspec()
    assert place is not None
    return float(axes.figure.bbox.width / axes.figure.dpi / place.get_gridspec().ncols * PER_INCH)


def _draw_theory(axes: Axes, panel: Panel, auto: Automatic | None) -> None:
    """Draw the slopes that the errors show, and where the automatic step is."""
    for guide in slope_lines(panel.cells, get_scheme(panel.scheme)):
        _draw_guide(axes, guide)
    if auto is None:
        return
    left, right = axes.get_xlim()
    if left / FAR < auto.median < right * FAR:
        axes.axvspan(auto.smallest, auto.largest, color="0.91", linewidth=0, zorder=0, gid="auto")
        axes.axvline(auto.median, color="0.45", linewidth=0.9, linestyle=(0, (3, 2)), zorder=1, gid="auto")
        _above(axes, auto.median, "center", "auto")
        axes.set_xlim(min(left, auto.median / 2), max(right, auto.median * 2))
    elif auto.median < left:
        _above(axes, left, "left", f"← auto: {auto.median:.0e}")
    else:
        _above(axes, right, "right", f"auto: {auto.median:.0e} →")


def _above(axes: Axes, step: float, side: str, words: str) -> None:
    """Write words above a panel, at a step."""
    axes.text(step, 1.01, words, ha=side, va="bottom", fontsize=SMALL_PRINT, transform=axes.get_xaxis_transform())


def _draw_guide(axes: Axes, guide: SlopeLine) -> None:
    """Draw a slope, and name it at its upper end, inside of the V."""
    axes.plot(guide.steps, [guide.error(step) for step in guide.steps], color="0.3", linewidth=0.9, gid=guide.label)
    rising = guide.power > 0
    end = guide.steps[1 if rising else 0]
    axes.annotate(
        guide.label, (end, guide.error(end)), (-8 if rising else 8, 2), textcoords="offset points",
        ha="right" if rising else "left", va="center", style="italic", zorder=4,
        path_effects=[withStroke(linewidth=3, foreground="white")],
    )  # fmt: skip
