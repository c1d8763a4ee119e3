"""The check of a target on the edge cases."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bncheck.checking.edge_cases import EDGE_CASES, EdgeCase
from bncheck.checking.knowledge import function_and_reason
from bncheck.checking.target_check import ProblemResult, TargetCheck
from bncheck.errors import TargetError
from bncheck.model.options import CheckOptions
from bncheck.model.precision import FLOAT64
from bncheck.model.results import EdgeCaseResult, UncheckedFunction
from bncheck.model.verdict import Verdict
from bncheck.numerical.measure import MIN_CROSS_CHECK_ENTRIES

# The name of all edge cases in the list of what was not checked.
EDGE_CASES_LABEL = "edge cases"


class CheckedEdgeCase(NamedTuple):
    """An edge case, its result in the report, and the results behind it."""

    edge_case: EdgeCase
    result: EdgeCaseResult
    outcome: ProblemResult


def check_edge_cases(check: TargetCheck, main: ProblemResult, command: str | None) -> Iterator[CheckedEdgeCase]:
    """Check a target on every edge case for which its arithmetic is precise enough.

    Parameters
    ----------
    check : TargetCheck
        The target, and what is known about it.
    main : ProblemResult
        Its results on the problem of the check.
    command : str or None
        The target, as named on the command line; None for an object from Python.
    """
    if main.precision.is_16_bit:
        check.knowledge.leave_out(EDGE_CASES_LABEL, f"the code computes in {main.precision.name}")
        return
    for edge_case in EDGE_CASES:
        with np.errstate(all="ignore"):  # the user did not choose this problem, so its warnings are not helpful
            checked = _check_edge_case(check, edge_case, command)
        if checked is not None:
            yield checked


def _options_of(edge_case: EdgeCase, options: CheckOptions) -> CheckOptions:
    """Return the options for an edge case, which has its own sizes and scales."""
    entries = min(options.cross_check_entries, MIN_CROSS_CHECK_ENTRIES) if edge_case.typical else 0
    return replace(
        options,
        engine="local",
        step="auto",
        sample=None,
        scheme=edge_case.scheme or options.scheme,
        cross_check_entries=entries,
    )


def _check_edge_case(check: TargetCheck, edge_case: EdgeCase, command: str | None) -> CheckedEdgeCase | None:
    """Check a target on an edge case; None if it may reject it and does, or its arithmetic is not precise enough."""
    problem, options, knowledge = edge_case.draw(), _options_of(edge_case, check.options), check.knowledge
    # Differentiating a wrong forward function takes a pass for each entry; on most edge cases its output is enough.
    other = TargetCheck(check.code, options, knowledge, tuple(check.ended), black_box=edge_case.typical)
    try:
        outcome = other.examine(problem, usages=edge_case.usages)
    except TargetError as error:
        other.unchecked_functions.append(UncheckedFunction(*function_and_reason(error), Verdict.FAIL))
        outcome = ProblemResult((), (), ())
    raised = [(item.function, item.reason.partition("\n")[0]) for item in other.unchecked_functions]
    if edge_case.may_raise:
        for function, reason in raised:
            knowledge.leave_out(function, f"edge case {edge_case.name}: it {reason}")
        raised = []
    verdict = Verdict.FAIL if raised else outcome.verdict
    if verdict is Verdict.INCONCLUSIVE and not outcome.cases:
        return None
    if verdict is Verdict.INCONCLUSIVE and outcome.precision != FLOAT64:
        reason = f"{outcome.precision.name} is not precise enough for it"
        knowledge.leave_out(f"edge case {edge_case.name}", reason)
        return None
    failed = [f"{c.output.name} of {c.output.function or 'forward'}" for c in outcome.cases if c.output.wrong]
    failed += [key for key, g in outcome.gradients.items() if g.verdict is not Verdict.PASS]
    failed += [f"{function} {reason}" for function, reason in raised]
    reproduce = options.command(problem, command) if edge_case.is_random_problem else None
    result = EdgeCaseResult(edge_case.name, verdict, tuple(failed), reproduce, edge_case.sizes, edge_case.about)
    return CheckedEdgeCase(edge_case, result, outcome)
