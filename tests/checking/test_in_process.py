"""Checks in the process of the caller."""

import numpy as np

from bncheck import Verdict, check, random_problem
from bncheck.model.problem import Problem
from tests.samples import LAYERS


def test_an_upstream_gradient_of_ones_gives_an_exact_zero_that_passes() -> None:
    p = random_problem(9, 6, 4, seed=5)
    ones = Problem(p.X, p.W, p.b, p.gamma, p.beta, np.ones_like(p.dout), p.bn_eps)
    namespace: dict[str, object] = {}
    exec(LAYERS, namespace)
    result = check(ones, namespace, edge_cases=False)
    assert np.abs(result.gradients["batchnorm_backward.dx"].analytic).max() < 1e-14
    assert result.verdict is Verdict.PASS


def test_the_staged_implementation_matches_the_reference() -> None:
    for seed in range(10):
        result = check(random_problem(9, 6, 4, seed=seed), "staged")
        assert result.verdict is Verdict.PASS
        assert set(result.gradients) == {"dX", "dW", "db", "dgamma", "dbeta", "dh"}
