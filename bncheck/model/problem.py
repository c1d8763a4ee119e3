"""A problem: the arrays that a check runs on, and the random ones that ``run`` draws."""

import math
import numbers
import os
import reprlib
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bncheck.errors import InvalidInput
from bncheck.model import network

FloatArray: TypeAlias = npt.NDArray[np.float64]

# Peak memory of a whole check in float64 arrays of the size of X (or dX), W and h: the arrays
# themselves, the analytic and the numerical gradient, its bars and what they are computed from.
# Measured with tracemalloc over lopsided shapes, rounded up (tests/test_problem.py holds it).
ARRAYS_LIKE_X, ARRAYS_LIKE_W, ARRAYS_LIKE_H = 15, 17, 20

# Values of eps that code commonly hard-codes; 2^-52 is the machine epsilon of float64, 2^-23 that of float32.
COMMON_EPS = (1e-5, 1e-8, 1e-6, 1e-7, 1e-3, 2.0**-52, 2.0**-23, 1e-4, 1e-2, 0.1, 1e-9, 1e-10, 1e-12, 1e-15, 1e-16)

# The least var + eps whose square root, cubes and quotients stay clear of float64's denormals.
LEAST_VARIANCE = 1e-200
# The largest magnitude of an entry, and of the terms of h = XW + b: their squares and sums of these stay in float64.
MAX_MAGNITUDE = 1e150
# The largest bn_eps, on the side of LEAST_VARIANCE: so sigma is between 1e-100 and 1e100 in a problem of moderate h.
MAX_BN_EPS = 1e200


@dataclass(frozen=True, slots=True)
class Problem:
    """The inputs, parameters and upstream gradient of one check; the arrays are read-only."""

    X: FloatArray  # (N,D) the batch
    W: FloatArray  # (D,H) the weights
    b: FloatArray  # (H,) the bias
    gamma: FloatArray  # (H,) batch norm's scale ...
    beta: FloatArray  # (H,) ... and shift
    dout: FloatArray  # (N,H) the upstream gradient dL/da of the loss L = sum(dout * a)
    bn_eps: float  # the constant inside batch norm's square root
    seed: int | None = None  # what random_problem drew it from; None for a problem made by hand
    x_mean: float | None = None  # what X was drawn with, likewise
    x_std: float | None = None

    def __post_init__(self) -> None:
        """Make the arrays float64 and read-only, and refuse shapes and values that no check can use."""
        for name in ("X", "W", "b", "gamma", "beta", "dout"):
            array = _as_real(name, getattr(self, name))
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.X.ndim != 2 or self.W.ndim != 2:
            raise InvalidInput(f"X has shape {self.X.shape} and W {self.W.shape}; they must be (N, D) and (D, H)")
        (N, D), H = self.X.shape, self.W.shape[1]
        expected = {"W": (D, H), "b": (H,), "gamma": (H,), "beta": (H,), "dout": (N, H)}
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise InvalidInput(
                    f"{name} has shape {found}; with X {self.X.shape} and W {self.W.shape} it must be {shape}"
                )
        _require_sizes(N, D, H)
        require_bn_eps(self.bn_eps, N)
        object.__setattr__(self, "bn_eps", float(self.bn_eps))
        for name in ("X", *expected):
            _require_range(name, getattr(self, name))
        _require_representable(self.X, self.W, self.b, self.bn_eps)

    @property
    def N(self) -> int:  # noqa: N802 - the field's name for the batch size
        """The batch size."""
        return len(self.X)

    @property
    def D(self) -> int:  # noqa: N802 - the field's name for the number of input features
        """The number of input features."""
        return len(self.X.T)

    @property
    def H(self) -> int:  # noqa: N802 - the field's name for the number of hidden units
        """The number of hidden units."""
        return len(self.W.T)

    def with_eps(self, bn_eps: float) -> "Problem":
        """Return the problem with another bn_eps; a random one is drawn anew, so that no unit is dead."""
        if self.seed is None or self.x_mean is None or self.x_std is None:
            return replace(self, bn_eps=bn_eps)
        settings = {"bn_eps": bn_eps, "x_mean": self.x_mean, "x_std": self.x_std}
        return random_problem(self.N, self.D, self.H, seed=self.seed, **settings)


def random_problem(
    N: int, D: int, H: int, *, seed: int = 0, bn_eps: float = 1e-5, x_mean: float = 0.0, x_std: float = 1.0
) -> Problem:
    """Draw a problem in which no unit is dead.

    X ~ x_mean + x_std * normal, W ~ normal / sqrt(D), b ~ x_std * normal,
    gamma = sign(z) (0.5 + |z|), beta = 0.5 gamma z', dout ~ normal, drawn in the order X, W, b,
    z, z', dout. Where a unit would be 0 for the whole batch (its gradients are then 0 whatever
    the backward pass does) the signs of its gamma and beta are flipped.

    Parameters
    ----------
    N, D, H : int
        Batch size, input features, hidden units; each at least 1.
    seed : int, default 0
        For ``numpy.random.default_rng``.
    bn_eps : float, default 1e-5
        The constant inside batch norm's square root, not negative.
    x_mean, x_std : float, default 0 and 1
        Mean and standard deviation of X; x_std is positive.

    Returns
    -------
    Problem

    Raises
    ------
    InvalidInput
        A value is out of its range, the problem does not fit into memory (refused before
        anything is allocated), or float64 cannot hold its variances.
    """
    require_settings(N, D, H, seed=seed, bn_eps=bn_eps, x_mean=x_mean, x_std=x_std)
    _require_memory(N, D, H)
    rng = np.random.default_rng(seed)
    with np.errstate(over="ignore", invalid="ignore"):  # told in words by _require_representable
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
    """Refuse what no random problem can be drawn with.

    Raises
    ------
    InvalidInput
    """
    _require_sizes(N, D, H)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InvalidInput(f"seed is {seed!r}; it must be a whole number, 0 or larger")
    require_bn_eps(bn_eps, N)
    if not math.isfinite(x_mean):
        raise InvalidInput(f"x_mean is {x_mean}; it must be a finite number")
    if not (math.isfinite(x_std) and x_std > 0):
        raise InvalidInput(f"x_std is {x_std}; it must be a finite number above 0")


