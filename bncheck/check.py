"""One check: a target's analytic gradients against numerical ones, on one problem."""

import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bncheck.comparison import compare, compare_forward, recognised_eps
from bncheck.errors import InvalidInput, TargetError
from bncheck.method import Method, gradients_named
from bncheck.numerical.measure import LEAST_AUDIT, measure
from bncheck.numerical.schemes import scheme_named
from bncheck.pieces import NETWORK, Piece
from bncheck.problem import Problem, random_problem
from bncheck.progress import Progress, silent
from bncheck.results import (
    Answer,
    Audit,
    Case,
    CheckResult,
    GradientResult,
    Kinks,
    Measurement,
    ProbeResult,
    Remark,
    Verdict,
)
from bncheck.targets import BUILT_IN, Target, resolve
from bncheck.targets.loading import expanded

if TYPE_CHECKING:  # what a pass has none of
    from bncheck.findings import Diagnosis

# Seconds; a week.
LONGEST_TIMEOUT = 604_800.0
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


class Extras(NamedTuple):
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
        Gradients to check; all by default.
    rtol, atol : float, optional
        Judge by atol + rtol max(|a|, |n|) instead of the error bars. Without ``atol`` a gradient
        that is exactly 0 (db) keeps its error bars.
    audit : int, default 64
        Entries that the local engine is audited on by whole forward passes, at most; 0 for none.
    probes : bool, default True
        Try code that is not bncheck's own on a few small problems as well.
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
    gradients = gradients_named(only)
    method = Method(scheme_named(scheme).name, engine, step, sample, gradients, rtol, atol, audit)
    extras = Extras(probes, explain, shrink)
    if not isinstance(target, str):
        return check_code(problem, resolve(target), None, method, extras, progress)
    if target in BUILT_IN:
        return check_code(problem, resolve(target), target, method, extras._replace(probes=False), progress)
    if expanded(target) != [target]:  # a file that is not there is refused before a process is made
        raise InvalidInput(f"{target!r} is a pattern; name one file")
    from bncheck.isolated import Interrupted, check_apart  # noqa: PLC0415 - the reference needs no process

    try:
        return check_apart(target, problem, (method, extras), timeout, progress)
    except Interrupted as interrupted:
        if interrupted.result is None:
            raise KeyboardInterrupt from None
        raise InterruptedCheck(interrupted.result) from None


def check_code(
    problem: Problem, code: Target, command: str | None, method: Method, extras: "Extras", progress: Progress = silent
) -> CheckResult:
    """Check a target in this process; ``command`` is what ``run`` would call it."""
    started = time.perf_counter()
    seen = _examine(problem, code, method, progress)
    result = _result(seen, problem, code, command, method)
    tried: list[tuple[ProbeResult, Sequence[Case]]] = []
    interrupted = seen.interrupted
    try:
        if extras.probes and not interrupted:
            tried += _probe(code, command, method)
    except KeyboardInterrupt:  # what the problem itself showed is not lost
        interrupted = True
    seconds = time.perf_counter() - started
    result = replace(result, probes=tuple(p for p, _ in tried), interrupted=interrupted, seconds=seconds)
    if interrupted:
        raise InterruptedCheck(result)
    if not extras.explain or (result.verdict is not Verdict.FAIL and not result.remarks):
        return result
    try:
        return _explained(result, seen, [cases for _, cases in tried], problem, code, command, extras.shrink)
    except KeyboardInterrupt:  # the verdict stands, without it
        raise InterruptedCheck(result) from None


class _Seen(NamedTuple):
    """What came of one problem."""

    cases: Sequence[Case]
    measurements: Sequence[Measurement]
    remarks: Sequence[Remark]

    @property
    def interrupted(self) -> bool:
        return any(m.interrupted for m in self.measurements)

    @property
    def gradients(self) -> dict[str, GradientResult]:
        return {g.key: g for case in self.cases for g in case.gradients.values()}


