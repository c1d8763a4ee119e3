"""What every report stands on: a width, an alphabet, and tables with a rule under their headings."""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from bncheck.model.results import Verdict
from bncheck.render.encoding import to_ascii
from bncheck.render.format import wrap_command

# Everything stands in the columns 3 to 78 of at least 80.
INDENT, WIDTH, GAP = 2, 76, 2

STYLES = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.INCONCLUSIVE: "yellow", None: "bold red"}
WORDS = {Verdict.PASS: "pass", Verdict.FAIL: "FAIL", Verdict.INCONCLUSIVE: "inconclusive", None: "could not run"}

# A rule under the headings, and nothing else.
RULE = Box("    \n    \n ── \n    \n    \n    \n    \n    \n")
ASCII_RULE = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


@dataclass(frozen=True, slots=True)
class Page:
    """A stream's width and encoding, as a report is laid out for them."""

    ascii_only: bool
    width: int

    @classmethod
    def of(cls, options: ConsoleOptions) -> "Page":
        """Return the page that a console's options leave room for."""
        return cls(options.ascii_only, min(WIDTH, options.max_width - INDENT))

    def laid_out(self, blocks: Iterable[RenderableType]) -> Iterator[RenderableType]:
        """Yield the blocks, each with an empty line after it."""
        for block in blocks:
            yield _Indented(block, self.width)
            yield Text()

    def text(self, sentence: str, style: str = "") -> Text:
        """Return a sentence in the stream's alphabet."""
        return Text(to_ascii(sentence, ascii_only=self.ascii_only), style=style)

    def prose(self, paragraphs: Iterable[str]) -> Text:
        """Return paragraphs filled to the width; one that begins with two spaces is a formula, on lines of its own."""
        spelled = (to_ascii(paragraph, ascii_only=self.ascii_only) for paragraph in paragraphs)
        filled = (textwrap.wrap(p, self.width, subsequent_indent=" " * 8 * p.startswith("  ")) or [""] for p in spelled)
        return Text("\n".join(line for lines in filled for line in lines))

    def verdict(self, verdict: Verdict | None) -> Text:
        """Return the word of a verdict in its colour; None is what did not run."""
        return self.text(WORDS[verdict], STYLES[verdict])

    def table(self, *headings: str) -> Table:
        """Return a table with a rule under its headings; the first column to the left."""
        box = ASCII_RULE if self.ascii_only else RULE
        table = Table(box=box, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for number, heading in enumerate(headings):
            table.add_column(heading, justify="right" if number else "left", no_wrap=True)
        return table


@dataclass(frozen=True, slots=True)
class _Indented:
    """A block between the page's margins; what must not be wrapped runs over the right one."""

    block: RenderableType
    width: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        margin = Segment(" " * INDENT)
        for line in Segment.split_lines(console.render(self.block, options.update(width=self.width))):
            yield from (margin, *line, Segment.line())


@dataclass(frozen=True, slots=True)
class Command:
    """A command to copy: it runs as it stands when it is pasted, so a long word runs over the right edge."""

    command: str

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        lines = wrap_command(self.command, options.max_width, ascii_only=options.ascii_only)
        yield Text("\n".join(lines), no_wrap=True, overflow="ignore")


class LabelGrid(Table):
    """Labels with text next to them.

    A cell of rich's own table is cut at its column's width; here a ``Command`` keeps its long words.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        labels, texts = ([Text(c) if isinstance(c, str) else c for c in column.cells] for column in self.columns)
        width = self.columns[0].width or max((cell_len(str(label)) for label in labels), default=0)
        beside = options.update(width=max(1, options.max_width - width - GAP), overflow="fold")
        alone = options.update(width=width, no_wrap=True)
        for label, text, row in zip(labels, texts, self.rows, strict=True):
            style = console.get_style(row.style or "")
            left = console.render_lines(label, alone, style=style)[0]
            for line in Segment.split_lines(Segment.apply_style(console.render(text, beside), style)):
                yield from (*left, Segment(" " * GAP), *line, Segment.line())
                left = [Segment(" " * width)]


def two_columns(width: int | None = None) -> Table:
    """Return labels and sentences side by side."""
    grid = LabelGrid.grid(padding=(0, GAP, 0, 0))
    grid.add_column(no_wrap=True, width=width)
    grid.add_column(overflow="fold")
    return grid
