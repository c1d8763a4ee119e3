"""The checker's own proof: right gradients pass, and a planted mistake is caught."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bncheck import network
from bncheck.check import check
from bncheck.layers import Array
from bncheck.problem import random_problem
from bncheck.results import CheckResult, Verdict

# (N, D, H) and what is unusual about it: together the regimes in which checkers go wrong.
SMOKE_PROBLEMS: tuple[tuple[tuple[int, int, int], Mapping[str, Any]], ...] = (
    ((1, 3, 4), {}),
    ((2, 5, 3), {}),
    ((50, 4, 2), {}),
    ((4, 30, 20), {}),
    ((16, 10, 8), {"x_std": 1e-3}),
    ((16, 10, 8), {"bn_eps": 0.5}),
    ((16, 10, 8), {"x_mean": 100.0}),
)

PLANTED = "variance path dropped"


@dataclass(frozen=True, slots=True)
class SmokeResult:
    """What ``smoke`` found."""

    checks: tuple[CheckResult, ...]  # the reference on the smoke problems; each must pass
    planted: CheckResult  # a backward pass that is wrong on purpose; it must fail at dh
    seconds: float

    @property
    def caught(self) -> bool:
        """Whether the planted mistake was caught where it is, and dgamma and dbeta left alone."""
        verdicts = {name: g.verdict for name, g in self.planted.gradients.items()}
        right = verdicts["dgamma"] is verdicts["dbeta"] is Verdict.PASS
        return right and verdicts["dh"] is Verdict.FAIL

    @property
    def passed(self) -> bool:
        """Whether every check passed and the planted mistake was caught."""
        return self.caught and all(c.verdict is Verdict.PASS for c in self.checks)


class VariancePathDropped:
    """A network whose backward pass takes the variance as constant: a planted mistake."""

    forward = staticmethod(network.forward)

    @staticmethod
    def backward(dout: Array, cache: network.Cache) -> dict[str, Array]:
        """Return the gradients of dh = gamma / sigma (dy - mean dy), the variance path left out."""
        X, W = cache.affine
        _, gamma, sigma = cache.batchnorm
        right = network.backward(dout, cache)
        dy = dout * cache.relu
        dh = gamma / sigma * (dy - dy.mean(axis=0))
        return {**right, "dX": dh @ W.T, "dW": X.T @ dh, "db": dh.sum(axis=0), "dh": dh}


def smoke() -> SmokeResult:
    """Check the reference on small problems with fixed seeds, and one planted mistake."""
    started = time.perf_counter()
    checks = tuple(
        check(random_problem(*shape, seed=seed, **unusual)) for seed, (shape, unusual) in enumerate(SMOKE_PROBLEMS)
    )
    planted = check(random_problem(16, 10, 8, seed=0), VariancePathDropped)
    return SmokeResult(checks, planted, time.perf_counter() - started)
