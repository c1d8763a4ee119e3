"""The catalogue of mistakes as a list, one of its texts as a page, and both as data."""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from bncheck.mistakes import Mistake
from bncheck.render.page import Page
from bncheck.results import SCHEMA

LEGEND = "x is the layer's input, c = x - mu, std = sqrt(var), sigma = sqrt(var + eps), g = dy * gamma"


def catalogue_as_json(mistakes: Sequence[Mistake]) -> str:
    """Return the document of some mistakes, or all."""
    return json.dumps({"schema": SCHEMA, "mistakes": list(map(_as_data, mistakes))}, indent=2) + "\n"


def _as_data(m: Mistake) -> Mapping[str, Any]:
    plain = {
        heading: re.sub(r"^```.*\n?", "", body, flags=re.MULTILINE).strip() for heading, body in m.text.parts.items()
    }
    parts = {heading.lower().replace(" ", "_"): body for heading, body in plain.items()}
    known = {"code": m.code, "name": m.text.name, "section": m.section, "message": m.text.message}
    return {**known, "never_seen": m.never_seen or None, **parts}


@dataclass(frozen=True, slots=True)
class CatalogueList:
    """Every mistake in a line: its code, its name, and the formula it is known by."""

    mistakes: Sequence[Mistake]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the list out for a stream's width and encoding."""
        page = Page.of(options)
        head = (
            f"{len(self.mistakes)} mistakes that bncheck knows by name. One in full: bncheck explain BN204\n"
            f"{LEGEND}; means and sums over the batch"
        )
        blocks: list[RenderableType] = [page.text(head)]
        for section, mistakes in groupby(self.mistakes, lambda m: m.section):
            blocks.append(Group(page.text(section, "bold"), _lines(page, list(mistakes))))
        yield from page.laid_out(blocks)


def _lines(page: Page, mistakes: Sequence[Mistake]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=7)
    grid.add_column(width=33)
    grid.add_column()
    for m in mistakes:
        never = " (never seen)" if m.never_seen else ""
        grid.add_row(page.text(f"  {m.code}"), page.text(m.text.name), page.text(m.text.parts["What was seen"] + never))
    return grid


@dataclass(frozen=True, slots=True)
class MistakePage:
    """One mistake in full."""

    mistake: Mistake

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the text out for a stream's width and encoding."""
        page, m = Page.of(options), self.mistake
        title = Text.assemble(page.text(f"{m.code}  {m.text.name}", "bold"), page.text(f"   ({m.section})", "dim"))
        blocks: list[RenderableType] = [title, page.text(m.text.message)]
        if m.never_seen:
            blocks.append(page.text(f"No check can tell it from the right pass: {m.never_seen}."))
        for heading, body in m.text.parts.items():
            blocks.append(Text.assemble(page.text(heading, "bold"), "\n", _body(page, body)))
        yield from page.laid_out([*blocks, page.text(LEGEND, "dim")])


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
