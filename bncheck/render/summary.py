"""The summary of several targets, and the report of a target that could not run."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType

from bncheck.model.document import failure_document
from bncheck.model.results import CheckResult
from bncheck.model.source import Source
from bncheck.model.verdict import Verdict
from bncheck.render.layout import WORDS, Page
from bncheck.render.report import ItemStatus, Report, ReportItem, Suite


@dataclass(frozen=True, slots=True)
class TargetSummary:
    """One line of the summary."""

    target: str
    entries: int  # checked
    wrong: int  # entries of gradients and outputs
    verdict: Verdict | None  # None: could not run
    not_checked: int  # functions and parts of the check that were skipped

    @classmethod
    def could_not_run(cls, target: str) -> "TargetSummary":
        """Return the line of a target that did not load or run."""
        return cls(target, 0, 0, None, 0)

    @classmethod
    def from_result(cls, target: str, result: CheckResult) -> "TargetSummary":
        """Return the line of a check."""
        wrong = sum(g.wrong for g in result.gradients.values()) + sum(output.wrong for output in result.forward)
        return cls(target, result.checked, wrong, result.verdict, len(result.not_checked))


@dataclass(frozen=True, slots=True)
class Summary(Report):
    """The summary of several targets."""

    lines: Sequence[TargetSummary]

    @property
    def headline(self) -> str:
        """The number of targets by verdict."""
        verdicts = [line.verdict for line in self.lines]
        labels = {Verdict.FAIL: "failed", Verdict.INCONCLUSIVE: "inconclusive", None: "could not run"}
        others = (f", {verdicts.count(v)} {label}" for v, label in labels.items() if v in verdicts)
        return f"{verdicts.count(Verdict.PASS)} of {len(verdicts)} targets passed{''.join(others)}"

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return the table."""
        table = page.table("target", "entries", "wrong", "not checked", "verdict")
        table.columns[0].overflow, table.columns[0].no_wrap, table.columns[-1].justify = "fold", False, "left"
        for line in self.lines:
            if line.verdict is None:
                table.add_row(page.text(line.target), "", "", "", WORDS[None])
            else:
                counts = (f"{count:,}" for count in (line.entries, line.wrong, line.not_checked))
                table.add_row(page.text(line.target), *counts, page.verdict(line.verdict))
        return (table,)


@dataclass(frozen=True, slots=True)
class RunFailure(Report):
    """A target that did not load or did not run."""

    target: str
    error: str

    @property
    def message(self) -> str:
        """The error, with the target at its beginning."""
        return self.error if self.error.startswith(self.target) else f"{self.target}: {self.error}"

    @property
    def headline(self) -> str:
        """The first line of the error."""
        return self.message.split("\n", maxsplit=1)[0]

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return the target and the error."""
        return (page.text(f"{self.target}: {WORDS[None]}", "bold"), page.text(self.error))

    def data(self) -> Any:
        """Return the content of the JSON document, schema "bncheck/2"."""
        return failure_document(self.target, self.error)

    def suites(self) -> Iterable[Suite]:
        """Return one item, an error at the last line of the target's file that the message names."""
        source = None
        if os.path.isfile(self.target):
            path = os.path.realpath(self.target)
            name = re.escape(os.path.basename(path))
            lines = re.findall(rf'(?:File "{re.escape(path)}", |{name}(?:, | [^\n]*\())line (\d+)', self.error)
            source = Source(path, int(lines[-1]) if lines else 1)
        detail = self.error.partition("\n")[2]
        return (Suite(self.target, (ReportItem(self.target, "run", ItemStatus.ERROR, self.headline, detail, source),)),)