def _examine(problem: Problem, code: Target, method: Method, progress: Progress = silent) -> _Seen:
    """Measure every piece that the code has functions for, run them, and judge what they return."""
    cases: list[Case] = []
    measurements: list[Measurement] = []
    remarks: list[Remark] = []
    for piece in code.pieces:
        inputs = [i for i in piece.inputs if _gradient_of(i) in method.only]
        if not inputs:
            continue
        first, met, more = _meet(problem, piece, code, method, inputs, progress)
        remarks += more
        cases += [Case(m, a, compare_forward(a, m), compare(a, m, method)) for m, a in met]
        measurements += {id(m): m for m in (first, *(measured for measured, _ in met))}.values()
        if any(m.interrupted for m in measurements):
            break
    return _Seen(cases, measurements, remarks)


def _result(seen: _Seen, problem: Problem, code: Target, command: str | None, method: Method) -> CheckResult:
    if not seen.gradients and not seen.interrupted and not any(note.verdict for note in code.notes):
        raise InvalidInput(f"only {','.join(method.only)} leaves nothing of {code.info.name} to check")
    kinked = [m for m in seen.measurements if m.piece.output == "a"] or seen.measurements
    return CheckResult(
        problem=kinked[-1].problem if kinked else problem,
        target=code.info,
        method=method,
        forward=tuple({(c.output.function, c.output.piece): c.output for c in seen.cases}.values()),
        gradients=seen.gradients,
        notes=code.notes,
        kinks=kinked[-1].kinks if kinked else Kinks(0, problem.dout.size, 0),
        audit=Audit.of_all([m.audit for m in seen.measurements if m.audit is not None]),
        probes=(),
        remarks=(*code.remarks, *dict.fromkeys(seen.remarks), *_coarse(seen.gradients.values())),
        interrupted=seen.interrupted,
        seconds=0.0,
        reproduce=method.command(problem, command),
    )


def _explained(
    result: CheckResult,
    seen: _Seen,
    probed: Sequence[Sequence[Case]],
    problem: Problem,
    code: Target,
    command: str | None,
    shrink: bool,
) -> CheckResult:
    """Say what is wrong, where it departs from the right pass, and how small a problem shows it."""
    from bncheck.diagnosis import departure_of, diagnose, diagnose_conduct  # noqa: PLC0415 - a pass needs none
    from bncheck.findings import Smallest  # noqa: PLC0415 - likewise

    conduct = diagnose_conduct(result.remarks)
    groups = {_function_of(c): [c] for c in seen.cases}
    for case in (case for cases in probed for case in cases):
        groups.setdefault(_function_of(case), []).append(case)
    told = _once([(d, cases) for cases in groups.values() for d in diagnose(cases)])
    if any(d.name in ("another-answer", "parameter-step") for d in conduct):
        told = [(d, cases) for d, cases in told if d.code]  # what changes cannot be described
    result = replace(result, diagnosis=(*conduct, *(d for d, _ in told)))
    if not told:
        return result
    first, failing = told[0][0], next(c for c in told[0][1] if c.failing or c.output.wrong)
    result = replace(result, departure=departure_of(failing, first.code))
    if not shrink:
        return result
    method = replace(result.method, engine="local", sample=None)
    here = any(failing is case for case in seen.cases)
    if not here:  # only a probe shows it, and these have steps of their own
        method = replace(method, step="auto")
    small = _smallest(problem if here else failing.measured.problem, failing, first, code, method)
    small = small or (problem if here else None)
    if small is None or small.seed is None:
        return result
    again = method.command(small, command)
    return replace(result, smallest=Smallest(small.N, small.D, small.H, small.seed, again))


def _once(told: "list[tuple[Diagnosis, list[Case]]]") -> "list[tuple[Diagnosis, list[Case]]]":
    """Tell what several functions share once, and of what is made of wrong functions no more than that."""
    once: list[tuple[Diagnosis, list[Case]]] = []
    for d, cases in told:
        place = next((i for i, (other, _) in enumerate(once) if d.code and other.code == d.code), None)
        if place is not None:
            first, those = once[place]
            also = (f"{name} of {d.function}" for name in (d.gradient, *d.also))
            once[place] = replace(first, also=(*first.also, *also)), those
        elif d.code is None and d.function and cases[0].answer.piece is NETWORK and once:
            inside = ", ".join(dict.fromkeys(str(other.function) for other, _ in once if other.function != d.function))
            text = (f"it may follow from what is wrong in {inside}",) if inside else d.description
            once.append((replace(d, terms=None if inside else d.terms, description=text), cases))
        else:
            once.append((d, cases))
    return once


