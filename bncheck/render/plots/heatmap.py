"""Two axes of a sweep as a map: in every cell the fewest correct digits, and a mark for no pass."""

import itertools
import math
from collections.abc import Iterable

from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from bncheck.render.plots.panels import Heatmap, name_of
from bncheck.render.sweep_report import AXIS_LABELS, DIGITS_BAR_WIDTH, SIGNS, format_digits
from bncheck.sweeps.aggregate import Aggregate

# Inches: of a cell and what stands beside the cells, and of the smallest map.
CELL, BESIDE, LEAST = (0.62, 0.34), (3.0, 1.0), (7.5, 2.6)
# Bright where there are many digits, in grey as in colour; from this share of the shades on black is read on it.
SHADES, MIDDLE = "cividis", 0.5
# So many digits at least go from dark to bright: noise is to look like none.
LEAST_SPAN = 4


def heat_map(heat: Heatmap) -> Figure:
    """Draw a map of two axes."""
    across = max(LEAST[0], CELL[0] * len(heat.columns) + BESIDE[0])
    figure = Figure(figsize=(across, max(LEAST[1], CELL[1] * len(heat.rows) + BESIDE[1])), layout="constrained")
    axes = figure.add_subplot()
    digits = [[_digits(heat.cells.get((down, across))) for across in heat.columns] for down in heat.rows]
    shades = Normalize(*_span(itertools.chain(*digits)))
    mesh = axes.pcolormesh(digits, norm=shades, cmap=SHADES, edgecolors="white", linewidth=1)
    for (i, down), (j, across) in itertools.product(enumerate(heat.rows), enumerate(heat.columns)):
        dark = math.isfinite(digits[i][j]) and shades(digits[i][j]) < MIDDLE
        written = _told(heat.cells.get((down, across)))
        axes.text(j + 0.5, i + 0.5, written, ha="center", va="center", color="white" if dark else "black")
    axes.set_xticks([j + 0.5 for j in range(len(heat.columns))], [name_of(value) for value in heat.columns])
    axes.set_yticks([i + 0.5 for i in range(len(heat.rows))], [name_of(value) for value in heat.rows])
    axes.set(xlabel=AXIS_LABELS.get(heat.across, heat.across), ylabel=AXIS_LABELS.get(heat.down, heat.down))
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    figure.colorbar(mesh, ax=axes, label="fewest correct digits", pad=0.02).outline.set_visible(False)
    return figure


def _digits(cell: Aggregate | None) -> float:
    """Return the fewest correct digits, for a shade; NaN, which has none, where nothing ran."""
    return min(cell.min_digits, DIGITS_BAR_WIDTH) if cell is not None and cell.gradients else math.nan


def _told(cell: Aggregate | None) -> str:
    """Write a cell as the table does."""
    if cell is None:
        return "-"
    return f"{format_digits(cell.min_digits) if cell.gradients else ''}{SIGNS[cell.verdict]}"


def _span(digits: Iterable[float]) -> tuple[float, float]:
    """Return between which digits the shades go."""
    known = [digit for digit in digits if math.isfinite(digit)] or [0.0]
    highest = max(math.ceil(max(known)), LEAST_SPAN)
    return max(0, min(math.floor(min(known)), highest - LEAST_SPAN)), highest
