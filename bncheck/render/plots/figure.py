"""A sweep drawn by matplotlib: its heading, the panels or a map of two axes, and what explains them."""

import io
import itertools
import math
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from bncheck.model.results import Verdict
from bncheck.render.encoding import escape_control_chars
from bncheck.render.plots.curves import LineStyle, bar_of, draw_errors, draw_seconds, limits_of
from bncheck.render.plots.heatmap import heat_map
from bncheck.render.plots.panels import Panel, build_heatmap, names_of, notes_of, panels_of
from bncheck.render.report import Report
from bncheck.render.sweep_report import SweepReport, headings
from bncheck.sweeps.aggregate import SweepSummary

# The same file from the same rows: no dates, and no random names in an SVG.
METADATA: Mapping[str, Mapping[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "bncheck", "text.parse_math": False, "font.size": 9.5, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": "0.88", "grid.linewidth": 0.6, "axes.spines.top": False, "axes.spines.right": False,
    "axes.labelsize": 9.5, "axes.titlesize": 10, "legend.fontsize": 9, "legend.frameon": False, "savefig.dpi": 150,
}  # fmt: skip

# How many panels stand beside one another, and how wide that is in inches.
COLUMNS = {1: 1, 2: 2, 3: 3, 4: 2, 5: 3, 6: 3}
WIDTHS = {1: 7.5, 2: 10.0, 3: 12.5}
# Inches: a panel's height, that of the heading and of a line of small print, and the margin.
PANEL, HEAD, LINE, MARGIN = 3.4, 0.72, 0.19, 0.1
# Inches: a character of small print, of other text and of the bold line, and the mark beside a word of the key.
SMALL, PLAIN, BOLD, KEY = 0.075, 0.085, 0.135, 0.6


def picture(report: Report, kind: str) -> bytes:
    """Return the picture of a sweep as a png, svg or pdf file."""
    file = io.BytesIO()
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # of a target's name
        mpl.rcdefaults()  # whatever a user's matplotlibrc says
        mpl.rcParams.update(SETTINGS)
        draw_figure(cast(SweepReport, report)).savefig(file, format=kind, metadata=dict(METADATA[kind]))
    return file.getvalue()


def draw_figure(report: SweepReport) -> Figure:
    """Draw the tables of a sweep; the same from the same rows, in whatever order they came."""
    tally = report.summary
    heat = build_heatmap(tally)
    panels = panels_of(tally)
    looks = {name: LineStyle.of(number, len(names_of(tally))) for number, name in enumerate(names_of(tally))}
    figure = heat_map(heat) if heat else _side_by_side(panels, looks, tally)
    key = [] if heat else list(_legend_handles(panels, looks))
    checks = f"{tally.count:,} check{'' if tally.count == 1 else 's'}: {report.counts}"
    _add_title_and_legend(figure, (*headings(tally), checks), key, list(notes_of(tally)))
    return figure


def _side_by_side(panels: Sequence[Panel], looks: Mapping[str, LineStyle], tally: SweepSummary) -> Figure:
    """Draw the panels, all errors to one scale."""
    columns = COLUMNS[len(panels)]
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(WIDTHS[columns], rows * PANEL), layout="constrained")
    limits = limits_of([panel for panel in panels if not panel.seconds], list(looks))
    several = any(cell.verdicts.total() > 1 for panel in panels for cell in panel.cells.values())
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, number + 1)
        if panel.title:
            axes.set_title(_truncate_left(panel.title, WIDTHS[columns] / columns - 1), pad=16)
        if panel.seconds:
            draw_seconds(axes, panel)
            continue
        draw_errors(axes, panel, looks, limits, tally)
        if number % columns == 0:
            axes.set_ylabel(f"norm relative error{', the worst' if several else ''}")
    return figure


def _legend_handles(panels: Sequence[Panel], looks: Mapping[str, LineStyle]) -> Iterator[Line2D]:
    """Yield a line for each gradient, and for each mark that is drawn."""
    if panels[0].axis:
        for name, look in looks.items():
            yield Line2D([], [], color=look.colour, marker=look.marker, markersize=5, linestyle=look.dash, label=name)
    cells = [cell for panel in panels if not panel.seconds for cell in panel.cells.values()]
    found = [(cell, name) for cell in cells for name in looks if name in cell.gradients]
    verdicts = {cell.verdict_of(name) for cell, name in found}
    if Verdict.INCONCLUSIVE in verdicts:
        yield _mark("o", 5.5, "hollow: inconclusive")
    if Verdict.FAIL in verdicts:
        yield _mark("x", 7, "FAIL")
    if any(bar_of(cell.gradients[name]) for cell, name in found):
        yield _mark("_", 7, "what the error bars allow")


def _mark(marker: str, size: float, label: str) -> Line2D:
    return Line2D(
        [], [], color="0.25", marker=marker, markersize=size, markerfacecolor="white", linestyle="none", label=label,
        markeredgewidth=2 if marker == "x" else 1,
    )  # fmt: skip


def _add_title_and_legend(figure: Figure, heading: Sequence[str], key: Sequence[Line2D], notes: Sequence[str]) -> None:
    """Write the heading above, and the key and the notes below, and leave what is between as it is."""
    width, height = map(float, figure.get_size_inches())
    columns = _columns([str(entry.get_label()) for entry in key], width)
    lines = [line for note in notes for line in textwrap.wrap(note, int(width / SMALL))]
    rows = math.ceil(len(key) / columns)
    foot = MARGIN + LINE * (rows + len(lines)) + (2 * MARGIN if rows else 0)
    height += HEAD + foot
    figure.set_size_inches(width, height)
    for number, line in enumerate(heading):
        letter, size, weight = (PLAIN, 9.5, "normal") if number else (BOLD, 11, "bold")
        y = 1 - (MARGIN + 1.1 * LINE * number) / height
        figure.text(MARGIN / width, y, _truncate_left(line, width, letter), va="top", fontsize=size, fontweight=weight)
    if lines:
        figure.text(MARGIN / width, MARGIN / height, "\n".join(lines), va="bottom", fontsize=8.5)
    if key:
        figure.legend(handles=list(key), loc="upper center", bbox_to_anchor=(0.5, foot / height), ncols=columns)
    layout = figure.get_layout_engine()
    assert isinstance(layout, ConstrainedLayoutEngine)
    layout.set(rect=(0, foot / height, 1, 1 - (HEAD + foot) / height))


def _columns(labels: Sequence[str], width: float) -> int:
    """Return in how many columns the key fits; matplotlib fills one after the other, as evenly as can be."""
    for count in range(len(labels), 1, -1):
        short, longer = divmod(len(labels), count)
        ends = [short * number + min(number, longer) for number in range(count + 1)]
        widest = [max(map(len, labels[a:b])) for a, b in itertools.pairwise(ends)]
        if sum(KEY + SMALL * letters for letters in widest) <= width:
            return count
    return 1


def _truncate_left(line: str, width: float, letter: float = PLAIN) -> str:
    """Return a line with its beginning left out where it is too long: the end of a path says more."""
    line, most = escape_control_chars(line).replace("\n", " "), int(width / letter)
    return line if len(line) <= most else f"…{line[1 - most :]}"
