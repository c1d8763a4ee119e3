"""One check: a target's analytic gradients against numerical ones, on one problem."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bncheck.comparison import compare, compare_forward, recognised_eps
from bncheck.errors import InvalidInput, TargetError
from bncheck.isolated import Interrupted, check_apart
from bncheck.method import Method, gradients_named
from bncheck.numerical.measure import measure
from bncheck.numerical.schemes import scheme_named
from bncheck.pieces import Piece
from bncheck.problem import Problem, random_problem
from bncheck.progress import Progress, silent
from bncheck.results import (
    Answer,
    Audit,
    CheckResult,
    ForwardResult,
    GradientResult,
    Kinks,
    Measurement,
    ProbeResult,
    Remark,
    Verdict,
)
from bncheck.targets import BUILT_IN, Target, resolve
from bncheck.targets.loading import expanded

# A factor on a whole gradient that would have to be off by more than this to be seen is told.
COARSE_VALUE = 1e-2

# Small problems on which some mistakes cannot hide; N, D and H are all different.
PROBES: Mapping[str, Mapping[str, Any]] = {
    "small-variance": {"N": 7, "D": 5, "H": 4, "x_std": 1e-3},
    "large-eps": {"N": 7, "D": 5, "H": 4, "bn_eps": 0.5},
    "two-rows": {"N": 2, "D": 5, "H": 4},
    "far-mean": {"N": 7, "D": 5, "H": 4, "x_mean": 50.0},
    "wide": {"N": 4, "D": 5, "H": 9},
    "large-bias": {"N": 7, "D": 5, "H": 4, "x_std": 10.0},
}


class InterruptedCheck(KeyboardInterrupt):
    """Ctrl-C during a check; ``result`` holds what was done until then, and is no pass."""

    def __init__(self, result: CheckResult) -> None:
        super().__init__(f"interrupted after {result.checked:,} of {result.entries:,} entries")
        self.result = result


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
        Gradients to check; all by default.
    rtol, atol : float, optional
        Judge by atol + rtol max(|a|, |n|) instead of the error bars. Without ``atol`` a gradient
        that is exactly 0 (db) keeps its error bars.
    audit : int, default 64
        Entries that the local engine is audited on by whole forward passes, at most.
    probes : bool, default True
        Try code that is not bncheck's own on a few small problems as well.
    timeout : float, default 60
        Seconds that one call of a file's or module's functions may take.
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
    gradients = gradients_named(only)
    method = Method(scheme_named(scheme).name, engine, step, sample, gradients, rtol, atol, audit)
    if not isinstance(target, str):
        return check_code(problem, resolve(target), None, method, probes, progress)
    if target in BUILT_IN:
        return check_code(problem, resolve(target), target, method, False, progress)
    expanded(target)  # a file that is not there is refused before a process is made
    if not 0 < timeout < math.inf:
        raise InvalidInput(f"timeout is {timeout}; it must be a number of seconds above 0")
    try:
        return check_apart(target, problem, (method, probes), timeout, progress)
    except Interrupted as interrupted:
        if interrupted.result is None:
            raise KeyboardInterrupt from None
        raise InterruptedCheck(interrupted.result) from None


def check_code(
    problem: Problem, code: Target, command: str | None, method: Method, probes: bool, progress: Progress = silent
) -> CheckResult:
    """Check a target in this process; ``command`` is what ``run`` would call it."""
    started = time.perf_counter()
    forward: list[ForwardResult] = []
    gradients: dict[str, GradientResult] = {}
    measurements: list[Measurement] = []
    remarks: list[Remark] = []
    for piece in code.pieces:
        inputs = [i for i in piece.inputs if _gradient_of(i) in method.only]
        if not inputs:
            continue
        measured, answers, more = _meet(problem, piece, code, method, inputs, progress)
        measurements.append(measured)
        remarks += more
        for answer in answers:
            output = compare_forward(answer, measured)
            if all(output.function != other.function for other in forward):
                forward.append(output)
            gradients |= compare(answer, measured, method)
        if measured.interrupted:
            break
    interrupted = any(m.interrupted for m in measurements)
    remarks = [*code.remarks, *dict.fromkeys(remarks), *_coarse(gradients.values())]
    notes = code.notes
    try:
        tried = tuple(_probe(code, command, method)) if probes and not interrupted else ()
    except KeyboardInterrupt:  # what the problem itself showed is not lost
        tried, interrupted = (), True
    kinked = [m for m in measurements if m.piece.output == "a"] or measurements
    result = CheckResult(
        problem=kinked[-1].problem if kinked else problem,
        target=code.info,
        method=method,
        forward=tuple(forward),
        gradients=gradients,
        notes=notes,
        kinks=kinked[-1].kinks if kinked else Kinks(0, problem.dout.size, 0),
        audit=Audit.of_all([m.audit for m in measurements if m.audit is not None]),
        probes=tried,
        remarks=tuple(remarks),
        interrupted=interrupted,
        seconds=time.perf_counter() - started,
        reproduce=method.command(problem, command),
    )
    if interrupted:
        raise InterruptedCheck(result)
    return result


def _meet(
    problem: Problem, piece: Piece, code: Target, method: Method, inputs: list[str], progress: Progress
) -> tuple[Measurement, list[Answer], list[Remark]]:
    """Measure a piece and run the code on it: the same guarded problem, and the right forward.

    A forward pass that is batch norm with another eps is measured with that; one that is not
    batch norm at all is itself what its backward pass must be the derivative of.
    """
    measured = measure(problem, piece, method, inputs, progress=progress)
    answers = code.run(piece, measured.problem)
    if measured.interrupted or code.info.name in BUILT_IN:
        return measured, answers, []
    remarks = list(_second_answer(code, piece, measured.problem, answers))
    wrong = [a for a in answers if compare_forward(a, measured).verdict is Verdict.FAIL]
    if not wrong:
        return measured, answers, remarks
    answer = wrong[0]
    name = answer.forward_name or "forward"
    noisier = measured.one_pass()
    if all(compare_forward(a, noisier).verdict is Verdict.PASS for a in answers):
        text = f"{name} rounds like a variance E[x^2] - E[x]^2; its gradients are judged by that"
        return noisier, answers, [*remarks, Remark("one-pass", text)]
    eps = recognised_eps(answer, measured)
    if eps is not None:
        other = measure(problem.with_eps(eps), piece, method, inputs, progress=progress)
        again = code.run(piece, other.problem)
        if all(compare_forward(a, other).verdict is Verdict.PASS for a in again):
            text = f"{name} takes no notice of eps and uses {eps:g}; it was checked with that"
            return other, again, [*remarks, Remark("fixed-eps", text)]
    usable = answer.output.shape == problem.dout.shape and np.isfinite(answer.output).all()
    moved = [i for i in inputs if piece.output != "a" or i != "h"]
    if usable and moved:
        own = replace(method, scheme="central") if method.scheme == "complex" else method
        measured = measure(problem, piece, own, moved, own=answer.forward, progress=progress)
        answers = code.run(piece, measured.problem)  # another scheme guards other outputs
        text = f"{name} is not the reference's; its backward was checked against {name} itself"
        if own is not method:
            text += ", by central differences: no complex step through code that is not ours is trusted"
        remarks.append(Remark("own-forward", text))
    return measured, answers, remarks


def _second_answer(code: Target, piece: Piece, problem: Problem, answers: list[Answer]) -> Iterator[Remark]:
    """Run the code again on the same problem: another answer is worth a remark."""
    for first, second in zip(answers, code.run(piece, problem), strict=False):
        pairs = [(first.output, second.output)]
        pairs += [(first.gradients[i], second.gradients[i]) for i in first.gradients]
        if not all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs):
            yield Remark(
                "another-answer",
                f"{first.backward_name or 'backward'} gives another answer the second time "
                "(randomness, gradients that add up, or a parameter step?)",
            )


def _probe(code: Target, command: str | None, method: Method) -> Iterator[ProbeResult]:
    method = replace(method, engine="local", step="auto", sample=None)
    for name, settings in PROBES.items():
        problem = random_problem(**settings)
        try:
            result = check_code(problem, code, command, method, False)
        except TargetError as error:
            failing: tuple[str, ...] = (str(error).split("\n")[0],)
            yield ProbeResult(name, Verdict.FAIL, failing, method.command(problem, command))
            continue
        wrong = [f"{f.name} of {f.function or 'forward'}" for f in result.forward if f.wrong]
        wrong += [k for k, g in result.gradients.items() if g.verdict is not Verdict.PASS]
        wrong += [f"{n.function} {n.text}" for n in result.notes if n.verdict is Verdict.FAIL]
        yield ProbeResult(name, result.verdict, tuple(wrong), result.reproduce)


def _coarse(gradients: Iterable[GradientResult]) -> Iterator[Remark]:
    for g in gradients:
        coarse = g.value_resolution is not None and g.value_resolution > COARSE_VALUE
        if coarse and g.verdict is Verdict.PASS:
            yield Remark(
                "coarse-value",
                f"{g.name} nearly cancels: only a wrong factor of more than "
                f"{g.value_resolution:.1e} on all of it would be seen",
            )


def _gradient_of(name: str) -> str:
    """Return what --only calls the gradient for an input; ReLU's is always checked with dh."""
    return "dh" if name == "y" else f"d{name}"
