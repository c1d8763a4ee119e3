import math
from typing import Any

import mpmath
import numpy as np
import pytest

from bncheck import InvalidInput
from bncheck.model.problem import FloatArray
from bncheck.numerical.schemes import SCHEMES, Quotient, get_scheme

EPSILON = 2.0**-52
# The derivative at 1.5 of the function in Martins, Sturdza & Alonso (2003).
POINT, EXACT = 1.5, 4.053427893898620657714187925608


def published_function(x: FloatArray) -> FloatArray:
    value: FloatArray = np.exp(x) / np.sqrt(np.sin(x) ** 3 + np.cos(x) ** 3)
    return value


def derivative(scheme: str, step: float) -> float:
    formula = SCHEMES[scheme]

    def slope(multiple: float) -> float:
        t = np.array(multiple * step)
        return float(formula.quotient.times_step(lambda t: published_function(POINT + t), t) / t)

    return formula.estimate(slope)


def test_the_complex_step_returns_the_published_value_to_the_last_digits() -> None:
    assert derivative("complex", 1e-20) == pytest.approx(4.053427893898621, abs=2e-15)


@pytest.mark.parametrize(
    ("scheme", "step", "accuracy"),
    [
        ("forward", EPSILON ** (1 / 2), 1e-7),
        ("central", EPSILON ** (1 / 3), 3.7e-10),
        ("five-point", EPSILON ** (1 / 5), 3e-12),
    ],
)
def test_a_scheme_reaches_its_theoretical_accuracy_at_the_optimal_step(
    scheme: str, step: float, accuracy: float
) -> None:
    assert abs(derivative(scheme, step) / EXACT - 1) < accuracy


@pytest.mark.parametrize(
    ("name", "order"), [("forward", 1), ("central", 2), ("five-point", 4), ("richardson", 6), ("complex", 2)]
)
def test_the_error_is_proportional_to_the_step_to_the_order_of_the_scheme(name: str, order: int) -> None:
    scheme = SCHEMES[name]
    assert scheme.order == order

    def error(step: Any) -> Any:
        def slope(multiple: float) -> Any:
            t = multiple * step
            if scheme.quotient is Quotient.FORWARD:
                return (mpmath.exp(t) - 1) / t
            if scheme.quotient is Quotient.CENTRAL:
                return (mpmath.exp(t) - mpmath.exp(-t)) / (2 * t)
            return mpmath.im(mpmath.exp(mpmath.mpc(0, t))) / t

        return abs(scheme.estimate(slope) - 1)

    with mpmath.workdps(60):
        first, second = error(mpmath.mpf("0.1")), error(mpmath.mpf("0.05"))
        observed = float(mpmath.log(first / second, 2))
    assert observed == pytest.approx(order, abs=0.03)


@pytest.mark.parametrize("name", SCHEMES)
def test_the_coefficients_sum_to_one(name: str) -> None:
    assert sum(SCHEMES[name].coefficients) == pytest.approx(1.0, abs=1e-14)


def test_the_coefficients_are_those_of_the_textbooks() -> None:
    assert SCHEMES["five-point"].coefficients == pytest.approx((4 / 3, -1 / 3))
    assert SCHEMES["richardson"].coefficients == pytest.approx((1 / 45, -20 / 45, 64 / 45))
    roundings = {name: scheme.rounding for name, scheme in SCHEMES.items()}
    assert roundings == pytest.approx({"forward": 2, "central": 1, "five-point": 1.5, "richardson": 6.6, "complex": 0})


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.89])
def test_the_truncation_bound_is_the_sum_of_the_bounded_series(name: str, fraction: float) -> None:
    """The bound is reached if every Taylor coefficient is at its bound."""
    scheme = SCHEMES[name]
    tau = fraction / scheme.max_multiple
    total = 0.0
    for power in range(1, 1000):  # the error terms of the quotient, a_k step^power
        if scheme.quotient is not Quotient.FORWARD and power % 2:
            continue
        terms = zip(scheme.coefficients, scheme.multiples, strict=True)
        total += abs(sum(c * m**power for c, m in terms)) * tau**power
    bound = float(scheme.truncation(np.array(tau)))
    rounding_of_the_oracle = 1e-15
    assert total <= bound * (1 + 1e-9) + rounding_of_the_oracle
    assert bound == pytest.approx(total, rel=1e-6, abs=1e-14)


def test_the_truncation_bound_is_infinite_near_the_radius_of_convergence() -> None:
    for scheme in SCHEMES.values():
        assert math.isinf(scheme.truncation(np.array(0.91 / scheme.max_multiple)))


def test_an_unknown_scheme_is_reported_with_the_known_schemes() -> None:
    with pytest.raises(InvalidInput, match="unknown scheme 'leapfrog'; choose from forward, central"):
        get_scheme("leapfrog")
