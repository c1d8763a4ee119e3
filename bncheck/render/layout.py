"""Shared page layout: width, ASCII fallback, tables, and commands that can be pasted."""

import re
import shlex
import string
import textwrap
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from bncheck.model.verdict import Verdict
from bncheck.render.encoding import escape_commands, escape_control_chars, to_ascii

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

# The end of a line that continues, and the beginning of the next one.
CONTINUED, CONTINUATION = " \\", "  "
# Characters without a special meaning in a shell's $'...', nor in the log of a CI service.
PLAIN = frozenset(string.ascii_letters + string.digits + ' !%&()*+,-./;<=>?@[]^_`{|}~"$')


@dataclass(frozen=True, slots=True)
class Page:
    """The width and the encoding that a report is laid out for."""

    ascii_only: bool
    width: int  # columns, without the indentation

    def text(self, sentence: str, style: str = "") -> Text:
        """Return a text without control characters, in ASCII if the stream needs it."""
        return Text(to_ascii(escape_control_chars(sentence), ascii_only=self.ascii_only), style=style)

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
class Indented:
    """A block within the margins of the page; text that must not be wrapped exceeds the right margin.

    Every block of every report passes through it, so that none writes a control character.
    """

    block: RenderableType
    width: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        margin = Segment(" " * INDENT)
        for line in Segment.split_lines(console.render(self.block, options.update(width=self.width))):
            escaped = (Segment(escape_control_chars(text), style) for text, style, _ in line)
            yield from (margin, *escaped, Segment.line())


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
    return LabelGrid.grid(Column(no_wrap=True, width=width), Column(overflow="fold"), padding=(0, GAP, 0, 0))


def wrap_command(command: str, width: int, *, ascii_only: bool = False) -> list[str]:
    r"""Break a shell command into lines that run when they are pasted.

    Parameters
    ----------
    command : str
        A command line for a POSIX shell.
    width : int
        Maximum columns of a line. A wider word is not broken and gets a separate line.
    ascii_only : bool, default False
        Write words in ASCII.

    Returns
    -------
    list of str
        The lines; each but the last ends in ``\``, and each but the first is indented by two spaces.
        An option and its value stay on one line if both fit.
    """
    *first, last = _unbreakable(command, width, ascii_only)
    lines: list[str] = []
    for part, end in (*((part, CONTINUED) for part in first), (last, "")):
        if lines and cell_len(f"{lines[-1]} {part}{end}") <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(f"{CONTINUATION}{part}" if lines else part)
    return [*(f"{line}{CONTINUED}" for line in lines[:-1]), lines[-1]]


def _unbreakable(command: str, width: int, ascii_only: bool) -> list[str]:
    """Return the parts of a command that are not broken: an option with its value, or a single word."""
    parts: list[str] = []
    expects_value = False
    for word in _words(command):
        quoted, is_option = _quoted(word, ascii_only), word.startswith("--")
        if expects_value and not is_option and cell_len(f"{CONTINUATION}{parts[-1]} {quoted}{CONTINUED}") <= width:
            parts[-1] += f" {quoted}"
        else:
            parts.append(quoted)
        expects_value = is_option
    return parts


def _words(command: str) -> list[str]:
    """Split a command; one that cannot be split, for example from an edited row file, is a single word."""
    with suppress(ValueError):
        return shlex.split(command) or [command]
    return [command]


def _quoted(word: str, ascii_only: bool) -> str:
    """Quote a word for a shell; a word that must not be printed unchanged has the octal codes of some bytes."""
    if word.isprintable() and (word.isascii() or not ascii_only) and escape_commands(word) == word:
        return shlex.quote(word)
    decodable = re.sub("[\ud800-\udc7f\udd00-\udfff]", "\ufffd", word)  # no name of a file contains these
    codes = (chr(b) if chr(b) in PLAIN else f"\\{b:03o}" for b in decodable.encode("utf-8", "surrogateescape"))
    return f"$'{''.join(codes)}'"
