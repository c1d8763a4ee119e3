"""Which forward pass a pair has: its backward pass is compared with the derivative of that forward pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bncheck.checking.judge import LAYER_TITLES, compare_forward
from bncheck.checking.knowledge import TargetKnowledge
from bncheck.checking.measurements import Measurements
from bncheck.checking.recognition import EpsKnowledge, Kind, recognize
from bncheck.errors import NotImplementedYet, TargetError
from bncheck.model.components import BATCHNORM, NETWORK
from bncheck.model.precision import Precision
from bncheck.model.problem import Problem
from bncheck.model.results import ForwardResult, Measurement, PairOutput
from bncheck.model.verdict import Verdict
from bncheck.numerical.basepoint import BasePoint
from bncheck.numerical.measure import with_sigma_error
from bncheck.targets.arrays import as_float64
from bncheck.targets.calling import Target
from bncheck.targets.pairs import Pair


@dataclass(frozen=True)
class ForwardPass:
    """The forward pass of a pair on one problem."""

    code: Target
    pair: Pair
    problem: Problem
    inputs: Sequence[str]  # inputs whose gradients are checked
    knowledge: TargetKnowledge
    measurements: Measurements
    differentiate: bool  # differentiate a forward function that does something else; otherwise judge its output only

    @cached_property
    def base(self) -> BasePoint:
        """The reference forward pass on the problem."""
        return BasePoint.from_problem(self.problem, self.pair.component)

    def first_output(self) -> PairOutput:
        """Run the pair for the first time.

        Raises
        ------
        TargetError
            It raised; the message says so if it takes arrays in another layout.
        """
        try:
            return self.code.run(self.pair, self.problem)
        except NotImplementedYet:
            raise
        except TargetError:
            self._reject_features_first()
            raise

    def match(self, first: PairOutput, precision: Precision) -> tuple[Measurement, ForwardResult | None]:
        """Return the measurement that the pair is compared with.

        It is that of the layer, with the eps and the rounding of the code; otherwise of the forward function itself.
        The judgement of the output is also returned if the choice depends on it.
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
        name, knowledge = self.pair.forward_name, self.knowledge
        if self._has_unusable_output(first):
            self._reject_features_first()
        eps = knowledge.eps.setdefault(name, EpsKnowledge())
        recognized = recognize(first, self.base, precision, eps, lambda problem: self.code.run(self.pair, problem))
        if recognized.kind is Kind.OTHER:
            self._reject_features_first()
            return self._measure_black_box(first, precision) or self._measure_reference(precision)
        problem = self.problem
        if recognized.eps is not None:
            problem = problem.with_eps(recognized.eps)
            text = f"{name} ignores eps and uses {recognized.eps:g}; it was checked with eps = {recognized.eps:g}"
            knowledge.note("hard-coded-eps", name, text)
        if recognized.is_single_pass:
            text = (
                f"{name} seems to compute the variance as E[x^2] - E[x]^2; its gradients are compared with batch norm"
            )
            knowledge.note("single-pass-variance", name, f"{text} at the sigma that its output shows")
        measurement = self.measurements.measure(
            problem, self.pair.component, self.inputs, precision, bn_eps=recognized.units
        )
        if recognized.sigma_error is None:
            return measurement
        return with_sigma_error(measurement, recognized.sigma_error / precision.roundoff_factor)

    def _measure_reference(self, precision: Precision) -> Measurement:
        return self.measurements.measure(self.problem, self.pair.component, self.inputs, precision)

    def _measure_black_box(self, first: PairOutput, precision: Precision) -> Measurement | None:
        """Differentiate the forward function itself; None if it cannot be differentiated.

        16-bit rounding makes it a step function. If ``differentiate`` is False its gradients are not judged, because
        one forward pass for each entry takes long.
        """
        pair, name = self.pair, self.pair.forward_name
        inputs = [i for i in self.inputs if pair.component is not NETWORK or i != "h"]
        if precision.is_16_bit or self._has_unusable_output(first) or not inputs:
            return None
        text = f"{name} does not compute {LAYER_TITLES[pair.component.name]}"
        text += f"; {pair.backward_name} was checked as the derivative of {name}"
        if self.measurements.options.scheme == "complex":
            text += ", with central differences: a complex step is only reliable in bncheck's own forward pass"
        inputs = inputs if self.differentiate else []
        forward = self.code.output_function(pair, self.problem)
        try:
            measurement = self.measurements.measure(
                self.problem, pair.component, inputs, precision, forward=forward, forward_name=name
            )
        except TargetError as error:
            self.knowledge.note("custom-forward", name, f"{name} could not be differentiated: {error}")
            return None
        if inputs:
            self.knowledge.note("custom-forward", name, text)
        return measurement

    def _has_unusable_output(self, first: PairOutput) -> bool:
        """Return whether the output does not consist of real numbers in the expected shape."""
        return bool(as_float64("out", first.output, self.problem.dout.shape)[1])

    def _reject_features_first(self) -> None:
        """Raise TargetError if the pair is correct in the layout (features, batch)."""
        pair = self.pair
        if self.code.takes_features_first(pair):
            raise TargetError(
                f"{pair.forward} and {pair.backward} take arrays of shape (features, batch): their output and dx are "
                "correct in that layout. bncheck passes (batch, features): write two functions that transpose x, "
                "dout, the output and dx, and check these"
            )
