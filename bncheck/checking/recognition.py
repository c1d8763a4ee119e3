"""What a forward function computes, recognized from its output before any gradient is judged."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bncheck.errors import TargetError
from bncheck.model.components import NETWORK, Component
from bncheck.model.precision import Precision
from bncheck.model.problem import COMMON_EPS, FloatArray, Problem, random_problem
from bncheck.model.results import PairOutput
from bncheck.numerical.basepoint import UNIT_ROUNDOFF, BasePoint
from bncheck.numerical.error_bounds import output_bound
from bncheck.targets.arrays import as_float64

# Range of an eps that is inferred from the output. A smaller one cannot be distinguished from rounding; a larger one is
# probably no eps, because any constant scale would look like one.
MIN_INFERRED_EPS, MAX_INFERRED_EPS = 1e-14, 0.1 * (1 + 1e-6)
# The eps of a problem that shows whether code ignores eps; no code has this constant.
UNUSED_EPS = 0.37
# Smallest batch of that problem: with one sample there is no variance, so that eps has no effect.
MIN_DECISIVE_N = 7
# Fraction of the conditioning of dx by which sigma may differ before gradients are measured with that sigma.
NEGLIGIBLE_FRACTION = 1 / 8
# Error of a fitted sigma in multiples of the error of a sum of independent roundings.
FIT_FACTOR = 4.0
# Largest relative error of sigma that is attributed to a variance E[x^2] - E[x]^2, whose error is u E[x^2] times the
# length of its sums.
MAX_SINGLE_PASS_ERROR = 0.1


@dataclass(frozen=True, slots=True)
class Recognized:
    """The batch norm that a forward function computes."""

    eps: float | None = None  # a constant; None: the eps of the problem
    units: FloatArray | None = None  # (H,), sigma'^2 - var if sigma' is rounded differently; None: sigma is accurate
    is_single_pass: bool = False  # ``units`` differs by more than the rounding of a variance around the mean
    sigma_error: FloatArray | None = None  # (H,), relative error of sigma that the output does not reveal; None: none


@dataclass(slots=True)
class EpsKnowledge:
    """The eps of a forward function, which must be consistent with its outputs on all problems so far."""

    fixed: float | None = None  # a constant; None: that of the problem, as far as is known
    outputs: "list[_Output]" = field(default_factory=list)  # outputs that match the eps of their problem


@dataclass(frozen=True, slots=True)
class _Output:
    """An output of a forward function, to be compared with batch norm for several eps."""

    values: FloatArray  # (N, H)
    component: Component
    precision: Precision
    base: BasePoint = field(repr=False)  # the reference forward pass on the same problem

    def recognized(self, eps: float) -> Recognized | None:
        """Return how the output follows from batch norm with an eps; None if it does not."""
        base, fixed = self.base, None
        if eps != self.base.problem.bn_eps:
            base, fixed = BasePoint.from_problem(self.base.problem, self.component, eps), eps
        sigma, error = self._fit_sigma(base)
        if sigma is not None:
            units: FloatArray = sigma * sigma - (base.sigma * base.sigma - eps)
            if self._matches(BasePoint.from_problem(self.base.problem, self.component, units)):
                two_pass_error = 2 * self._two_pass_error(base) * base.sigma * base.sigma
                is_single_pass = bool((np.abs(units - eps) > two_pass_error).any())
                return Recognized(fixed, units, is_single_pass, error)
        return Recognized(fixed, sigma_error=error) if self._matches(base) else None

    def _matches(self, base: BasePoint) -> bool:
        """Return whether the output is that of a base point, up to rounding."""
        expected = np.maximum(base.y, 0.0) if self.component is NETWORK else base.y
        factor = self.precision.roundoff_factor
        bound = factor * output_bound(base, factor)
        return bool((np.abs(self.values - expected) <= bound).all())

    def _two_pass_error(self, base: BasePoint) -> FloatArray:
        """Bound the relative rounding error of a sigma that is computed around the mean, (H,)."""
        p, u = self.base.problem, self.precision.roundoff_factor * UNIT_ROUNDOFF
        bound: FloatArray = u * (8 + p.N + p.D) * (1 + base.kappa)
        return bound

    def _fit_sigma(self, base: BasePoint) -> tuple[FloatArray | None, FloatArray | None]:
        """Fit sigma of each unit by least squares of out - beta on gamma xhat.

        Returns
        -------
        sigma : ndarray, shape (H,), or None
            None if no unit differs from the reference by more than the error of the fit and the conditioning of the
            gradients, or if some unit differs by more than the rounding of a single-pass variance.
        error : ndarray, shape (H,), or None
            Relative error of sigma that the output does not reveal; None if the conditioning covers it in every unit.
        """
        p = self.base.problem
        used = np.ones(self.values.shape, bool) if self.component is not NETWORK else (self.values > 0) & (base.y > 0)
        slope = np.where(used, p.gamma * base.xhat, 0.0)
        squares = np.einsum("nh,nh->h", slope, slope)
        known = squares > 0
        squares = np.where(known, squares, 1.0)
        ratio = np.einsum("nh,nh->h", slope, np.where(used, self.values - p.beta, 0.0)) / squares
        deviation = np.where(known, np.abs(ratio - 1), 0.0)
        u, kappa = self.precision.roundoff_factor * UNIT_ROUNDOFF, base.kappa
        noise = np.abs(p.gamma) * (kappa + base.abs_xhat) + np.abs(p.beta)
        fit_error = np.sqrt(np.einsum("nh,nh->h", noise * noise, slope * slope))
        fit_error += np.abs(p.gamma) * kappa * np.abs(slope.sum(axis=0))
        fit_error = np.where(known, FIT_FACTOR * u * fit_error / squares, np.inf)
        covered = NEGLIGIBLE_FRACTION * u * (4 + p.N) * (1 + kappa)
        mean = p.X.mean(axis=0) @ p.W + p.b
        squares_of_h = (2 * mean * mean + (base.h_centered * base.h_centered).mean(axis=0)) / (base.sigma * base.sigma)
        single_pass = self._two_pass_error(base) + u * (8 + p.N) * squares_of_h
        explained = np.minimum(single_pass, MAX_SINGLE_PASS_ERROR)
        # The variance of one sample is 0 in any order of operations. Beyond the limit a single pass returns anything.
        limit = np.where(single_pass > MAX_SINGLE_PASS_ERROR, np.inf, explained) if p.N > 1 else np.zeros_like(kappa)
        unknown = np.minimum(fit_error, limit)
        error = np.where(unknown > covered, unknown, 0.0) if (unknown > covered).any() else None
        negligible = np.maximum(fit_error, covered)
        if (deviation <= negligible).all() or not (deviation <= np.maximum(explained, negligible)).all():
            return None, error
        return base.sigma / np.where(deviation > negligible, ratio, 1.0), error


def recognize(
    pair_output: PairOutput,
    base: BasePoint,
    precision: Precision,
    known: EpsKnowledge,
    run: Callable[[Problem], PairOutput],
) -> Recognized | None:
    """Recognize the batch norm that a forward function computes from its output on a problem.

    Parameters
    ----------
    pair_output : PairOutput
        The output of batch norm or of the network.
    base : BasePoint
        The reference forward pass on the same problem.
    precision : Precision
        The arithmetic of the function.
    known : EpsKnowledge
        What is known from earlier problems; updated.
    run : callable
        Runs the function on another problem. A constant eps must also explain the output on a problem whose variance
        is about that eps, which distinguishes it from no eps and from other formulas.

    Returns
    -------
    Recognized or None
        None if it computes something else.
    """
    output = _finite_output(pair_output, base, precision)
    if output is None:
        return Recognized()  # its values are judged as they are
    with np.errstate(all="ignore"):
        if known.fixed is not None:
            return output.recognized(known.fixed)
        recognized = output.recognized(output.base.problem.bn_eps)
        if recognized is not None:
            known.outputs.append(output)
            return recognized
        for eps in dict.fromkeys((*COMMON_EPS, *_infer_eps(output))):
            recognized = output.recognized(eps)
            if recognized is not None and _is_confirmed(eps, output, known, run):
                known.fixed = eps
                return recognized
    return None


def _finite_output(pair_output: PairOutput, base: BasePoint, precision: Precision) -> _Output | None:
    """Return an output as float64; None if it is not finite or does not have the expected shape."""
    values, defect = as_float64("out", pair_output.output, base.problem.dout.shape)
    if defect or not np.isfinite(values).all():
        return None
    return _Output(values, pair_output.component, precision, base)


def _is_confirmed(eps: float, output: _Output, known: EpsKnowledge, run: Callable[[Problem], PairOutput]) -> bool:
    """Return whether an eps explains the outputs on earlier problems, and on one whose variance is about that eps."""
    if any(earlier.recognized(eps) is None for earlier in known.outputs):
        return False
    p = output.base.problem
    decisive = random_problem(max(p.N, MIN_DECISIVE_N), p.D, p.H, bn_eps=UNUSED_EPS, x_std=eps**0.5)
    try:
        pair_output = run(decisive)
    except TargetError:  # the code may reject that problem
        return False
    other = _finite_output(pair_output, BasePoint.from_problem(decisive, output.component), output.precision)
    return other is not None and other.recognized(eps) is not None


def _infer_eps(output: _Output) -> list[float]:
    """Return the eps that follows from the output, rounded to one and to two digits, because constants are round.

    The output gamma (h - mu) / sigma' + beta determines sigma', and eps = sigma'^2 - var.
    """
    p, base = output.base.problem, output.base
    if p.N == 1:
        return []
    var: FloatArray = (base.h_centered * base.h_centered).mean(axis=0)
    sigma = p.gamma * base.h_centered / (output.values - p.beta)
    eps = np.where(output.values != 0, sigma * sigma - var, np.nan)
    # The entry with a small var and a large |h - mu| determines eps with the smallest error.
    error = np.where(np.isfinite(eps), var * (1 + np.abs(p.beta / (p.gamma * base.h_centered))), np.inf)
    guess = float(eps.flat[int(np.argmin(error))])
    if not MIN_INFERRED_EPS <= guess <= MAX_INFERRED_EPS:
        return []
    return [float(f"{guess:.0e}"), float(f"{guess:.1e}")]
