"""The catalogue of mistakes as a list, or some of its texts in full."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from bncheck.mistakes import Mistake
from bncheck.model.document import CHECK_SCHEMA
from bncheck.render.layout import Page
from bncheck.render.report import Report

LEGEND = """\
x is the layer's input, c = x - mu, xhat = c / sigma, y = gamma xhat + beta,
std = sqrt(var), sigma = sqrt(var + eps), dy = dout (y > 0), g = dy * gamma,
dx = (g - mean(g) - xhat mean(g xhat)) / sigma: direct, mean, variance term;
db = sum(dx); means and sums are over the batch of N; D features, H units"""
# Most names have at most 31 characters; a formula next to a longer one would not fit on the line.
NAME_WIDTH = 31
# A block of code, or text up to the next empty line.
BLOCK = re.compile(r"(?s:```python\n.*?\n```)|(?:.+\n?)+")


@dataclass(frozen=True, slots=True)
class CatalogueReport(Report):
    """A line for each mistake, with its code, name and formula; or the texts of some."""

    mistakes: Sequence[Mistake]
    in_full: bool

    @property
    def headline(self) -> str:
        """The number of mistakes, or the names of those that are shown in full."""
        if not self.in_full:
            return f"{len(self.mistakes)} known mistakes"
        return ", ".join(f"{m.code} {m.name}" for m in self.mistakes)

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return the list, or the texts one after the other."""
        if self.in_full:
            for mistake in self.mistakes:
                yield from _in_full(page, mistake)
            return
        yield page.text(f"{self.headline}. Show one in full: bncheck explain BN204\n{LEGEND}")
        for section, mistakes in groupby(self.mistakes, lambda m: m.section):
            entries = (_list_entry(m, page.width) for m in mistakes)
            yield Text("\n").join([page.text(section, "bold"), *map(page.text, entries)])

    def data(self) -> Any:
        """Return the content of the JSON document."""
        return {"schema": CHECK_SCHEMA, "mistakes": [_as_data(m) for m in self.mistakes]}

    def markdown(self) -> str:
        """Return a table, or the Markdown of the texts."""
        if self.in_full:
            return "\n".join(m.text for m in self.mistakes)
        legend = LEGEND.replace("\n", " ")
        rows = "".join(f"| {m.code} | {m.name} | `{m.formula}` |\n" for m in self.mistakes)
        return f"## {self.headline}\n\n{legend}.\n\n| code | name | formula |\n|---|---|---|\n{rows}"


def _as_data(m: Mistake) -> dict[str, Any]:
    parts = m.parts
    return {
        "code": m.code,
        "name": m.name,
        "section": m.section,
        "message": m.message,
        "undetectable_because": m.undetectable_because or None,
        "formula": textwrap.dedent(parts["Formula"]),
        "explanation": parts["Why it is wrong"],
        "how_to_recognize": parts["How to recognize it"],
        "usual_causes": parts.get("Usual causes"),
        "wrong": m.code_blocks("Wrong"),
        "correct": m.code_blocks("Correct"),
        "references": parts.get("References"),
    }


def _list_entry(m: Mistake, width: int) -> str:
    """Return code, name and formula; a formula that does not fit next to the name is on a line of its own."""
    formula = m.formula + " (undetectable)" * bool(m.undetectable_because)
    entry = f"  {m.code}  {m.name:{NAME_WIDTH}}  {formula}"
    if len(m.name) <= NAME_WIDTH and len(entry) <= width:
        return entry
    lines = textwrap.wrap(formula, width, initial_indent=" " * 11, subsequent_indent=" " * 13)
    return "\n".join((f"  {m.code}  {m.name}", *lines))


def _in_full(page: Page, m: Mistake) -> Iterator[RenderableType]:
    yield Text.assemble(page.text(f"{m.code}  {m.name}", "bold"), page.text(f"   ({m.section})", "dim"))
    yield page.text(m.message)
    if m.undetectable_because:
        yield page.text(f"No check can distinguish it from a correct backward pass: {m.undetectable_because}.")
    for heading, body in m.parts.items():
        blocks = ("\n".join(_lines(block, page.width - 2)) for block in BLOCK.findall(body))
        yield Text.assemble(page.text(heading, "bold"), "\n", page.text(textwrap.indent("\n\n".join(blocks), "  ")))
    yield page.text(LEGEND, "dim")


def _lines(block: str, width: int) -> Iterator[str]:
    """Yield the lines of a block: code and formulas unchanged if they fit, prose and list items filled."""
    if block.startswith("- "):
        for item in re.split(r"^- ", block, flags=re.MULTILINE)[1:]:
            yield from textwrap.wrap(" ".join(item.split()), width, initial_indent="- ", subsequent_indent="  ")
    elif block.startswith(("    ", "```")):
        code = block.removeprefix("```python\n").removesuffix("\n```")
        for line in textwrap.dedent(code).splitlines():
            indent = len(line) - len(line.lstrip())
            yield from textwrap.wrap(line, width, initial_indent="  ", subsequent_indent=" " * (6 + indent)) or [""]
    else:
        yield from textwrap.wrap(block, width)
