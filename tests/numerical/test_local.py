"""The local engine interpolates the responses of the columns to within their rounding."""

from typing import Any

import mpmath as mp
import numpy as np
import pytest

from bncheck.numerical.local import MAX_NODES, nodes_needed
from bncheck.numerical.measure import evaluate_locally
from bncheck.numerical.schemes import SCHEMES
from bncheck.selftest.problems import hard_problem
from tests.numerical.measuring import plan_all


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("step", ["auto", 1e-5, 1e-3, 1e-2, 3e-2, 1e-1])
def test_interpolated_sums_match_the_evaluation_of_every_response(
    scheme: str, step: float | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(12):
        plan = plan_all(hard_problem(seed), scheme=scheme, step=step)
        with np.errstate(all="ignore"):  # the step may be far beyond the radius of convergence
            interpolated = evaluate_locally(plan)["X"]
            monkeypatch.setattr("bncheck.numerical.local.MAX_NODES", 0)
            expected = evaluate_locally(plan)["X"]
        monkeypatch.undo()
        bound = np.broadcast_to(plan.bounds.rounding["X"] + plan.bounds.base_rounding["X"], interpolated.shape)
        finite = np.isfinite(interpolated) & np.isfinite(expected)
        assert (np.isfinite(interpolated) == np.isfinite(expected)).all()
        # Both values are rounded; no difference above half of the bound was ever observed.
        assert (np.abs(interpolated - expected) <= bound / 2)[finite].all(), seed


def odd_part(t: Any, cosine: float) -> Any:
    """Return the odd part in t of (1 + t) / sqrt(V), V = 1 - 2 t cosine + t^2, whose roots have modulus 1."""
    above, below = ((1 + s) / mp.sqrt(1 - 2 * s * mp.mpf(cosine) + s * s) for s in (t, -t))
    return (above - below) / 2


def test_a_few_samples_interpolate_a_legendre_response_to_within_rounding() -> None:
    """The bound on the interpolation error is valid for the family of a column, (A + tp) / sqrt(V)."""
    for tau in (1e-9, 1e-5, 1e-3, 1e-2, 0.05, 0.1, 0.15):
        count = nodes_needed(tau)
        assert count <= MAX_NODES
        nodes = np.cos((2 * np.arange(count) + 1) * np.pi / (4 * count))
        for cosine in np.linspace(-1, 1, 9):
            with mp.workdps(60):
                points = [mp.mpf(x) for x in nodes]
                for relative in (0.01, 0.3, 0.77, 1.0):
                    weights = [
                        mp.fprod(((relative**2 - o * o) / (x * x - o * o)) for o in points if o is not x) * relative / x
                        for x in points
                    ]
                    value = mp.fsum(w * odd_part(x * tau, cosine) for w, x in zip(weights, points, strict=True))
                    error = value - odd_part(relative * mp.mpf(tau), cosine)
                    # St of this response: |gamma|/sigma (|p| + |sum dy xhat| sqrt(r/N)), here 1 + 1.
                    assert abs(error) <= 2 * relative * tau * 2.0**-53


def test_a_larger_shift_needs_more_samples_and_one_near_the_radius_of_convergence_too_many() -> None:
    assert nodes_needed(1e-9) < nodes_needed(1e-5) < nodes_needed(0.1)
    assert nodes_needed(0.9) > MAX_NODES
    assert nodes_needed(float("nan")) > MAX_NODES
