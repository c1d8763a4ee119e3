"""One target on several problems: each pair of functions is run, recognized, measured and judged."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from bncheck.checking.arithmetic import precision_of
from bncheck.checking.edge_cases import EDGE_CASES, EdgeCase
from bncheck.checking.judge import as_float64, compare, compare_forward
from bncheck.checking.recognition import EpsKnowledge, Kind, recognize
from bncheck.errors import NotImplementedYet, TargetError
from bncheck.model.components import BATCHNORM, NETWORK
from bncheck.model.options import GRADIENTS, CheckOptions
from bncheck.model.precision import FLOAT64, Precision
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.progress import Progress, silent
from bncheck.model.results import (
    CrossCheck,
    EdgeCaseResult,
    GradientResult,
    Measurement,
    NotChecked,
    Note,
    PairOutput,
    PairResult,
    UncheckedFunction,
)
from bncheck.model.verdict import Verdict
from bncheck.numerical.basepoint import BasePoint
from bncheck.numerical.cross_check import MIN_CROSS_CHECK_ENTRIES
from bncheck.numerical.measure import measure, with_sigma_error
from bncheck.targets import BUILT_IN, Target
from bncheck.targets.calling import Pair
from bncheck.targets.usage import Usage

# What the edge cases are called where they are not checked.
EDGE_CASES_LABEL = "edge cases"
NOT_ASKED_FOR = "left out by --no-edge-cases"


class ProblemResult(NamedTuple):
    """What came of one problem."""

    cases: Sequence[PairResult]  # of each pair the answer that is worst
    plain: Sequence[PairResult]  # of each pair the first answer
    measurements: Sequence[Measurement]

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended a measurement early."""
        return any(m.interrupted for m in self.measurements)

    @property
    def gradients(self) -> dict[str, GradientResult]:
        """The judged gradients, by their key."""
        return {g.key: g for case in self.cases for g in case.gradients.values()}

    @property
    def precision(self) -> Precision:
        """The least precise arithmetic of all pairs."""
        return Precision.least_precise([case.precision for case in self.cases])

    @property
    def cross_check(self) -> CrossCheck | None:
        """The audits of all measurements together; None of none."""
        return CrossCheck.combine([m.cross_check for m in self.measurements if m.cross_check is not None])

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all outputs and gradients; INCONCLUSIVE where the audit does not agree."""
        verdicts = [verdict for case in self.cases for verdict in case.verdicts]
        disagrees = self.cross_check is not None and not self.cross_check.agrees
        return Verdict.worst([*verdicts, *([Verdict.INCONCLUSIVE] if disagrees else [])])


@dataclass(slots=True)
class TargetKnowledge:
    """What is known of a target's functions, carried from one problem to the next."""

    not_checked: list[NotChecked] = field(default_factory=list)
    eps: dict[str | None, EpsKnowledge] = field(default_factory=dict)  # by forward function
    precision: dict[Pair, Precision] = field(default_factory=dict)
    notes: dict[tuple[str, str], Note] = field(default_factory=dict)  # by code and function

    def leave_out(self, function: str, reason: str) -> None:
        """Note something that is not checked, a single time."""
        item = NotChecked(function, reason)
        if item not in self.not_checked:
            self.not_checked.append(item)

    @property
    def has_unwritten(self) -> bool:
        """Whether some function is not written yet."""
        return any(item.reason.endswith("not written yet") for item in self.not_checked)

    def note(self, code: str, function: str, text: str) -> None:
        """Note something that is no verdict, a single time for each function."""
        self.notes.setdefault((code, function), Note(code, text))


