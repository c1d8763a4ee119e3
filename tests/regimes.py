"""Random problems over the regimes in which gradient checkers go wrong."""

import numpy as np

from bncheck import Problem, random_problem


def hard_problem(seed: int, largest: int = 40) -> Problem:
    """Draw N, D, H to ``largest``, x_std 1e-8..1e6, |x_mean| 0 or 1e-3..1e3, eps 1e-12..0.5."""
    rng = np.random.default_rng([seed, 7])
    N, D, H = (int(np.exp(rng.uniform(0, np.log(largest + 0.99)))) for _ in range(3))
    x_mean = 0.0 if rng.random() < 0.5 else rng.choice([-1, 1]) * 10 ** rng.uniform(-3, 3)
    return random_problem(
        N, D, H, seed=seed, bn_eps=10 ** rng.uniform(-12, np.log10(0.5)), x_mean=x_mean, x_std=10 ** rng.uniform(-8, 6)
    )
