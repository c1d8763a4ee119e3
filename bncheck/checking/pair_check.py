"""The check of one forward/backward pair on one problem: choose the measurement, then judge output and gradients."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bncheck.checking.arithmetic import infer_precision
from bncheck.checking.judge import LAYER_TITLES, compare, compare_forward
from bncheck.checking.knowledge import Measurements, TargetKnowledge, function_and_reason
from bncheck.checking.recognition import EpsKnowledge, recognize
from bncheck.errors import NotImplementedYet, TargetEnded, TargetError
from bncheck.model.components import BATCHNORM, NETWORK
from bncheck.model.precision import FLOAT64, Precision
from bncheck.model.problem import Problem
from bncheck.model.results import ForwardResult, Measurement, PairOutput, PairResult
from bncheck.model.verdict import Verdict
from bncheck.numerical.basepoint import BasePoint
from bncheck.numerical.measure import with_sigma_error
from bncheck.targets import BUILT_IN
from bncheck.targets.arrays import as_float64
from bncheck.targets.interface import Interface
from bncheck.targets.pairs import Pair
from bncheck.targets.usage import Usage


@dataclass(frozen=True)
class PairCheck:
    """Compare the gradients of a pair with the derivative of its layer, or of its own forward function."""

    interface: Interface
    pair: Pair
    problem: Problem
    inputs: Sequence[str]  # inputs whose gradients are checked
    knowledge: TargetKnowledge
    measurements: Measurements
    black_box: bool  # differentiate a forward function that does something else; otherwise judge its output only

    @cached_property
    def base(self) -> BasePoint:
        """The reference forward pass on the problem."""
        return BasePoint.from_problem(self.problem, self.pair.component)

    def run(self, usages: Sequence[Usage]) -> list[PairResult]:
        """Run the pair, and judge everything that it returns a single time.

        Parameters
        ----------
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
        if self.interface.info.name in BUILT_IN:
            measurement = self._measure_reference(FLOAT64)
            return [self._judge(self.interface.run(self.pair, measurement.problem), measurement, FLOAT64)]
        trial = self._first_output()
        precision = self._update_precision([trial])
        measurement, output = self._match(trial, precision)
        # The measurement may exclude outputs; and code that ignores eps still receives that of the problem.
        problem = replace(measurement.problem, bn_eps=self.problem.bn_eps)
        is_trial = _are_equal_problems(problem, self.problem)
        first = trial if is_trial else self.interface.run(self.pair, problem)
        self._note_precision(precision)
        others = [] if measurement.interrupted else list(self._differing_outputs(first, problem, usages))
        final = Precision.least_precise([precision, self._update_precision(others)])
        results = [self._judge(first, measurement, final, output if is_trial and final == precision else None)]
        results += [self._judge(other, measurement, final) for other in others]
        for pair_output in (first, *others):
            for function, reason in pair_output.not_implemented.items():
                self.knowledge.leave_out_unimplemented(function, reason)
        return results

    def _judge(
        self, returned: PairOutput, measurement: Measurement, precision: Precision, output: ForwardResult | None = None
    ) -> PairResult:
        """Judge the output, unless ``output`` is its judgement, and the gradients."""
        output = output or compare_forward(returned, measurement, precision)
        gradients = compare(returned, measurement, self.measurements.options, precision)
        return PairResult(measurement, returned, output, gradients, precision)

    def _first_output(self) -> PairOutput:
        """Run the pair for the first time; an error states whether the pair takes arrays in another layout."""
        try:
            return self.interface.run(self.pair, self.problem)
        except TargetError as error:
            if not isinstance(error, NotImplementedYet):
                self._reject_features_first()
            raise

    def _update_precision(self, outputs: Sequence[PairOutput]) -> Precision:
        """Return the least precise arithmetic of these outputs and of the first output of the pair on any problem."""
        precision = Precision.least_precise([infer_precision(output, self.problem, self.base) for output in outputs])
        return Precision.least_precise([self.knowledge.precision.setdefault(self.pair, precision), precision])

    def _note_precision(self, precision: Precision) -> None:
        """Add a note if the pair does not compute in float64."""
        name = self.pair.backward_name
        effect = f"tolerances allow for {precision.name} rounding"
        if precision.is_16_bit:
            effect = "bncheck cannot judge 16-bit arithmetic yet"
        if self.knowledge.precision[self.pair] != FLOAT64:
            text = f"{name} and its forward function compute in {precision.name}; {effect}"
            self.knowledge.note("dtype", name, text)

    def _differing_outputs(self, first: PairOutput, problem: Problem, usages: Sequence[Usage]) -> Iterator[PairOutput]:
        """Yield the outputs of other calls that differ from the first output; a call that raises is listed."""
        name = self.pair.backward_name
        for usage in usages:
            try:
                other = self.interface.run(self.pair, problem, usage)
            except TargetError as error:
                if usage is Usage.REPEATED or isinstance(error, TargetEnded):
                    raise
                function, reason = function_and_reason(error)
                self.knowledge.leave_out(function, f"{usage.value}: it {reason}")
                continue
            if not _are_equal_outputs(first, other):
                if usage is Usage.REPEATED:
                    causes = "randomness, accumulated gradients, uninitialized memory or a parameter update?"
                    text = f"{name} returns different values on a second call ({causes})"
                    self.knowledge.note("nondeterministic", name, text)
                yield other

    def _match(self, first: PairOutput, precision: Precision) -> tuple[Measurement, ForwardResult | None]:
        """Return the measurement that the pair is compared with.

        If the output matches the layer, with the eps and the rounding of the code under test, it is the measurement of
        the layer; if not, that of the forward function itself, if it can be differentiated. The second value is the
        judgement of the output if the choice depends on it, and None otherwise.
        """
        if self.pair.component in (NETWORK, BATCHNORM):
            return self._match_batchnorm(first, precision), None
        measurement = self._measure_reference(precision)
        output = compare_forward(first, measurement, precision)
        if output.verdict is Verdict.FAIL:
            measurement = self._measure_black_box(first, precision) or measurement
        return measurement, output

    def _match_batchnorm(self, first: PairOutput, precision: Precision) -> Measurement:
        """Recognize batch norm with another eps or another rounding of sigma."""
        name, problem = self.pair.forward_name, self.problem
        if self._has_unusable_output(first):
            self._reject_features_first()
        eps = self.knowledge.eps.setdefault(name, EpsKnowledge())
        recognized = recognize(first, self.base, precision, eps, lambda other: self.interface.run(self.pair, other))
        if recognized is None:
            self._reject_features_first()
            return self._measure_black_box(first, precision) or self._measure_reference(precision)
        if recognized.eps is not None:
            problem = problem.with_eps(recognized.eps)
            text = f"{name} ignores eps and uses {recognized.eps:g}; it was checked with eps = {recognized.eps:g}"
            self.knowledge.note("hard-coded-eps", name, text)
        if recognized.is_single_pass:
            text = f"{name} seems to compute the variance as E[x^2] - E[x]^2; its gradients are compared with "
            self.knowledge.note("single-pass-variance", name, f"{text}batch norm at the sigma that its output shows")
        component, eps_by_unit = self.pair.component, recognized.eps_by_unit
        measurement = self.measurements.measure(problem, component, self.inputs, precision, bn_eps=eps_by_unit)
        if recognized.sigma_error is None:
            return measurement
        return with_sigma_error(measurement, recognized.sigma_error / precision.roundoff_factor)

    def _measure_reference(self, precision: Precision) -> Measurement:
        return self.measurements.measure(self.problem, self.pair.component, self.inputs, precision)

    def _measure_black_box(self, first: PairOutput, precision: Precision) -> Measurement | None:
        """Differentiate the forward function itself; None if it cannot be differentiated.

        16-bit rounding makes it a step function. If ``black_box`` is False its gradients are not judged, because one
        forward pass for each entry takes long: without inputs, only its output and the bound on it are measured.
        """
        pair, name = self.pair, self.pair.forward_name
        # The forward function of a network does not accept h.
        inputs = [i for i in self.inputs if pair.component is not NETWORK or i != "h"]
        if precision.is_16_bit or self._has_unusable_output(first) or not inputs:
            return None
        inputs = inputs if self.black_box else []
        forward = self.interface.perturbed_forward(pair, self.problem)
        try:
            measurement = self.measurements.measure(
                self.problem, pair.component, inputs, precision, forward=forward, forward_name=name
            )
        except TargetError as error:
            self.knowledge.note("custom-forward", name, f"{name} could not be differentiated: {error}")
            return None
        if inputs:
            text = f"{name} does not compute {LAYER_TITLES[pair.component.name]}"
            text += f"; {pair.backward_name} was checked as the derivative of {name}"
            if self.measurements.options.scheme == "complex":
                text += ", with central differences: a complex step is only reliable in bncheck's own forward pass"
            self.knowledge.note("custom-forward", name, text)
        return measurement

    def _has_unusable_output(self, first: PairOutput) -> bool:
        """Return whether the output does not consist of real numbers in the expected shape."""
        return bool(as_float64("out", first.output, self.problem.dout.shape)[1])

    def _reject_features_first(self) -> None:
        """Raise TargetError if the pair is correct in the layout (features, batch)."""
        if self.interface.takes_features_first(self.pair):
            raise TargetError(
                f"{self.pair.forward} and {self.pair.backward} take arrays of shape (features, batch): their output "
                "and dx are correct in that layout. bncheck passes (batch, features): write two functions that "
                "transpose x, dout, the output and dx, and check these"
            )


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
