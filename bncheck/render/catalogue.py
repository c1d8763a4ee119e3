"""The catalogue of mistakes as a list, and its texts in full."""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bncheck.mistakes import Mistake
from bncheck.model.document import CHECK_SCHEMA
from bncheck.render.layout import Page
from bncheck.render.report import Report

LEGEND = "x is the layer's input, c = x - mu, std = sqrt(var), sigma = sqrt(var + eps), g = dy * gamma"


@dataclass(frozen=True, slots=True)
class Catalogue(Report):
    """Every mistake in a line, its code, its name and the formula it is known by; or some in full."""

    mistakes: Sequence[Mistake]
    in_full: bool

    @property
    def headline(self) -> str:
        """How many there are, or which these are."""
        if not self.in_full:
            return f"{len(self.mistakes)} mistakes that bncheck knows by name"
        return ", ".join(f"{m.code} {m.text.name}" for m in self.mistakes)

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return the list, or the texts one after the other."""
        if self.in_full:
            for mistake in self.mistakes:
                yield from _in_full(page, mistake)
            return
        yield page.text(f"{self.headline}. One in full: bncheck explain BN204\n{LEGEND}; means and sums over the batch")
        for section, mistakes in groupby(self.mistakes, lambda m: m.section):
            yield Group(page.text(section, "bold"), _lines(page, list(mistakes)))

    def data(self) -> Any:
        """Return the texts by their headings."""
        return {"schema": CHECK_SCHEMA, "mistakes": list(map(_as_data, self.mistakes))}

    def markdown(self) -> str:
        """Return a table of the list; or the texts as they are written, which is Markdown."""
        if self.in_full:
            return "\n".join(m.text.written for m in self.mistakes)
        rows = (f"| {m.code} | {m.text.name} | `{m.text.parts['What was seen'].strip()}` |" for m in self.mistakes)
        return "\n".join(
            (f"## {self.headline}", "", f"{LEGEND}.", "", "| code | name | what was seen |", "|---|---|---|", *rows, "")
        )


def _as_data(m: Mistake) -> Mapping[str, Any]:
    plain = {
        heading: re.sub(r"^```.*\n?", "", body, flags=re.MULTILINE).strip() for heading, body in m.text.parts.items()
    }
    parts = {heading.lower().replace(" ", "_"): body for heading, body in plain.items()}
    known = {"code": m.code, "name": m.text.name, "section": m.section, "message": m.text.message}
    return {**known, "never_seen": m.undetectable_because or None, **parts}


def _lines(page: Page, mistakes: Sequence[Mistake]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=7)
    grid.add_column(width=33)
    grid.add_column()
    for m in mistakes:
        never = " (never seen)" if m.undetectable_because else ""
        grid.add_row(page.text(f"  {m.code}"), page.text(m.text.name), page.text(m.text.parts["What was seen"] + never))
    return grid


def _in_full(page: Page, m: Mistake) -> Iterator[RenderableType]:
    yield Text.assemble(page.text(f"{m.code}  {m.text.name}", "bold"), page.text(f"   ({m.section})", "dim"))
    yield page.text(m.text.message)
    if m.undetectable_because:
        yield page.text(f"No check can tell it from the right pass: {m.undetectable_because}.")
    for heading, body in m.text.parts.items():
        yield Text.assemble(page.text(heading, "bold"), "\n", _body(page, body))
    yield page.text(LEGEND, "dim")


def _body(page: Page, markdown: str) -> Text:
    """Return the paragraphs filled, formulas and code as they stand."""
    return page.text(
        "\n".join(f"  {line}" for part in markdown.split("\n\n") for line in _filled(part, page.width - 2))
    )


def _filled(paragraph: str, width: int) -> Iterator[str]:
    if paragraph.startswith(("    ", "```")):
        code = re.sub(r"^```.*\n?", "", paragraph, flags=re.MULTILINE)
        for line in textwrap.dedent(code).rstrip().split("\n"):
            indent = " " * (len(line) - len(line.lstrip()))
            yield from textwrap.wrap(line, width, initial_indent="  ", subsequent_indent=f"      {indent}") or [""]
    else:
        yield from textwrap.wrap(paragraph, width)
