"""Shared page layout: width, ASCII fallback and table style."""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from bncheck.model.verdict import Verdict
from bncheck.render.commands import wrap_command
from bncheck.render.encoding import to_ascii

# In columns: a report occupies the columns 3 to 78, so that it fits a terminal of 80.
INDENT, WIDTH = 2, 76
# Columns between two cells of a row.
GAP = 2

# None: could not run.
STYLES = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.INCONCLUSIVE: "yellow", None: "bold red"}
WORDS = {Verdict.PASS: "pass", Verdict.FAIL: "FAIL", Verdict.INCONCLUSIVE: "inconclusive", None: "could not run"}

# A rule under the headings and no other lines.
RULE = Box("    \n    \n ── \n    \n    \n    \n    \n    \n")
ASCII_RULE = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


@dataclass(frozen=True, slots=True)
class Page:
    """The width and the encoding that a report is laid out for."""

    ascii_only: bool
    width: int  # columns, without the indentation

    @classmethod
    def from_options(cls, options: ConsoleOptions) -> "Page":
        """Return the page for a console."""
        return cls(options.ascii_only, min(WIDTH, options.max_width - INDENT))

    def laid_out(self, blocks: Iterable[RenderableType]) -> Iterator[RenderableType]:
        """Yield the blocks indented, each followed by an empty line."""
        for block in blocks:
            yield _Indented(block, self.width)
            yield Text()

    def text(self, sentence: str, style: str = "") -> Text:
        """Return a text, in ASCII if the stream needs it."""
        return Text(to_ascii(sentence, ascii_only=self.ascii_only), style=style)

    def prose(self, paragraphs: Iterable[str]) -> Text:
        """Return paragraphs filled to the width. One that begins with two spaces is a formula and keeps its indent."""
        lines: list[str] = []
        for paragraph in (to_ascii(paragraph, ascii_only=self.ascii_only) for paragraph in paragraphs):
            indent = " " * 8 * paragraph.startswith("  ")
            lines += textwrap.wrap(paragraph, self.width, subsequent_indent=indent) or [""]
        return Text("\n".join(lines))

    def verdict(self, verdict: Verdict | None) -> Text:
        """Return the label of a verdict in its color; None: could not run."""
        return self.text(WORDS[verdict], STYLES[verdict])

    def table(self, *headings: str) -> Table:
        """Return a table with a rule under its headings; the first column is aligned left, the others right."""
        box = ASCII_RULE if self.ascii_only else RULE
        table = Table(box=box, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for number, heading in enumerate(headings):
            table.add_column(heading, justify="right" if number else "left", no_wrap=True)
        return table


@dataclass(frozen=True, slots=True)
class _Indented:
    """A block within the margins of the page; text that must not be wrapped exceeds the right margin."""

    block: RenderableType
    width: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        margin = Segment(" " * INDENT)
        for line in Segment.split_lines(console.render(self.block, options.update(width=self.width))):
            yield from (margin, *line, Segment.line())


@dataclass(frozen=True, slots=True)
class Command:
    """A shell command that runs when it is pasted: its long words exceed the right margin instead of being broken."""

    command: str

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        lines = wrap_command(self.command, options.max_width, ascii_only=options.ascii_only)
        yield Text("\n".join(lines), no_wrap=True, overflow="ignore")


class LabelGrid(Table):
    """Labels with text next to them.

    rich cuts off a cell at the width of its column; this grid keeps the long words of a ``Command``.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        labels, texts = ([Text(c) if isinstance(c, str) else c for c in column.cells] for column in self.columns)
        width = self.columns[0].width or max((cell_len(str(label)) for label in labels), default=0)
        text_options = options.update(width=max(1, options.max_width - width - GAP), overflow="fold")
        label_options = options.update(width=width, no_wrap=True)
        for label, text, row in zip(labels, texts, self.rows, strict=True):
            style = console.get_style(row.style or "")
            left = console.render_lines(label, label_options, style=style)[0]
            for line in Segment.split_lines(Segment.apply_style(console.render(text, text_options), style)):
                yield from (*left, Segment(" " * GAP), *line, Segment.line())
                left = [Segment(" " * width)]


def two_columns(width: int | None = None) -> Table:
    """Return an empty grid of labels and texts; ``width`` is that of the labels, in columns."""
    grid = LabelGrid.grid(padding=(0, GAP, 0, 0))
    grid.add_column(no_wrap=True, width=width)
    grid.add_column(overflow="fold")
    return grid
