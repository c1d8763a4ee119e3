"""The arrays that a forward/backward pair returned on several problems, and the values that are expected there."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from bncheck.mistakes import Mistake
from bncheck.mistakes.pass_values import PassValues
from bncheck.model.layers import Array
from bncheck.model.problem import FloatArray
from bncheck.model.results import PairResult
from bncheck.model.verdict import Verdict

# The name of the forward output among the names of the inputs, which stand for their gradients.
OUTPUT = "output"
# In the order of backpropagation: an error in one array may propagate to the arrays after it.
PROPAGATION_ORDER = (OUTPUT, "y", "beta", "gamma", "h", "W", "X", "b")
# A correct value may differ from bncheck's by this many roundings, because it is summed in another order.
MAX_ROUNDINGS = 4.0


def norm(array: npt.NDArray[Any]) -> float:
    """Return the Euclidean norm, scaled so that no square leaves the range of float64."""
    largest = float(np.abs(array).max(initial=0.0))
    return largest * float(np.linalg.norm(array / largest)) if 0 < largest < np.inf else largest


def has_wrong_shape_or_dtype(result: PairResult, name: str) -> bool:
    """Return whether an array has another shape than the correct one, or does not contain real numbers."""
    value = result.pair_output.output if name == OUTPUT else result.pair_output.gradients[name]
    expected = result.measurement.output if name == OUTPUT else result.measurement.gradients[name].value
    return value.dtype.kind not in "fiu" or value.shape != expected.shape


@dataclass(frozen=True, slots=True)
class ReturnedArray:
    """An array that the code under test returned, and the rounding error that is allowed in it."""

    value: npt.NDArray[Any]  # as returned, of any shape and dtype
    rounding: FloatArray  # largest rounding error of a correct entry, by unit (H,); (1,) for X, whose rows mix units
    term_size: FloatArray  # the same shape, largest terms that the entries are sums of
    is_wrong: bool  # whether the check failed

    @property
    def is_real(self) -> bool:
        """Whether the array contains real numbers."""
        return self.value.dtype.kind in "fiu"

    def agreement(self, candidate: npt.ArrayLike, term_growth: float = 1.0) -> float | None:
        """Return the relative distance of a candidate that agrees with the array; rounding is allowed for unit by unit.

        Parameters
        ----------
        candidate : array_like
            The values that a mistake gives.
        term_growth : float, default 1.0
            Size of the candidate's terms, as a multiple of the correct ones.

        Returns
        -------
        float or None
            ||value - candidate|| / max(||candidate||, ||term_size||). None if an entry differs by more than rounding,
            if the shapes or the non-finite entries differ, or if the array is not real.
        """
        candidate = np.asarray(candidate)
        if candidate.shape != self.value.shape or not self.is_real:
            return None
        finite = np.isfinite(candidate)
        if not np.array_equal(finite, np.isfinite(self.value)):
            return None
        candidate, value = np.where(finite, candidate, 0.0), np.where(finite, self.value, 0.0)
        difference = np.abs(value - candidate)
        by_unit = candidate.shape[-1:] == self.rounding.shape
        axes = tuple(range(candidate.ndim - 1)) if by_unit else None
        rounding, size = (self.rounding, self.term_size) if by_unit else (self.rounding.max(), self.term_size.max())
        growth = np.divide(np.abs(candidate).max(axis=axes), size, out=np.ones_like(size), where=size > 0)
        if not (difference.max(axis=axes) <= MAX_ROUNDINGS * rounding * np.maximum(growth, term_growth)).all():
            return None
        return norm(difference) / (max(norm(candidate), norm(self.term_size)) or 1.0)

    def distance_to(self, candidate: npt.ArrayLike) -> float:
        """Return the norm of the difference where it is finite; inf for an array of another shape."""
        if np.shape(candidate) != self.value.shape or not self.is_real:
            return float("inf")
        difference = self.value - candidate
        return norm(difference[np.isfinite(difference)])


@dataclass(frozen=True, slots=True, eq=False)
class ProblemEvidence:
    """The evidence from one problem."""

    result: PairResult
    correct: PassValues
    expected: PassValues  # correct, given the mistakes that were diagnosed so far
    returned: Mapping[str, ReturnedArray]  # by the name of the input, and OUTPUT

    @classmethod
    def from_result(cls, result: PairResult) -> "ProblemEvidence":
        """Collect what a pair returned, and compute the correct values."""
        measurement, output, factor = result.measurement, result.pair_output, result.precision.roundoff_factor
        rounding, size = measurement.output_bound.max(axis=0) * factor, np.abs(measurement.output).max(axis=0)
        returned = {OUTPUT: ReturnedArray(output.output, rounding, size, bool(result.output.wrong))}
        for name, gradient in result.gradients.items():
            numerical = measurement.gradients[name]
            axis = 0 if name in ("W", "h", "y") else None if name == "X" else ()
            conditioning, size = (
                np.atleast_1d(np.broadcast_to(part, numerical.value.shape).max(axis=axis))
                for part in (numerical.conditioning, numerical.term_size)
            )
            rounding, is_wrong = factor * conditioning, gradient.verdict is Verdict.FAIL
            returned[name] = ReturnedArray(output.gradients[name], rounding, size, is_wrong)
        correct = PassValues.from_problem(measurement.problem, output.component)
        return cls(result, correct, correct, returned)

    @property
    def is_black_box(self) -> bool:
        """Whether the gradients were compared with the derivative of the target's own forward pass."""
        return self.result.measurement.black_box

    def array(self, w: PassValues, name: str) -> Array:
        """Return an array of a pass.

        Raises
        ------
        ValueError
            The shapes in the pass do not fit together.
        """
        return np.asarray(getattr(w, self.result.pair_output.component.output if name == OUTPUT else f"d{name}"))

    def agreement(self, name: str, w: PassValues) -> float | None:
        """Return how closely the returned array matches a pass; None if it does not."""
        try:
            # db may be nothing but the rounding error of a dh that is many times too large.
            term_growth = norm(np.nan_to_num(w.dh)) / (norm(self.correct.dh) or 1.0) if name == "b" else 1.0
            return self.returned[name].agreement(self.array(w, name), term_growth)
        except ValueError:  # the shapes of the pass do not fit together
            return None

    def contains(self, name: str, other: str) -> bool:
        """Return whether one gradient has the correct values of another one."""
        swapped = replace(self.returned[other], value=self.returned[name].value)
        return swapped.agreement(self.array(self.correct, other)) is not None


