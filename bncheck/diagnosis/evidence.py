"""What a pair of functions returned on several problems, beside what they should have."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from bncheck.mistakes import Mistake
from bncheck.mistakes.pass_values import PassValues
from bncheck.model.components import Component
from bncheck.model.layers import Array
from bncheck.model.problem import FloatArray
from bncheck.model.results import PairResult
from bncheck.model.verdict import Verdict

# What stands for a forward function's output among the names of inputs.
OUTPUT = "output"
# From the loss back: what comes later may follow from what came before.
BACKWARD_ORDER = (OUTPUT, "y", "beta", "gamma", "h", "W", "X", "b")
# Roundings that a right value, computed in another order, may be away from ours.
MAX_ROUNDINGS = 4.0


def norm(array: npt.NDArray[Any]) -> float:
    """Return the root of the sum of squares, also where float64 cannot hold a square."""
    largest = float(np.abs(array).max(initial=0.0))
    return largest * float(np.linalg.norm(array / largest)) if 0 < largest < np.inf else largest


def is_misshapen(case: PairResult, name: str) -> bool:
    """Return whether an array does not consist of real numbers, or has another shape than the correct one."""
    value = case.pair_output.output if name == OUTPUT else case.pair_output.gradients[name]
    expected = case.measurement.output if name == OUTPUT else case.measurement.gradients[name].value
    return value.dtype.kind not in "fiu" or value.shape != expected.shape


@dataclass(frozen=True, slots=True)
class ReturnedArray:
    """One returned array: what a guess at it must agree with, column by column."""

    value: npt.NDArray[Any]  # as it came, of whatever shape
    rounding: FloatArray  # the largest that an entry may have, by column; one number for all where columns mix
    size: FloatArray  # the largest terms that an entry is made of, likewise
    wrong: bool

    @property
    def numbers(self) -> bool:
        """Whether it is an array of real numbers."""
        return self.value.dtype.kind in "fiu"

    def agrees(self, guess: Any, term_growth: float = 1.0) -> float | None:
        """Return ||value - guess|| / ||guess||, or None where some entry is off by more than rounding.

        Where the guess is little but rounding, it is of the terms that it is made of.

        ``term_growth`` is how many times larger than the right ones its terms are.
        """
        guess = np.asarray(guess)
        if guess.shape != self.value.shape or not self.numbers:
            return None
        with np.errstate(all="ignore"):
            known = np.isfinite(guess)
            if not np.array_equal(known, np.isfinite(self.value)):
                return None
            guess, value = np.where(known, guess, 0.0), np.where(known, self.value, 0.0)
            off = np.abs(value - guess)
            columns = guess.shape[-1:] == self.rounding.shape
            over = tuple(range(guess.ndim - 1)) if columns else None
            rounding, size = (self.rounding, self.size) if columns else (self.rounding.max(), self.size.max())
            larger = np.divide(np.abs(guess).max(axis=over), size, out=np.ones_like(size), where=size > 0)
            if not (off.max(axis=over) <= MAX_ROUNDINGS * rounding * np.maximum(larger, term_growth)).all():
                return None
            return norm(off) / (max(norm(guess), norm(self.size)) or 1.0)

    def distance_to(self, right: Any) -> float:
        """Return how far the array is from another, where both are finite; infinite for another shape."""
        right = np.asarray(right)
        if right.shape != self.value.shape or not self.numbers:
            return float("inf")
        with np.errstate(all="ignore"):
            difference = self.value - right
            return norm(difference[np.isfinite(difference)])


class Evidence:
    """The cases of one pair of functions, and the passes that they are compared with."""

    def __init__(self, cases: Sequence[PairResult]) -> None:
        # The smallest first: most guesses are refuted there, cheaply.
        self.cases = sorted(cases, key=lambda case: case.measurement.output.size)
        self.first = cases[0]
        self.piece: Component = cases[0].pair_output.component
        self.right = [PassValues.of(case.measurement.problem, self.piece) for case in self.cases]
        self.base: list[PassValues] | None = list(self.right)  # with what was found so far; None: unknown
        self.observed = [self._observe(case) for case in self.cases]
        self.explained: set[str] = set()

    @staticmethod
    def _observe(case: PairResult) -> Mapping[str, ReturnedArray]:
        measured, answer = case.measurement, case.pair_output
        bar = measured.output_bound.max(axis=0) * case.precision.roundoff_factor
        found = {
            OUTPUT: ReturnedArray(answer.output, bar, np.abs(measured.output).max(axis=0), bool(case.output.wrong))
        }
        for name, g in case.gradients.items():
            numerical = measured.gradients[name]
            over = 0 if name in ("W", "h", "y") else None if name == "X" else ()
            conditioning, size = (
                np.atleast_1d(np.broadcast_to(part, numerical.value.shape).max(axis=over))
                for part in (numerical.conditioning, numerical.term_size)
            )
            rounding = case.precision.roundoff_factor * conditioning
            found[name] = ReturnedArray(answer.gradients[name], rounding, size, g.verdict is Verdict.FAIL)
        return found

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What was returned on every problem."""
        return tuple(n for n in BACKWARD_ORDER if all(n in observed for observed in self.observed))

    @cached_property
    def failing(self) -> tuple[str, ...]:
        """What is wrong on some problem, from the loss back."""
        return tuple(n for n in self.names if any(observed[n].wrong for observed in self.observed))

    def primary_case(self, name: str) -> PairResult:
        """Return the case that a failure is told by: the problem itself if it fails there."""
        wrong = [case for case, seen in zip(self.cases, self.observed, strict=True) if seen[name].wrong]
        return self.first if any(case is self.first for case in wrong) else wrong[0]

    def index_of(self, case: PairResult) -> int:
        """Return where a case stands among the cases."""
        return next(i for i, other in enumerate(self.cases) if other is case)

    def with_eps(self, eps: float) -> "Evidence":
        """Return the evidence that compares with passes whose eps is a constant in place of bn_eps."""
        other = copy(self)
        other.base = [w.with_eps(eps) for w in self.right]
        return other

    def value(self, w: PassValues, name: str) -> Array:
        """Return what a pass gives under a name.

        Raises
        ------
        ValueError
            The mistake's shapes do not fit together there.
        """
        with np.errstate(all="ignore"):
            found: Array = getattr(w, self.piece.output if name == OUTPUT else f"d{name}")
        return found

    def agreement(self, number: int, name: str, w: PassValues) -> float | None:
        """Return how closely one problem's array agrees with a pass; None where it does not."""
        try:
            # db may be nothing but the rounding of a dh that is many times too large.
            term_growth = norm(np.nan_to_num(w.dh)) / (norm(self.right[number].dh) or 1.0) if name == "b" else 1.0
            return self.observed[number][name].agrees(self.value(w, name), term_growth)
        except ValueError:  # shapes that cannot be multiplied
            return None

    def is_consistent(self, name: str) -> bool:
        """Tell whether an array is right given what was found to be wrong before it."""
        if self.base is None:
            return False
        return all(self.agreement(i, name, w) is not None for i, w in enumerate(self.base))

    def permuted_gradients(self) -> dict[str, str]:
        """Return which right gradient stands in the place of each wrong one, if they are in another order."""
        names = [n for n in self.failing if n != OUTPUT]
        instead = {}
        for name in names if not any(case.measurement.black_box for case in self.cases) else []:
            for other in names:
                found = [replace(seen[other], value=seen[name].value) for seen in self.observed]
                right = [f.agrees(self.value(w, other)) is not None for f, w in zip(found, self.right, strict=True)]
                if other != name and all(right):
                    instead[name] = other
        return instead if len(instead) > 1 and set(instead) == set(instead.values()) else {}

    def assume(
        self,
        name: str,
        mistake: Mistake | None,
        explains: Sequence[str] = (),
        weights: Mapping[int, FloatArray] | None = None,
        eps: float | None = None,
    ) -> None:
        """Go on from what was found: a named mistake, three terms of other weights, or the wrong dh itself.

        ``eps`` is the constant that the code uses in place of bn_eps, if it does.
        """
        self.explained = self.explained | {name, *explains}
        if eps is not None:
            self.base = self.with_eps(eps).base
        if self.base is None:
            return
        if mistake is not None:
            self.base = [mistake.apply_to(w) for w in self.base]
        elif name == OUTPUT:
            self.base = None
        elif name in ("W", "X") and weights:
            self._restrict_to(sorted(weights))
            for term, part in enumerate(("direct", "mean_term", "variance_term")):
                self.base = [
                    w.replaced(part, weights[i][:, term] * getattr(w, part))
                    for i, w in zip(sorted(weights), self.base, strict=True)
                ]
        elif name == "h" and not any(is_misshapen(case, name) for case in self.cases):
            self.base = [w.replaced("dh", o["h"].value) for o, w in zip(self.observed, self.base, strict=True)]

    def _restrict_to(self, numbers: Sequence[int]) -> None:
        """Go on with these cases alone: of the others it is not known what the right values would be."""
        self.cases, self.right = [self.cases[i] for i in numbers], [self.right[i] for i in numbers]
        self.observed = [self.observed[i] for i in numbers]
        self.base = None if self.base is None else [self.base[i] for i in numbers]
