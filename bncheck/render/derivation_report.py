"""The derivation as two tables, and one equation in full."""

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
from bncheck.model.document import CHECK_SCHEMA, jsonable
from bncheck.model.problem import FloatArray, Problem
from bncheck.render.encoding import to_ascii
from bncheck.render.format import format_tolerance_ratio
from bncheck.render.layout import Page, two_columns
from bncheck.render.report import ItemStatus, Report, ReportItem, Suite

# At most this many rows and columns of a matrix are shown.
MAX_SHOWN = 6
# Formats of the entries of a matrix.
FIXED, SCIENTIFIC = "{:7.3f}", "{:8.0e}"


@dataclass(frozen=True, slots=True)
class DerivationReport(Report):
    """All equations and the graph, one line each; or one equation in full."""

    derivation: Derivation
    in_full: bool

    @property
    def headline(self) -> str:
        """The verdict, what was checked, and the problem."""
        d = self.derivation
        subject = d.equations[0][0].name if self.in_full else "The derivation"
        return f"{d.verdict.value.upper()}  {subject}, {_settings(d.problem)}"

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return the two tables, or the page of the equation."""
        if self.in_full:
            return _equation_page(page, self.derivation)
        return _tables(page, self.derivation)

    def data(self) -> Any:
        """Return the content of the JSON document: the equations, and the graph if all of them are shown."""
        d, p = self.derivation, self.derivation.problem
        return jsonable({
            "schema": CHECK_SCHEMA, "verdict": d.verdict,
            "problem": {"N": p.N, "D": p.D, "H": p.H, "seed": p.seed, "bn_eps": p.bn_eps},
            "equations": [
                {
                    "name": e.name, "formula": e.formula, "latex": e.latex, "rule": e.rule, "reason": e.reason,
                    "algebra": e.algebra, **_check_document(check),
                }
                for e, check in d.equations
            ],
            "graph": [{"name": name, "edges": dict(edges), **_check_document(check)} for name, edges, check in d.graph],
        })  # fmt: skip

    def suites(self) -> Iterable[Suite]:
        """Return the equations, and the nodes of the graph."""
        d = self.derivation
        yield Suite("equations", tuple(_item("equation", e.name, check) for e, check in d.equations))
        if d.graph:
            yield Suite("graph", tuple(_item("node", name, check) for name, _, check in d.graph))

    def markdown(self) -> str:
        """Return a section for each equation."""
        return "\n".join(_markdown_section(e, check) for e, check in self.derivation.equations)

    def latex(self) -> str:
        """Return the equations as an align environment, each below a comment with its reason."""
        lines = []
        for e, check in self.derivation.equations:
            lines += [f"  % {e.name} ({check.verdict.value}): {to_ascii(e.reason, ascii_only=True)}"]
            lines += [f"  {e.latex.replace('=', '&=', 1)} \\\\"]
        return "\n".join([r"\begin{align*}", *lines, r"\end{align*}"]) + "\n"


def _item(subject: str, name: str, check: DerivativeCheck) -> ReportItem:
    message = f"{check.wrong:,} of {check.entries:,} entries are wrong" if check.wrong else ""
    return ReportItem(subject, name, ItemStatus.from_verdict(check.verdict), message)


def _tables(page: Page, d: Derivation) -> Iterator[RenderableType]:
    title = "Derivation; every equation compared with central differences, including the entries that must be 0"
    yield page.text(title, "bold")
    yield page.text(_settings(d.problem))
    yield _check_table(page, "equation", "formula", [(e.name, e.formula, check) for e, check in d.equations])
    yield page.text("The same gradients by backpropagation through the graph", "bold")
    nodes = [
        (name, " + ".join(f"d{node} · ({local})" for node, local in edges), check) for name, edges, check in d.graph
    ]
    yield _check_table(page, "node", "gradient, summed over the nodes that use it", nodes)
    yield page.text("Show one in full: bncheck derive centering", "dim")


def _check_table(page: Page, names: str, formulas: str, rows: Iterable[tuple[str, str, DerivativeCheck]]) -> Table:
    """Return a table of checks; ``names`` and ``formulas`` are the headings of the first two columns."""
    table = page.table(names, formulas, "entries", "tolerance used", "verdict")
    _, formula_column, _, ratio_column, verdict_column = table.columns
    formula_column.justify, formula_column.overflow, formula_column.no_wrap = "left", "fold", False
    # The heading "tolerance used" takes two lines, which leaves more for formulas.
    ratio_column.no_wrap, ratio_column.width = False, len("tolerance")
    verdict_column.justify = "left"
    for name, formula, check in rows:
        cells = (name, formula, f"{check.entries:,}", format_tolerance_ratio(check.tolerance_ratio))
        table.add_row(*map(page.text, cells), page.verdict(check.verdict))
    return table


def _settings(p: Problem) -> str:
    return f"N {p.N}   D {p.D}   H {p.H}   eps {p.bn_eps:g}   seed {p.seed}"


def _equation_page(page: Page, d: Derivation) -> Iterator[RenderableType]:
    ((equation, check),) = d.equations
    yield page.text(f"{equation.name}:  {equation.formula}", "bold")
    yield page.prose([equation.reason])
    yield page.prose(equation.algebra)
    block, extent = _shown_block(equation), _shown_extent(check.analytic.shape)
    title = f"Measured derivative{extent}:"
    if len(equation.parts) > 1:
        yield page.text(f"Parts{extent}:")
        yield _side_by_side(page, [(part.formula, FIXED, part.value(d.values)[block]) for part in equation.parts])
        title = f"Sum of the parts, and the measured derivative{extent}:"
    yield page.text(title)
    a, n = check.analytic[block], check.numerical[block]
    yield _side_by_side(page, [("analytic", FIXED, a), ("numerical", FIXED, n), ("difference", SCIENTIFIC, a - n)])
    details = two_columns(width=9)
    for label, sentence in _details(d, equation, check):
        details.add_row(label, page.text(sentence), style="dim")
    yield details


def _details(d: Derivation, equation: Equation, check: DerivativeCheck) -> Iterator[tuple[str, str]]:
    ratio = format_tolerance_ratio(check.tolerance_ratio)
    yield (
        "checked",
        f"{check.entries:,} entries: {check.verdict.value}, {ratio} of the tolerance; "
        f"error bounds up to {check.error_bound.max():.0e}; "
        f"a relative error of {check.resolution:.0e} in any term would be detected",
    )
    zeros = (check.term_size == 0) if equation.output != "L" else np.zeros(1, bool)
    if zeros.any():
        largest = np.abs(np.broadcast_to(check.numerical, zeros.shape)[zeros]).max()
        measured = f"at most {largest:.0e}" if largest else "exactly 0"
        yield "zeros", f"{zeros.sum():,} entries are 0 because of δ; measured: {measured}"
    yield "rule", equation.rule
    yield "problem", _settings(d.problem)


def _shown_block(equation: Equation) -> tuple[Any, ...]:
    """Return the index of the entries that are shown of a derivative; of a Jacobian, the block of column 0."""
    shown = slice(MAX_SHOWN)
    if equation.output == "L":
        return (..., shown)
    return (shown, 0, shown, 0) if equation.output != "var" else (0, shown, 0)


def _shown_extent(shape: tuple[int, ...]) -> str:
    """Return a description of the entries that are shown of a derivative; empty if these are all."""
    block = {4: "rows k, columns i, in column j = l = 0", 3: "in column j = l = 0"}.get(len(shape), "")
    limit = f"the first {MAX_SHOWN} of each" if max(shape) > MAX_SHOWN else ""
    extent = ", ".join(filter(None, (block, limit)))
    return f" ({extent})" if extent else ""


def _side_by_side(page: Page, matrices: Sequence[tuple[str, str, FloatArray]]) -> Text:
    """Return labelled matrices side by side, or one below the other if the page is too narrow."""
    blocks = []
    for formula, form, matrix in matrices:
        label, rows = to_ascii(formula, ascii_only=page.ascii_only), np.atleast_2d(matrix)[:MAX_SHOWN]
        lines = [label, *("".join(form.format(value) for value in row) for row in rows)]
        width = max(map(len, lines))
        blocks.append([line.rjust(width) for line in lines])
    if sum(len(block[0]) + 2 for block in blocks) > page.width:
        return Text("\n\n".join("\n".join(block) for block in blocks))
    return Text("\n".join("  ".join(lines) for lines in zip(*blocks, strict=True)))


def _check_document(check: DerivativeCheck) -> Mapping[str, Any]:
    return {
        "verdict": check.verdict, "entries": check.entries, "wrong": check.wrong,
        "max_error_bound": float(check.error_bound.max()), "max_difference": check.max_difference,
        "tolerance_ratio": check.tolerance_ratio, "resolution": check.resolution,
    }  # fmt: skip


def _markdown_section(e: Equation, check: DerivativeCheck) -> str:
    algebra = "\n\n".join(f"  {line}" if line.startswith("  ") else line for line in e.algebra if line)
    checked = f"Checked: {check.entries:,} entries, {check.verdict.value}."
    return f"## {e.name}\n\n$$\n{e.latex}\n$$\n\n{e.reason} ({e.rule})\n\n{algebra}\n\n{checked}\n"