def _smallest(start: Problem, failing: Case, first: "Diagnosis", code: Target, method: Method) -> Problem | None:
    """Return the smallest problem found on which the same function still fails in the same way, if one is smaller."""
    from bncheck.diagnosis import diagnose  # noqa: PLC0415 - likewise
    from bncheck.shrink import shrunk  # noqa: PLC0415 - likewise

    method, finite = replace(method, audit=0), _finite(failing)
    stage = _stage(failing, first)

    def fails(small: Problem) -> bool:
        try:
            with np.errstate(all="ignore"):  # likewise
                cases = _examine(small, code, method).cases
        except TargetError:
            return False
        same = [c for c in cases if _function_of(c) == _function_of(failing) and _finite(c) == finite]
        found = ((c, d) for c in same for d in diagnose([c]) if d.gradient == first.gradient)
        if first.code is None:
            return any(_stage(c, first) == stage for c, _ in found)
        return any(first.code in (d.code, *d.candidates) for _, d in found)

    return shrunk(fails, start)


def _stage(case: Case, d: "Diagnosis") -> str:
    """Return where a case departs, without the numbers of rows and columns or the value of a factor."""
    from bncheck.diagnosis import departure_of  # noqa: PLC0415 - likewise

    return re.split(r"[,(]", departure_of(case, d.code).stage)[0]


def _finite(case: Case) -> bool:
    return all(np.isfinite(g.analytic).all() for g in case.gradients.values())


def _function_of(case: Case) -> tuple[str | None, str]:
    return case.answer.backward_name, case.answer.piece.name


def _meet(
    problem: Problem, piece: Piece, code: Target, method: Method, inputs: list[str], progress: Progress
) -> tuple[Measurement, list[tuple[Measurement, Answer]], list[Remark]]:
    """Measure a piece and run the code on it: each answer with what it must be the derivative of."""
    measured = measure(problem, piece, method, inputs, progress=progress)
    answers = code.run(piece, measured.problem)
    if measured.interrupted or code.info.name in BUILT_IN:
        return measured, [(measured, answer) for answer in answers], []
    remarks = list(_second_answer(code, piece, measured.problem, answers))
    met: list[tuple[Measurement, Answer]] = []
    for forward in dict.fromkeys(answer.forward_name for answer in answers):
        of_it = [answer for answer in answers if answer.forward_name == forward]
        if compare_forward(of_it[0], measured).verdict is Verdict.FAIL:
            other, of_it, text = _another(problem, measured, of_it, code, method, inputs, progress)
            met += [(other, answer) for answer in of_it]
            remarks += text
        elif _fails(of_it, measured, method) and not _fails(of_it, measured.one_pass(), method):
            # Its forward pass came out like ours all the same.
            met += [(measured.one_pass(), answer) for answer in of_it]
            remarks.append(_one_pass(forward or "forward"))
        else:
            met += [(measured, answer) for answer in of_it]
    return measured, met, remarks


def _fails(answers: list[Answer], measured: Measurement, method: Method) -> bool:
    return any(g.verdict is Verdict.FAIL for a in answers for g in compare(a, measured, method).values())


def _one_pass(name: str) -> Remark:
    return Remark("one-pass", f"{name} rounds like a variance E[x^2] - E[x]^2; its gradients are judged by that")


