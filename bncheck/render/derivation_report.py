"""The derivation as a table, and one equation as a page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bncheck.derivation import Derivation
from bncheck.derivation.checking import DerivativeCheck
from bncheck.derivation.equations import Equation
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.document import CHECK_SCHEMA
from bncheck.render import format
from bncheck.render.encoding import to_ascii
from bncheck.render.layout import Page, two_columns
from bncheck.render.report import ItemStatus, Report, ReportItem, Suite

# Of a larger matrix so many rows and columns are shown.
MOST_SHOWN = 6


@dataclass(frozen=True, slots=True)
class DerivationReport(Report):
    """All equations in a line each, and the graph node by node; or one equation in full."""

    derivation: Derivation
    in_full: bool

    @property
    def headline(self) -> str:
        """The verdict, and of how many equations."""
        d = self.derivation
        what = "The derivation" if not self.in_full else d.equations[0][0].name
        return f"{d.verdict.value.upper()}  {what}, {_settings(d.problem)}"

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return the two tables, or the page of the equation."""
        if self.in_full:
            ((equation, checked),) = self.derivation.equations
            return _page(page, self.derivation, equation, checked)
        return _tables(page, self.derivation)

    def data(self) -> Any:
        """Return the equations that were checked, and the graph if all were."""
        return _data(self.derivation)

    def suites(self) -> Iterable[Suite]:
        """Return the equations, and the nodes of the graph."""
        d = self.derivation
        yield Suite("equations", tuple(_finding("equation", e.name, c) for e, c in d.equations))
        if d.graph:
            yield Suite("graph", tuple(_finding("node", name, c) for name, _, c in d.graph))

    def markdown(self) -> str:
        """Return a section for each equation, for notes."""
        return _markdown(self.derivation)

    def latex(self) -> str:
        """Return the equations as an align environment, each with its reason as a comment."""
        return _latex(self.derivation)


def _finding(subject: str, name: str, c: DerivativeCheck) -> ReportItem:
    told = f"{c.wrong:,} of {c.entries:,} entries are wrong" if c.wrong else ""
    return ReportItem(subject, name, ItemStatus.of(c.verdict), told)


def _tables(page: Page, d: Derivation) -> Iterator[RenderableType]:
    yield page.text(
        "The derivation, every equation against central differences, zeros in other columns among them", "bold"
    )
    yield page.text(_settings(d.problem))
    equations = page.table("equation", "formula", "entries", "of tol.", "verdict")
    _fold(equations)
    for equation, checked in d.equations:
        equations.add_row(page.text(equation.name), page.text(equation.formula), *_cells(page, checked))
    yield equations
    yield page.text("The same gradients by the graph, node by node from the loss back", "bold")
    graph = page.table("node", "what flows back into it", "entries", "of tol.", "verdict")
    _fold(graph)
    for name, uses, checked in d.graph:
        sent = " + ".join(f"d{node} · ({local})" for node, local in uses)
        graph.add_row(page.text(name), page.text(sent), *_cells(page, checked))
    yield graph
    yield page.text("One in full: bncheck derive centering", "dim")


def _fold(table: Table) -> None:
    table.columns[1].justify, table.columns[1].overflow, table.columns[1].no_wrap = "left", "fold", False
    table.columns[-1].justify = "left"


def _cells(page: Page, checked: DerivativeCheck) -> list[Text]:
    entries = page.text(f"{checked.entries:,}")
    return [entries, page.text(format.format_tolerance_ratio(checked.tolerance_ratio)), page.verdict(checked.verdict)]


def _settings(p: Problem) -> str:
    return f"N {p.N}   D {p.D}   H {p.H}   eps {p.bn_eps:g}   seed {p.seed}"


def _page(page: Page, d: Derivation, equation: Equation, checked: DerivativeCheck) -> Iterator[RenderableType]:
    yield page.text(f"{equation.name}:  {equation.formula}", "bold")
    yield page.prose([equation.reason])
    yield page.prose(equation.algebra)
    block, column = _block(equation), _of_column(checked.analytic.shape)
    if len(equation.parts) > 1:
        yield page.text(f"Its parts{column}:")
        parts = [(part.formula, "{:7.3f}", part.value(d.values)) for part in equation.parts]
        yield page.text(_beside([(label, form, np.asarray(v[block])) for label, form, v in parts], page))
    yield page.text(f"Their sum, and what is measured{column}:" if len(equation.parts) > 1 else f"Measured{column}:")
    shown = (("analytic", "{:7.3f}", checked.analytic), ("numerical", "{:7.3f}", checked.numerical))
    matrices = [*shown, ("difference", "{:8.0e}", checked.analytic - checked.numerical)]
    yield page.text(_beside([(label, form, np.asarray(v[block])) for label, form, v in matrices], page))
    end = two_columns(width=9)
    for label, sentence in _measured(equation, checked):
        end.add_row(label, page.text(sentence), style="dim")
    end.add_row("rule", page.text(equation.rule), style="dim")
    end.add_row("problem", page.text(_settings(d.problem)), style="dim")
    yield end


