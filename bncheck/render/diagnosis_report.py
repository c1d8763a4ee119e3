"""What is wrong, as a report tells it: the mistake's name, the evidence for it, and what to type next."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bncheck.model.results import CheckResult, Note
from bncheck.model.verdict import Verdict
from bncheck.render.layout import Command, Page

if TYPE_CHECKING:  # what a pass has none of
    from bncheck.model.diagnosis_records import Diagnosis, Terms


def diagnosis_rows(page: Page, result: CheckResult) -> Iterator[tuple[str, RenderableType]]:
    """Yield labels and sentences for each diagnosis, and the weights of dx's terms once."""
    told = [d for d in result.diagnosis if d.gradient is not None or result.verdict is Verdict.FAIL]
    several = len({d.function for d in told}) > 1 or any(" of " in name for d in told for name in d.also_explains)
    weighted = next((d for d in told if d.terms is not None), None)
    for d in told:
        yield "", Text()
        for label, sentence in _sentences(d, f" of {d.function}" if several and d.function else ""):
            yield label, page.text(sentence)
        if d is weighted and d.terms is not None:
            yield "", Text()
            yield "", _terms(page, d.gradient or "", d.terms)


def _sentences(d: "Diagnosis", whose: str) -> Iterator[tuple[str, str]]:
    if d.code is None:
        if d.description:
            subject = f"{d.gradient}{whose}" if d.gradient else d.function
            yield (
                "",
                f"{subject}: {'; '.join(d.description)}." if subject else f"{'; '.join(d.description)}.".capitalize(),
            )
        return
    yield d.code, f"{d.name}: {d.message}"
    if d.gradient is None:
        return
    close = f"to {d.relative_distance:.0e}" if d.relative_distance else "to the last bit"
    output = d.gradient in ("a", "out")
    what = _listed([f"{d.gradient}{whose}", *(() if output else d.also_explains)])
    yield "", f"{what} {'equals' if output or not d.also_explains else 'equal'} what that gives, {close}."
    for sentence in d.description:
        yield "", f"{sentence.capitalize()}."
    if output and d.also_explains:
        yield "", f"The usual backward pass goes with it: {_listed(d.also_explains)}."
    if d.alternatives:
        yield "", f"Or {_listed(d.alternatives, 'or')}: nothing tried tells them apart."


def _listed(names: Sequence[str], word: str = "and") -> str:
    return f" {word} ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _terms(page: Page, gradient: str, terms: "Terms") -> Table:
    """Return the coefficients that were found beside those expected."""
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_column()
    for _ in range(3):
        grid.add_column(justify="right")
    grid.add_row(page.text(f"terms of {gradient}"), "direct", "mean path", "variance path")
    grid.add_row("  found", *terms.labels)
    grid.add_row("  expected", *["1" if terms.exact else "1.000"] * 3)
    if not terms.exact:
        grid.add_row("  not these", f"{100 * terms.unexplained:.0f} %")
    return grid


def wrong_part_rows(result: CheckResult) -> Iterator[tuple[str, str | Command]]:
    """Yield where it departs, which identities hold and break, and how to go on."""
    d = result.wrong_part
    if d is not None:
        yield "departs", f"at {d.part}"
        yield "holds", "; ".join(i.formula for i in d.identities if i.satisfied)
        rate = "" if d.taylor_order is None else f"Taylor remainder falls as t^{d.taylor_order:.2f} (right: t^2)"
        yield "breaks", "; ".join(i.formula for i in d.identities if not i.satisfied)
        yield "rate", rate
    codes = list(dict.fromkeys(c.code for c in result.diagnosis if c.code))
    if codes:
        yield "why", f"bncheck explain {' '.join(codes)}"
    s = result.minimal_example
    if s is not None:
        yield "smallest", Command(s.reproduce) if s.reproduce else f"N {s.N}, D {s.D}, H {s.H}, seed {s.seed}"


def format_note(result: CheckResult, remark: Note) -> str:
    """Return a remark, with the code under which the catalogue explains it."""
    code = next((d.code for d in result.diagnosis if d.name == remark.code), None)
    return f"{remark.message} ({code})" if code else remark.message
