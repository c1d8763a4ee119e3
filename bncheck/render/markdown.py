"""Markdown from the blocks of a report: tables become tables, everything else a block of preformatted text."""

import io
from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bncheck.render.layout import WIDTH

# The rule under a heading, by the alignment of its column.
RULES = {"right": "--:", "left": ":--", "center": ":-:"}


def from_blocks(blocks: Iterable[RenderableType]) -> str:
    """Return each block as a heading, a table or preformatted text."""
    return "\n".join(filter(None, map(_block, blocks)))


def _block(block: RenderableType) -> str:
    if isinstance(block, Group):
        return from_blocks(block.renderables)
    if isinstance(block, Table) and block.show_header and any(column.header for column in block.columns):
        return _table(block)
    text = _plain(block)
    if isinstance(block, Text) and str(block.style) == "bold":
        return f"### {text}"
    return f"```text\n{text}```\n" if text.strip() else ""


def _plain(block: RenderableType) -> str:
    """Return a block as text without colors."""
    stream = io.StringIO()
    console = Console(file=stream, width=WIDTH, color_system=None, highlight=False, markup=False, emoji=False)
    console.print(block, crop=False)
    return "".join(f"{line.rstrip()}\n" for line in stream.getvalue().splitlines())


def _table(table: Table) -> str:
    header = [_cell(column.header) for column in table.columns]
    rules = [RULES.get(str(column.justify), ":--") for column in table.columns]
    rows = zip(*([_cell(cell) for cell in column.cells] for column in table.columns), strict=True)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, rules, *rows))


def _cell(cell: RenderableType) -> str:
    text = cell.plain if isinstance(cell, Text) else str(cell)
    return text.replace("|", "\\|").strip()
