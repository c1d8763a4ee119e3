"""A wrong array compared with the expected one, and the rows and columns in which it is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bncheck.diagnosis.evidence import MAX_ROUNDINGS, OUTPUT, Evidence, ProblemEvidence, has_wrong_shape_or_dtype
from bncheck.mistakes.pass_values import PassValues
from bncheck.model.problem import FloatArray
from bncheck.model.results import BoolArray
from bncheck.numerical.basepoint import UNIT_ROUNDOFF

# A fit is exact if its relative residual is below this, or below this many roundings of a less precise type, up to
# the limit above which another number could fit as well.
EXACT_RESIDUAL, EXACT_ROUNDINGS, MAX_EXACT_RESIDUAL = 1e-7, 32.0, 1e-5
# The other entries are called correct if their errors are below this fraction of the median wrong entry's.
MAX_CORRECT_RATIO = 0.01
# Common sizes of the tiles in which kernels process an array.
TILE_SIZES = (128, 64, 32, 16, 8)


@dataclass(frozen=True, slots=True, eq=False)
class Discrepancy:
    """A wrong array and the expected one, on one problem; a vector of the wrong entries if only some are wrong."""

    returned: FloatArray
    expected: FloatArray  # the same shape, correct values, or numerical ones for a custom forward pass
    rounding: FloatArray  # the same shape, largest rounding error of a correct entry
    correct: PassValues
    region: str  # the wrong rows and columns; empty for all
    max_residual: float  # relative residual up to which a fit of the returned array is exact

    @classmethod
    def from_problem(cls, p: ProblemEvidence, name: str) -> "Discrepancy":
        """Compare an array of the correct shape with the expected one."""
        result, measurement, factor = p.result, p.result.measurement, p.result.precision.roundoff_factor
        selected: Any = ...
        region = ""
        if name == OUTPUT:
            returned, expected = np.asarray(result.pair_output.output, float), measurement.output
            rounding = factor * measurement.output_bound
        else:
            gradient, numerical = result.gradients[name], measurement.gradients[name]
            returned = gradient.analytic
            expected = gradient.numerical if p.is_black_box else p.array(p.correct, name)
            rounding = gradient.tolerance if p.is_black_box else MAX_ROUNDINGS * factor * numerical.conditioning
            difference = np.abs(returned - expected)
            if p.is_black_box and gradient.checked < gradient.entries:
                selected = numerical.evaluated
            elif region := _describe_region(_isolate_wrong_entries(difference, rounding, numerical.term_size)):
                selected = ~(difference <= rounding)
        rounding = np.broadcast_to(rounding, returned.shape)
        max_residual = min(max(EXACT_RESIDUAL, EXACT_ROUNDINGS * factor * UNIT_ROUNDOFF), MAX_EXACT_RESIDUAL)
        return cls(returned[selected], expected[selected], rounding[selected], p.correct, region, max_residual)

    @property
    def error(self) -> FloatArray:
        """Returned minus expected values."""
        return self.returned - self.expected


def all_discrepancies(evidence: Evidence, name: str) -> list[Discrepancy]:
    """Compare an array on every problem on which it is wrong; none if its shape is wrong on one of them."""
    wrong = evidence.problems_with_wrong(name)
    if any(has_wrong_shape_or_dtype(p.result, name) for p in wrong):
        return []
    return [Discrepancy.from_problem(p, name) for p in wrong]


def _isolate_wrong_entries(difference: FloatArray, allowed: FloatArray, term_size: FloatArray) -> BoolArray:
    """Return a mask of the wrong entries, if the others are correct.

    Parameters
    ----------
    difference : ndarray
        |returned - expected| of each entry.
    allowed : ndarray
        The largest difference of a correct entry.
    term_size : ndarray
        The size of the terms of each entry; 0 for the entries of a dead unit, which are neither wrong nor correct.

    Returns
    -------
    ndarray of bool
        The wrong entries and those without terms. All are True if the other entries have errors of similar size.
    """
    has_terms = np.broadcast_to(term_size > 0, difference.shape)
    wrong: BoolArray = ~(difference <= allowed) & has_terms
    relative = np.where(has_terms, difference / np.where(has_terms, term_size, 1.0), 0.0)
    relative = np.where(np.isnan(relative), np.inf, relative)
    others = relative[~wrong & has_terms].max(initial=0.0)
    is_isolated = wrong.any() and others <= MAX_CORRECT_RATIO * np.median(relative[wrong])
    return wrong | ~has_terms if is_isolated else np.ones_like(wrong)


def _describe_region(wrong: BoolArray) -> str:
    """Describe the rows and columns that contain wrong entries.

    Parameters
    ----------
    wrong : ndarray of bool
        A matrix, or a vector with an entry per unit.

    Returns
    -------
    str
        Such as "only in row 39, the last of 40"; empty if every row and column contains wrong entries.
    """
    parts = []
    rows, columns = (np.flatnonzero(np.atleast_2d(wrong).any(axis=axis)).tolist() for axis in (1, 0))
    if wrong.ndim == 2 and len(rows) < len(wrong):
        parts.append(_describe_indices(rows, len(wrong), "row"))
    if len(columns) < wrong.shape[-1]:
        parts.append(_describe_indices(columns, wrong.shape[-1], "column" if wrong.ndim == 2 else "unit"))
    return f"only in {' and '.join(parts)}" if parts else ""


def _describe_indices(wrong: Sequence[int], size: int, noun: str) -> str:
    """List some of the indices 0, ..., size - 1: a single one, a range, an arithmetic progression, or their number."""
    first, last, count = wrong[0], wrong[-1], len(wrong)
    if count == 1:
        position = {size - 1: ", the last", 0: ", the first"}.get(first, "")
        return f"{noun} {first}{position} of {size}"
    step = wrong[1] - first
    if list(wrong) != list(range(first, last + 1, step)):
        return f"{count} of {size} {noun}s"
    if step > 1:
        return f"{noun}s {first}, {wrong[1]}, ... {last}" if count > 2 else f"{noun}s {first} and {last}"
    if last < size - 1:
        return f"{noun}s {first}-{last} of {size}"
    tile = next((t for t in TILE_SIZES if first and first % t == 0 and count < t), 0)
    remainder = f" (the remainder after tiles of {tile}?)" if tile else ""
    return f"{noun}s {first}-{last}, the last {count} of {size}{remainder}"