class TargetCheck:
    """Runs a target's pairs of functions on problems, and judges what they return."""

    def __init__(
        self,
        code: Target,
        method: CheckOptions,
        known: TargetKnowledge | None = None,
        ended: Sequence[Pair] = (),
        *,
        black_box: bool = True,
    ) -> None:
        self.code, self.method = code, method
        self.black_box = black_box  # differentiate a forward function that is wrong; else its output alone is judged
        self.known = known if known is not None else TargetKnowledge(list(code.not_checked))
        self.unchecked_functions: list[UncheckedFunction] = []
        self.ended = set(ended)  # pairs that gave no answer, and are not run again

    @property
    def notes(self) -> tuple[Note, ...]:
        """What was worth a remark so far."""
        return (*self.code.notes, *self.known.notes.values())

    def examine(
        self, problem: Problem, progress: Progress = silent, usages: Sequence[Usage] = (Usage.REPEATED,)
    ) -> ProblemResult:
        """Run every pair of functions on a problem, a single time and in the given ways, and judge what it returns.

        Raises
        ------
        TargetError
            Batch norm's own pair, or the network's, raised or did not return what its interface says.
        """
        cases: list[PairResult] = []
        plain: list[PairResult] = []
        measurements: dict[Any, Measurement] = {}
        for pair in self.code.pairs:
            inputs = self._inputs(pair)
            if pair in self.ended or not inputs:
                continue
            on_problem = _OnProblem(self, problem, pair, inputs, measurements, progress)
            try:
                judged = on_problem.judged(usages)
            except NotImplementedYet as error:
                self.ended.add(pair)
                self._not_written(pair, error)
                continue
            except TargetError as error:
                self.ended.add(pair)
                if pair.backward is None and pair.forward is not None:  # it may not be what its name says
                    function, text = _function_and_text(error)
                    self.known.leave_out(function, f"it {text}".split("\n", maxsplit=1)[0])
                    continue
                if not pair.optional:
                    raise
                if pair.piece is NETWORK and self.known.has_unwritten:
                    function, text = _function_and_text(error)
                    text = text.split("\n", maxsplit=1)[0]
                    self.known.leave_out(function, f"it {text}; it may need a function that is not written yet")
                    continue
                self.unchecked_functions.append(UncheckedFunction(*_function_and_text(error), Verdict.FAIL))
                continue
            plain.append(judged[0])
            cases.append(max(judged, key=lambda case: list(Verdict).index(Verdict.worst(case.verdicts))))
            if any(m.interrupted for m in measurements.values()):
                break
        return ProblemResult(cases, plain, tuple(measurements.values()))

    def _not_written(self, pair: Pair, error: TargetError) -> None:
        """List the functions of a pair whose forward function is not written yet."""
        function, text = _function_and_text(error)
        if pair.piece is NETWORK and pair.forward and self.known.has_unwritten:
            text = f"it {text.partition(':')[0]}; it needs a function that is not written yet"
        self.known.leave_out(function, text)
        if pair.backward and pair.backward != function:
            self.known.leave_out(pair.backward, f"{pair.forward} is not written yet")

    def _inputs(self, pair: Pair) -> list[str]:
        """Return the inputs of a pair whose gradients are asked for; the others are listed as not checked."""
        if self.method.only == GRADIENTS:
            return list(pair.piece.inputs)
        labels = {name: self.code.label(name) for name in pair.piece.inputs}
        wanted = [name for name, label in labels.items() if self.method.wants(pair.backward, label)]
        others = [label for name, label in labels.items() if name not in wanted]
        if others and (pair.backward or not pair.forward):
            self.known.leave_out(pair.backward or "backward", f"{', '.join(others)}: left out by --only")
        return wanted

    def edge_cases(
        self, main: ProblemResult, command: str | None
    ) -> Iterator[tuple[EdgeCase, EdgeCaseResult, ProblemResult]]:
        """Try the code on every edge case, as far as its arithmetic allows."""
        if main.precision.is_16_bit:
            self.known.leave_out(EDGE_CASES_LABEL, f"the code computes in {main.precision.name}")
            return
        for case in EDGE_CASES:
            method = replace(
                self.method,
                engine="local",
                step="auto",
                sample=None,
                scheme=case.scheme or self.method.scheme,
                cross_check_entries=min(self.method.cross_check_entries, MIN_CROSS_CHECK_ENTRIES)
                if case.typical
                else 0,
            )
            with np.errstate(all="ignore"):  # a problem that the user did not ask for
                tried = self._edge_case(case, method, command)
            if tried is not None:
                yield case, *tried

    def _edge_case(
        self, case: EdgeCase, method: CheckOptions, command: str | None
    ) -> tuple[EdgeCaseResult, ProblemResult] | None:
        """Check an edge case; None if the code may refuse it and does, or its arithmetic is not precise enough."""
        problem = case.draw()
        # One pass of a forward function for each entry: on the other edge cases a wrong output says enough.
        other = TargetCheck(self.code, method, self.known, tuple(self.ended), black_box=case.typical)
        again = method.command(problem, command) if case.is_a_problem else None
        try:
            outcome = other.examine(problem, usages=case.usages)
        except TargetError as error:
            other.unchecked_functions.append(UncheckedFunction(*_function_and_text(error), Verdict.FAIL))
            outcome = ProblemResult((), (), ())
        raised = [(note.function, note.reason.split("\n", maxsplit=1)[0]) for note in other.unchecked_functions]
        if case.may_raise:
            for function, text in raised:
                self.known.leave_out(function, f"edge case {case.name}: it {text}")
            raised = []
        verdict = Verdict.FAIL if raised else outcome.verdict
        if verdict is Verdict.INCONCLUSIVE and (not outcome.cases or outcome.precision != FLOAT64):
            if outcome.cases:
                self.known.leave_out(f"edge case {case.name}", f"{outcome.precision.name} is not precise enough for it")
            return None
        wrong = [f"{c.output.name} of {c.output.function or 'forward'}" for c in outcome.cases if c.output.wrong]
        wrong += [key for key, g in outcome.gradients.items() if g.verdict is not Verdict.PASS]
        wrong += [f"{function} {text}" for function, text in raised]
        return EdgeCaseResult(case.name, verdict, tuple(wrong), again, case.sizes, case.about), outcome


