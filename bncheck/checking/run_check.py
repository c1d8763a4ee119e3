"""One check in this process, from the problem to the result."""

import math
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bncheck.checking.edge_cases import EDGE_CASES_LABEL, CheckedEdgeCase, check_edge_cases
from bncheck.checking.target_check import NOT_ASKED_FOR, ProblemResult, TargetCheck
from bncheck.errors import BncheckError, InvalidInput, TargetEnded, TargetError
from bncheck.model.options import GRADIENTS, CheckOptions
from bncheck.model.problem import Problem
from bncheck.model.progress import Progress, silent
from bncheck.model.results import CheckResult, EdgeCaseResult, GradientResult, KinkExclusion, Note
from bncheck.model.verdict import Verdict
from bncheck.targets import BUILT_IN
from bncheck.targets.interface import Interface

# Largest value resolution of a gradient without a note.
MAX_VALUE_RESOLUTION = 1e-2


class InterruptedCheck(KeyboardInterrupt):
    """Ctrl-C during a check; ``result`` contains what was finished, and its verdict is never PASS."""

    def __init__(self, result: CheckResult) -> None:
        super().__init__(f"interrupted after {result.checked:,} of {result.entries:,} entries")
        self.result = result


class OptionalStages(NamedTuple):
    """Stages of a check that can be switched off."""

    edge_cases: bool
    explain: bool
    minimal_example: bool  # only if ``explain``


def run_check(
    problem: Problem,
    interface: Interface,
    command: str | None,
    options: CheckOptions,
    stages: OptionalStages,
    progress: Progress = silent,
) -> CheckResult:
    """Check a target in this process.

    Parameters
    ----------
    problem : Problem
        The arrays that the target is called with.
    interface : Interface
        The code under test.
    command : str or None
        The target as named on the command line; None for an object from Python.
    options : CheckOptions
        How it is checked.
    stages : OptionalStages
        What is done in addition.
    progress : callable, optional
        Called with the number of finished entries and the total.

    Raises
    ------
    InvalidInput, TargetError
        Nothing was judged.
    InterruptedCheck
        Ctrl-C.
    """
    started = time.perf_counter()
    check = TargetCheck(interface, options)
    main = check.examine(problem, progress)
    if _is_nothing_judged(main, check):
        raise _explain_nothing_judged(check)
    edge_cases: list[CheckedEdgeCase] = []
    interrupted = main.interrupted
    try:
        if stages.edge_cases and not interrupted:
            for edge_case in check_edge_cases(check, main, command):
                edge_cases.append(edge_case)  # noqa: PERF402 - list() would lose the finished ones on Ctrl-C
        elif interface.info.name not in BUILT_IN:
            check.knowledge.leave_out(EDGE_CASES_LABEL, NOT_ASKED_FOR)
    except KeyboardInterrupt:
        interrupted = True
    reproduce = options.command(problem, command)
    if reproduce and not stages.edge_cases and interface.info.name not in BUILT_IN:
        reproduce += " --no-edge-cases"
    results = tuple(checked.result for checked in edge_cases)
    result = _collect_result(main, problem, check, results, interrupted, reproduce, time.perf_counter() - started)
    if interrupted:
        raise InterruptedCheck(result)
    if not stages.explain or (result.verdict is not Verdict.FAIL and not result.notes):
        return result
    from bncheck.checking.explanation import explain_failure  # noqa: PLC0415 - slow import, only needed after a failure

    try:
        return explain_failure(result, main, edge_cases, problem, check, command, stages.minimal_example)
    except TargetEnded:  # the verdict does not depend on the explanation
        return result
    except KeyboardInterrupt:
        raise InterruptedCheck(result) from None


def _is_nothing_judged(main: ProblemResult, check: TargetCheck) -> bool:
    """Return whether no output, or none of the gradients that were selected, was judged."""
    is_selection = check.options.only != GRADIENTS
    is_empty = not main.cases or (is_selection and not main.gradients and main.verdict is not Verdict.FAIL)
    return is_empty and not check.unchecked_functions and not main.interrupted


def _explain_nothing_judged(check: TargetCheck) -> BncheckError:
    """Return the reason: nothing is implemented yet, no function has a partner, or no gradient was selected."""
    interface, not_implemented = check.interface, check.knowledge.not_implemented
    if not_implemented:
        return TargetError("; ".join(f"{function} {reason}" for function, reason in not_implemented.items()))
    if not interface.pairs:
        return TargetError("; ".join(f"{item.function}: {item.reason}" for item in interface.not_checked))
    labels = dict.fromkeys(label for pair in interface.pairs for label in interface.labels(pair).values())
    optional = {"dh"} if any(pair.is_network for pair in interface.pairs) else set()
    available = ", ".join(label for label in labels if label not in optional)
    only = ",".join(check.options.only)
    return InvalidInput(f"`only='{only}'` selects no gradient of {interface.info.name}; it returns {available}")


def _collect_result(
    main: ProblemResult,
    problem: Problem,
    check: TargetCheck,
    edge_cases: tuple[EdgeCaseResult, ...],
    interrupted: bool,
    reproduce: str | None,
    seconds: float,
) -> CheckResult:
    """Return the result of a check without its explanation."""
    interface, options = check.interface, check.options
    with_relu = [m for m in main.measurements if m.component.output == "a"] or main.measurements
    outputs = [case.pair_output for case in main.cases]
    complete = {(o.forward_name, o.backward_name) for o in outputs if o.gradients and not o.not_implemented}
    required = [pair for pair in interface.pairs if not pair.optional and options.only == GRADIENTS]
    is_incomplete = any((pair.forward, pair.backward) not in complete for pair in required)
    return CheckResult(
        problem=with_relu[-1].problem if with_relu else problem,
        target=interface.info._replace(dtype=main.precision.name),
        options=options,
        forward=tuple({(c.output.function, c.output.component): c.output for c in main.cases}.values()),
        gradients=main.gradients,
        unchecked_functions=tuple(check.unchecked_functions),
        not_checked=tuple(check.knowledge.not_checked),
        incomplete=bool(interface.missing_functions or is_incomplete) and not main.interrupted,
        kink_exclusion=with_relu[-1].kink_exclusion if with_relu else KinkExclusion(0, problem.dout.size, 0),
        cross_check=main.cross_check,
        edge_cases=edge_cases,
        notes=(*interface.notes, *check.knowledge.notes.values(), *_low_resolution_notes(main.gradients.values())),
        interrupted=interrupted,
        seconds=seconds,
        reproduce=reproduce,
    )


def _low_resolution_notes(gradients: Iterable[GradientResult]) -> Iterator[Note]:
    """Yield a note for each gradient that passed although the check would miss a factor close to 1."""
    for g in gradients:
        limit = g.value_resolution
        if g.verdict is Verdict.PASS and limit is not None and MAX_VALUE_RESOLUTION < limit < math.inf:
            text = f"{g.name} nearly cancels: a relative error in the whole gradient is detected only above"
            yield Note("low-resolution", f"{text} {limit:.1e}")
