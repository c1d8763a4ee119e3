"""The check of one forward/backward pair on one problem."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from bncheck.checking.arithmetic import infer_precision
from bncheck.checking.forward_pass import ForwardPass
from bncheck.checking.judge import compare, compare_forward
from bncheck.checking.knowledge import function_and_reason
from bncheck.errors import TargetError
from bncheck.model.options import CheckOptions
from bncheck.model.precision import FLOAT64, Precision
from bncheck.model.problem import Problem
from bncheck.model.results import ForwardResult, Measurement, PairOutput, PairResult
from bncheck.targets import BUILT_IN
from bncheck.targets.pairs import Usage


def check_pair(forward_pass: ForwardPass, usages: Sequence[Usage]) -> list[PairResult]:
    """Run a pair, and judge everything that it returns a single time.

    Parameters
    ----------
    forward_pass : ForwardPass
        The pair and the problem.
    usages : sequence of Usage
        How the pair is called after its first call.

    Returns
    -------
    list of PairResult
        The result of the first call, then of each call that returned something else.

    Raises
    ------
    NotImplementedYet
        The forward function is not implemented yet.
    TargetError
        A function raised, or returned something else than its interface requires.
    """
    code, pair, problem = forward_pass.code, forward_pass.pair, forward_pass.problem
    measurements, options = forward_pass.measurements, forward_pass.measurements.options
    if code.info.name in BUILT_IN:
        measurement = measurements.measure(problem, pair.component, forward_pass.inputs)
        return [_judge(code.run(pair, measurement.problem), measurement, options, FLOAT64)]
    trial = forward_pass.first_output()
    precision = _update_precision(forward_pass, [trial])
    measurement, output = forward_pass.match(trial, precision)
    # The measurement may exclude outputs; and code that ignores eps is still given that of the problem.
    given = replace(measurement.problem, bn_eps=problem.bn_eps)
    is_trial = _are_equal_problems(given, problem)
    first = trial if is_trial else code.run(pair, given)
    _note_precision(forward_pass, precision)
    others = [] if measurement.interrupted else list(_differing_outputs(forward_pass, first, given, usages))
    final = Precision.least_precise([precision, _update_precision(forward_pass, others)])
    results = [_judge(first, measurement, options, final, output if is_trial and final == precision else None)]
    results += [_judge(other, measurement, options, final) for other in others]
    for pair_output in (first, *others):
        for function, reason in pair_output.not_implemented.items():
            forward_pass.knowledge.leave_out_unimplemented(function, reason)
    return results


def _judge(
    pair_output: PairOutput,
    measurement: Measurement,
    options: CheckOptions,
    precision: Precision,
    output: ForwardResult | None = None,
) -> PairResult:
    """Judge the output, unless ``output`` is its judgement, and the gradients."""
    output = output or compare_forward(pair_output, measurement, precision)
    gradients = compare(pair_output, measurement, options, precision)
    return PairResult(measurement, pair_output, output, gradients, precision)


def _update_precision(forward_pass: ForwardPass, outputs: Sequence[PairOutput]) -> Precision:
    """Return the least precise arithmetic of these outputs and of the first output of the pair on any problem."""
    base, known = forward_pass.base, forward_pass.knowledge.precision
    precision = Precision.least_precise([infer_precision(output, forward_pass.problem, base) for output in outputs])
    return Precision.least_precise([known.setdefault(forward_pass.pair, precision), precision])


def _note_precision(forward_pass: ForwardPass, precision: Precision) -> None:
    """Add a note if the pair does not compute in float64."""
    pair, knowledge = forward_pass.pair, forward_pass.knowledge
    if knowledge.precision[pair] != FLOAT64:
        effect = (
            "bncheck cannot judge 16-bit arithmetic yet"
            if precision.is_16_bit
            else f"tolerances allow for {precision.name} rounding"
        )
        functions = f"{pair.backward_name} and its forward function"
        knowledge.note("dtype", pair.backward_name, f"{functions} compute in {precision.name}; {effect}")


def _differing_outputs(
    forward_pass: ForwardPass, first: PairOutput, problem: Problem, usages: Sequence[Usage]
) -> Iterator[PairOutput]:
    """Yield the outputs of other calls that differ from the first output; a call that raises is listed."""
    pair, knowledge = forward_pass.pair, forward_pass.knowledge
    for usage in usages:
        try:
            other = forward_pass.code.run(pair, problem, usage)
        except TargetError as error:
            if usage is Usage.REPEATED:
                raise
            function, reason = function_and_reason(error)
            knowledge.leave_out(function, f"{usage.value}: it {reason}")
            continue
        if not _are_equal_outputs(first, other):
            if usage is Usage.REPEATED:
                causes = "randomness, accumulated gradients, uninitialized memory or a parameter update?"
                text = f"{pair.backward_name} returns different values on a second call ({causes})"
                knowledge.note("nondeterministic", pair.backward_name, text)
            yield other


def _are_equal_outputs(one: PairOutput, other: PairOutput) -> bool:
    """Return whether two outputs have the same arrays, bit for bit except for the sign of a 0."""
    if one.gradients.keys() != other.gradients.keys():
        return False
    pairs = [(one.output, other.output), *((a, other.gradients[name]) for name, a in one.gradients.items())]
    return all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") if a.dtype.kind in "fiu" else a.dtype == b.dtype
        for a, b in pairs
    )


def _are_equal_problems(one: Problem, other: Problem) -> bool:
    """Return whether two problems of the same settings are equal: with another eps, signs may be drawn differently."""
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("dout", "gamma", "beta"))
