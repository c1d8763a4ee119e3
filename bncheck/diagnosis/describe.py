"""Sentences about a wrong array that no known mistake gives, and tests whether its errors are only rounding."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bncheck.diagnosis.discrepancy import Discrepancy, all_discrepancies
from bncheck.diagnosis.evidence import OUTPUT, Evidence, ProblemEvidence, has_wrong_shape_or_dtype, norm
from bncheck.diagnosis.factors import find_factor
from bncheck.diagnosis.match import infer_hard_coded_eps
from bncheck.diagnosis.terms import term_arrays
from bncheck.model.diagnosis_records import Terms
from bncheck.model.problem import FloatArray
from bncheck.targets.arrays import describe_dtype

# Relative residual with which a multiple of an input explains the error.
MAX_DECAY_RESIDUAL = 1e-4
# Errors below this fraction of the terms of an entry, on every problem, may be rounding errors.
MAX_ROUNDING_ERROR = 1e-6
# Minimum entries per fitted pattern; with fewer, noise fits by chance.
MIN_ENTRIES_PER_PATTERN = 8
# Correlation with a pattern that is no coincidence, even for few entries: 1 of 2,000 samples of 8 independent errors
# exceeds it.
MAX_CHANCE_CORRELATION = 0.95
# Fraction of the norm of the errors that fitted patterns may explain if the errors are random.
MAX_RANDOM_FRACTION = 0.7


def describe_discrepancy(evidence: Evidence, name: str, terms: Terms | None) -> tuple[str, ...]:
    """Describe a wrong array that matches no known mistake.

    Parameters
    ----------
    evidence : Evidence
        The problems.
    name : str
        A wrong array.
    terms : Terms or None
        The coefficients of the three terms of dx in it.

    Returns
    -------
    tuple of str
        The wrong rows and columns, if only some are wrong, and a sentence about the entries there.
    """
    primary = evidence.primary(name)
    if has_wrong_shape_or_dtype(primary.result, name):
        return (_describe_shape(primary, name),)
    d = Discrepancy.from_problem(primary, name)
    there = " there" if d.region else ""
    sentence = _describe_values(evidence, name, d, there)
    if not sentence and not d.region:  # an array that is wrong in part is only compared by its norm
        sentence = (
            _describe_eps(evidence, name)
            or _describe_swap(primary, name)
            or _describe_weight_decay(evidence, name)
            or _describe_rounding(evidence, name)
            or (describe_terms(terms) if terms else "")
        )
    if not sentence:
        difference = _format_percent(norm(d.error) / norm(d.expected))
        sentence = f"it differs from the correct value{there} by {difference} (norm)"
    return (f"wrong {d.region}", sentence) if d.region else (sentence,)


def describe_terms(terms: Terms) -> str:
    """State the coefficients of the three terms of dx."""
    if not terms.exact:
        unexplained = _format_percent(terms.unexplained)
        return f"it is not a combination of the three terms of dx; {unexplained} of its norm is unexplained"
    return f"the coefficients of its three terms are {', '.join(terms.labels)}; expected 1, 1, 1"


def format_hard_coded_eps(eps: Sequence[float]) -> str:
    """List the constants, which the problems do not distinguish, that the code uses instead of eps."""
    return f"eps = {' or '.join(f'{constant:.3g}' for constant in eps)} instead of the given value"


def _describe_values(evidence: Evidence, name: str, d: Discrepancy, there: str) -> str:
    """State that entries are not finite, not 0, or wrong by a factor; empty otherwise."""
    finite = np.isfinite(d.returned)
    if not finite.all():
        return f"{(~finite).sum():,} of {finite.size:,} entries{there} are nan or infinite"
    if not d.expected.any() or (name != OUTPUT and evidence.primary(name).result.gradients[name].exact_zero):
        return f"it should be 0{there}, but its largest entry is {np.abs(d.returned).max():.2g}"
    factor = find_factor(evidence, name, d) if d.returned.size > 1 else ""
    return f"it is {factor} times the correct value{there}" if factor else ""


def _describe_eps(evidence: Evidence, name: str) -> str:
    eps = infer_hard_coded_eps(evidence) if name == OUTPUT else ()
    return f"it is batch norm with {format_hard_coded_eps(eps)}" if eps else ""


def _describe_shape(p: ProblemEvidence, name: str) -> str:
    """State the shape or type of an array, the expected one, and how the two are related if that is established."""
    returned, measurement = p.returned[name], p.result.measurement
    value, expected = returned.value, measurement.output if name == OUTPUT else measurement.gradients[name].value
    if not returned.is_real:
        dtype = describe_dtype(value)
        kind = dtype if dtype == "None" else f"of type {dtype}"
        return f"it is {kind}, expected real numbers of shape {expected.shape}"
    text = f"its shape is {value.shape}, expected {expected.shape}"
    if value.shape == (measurement.problem.N, *expected.shape):
        return f"{text}: the sum over the batch is missing"
    if name == OUTPUT or p.is_black_box:
        return text
    correct = p.array(p.correct, name)
    rearranged = {"its transpose is correct": value.T}
    if value.size == expected.size:
        rearranged["its entries, in this order, are correct"] = value.reshape(expected.shape)
    facts = (
        fact for fact, array in rearranged.items() if replace(returned, value=array).agreement(correct) is not None
    )
    fact = next(facts, "")
    return f"{text}: {fact}" if fact else text


def _describe_swap(p: ProblemEvidence, name: str) -> str:
    """State that another correct array was returned, or this one reversed or transposed."""
    if name == OUTPUT or p.is_black_box:
        return ""
    correct = p.array(p.correct, name)
    candidates = {f"d{other}": p.array(p.correct, other) for other in p.returned if other not in (name, OUTPUT)}
    candidates[f"the correct value with its {'rows' if correct.ndim > 1 else 'entries'} reversed"] = correct[::-1]
    candidates["the transpose of the correct value"] = correct.T
    candidates["the correct value with its columns reversed"] = correct[..., ::-1]
    matching = (text for text, array in candidates.items() if p.returned[name].agreement(array) is not None)
    return next((f"it is {text}" for text in matching), "")


def _describe_weight_decay(evidence: Evidence, name: str) -> str:
    """State that the error is the same multiple of the input on every problem."""
    if name not in ("W", "X", "b", "gamma", "beta"):
        return ""
    pairs = [(d.error, getattr(d.correct, name)) for d in all_discrepancies(evidence, name) if not d.region]
    multiples = [float((error * v).sum() / (v * v).sum()) for error, v in pairs if v.any()]
    if not multiples or pairs[0][0].size == 1:
        return ""
    k, tolerance = multiples[0], MAX_DECAY_RESIDUAL
    is_constant = all(abs(other - k) <= tolerance * abs(k) for other in multiples)
    is_multiple = is_constant and all(norm(error - k * v) <= tolerance * norm(error) for error, v in pairs)
    return f"the error is {k:.3g} times {name}: is weight decay included?" if is_multiple else ""


def _describe_rounding(evidence: Evidence, name: str) -> str:
    levels = rounding_levels(evidence, name)
    likely = "probably" if len(levels) > 1 else "possibly"
    return f"its relative errors are about {max(levels):.0e} and look random: {likely} rounding" if levels else ""


def _format_percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %" if 0.01 <= fraction < 100 else f"{100 * fraction:.1e} %"


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
