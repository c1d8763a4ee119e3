"""The base point: the forward quantities of a problem that steps and error bounds are computed from."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np

from bncheck.model import layers
from bncheck.model.components import NETWORK, BnEps, Component
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.results import BoolArray

# Arrays by input name, each broadcastable to the input: steps in its units, or parts of an error bound.
PerInput: TypeAlias = Mapping[str, FloatArray]

# Roundoff unit of float64.
UNIT_ROUNDOFF = 2.0**-53
# Smallest positive number of float64; a result near it is rounded by up to half of it, regardless of its own size.
MIN_SUBNORMAL = 2.0**-1074


@dataclass(frozen=True, eq=False)
class BasePoint:
    """The forward pass at a problem; the bounds use absolute values, which are computed a single time."""

    problem: Problem  # dout is 0 at excluded outputs
    h_centered: FloatArray  # (N, H), h - mu of the pre-activation h
    xhat: FloatArray  # (N, H), normalized pre-activation
    y: FloatArray  # (N, H), output of batch norm
    dy: FloatArray  # (N, H), dout where the output is active and 0 elsewhere: the weight of y in the loss
    sigma: FloatArray  # (H,), sqrt(var + eps)
    radius: FloatArray  # (H,), lower bound on the radius of convergence along a unit-standard-deviation direction of h
    magnitude: FloatArray  # (H,), largest |X||W| + |b| of the unit: the size of the terms of h
    x_centered: FloatArray  # (N, D), X minus its mean over the batch: the directions in which entries of W shift h
    feature_std: FloatArray  # (D,), standard deviation of X over the batch
    abs_x: FloatArray  # (N, D), |X|
    abs_w: FloatArray  # (D, H), |W|
    abs_xhat: FloatArray  # (N, H), |xhat|

    @classmethod
    def from_problem(cls, problem: Problem, component: Component = NETWORK, bn_eps: BnEps | None = None) -> "BasePoint":
        """Run the forward pass of a problem; ``bn_eps`` replaces that of the problem.

        Only the network masks dout where y is not positive; for a component without ReLU every output is active.
        """
        eps = problem.bn_eps if bn_eps is None else bn_eps
        h = layers.affine_forward(problem.X, problem.W, problem.b)[0]
        y, cache = layers.batchnorm_forward(h, problem.gamma, problem.beta, eps)
        abs_x, abs_w = np.abs(problem.X), np.abs(problem.W)
        x_centered = problem.X - problem.X.mean(axis=0)
        return cls(
            problem=problem,
            h_centered=h - h.sum(axis=0) / len(h),
            xhat=cache.xhat,
            y=y,
            dy=np.where(y > 0, problem.dout, 0.0) if component is NETWORK else problem.dout,
            sigma=cache.sigma,
            radius=_radius(cache.sigma, eps),
            magnitude=(abs_x @ abs_w).max(axis=0) + np.abs(problem.b),
            x_centered=x_centered,
            feature_std=np.sqrt(np.einsum("nd,nd->d", x_centered, x_centered) / problem.N),
            abs_x=abs_x,
            abs_w=abs_w,
            abs_xhat=np.abs(cache.xhat),
        )

    def excluding(self, excluded: BoolArray) -> "BasePoint":
        """Return the same point with dout = 0 at the excluded outputs."""
        if not excluded.any():
            return self
        problem = replace(self.problem, dout=np.where(excluded, 0.0, self.problem.dout))
        return replace(self, problem=problem, dy=np.where(excluded, 0.0, self.dy))

    @property
    def kappa(self) -> FloatArray:
        """Condition number of h - mu, (H,): the size of the terms of h divided by sigma."""
        return self.magnitude / self.sigma

    @property
    def kappa_for_bounds(self) -> FloatArray:
        """kappa, but 0 if N = 1, where the mean equals h and bncheck's h - mu is exactly 0."""
        return np.zeros_like(self.sigma) if self.problem.N == 1 else self.kappa

    @cached_property
    def abs_dy(self) -> FloatArray:
        """|dy|, (N, H)."""
        return np.abs(self.dy)

    @cached_property
    def abs_sums(self) -> tuple[FloatArray, FloatArray]:
        """Sums of |dy| and of |dy xhat| over the batch, (H,) each."""
        return self.abs_dy.sum(axis=0), np.einsum("nh,nh->h", self.abs_dy, self.abs_xhat)

    @cached_property
    def weight_projection(self) -> FloatArray:
        """Sums of dy (v - vbar) for the directions v of the entries of W, (D, H)."""
        return self.x_centered.T @ self.dy

    @property
    def single_row_std(self) -> float:
        """Standard deviation of a column in which one row is 1 and the others are 0: sqrt(N - 1) / N."""
        return float(np.sqrt(self.problem.N - 1) / self.problem.N)


def _radius(sigma: FloatArray, eps: BnEps) -> FloatArray:
    """Bound from below the modulus of the t at which var(h + t v) + eps is 0, for v of unit standard deviation.

    With eps >= 0 both roots have the modulus sigma. A negative eps, which describes a variance that was rounded down,
    may make them real: the smaller one is at least sqrt(var) - sqrt(-eps).
    """
    negative = np.maximum(-np.asarray(eps, dtype=np.float64), 0.0)
    if not negative.any():
        return sigma
    return np.sqrt(sigma * sigma + negative) - np.sqrt(negative)
