"""Tests whether the errors of an array are random and small, as rounding errors are."""

import math
from collections.abc import Sequence

import numpy as np

from bncheck.diagnosis.discrepancy import Discrepancy
from bncheck.diagnosis.evidence import OUTPUT, Evidence, ProblemEvidence, has_wrong_shape_or_dtype, norm
from bncheck.diagnosis.terms import term_arrays
from bncheck.model.problem import FloatArray

# Errors below this fraction of the terms of an entry, on every problem, may be rounding errors.
MAX_ROUNDING_ERROR = 1e-6
# Minimum entries per fitted pattern; with fewer, noise fits by chance.
MIN_ENTRIES_PER_PATTERN = 8
# Correlation with a pattern that is no coincidence, even for few entries: 1 of 2,000 samples of 8 independent errors
# exceeds it.
MAX_CHANCE_CORRELATION = 0.95
# Fraction of the norm of the errors that fitted patterns may explain if the errors are random.
MAX_RANDOM_FRACTION = 0.7


def rounding_levels(evidence: Evidence, name: str) -> list[float]:
    """Measure errors that look like rounding errors.

    Parameters
    ----------
    evidence : Evidence
        The problems.
    name : str
        A wrong array.

    Returns
    -------
    list of float
        Root mean square of the errors relative to the terms of each entry, on each problem on which the array is
        wrong. Empty if an error is too large or follows a pattern, or there are too few entries to exclude a pattern.
    """
    wrong = [p for p in evidence.problems_with_wrong(name) if not has_wrong_shape_or_dtype(p.result, name)]
    levels, has_enough_entries = [], False
    for p in wrong:
        d = Discrepancy.from_problem(p, name)
        if d.region or (p.is_black_box and name != OUTPUT) or not np.isfinite(d.error).all():
            return []
        patterns = _patterns(d, name)
        is_large = d.error.size > MIN_ENTRIES_PER_PATTERN * len(patterns)
        levels.append(_relative_error(p, d, name))
        follows_pattern = _fits_patterns(d.error, patterns) if is_large else _fits_one_pattern(d.error, patterns)
        if levels[-1] > MAX_ROUNDING_ERROR or follows_pattern or _has_rank_one(d.error):
            return []
        has_enough_entries |= is_large
    return levels if has_enough_entries else []


def _relative_error(p: ProblemEvidence, d: Discrepancy, name: str) -> float:
    size = np.abs(d.expected).max(axis=0) if name == OUTPUT else p.result.measurement.gradients[name].term_size
    relative = np.divide(d.error, size, out=np.zeros_like(d.error), where=size != 0)
    return norm(relative) / math.sqrt(relative.size)


def _patterns(d: Discrepancy, name: str) -> list[FloatArray]:
    """Return the arrays that the error of a wrong formula is likely to be proportional to."""
    patterns = [d.expected, np.ones_like(d.error), np.abs(d.expected), *term_arrays(d.correct, name)]
    if name in ("h", OUTPUT):
        patterns += [d.correct.xhat, np.sign(d.correct.xhat)]
    if name == "W":
        patterns.append(np.broadcast_to(d.correct.X.sum(axis=0)[:, None], d.error.shape))
    if name == "X":
        patterns.append(np.broadcast_to(d.correct.W.sum(axis=1), d.error.shape))
    return patterns


def _fits_patterns(error: FloatArray, patterns: Sequence[FloatArray]) -> bool:
    """Return whether a combination of patterns explains a large part of the errors."""
    matrix = np.stack([p.ravel() / (norm(p) or 1.0) for p in patterns], axis=1)
    fitted = matrix @ np.linalg.lstsq(matrix, error.ravel(), rcond=1e-9)[0]
    return not norm(fitted) < MAX_RANDOM_FRACTION * norm(error)


def _fits_one_pattern(error: FloatArray, patterns: Sequence[FloatArray]) -> bool:
    """Return whether the errors are proportional to a pattern, more closely than by chance."""
    correlations = (abs(float((error * p).sum())) / ((norm(error) * norm(p)) or 1.0) for p in patterns)
    return error.size >= MIN_ENTRIES_PER_PATTERN and max(correlations) > MAX_CHANCE_CORRELATION


def _has_rank_one(error: FloatArray) -> bool:
    """Return whether most of a matrix is the product of a column and a row, which noise is not, by power iteration."""
    if error.ndim < 2 or min(error.shape) < MIN_ENTRIES_PER_PATTERN:
        return False
    error = error / (norm(error) or 1.0)
    v: FloatArray = np.random.default_rng(0).standard_normal((error.shape[1],))
    for _ in range(MIN_ENTRIES_PER_PATTERN):
        v = error.T @ (error @ v)
        v = v / (norm(v) or 1.0)
    return norm(error @ v) > MAX_RANDOM_FRACTION