def _measured(equation: Equation, checked: DerivativeCheck) -> Iterator[tuple[str, str]]:
    yield (
        "checked",
        f"{checked.entries:,} entries: {checked.verdict.value}, {format.format_tolerance_ratio(checked.tolerance_ratio)} of tolerance; "
        f"error bars up to {checked.error_bound.max():.0e}; "
        f"a term wrong by {checked.resolution:.0e} of itself would be seen",
    )
    elsewhere = (checked.size == 0) if equation.output != "L" else np.zeros(1, bool)
    if elsewhere.any():
        largest = np.abs(np.broadcast_to(checked.numerical, elsewhere.shape)[elsewhere]).max()
        measured = f"at most {largest:.0e}" if largest else "exactly 0"
        yield "zeros", f"{elsewhere.sum():,} of them are 0 by δ, and measured {measured} there"


def _block(equation: Equation) -> tuple[Any, ...]:
    """Return the index of what is shown of a derivative: of a Jacobian the block of column 0."""
    shown = slice(MOST_SHOWN)
    if equation.output == "L":
        return (..., shown)
    return (shown, 0, shown, 0) if equation.output != "var" else (0, shown, 0)


def _of_column(shape: tuple[int, ...]) -> str:
    """Say what is shown of a derivative, where that is not all of it."""
    block = (
        "rows k, columns i, in column j = l = 0"
        if len(shape) == 4
        else "in column j = l = 0"
        if len(shape) == 3
        else ""
    )
    cut = f"the first {MOST_SHOWN} of each" if max(shape) > MOST_SHOWN else ""
    return f" ({', '.join(filter(None, (block, cut)))})" if block or cut else ""


def _beside(matrices: Sequence[tuple[str, str, FloatArray]], page: Page) -> str:
    """Return labelled matrices side by side; one under the other where the page is too narrow."""
    blocks = []
    for formula, form, matrix in matrices:
        label, rows = to_ascii(formula, ascii_only=page.ascii_only), np.atleast_2d(matrix)[:MOST_SHOWN]
        lines = ["".join(form.format(value) for value in row) for row in rows]
        width = max(len(label), *map(len, lines))
        blocks.append([label.rjust(width), *(line.rjust(width) for line in lines)])
    if sum(len(block[0]) + 2 for block in blocks) > page.width:
        return "\n\n".join("\n".join(block) for block in blocks)
    return "\n".join("  ".join(lines) for lines in zip(*blocks, strict=True))


def _data(d: Derivation) -> Mapping[str, Any]:
    p = d.problem
    return {
        "schema": CHECK_SCHEMA,
        "verdict": d.verdict.value,
        "problem": {"N": p.N, "D": p.D, "H": p.H, "seed": p.seed, "bn_eps": p.bn_eps},
        "equations": [
            {
                "name": e.name, "formula": e.formula, "latex": e.latex, "rule": e.rule, "why": e.reason,
                "algebra": list(e.algebra), **_found(c),
            }
            for e, c in d.equations
        ],
        "graph": [{"name": name, "uses": dict(uses), **_found(c)} for name, uses, c in d.graph],
    }  # fmt: skip


def _found(c: DerivativeCheck) -> Mapping[str, Any]:
    numbers = {
        "max_error_bar": float(c.error_bound.max()),
        "max_difference": c.max_difference,
        "of_tolerance": c.tolerance_ratio,
        "resolution": c.resolution,
    }
    told = {name: value if np.isfinite(value) else str(value) for name, value in numbers.items()}
    return {"verdict": c.verdict.value, "entries": c.entries, "wrong": c.wrong, **told}


def _latex(d: Derivation) -> str:
    lines = []
    for e, c in d.equations:
        lines += [f"  % {e.name} ({c.verdict.value}): {to_ascii(e.reason, ascii_only=True)}"]
        lines += [f"  {e.latex.replace('=', '&=', 1)} \\\\"]
    return "\n".join([r"\begin{align*}", *lines, r"\end{align*}"]) + "\n"


def _markdown(d: Derivation) -> str:
    sections = []
    for e, c in d.equations:
        algebra = "\n\n".join(f"  {line}" if line.startswith("  ") else line for line in e.algebra if line)
        checked = f"Checked: {c.entries:,} entries, {c.verdict.value}."
        sections.append(f"## {e.name}\n\n$$\n{e.latex}\n$$\n\n{e.reason} ({e.rule})\n\n{algebra}\n\n{checked}\n")
    return "\n".join(sections)
