"""The selftest as a person reads it: what was missed, what was seen, and how small an error shows."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table

from bncheck.mistakes import CATALOGUE
from bncheck.render.page import STYLES, Page, two_columns
from bncheck.render.words import broken
from bncheck.results import Verdict
from bncheck.selftest import PLACES, SIZES, Outcome, SelftestResult


def smoke_line(result: SelftestResult) -> str:
    """Return what smoke says where all is well."""
    problems = sum(r.problems for r in result.right)
    caught = sum(not o.never_seen for o in result.mistakes)
    return f"smoke: {problems} problems pass, {caught} planted mistakes are caught, {result.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class SelftestReport:
    """Tables of a selftest."""

    result: SelftestResult

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the report out for a stream's width and encoding."""
        page = Page.of(options)
        yield from page.laid_out(_blocks(page, self.result))


def _blocks(page: Page, r: SelftestResult) -> Iterator[RenderableType]:
    yield page.text("Known mistakes, planted in random problems", "bold")
    yield _mistakes(page, r)
    amiss = _amiss(page, r)
    if amiss.row_count:
        yield amiss
    yield page.text("Right code on random problems over hard scales, means, eps and N from 1", "bold")
    yield _right(page, r)
    for command in (command for code in r.right for command in code.false_alarms):
        yield page.text("\n".join(broken(command, page.width)))
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
    seen = [o for o in r.mistakes if not o.never_seen]
    for section in dict.fromkeys(sections.values()):
        of_it = [o for o in seen if sections[o.code] == section]
        if of_it:
            table.add_row(page.text(section), *_counts(of_it))
    table.add_row("all", *_counts(seen))
    return table


def _counts(outcomes: list[Outcome]) -> list[str]:
    planted, caught, named = (sum(getattr(o, n) for o in outcomes) for n in ("problems", "caught", "named"))
    return [f"{len(outcomes)}", f"{planted:,}", f"{caught:,}", f"{named:,}"]


def _amiss(page: Page, r: SelftestResult) -> Table:
    """Return a line for each mistake that was missed, taken for another, or cannot be seen."""
    grid = two_columns()
    for o in r.mistakes:
        if o.never_seen and not o.caught:
            grid.add_row(o.code, page.text(f"{o.name} cannot be seen: {o.never_seen}."), style="dim")
        elif o.never_seen:
            grid.add_row(o.code, page.text(f"{o.name} is no mistake, and was flagged {o.caught} times."))
        elif not o.passed:
            others = f", taken for {', '.join(dict.fromkeys(o.taken_for))}" if o.taken_for else ""
            missed = f"missed in {o.problems - o.caught} of {o.problems}" if o.caught < o.problems else "always caught"
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
    table = page.table("planted", *PLACES)
    shares = {(s.size, s.place): s.seen / s.planted for s in r.small}
    for size in SIZES:
        seen = (page.text(f"{100 * shares[size, place]:.0f} %") for place in PLACES)
        table.add_row(page.text(f"{size:g} times"), *seen)
    return table
