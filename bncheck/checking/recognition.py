"""What a forward function computes, recognized from its output alone, before any gradient is looked at."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bncheck.checking.judge import as_float64
from bncheck.errors import TargetError
from bncheck.model.components import NETWORK, Component
from bncheck.model.precision import Precision
from bncheck.model.problem import COMMON_EPS, FloatArray, Problem, random_problem
from bncheck.model.results import PairOutput
from bncheck.numerical.basepoint import UNIT_ROUNDOFF, BasePoint
from bncheck.numerical.error_bounds import output_bound

# An eps below this cannot be solved for, and a larger one is not an eps: a scale that is constant for another
# reason would look like one.
MIN_SOLVED_EPS, MAX_SOLVED_EPS = 1e-14, 0.1 * (1 + 1e-6)
# The eps of a problem that is to show whether code takes notice of it: nobody fixes this one.
UNUSED_EPS = 0.37
# Samples that it has at least: a batch of one has no variance to show an eps by.
MIN_DECISIVE_N = 7
# The share of the conditioning of dx that a sigma may differ by before its own gradients are measured.
NEGLIGIBLE_SHARE = 1 / 8
# The error of a fitted sigma over that of a sum of independent rounding errors.
FIT_FACTOR = 4.0
# A variance E[x^2] - E[x]^2 errs by u E[x^2] times the length of its sums; no sigma that differs by more than this
# is rounding.
MAX_SINGLE_PASS_ERROR = 0.1


class Kind(enum.Enum):
    """What a forward function is."""

    REFERENCE = "the layer itself"
    FIXED_EPS = "batch norm with an eps of its own"
    OTHER = "something else"


@dataclass(frozen=True, slots=True)
class Recognized:
    """What a forward function computes."""

    kind: Kind
    eps: float | None = None  # of FIXED_EPS
    units: FloatArray | None = None  # eps by unit if its sigma rounds differently: sigma'^2 - var
    is_single_pass: bool = False  # these differ by more than the rounding of a variance around the mean
    sigma_error: FloatArray | None = None  # (H,) relative, what of sigma the output does not tell; None: nothing


@dataclass(slots=True)
class EpsKnowledge:
    """Which eps a forward function has, as far as the problems that were tried show: it must be the same on all."""

    fixed: float | None = None  # a constant of its own; None: the problem's, as far as is known
    outputs: "list[_Output]" = field(default_factory=list)  # that the problem's own eps gives


@dataclass(frozen=True, slots=True)
class _Output:
    """An output of a forward function, to be compared with batch norm's for several eps."""

    values: FloatArray
    problem: Problem
    piece: Component
    precision: Precision
    base: BasePoint = field(repr=False)

    def recognized(self, eps: float) -> Recognized | None:
        """Return what the output is if it is batch norm's with an eps: with its sigma, if that rounds differently."""
        base = self.base if eps == self.problem.bn_eps else BasePoint.from_problem(self.problem, self.piece, eps)
        kind, own = (Kind.REFERENCE, None) if eps == self.problem.bn_eps else (Kind.FIXED_EPS, eps)
        sigma, error = self._sigma(base)
        if sigma is not None:
            units: FloatArray = sigma * sigma - (base.sigma * base.sigma - eps)
            if self._fits(BasePoint.from_problem(self.problem, self.piece, units)):
                return Recognized(kind, own, units, self.is_single_pass(units, eps), error)
        return Recognized(kind, own, sigma_error=error) if self._fits(base) else None

    def _fits(self, base: BasePoint) -> bool:
        expected = np.maximum(base.y, 0.0) if self.piece is NETWORK else base.y
        factor = self.precision.roundoff_factor
        bound = factor * output_bound(base, factor)
        return bool((np.abs(self.values - expected) <= bound).all())

    def _sigma(self, base: BasePoint) -> tuple[FloatArray | None, FloatArray | None]:
        """Fit sigma by least squares of out - beta on gamma xhat, unit by unit; return it, and its relative error.

        The sigma is None if no unit's differs from the reference's by more than the fit's own error and what the
        conditioning of a gradient covers, or if some unit's differs by more than the rounding of a single-pass variance
        explains. The error is None if the conditioning covers it in every unit.
        """
        p = self.problem
        used = np.ones(self.values.shape, bool) if self.piece is not NETWORK else (self.values > 0) & (base.y > 0)
        slope = np.where(used, p.gamma * base.xhat, 0.0)
        squares = np.einsum("nh,nh->h", slope, slope)
        known = squares > 0
        squares = np.where(known, squares, 1.0)
        ratio = np.einsum("nh,nh->h", slope, np.where(used, self.values - p.beta, 0.0)) / squares
        deviation = np.where(known, np.abs(ratio - 1), 0.0)
        u, kappa = self.precision.roundoff_factor * UNIT_ROUNDOFF, base.kappa
        noise = np.abs(p.gamma) * (kappa + base.abs_xhat) + np.abs(p.beta)
        blur = np.sqrt(np.einsum("nh,nh->h", noise * noise, slope * slope))
        blur += np.abs(p.gamma) * kappa * np.abs(slope.sum(axis=0))
        blur = np.where(known, FIT_FACTOR * u * blur / squares, np.inf)
        covered = NEGLIGIBLE_SHARE * u * (4 + p.N) * (1 + kappa)
        mean = p.X.mean(axis=0) @ p.W + p.b
        squares_of_h = (2 * mean * mean + (base.h_centered * base.h_centered).mean(axis=0)) / (base.sigma * base.sigma)
        usual = u * (8 + p.N + p.D) * (1 + kappa)
        single_pass = usual + u * (8 + p.N) * squares_of_h
        explained = np.minimum(single_pass, MAX_SINGLE_PASS_ERROR)
        # With one sample the variance is 0 in any order of operations. Beyond the limit a single pass gives anything.
        hidden = np.where(single_pass > MAX_SINGLE_PASS_ERROR, np.inf, explained) if p.N > 1 else np.zeros_like(blur)
        unknown = np.minimum(blur, hidden)
        error = np.where(unknown > covered, unknown, 0.0) if (unknown > covered).any() else None
        unnoticed = np.maximum(blur, covered)
        if (deviation <= unnoticed).all() or not (deviation <= np.maximum(explained, unnoticed)).all():
            return None, error
        return base.sigma / np.where(deviation > unnoticed, ratio, 1.0), error

    def is_single_pass(self, units: FloatArray, eps: float) -> bool:
        """Tell whether eps by unit differ by more than the rounding of a variance that is taken around the mean."""
        p, base = self.problem, BasePoint.from_problem(self.problem, self.piece, eps)
        usual = self.precision.roundoff_factor * UNIT_ROUNDOFF * (8 + p.N + p.D) * (1 + base.kappa)
        return bool((np.abs(units - eps) > 2 * usual * base.sigma * base.sigma).any())


