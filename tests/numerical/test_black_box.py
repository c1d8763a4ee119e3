"""A forward pass that is not batch norm is differentiated within its estimated error bound."""

from collections.abc import Mapping

import numpy as np
import pytest

from bncheck import random_problem
from bncheck.model.components import BATCHNORM
from bncheck.model.layers import Array
from bncheck.model.options import CheckOptions
from bncheck.numerical.black_box import black_box_jacobian
from bncheck.numerical.full import FiniteDifference
from bncheck.numerical.measure import measure
from bncheck.numerical.schemes import SCHEMES
from tests.oracles import exact_gradients
from tests.python_targets import perturbed


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if name != "complex"])
def test_a_custom_forward_pass_is_differentiated_within_its_error_bound(scheme: str) -> None:
    """Batch norm with the unbiased variance; its exact derivative follows from that of batch norm."""
    problem = random_problem(5, 3, 2, seed=4)
    stretch = np.sqrt(1.25)

    def stretched(arrays: Mapping[str, Array]) -> dict[str, Array]:
        # (h - mu) / sqrt(5/4 var + eps) = xhat of h sqrt(5/4), over sqrt(5/4)
        return {**arrays, "h": stretch * arrays["h"], "gamma": arrays["gamma"] / stretch}

    def unbiased(arrays: Mapping[str, Array]) -> Array:
        return BATCHNORM.forward(problem.bn_eps)(stretched(arrays))

    options, forward = CheckOptions(scheme=scheme), perturbed(unbiased, BATCHNORM, problem)
    measurement = measure(problem, BATCHNORM, options, BATCHNORM.inputs, black_box_forward=forward)
    assert measurement.black_box
    exact = exact_gradients("batchnorm", stretched(BATCHNORM.arrays(problem)), problem.dout, problem.bn_eps)
    exact = {"h": stretch * exact["h"], "gamma": exact["gamma"] / stretch, "beta": exact["beta"]}
    for name, gradient in measurement.gradients.items():
        assert (np.abs(gradient.value - exact[name]) <= gradient.error_bound).all(), name
        assert np.abs(gradient.error_bound).max() < 1e-4


def test_the_jacobian_of_a_black_box_is_within_its_truncation_error_and_infinite_where_the_step_is_lost() -> None:
    x = np.array([0.5, 1.0, 2.0])
    difference = FiniteDifference(
        lambda arrays: np.exp(arrays["x"]), {"x": x}, ["x"], np.ones(3), SCHEMES["central"],
        has_kink=False, base_output=None, axis=(),
    )  # fmt: skip
    value, truncation = black_box_jacobian(difference, "x", np.array([1e-3, 1e-3, 1e-20]))
    assert value.shape == truncation.shape == (3, 3)
    resolved = (..., slice(2))
    assert (np.abs(value - np.diag(np.exp(x)))[resolved] <= truncation[resolved]).all()
    assert truncation[resolved].max() < 1e-5
    assert np.isinf(truncation[..., 2]).all()
