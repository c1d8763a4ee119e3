"""The selftest as a person reads it: what was missed, what was seen, and how small an error shows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from bncheck.mistakes import CATALOGUE
from bncheck.model.results import Verdict
from bncheck.render.layout import STYLES, Command, Page, two_columns
from bncheck.render.report import ItemStatus, Report, ReportItem, Suite
from bncheck.selftest.trials import (
    ERROR_REGIONS,
    ERROR_SIZES,
    FalseAlarmTrial,
    InjectionResult,
    SelftestResult,
    SensitivityTrial,
)


@dataclass(frozen=True, slots=True)
class SelftestReport(Report):
    """Tables of a selftest."""

    result: SelftestResult

    @property
    def headline(self) -> str:
        """How many problems passed, and how many mistakes were caught."""
        r = self.result
        problems, alarms = (
            sum(count) for count in zip(*((c.problems, len(c.false_alarms)) for c in r.right), strict=True)
        )
        seen = [o for o in r.mistakes if not o.undetectable_because]
        detected = sum(o.detected == o.problems for o in seen)
        return (
            f"{'PASS' if r.passed else 'FAIL'}  {detected} of {len(seen)} planted mistakes are caught, "
            f"{alarms or 'no'} false alarm{'s' * (alarms > 1)} on {problems:,} problems, {r.seconds:.1f} s"
        )

    def blocks(self, page: Page) -> Iterable[RenderableType]:
        """Return the tables and the verdict."""
        return _blocks(page, self.result)

    def data(self) -> Any:
        """Return the content of the JSON document."""
        return self.result.to_dict()

    def suites(self) -> Iterable[Suite]:
        """Return the mistakes, the right code, and the small errors."""
        r = self.result
        yield Suite("known mistakes", tuple(map(_planted, r.mistakes)), r.seconds)
        yield Suite("right code", tuple(map(_false_alarm_item, r.right)))
        if r.small:
            yield Suite("small errors", tuple(map(_sensitivity_item, r.small)))


def _planted(o: InjectionResult) -> ReportItem:
    wrong = o.detected if o.undetectable_because else o.problems - o.detected
    told = (
        f"{'flagged' if o.undetectable_because else 'missed'} in {wrong} of {o.problems} problems"
        if wrong
        else o.undetectable_because
    )
    ended = ItemStatus.FAIL if wrong else ItemStatus.SKIPPED if o.undetectable_because else ItemStatus.PASS
    return ReportItem(o.code, o.name, ended, told)


def _false_alarm_item(code: FalseAlarmTrial) -> ReportItem:
    told = f"{len(code.false_alarms)} false alarms on {code.problems} problems" if code.false_alarms else ""
    return ReportItem(
        "right", code.name, ItemStatus.FAIL if told else ItemStatus.PASS, told, "\n".join(code.false_alarms)
    )


def _sensitivity_item(small: SensitivityTrial) -> ReportItem:
    missed = small.must_be_detected and small.seen < small.planted
    told = f"{small.seen} of {small.planted} seen"
    return ReportItem(
        "resolution", f"{small.size:g} times, {small.place}", ItemStatus.FAIL if missed else ItemStatus.PASS, told
    )


def _blocks(page: Page, r: SelftestResult) -> Iterator[RenderableType]:
    yield page.text("Known mistakes, planted in random problems", "bold")
    yield _mistakes(page, r)
    amiss = _undetected_rows(page, r)
    if amiss.row_count:
        yield amiss
    yield page.text("Right code on random problems over hard scales, means, eps and N from 1", "bold")
    yield _right(page, r)
    for command in (command for code in r.right for command in code.false_alarms):
        yield Command(command)
    if r.small:
        head = f"Small errors in right gradients, in terms of the resolution claimed (median {r.resolution:.0e})"
        yield page.text(head, "bold")
        yield _small(page, r)
    verdict = Verdict.PASS if r.passed else Verdict.FAIL
    end = two_columns()
    sentence = "everything that must be seen was seen" if r.passed else "bncheck cannot be relied on here: see above"
    end.add_row(page.text(verdict.value.upper(), STYLES[verdict]), page.text(f"{sentence}, {r.seconds:.0f} s"))
    yield end


def _mistakes(page: Page, r: SelftestResult) -> Table:
    table = page.table("kind", "mistakes", "planted", "caught", "named first")
    sections = {m.code: m.section for m in CATALOGUE}
    seen = [o for o in r.mistakes if not o.undetectable_because]
    for section in dict.fromkeys(sections.values()):
        of_it = [o for o in seen if sections[o.code] == section]
        if of_it:
            table.add_row(page.text(section), *_counts(of_it))
    table.add_row("all", *_counts(seen))
    return table


def _counts(outcomes: list[InjectionResult]) -> list[str]:
    planted, detected, named = (sum(getattr(o, n) for o in outcomes) for n in ("problems", "detected", "identified"))
    return [f"{len(outcomes)}", f"{planted:,}", f"{detected:,}", f"{named:,}"]


def _undetected_rows(page: Page, r: SelftestResult) -> Table:
    """Return a line for each mistake that was missed, taken for another, or cannot be seen."""
    grid = two_columns()
    for o in r.mistakes:
        if o.undetectable_because and not o.detected:
            grid.add_row(o.code, page.text(f"{o.name} cannot be seen: {o.undetectable_because}."), style="dim")
        elif o.undetectable_because:
            grid.add_row(o.code, page.text(f"{o.name} is no mistake, and was flagged {o.detected} times."))
        elif not o.passed:
            others = f", taken for {', '.join(dict.fromkeys(o.identified_as))}" if o.identified_as else ""
            missed = (
                f"missed in {o.problems - o.detected} of {o.problems}" if o.detected < o.problems else "always caught"
            )
            grid.add_row(o.code, page.text(f"{o.name}: {missed}{others}."))
    return grid


def _right(page: Page, r: SelftestResult) -> Table:
    table = page.table("code", "problems", "false alarms", "inconclusive")
    for code in r.right:
        table.add_row(
            page.text(code.name), f"{code.problems:,}", f"{len(code.false_alarms):,}", f"{code.inconclusive:,}"
        )
    return table


def _small(page: Page, r: SelftestResult) -> Table:
    table = page.table("planted", *ERROR_REGIONS)
    shares = {(s.size, s.place): s.seen / s.planted for s in r.small}
    for size in ERROR_SIZES:
        seen = (page.text(f"{100 * shares[size, place]:.0f} %") for place in ERROR_REGIONS)
        table.add_row(page.text(f"{size:g} times"), *seen)
    return table
