"""The coefficients of the three terms of dx (direct, mean, variance) in a wrong gradient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bncheck.diagnosis.discrepancy import Discrepancy
from bncheck.diagnosis.evidence import Evidence, ProblemEvidence, has_wrong_shape_or_dtype, norm
from bncheck.diagnosis.factors import Factor, common_name
from bncheck.mistakes.pass_values import PassValues
from bncheck.model.diagnosis_records import Terms
from bncheck.model.problem import FloatArray

# Rows that a column needs so that three coefficients are determined.
MIN_ROWS = 5
# A term below this fraction of the largest one vanishes in its rounding and has no measurable coefficient.
MIN_TERM_RATIO = 1e-7
# The label of a coefficient that has no name.
VARIES_BY_UNIT = "differs between units"


@dataclass(frozen=True, slots=True, eq=False)
class _LeastSquares:
    """Coefficients of the three terms in some entries, by least squares."""

    coefficients: FloatArray  # (3,)
    error: FloatArray  # (3,), upper bound on the error that rounding causes
    residual: float  # norm of the part that the terms do not give


def fit_terms(evidence: Evidence, name: str) -> dict[ProblemEvidence, list[Factor]]:
    """Fit the three terms of dx to a wrong gradient.

    Parameters
    ----------
    evidence : Evidence
        The problems.
    name : str
        A wrong array.

    Returns
    -------
    dict of ProblemEvidence to list of Factor
        The three coefficients, on the problems on which the terms give the gradient up to rounding; empty if it does
        not consist of them.
    """
    wrong = [p for p in evidence.problems_with_wrong(name) if _consists_of_terms(evidence, p, name)]
    fits = ((p, _fit_units(Discrepancy.from_problem(p, name), name)) for p in wrong)
    return {p: factors for p, factors in fits if factors is not None}


def find_terms(evidence: Evidence, name: str) -> Terms | None:
    """Return the coefficients of the three terms of dx in a wrong gradient.

    Parameters
    ----------
    evidence : Evidence
        The problems.
    name : str
        A wrong array.

    Returns
    -------
    Terms or None
        None if the coefficients are unknown, or all of them are correct.
    """
    primary = evidence.primary(name)
    if not _consists_of_terms(evidence, primary, name):
        return None
    fits, d = fit_terms(evidence, name), Discrepancy.from_problem(primary, name)
    if primary in fits or (fits and not d.region and not _determines_coefficients(d, name)):
        # If the primary problem has too few rows, the coefficients are those of the largest other problem.
        problems = sorted(fits, key=lambda p: (p is primary, evidence.problems.index(p)), reverse=True)
        factors = list(zip(*(fits[p] for p in problems), strict=True))
        passes = [p.correct for p in problems]
        # A coefficient without a common name on several problems is named on the first one, which is reported.
        labels = [common_name(f, passes) or common_name(f[:1], passes[:1]) or VARIES_BY_UNIT for f in factors]
        if labels == ["1", "1", "1"]:
            return None
        direct, mean, variance = (f[0].number for f in factors)
        return Terms(direct, mean, variance, 0.0, True, (labels[0], labels[1], labels[2]))
    fit = None if d.region else _fit(d.returned, d.rounding, term_arrays(d.correct, name))
    if fit is None or fit.residual <= max(d.max_residual * norm(d.returned), norm(d.rounding)):
        return None  # the residual is rounding, although single units do not determine their coefficients
    first, second, third = map(float, fit.coefficients)
    unexplained = fit.residual / norm(d.returned)
    return Terms(first, second, third, unexplained, False, (f"{first:.3f}", f"{second:.3f}", f"{third:.3f}"))


def term_arrays(w: PassValues, name: str) -> list[FloatArray]:
    """Return the contributions of the three terms to dh, dW or dX; none to another array."""
    terms = (w.direct, w.mean_term + 0 * w.direct, w.variance_term) if name in ("h", "W", "X") else ()
    return [{"h": t, "W": w.X.T @ t, "X": t @ w.W.T}[name] for t in terms]


def _consists_of_terms(evidence: Evidence, p: ProblemEvidence, name: str) -> bool:
    """Return whether a gradient is a sum of the three terms: dh, or dW and dX if dh was not returned."""
    is_candidate = name == "h" or (name in ("W", "X") and "h" not in evidence.names)
    has_terms = is_candidate and evidence.component.name != "affine"
    return has_terms and not p.is_black_box and not has_wrong_shape_or_dtype(p.result, name)


def _fit(returned: FloatArray, rounding: FloatArray, basis: Sequence[FloatArray]) -> _LeastSquares | None:
    """Fit the three terms to entries; None if the entries do not determine three coefficients."""
    matrix = np.stack([term.ravel() for term in basis], axis=1)
    scale = np.array([norm(column) for column in matrix.T])
    has_measurable_terms = scale.min() > MIN_TERM_RATIO * scale.max()
    if not has_measurable_terms or not np.isfinite(returned).all() or len(matrix) < MIN_ROWS:
        return None
    matrix = matrix / scale
    coefficients, _, rank, singular = np.linalg.lstsq(matrix, returned.ravel(), rcond=1e-9)
    if rank < len(basis):
        return None
    residual = norm(returned.ravel() - matrix @ coefficients)
    return _LeastSquares(coefficients / scale, (residual + norm(rounding)) / singular.min() / scale, residual)


def _determines_coefficients(d: Discrepancy, name: str) -> bool:
    """Return whether an array is wrong everywhere and has enough rows in each unit; the entries of dX mix the units."""
    return not d.region and (name == "X" or len(d.returned) >= MIN_ROWS)


def _fit_units(d: Discrepancy, name: str) -> list[Factor] | None:
    """Return the coefficients that give an array up to rounding: common to all units if possible, or one per unit."""
    if not _determines_coefficients(d, name):
        return None
    basis, H = term_arrays(d.correct, name), d.correct.H
    common = _fit(d.returned, d.rounding, basis)
    if common is not None and _gives_every_column(d, common.coefficients, basis):
        fits = [common] * H
    elif name == "X":
        return None
    else:
        by_unit = [_fit(d.returned[:, j], d.rounding[:, j], [term[:, j] for term in basis]) for j in range(H)]
        is_exact = (fit and fit.residual <= d.max_residual * norm(d.returned[:, j]) for j, fit in enumerate(by_unit))
        if not all(is_exact):
            return None
        fits = [fit for fit in by_unit if fit]
    values, error = np.array([fit.coefficients for fit in fits]), np.array([fit.error for fit in fits])
    error = np.minimum(error, d.max_residual * np.maximum(np.abs(values), 1.0))
    values = np.where(np.abs(values) <= error, 0.0, values)  # a coefficient within its error is 0
    return [Factor(values[:, term], error[:, term]) for term in range(3)]


def _gives_every_column(d: Discrepancy, coefficients: FloatArray, basis: Sequence[FloatArray]) -> bool:
    """Return whether the terms give all columns of an array, even the smallest."""
    residual = d.returned - sum(k * term for k, term in zip(coefficients, basis, strict=True))
    columns = zip(residual.T, d.returned.T, strict=True)
    return all(norm(left) <= d.max_residual * norm(column) for left, column in columns)
