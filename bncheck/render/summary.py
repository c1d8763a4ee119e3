"""Several targets in one table: a line for each."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bncheck.render.check_report import ASCII_RULE, INDENT, RULE, STYLES
from bncheck.results import CheckResult, Verdict


@dataclass(frozen=True, slots=True)
class Line:
    """What is kept of a target when its report has been written."""

    target: str
    entries: int
    wrong: int
    verdict: Verdict | None  # None: it gave no answer

    @classmethod
    def of(cls, target: str, result: CheckResult) -> "Line":
        """Return the line of a result."""
        wrong = sum(g.wrong for g in result.gradients.values())
        wrong += sum(f.wrong for f in result.forward)
        return cls(target, result.checked, wrong, result.verdict)


@dataclass(frozen=True, slots=True)
class Summary:
    """The lines of all targets."""

    lines: Sequence[Line]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the table out for a stream's encoding."""
        box = ASCII_RULE if options.ascii_only else RULE
        table = Table(box=box, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("target", overflow="fold")
        table.add_column("entries", justify="right")
        table.add_column("wrong", justify="right")
        table.add_column("verdict", no_wrap=True)
        for line in self.lines:
            if line.verdict is None:
                table.add_row(Text(line.target), "", "", "no answer")
            else:
                word = "FAIL" if line.verdict is Verdict.FAIL else line.verdict.value
                verdict = Text(word, STYLES[line.verdict])
                table.add_row(Text(line.target), f"{line.entries:,}", f"{line.wrong:,}", verdict)
        yield Padding(table, (0, 0, 0, INDENT), expand=False)
        yield Text()
