"""The figure of a sweep: panels or a heat map, with a title above and the legend and notes below."""

import io
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from bncheck.model.verdict import Verdict
from bncheck.render.encoding import escape_control_chars
from bncheck.render.plots import curves
from bncheck.render.plots.panels import Heatmap, Panel, build_heatmap, name_of, names_of, notes_of, panels_of
from bncheck.render.sweep_report import DIGITS_BAR_WIDTH, SIGNS, SweepReport, axis_label, format_digits, headings
from bncheck.sweeps.aggregate import Aggregate, SweepSummary

# The same rows give the same file: no dates, and no random names in an SVG.
METADATA: Mapping[str, Mapping[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "bncheck", "text.parse_math": False, "font.size": 9.5, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": "0.88", "grid.linewidth": 0.6, "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlesize": 10, "legend.fontsize": 9, "legend.title_fontsize": 8.5, "legend.frameon": False,
    "figure.titlesize": 10, "figure.constrained_layout.w_pad": 0.1, "savefig.dpi": 150,
}  # fmt: skip

# By the number of panels: columns; by the number of columns: width in inches.
COLUMNS = {1: 1, 2: 2, 3: 3, 4: 2, 5: 3, 6: 3}
WIDTHS = {1: 7.5, 2: 10.0, 3: 12.5}
PANEL_INCHES = 3.4  # height of a panel, with its axis labels
MARGIN_INCHES = 0.1
# Width and height in inches of a heat map: of a cell, of the labels and the color bar, and of the smallest figure.
CELL_INCHES, LABEL_INCHES, MIN_INCHES = (0.62, 0.34), (3.0, 1.0), (7.5, 2.6)
# Brighter means more digits, in gray as well; numbers on cells below MIDDLE of the color map are white.
COLOR_MAP, MIDDLE = "cividis", 0.5
# Smallest number of digits that the color map covers, so that noise looks like noise.
MIN_DIGITS_SPAN = 4


def picture(report: SweepReport, kind: str) -> bytes:
    """Return the plot of a sweep as the content of a png, svg or pdf file."""
    file = io.BytesIO()
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # of a target's name
        mpl.rcdefaults()  # the plot does not depend on a user's matplotlibrc
        mpl.rcParams.update(SETTINGS)
        draw_figure(report).savefig(file, format=kind, metadata=dict(METADATA[kind]))
    return file.getvalue()


def draw_figure(report: SweepReport) -> Figure:
    """Draw a sweep; the figure does not depend on the order of the rows."""
    summary = report.summary
    heatmap = build_heatmap(summary)
    panels = panels_of(summary)
    names = names_of(summary)
    styles = {name: curves.LineStyle.numbered(number, len(names)) for number, name in enumerate(names)}
    figure = _draw_heatmap(heatmap) if heatmap else _draw_panels(panels, styles, summary)
    checks = f"{summary.count:,} check{'' if summary.count == 1 else 's'}: {report.counts}"
    handles = [] if heatmap else list(_legend_handles(panels, styles))
    _add_title_and_legend(figure, [*headings(summary), checks], handles, list(notes_of(summary)))
    return figure


def _draw_panels(panels: Sequence[Panel], styles: Mapping[str, curves.LineStyle], summary: SweepSummary) -> Figure:
    """Draw the panels; all errors have the same scale."""
    columns = COLUMNS[len(panels)]
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(WIDTHS[columns], rows * PANEL_INCHES), layout="constrained")
    limits = curves.error_limits([panel for panel in panels if not panel.seconds], list(styles))
    is_aggregated = any(cell.verdicts.total() > 1 for panel in panels for cell in panel.cells.values())
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, number + 1)
        if panel.title:
            title = axes.set_title("", pad=16)
            title.set_text(_cut_to_width(title, _one_line(panel.title), axes.get_window_extent().width))
        if panel.seconds:
            curves.draw_seconds(axes, panel)
            continue
        curves.draw_errors(axes, panel, styles, limits, summary)
        if number % columns == 0:
            axes.set_ylabel(f"norm relative error{' (worst case)' if is_aggregated else ''}")
    return figure


def _draw_heatmap(heatmap: Heatmap) -> Figure:
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
    curves.label_columns(axes, [j + 0.5 for j in range(shape[0])], [name_of(value) for value in heatmap.columns])
    axes.set_yticks([i + 0.5 for i in range(shape[1])], [name_of(value) for value in heatmap.rows])
    axes.set(xlabel=axis_label(heatmap.across), ylabel=axis_label(heatmap.down))
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


def _legend_handles(panels: Sequence[Panel], styles: Mapping[str, curves.LineStyle]) -> Iterator[Line2D]:
    """Yield a line for each gradient and a mark for each meaning that occurs."""
    if panels[0].axis:
        for name, style in styles.items():
            yield Line2D([], [], color=style.color, marker=style.marker, markersize=5, linestyle=style.dash, label=name)
    cells = [cell for panel in panels if not panel.seconds for cell in panel.cells.values()]
    drawn = [(cell, name) for cell in cells for name in styles if name in cell.gradients]
    verdicts = {cell.verdict_of(name) for cell, name in drawn}
    if Verdict.INCONCLUSIVE in verdicts:
        yield _mark("o", 5.5, "hollow: inconclusive")
    if Verdict.FAIL in verdicts:
        yield _mark("x", 7, "FAIL")
    if any(curves.error_bound_of(cell.gradients[name]) for cell, name in drawn):
        yield _mark("_", 7, "error bound")


def _mark(marker: str, size: float, label: str) -> Line2D:
    return Line2D(
        [], [], color="0.25", marker=marker, markersize=size, markerfacecolor="white", linestyle="none", label=label,
        markeredgewidth=2 if marker == "x" else 1,
    )  # fmt: skip


def _add_title_and_legend(
    figure: Figure, lines: Sequence[str], handles: Sequence[Line2D], notes: Sequence[str]
) -> None:
    """Add the title above and the legend with the notes below, and make the figure higher by their heights."""
    available = figure.bbox.width - 2 * MARGIN_INCHES * figure.dpi
    left = MARGIN_INCHES * figure.dpi / figure.bbox.width
    title = figure.suptitle("", x=left, ha="left", linespacing=1.4)
    title.set_text("\n".join(_cut_to_width(title, _one_line(line), available) for line in lines))
    height = title.get_window_extent().height
    if handles or notes:
        # The legend has as many columns as fit.
        for columns in range(max(len(handles), 1), 0, -1):
            legend = figure.legend(
                handles=list(handles), loc="outside lower left", ncols=columns, title="\n".join(notes) or None,
                alignment="left",
            )  # fmt: skip
            if columns == 1 or legend.get_window_extent().width <= available:
                break
            legend.remove()
        height += legend.get_window_extent().height
    width, panels = figure.get_size_inches()
    figure.set_size_inches(width, panels + height / figure.dpi)


def _one_line(text: str) -> str:
    return escape_control_chars(text).replace("\n", " ")


def _cut_to_width(text: Text, line: str, width: float) -> str:
    """Return a line that is at most ``width`` pixels wide in the font of ``text``.

    A longer line is cut on the left, because the end of a path is more specific.
    """
    before, cut = text.get_text(), line
    text.set_text(cut)
    while text.get_window_extent().width > width and len(cut) > 1:
        line = line[max(1, len(line) // 16) :]
        cut = f"…{line}"
        text.set_text(cut)
    text.set_text(before)
    return cut
