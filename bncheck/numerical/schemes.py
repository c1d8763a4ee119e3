"""Finite-difference schemes and their truncation and rounding.

A scheme takes a quotient at one or several multiples m of the step and extrapolates to the step 0 (Richardson 1911).
Its other properties follow from the multiples: with z = m^2 for the symmetric quotients, whose error is a series in
the square of the step, and z = m for the forward quotient, Lagrange interpolation at the z, evaluated at 0, gives the
coefficients; the order, the truncation bound and the rounding are products and sums over them.
"""

import enum
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, reduce
from typing import TypeAlias, TypeVar

import numpy as np

from bncheck.errors import unknown_name
from bncheck.model.layers import Array
from bncheck.model.problem import FloatArray

# The loss of each column as a function of the step t.
Response: TypeAlias = Callable[[Array], Array]
T = TypeVar("T", float, FloatArray)

# Largest step, as a fraction of the radius of convergence, for which a truncation bound is computed.
MAX_TAU = 0.9


class Quotient(enum.Enum):
    """A difference quotient; the value is the factor with which the rounding of one loss enters."""

    FORWARD = 2.0  # (L(t) - L(0)) / t
    CENTRAL = 1.0  # (L(t) - L(-t)) / 2t
    COMPLEX = 0.0  # Im L(it) / t, without a subtraction

    def times_step(self, response: Response, t: FloatArray) -> FloatArray:
        """Return t times the quotient at t."""
        if self is Quotient.FORWARD:
            return response(t) - response(np.zeros_like(t))
        if self is Quotient.CENTRAL:
            return (response(t) - response(-t)) / 2
        return response(1j * t).imag

    def odd_even_parts(self, response: Response, t: FloatArray) -> tuple[FloatArray, ...]:
        """Return the part of ``times_step`` that is odd in t and, for the forward quotient, the even part."""
        if self is not Quotient.FORWARD:
            return (self.times_step(response, t),)
        base_output = response(np.zeros_like(t))
        above, below = response(t) - base_output, response(-t) - base_output
        return (above - below) / 2, (above + below) / 2


@dataclass(frozen=True, slots=True)
class Scheme:
    """A finite-difference formula."""

    name: str  # value of the option --scheme
    quotient: Quotient
    multiples: tuple[float, ...]  # multiples of the step at which the quotient is evaluated

    @property
    def power(self) -> int:
        """Power of the step in which the error of the quotient is a series: 1 or 2."""
        return 1 if self.quotient is Quotient.FORWARD else 2

    @property
    def order(self) -> int:
        """Order of accuracy: the error is O(step^order)."""
        return self.power * len(self.multiples)

    @property
    def max_multiple(self) -> float:
        """Largest multiple of the step that is evaluated."""
        return max(self.multiples)

    @property
    def coefficients(self) -> tuple[float, ...]:
        """Weight of each quotient; the weights sum to 1."""
        return _lagrange_weights_at_zero(tuple(m**self.power for m in self.multiples))

    @property
    def rounding(self) -> float:
        """Factor with which the rounding of one loss, divided by the step, enters the estimate."""
        terms = zip(self.coefficients, self.multiples, strict=True)
        return self.quotient.value * sum(abs(c) / m for c, m in terms)

    def estimate(self, slope: Callable[[float], T]) -> T:
        """Combine the quotients ``slope(multiple)`` into the derivative."""
        if len(self.multiples) == 1:  # the coefficient is 1
            return slope(self.multiples[0])
        return reduce(operator.add, (c * slope(m) for c, m in zip(self.coefficients, self.multiples, strict=True)))

    def derivative(
        self, response: Response, step: FloatArray, contract: Callable[[FloatArray], FloatArray] | None = None
    ) -> FloatArray:
        """Differentiate a response; ``contract`` sums its differences before they are divided by the step."""

        def slope(multiple: float) -> FloatArray:
            change = self.quotient.times_step(response, multiple * step)
            return (contract(change) if contract else change) / (multiple * step)

        return self.estimate(slope)

    def truncation(self, tau: FloatArray) -> FloatArray:
        """Bound the relative truncation error of a step.

        The loss of a column is gamma (A + t p) / sqrt(V(t)). 1 / sqrt(V) is the generating function of the Legendre
        polynomials and |P_k| <= 1, so the k-th Taylor coefficient is at most St / rho^(k-1), with the radius of
        convergence rho and the size of the terms St. Summed over the k that the extrapolation does not eliminate,
        this is St times the product over the multiples of z / (1 - z), z = (m tau)^power.

        Parameters
        ----------
        tau : ndarray
            Step divided by the radius of convergence.

        Returns
        -------
        ndarray
            Upper bound on the truncation error divided by St; infinite from m tau = 0.9 on.
        """
        z = (np.minimum(multiple * tau, MAX_TAU) ** self.power for multiple in self.multiples)
        bound: FloatArray = reduce(operator.mul, (node / (1 - node) for node in z))
        within = self.max_multiple * tau < MAX_TAU
        return bound if within.all() else np.where(within, bound, np.inf)


@cache
def _lagrange_weights_at_zero(z: tuple[float, ...]) -> tuple[float, ...]:
    """Return the weights of Lagrange interpolation at the nodes z, evaluated at 0."""
    return tuple(math.prod(other / (other - node) for other in z if other != node) for node in z)


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
    """Return the scheme with the given name.

    Raises
    ------
    InvalidInput
        There is no such scheme.
    """
    if name not in SCHEMES:
        raise unknown_name("scheme", name, SCHEMES)
    return SCHEMES[name]
