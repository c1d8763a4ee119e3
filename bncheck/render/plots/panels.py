"""What a sweep's picture shows: which axes, side by side, and what must be said beside them. Nothing here draws."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bncheck.model.options import GRADIENTS
from bncheck.render.encoding import escape_control_chars
from bncheck.render.layout import WORDS
from bncheck.render.sweep_report import AXIS_LABELS, SIGNS, format_axis_value
from bncheck.sweeps.aggregate import MAX_LISTED_VALUES, Aggregate, SweepSummary
from bncheck.sweeps.rows import MIN_RELATIVE_ERROR

# More of them side by side cannot be read.
MOST_PANELS = 6
# An axis of which numbers are drawn to the logarithm: they are above 0 and span more than this factor.
SPAN = 10.0
# Along a linear axis no two numbers are closer than this share of it; else they are names, evenly spaced.
CLOSEST = 0.08
# Of a longer name the end is written.
LONGEST_NAME = 24
SHAPE = ("N", "D", "H")


@dataclass(frozen=True, slots=True)
class Panel:
    """The worst of every gradient along one axis, or how long the checks took."""

    axis: str  # of Point; "": the gradients themselves, of all checks together
    cells: Mapping[Any, Aggregate]
    title: str = ""
    scheme: str = ""  # whose theory is shown along the steps
    seconds: bool = False

    @property
    def numbers(self) -> Sequence[float]:
        """The values that are numbers."""
        return [value for value in self.cells if not isinstance(value, str)]

    @property
    def scale(self) -> str:
        """Whether numbers go by their logarithm ("log"), as they are ("linear"), or by name ("names")."""
        numbers = sorted(self.numbers)
        if not self.axis or len(numbers) < 2 or (len(numbers) < len(self.cells) and self.axis != "step"):
            return "names"
        if numbers[0] > 0 and (self.axis == "step" or numbers[-1] / numbers[0] > SPAN):
            return "log"
        closest = min(b - a for a, b in itertools.pairwise(numbers))
        return "linear" if closest >= CLOSEST * (numbers[-1] - numbers[0]) else "names"

    @property
    def connected(self) -> bool:
        """Whether there is anything between two values."""
        return self.scale != "names" and self.axis != "seed"


@dataclass(frozen=True, slots=True)
class Heatmap:
    """The fewest correct digits by the values of two axes."""

    down: str
    across: str
    rows: Sequence[Any]  # the values down, from the top
    columns: Sequence[Any]
    cells: Mapping[tuple[Any, Any], Aggregate]


def name_of(value: Any) -> str:
    """Write a value that stands for itself."""
    name = escape_control_chars(format_axis_value(value)).replace("\n", " ")
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"


def told(tally: SweepSummary) -> Mapping[str, Mapping[Any, Aggregate]]:
    """Return the axes that vary and have few enough values."""
    return {axis: cells for axis, cells in tally.varied.items() if axis not in tally.truncated_axes}


def names_of(tally: SweepSummary) -> Sequence[str]:
    """Return the gradients that have an error, in the same order whatever order they came in."""
    known = [name for name, worst in tally.total.gradients.items() if worst.error is not None]
    return sorted(known, key=lambda name: (GRADIENTS.index(name) if name in GRADIENTS else len(GRADIENTS), name))


def build_heatmap(tally: SweepSummary) -> Heatmap | None:
    """Return the map of two axes, if just two vary and it is not the step by scheme or target."""
    axes = told(tally)
    if len(tally.varied) != 2 or len(axes) != 2 or _split(axes):
        return None
    down, across = sorted(axes, key=lambda axis: -len(axes[axis]))  # as in the table
    return Heatmap(down, across, list(axes[down]), list(axes[across]), tally.pair(down, across))


def panels_of(tally: SweepSummary) -> Sequence[Panel]:
    """Return what stands side by side: the steps first, by scheme or target, and then every other axis."""
    axes = dict(told(tally))
    panels: list[Panel] = []
    if _stepped(axes):
        split = _split(axes)
        panels += _by_step(tally, axes, split)
        axes = {axis: cells for axis, cells in axes.items() if axis not in ("step", split)}
    panels += [Panel(axis, cells) for axis, cells in axes.items()]
    if not panels:
        return [Panel("", {"": tally.total})]
    if len(panels) == 1 and panels[0].axis in SHAPE:
        return [*panels, Panel(panels[0].axis, panels[0].cells, seconds=True)]
    return panels[:MOST_PANELS]


def notes_of(tally: SweepSummary) -> Iterator[str]:
    """Yield what must be said beside the panels."""
    zeros = [name for name, worst in tally.total.gradients.items() if worst.error is None]
    if zeros:
        yield f"{', '.join(sorted(zeros))}: exactly 0"
    for axis in sorted(tally.truncated_axes):
        yield f"{AXIS_LABELS.get(axis, axis)}: more than {MAX_LISTED_VALUES} values, not drawn one by one"
    heat = build_heatmap(tally)
    yield from _notes_of_panels(tally) if heat is None else _notes_of_heat(heat)


def _notes_of_heat(heat: Heatmap) -> Iterator[str]:
    verdicts = {cell.verdict for cell in heat.cells.values()}
    marks = [f"{sign} {WORDS[verdict]}" for verdict, sign in SIGNS.items() if sign and verdict in verdicts]
    if marks:
        yield "   ".join(marks)


def _notes_of_panels(tally: SweepSummary) -> Iterator[str]:
    panels, axes = panels_of(tally), told(tally)
    drawn = [worst for panel in panels for cell in panel.cells.values() for worst in cell.gradients.values()]
    if any(worst.error is not None and worst.error < MIN_RELATIVE_ERROR for worst in drawn):
        yield f"errors under {MIN_RELATIVE_ERROR:.0e} are drawn there"
    shown = {panel.axis for panel in panels} | {_split(axes)}
    left = [AXIS_LABELS.get(axis, axis) for axis in axes if axis not in shown]
    if left:
        yield f"not drawn: {', '.join(left)}"


def _stepped(axes: Mapping[str, Mapping[Any, Aggregate]]) -> bool:
    return sum(not isinstance(step, str) for step in axes.get("step", ())) > 1


def _split(axes: Mapping[str, Mapping[Any, Aggregate]]) -> str:
    """Return the axis each value of which has a panel of steps; "" for none."""
    few = [axis for axis in ("scheme", "target") if 1 < len(axes.get(axis, ())) <= MOST_PANELS]
    return few[0] if few and _stepped(axes) else ""


def _by_step(tally: SweepSummary, axes: Mapping[str, Mapping[Any, Aggregate]], split: str) -> Iterator[Panel]:
    schemes = list(tally.values["scheme"])
    scheme = schemes[0] if len(schemes) == 1 else ""
    if not split:
        yield Panel("step", axes["step"], scheme=scheme)
        return
    pair = tally.pair(split, "step")
    for value in axes[split]:
        cells = {step: pair[value, step] for step in axes["step"] if (value, step) in pair}
        if cells:
            yield Panel("step", cells, str(value), value if split == "scheme" else scheme)
