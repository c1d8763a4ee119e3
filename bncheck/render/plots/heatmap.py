"""Two axes of a sweep as a heat map: the correct digits of the worst gradient, and a mark for every other verdict."""

import itertools
import math
from collections.abc import Iterable

from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from bncheck.render.plots.panels import Heatmap, label_columns, name_of
from bncheck.render.sweep_report import AXIS_LABELS, DIGITS_BAR_WIDTH, SIGNS, format_digits
from bncheck.sweeps.aggregate import Aggregate

# Width and height in inches: of a cell, of the labels and the color bar, and of the smallest figure.
CELL_INCHES, LABEL_INCHES, MIN_INCHES = (0.62, 0.34), (3.0, 1.0), (7.5, 2.6)
# Brighter means more digits, in gray as well; numbers on cells below MIDDLE of the color map are white.
COLOR_MAP, MIDDLE = "cividis", 0.5
# Smallest number of digits that the color map covers, so that noise looks like noise.
MIN_DIGITS_SPAN = 4


def draw_heatmap(heatmap: Heatmap) -> Figure:
    """Draw the heat map of two axes."""
    shape = (len(heatmap.columns), len(heatmap.rows))
    width, height = (max(MIN_INCHES[i], CELL_INCHES[i] * shape[i] + LABEL_INCHES[i]) for i in range(2))
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    digits = [[_digits(heatmap.cells.get((row, column))) for column in heatmap.columns] for row in heatmap.rows]
    norm = Normalize(*_digits_range(itertools.chain(*digits)))
    mesh = axes.pcolormesh(digits, norm=norm, cmap=COLOR_MAP, edgecolors="white", linewidth=1)
    for (i, row), (j, column) in itertools.product(enumerate(heatmap.rows), enumerate(heatmap.columns)):
        is_dark = math.isfinite(digits[i][j]) and norm(digits[i][j]) < MIDDLE
        label = _cell_label(heatmap.cells.get((row, column)))
        axes.text(j + 0.5, i + 0.5, label, ha="center", va="center", color="white" if is_dark else "black")
    label_columns(axes, [j + 0.5 for j in range(shape[0])], [name_of(value) for value in heatmap.columns])
    axes.set_yticks([i + 0.5 for i in range(shape[1])], [name_of(value) for value in heatmap.rows])
    axes.set(xlabel=AXIS_LABELS.get(heatmap.across, heatmap.across), ylabel=AXIS_LABELS.get(heatmap.down, heatmap.down))
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    color_bar = figure.colorbar(mesh, ax=axes, label="correct digits of the worst gradient", pad=0.02)
    color_bar.outline.set_visible(False)
    return figure


def _digits(cell: Aggregate | None) -> float:
    """Return the correct digits of the worst gradient, for the color; NaN, which has no color, if nothing ran."""
    return min(cell.min_digits, DIGITS_BAR_WIDTH) if cell is not None and cell.gradients else math.nan


def _cell_label(cell: Aggregate | None) -> str:
    """Return the text of a cell, as in the table."""
    if cell is None:
        return "-"
    return f"{format_digits(cell.min_digits) if cell.gradients else ''}{SIGNS[cell.verdict]}"


def _digits_range(digits: Iterable[float]) -> tuple[float, float]:
    """Return the number of digits at the dark and at the bright end of the color map."""
    finite = [digit for digit in digits if math.isfinite(digit)] or [0.0]
    highest = max(math.ceil(max(finite)), MIN_DIGITS_SPAN)
    return max(0, min(math.floor(min(finite)), highest - MIN_DIGITS_SPAN)), highest