def _another(
    problem: Problem,
    measured: Measurement,
    answers: list[Answer],
    code: Target,
    method: Method,
    inputs: list[str],
    progress: Progress,
) -> tuple[Measurement, list[Answer], list[Remark]]:
    """Find what a forward pass is that is not the reference's.

    One that is batch norm but rounds more, or has another eps, is measured as that; one that is
    not batch norm at all is itself what its backward pass must be the derivative of.
    """
    piece, forward = measured.piece, answers[0].forward_name
    name = forward or "forward"

    def again(other: Measurement) -> list[Answer]:
        return [answer for answer in code.run(piece, other.problem) if answer.forward_name == forward]

    if compare_forward(answers[0], measured.one_pass()).verdict is Verdict.PASS:
        return measured.one_pass(), answers, [_one_pass(name)]
    eps = recognised_eps(answers[0], measured)
    if eps is not None:
        other = measure(problem.with_eps(eps), piece, method, inputs, progress=progress)
        rerun = again(other)
        if rerun and compare_forward(rerun[0], other).verdict is Verdict.PASS:
            text = f"{name} takes no notice of eps and uses {eps:g}; it was checked with that"
            return other, rerun, [Remark("fixed-eps", text)]
    output = answers[0].output
    usable = output.shape == problem.dout.shape and output.dtype.kind in "fiu" and np.isfinite(output).all()
    moved = [i for i in inputs if piece is not NETWORK or i != "h"]
    if not usable or not moved:
        return measured, answers, []
    own = replace(method, scheme="central") if method.scheme == "complex" else method
    try:
        other = measure(problem, piece, own, moved, own=answers[0].forward, progress=progress)
        rerun = again(other)  # another scheme guards other outputs
    except TargetError as error:
        return measured, answers, [Remark("own-forward", f"it could not be differentiated: {error}".split("\n")[0])]
    text = f"{name} is not the reference's; its backward was checked against {name} itself"
    if own is not method:
        text += ", by central differences: no complex step through code that is not ours is trusted"
    return other, rerun, [Remark("own-forward", text)]


def _second_answer(code: Target, piece: Piece, problem: Problem, answers: list[Answer]) -> Iterator[Remark]:
    """Run the code again on the same problem: another answer is worth a remark."""
    for first, second in zip(answers, code.run(piece, problem), strict=False):
        pairs = [(first.output, second.output)]
        pairs += [(first.gradients[i], second.gradients[i]) for i in first.gradients]
        numbers = [(a, b) for a, b in pairs if a.dtype.kind in "fiu" and b.dtype.kind in "fiu"]
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in numbers):
            yield Remark(
                "another-answer",
                f"{first.backward_name or 'backward'} gives another answer the second time "
                "(randomness, gradients that add up, or a parameter step?)",
            )


def _probe(code: Target, command: str | None, method: Method) -> Iterator[tuple[ProbeResult, Sequence[Case]]]:
    audit = min(method.audit, LEAST_AUDIT)
    method = replace(method, engine="local", step="auto", sample=None, audit=audit)
    for name, settings in PROBES.items():
        problem = random_problem(**settings)
        again = method.command(problem, command)
        try:
            with np.errstate(all="ignore"):  # a problem that the user did not ask for
                seen = _examine(problem, code, method)
            result = _result(seen, problem, code, command, method)
        except TargetError as error:
            yield ProbeResult(name, Verdict.FAIL, (str(error).split("\n")[0],), again), ()
            continue
        wrong = [f"{f.name} of {f.function or 'forward'}" for f in result.forward if f.wrong]
        wrong += [k for k, g in result.gradients.items() if g.verdict is not Verdict.PASS]
        wrong += [f"{n.function} {n.text}" for n in result.notes if n.verdict is Verdict.FAIL]
        yield ProbeResult(name, result.verdict, tuple(wrong), again), seen.cases


def _coarse(gradients: Iterable[GradientResult]) -> Iterator[Remark]:
    for g in gradients:
        coarse = g.value_resolution is not None and COARSE_VALUE < g.value_resolution < math.inf
        if coarse and g.verdict is Verdict.PASS:
            yield Remark(
                "coarse-value",
                f"{g.name} nearly cancels: only a wrong factor of more than "
                f"{g.value_resolution:.1e} on all of it would be seen",
            )


def _gradient_of(name: str) -> str:
    """Return what --only calls the gradient for an input; ReLU's is always checked with dh."""
    return "dh" if name == "y" else f"d{name}"
