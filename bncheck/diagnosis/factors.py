"""Factors by which an array, or a term of it, differs from the correct value, and names for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from bncheck.diagnosis.discrepancy import Discrepancy, all_discrepancies
from bncheck.diagnosis.evidence import Evidence, norm
from bncheck.mistakes.pass_values import PassValues
from bncheck.model.problem import FloatArray

# A factor explains an array if it leaves at most this fraction of the error. A factor near 1 leaves almost nothing of
# the array itself, for any error.
MAX_UNEXPLAINED_ERROR = 0.05
# A factor that differs from 1 by less than this is written as 1 + difference.
MAX_SMALL_DIFFERENCE = 1e-3
# A factor N/c is attributed to a batch size c in the code only up to this c.
MAX_HARD_CODED_SIZE = 1e5


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """A factor of an array or of a term."""

    values: FloatArray  # (H,), or (1,) if it is common to all units
    error: FloatArray  # the same shape, upper bound on the error that rounding causes

    @property
    def number(self) -> float | None:
        """The factor without the digits that rounding made; None if it differs between units."""
        return float(f"{self.values[0]:.10g}") if self.is_constant else None

    @property
    def is_constant(self) -> bool:
        """Whether the factor is the same in every unit."""
        return self.agrees(self)

    def equals(self, number: float) -> bool:
        """Return whether the factor is this number in every unit."""
        return bool((np.abs(self.values - number) <= self.error).all())

    def agrees(self, other: "Factor") -> bool:
        """Return whether every value is, within both errors, the first value of another factor."""
        return bool((np.abs(self.values - other.values[0]) <= self.error + other.error[0]).all())

    def divided_by(self, divisor: FloatArray | float) -> "Factor":
        """Return the quotient with a number, or with a vector (H,)."""
        return Factor(self.values / divisor, self.error / np.abs(divisor))


def find_factor(evidence: Evidence, name: str, primary: Discrepancy) -> str:
    """Name the factor by which an array is wrong.

    Parameters
    ----------
    evidence : Evidence
        The problems.
    name : str
        A wrong array.
    primary : Discrepancy
        The array on the problem that is reported.

    Returns
    -------
    str
        Such as "2", "N/H" or "1/gamma"; empty if no factor gives the array on every problem on which it is wrong.
    """
    factor = _fit_factor(primary)
    if factor is None or factor.equals(1.0):
        return ""
    others = [] if primary.region else all_discrepancies(evidence, name)
    others = [d for d in others if d.correct is not primary.correct and d.expected.any()]
    factors = [factor, *(fit for d in others if (fit := _fit_factor(d)))]
    return "" if len(factors) <= len(others) else common_name(factors, [d.correct for d in (primary, *others)])


def _fit_factor(d: Discrepancy) -> Factor | None:
    """Return the factor of each unit, or of all, that gives the returned array; None if there is none."""
    scale = np.abs(d.expected).max() or 1.0
    arrays = d.returned / scale, d.expected / scale, d.rounding / scale
    by_unit = not d.region and d.expected.shape[-1:] == (d.correct.H,) and np.atleast_2d(d.expected).any(axis=0).all()
    returned, expected, rounding = (np.atleast_2d(a) if by_unit else a.reshape(-1, 1) for a in arrays)
    squares = (expected * expected).sum(axis=0)
    k = (returned * expected).sum(axis=0) / squares
    residual = returned - k * expected
    if not norm(residual) <= min(d.max_residual * norm(returned), MAX_UNEXPLAINED_ERROR * norm(returned - expected)):
        return None
    error = (np.sqrt((residual * residual).sum(axis=0)) + np.sqrt((rounding * rounding).sum(axis=0))) / np.sqrt(squares)
    return Factor(k, np.minimum(error, d.max_residual * np.abs(k)))


def common_name(factors: Sequence[Factor], passes: Sequence[PassValues]) -> str:
    """Name a factor: a number, a quotient of sizes, or either times gamma, sigma, ...

    A quotient of sizes is established only if it differs between the problems and the factor differs with it:
    (N - 1)/H is 1.5 for N = 7 and H = 4, and so is 1.5.

    Parameters
    ----------
    factors : sequence of Factor
        The factor on each problem.
    passes : sequence of PassValues
        The correct values of each problem.

    Returns
    -------
    str
        A name that is correct on every problem; empty if there is none.
    """
    vectors = [_unit_vectors(w, len(f.values)) for f, w in zip(factors, passes, strict=True)]
    for name in vectors[0]:
        if all(name in others for others in vectors):
            constants = [f.divided_by(v[name]) for f, v in zip(factors, vectors, strict=True)]
            constant = _constant_name(constants, passes) if all(f.is_constant for f in constants) else ""
            if constant:
                return _product(constant, name)
    return ""


def _constant_name(factors: Sequence[Factor], passes: Sequence[PassValues]) -> str:
    """Name a factor that is the same in every unit; empty if its value differs between the problems without a rule."""
    for name, quotients in _size_quotients(passes):
        if all(f.equals(quotient) for f, quotient in zip(factors, quotients, strict=True)):
            return name
    for size in ("N", "D", "H"):
        constant = _hard_coded_size(factors, [float(getattr(w, size)) for w in passes])
        if constant:
            return f"{size}/{constant}"
    first = factors[0]
    return _format_number(first) if all(f.agrees(first) for f in factors[1:]) else ""


def _hard_coded_size(factors: Sequence[Factor], sizes: Sequence[float]) -> int:
    """Return the integer c with which every factor is size / c, if the sizes differ; 0 if there is none."""
    if len(set(sizes)) < 2:
        return 0
    quotients = [f.divided_by(size) for f, size in zip(factors, sizes, strict=True)]
    first = float(quotients[0].values[0])
    constant = round(1 / first) if abs(first) > 1 / MAX_HARD_CODED_SIZE else 0
    return constant if constant > 1 and all(f.equals(1 / constant) for f in quotients) else 0


def _size_quotients(passes: Sequence[PassValues]) -> Iterator[tuple[str, list[float]]]:
    """Yield the name and the values of quotients of sizes that can be distinguished from a number."""
    sizes = [{"1": 1, "N": w.N, "(N - 1)": w.N - 1, "D": w.D, "H": w.H, "2": 2} for w in passes]
    for q, p in product(sizes[0], repeat=2):
        if p == q != "1" or not all(size[q] and size[p] for size in sizes):
            continue
        values = [size[p] / size[q] for size in sizes]
        if {p, q} <= {"1", "2"} or len(set(values)) > 1:
            name = p if q == "1" else f"{p}/{q}"
            yield name, values
            yield f"-{name}", [-value for value in values]


def _unit_vectors(w: PassValues, length: int) -> dict[str, FloatArray]:
    """Return the vectors (H,) that a factor of this length may contain, and 1."""
    known = {"gamma": w.gamma, "sigma": w.sigma, "sigma^2": w.sigma**2, "var": w.var, "beta": w.beta, "mu": w.mu}
    known |= {f"1/{name}": 1 / v for name, v in known.items()}
    usable = {name: v for name, v in known.items() if v.shape == w.gamma.shape and np.isfinite(v).all() and v.all()}
    return {"": np.ones(1), **(usable if length == w.H > 1 else {})}


def _format_number(factor: Factor) -> str:
    """Format a constant factor; one that differs from 1 by more than its error is never formatted as 1."""
    k = float(factor.values[0])
    if abs(k - 1) <= factor.error[0]:
        return "1"
    return f"1 {'+' if k > 1 else '-'} {abs(k - 1):.0e}" if abs(k - 1) < MAX_SMALL_DIFFERENCE else f"{k:.4g}"


def _product(constant: str, vector: str) -> str:
    if vector.startswith("1/") and "/" not in constant:
        return f"{constant}/{vector[2:]}"
    return vector if constant == "1" and vector else f"{constant} {vector}".strip()
