"""The arrays of one check, and random ones."""

import math
import numbers
import reprlib
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bncheck.errors import InvalidInput
from bncheck.model import network
from bncheck.model.memory import require_memory

FloatArray: TypeAlias = npt.NDArray[np.float64]

# Values of eps that are commonly hard-coded; 2^-52 is the machine epsilon of float64, 2^-23 that of float32.
COMMON_EPS = (1e-5, 1e-8, 1e-6, 1e-7, 1e-3, 2.0**-52, 2.0**-23, 1e-4, 1e-2, 0.1, 1e-9, 1e-10, 1e-12, 1e-15, 1e-16)

# Smallest var + eps for which sigma, its cube and quotients by them stay clear of float64's subnormal numbers.
MIN_VARIANCE = 1e-200
# Largest magnitude of an entry, and of the terms of h = XW + b: their squares, and sums of these, do not overflow.
MAX_MAGNITUDE = 1e150
# Largest integer setting: NumPy recommends seeds of 128 bits, and float64 represents the size of such an array.
MAX_INTEGER = 2**128
# Largest bn_eps. With MIN_VARIANCE it keeps sigma between 1e-100 and 1e100 if h is moderate.
MAX_BN_EPS = 1e200


@dataclass(frozen=True, slots=True)
class Problem:
    """The inputs, parameters and upstream gradient of one check; the arrays are read-only."""

    X: FloatArray  # (N, D), the batch
    W: FloatArray  # (D, H), the weights
    b: FloatArray  # (H,), the bias
    gamma: FloatArray  # (H,), the scale of batch norm
    beta: FloatArray  # (H,), the shift of batch norm
    dout: FloatArray  # (N, H), the upstream gradient dL/da of the loss L = sum(dout * a)
    bn_eps: float  # constant added to the variance
    seed: int | None = None  # seed of ``random_problem``; None for a problem from the user's arrays
    x_mean: float | None = None  # mean of the distribution of X; None for a problem from the user's arrays
    x_std: float | None = None  # standard deviation of the distribution of X; None as for x_mean

    def __post_init__(self) -> None:
        """Convert the arrays to read-only float64 and check that their shapes agree."""
        for name in ("X", "W", "b", "gamma", "beta", "dout"):
            array = _as_real(name, getattr(self, name))
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.X.ndim != 2 or self.W.ndim != 2:
            raise InvalidInput(f"X must have shape (N, D) and W (D, H), got {self.X.shape} and {self.W.shape}")
        (N, D), H = self.X.shape, self.W.shape[1]
        expected = {"W": (D, H), "b": (H,), "gamma": (H,), "beta": (H,), "dout": (N, H)}
        for name, shape in expected.items():
            actual = getattr(self, name).shape
            if actual != shape:
                raise InvalidInput(
                    f"{name} must have shape {shape}, since X has {self.X.shape} and W {self.W.shape}, got {actual}"
                )
        _require_sizes(N, D, H)
        require_bn_eps(self.bn_eps, N)
        object.__setattr__(self, "bn_eps", float(self.bn_eps))
        for name in ("X", *expected):
            _require_range(name, getattr(self, name))
        _require_representable(self.X, self.W, self.b, self.bn_eps)

    @property
    def N(self) -> int:  # noqa: N802 - N is the standard symbol of the batch size
        """The number of samples in the batch."""
        return len(self.X)

    @property
    def D(self) -> int:  # noqa: N802 - D is the standard symbol of the input dimension
        """The number of input features."""
        return len(self.X.T)

    @property
    def H(self) -> int:  # noqa: N802 - H is the standard symbol of the hidden dimension
        """The number of hidden units."""
        return len(self.W.T)

    def with_eps(self, bn_eps: float) -> "Problem":
        """Return the problem with another bn_eps; a random problem is drawn again, so that no unit is dead."""
        if self.seed is None or self.x_mean is None or self.x_std is None:
            return replace(self, bn_eps=bn_eps)
        settings = {"bn_eps": bn_eps, "x_mean": self.x_mean, "x_std": self.x_std}
        return random_problem(self.N, self.D, self.H, seed=self.seed, **settings)


def random_problem(
    N: int, D: int, H: int, *, seed: int = 0, bn_eps: float = 1e-5, x_mean: float = 0.0, x_std: float = 1.0
) -> Problem:
    """Draw a problem in which no unit is dead.

    X ~ x_mean + x_std * normal, W ~ normal / sqrt(D), b ~ x_std * normal, gamma = sign(z) (0.5 + |z|),
    beta = 0.5 gamma z', dout ~ normal, drawn in the order X, W, b, z, z', dout. A unit whose output is 0 for the
    entire batch would have gradients of 0 regardless of the backward pass; the signs of its gamma and beta are
    flipped.

    Parameters
    ----------
    N, D, H : int
        Batch size, number of input features and of hidden units; each at least 1.
    seed : int, default 0
        Seed for ``numpy.random.default_rng``.
    bn_eps : float, default 1e-5
        Constant added to the variance, not negative.
    x_mean, x_std : float, default 0 and 1
        Mean and standard deviation of X; x_std is positive.

    Returns
    -------
    Problem

    Raises
    ------
    InvalidInput
        A value is out of its range, the problem does not fit into memory (reported before anything is allocated), or
        float64 cannot represent its variances.
    """
    require_settings(N, D, H, seed=seed, bn_eps=bn_eps, x_mean=x_mean, x_std=x_std)
    require_memory(N, D, H)
    rng = np.random.default_rng(seed)
    with np.errstate(over="ignore", invalid="ignore"):  # _require_representable reports an overflow
        X = x_mean + x_std * rng.standard_normal((N, D))
        W = rng.standard_normal((D, H)) / math.sqrt(D)
        b = x_std * rng.standard_normal(H)
        z = rng.standard_normal(H)
        gamma = np.copysign(0.5 + np.abs(z), z)
        beta = 0.5 * gamma * rng.standard_normal(H)
        dout = rng.standard_normal((N, H))
        _require_representable(X, W, b, bn_eps)
        a, _ = network.forward(X, W, b, gamma, beta, bn_eps)
    flip = np.where((a > 0).any(axis=0), 1.0, -1.0)
    return Problem(X, W, b, flip * gamma, flip * beta, dout, bn_eps, int(seed), float(x_mean), float(x_std))


