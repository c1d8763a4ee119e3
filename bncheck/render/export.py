"""Reports as files to look at: plain text, HTML and SVG, as wide as a terminal of 80 columns."""

import html as html_module
import io
import re
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console

from bncheck.render.encoding import escape_control_chars
from bncheck.render.layout import INDENT, WIDTH
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


def text(reports: Sequence[Report]) -> str:
    """Return reports as plain text."""
    lines = _recorded(reports, colors=False).export_text().split("\n")
    return escape_control_chars("\n".join(line.rstrip() for line in lines)).rstrip("\n") + "\n"


def html(reports: Sequence[Report]) -> str:
    """Return reports as an HTML page that needs no other file."""
    title = html_module.escape(" ".join(reports[0].headline.split()) if len(reports) == 1 else "bncheck")
    page = HTML.format(title=title.replace("{", "{{").replace("}", "}}"))
    return escape_control_chars(_recorded(reports).export_html(code_format=page, inline_styles=True))


def svg(reports: Sequence[Report]) -> str:
    """Return reports as an SVG picture of a terminal, as wide as the longest line, because SVG cuts off the rest."""
    console = _recorded(reports)
    console.width = max(console.width, *map(cell_len, console.export_text(clear=False).split("\n")))
    return escape_control_chars(FONT_RULES.sub("", console.export_svg(title="bncheck", unique_id="bncheck")))


def _recorded(reports: Sequence[Report], *, colors: bool = True) -> Console:
    """Return a console that has recorded the reports."""
    console = Console(
        file=io.StringIO(), record=True, width=WIDTH + 2 * INDENT, highlight=False, markup=False, emoji=False,
        color_system="truecolor" if colors else None, force_terminal=colors, no_color=not colors,
        legacy_windows=False,
    )  # fmt: skip
    console.print(*reports, sep="", crop=False)
    return console
