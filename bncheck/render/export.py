"""Reports as files to look at: plain text, HTML and SVG, all as wide as a screen of 80 columns."""

import html as escaping
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
# What would fetch a font from elsewhere in rich's picture of a terminal.
FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def text(reports: Sequence[Report]) -> str:
    """Return them as plain text."""
    written = _printed(reports, colours=False).export_text()
    return escape_control_chars("".join(f"{line.rstrip()}\n" for line in written.split("\n"))).rstrip("\n") + "\n"


def html(reports: Sequence[Report]) -> str:
    """Return them as a page by itself."""
    whole = " ".join(reports[0].headline.split()) if len(reports) == 1 else "bncheck"
    title = escaping.escape(whole).replace("{", "{{").replace("}", "}}")
    return escape_control_chars(_printed(reports).export_html(code_format=HTML.format(title=title), inline_styles=True))


def svg(reports: Sequence[Report]) -> str:
    """Return them as a picture of a terminal, as wide as its longest line: a picture cuts what is longer."""
    console = _printed(reports)
    console.width = max(console.width, *map(cell_len, console.export_text(clear=False).split("\n")))
    return escape_control_chars(FONTS.sub("", console.export_svg(title="bncheck", unique_id="bncheck")))


def _printed(reports: Sequence[Report], *, colours: bool = True) -> Console:
    console = Console(
        file=io.StringIO(), record=True, width=WIDTH + 2 * INDENT, highlight=False, markup=False, emoji=False,
        color_system="truecolor" if colours else None, force_terminal=colours, no_color=not colours,
        legacy_windows=False,
    )  # fmt: skip
    console.print(*reports, sep="", crop=False)
    return console
