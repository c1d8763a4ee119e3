"""One target on several problems: every pair is run and judged on each."""

from collections.abc import Sequence
from typing import NamedTuple

from bncheck.checking.knowledge import Measurements, TargetKnowledge, function_and_reason
from bncheck.checking.pair_check import PairCheck
from bncheck.errors import NotImplementedYet, TargetEnded, TargetError
from bncheck.model.components import NETWORK
from bncheck.model.options import GRADIENTS, CheckOptions
from bncheck.model.precision import Precision
from bncheck.model.problem import Problem
from bncheck.model.progress import Progress, silent
from bncheck.model.results import CrossCheck, GradientResult, Measurement, PairResult, UncheckedFunction
from bncheck.model.verdict import Verdict
from bncheck.targets.interface import Interface
from bncheck.targets.pairs import Pair
from bncheck.targets.usage import Usage

# Why edge cases are not checked, if they are switched off.
NOT_ASKED_FOR = "skipped (`edge_cases=False`)"


class ProblemResult(NamedTuple):
    """The results of a target on one problem."""

    cases: Sequence[PairResult]  # for each pair that ran, the result of the call with the worst verdict
    plain: Sequence[PairResult]  # for each pair that ran, the result of the first call
    measurements: Sequence[Measurement]

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended a measurement early."""
        return any(m.interrupted for m in self.measurements)

    @property
    def gradients(self) -> dict[str, GradientResult]:
        """The judged gradients by key, such as "dW" or "affine_backward.dw"."""
        return {g.key: g for case in self.cases for g in case.gradients.values()}

    @property
    def precision(self) -> Precision:
        """The least precise arithmetic of all pairs."""
        return Precision.least_precise([case.precision for case in self.cases])

    @property
    def cross_check(self) -> CrossCheck | None:
        """The cross-check of all measurements; None if none of them has one."""
        return CrossCheck.combine([m.cross_check for m in self.measurements if m.cross_check is not None])

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all outputs and gradients; at least INCONCLUSIVE if the cross-check failed."""
        verdicts = [verdict for case in self.cases for verdict in case.verdicts]
        if self.cross_check is not None and not self.cross_check.agrees:
            verdicts.append(Verdict.INCONCLUSIVE)
        return Verdict.worst(verdicts)


class TargetCheck:
    """Run the pairs of a target on problems, and judge what they return.

    Parameters
    ----------
    interface : Interface
        The code under test.
    options : CheckOptions
        How it is checked.
    knowledge : TargetKnowledge, optional
        What is known from earlier problems.
    ended : sequence of Pair
        Pairs that raised on an earlier problem; they are not run.
    black_box : bool, default True
        Differentiate a forward function that does not compute its layer; otherwise judge its output only.
    """

    def __init__(
        self,
        interface: Interface,
        options: CheckOptions,
        knowledge: TargetKnowledge | None = None,
        ended: Sequence[Pair] = (),
        *,
        black_box: bool = True,
    ) -> None:
        self.interface, self.options, self.black_box = interface, options, black_box
        self.knowledge = knowledge if knowledge is not None else TargetKnowledge(list(interface.not_checked))
        self.ended = set(ended)
        self.unchecked_functions: list[UncheckedFunction] = []

    def examine(
        self, problem: Problem, progress: Progress = silent, usages: Sequence[Usage] = (Usage.REPEATED,)
    ) -> ProblemResult:
        """Run every pair on a problem and judge what it returns.

        Parameters
        ----------
        problem : Problem
            The arrays that the functions are called with.
        progress : callable, optional
            Called with the number of finished entries and the total.
        usages : sequence of Usage
            How each pair is called after its first call.

        Raises
        ------
        TargetError
            A required pair with a backward function, that of batch norm or of the network, raised or returned
            something else than its interface requires. A pair that is not implemented yet does not raise.
        """
        cases: list[PairResult] = []
        plain: list[PairResult] = []
        measurements = Measurements(self.options, progress)
        for pair in self.interface.pairs:
            if any(measurement.interrupted for measurement in measurements.finished.values()):
                break
            inputs = self._inputs(pair)
            if pair in self.ended or not inputs:
                continue
            check = PairCheck(self.interface, pair, problem, inputs, self.knowledge, measurements, self.black_box)
            try:
                results = check.run(usages)
            except TargetEnded:
                raise
            except TargetError as error:
                self.ended.add(pair)
                self._leave_out(pair, error)
                continue
            plain.append(results[0])
            cases.append(max(results, key=lambda case: list(Verdict).index(Verdict.worst(case.verdicts))))
        return ProblemResult(cases, plain, tuple(measurements.finished.values()))

    def _leave_out(self, pair: Pair, error: TargetError) -> None:
        """List a pair that failed; raise the error again if the pair is required, complete and implemented."""
        function, reason = function_and_reason(error)
        # A composite, a function that computes all layers, calls the layers, which may be what is not implemented.
        calls_unimplemented = pair.component is NETWORK and not pair.is_network and self.knowledge.not_implemented
        if isinstance(error, NotImplementedYet):
            if calls_unimplemented:
                reason = f"it {reason.partition(':')[0]}; it needs a function that is not implemented yet"
                self.knowledge.leave_out(function, reason, is_missing=True)
            else:
                self.knowledge.leave_out_unimplemented(function, reason)
            if pair.backward and pair.backward != function:
                self.knowledge.leave_out(pair.backward, f"{pair.forward} is not implemented yet", is_missing=True)
        elif not pair.has_backward:  # without a partner, it may not be the function that its name suggests
            self.knowledge.leave_out(function, f"it {reason}")
        elif not pair.optional:
            raise error
        elif calls_unimplemented:
            reason = reason.partition("\n")[0]
            text = f"it {reason}; it may need a function that is not implemented yet"
            self.knowledge.leave_out(function, text, is_missing=True)
        else:
            self.unchecked_functions.append(UncheckedFunction(function, reason, Verdict.FAIL))

    def _inputs(self, pair: Pair) -> list[str]:
        """Return the inputs of a pair whose gradients are requested, and list the others as not checked."""
        if self.options.only == GRADIENTS:
            return list(pair.component.inputs)
        labels = self.interface.labels(pair)
        # A composite does not return dh, which is measured together with dX.
        labels = {name: labels.get(name) or labels["X"] for name in pair.component.inputs}
        requested = [name for name, label in labels.items() if self.options.wants(pair.backward, label)]
        skipped = dict.fromkeys(label for name, label in labels.items() if name not in requested)
        if skipped and pair.has_backward:
            self.knowledge.leave_out(pair.backward_name, f"{', '.join(skipped)}: not selected by `only`")
        return requested
