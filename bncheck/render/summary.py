"""Several targets in one table: a line for each."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from bncheck.render.page import Page
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
        page = Page.of(options)
        table = page.table("target", "entries", "wrong", "verdict")
        table.columns[0].overflow, table.columns[0].no_wrap, table.columns[-1].justify = "fold", False, "left"
        for line in self.lines:
            counts = ("", "") if line.verdict is None else (f"{line.entries:,}", f"{line.wrong:,}")
            verdict = "no answer" if line.verdict is None else page.verdict(line.verdict)
            table.add_row(Text(line.target), *counts, verdict)
        yield from page.laid_out([table])
