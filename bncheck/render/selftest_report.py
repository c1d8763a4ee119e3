"""The report of a self-test: mistakes, false alarms and small errors, each as a table."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from bncheck.mistakes import mistake_named
from bncheck.model.verdict import Verdict
from bncheck.render.layout import STYLES, Command, Page, two_columns
from bncheck.render.report import ItemStatus, Report, ReportItem, Suite
from bncheck.selftest.sensitivity import ERROR_REGIONS, ERROR_SIZES, SensitivityTrial
from bncheck.selftest.trials import NOT_IDENTIFIED, FalseAlarmTrial, InjectionResult, SelftestResult


@dataclass(frozen=True, slots=True)
class SelftestReport(Report):
    """The tables of a self-test."""

    result: SelftestResult

    @property
    def headline(self) -> str:
        """The verdict and the number of detected mistakes and false alarms."""
        r = self.result
        problems = sum(trial.problems for trial in r.false_alarm_trials)
        alarms = sum(len(trial.false_alarms) for trial in r.false_alarm_trials)
        detectable = _detectable(r.mistakes)
        detected = sum(not m.undetected for m in detectable)
        return (
            f"{'PASS' if r.passed else 'FAIL'}  {detected} of {len(detectable)} injected mistakes detected, "
            f"{alarms or 'no'} false alarm{'s' * (alarms != 1)} on {problems:,} problems, {r.seconds:.1f} s"
        )

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return the tables and the verdict."""
        r = self.result
        yield page.text("Detection of injected mistakes", "bold")
        yield _mistake_table(page, r.mistakes)
        exceptions = _exceptions(page, r.mistakes)
        if exceptions.row_count:
            yield exceptions
        yield page.text("False alarms on correct implementations (extreme scales, means and eps; N from 1)", "bold")
        yield _false_alarm_table(page, r.false_alarm_trials)
        yield from (Command(command) for trial in r.false_alarm_trials for command in trial.false_alarms)
        if r.sensitivity_trials:
            title = "Detection of small injected errors, in multiples of the claimed resolution"
            yield page.text(f"{title} (median {r.resolution:.0e})", "bold")
            yield _sensitivity_table(page, r.sensitivity_trials)
        failure = "bncheck failed its own tests on this machine, see above"
        verdict, reason = (Verdict.PASS, "all required errors were detected") if r.passed else (Verdict.FAIL, failure)
        grid = two_columns()
        grid.add_row(page.text(verdict.value.upper(), STYLES[verdict]), page.text(f"{reason}, {r.seconds:.0f} s"))
        yield grid

    def data(self) -> Any:
        """Return the content of the JSON document."""
        return self.result.to_dict()

    def suites(self) -> Iterable[Suite]:
        """Return the mistakes, the correct implementations and the small errors."""
        r = self.result
        yield Suite("injected mistakes", tuple(map(_mistake_item, r.mistakes)), r.seconds)
        yield Suite("correct implementations", tuple(map(_false_alarm_item, r.false_alarm_trials)))
        if r.sensitivity_trials:
            yield Suite("small injected errors", tuple(map(_sensitivity_item, r.sensitivity_trials)))


def _detectable(mistakes: Iterable[InjectionResult]) -> list[InjectionResult]:
    return [m for m in mistakes if not m.undetectable_because]


def _mistake_item(m: InjectionResult) -> ReportItem:
    if m.undetected:
        status, message = ItemStatus.FAIL, f"not detected on {m.undetected} of {m.problems} problems"
    elif m.false_alarms:
        status, message = ItemStatus.FAIL, f"reported on {m.false_alarms} of {m.problems} problems"
    elif m.undetectable_because:
        status, message = ItemStatus.SKIPPED, m.undetectable_because
    else:
        status, message = ItemStatus.PASS, ""
    return ReportItem(m.code, m.name, status, message)


def _false_alarm_item(trial: FalseAlarmTrial) -> ReportItem:
    alarms = len(trial.false_alarms)
    status = ItemStatus.FAIL if alarms else ItemStatus.PASS
    message = f"{alarms} false alarms on {trial.problems} problems" if alarms else ""
    return ReportItem("correct implementation", trial.name, status, message, "\n".join(trial.false_alarms))


def _sensitivity_item(trial: SensitivityTrial) -> ReportItem:
    status = ItemStatus.FAIL if trial.is_missed else ItemStatus.PASS
    name = f"{trial.size:g} times the resolution, {trial.region}"
    return ReportItem("sensitivity", name, status, f"{trial.detected} of {trial.injected} detected")


def _mistake_table(page: Page, mistakes: Iterable[InjectionResult]) -> Table:
    table = page.table("section", "mistakes", "injected", "detected", "identified")
    detectable = _detectable(mistakes)
    sections = groupby(detectable, lambda m: mistake_named(m.code).section)
    for section, group in [*((name, list(group)) for name, group in sections), ("all", detectable)]:
        counts = (sum(getattr(m, name) for m in group) for name in ("problems", "detected", "identified"))
        table.add_row(page.text(section), f"{len(group)}", *(f"{count:,}" for count in counts))
    return table


def _exceptions(page: Page, mistakes: Iterable[InjectionResult]) -> Table:
    """Return a line for each mistake that is undetectable or was not identified everywhere."""
    grid = two_columns()
    for m in mistakes:
        if m.false_alarms:
            grid.add_row(m.code, page.text(f"{m.name} is not an error but was reported {m.false_alarms} times."))
        elif m.undetectable_because:
            grid.add_row(m.code, page.text(f"{m.name} cannot be detected: {m.undetectable_because}."), style="dim")
        elif m.identified < m.problems:
            grid.add_row(m.code, page.text(f"{m.name}: {', '.join(_shortcomings(m))}."))
    return grid


def _shortcomings(m: InjectionResult) -> Iterator[str]:
    yield f"not detected on {m.undetected} of {m.problems} problems" if m.undetected else "always detected"
    for code in dict.fromkeys(m.identified_as):
        yield "not identified" if code == NOT_IDENTIFIED else f"identified as {code}"


def _false_alarm_table(page: Page, trials: Iterable[FalseAlarmTrial]) -> Table:
    table = page.table("implementation", "problems", "false alarms", "inconclusive")
    for t in trials:
        table.add_row(page.text(t.name), f"{t.problems:,}", f"{len(t.false_alarms):,}", f"{t.inconclusive:,}")
    return table


def _sensitivity_table(page: Page, trials: Sequence[SensitivityTrial]) -> Table:
    table = page.table("size", *ERROR_REGIONS)
    detected = {(t.size, t.region): page.text(f"{100 * t.detected / t.injected:.0f} %") for t in trials}
    for size in ERROR_SIZES:
        table.add_row(page.text(f"{size:g} times"), *(detected[size, region] for region in ERROR_REGIONS))
    return table