def recognize(
    answer: PairOutput, base: BasePoint, precision: Precision, known: EpsKnowledge, run: Callable[[Problem], PairOutput]
) -> Recognized:
    """Recognize what a forward function computes, from what it returned on a problem.

    Parameters
    ----------
    answer : Answer
        What the function returned: of batch norm or of the network.
    base : BasePoint
        The reference's forward pass on the same problem.
    precision : Precision
        The arithmetic that it computes in.
    known : EpsKnowledge
        What earlier problems showed of the same function; updated.
    run : callable
        Runs the function on another problem. An eps of its own must also give the output on a problem whose
        variance is about that eps, which tells it from no eps at all and from other formulas.

    Returns
    -------
    Recognized
    """
    problem = base.problem
    values, unusable = as_float64("out", answer.output, problem.dout.shape)
    if unusable or not np.isfinite(values).all():
        return Recognized(Kind.REFERENCE)  # judged as it is
    with np.errstate(all="ignore"):
        output = _Output(values, problem, answer.component, precision, base)
        if known.fixed is None:
            recognized = output.recognized(problem.bn_eps)
            if recognized is not None:
                known.outputs.append(output)
                return recognized
        candidates = (*COMMON_EPS, *_solved(output)) if known.fixed is None else (known.fixed,)
        for eps in dict.fromkeys(candidates):
            recognized = output.recognized(eps)
            if recognized is not None and (known.fixed is not None or _holds_elsewhere(eps, output, known, run)):
                known.fixed = eps
                return recognized
    return Recognized(Kind.OTHER)


def _holds_elsewhere(eps: float, output: _Output, known: EpsKnowledge, run: Callable[[Problem], PairOutput]) -> bool:
    """Tell whether an eps also gives the outputs on earlier problems, and on one whose variance is about that eps."""
    if any(earlier.recognized(eps) is None for earlier in known.outputs):
        return False
    p = output.problem
    decisive = random_problem(max(p.N, MIN_DECISIVE_N), p.D, p.H, bn_eps=UNUSED_EPS, x_std=eps**0.5)
    try:
        answer = run(decisive)
    except TargetError:  # such as a problem that its code refuses
        return False
    values, unusable = as_float64("out", answer.output, decisive.dout.shape)
    if unusable or not np.isfinite(values).all():
        return False
    base = BasePoint.from_problem(decisive, output.piece)
    return _Output(values, decisive, output.piece, output.precision, base).recognized(eps) is not None


def _solved(output: _Output) -> list[float]:
    """Return the eps that the output implies, with one and with two digits, since code fixes round numbers.

    sigma' follows from the output gamma (h - mu) / sigma' + beta, and eps = sigma'^2 - var.
    """
    p, base = output.problem, output.base
    if p.N == 1:
        return []
    var: npt.NDArray[np.float64] = (base.h_centered * base.h_centered).mean(axis=0)
    sigma = p.gamma * base.h_centered / (output.values - p.beta)
    eps = np.where(output.values != 0, sigma * sigma - var, np.nan)
    # Where var is smallest and |c| largest, eps is seen best.
    blur = np.where(np.isfinite(eps), var * (1 + np.abs(p.beta / (p.gamma * base.h_centered))), np.inf)
    guess = float(eps.flat[int(np.argmin(blur))])
    if not MIN_SOLVED_EPS <= guess <= MAX_SOLVED_EPS:
        return []
    return [float(f"{guess:.0e}"), float(f"{guess:.1e}")]
