"""The finite-difference schemes, and how far each can be from the derivative.

A scheme is a quotient, taken at one or several multiples of the step, and extrapolated to the
step 0 (Richardson 1911). The multiples say everything else: with z = m^2 for the symmetric
quotients, whose error is a series in the square of the step, and z = m for the forward one,
Lagrange interpolation at the z, read off at 0, gives the coefficients; and the leading error, the
truncation bound and the rounding are products and sums over them.
"""

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias, TypeVar

import numpy as np

from bncheck.errors import InvalidInput
from bncheck.model.layers import Array
from bncheck.model.problem import FloatArray

Response: TypeAlias = Callable[[Array], Array]
T = TypeVar("T", float, FloatArray)

# Where the step reaches this share of the radius of convergence, no bound is claimed.
LARGEST_TAU = 0.9


class Quotient(enum.Enum):
    """How one difference is taken; the value is how many times the rounding of one loss enters."""

    FORWARD = 2.0  # (L(t) - L(0)) / t
    CENTRAL = 1.0  # (L(t) - L(-t)) / 2t
    COMPLEX = 0.0  # Im L(it) / t: nothing is subtracted

    def times_step(self, response: Response, t: FloatArray) -> FloatArray:
        """Return t times the quotient at t, for a response that is known in closed form."""
        if self is Quotient.FORWARD:
            return response(t) - response(np.zeros_like(t))
        if self is Quotient.CENTRAL:
            return (response(t) - response(-t)) / 2
        return response(1j * t).imag

    def odd_even_parts(self, response: Response, t: FloatArray) -> tuple[FloatArray, ...]:
        """Return what of ``change`` is odd in t, and for the forward quotient what is even."""
        if self is not Quotient.FORWARD:
            return (self.times_step(response, t),)
        base_output = response(np.zeros_like(t))
        above, below = response(t) - base_output, response(-t) - base_output
        return (above - below) / 2, (above + below) / 2


@dataclass(frozen=True, slots=True)
class Scheme:
    """A finite-difference formula."""

    name: str  # what --scheme calls it
    quotient: Quotient  # the difference that is taken ...
    multiples: tuple[float, ...]  # ... at these multiples of the step

    @property
    def power(self) -> int:
        """The power of the step that the quotient's error is a series in: 1 or 2."""
        return 1 if self.quotient is Quotient.FORWARD else 2

    @property
    def order(self) -> int:
        """The power of the step that the scheme's error falls with."""
        return self.power * len(self.multiples)

    @property
    def max_multiple(self) -> float:
        """The largest multiple of the step that is evaluated."""
        return max(self.multiples)

    @property
    def coefficients(self) -> tuple[float, ...]:
        """What each quotient counts; they sum to 1."""
        return _at_zero(tuple(m**self.power for m in self.multiples))

    @property
    def rounding(self) -> float:
        """How often the rounding of one loss, divided by the step, enters the estimate."""
        terms = zip(self.coefficients, self.multiples, strict=True)
        return self.quotient.value * sum(abs(c) / m for c, m in terms)

    def estimate(self, slope: Callable[[float], T]) -> T:
        """Combine the quotients ``slope(multiple)`` into the derivative."""
        if len(self.multiples) == 1:
            return slope(self.multiples[0])
        first, *rest = zip(self.coefficients, self.multiples, strict=True)
        total = first[0] * slope(first[1])
        for coefficient, multiple in rest:
            total = total + coefficient * slope(multiple)
        return total

    def truncation(self, tau: FloatArray) -> FloatArray:
        """Bound the relative truncation error at a step that is tau radii of convergence.

        The column's loss is gamma (A + t p) / sqrt(V(t)) and 1 / sqrt(V) generates the Legendre
        polynomials, |P_k| <= 1, so the k-th Taylor coefficient is at most St / rho^(k-1). Summed
        over the k that the extrapolation leaves, that is St times the product over the
        multiples of z / (1 - z), z = (m tau)^power. Infinite from m tau = 0.9 on.
        """
        bound: FloatArray | None = None
        for multiple in self.multiples:
            z: FloatArray = np.minimum(multiple * tau, LARGEST_TAU) ** self.power
            z /= 1 - z
            bound = z if bound is None else z * bound
        assert bound is not None
        within = self.max_multiple * tau < LARGEST_TAU
        return bound if within.all() else np.where(within, bound, np.inf)


@cache
def _at_zero(z: tuple[float, ...]) -> tuple[float, ...]:
    """Return the weights of Lagrange interpolation at the z, read off at 0."""
    return tuple(math.prod(other / (other - own) for other in z if other != own) for own in z)


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("forward", Quotient.FORWARD, (1.0,)),
        Scheme("central", Quotient.CENTRAL, (1.0,)),
        Scheme("five-point", Quotient.CENTRAL, (1.0, 2.0)),
        Scheme("richardson", Quotient.CENTRAL, (1.0, 0.5, 0.25)),
        Scheme("complex", Quotient.COMPLEX, (1.0,)),
    )
}


def get_scheme(name: str) -> Scheme:
    """Return the scheme of that name.

    Raises
    ------
    InvalidInput
        There is none.
    """
    if name not in SCHEMES:
        raise InvalidInput(f"no scheme {name!r}; there are {', '.join(SCHEMES)}")
    return SCHEMES[name]
