"""The rows of a report about what is wrong: diagnoses, the wrong part, and the commands to type next."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bncheck.model.results import CheckResult, Note
from bncheck.model.verdict import Verdict
from bncheck.render.format import join_words, sentence
from bncheck.render.layout import Command, Page

if TYPE_CHECKING:  # only needed to explain a failure
    from bncheck.model.diagnosis_records import Diagnosis, Terms


def diagnosis_rows(page: Page, result: CheckResult) -> Iterator[tuple[str, RenderableType]]:
    """Yield labels and sentences for each diagnosis, and the coefficients of the terms of the first that has them."""
    shown = [d for d in result.diagnosis if d.gradient is not None or result.verdict is Verdict.FAIL]
    has_several = len({d.function for d in shown}) > 1 or any(" of " in name for d in shown for name in d.also_explains)
    first_with_terms = next((d for d in shown if d.terms is not None), None)
    for d in shown:
        yield "", Text()
        function = f" of {d.function}" if has_several and d.function else ""
        for label, text in _sentences(d, function) if d.code else _description(d, function):
            yield label, page.text(text)
        if d is first_with_terms and d.terms is not None:
            yield "", Text()
            yield "", _terms_table(page, d.gradient or "", d.terms)


def _description(d: "Diagnosis", function: str) -> Iterator[tuple[str, str]]:
    """Yield the description of an error that no known mistake gives."""
    subject = f"{d.gradient}{function}" if d.gradient else d.function
    description = "; ".join(d.description)
    if description:
        yield "", f"{subject}: {description}." if subject else sentence(description)


def _sentences(d: "Diagnosis", function: str) -> Iterator[tuple[str, str]]:
    """Yield the name of a mistake, the arrays that match it, and the mistakes that match equally well."""
    yield d.code or "", f"{d.name}: {d.message}"
    if d.gradient is None:
        return
    is_output = d.gradient in ("a", "out")
    names = [f"{d.gradient}{function}", *(() if is_output else d.also_explains)]
    how = f"to a relative difference of {d.relative_distance:.0e}" if d.relative_distance else "exactly"
    yield "", f"{join_words(names)} {'match' if len(names) > 1 else 'matches'} this mistake {how}."
    for clause in d.description:
        yield "", sentence(clause)
    if is_output and d.also_explains:
        several = len(d.also_explains) > 1
        are, they = ("are the gradients", "they do") if several else ("is the gradient", "it does")
        yield "", f"{join_words(d.also_explains)} {are} of standard batch norm, so {they} not match this forward pass."
    if d.alternatives:
        number = "both" if len(d.alternatives) == 1 else "all"
        yield "", f"Or {join_words(d.alternatives, 'or')}: {number} give the same result on every problem tried."


def _terms_table(page: Page, gradient: str, terms: "Terms") -> Table:
    """Return the computed and the expected coefficients."""
    grid = Table.grid(padding=(0, 3, 0, 0))
    for justify in ("left", "right", "right", "right"):
        grid.add_column(justify=justify)
    grid.add_row(page.text(f"coefficients of the terms of {gradient}"), "direct", "mean", "variance")
    grid.add_row("  computed", *terms.labels)
    grid.add_row("  expected", *["1" if terms.exact else "1.000"] * 3)
    if not terms.exact:
        grid.add_row("  unexplained", f"{100 * terms.unexplained:.0f} %")
    return grid


def wrong_part_rows(result: CheckResult) -> Iterator[tuple[str, str | Command]]:
    """Yield the wrong part, the identities, the Taylor test, and how to continue."""
    if result.wrong_part is not None:
        yield "wrong part", result.wrong_part.part
        for word, satisfied in (("satisfied", True), ("violated", False)):
            formulas = "; ".join(i.formula for i in result.wrong_part.identities if i.satisfied is satisfied)
            yield "identities", f"{word}: {formulas}" if formulas else ""
        order = result.wrong_part.taylor_order
        yield "Taylor test", "" if order is None else f"remainder ~ t^{order:.2f}, expected t^2"
    codes = dict.fromkeys(d.code for d in result.diagnosis if d.code)
    if codes:
        yield "explain", f"bncheck explain {' '.join(codes)}"
    example = result.minimal_example
    if example is not None:
        sizes = f"N {example.N}, D {example.D}, H {example.H}, seed {example.seed}"
        yield "minimal example", Command(example.reproduce) if example.reproduce else sizes


def format_note(result: CheckResult, note: Note) -> str:
    """Return the message of a note, with the code under which the catalogue explains it."""
    name, message = note
    code = next((d.code for d in result.diagnosis if d.name == name), None)
    return f"{message} ({code})" if code else message
