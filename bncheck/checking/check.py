"""One check: a target's analytic gradients against numerical ones, on one problem."""

import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from bncheck.checking.edge_cases import EdgeCase
from bncheck.checking.target_check import EDGE_CASES_LABEL, NOT_ASKED_FOR, ProblemResult, TargetCheck
from bncheck.errors import BncheckError, InvalidInput, TargetError
from bncheck.model.options import GRADIENTS, CheckOptions, parse_gradient_names
from bncheck.model.problem import Problem
from bncheck.model.progress import Progress, silent
from bncheck.model.results import CheckResult, EdgeCaseResult, GradientResult, KinkExclusion, Note, Verdict
from bncheck.numerical.schemes import get_scheme
from bncheck.targets import BUILT_IN, Target, resolve
from bncheck.targets.loading import expand_pattern

# Seconds; a week.
LONGEST_TIMEOUT = 604_800.0
# If a wrong factor on a whole gradient must exceed this to be detected, a remark says so.
MAX_VALUE_RESOLUTION = 1e-2


class InterruptedCheck(KeyboardInterrupt):
    """Ctrl-C during a check; ``result`` holds what was done until then, and is no pass."""

    def __init__(self, result: CheckResult) -> None:
        super().__init__(f"interrupted after {result.checked:,} of {result.entries:,} entries")
        self.result = result


class OptionalStages(NamedTuple):
    """What is done beside the check itself, as ``check`` is asked for it."""

    probes: bool
    explain: bool
    shrink: bool


def check(
    problem: Problem,
    target: Any = "reference",
    *,
    scheme: str = "central",
    step: float | str = "auto",
    engine: str = "local",
    sample: int | None = None,
    only: Iterable[str] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    audit: int = 64,
    probes: bool = True,
    timeout: float = 60.0,
    explain: bool = True,
    shrink: bool = True,
    progress: Progress = silent,
) -> CheckResult:
    """Check a target's backward pass against finite differences of the forward pass.

    Parameters
    ----------
    problem : Problem
        From ``random_problem``, or made by hand.
    target : str or object, default "reference"
        "reference" or "staged"; a file ("layers.py"), a module ("mypkg.layers"), or a name in one
        ("layers.py:solution_b"), which run in a process of their own; or a module, class, object
        or mapping that carries functions bncheck knows, which run in this process.
    scheme : str, default "central"
        forward, central, five-point, richardson or complex.
    step : float or "auto", default "auto"
        An absolute finite-difference step, or scale-aware ones.
    engine : str, default "local"
        "local", or "full": one whole forward pass per entry and evaluation.
    sample : int, optional
        Check that many random entries of each gradient (full engine only).
    only : iterable of str, optional
        Gradients to check, by their names in the table: "dW"; of layer functions also "dx", or
        "batchnorm_backward.dx" of one function alone. All by default.
    rtol, atol : float, optional
        Judge by atol + rtol max(|a|, |n|) instead of the error bars. Without ``atol`` a gradient
        that is exactly 0 (db) keeps its error bars.
    audit : int, default 64
        Entries that the local engine is audited on by whole forward passes, at most; 0 for none.
    probes : bool, default True
        Check code that is not bncheck's own on the edge cases as well.
    timeout : float, default 60
        Seconds that one call of a file's or module's functions may take.
    explain : bool, default True
        Say of a failure what is wrong, and where.
    shrink : bool, default True
        Look, where it is explained, for the smallest problem on which it still shows.
    progress : callable, optional
        Told how many entries are done, and of how many.

    Returns
    -------
    CheckResult

    Raises
    ------
    InvalidInput
        An option has a value it cannot have.
    TargetError
        The target did not load, raised, or did not return what its interface says.
    InterruptedCheck
        Ctrl-C; it is a KeyboardInterrupt that carries what was done.
    """
    if not 0 < timeout <= LONGEST_TIMEOUT:
        raise InvalidInput(f"timeout is {timeout}; it must be a number of seconds above 0, at most {LONGEST_TIMEOUT:g}")
    if isinstance(target, os.PathLike):
        target = os.fspath(target)
    gradients = parse_gradient_names(only)
    method = CheckOptions(get_scheme(scheme).name, engine, step, sample, gradients, rtol, atol, audit)
    extras = OptionalStages(probes, explain, shrink)
    if not isinstance(target, str):
        return check_in_process(problem, resolve(target), None, method, extras, progress)
    if target in BUILT_IN:
        return check_in_process(problem, resolve(target), target, method, extras._replace(probes=False), progress)
    if expand_pattern(target) != [target]:  # a file that is not there is refused before a process is made
        raise InvalidInput(f"{target!r} is a pattern; name one file")
    from bncheck.execution.child import ChildInterrupted, check_in_child  # noqa: PLC0415 - the reference needs no process

    try:
        return check_in_child(target, problem, (method, extras), timeout, progress)
    except ChildInterrupted as interrupted:
        if interrupted.result is None:
            raise KeyboardInterrupt from None
        raise InterruptedCheck(interrupted.result) from None


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
        if extras.probes and not interrupted:
            for edge_case in checked.edge_cases(outcome, command):
                edge_cases.append(edge_case)  # noqa: PERF402 - what was tried before Ctrl-C is kept
        elif code.info.name not in BUILT_IN:
            checked.known.leave_out(EDGE_CASES_LABEL, NOT_ASKED_FOR)
    except KeyboardInterrupt:  # what the problem itself showed is not lost
        interrupted = True
    result = _result(outcome, problem, checked, command)
    if result.reproduce and not extras.probes and code.info.name not in BUILT_IN:
        result = replace(result, reproduce=f"{result.reproduce} --no-probes")
    seconds = time.perf_counter() - started
    result = replace(result, edge_cases=tuple(p for _, p, _ in edge_cases), interrupted=interrupted, seconds=seconds)
    if interrupted:
        raise InterruptedCheck(result)
    if not extras.explain or (result.verdict is not Verdict.FAIL and not result.notes):
        return result
    from bncheck.checking.explanation import explain_failure  # noqa: PLC0415 - a pass needs none

    try:
        tried = [(case, other) for case, _, other in edge_cases]
        return explain_failure(result, outcome, tried, problem, checked, command, extras.shrink)
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
