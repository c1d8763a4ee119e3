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
# bn_eps of the decisive problem, which shows whether code ignores eps; no code has this constant.
UNUSED_EPS = 0.37
# Smallest N of the decisive problem. With one sample eps has no effect, and with few samples the variance may be far
# from the eps that is tested by chance; 7 is chosen, not measured.
MIN_DECISIVE_N = 7
# A relative error of sigma below this fraction of the relative conditioning of dx, u (4 + N) (1 + kappa), is ignored:
# the gradients are then measured with the sigma of the reference.
NEGLIGIBLE_FRACTION = 1 / 8
# Error of a fitted sigma in multiples of the root of the sum of its squared roundings: four standard deviations of
# independent roundings, or more.
FIT_FACTOR = 4.0
# Largest relative error of sigma that is attributed to the rounding of a single-pass variance, E[h^2] - E[h]^2, with an
# error of u E[h^2] times the length of its sums. A two-pass variance is mean((h - mu)^2).
MAX_SINGLE_PASS_ERROR = 0.1


@dataclass(frozen=True, slots=True)
class Recognized:
    """The batch norm that a forward function computes."""

    eps: float | None = None  # a constant; None: the eps of the problem
    # (H,), sigma'^2 - var of each unit if its sigma' is rounded differently; None: sigma is accurate
    eps_by_unit: FloatArray | None = None
    is_single_pass: bool = False  # ``eps_by_unit`` differs by more than the rounding of a two-pass variance
    # (H,), relative error that sigma may have although the output matches, because the rounding of the output hides it;
    # None: negligible in every unit
    sigma_error: FloatArray | None = None


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
            eps_by_unit: FloatArray = sigma * sigma - (base.sigma * base.sigma - eps)
            if self._matches(BasePoint.from_problem(self.base.problem, self.component, eps_by_unit)):
                two_pass_error = 2 * self._two_pass_error(base) * base.sigma * base.sigma
                is_single_pass = bool((np.abs(eps_by_unit - eps) > two_pass_error).any())
                return Recognized(fixed, eps_by_unit, is_single_pass, error)
        return Recognized(fixed, sigma_error=error) if self._matches(base) else None

    def _matches(self, base: BasePoint) -> bool:
        """Return whether the output is that of a base point, up to rounding."""
        expected = np.maximum(base.y, 0.0) if self.component is NETWORK else base.y
        factor = self.precision.roundoff_factor
        bound = factor * output_bound(base, factor)
        return bool((np.abs(self.values - expected) <= bound).all())

    def _two_pass_error(self, base: BasePoint) -> FloatArray:
        """Bound the relative rounding error of the sigma of a two-pass variance, (H,)."""
        p, u = self.base.problem, self.precision.roundoff_factor * UNIT_ROUNDOFF
        bound: FloatArray = u * (8 + p.N + p.D) * (1 + base.kappa)
        return bound

    def _fit_sigma(self, base: BasePoint) -> tuple[FloatArray | None, FloatArray | None]:
        """Fit sigma of each unit by least squares of out - beta on gamma xhat.

        The slope of the fit is sigma / sigma', because out - beta = gamma (h - mu) / sigma'.

        Returns
        -------
        sigma : ndarray, shape (H,), or None
            None if no unit differs from the reference by more than the error of the fit and the conditioning of the
            gradients, or if some unit differs by more than the rounding of a single-pass variance.
        error : ndarray, shape (H,), or None
            ``Recognized.sigma_error``.
        """
        p = self.base.problem
        used = np.ones(self.values.shape, bool) if self.component is not NETWORK else (self.values > 0) & (base.y > 0)
        regressor = np.where(used, p.gamma * base.xhat, 0.0)
        squares = np.einsum("nh,nh->h", regressor, regressor)
        is_determined = squares > 0  # otherwise the unit has no used output with xhat != 0
        squares = np.where(is_determined, squares, 1.0)
        ratio = np.einsum("nh,nh->h", regressor, np.where(used, self.values - p.beta, 0.0)) / squares
        sigma_error = np.where(is_determined, np.abs(ratio - 1), 0.0)  # relative, as fitted
        u, kappa = self.precision.roundoff_factor * UNIT_ROUNDOFF, base.kappa
        out_error = np.abs(p.gamma) * (kappa + base.abs_xhat) + np.abs(p.beta)  # rounding of each output, in u
        fit_error = np.sqrt(np.einsum("nh,nh->h", out_error * out_error, regressor * regressor))
        fit_error += np.abs(p.gamma) * kappa * np.abs(regressor.sum(axis=0))
        fit_error = np.where(is_determined, FIT_FACTOR * u * fit_error / squares, np.inf)
        covered_error = NEGLIGIBLE_FRACTION * u * (4 + p.N) * (1 + kappa)
        mean = p.X.mean(axis=0) @ p.W + p.b
        squares_of_h = (2 * mean * mean + (base.h_centered * base.h_centered).mean(axis=0)) / (base.sigma * base.sigma)
        single_pass_error = self._two_pass_error(base) + u * (8 + p.N) * squares_of_h
        # The variance of one sample is 0 in any order of operations. Beyond MAX_SINGLE_PASS_ERROR a single-pass
        # variance may have any value.
        max_error = np.where(single_pass_error > MAX_SINGLE_PASS_ERROR, np.inf, single_pass_error)
        hidden_error = np.minimum(fit_error, max_error if p.N > 1 else 0.0)
        error = np.where(hidden_error > covered_error, hidden_error, 0.0)
        negligible_error = np.maximum(fit_error, covered_error)
        max_accepted = np.maximum(np.minimum(single_pass_error, MAX_SINGLE_PASS_ERROR), negligible_error)
        if (sigma_error <= negligible_error).all() or not (sigma_error <= max_accepted).all():
            return None, error if error.any() else None
        return base.sigma / np.where(sigma_error > negligible_error, ratio, 1.0), error if error.any() else None