def require_bn_eps(bn_eps: float, N: int) -> None:
    """Refuse a bn_eps that is negative, too large or not a number, and 0 where the variance is 0.

    Raises
    ------
    InvalidInput
    """
    try:
        is_usable = isinstance(bn_eps, numbers.Real) and 0 <= float(bn_eps) <= MAX_BN_EPS
    except OverflowError:  # an integer beyond float64
        is_usable = False
    if not is_usable:
        raise InvalidInput(f"bn_eps is {bn_eps!r}; it must be a number from 0 to {MAX_BN_EPS:.0e}, such as 1e-5")
    if N == 1 and bn_eps < LEAST_VARIANCE:
        raise InvalidInput(
            f"bn_eps is {bn_eps} with N = 1, where the variance is 0: "
            "batch norm would divide by 0; take a larger bn_eps, such as 1e-5, or N = 2 or more"
        )


def _require_sizes(N: int, D: int, H: int) -> None:
    for name, size in (("N", N), ("D", D), ("H", H)):
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise InvalidInput(f"{name} is {size!r}; it must be a whole number, 1 or larger")


def _require_memory(N: int, D: int, H: int) -> None:
    needed = memory_of_a_check(N, D, H)
    present = _physical_memory()
    if needed > present:
        raise InvalidInput(
            f"N = {N}, D = {D}, H = {H} needs about {_in_bytes(needed)} of memory and this machine "
            f"has {_in_bytes(present)}; take smaller sizes"
        )


def memory_of_a_check(N: int, D: int, H: int) -> int:
    """Return about how many bytes a check of these sizes takes at its peak."""
    return 8 * (ARRAYS_LIKE_X * N * D + ARRAYS_LIKE_W * D * H + ARRAYS_LIKE_H * N * H)


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**34  # a system that does not tell (Windows): 16 GiB, a usual size


def _in_bytes(count: int) -> str:
    """Write a number of bytes with its unit: 41.2 GB; beyond terabytes as a power of ten."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            amount = count / size
            return f"{amount:,.1f} {unit}" if amount < 1e5 else f"{amount:.1e} {unit}"
    return f"{count:,} bytes"


def _as_real(name: str, values: Any) -> FloatArray:
    """Return a float64 view of what a user gave as an array of real numbers."""
    advice = f"pass {name} as a NumPy array of real numbers, such as float64"
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors that refuse to be converted
        kind = type(values).__name__
        raise InvalidInput(f"{name} is of type {kind}, which NumPy cannot convert ({error}); {advice}") from None
    if array.dtype.kind not in "biuf":
        first = f" and holds {reprlib.repr(array.flat[0])}" if array.size else ""
        raise InvalidInput(f"{name} has dtype {array.dtype}{first}; {advice}")
    with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinite, and is refused for it
        return np.ascontiguousarray(array, dtype=np.float64).view()


def _require_range(name: str, array: FloatArray) -> None:
    if _norm(array) <= MAX_MAGNITUDE:
        return
    outside = np.argwhere(~(np.abs(array) <= MAX_MAGNITUDE))
    if len(outside):
        index = tuple(int(i) for i in outside[0])
        raise InvalidInput(
            f"{name}[{', '.join(map(str, index))}] is {array[index]}; every entry must be finite and at most "
            f"{MAX_MAGNITUDE:.0e} in magnitude: replace the entry, or rescale {name}"
        )


def _norm(array: FloatArray) -> float:
    """Return the Euclidean norm, which bounds every entry; a BLAS call, as it is asked for at every construction."""
    return math.sqrt(np.vdot(array, array))


def _require_representable(X: FloatArray, W: FloatArray, b: FloatArray, bn_eps: float) -> None:
    """Refuse a pre-activation whose square, or a variance whose quotients, float64 cannot represent."""
    if not _norm(X) * _norm(W) + _norm(b) < MAX_MAGNITUDE:  # the bound by Cauchy and Schwarz, which spares a product
        with np.errstate(over="ignore", invalid="ignore"):
            scale = (np.abs(X) @ np.abs(W) + np.abs(b)).max()
        if not scale < MAX_MAGNITUDE:
            raise InvalidInput(
                f"the terms of the pre-activation XW + b reach {scale:.1e}, whose square float64 cannot hold; "
                "take smaller X, W and b, or a smaller x_std or x_mean"
            )
    if bn_eps >= LEAST_VARIANCE:
        return
    h = X @ W + b
    var = np.square(h - h.mean(axis=0)).mean(axis=0).min() + bn_eps
    if not var >= LEAST_VARIANCE:
        raise InvalidInput(
            f"a unit has var + eps = {var:.1e}, too small to divide by; "
            "take a larger bn_eps, such as 1e-5, a larger x_std, or an x_mean nearer to 0"
        )
