"""Reports as files to look at: Markdown, plain text, HTML and SVG, as wide as a terminal of 80 columns."""

import html as html_module
import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bncheck.render.encoding import escape_control_chars, escape_markdown, escape_user_text
from bncheck.render.layout import INDENT, WIDTH

if TYPE_CHECKING:
    from bncheck.render.report import Report

HTML = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body style="color: {{foreground}}; background: {{background}}">
<pre style="font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace">{{code}}</pre>
</body>
</html>
"""
# The rules with which rich's SVG downloads a font.
FONT_RULES = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def text(reports: Sequence["Report"]) -> str:
    """Return reports as plain text."""
    return escape_user_text(_plain(*reports, width=WIDTH + 2 * INDENT)).rstrip("\n") + "\n"


def html(reports: Sequence["Report"]) -> str:
    """Return reports as an HTML page that needs no other file."""
    title = html_module.escape(" ".join(reports[0].headline.split()) if len(reports) == 1 else "bncheck")
    page = HTML.format(title=title.replace("{", "{{").replace("}", "}}"))
    return escape_control_chars(_recorded(*reports).export_html(code_format=page, inline_styles=True))


def svg(reports: Sequence["Report"]) -> str:
    """Return reports as an SVG picture of a terminal, as wide as the longest line, because SVG cuts off the rest."""
    console = _recorded(*reports)
    console.width = max(console.width, *map(cell_len, console.export_text(clear=False).split("\n")))
    return escape_control_chars(FONT_RULES.sub("", console.export_svg(title="bncheck", unique_id="bncheck")))


def _recorded(*blocks: RenderableType, width: int = WIDTH + 2 * INDENT, colors: bool = True) -> Console:
    """Return a console that has recorded blocks or reports."""
    console = Console(
        file=io.StringIO(), record=True, width=width, highlight=False, markup=False, emoji=False,
        color_system="truecolor" if colors else None, force_terminal=colors, no_color=not colors,
        legacy_windows=False,
    )  # fmt: skip
    console.print(*blocks, sep="", crop=False)
    return console


def _plain(*blocks: RenderableType, width: int) -> str:
    """Return blocks or reports as text without colors and trailing spaces."""
    lines = _recorded(*blocks, width=width, colors=False).export_text().split("\n")
    return "\n".join(line.rstrip() for line in lines)


def markdown_blocks(blocks: Iterable[RenderableType]) -> str:
    """Return the blocks of a report as Markdown: headings and tables, anything else as preformatted text."""
    return "\n".join(filter(None, map(_markdown_block, blocks)))


def _markdown_block(block: RenderableType) -> str:
    if isinstance(block, Group):
        return markdown_blocks(block.renderables)
    if isinstance(block, Table) and block.show_header and any(column.header for column in block.columns):
        return _markdown_table(block)
    content = _plain(block, width=WIDTH)
    if isinstance(block, Text) and str(block.style) == "bold":
        return f"### {escape_markdown(content)}\n"
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", content))])
    return f"{fence}text\n{content}{fence}\n" if content.strip() else ""


def _markdown_table(table: Table) -> str:
    header = [_markdown_cell(column.header) for column in table.columns]
    rules = ["--:" if column.justify == "right" else ":--" for column in table.columns]
    rows = zip(*([_markdown_cell(cell) for cell in column.cells] for column in table.columns), strict=True)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, rules, *rows))


def _markdown_cell(cell: RenderableType) -> str:
    return escape_markdown(cell.plain if isinstance(cell, Text) else str(cell))
