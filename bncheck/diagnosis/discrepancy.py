"""A wrong array compared with the expected one."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bncheck.diagnosis.evidence import MAX_ROUNDINGS, OUTPUT, Evidence, ProblemEvidence, has_wrong_shape_or_dtype
from bncheck.diagnosis.region import describe_region, isolate_wrong_entries
from bncheck.mistakes.pass_values import PassValues
from bncheck.model.problem import FloatArray
from bncheck.numerical.basepoint import UNIT_ROUNDOFF

# A fit is exact if its relative residual is below this, or below this many roundings of a less precise type, up to
# the limit above which another number could fit as well.
EXACT_RESIDUAL, EXACT_ROUNDINGS, MAX_EXACT_RESIDUAL = 1e-7, 32.0, 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Discrepancy:
    """A wrong array and the expected one, on one problem; a vector of the wrong entries if only some are wrong."""

    returned: FloatArray
    expected: FloatArray  # the same shape, correct values, or numerical ones for a custom forward pass
    rounding: FloatArray  # the same shape, largest rounding error of a correct entry
    correct: PassValues
    region: str  # the wrong rows and columns; empty for all
    max_residual: float  # relative residual up to which a fit of the returned array is exact

    @classmethod
    def of(cls, p: ProblemEvidence, name: str) -> "Discrepancy":
        """Compare an array of the correct shape with the expected one."""
        result, measurement, factor = p.result, p.result.measurement, p.result.precision.roundoff_factor
        selected: Any = ...
        region = ""
        if name == OUTPUT:
            returned, expected = np.asarray(result.pair_output.output, float), measurement.output
            rounding = factor * measurement.output_bound
        else:
            gradient, numerical = result.gradients[name], measurement.gradients[name]
            returned = gradient.analytic
            expected = gradient.numerical if p.is_black_box else p.array(p.correct, name)
            rounding = gradient.tolerance if p.is_black_box else MAX_ROUNDINGS * factor * numerical.conditioning
            difference = np.abs(returned - expected)
            if p.is_black_box and gradient.checked < gradient.entries:
                selected = numerical.evaluated
            elif region := describe_region(isolate_wrong_entries(difference, rounding, numerical.term_size)):
                selected = ~(difference <= rounding)
        rounding = np.broadcast_to(rounding, returned.shape)
        max_residual = min(max(EXACT_RESIDUAL, EXACT_ROUNDINGS * factor * UNIT_ROUNDOFF), MAX_EXACT_RESIDUAL)
        return cls(returned[selected], expected[selected], rounding[selected], p.correct, region, max_residual)

    @property
    def error(self) -> FloatArray:
        """Returned minus expected values."""
        return self.returned - self.expected


def all_discrepancies(evidence: Evidence, name: str) -> list[Discrepancy]:
    """Compare an array on every problem on which it is wrong; none if its shape is wrong on one of them."""
    wrong = evidence.problems_with_wrong(name)
    if any(has_wrong_shape_or_dtype(p.result, name) for p in wrong):
        return []
    return [Discrepancy.from_problem(p, name) for p in wrong]