class Evidence:
    """What a forward/backward pair returned on one or several problems."""

    def __init__(self, results: Sequence[PairResult]) -> None:
        # The smallest problem first: it refutes most candidate mistakes at little cost.
        by_size = sorted(results, key=lambda result: result.measurement.output.size)
        self.problems = [ProblemEvidence.from_result(result) for result in by_size]
        self.main = results[0]  # of the problem that the user checks
        self.component = self.main.pair_output.component
        self.explained: frozenset[str] = frozenset()  # arrays whose error is already diagnosed
        self.is_output_known = True  # False after an output that no mistake explains: no expected value is known then

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The arrays that were returned on every problem."""
        return tuple(n for n in PROPAGATION_ORDER if all(n in p.returned for p in self.problems))

    @cached_property
    def failing(self) -> tuple[str, ...]:
        """The arrays that are wrong on some problem, in the order of backpropagation."""
        return tuple(name for name in self.names if self.problems_with_wrong(name))

    def problems_with_wrong(self, name: str) -> list[ProblemEvidence]:
        """Return the problems on which an array is wrong."""
        return [p for p in self.problems if p.returned[name].is_wrong]

    def primary(self, name: str) -> ProblemEvidence:
        """Return the problem that the report of a wrong array is about: the main problem if it fails there."""
        wrong = self.problems_with_wrong(name)
        return next((p for p in wrong if p.result is self.main), wrong[0])

    def with_eps(self, eps: float) -> "Evidence":
        """Return the evidence that expects a correct pass with a constant eps, inferred from the output."""
        other = copy(self)
        other.problems = [replace(p, expected=p.correct.with_eps(eps)) for p in self.problems]
        return other

    def is_consistent(self, name: str) -> bool:
        """Return whether an array is correct, given the mistakes that were diagnosed so far."""
        return self.is_output_known and all(p.agreement(name, p.expected) is not None for p in self.problems)

    def permuted_gradients(self) -> dict[str, str]:
        """Return the gradient that each wrong gradient contains, if they are returned in another order."""
        names = [name for name in self.failing if name != OUTPUT]
        if any(p.is_black_box for p in self.problems):
            return {}
        contents = {
            name: other for name, other in permutations(names, 2) if all(p.contains(name, other) for p in self.problems)
        }
        return contents if len(contents) > 1 and set(contents) == set(contents.values()) else {}

    def assume_mistake(self, mistake: Mistake, explains: Sequence[str], eps: Sequence[float]) -> None:
        """Expect the values that a mistake gives, with the first of some constants eps if there are any."""
        self.explained |= {*explains}
        if eps:
            self.problems = self.with_eps(eps[0]).problems
        self.problems = [replace(p, expected=mistake.apply_to(p.expected)) for p in self.problems]

    def assume_returned(self, name: str, coefficients: Mapping[ProblemEvidence, Sequence[FloatArray]]) -> None:
        """Expect the values that follow from a wrong array which no mistake explains.

        Parameters
        ----------
        name : str
            The wrong array.
        coefficients : mapping of ProblemEvidence to sequence of ndarray
            Three coefficients (H,) of the terms of dh (direct, mean_term, variance_term), with which the terms give the
            array, on the problems where they are known.
        """
        self.explained |= {name}
        if name == OUTPUT:
            self.is_output_known = False
        elif name in ("W", "X") and coefficients and self.is_output_known:
            # Problems without coefficients are dropped: their expected values are unknown from here on.
            self.problems = [replace(p, expected=_scale_terms(p.expected, k)) for p, k in coefficients.items()]
        elif name == "h" and not any(has_wrong_shape_or_dtype(p.result, name) for p in self.problems):
            values = [p.expected.replaced("dh", p.returned[name].value) for p in self.problems]
            self.problems = [replace(p, expected=w) for p, w in zip(self.problems, values, strict=True)]


def _scale_terms(w: PassValues, coefficients: Sequence[FloatArray]) -> PassValues:
    """Multiply the three terms of dh by coefficients (H,)."""
    for k, term in zip(coefficients, ("direct", "mean_term", "variance_term"), strict=True):
        w = w.replaced(term, k * getattr(w, term))
    return w
