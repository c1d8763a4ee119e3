"""The point at which the gradients are taken: every forward quantity that the bars need."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bncheck.model import layers
from bncheck.model.components import NETWORK, BnEps, Component
from bncheck.model.problem import FloatArray, Problem

# Unit roundoff of float64.
UNIT_ROUNDOFF = 2.0**-53
# The least positive number of float64; a result near it is rounded by half of it, however small the result is.
LEAST = 2.0**-1074


@dataclass(frozen=True, eq=False)
class BasePoint:
    """The forward pass at a problem, column by column."""

    problem: Problem  # dout is 0 at guarded outputs
    h_centered: FloatArray  # (N,H) h - mu, of the pre-activation h
    xhat: FloatArray  # (N,H) normalised pre-activation
    y: FloatArray  # (N,H) batch-norm output
    dy: FloatArray  # (N,H) dout where the output is active, 0 elsewhere: y's weight in the loss
    sigma: FloatArray  # (H,) sqrt(var + eps)
    radius: FloatArray  # (H,) lower bound on the radius of convergence along a move of h with unit standard deviation
    magnitude: FloatArray  # (H,) the largest of |X||W| + |b| in the column: what h is a sum of
    x_centered: FloatArray  # (N,D) X - its mean over the batch: the directions in which entries of W move h
    feature_std: FloatArray  # (D,) the standard deviation of X over the batch
    abs_x: FloatArray  # (N,D) |X|, and so on: the bounds are made of absolute values
    abs_w: FloatArray
    abs_xhat: FloatArray

    @classmethod
    def of(cls, problem: Problem, piece: Component = NETWORK, bn_eps: BnEps | None = None) -> "BasePoint":
        """Run the forward pass of a problem, with ``bn_eps`` instead of its own; without ReLU every output counts."""
        eps = problem.bn_eps if bn_eps is None else bn_eps
        output, _ = layers.affine_forward(problem.X, problem.W, problem.b)
        h = output.real
        y, cache = layers.batchnorm_forward(h, problem.gamma, problem.beta, eps)
        abs_x, abs_w = np.abs(problem.X), np.abs(problem.W)
        centred = problem.X - problem.X.mean(axis=0)
        sigma = cache.sigma.real
        return cls(
            problem=problem,
            h_centered=h - h.sum(axis=0) / len(h),
            xhat=cache.xhat.real,
            y=y.real,
            dy=np.where(y > 0, problem.dout, 0.0) if piece is NETWORK else problem.dout,
            sigma=sigma,
            radius=_radius(sigma, eps),
            magnitude=(abs_x @ abs_w).max(axis=0) + np.abs(problem.b),
            x_centered=centred,
            feature_std=np.sqrt(np.einsum("nd,nd->d", centred, centred) / problem.N),
            abs_x=abs_x,
            abs_w=abs_w,
            abs_xhat=np.abs(cache.xhat.real),
        )

    def excluding(self, near: npt.NDArray[np.bool_]) -> "BasePoint":
        """Return the same point with dout = 0 at the outputs where ``near`` is true."""
        if not near.any():
            return self
        problem = replace(self.problem, dout=np.where(near, 0.0, self.problem.dout))
        return replace(self, problem=problem, dy=np.where(near, 0.0, self.dy))

    @property
    def kappa(self) -> FloatArray:
        """The cancellation in h - mu, (H,): the size of the terms of h over sigma."""
        return self.magnitude / self.sigma

    @property
    def kappa_for_bounds(self) -> FloatArray:
        """kappa, but 0 if N = 1, where the mean is h itself and bncheck's h - mu exactly 0."""
        return np.zeros_like(self.sigma) if self.problem.N == 1 else self.kappa

    @cached_property
    def abs_m(self) -> FloatArray:
        """|m|, (N,H)."""
        return np.abs(self.dy)

    @cached_property
    def sums(self) -> tuple[FloatArray, FloatArray]:
        """The sums of |m| and of |m xhat| over the batch, (H,) each."""
        return self.abs_m.sum(axis=0), np.einsum("nh,nh->h", self.abs_m, self.abs_xhat)

    @cached_property
    def weight_projection(self) -> FloatArray:
        """The sums of m (v - vbar) for the directions v of W, (D,H)."""
        along: FloatArray = self.x_centered.T @ self.dy
        return along

    @property
    def single_row_std(self) -> float:
        """sqrt(r/N) when one row of h moves by 1: sqrt(N - 1) / N."""
        return float(np.sqrt(self.problem.N - 1) / self.problem.N)


def _radius(sigma: FloatArray, eps: BnEps) -> FloatArray:
    """Bound from below the modulus of the t at which V(t) = var(h + t v) + eps is 0, for v of unit standard deviation.

    With eps >= 0 both roots have the modulus sigma. A negative eps, which describes a variance that was rounded
    down, may make them real: the smaller one is at least sqrt(var) - sqrt(-eps).
    """
    negative = np.maximum(-np.asarray(eps, dtype=np.float64), 0.0)
    if not negative.any():
        return sigma
    radius: FloatArray = np.sqrt(sigma * sigma + negative) - np.sqrt(negative)
    return radius