def require_settings(N: int, D: int, H: int, *, seed: int, bn_eps: float, x_mean: float, x_std: float) -> None:
    """Check the settings of ``random_problem``.

    Raises
    ------
    InvalidInput
        A setting is out of its range.
    """
    _require_sizes(N, D, H)
    _require_integer("seed", seed, 0)
    require_bn_eps(bn_eps, N)
    if not is_finite_number(x_mean):
        raise InvalidInput(f"x_mean must be a finite number, got {reprlib.repr(x_mean)}")
    if not (is_finite_number(x_std) and x_std > 0):
        raise InvalidInput(f"x_std must be a positive finite number, got {reprlib.repr(x_std)}")


def require_bn_eps(bn_eps: float, N: int) -> None:
    """Check that batch norm of N samples can be computed with a bn_eps.

    Raises
    ------
    InvalidInput
        bn_eps is negative, too large or not a number, or 0 while N = 1, where the variance is 0.
    """
    if not (is_finite_number(bn_eps) and 0 <= float(bn_eps) <= MAX_BN_EPS):
        raise InvalidInput(
            f"bn_eps must be a number from 0 to {MAX_BN_EPS:.0e}, such as 1e-5, got {reprlib.repr(bn_eps)}"
        )
    if N == 1 and bn_eps < MIN_VARIANCE:
        raise InvalidInput(
            f"bn_eps must be at least {MIN_VARIANCE:.0e} if N = 1, because the variance is 0 and batch norm divides by "
            f"sqrt(var + eps), got {bn_eps}; use a larger bn_eps, such as 1e-5, or N = 2 or more"
        )


def _require_sizes(N: int, D: int, H: int) -> None:
    for name, size in (("N", N), ("D", D), ("H", H)):
        _require_integer(name, size, 1)


def _require_integer(name: str, value: object, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise InvalidInput(f"{name} must be an integer of at least {minimum}, got {reprlib.repr(value)}")
    if value > MAX_INTEGER:
        raise InvalidInput(f"{name} must be at most 2**128, got an integer of {int(value).bit_length()} bits")


def is_finite_number(value: object) -> bool:
    """Return whether a value is a real number that float64 can represent."""
    try:
        return isinstance(value, numbers.Real) and math.isfinite(value)
    except OverflowError:  # an integer beyond float64
        return False


def _as_real(name: str, values: Any) -> FloatArray:
    """Return the user's array of real numbers as float64."""
    advice = f"pass {name} as a NumPy array of real numbers, such as float64"
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, tensors that refuse to be converted
        kind = type(values).__name__
        raise InvalidInput(f"{name} has type {kind}, which NumPy cannot convert ({error}); {advice}") from None
    if array.dtype.kind not in "biuf":
        first = f" and contains {reprlib.repr(array.flat[0])}" if array.size else ""
        raise InvalidInput(f"{name} has dtype {array.dtype}{first}; {advice}")
    with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinite, which _require_range reports
        return np.ascontiguousarray(array, dtype=np.float64).view()


def _require_range(name: str, array: FloatArray) -> None:
    """Check that every entry is finite and at most ``MAX_MAGNITUDE`` in magnitude."""
    if _norm(array) <= MAX_MAGNITUDE:
        return
    outside = np.argwhere(~(np.abs(array) <= MAX_MAGNITUDE))
    if len(outside):
        index = tuple(int(i) for i in outside[0])
        raise InvalidInput(
            f"every entry of {name} must be finite and at most {MAX_MAGNITUDE:.0e} in magnitude, got "
            f"{name}[{', '.join(map(str, index))}] = {array[index]}; replace the entry, or rescale {name}"
        )


def _norm(array: FloatArray) -> float:
    """Return the Euclidean norm, which bounds every entry; one BLAS call, because every ``Problem`` computes it."""
    return math.sqrt(np.vdot(array, array))


def _require_representable(X: FloatArray, W: FloatArray, b: FloatArray, bn_eps: float) -> None:
    """Check that float64 can represent the squares of the pre-activation and quotients by the variances."""
    if not _norm(X) * _norm(W) + _norm(b) < MAX_MAGNITUDE:  # the Cauchy-Schwarz bound saves a matrix product
        with np.errstate(over="ignore", invalid="ignore"):
            scale = (np.abs(X) @ np.abs(W) + np.abs(b)).max()
        if not scale < MAX_MAGNITUDE:
            raise InvalidInput(
                f"the terms of the pre-activation XW + b reach {scale:.1e}, which overflows when squared; "
                "use smaller X, W and b, or a smaller x_std or x_mean"
            )
    if bn_eps >= MIN_VARIANCE:
        return
    h = X @ W + b
    var = np.square(h - h.mean(axis=0)).mean(axis=0).min() + bn_eps
    if not var >= MIN_VARIANCE:
        raise InvalidInput(
            f"a unit has var + eps = {var:.1e}, which is too small to divide by; "
            "use a larger bn_eps, such as 1e-5, a larger x_std, or an x_mean closer to 0"
        )
