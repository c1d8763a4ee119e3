"""The results of a check as items for CI: the problem and each edge case are a suite."""

from collections.abc import Iterator

from bncheck.model.options import to_option_spelling
from bncheck.model.results import CheckResult, EdgeCaseResult, ForwardResult, GradientResult
from bncheck.model.verdict import Verdict
from bncheck.render import check_sentences as sentences
from bncheck.render.format import align_values, entry_name
from bncheck.render.report import ItemStatus, ReportItem, Suite
from bncheck.targets import BUILT_IN


def check_suites(r: CheckResult) -> Iterator[Suite]:
    """Yield the suite of the problem and those of the edge cases."""
    p = r.problem
    seed = "" if p.seed is None else f", seed {p.seed}"
    name = f"{r.target.name}, N {p.N}, D {p.D}, H {p.H}, eps {p.bn_eps:g}{seed}"
    items = (item._replace(message=to_option_spelling(item.message)) for item in _problem_items(r))
    yield Suite(name, tuple(items), r.seconds, r.reproduce)
    for case in r.edge_cases:
        name = f"{r.target.name}, edge case {case.name}"
        yield Suite(name, tuple(_edge_case_items(r, case)), reproduce=case.reproduce)


def outputs_and_gradients(r: CheckResult) -> Iterator[ForwardResult | GradientResult]:
    """Yield outputs and gradients, component by component; correct outputs of built-in targets are left out."""
    for component in dict.fromkeys(output.component for output in r.forward):
        yield from (f for f in r.forward if f.component == component and (f.wrong or r.target.name not in BUILT_IN))
        yield from (g for g in r.gradients.values() if g.component == component)


def _problem_items(r: CheckResult) -> Iterator[ReportItem]:
    for result in outputs_and_gradients(r):
        yield _item(r, result)
    for function in r.unchecked_functions:
        message, status = function.reason.split("\n", maxsplit=1)[0], ItemStatus.from_verdict(function.verdict)
        yield ReportItem(_subject(r, function.function), "call", status, message, function.reason, function.source)
    if r.incomplete:
        message = f"{sentences.INCOMPLETE}: {sentences.missing(r)}"
        yield ReportItem(r.target.name, "complete", ItemStatus.ERROR, message)
    for skipped in r.not_checked:
        yield ReportItem(_subject(r, skipped.function), "not checked", ItemStatus.SKIPPED, skipped.reason)
    if r.cross_check_failed:
        yield ReportItem(r.target.name, "cross-check", ItemStatus.INCONCLUSIVE, sentences.cross_check(r))
    if r.interrupted:
        message = f"interrupted after {r.checked:,} of {r.entries:,} entries"
        yield ReportItem(r.target.name, "every entry", ItemStatus.INCONCLUSIVE, message)


def _item(r: CheckResult, result: ForwardResult | GradientResult) -> ReportItem:
    if isinstance(result, ForwardResult):
        message, detail = result.message, r.reproduce or ""
    else:
        message = " ".join([*sentences.failure_sentences([result])] if result.wrong else result.reasons)
        detail = "" if result.verdict is Verdict.PASS else "\n".join(_evidence(r, result))
    status = ItemStatus.from_verdict(result.verdict)
    return ReportItem(_subject(r, result.function), result.name, status, message, detail, result.source)


def _evidence(r: CheckResult, g: GradientResult) -> Iterator[str]:
    """Yield the diagnosis of a gradient that does not pass, its worst entry, and what to type next."""
    for d in (d for d in r.diagnosis if d.function == g.function and g.name in (d.gradient, *d.also_explains)):
        yield f"{d.code} {d.name}: {d.message}" if d.code else f"{'; '.join(d.description)}."
    if g.wrong and g.worst_entries:
        analytic, numerical = align_values(g.worst_entries[0])
        name = entry_name(g, g.worst_entries[0])
        yield f"{name}: analytic {analytic.strip()}, numerical {numerical.strip()}"
    codes = [d.code for d in r.diagnosis if d.code and d.function == g.function]
    if codes:
        yield f"bncheck explain {' '.join(codes)}"
    if r.reproduce:
        yield r.reproduce


def _edge_case_items(r: CheckResult, case: EdgeCaseResult) -> Iterator[ReportItem]:
    """Yield an item for each gradient on an edge case, and one for anything else that does not pass there."""
    status, reproduce = ItemStatus.from_verdict(case.verdict), case.reproduce or ""
    message = "" if case.verdict is Verdict.PASS else f"{sentences.VERBS[case.verdict]} on the edge case {case.name}"
    for key, g in r.gradients.items():
        item = ReportItem(_subject(r, g.function), g.name, ItemStatus.PASS, source=g.source)
        yield item._replace(status=status, message=message, detail=reproduce) if key in case.failed else item
    others = [name for name in case.failed if name not in r.gradients]
    if others or (message and not case.failed):
        message = ": ".join(filter(None, (message, ", ".join(others))))
        yield ReportItem(r.target.name, "check", status, message, reproduce)


def _subject(r: CheckResult, function: str | None) -> str:
    return f"{r.target.name}.{function}" if function else r.target.name
