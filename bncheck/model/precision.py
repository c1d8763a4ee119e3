"""Floating-point arithmetics: their roundoff, and the values that they hold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from bncheck.model.problem import FloatArray, Problem

# Significant bits of each dtype.
SIGNIFICANT_BITS: Mapping[str, int] = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
# Sums, and standard deviations, in which float16 does not leave its range for sure.
LARGEST_IN_FLOAT16, SMALLEST_IN_FLOAT16 = 2.0**14, 2.0**-6


@dataclass(frozen=True, slots=True)
class Precision:
    """A floating-point arithmetic."""

    name: str = "float64"

    @staticmethod
    def least(precisions: "Iterable[Precision]") -> "Precision":
        """Return the least precise of several; float64 of none."""
        return min(precisions, key=lambda precision: precision.bits, default=FLOAT64)

    @property
    def bits(self) -> int:
        """Its significant bits."""
        return SIGNIFICANT_BITS[self.name]

    @property
    def roundoff_factor(self) -> float:
        """Its unit roundoff over float64's 2^-53."""
        return 2.0 ** (FLOAT64.bits - self.bits)

    @property
    def is_16_bit(self) -> bool:
        """Whether it is float16 or bfloat16, which bncheck does not judge yet."""
        return self.bits <= SIGNIFICANT_BITS["float16"]

    def bounds(self, problem: Problem) -> bool:
        """Tell whether rounding is all that right code in it may be off by on a problem.

        In 16 bits that is so if all values are far from the ends of float16's range: it ends at 65504, and loses bits
        below 6e-5. (bfloat16 has a larger range, but the bits of a few values may be those of either.)
        """
        if not self.is_16_bit:
            return True
        h = problem.X @ problem.W + problem.b
        sigma = np.sqrt(h.var(axis=0) + problem.bn_eps)
        upstream = np.abs(problem.gamma) * np.abs(problem.dout).max(axis=0)
        far_from_the_end = problem.N * max(float(np.square(h).max()), float(upstream.max())) < LARGEST_IN_FLOAT16
        return bool(far_from_the_end and min(float(sigma.min()), float(upstream.min())) > SMALLEST_IN_FLOAT16)

    def holds(self, values: FloatArray) -> bool:
        """Tell whether all values fit in its significant bits."""
        # The first few of most arrays show that they do not.
        return all(bool((rounded(some, self.bits) == some).all()) for some in (values[:16], values))


FLOAT64, FLOAT32 = Precision(), Precision("float32")


def rounded(values: FloatArray, bits: int) -> FloatArray:
    """Return the values rounded to so many significant bits."""
    mantissa, exponent = np.frexp(values)
    result: FloatArray = np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent)
    return result
