"""Floating-point formats: their roundoff unit and the values that they can represent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from bncheck.model.problem import FloatArray, Problem

# Significant bits of each dtype.
SIGNIFICANT_BITS: Mapping[str, int] = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
# Sums below the first limit stay under float16's largest number, 65504; standard deviations and upstream gradients
# above the second stay clear of its subnormal numbers, which begin at 6e-5.
MAX_FLOAT16_SUM, MIN_FLOAT16_SCALE = 2.0**14, 2.0**-6


@dataclass(frozen=True, slots=True)
class Precision:
    """A floating-point format."""

    name: str = "float64"

    @staticmethod
    def least_precise(precisions: "Iterable[Precision]") -> "Precision":
        """Return the format with the fewest significant bits; float64 if there is none."""
        return min(precisions, key=lambda precision: precision.bits, default=FLOAT64)

    @property
    def bits(self) -> int:
        """Number of significant bits."""
        return SIGNIFICANT_BITS[self.name]

    @property
    def roundoff_factor(self) -> float:
        """Roundoff unit of this format divided by that of float64, 2^-53."""
        return 2.0 ** (FLOAT64.bits - self.bits)

    @property
    def is_16_bit(self) -> bool:
        """Whether this is float16 or bfloat16, in which bncheck cannot judge gradients yet."""
        return self.bits <= SIGNIFICANT_BITS["float16"]

    def bounds_errors_on(self, problem: Problem) -> bool:
        """Return whether roundoff bounds the error of correct code that computes a problem in this format.

        A 16-bit computation is bounded if all values are far from the ends of float16's range: it ends at 65504, and
        numbers below 6e-5 lose bits. (bfloat16 has a larger range, but a few values may fit both formats.)
        """
        if not self.is_16_bit:
            return True
        h = problem.X @ problem.W + problem.b
        sigma = np.sqrt(h.var(axis=0) + problem.bn_eps)
        upstream = np.abs(problem.gamma) * np.abs(problem.dout).max(axis=0)
        largest_sum = problem.N * max(float(np.square(h).max()), float(upstream.max()))
        return bool(
            largest_sum < MAX_FLOAT16_SUM and min(float(sigma.min()), float(upstream.min())) > MIN_FLOAT16_SCALE
        )

    def can_represent(self, values: FloatArray) -> bool:
        """Return whether all values fit in the significant bits of this format."""
        # The first values of most arrays already decide it.
        return all(bool((round_to_bits(part, self.bits) == part).all()) for part in (values[:16], values))


FLOAT64, FLOAT32 = Precision(), Precision("float32")


def round_to_bits(values: FloatArray, bits: int) -> FloatArray:
    """Return the values rounded to the given number of significant bits."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent)