def recognize(
    pair_output: PairOutput,
    base: BasePoint,
    precision: Precision,
    knowledge: EpsKnowledge,
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
    knowledge : EpsKnowledge
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
        return Recognized()  # nothing can be recognized: the output is compared with batch norm as it is
    with np.errstate(all="ignore"):
        if knowledge.fixed is not None:
            return output.recognized(knowledge.fixed)
        recognized = output.recognized(output.base.problem.bn_eps)
        if recognized is not None:
            knowledge.outputs.append(output)
            return recognized
        for eps in dict.fromkeys((*COMMON_EPS, *_infer_eps(output))):
            recognized = output.recognized(eps)
            if recognized is not None and _is_confirmed(eps, output, knowledge, run):
                knowledge.fixed = eps
                return recognized
    return None


def _finite_output(pair_output: PairOutput, base: BasePoint, precision: Precision) -> _Output | None:
    """Return an output as float64; None if it is not finite or does not have the expected shape."""
    values, defect = as_float64("out", pair_output.output, base.problem.dout.shape)
    if defect or not np.isfinite(values).all():
        return None
    return _Output(values, pair_output.component, precision, base)


def _is_confirmed(eps: float, output: _Output, knowledge: EpsKnowledge, run: Callable[[Problem], PairOutput]) -> bool:
    """Return whether an eps explains the outputs on earlier problems, and on one whose variance is about that eps."""
    if any(earlier.recognized(eps) is None for earlier in knowledge.outputs):
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
    # A relative error u of out is one of u |out / (out - beta)| <= u (1 + |beta sigma' / (gamma (h - mu))|) in sigma',
    # and twice that in sigma'^2 = var + eps. To rank the entries, sigma' is taken as 1 and sigma'^2 as var.
    error = np.where(np.isfinite(eps), var * (1 + np.abs(p.beta / (p.gamma * base.h_centered))), np.inf)
    guess = float(eps.flat[int(np.argmin(error))])
    if not MIN_INFERRED_EPS <= guess <= MAX_INFERRED_EPS:
        return []
    return [float(f"{guess:.0e}"), float(f"{guess:.1e}")]