def _function_and_text(error: TargetError) -> tuple[str, str]:
    """Split an error into the name of the function that it begins with, and the rest."""
    function, _, text = str(error).partition(" ")
    return function, text


class _OnProblem(NamedTuple):
    """A pair of functions on one problem."""

    check: TargetCheck
    problem: Problem
    pair: Pair
    inputs: list[str]
    measurements: dict[Any, Measurement]  # of this problem, shared by the pairs that need the same
    progress: Progress

    def judged(self, usages: Sequence[Usage]) -> list[PairResult]:
        """Return the judged answers of the pair, that of a single call first."""
        code, pair, problem = self.check.code, self.pair, self.problem
        if code.info.name in BUILT_IN:
            measured = self._measure(problem)
            return [self._case(code.run(pair, measured.problem), measured, FLOAT64)]
        base = BasePoint.from_problem(problem, pair.piece)
        trial = self._first_answer()
        precision = self._precision([trial], base)
        measured = self._measured(trial, precision, base)
        # Outputs may be excluded; and code that fixes eps is given another one all the same.
        given = replace(measured.problem, bn_eps=problem.bn_eps)
        first = trial if _equal(given, problem) else code.run(pair, given)
        if self.check.known.precision[pair] != FLOAT64:
            name = pair.backward or "backward"
            judged = "which bncheck cannot judge yet" if precision.is_16_bit else "and are judged by its rounding"
            text = f"{name} and its forward function compute in {precision.name}, {judged}"
            self.check.known.note("dtype", name, text)
        others: list[PairOutput] = []
        for usage in usages if not measured.interrupted else ():
            others += self._answers(usage, given)
        answers = [first, *self._different(first, others)]
        precision = Precision.least_precise([precision, self._precision(answers[1:], base)])
        return [self._case(answer, measured, precision) for answer in answers]

    def _precision(self, answers: Sequence[PairOutput], base: BasePoint) -> Precision:
        """Return the least precise arithmetic that these answers, or those on the problem itself, show."""
        shown = Precision.least_precise([precision_of(answer, self.problem, base) for answer in answers])
        known = self.check.known.precision.setdefault(self.pair, shown)
        return Precision.least_precise([known, shown])

    def _answers(self, usage: Usage, problem: Problem) -> list[PairOutput]:
        """Run the pair in another way; a way that the code refuses is listed as not checked."""
        try:
            return [self.check.code.run(self.pair, problem, usage)]
        except TargetError as error:
            if usage is Usage.REPEATED:
                raise
            function, text = _function_and_text(error)
            self.check.known.leave_out(function, f"{usage.value}: it {text}".split("\n", maxsplit=1)[0])
            return []

    def _case(self, answer: PairOutput, measured: Measurement, precision: Precision) -> PairResult:
        for function, reason in answer.unwritten.items():
            self.check.known.leave_out(function, reason)
        output = compare_forward(answer, measured, precision)
        return PairResult(measured, answer, output, compare(answer, measured, self.check.method, precision), precision)

    def _first_answer(self) -> PairOutput:
        try:
            return self.check.code.run(self.pair, self.problem)
        except NotImplementedYet:
            raise
        except TargetError:
            self._refuse_features_first()
            raise

    def _refuse_features_first(self) -> None:
        """Refuse code that is right in the layout (features, batch).

        Raises
        ------
        TargetError
            It is.
        """
        pair = self.pair
        if self.check.code.takes_features_first(pair):
            raise TargetError(
                f"{pair.forward} and {pair.backward} take arrays of shape (features, batch): the output and dx are "
                "right in that layout. bncheck passes (batch, features): write two functions that transpose x, "
                "dout, the output and dx, and check these"
            )

    def _measured(self, trial: PairOutput, precision: Precision, base: BasePoint) -> Measurement:
        """Measure what the forward function is to be the derivative of: the layer, with its eps and its rounding.

        A forward function that is something else is itself differentiated as a black box.
        """
        problem, known = self.problem, self.check.known
        if self.pair.piece not in (NETWORK, BATCHNORM):
            measured = self._measure(problem, precision)
            wrong = compare_forward(trial, measured, precision).verdict is Verdict.FAIL
            return (wrong and self._measured_own(trial, precision)) or measured
        name = self.pair.forward or "forward"
        eps = known.eps.setdefault(self.pair.forward, EpsKnowledge())
        if as_float64("out", trial.output, problem.dout.shape)[1]:
            self._refuse_features_first()
        recognized = recognize(trial, base, precision, eps, lambda other: self.check.code.run(self.pair, other))
        if recognized.kind is Kind.OTHER:
            self._refuse_features_first()
            return self._measured_own(trial, precision) or self._measure(problem, precision)
        if recognized.eps is not None:
            problem = problem.with_eps(recognized.eps)
            text = f"{name} takes no notice of eps and uses {recognized.eps:g}; it was checked with that"
            known.note("fixed-eps", name, text)
        if recognized.is_single_pass:
            text = (
                f"{name} rounds like a variance E[x^2] - E[x]^2; its gradients are checked with the sigma that it has"
            )
            known.note("one-pass", name, text)
        measured = self._measure(problem, precision, recognized.units)
        if recognized.sigma_error is None:
            return measured
        return with_sigma_error(measured, recognized.sigma_error / precision.roundoff_factor)

    def _measure(
        self, problem: Problem, precision: Precision = FLOAT64, bn_eps: FloatArray | None = None
    ) -> Measurement:
        key = (
            self.pair.piece,
            tuple(self.inputs),
            problem.bn_eps,
            precision,
            None if bn_eps is None else bn_eps.tobytes(),
        )
        if key not in self.measurements:
            self.measurements[key] = measure(
                problem,
                self.pair.piece,
                self.check.method,
                self.inputs,
                bn_eps=bn_eps,
                roundoff_factor=precision.roundoff_factor,
                progress=self.progress,
            )
        return self.measurements[key]

    def _measured_own(self, trial: PairOutput, precision: Precision) -> Measurement | None:
        """Differentiate a forward function that is not the reference's; None if it cannot be differentiated.

        The differences of one that rounds in 16 bit are those of a staircase. On an edge case that is not typical its
        output alone is judged, since a pass for each entry takes long.
        """
        pair, method, known = self.pair, self.check.method, self.check.known
        if precision.is_16_bit or as_float64("out", trial.output, self.problem.dout.shape)[1]:
            return None
        name = pair.forward or "forward"
        moved = [i for i in self.inputs if pair.piece is not NETWORK or i != "h"]
        if not moved:
            return None
        if not self.check.black_box:
            moved = []
        own = replace(method, scheme="central") if method.scheme == "complex" else method
        text = f"{name} is not the reference's; its backward was checked against {name} itself"
        if own is not method:
            text += ", by central differences: no complex step through code that is not ours is trusted"
        factor = precision.roundoff_factor
        try:
            measured = measure(
                self.problem,
                pair.piece,
                own,
                moved,
                black_box_forward=trial.forward,
                roundoff_factor=factor,
                progress=self.progress,
            )
        except TargetError as error:
            known.note("own-forward", name, f"it could not be differentiated: {error}".split("\n", maxsplit=1)[0])
            return None
        if moved:
            known.note("own-forward", name, text)
        self.measurements[pair.piece, pair.forward] = measured
        return measured

    def _different(self, first: PairOutput, others: Sequence[PairOutput]) -> list[PairOutput]:
        """Return the answers that differ from the first one, which are judged as well.

        That equal calls give different answers is a remark.
        """
        different = [other for other in others if not _same_values(first, other)]
        if any(other.usage == Usage.REPEATED.value for other in different):
            name = self.pair.backward or "backward"
            text = "gives another answer the second time (randomness, gradients that add up, or a parameter step?)"
            self.check.known.note("nondeterministic", name, f"{name} {text}")
        return different


def _same_values(one: PairOutput, other: PairOutput) -> bool:
    """Tell whether two answers hold the same arrays, bit for bit but for the sign of a 0."""
    if one.gradients.keys() != other.gradients.keys():
        return False
    pairs = [(one.output, other.output), *((a, other.gradients[name]) for name, a in one.gradients.items())]
    return all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") if a.dtype.kind in "fiu" else a.dtype == b.dtype
        for a, b in pairs
    )


def _equal(one: Problem, other: Problem) -> bool:
    """Tell whether two problems of the same settings are the same: a random one may be drawn with other signs."""
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("dout", "gamma", "beta"))
