"""The random problems of a self-test."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bncheck.model.problem import Problem, random_problem

# Different shapes and scales for a quick test: (N, D, H) and unusual settings.
SMOKE_PROBLEMS: tuple[tuple[tuple[int, int, int], Mapping[str, Any]], ...] = (
    ((1, 3, 4), {}),
    ((2, 5, 3), {}),
    ((50, 4, 2), {}),
    ((4, 30, 20), {}),
    ((16, 10, 8), {"x_std": 1e-3}),
    ((16, 10, 8), {"bn_eps": 0.5}),
    ((16, 10, 8), {"x_mean": 100.0}),
)


def hard_problem(seed: int, largest: int = 40) -> Problem:
    """Draw N, D, H up to ``largest``, x_std 1e-8..1e6, |x_mean| 0 or 1e-3..1e3, eps 1e-12..0.5."""
    rng = np.random.default_rng([seed, 7])
    N, D, H = (int(np.exp(rng.uniform(0, np.log(largest + 0.99)))) for _ in range(3))
    x_mean = 0.0 if rng.random() < 0.5 else rng.choice([-1, 1]) * 10 ** rng.uniform(-3, 3)
    return random_problem(
        N, D, H, seed=seed, bn_eps=10 ** rng.uniform(-12, np.log10(0.5)), x_mean=x_mean, x_std=10 ** rng.uniform(-8, 6)
    )


def plain_problem(seed: int) -> Problem:
    """Draw a problem of moderate sizes and scales."""
    rng = np.random.default_rng([seed, 8])
    N, D, H = (int(size) for size in rng.integers((3, 2, 2), (17, 13, 13)))
    return random_problem(N, D, H, seed=seed, bn_eps=10 ** rng.uniform(-8, -2), x_std=10 ** rng.uniform(-1, 1))
