"""Several targets: a table with a line for each, and what is said of one that gave no answer."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from bncheck.model.results import SCHEMA, CheckResult, Source, Verdict
from bncheck.render.layout import Page
from bncheck.render.report import ItemStatus, Report, ReportItem, Suite


@dataclass(frozen=True, slots=True)
class TargetSummary:
    """What is kept of a target when its report has been written."""

    target: str
    entries: int
    wrong: int
    verdict: Verdict | None  # None: it gave no answer
    not_checked: int  # functions and parts of the check that are listed as that

    @classmethod
    def unanswered(cls, target: str) -> "TargetSummary":
        """Return the line of a target that did not load or run."""
        return cls(target, 0, 0, None, 0)

    @classmethod
    def of(cls, target: str, result: CheckResult) -> "TargetSummary":
        """Return the line of a result."""
        wrong = sum(g.wrong for g in result.gradients.values())
        wrong += sum(f.wrong for f in result.forward)
        return cls(target, result.checked, wrong, result.verdict, len(result.not_checked))


@dataclass(frozen=True, slots=True)
class Summary(Report):
    """The lines of all targets."""

    lines: Sequence[TargetSummary]

    @property
    def headline(self) -> str:
        """How many of them passed."""
        return f"{sum(line.verdict is Verdict.PASS for line in self.lines)} of {len(self.lines)} targets pass"

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return the table."""
        table = page.table("target", "entries", "wrong", "not checked", "verdict")
        table.columns[0].overflow, table.columns[0].no_wrap, table.columns[-1].justify = "fold", False, "left"
        for line in self.lines:
            counts = [f"{count:,}" for count in (line.entries, line.wrong, line.not_checked)]
            counts = counts if line.verdict is not None else ["", "", ""]
            verdict = "no answer" if line.verdict is None else page.verdict(line.verdict)
            table.add_row(Text(line.target), *counts, verdict)
        return (table,)


@dataclass(frozen=True, slots=True)
class RunFailure(Report):
    """A target that did not load or did not run: why."""

    target: str
    error: str

    @property
    def message(self) -> str:
        """What went wrong, and where."""
        return self.error if self.error.startswith(self.target) else f"{self.target}: {self.error}"

    @property
    def headline(self) -> str:
        """The first line of it."""
        return self.message.split("\n", maxsplit=1)[0]

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return the error as it was told."""
        return (page.text(f"{self.target}: no answer", "bold"), page.text(self.error))

    def data(self) -> Any:
        """Return the content of the document, schema "bncheck/1"."""
        return {"schema": SCHEMA, "verdict": None, "target": {"name": self.target}, "error": self.error}

    def suites(self) -> Iterable[Suite]:
        """Return the one finding, an error at the last line of the target's file that is named in it."""
        path = os.path.realpath(self.target)
        lines = re.findall(
            rf'(?:File "{re.escape(path)}", |{re.escape(os.path.basename(path))}(?:, | [^\n]*\())line (\d+)', self.error
        )
        source = Source(path, int(lines[-1]) if lines else 1) if os.path.isfile(path) else None
        detail = self.error.partition("\n")[2]
        return (
            Suite(self.target, (ReportItem(self.target, "answer", ItemStatus.ERROR, self.headline, detail, source),)),
        )
