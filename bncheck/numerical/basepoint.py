"""The point at which the gradients are taken: every forward quantity that the bars need."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bncheck import layers
from bncheck.pieces import NETWORK, Piece
from bncheck.problem import FloatArray, Problem

# Unit roundoff of float64.
U = 2.0**-53


@dataclass(frozen=True, eq=False)
class BasePoint:
    """The forward pass at a problem, column by column."""

    problem: Problem  # dout is 0 at guarded outputs
    c: FloatArray  # (N,H) h - mu, of the pre-activation h
    xhat: FloatArray  # (N,H) normalised pre-activation
    y: FloatArray  # (N,H) batch-norm output
    m: FloatArray  # (N,H) dout where the output is active, 0 elsewhere: y's weight in the loss
    sigma: FloatArray  # (H,) sqrt(var + eps)
    magnitude: FloatArray  # (H,) the largest of |X||W| + |b| in the column: what h is a sum of
    centred: FloatArray  # (N,D) X - its mean over the batch: the directions in which entries of W move h
    spread: FloatArray  # (D,) the standard deviation of X over the batch
    abs_x: FloatArray  # (N,D) |X|, and so on: the bounds are made of absolute values
    abs_w: FloatArray
    abs_xhat: FloatArray

    @classmethod
    def of(cls, problem: Problem, piece: Piece = NETWORK) -> "BasePoint":
        """Run the forward pass of a problem; without ReLU every output counts."""
        output, _ = layers.affine_forward(problem.X, problem.W, problem.b)
        h = output.real
        y, cache = layers.batchnorm_forward(h, problem.gamma, problem.beta, problem.bn_eps)
        abs_x, abs_w = np.abs(problem.X), np.abs(problem.W)
        centred = problem.X - problem.X.mean(axis=0)
        return cls(
            problem=problem,
            c=h - h.sum(axis=0) / len(h),
            xhat=cache.xhat.real,
            y=y.real,
            m=np.where(y > 0, problem.dout, 0.0) if piece is NETWORK else problem.dout,
            sigma=cache.sigma.real,
            magnitude=(abs_x @ abs_w).max(axis=0) + np.abs(problem.b),
            centred=centred,
            spread=np.sqrt(np.einsum("nd,nd->d", centred, centred) / problem.N),
            abs_x=abs_x,
            abs_w=abs_w,
            abs_xhat=np.abs(cache.xhat.real),
        )

    def guarded(self, near: npt.NDArray[np.bool_]) -> "BasePoint":
        """Return the same point with dout = 0 at the outputs where ``near`` is true."""
        if not near.any():
            return self
        problem = replace(self.problem, dout=np.where(near, 0.0, self.problem.dout))
        return replace(self, problem=problem, m=np.where(near, 0.0, self.m))

    @property
    def kappa(self) -> FloatArray:
        """The cancellation in h - mu, (H,): the size of the terms of h over sigma."""
        return self.magnitude / self.sigma

    @property
    def kappa_in_bars(self) -> FloatArray:
        """kappa, but 0 if N = 1, where the mean is h itself and h - mu exactly 0."""
        return np.zeros_like(self.sigma) if self.problem.N == 1 else self.kappa

    @cached_property
    def abs_m(self) -> FloatArray:
        """|m|, (N,H)."""
        return np.abs(self.m)

    @cached_property
    def sums(self) -> tuple[FloatArray, FloatArray]:
        """The sums of |m| and of |m xhat| over the batch, (H,) each."""
        return self.abs_m.sum(axis=0), np.einsum("nh,nh->h", self.abs_m, self.abs_xhat)

    @cached_property
    def along(self) -> FloatArray:
        """The sums of m (v - vbar) for the directions v of W, (D,H)."""
        along: FloatArray = self.centred.T @ self.m
        return along

    @property
    def spread_of_one(self) -> float:
        """sqrt(r/N) when one row of h moves by 1: sqrt(N - 1) / N."""
        return float(np.sqrt(self.problem.N - 1) / self.problem.N)
