"""One check in this process, from the problem to the result."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from bncheck.checking.edge_cases import EdgeCase
from bncheck.checking.target_check import EDGE_CASES_LABEL, NOT_ASKED_FOR, ProblemResult, TargetCheck
from bncheck.errors import BncheckError, InvalidInput, TargetError
from bncheck.model.options import GRADIENTS, CheckOptions
from bncheck.model.problem import Problem
from bncheck.model.progress import Progress, silent
from bncheck.model.results import CheckResult, EdgeCaseResult, GradientResult, KinkExclusion, Note
from bncheck.model.verdict import Verdict
from bncheck.targets import BUILT_IN, Target

# If a wrong factor on a whole gradient must exceed this to be detected, a remark says so.
MAX_VALUE_RESOLUTION = 1e-2


class InterruptedCheck(KeyboardInterrupt):
    """Ctrl-C during a check; ``result`` holds what was done until then, and is no pass."""

    def __init__(self, result: CheckResult) -> None:
        super().__init__(f"interrupted after {result.checked:,} of {result.entries:,} entries")
        self.result = result


class OptionalStages(NamedTuple):
    """What is done beside the check itself, as ``check`` is asked for it."""

    edge_cases: bool
    explain: bool
    minimal_example: bool


def check_in_process(
    problem: Problem,
    code: Target,
    command: str | None,
    method: CheckOptions,
    extras: OptionalStages,
    progress: Progress = silent,
) -> CheckResult:
    """Check a target in this process; ``command`` is what ``run`` would call it."""
    started = time.perf_counter()
    checked = TargetCheck(code, method)
    outcome = checked.examine(problem, progress)
    nothing = not outcome.cases or (
        method.only != GRADIENTS and not outcome.gradients and outcome.verdict is not Verdict.FAIL
    )
    if nothing and not checked.unchecked_functions and not outcome.interrupted:
        raise _nothing_judged(checked)
    edge_cases: list[tuple[EdgeCase, EdgeCaseResult, ProblemResult]] = []
    interrupted = outcome.interrupted
    try:
        if extras.edge_cases and not interrupted:
            for edge_case in checked.edge_cases(outcome, command):
                edge_cases.append(edge_case)  # noqa: PERF402 - what was tried before Ctrl-C is kept
        elif code.info.name not in BUILT_IN:
            checked.known.leave_out(EDGE_CASES_LABEL, NOT_ASKED_FOR)
    except KeyboardInterrupt:  # what the problem itself showed is not lost
        interrupted = True
    result = _result(outcome, problem, checked, command)
    if result.reproduce and not extras.edge_cases and code.info.name not in BUILT_IN:
        result = replace(result, reproduce=f"{result.reproduce} --no-edge-cases")
    seconds = time.perf_counter() - started
    result = replace(result, edge_cases=tuple(p for _, p, _ in edge_cases), interrupted=interrupted, seconds=seconds)
    if interrupted:
        raise InterruptedCheck(result)
    if not extras.explain or (result.verdict is not Verdict.FAIL and not result.notes):
        return result
    from bncheck.checking.explanation import explain_failure  # noqa: PLC0415 - a pass needs none

    try:
        tried = [(case, other) for case, _, other in edge_cases]
        return explain_failure(result, outcome, tried, problem, checked, command, extras.minimal_example)
    except KeyboardInterrupt:  # the verdict stands, without it
        raise InterruptedCheck(result) from None


def _nothing_judged(checked: TargetCheck) -> BncheckError:
    """Return why nothing of a target was judged: nothing is written yet, or nothing was asked for."""
    code, known = checked.code, checked.known
    unwritten = [f"{n.function} {n.reason}" for n in known.not_checked if n.reason.endswith(": not written yet")]
    if unwritten:
        return TargetError("; ".join(unwritten))
    if not code.pairs:
        return TargetError("; ".join(f"{n.function}: {n.reason}" for n in code.not_checked))
    network = [pair.forward is None for pair in code.pairs]
    returned = [name for pair in code.pairs for name in pair.piece.inputs if name != "h" or not any(network)]
    labels = dict.fromkeys(code.label(name) for name in returned)
    asked = ",".join(checked.method.only)
    return InvalidInput(f"only {asked} leaves nothing to check; the functions return {', '.join(labels)}")


def _result(outcome: ProblemResult, problem: Problem, checked: TargetCheck, command: str | None) -> CheckResult:
    kinked = [m for m in outcome.measurements if m.component.output == "a"] or outcome.measurements
    code, method = checked.code, checked.method
    written = [
        case.pair_output for case in outcome.cases if case.pair_output.gradients and not case.pair_output.unwritten
    ]
    complete = {(answer.forward_name, answer.backward_name) for answer in written}
    required = [pair for pair in code.pairs if not pair.optional and method.only == GRADIENTS]
    unwritten = [pair for pair in required if (pair.forward, pair.backward) not in complete]
    return CheckResult(
        problem=kinked[-1].problem if kinked else problem,
        target=code.info._replace(dtype=outcome.precision.name),
        options=method,
        forward=tuple({(c.output.function, c.output.component): c.output for c in outcome.cases}.values()),
        gradients=outcome.gradients,
        unchecked_functions=tuple(checked.unchecked_functions),
        not_checked=tuple(checked.known.not_checked),
        incomplete=bool(code.required or unwritten) and not outcome.interrupted,
        kink_exclusion=kinked[-1].kink_exclusion if kinked else KinkExclusion(0, problem.dout.size, 0),
        cross_check=outcome.cross_check,
        edge_cases=(),
        notes=(*checked.notes, *_low_resolution_notes(outcome.gradients.values())),
        interrupted=outcome.interrupted,
        seconds=0.0,
        reproduce=method.command(problem, command),
    )


def _low_resolution_notes(gradients: Iterable[GradientResult]) -> Iterator[Note]:
    for g in gradients:
        coarse = g.value_resolution is not None and MAX_VALUE_RESOLUTION < g.value_resolution < math.inf
        if coarse and g.verdict is Verdict.PASS:
            yield Note(
                "coarse-value",
                f"{g.name} nearly cancels: only a wrong factor of more than "
                f"{g.value_resolution:.1e} on all of it would be seen",
            )
