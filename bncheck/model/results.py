"""The records that the stages of a check pass to each other.

Records with arrays compare by identity.
"""

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bncheck.model.components import Component
from bncheck.model.document import check_document
from bncheck.model.options import CheckOptions
from bncheck.model.precision import Precision
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.source import Source
from bncheck.model.verdict import Verdict

if TYPE_CHECKING:  # only needed to explain a failure
    from bncheck.model.diagnosis_records import Diagnosis, MinimalExample, WrongPart

BoolArray: TypeAlias = npt.NDArray[np.bool_]

# Largest resolution with which a check can pass.
MAX_RESOLUTION = 1e-3


class Cause(enum.Enum):
    """The dominant part of a tolerance; the value is how a report names it."""

    TRUNCATION = "truncation"
    ROUNDING = "rounding"
    CONDITIONING = "cancellation in h - mu"


@dataclass(frozen=True, slots=True, eq=False)
class NumericalGradient:
    """One gradient from finite differences; all arrays have its shape."""

    value: FloatArray  # NaN where not evaluated
    evaluated: BoolArray  # True where value was evaluated
    requested: int  # entries to evaluate; an interruption leaves fewer evaluated
    error_bound: FloatArray  # upper bound on |value - exact| without the excluded outputs; inf: unresolved
    truncation: FloatArray  # truncation part of the error bound, broadcastable to it
    rounding: FloatArray  # rounding part of the error bound, broadcastable to it
    # Rounding error of an analytic value, in float64 roundoff; scale it by Precision.roundoff_factor. inf in entries
    # that depend on a unit whose sigma cannot be computed in that arithmetic.
    conditioning: FloatArray
    term_size: FloatArray  # magnitude of the terms that an entry is the sum of, before they cancel
    exact_zero: bool  # the exact gradient is 0 for any data


class KinkExclusion(NamedTuple):
    """The outputs that are excluded from the loss because a perturbation may cross ReLU's kink."""

    excluded: int  # outputs
    outputs: int  # N H, the number of all outputs
    dead_units: int  # units without an active output in the loss


class CrossCheck(NamedTuple):
    """Random entries of the local engine, compared with full forward passes."""

    entries: int  # compared
    max_difference: float  # max |local - full|, in the units of the gradient
    bound_ratio: float  # max |local - full| / bound on their rounding errors; NaN if either is

    @classmethod
    def combine(cls, cross_checks: Sequence["CrossCheck"]) -> "CrossCheck | None":
        """Return the cross-check of several measurements; None if there is none."""
        if not cross_checks:
            return None
        ratios = [c.bound_ratio for c in cross_checks]
        worst = max(ratios, key=lambda ratio: math.inf if math.isnan(ratio) else ratio)
        return cls(sum(c.entries for c in cross_checks), max(c.max_difference for c in cross_checks), worst)

    @property
    def agrees(self) -> bool:
        """Whether every difference is within its bound; False for NaN."""
        return self.bound_ratio <= 1


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """The numerical gradients of one component, and what a comparison with them needs."""

    problem: Problem  # with dout = 0 at the excluded outputs
    component: Component
    gradients: Mapping[str, NumericalGradient]  # by the name of the input: "X", ...
    output: FloatArray  # (N, H), output of the component in the reference
    output_bound: FloatArray  # (N, H), largest error of a correct float64 output; inf where sigma is only rounding
    kink_exclusion: KinkExclusion
    automatic_step: bool  # the steps were chosen from the scale of the data
    cross_check: CrossCheck | None  # None if the full engine measured the gradients
    black_box: bool  # a custom forward pass of the target was differentiated
    interrupted: bool  # Ctrl-C ended the measurement early


@dataclass(frozen=True, slots=True, eq=False)
class PairOutput:
    """Return values of a forward/backward pair, not yet validated."""

    component: Component
    forward_name: str | None  # of a layer function; None for a network
    backward_name: str | None  # of a layer function; None for a network
    output: npt.NDArray[Any]
    gradients: Mapping[str, npt.NDArray[Any]]  # by the name of the input: "X", ...
    labels: Mapping[str, str]  # by the same names: the gradient's name in the target, "dX" or "dx"
    dtypes: tuple[str, ...]  # of the output and the gradients, in the target's own array library
    not_implemented: Mapping[str, str]  # by function or gradient that is not implemented: the reason
    usage: str = ""  # the call that returned this, if it was not the first; a phrase
    forward_source: Source | None = None  # None: unknown, or built into bncheck
    backward_source: Source | None = None


class UncheckedFunction(NamedTuple):
    """An optional function that raised or violated its interface."""

    function: str
    reason: str  # what it did, without its name: "raised TypeError: ..."; may have several lines
    verdict: Verdict
    source: Source | None = None  # None: unknown


class NotChecked(NamedTuple):
    """A part of the target, or of the check, that was skipped."""

    function: str  # a function, a gradient, or a part of the check
    reason: str
    is_missing: bool = False  # not in the target, not implemented yet, or calls a function that is not implemented yet


class EdgeCaseResult(NamedTuple):
    """The check of the target on one edge case."""

    name: str
    verdict: Verdict
    failed: tuple[str, ...]  # keys of the gradients that do not pass, wrong outputs, functions that raised
    reproduce: str | None  # command that repeats it; None if no command can
    shape: tuple[int, int, int]  # (N, D, H)
    about: str  # what is special about its data; a phrase


class TargetInfo(NamedTuple):
    """The target of a check."""

    name: str
    interface: str  # "network" or "layer-functions"
    dtype: str = "float64"
    mode: str = "train"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a gradient."""

    index: tuple[int, ...]
    analytic: float
    numerical: float
    tolerance: float  # largest |analytic - numerical| that is accepted


class Note(NamedTuple):
    """Information that does not change the verdict."""

    code: str  # stable: "single-pass-variance"
    message: str


@dataclass(frozen=True, slots=True)
class ForwardResult:
    """An output of the target, compared with the reference."""

    function: str | None  # of a layer function; None for a network
    component: str  # "network", "batchnorm", "affine" or "relu"
    name: str  # "a", or "out" of a layer function
    shape: tuple[int, ...]  # expected
    entries: int
    wrong: int  # entries
    verdict: Verdict
    max_relative_error: float
    message: str = ""  # what is wrong with the output, such as its shape
    usage: str = ""  # the call that returned it, if it was not the first; a phrase
    source: Source | None = None  # of the forward function


@dataclass(frozen=True, slots=True, eq=False)
class GradientResult:
    """A gradient of the target (a), compared with the numerical gradient (n); all arrays have its expected shape."""

    function: str | None  # of a layer function; None for a network
    component: str  # whose gradient it is: "network", "batchnorm", "affine" or "relu"
    name: str  # "dX", or "dx" of a layer function
    analytic: FloatArray  # a; NaN everywhere if the shape or dtype is wrong
    numerical: FloatArray  # n; NaN where not evaluated
    error_bound: FloatArray  # upper bound on |n - exact| without the excluded outputs
    tolerance: FloatArray  # largest |a - n| that is accepted
    term_size: FloatArray  # magnitude of the terms that an entry is the sum of, before they cancel
    checked: int  # entries that were evaluated
    wrong: int  # checked entries with |a - n| > tolerance
    unresolved: int  # checked entries that cannot be decided
    verdict: Verdict
    reasons: tuple[str, ...]  # why it is inconclusive, or what is wrong with the array (its shape)
    max_relative_error: float  # max |a - n| / max(|a|, |n|), with 0/0 = 0
    norm_relative_error: float  # ||a - n|| / max(||a||, ||n||)
    max_absolute_error: float  # max |a - n|
    tolerance_ratio: float  # max |a - n| / tolerance; decides the verdict
    resolution: float  # max tolerance / term_size: smallest relative error in a term that is detected in every entry
    value_resolution: float | None  # max tolerance / max |n|: the same for a factor on the gradient; None if exact_zero
    exact_zero: bool  # the exact gradient is 0 for any data
    worst_entries: tuple[Entry, ...]  # by |a - n| / tolerance: of a wrong gradient the worst 3, otherwise the worst
    largest_relative_error_at: Entry | None  # None if no entry was checked
    wrong_rows: tuple[int, ...]  # indices of the first axis with a wrong entry; empty for a vector
    wrong_columns: tuple[int, ...]  # indices of the last axis with a wrong entry
    usage: str = ""  # the call that returned it, if it was not the first; a phrase
    source: Source | None = None  # of the backward function

    @property
    def key(self) -> str:
        """Key in ``CheckResult.gradients``: "dX", or "function.dx" of a layer function."""
        return self.name if self.function is None else f"{self.function}.{self.name}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Expected shape."""
        return self.numerical.shape

    @property
    def entries(self) -> int:
        """Number of entries, checked or not."""
        return self.numerical.size


@dataclass(frozen=True, slots=True, eq=False)
class PairResult:
    """A forward/backward pair on one problem: what it returned, what was measured, and how they compare."""

    measurement: Measurement
    pair_output: PairOutput
    output: ForwardResult
    gradients: Mapping[str, GradientResult]  # by the name of the input: "X", ...
    precision: Precision  # the arithmetic in which the pair computes

    @property
    def function_key(self) -> tuple[str | None, str]:
        """The names of the backward function and of its component."""
        return self.pair_output.backward_name, self.pair_output.component.name

    @property
    def verdicts(self) -> list[Verdict]:
        """Verdicts on the output and on the gradients."""
        return [self.output.verdict, *(g.verdict for g in self.gradients.values())]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the inputs whose gradients are wrong; ``EdgeCaseResult.failed`` has the inconclusive ones, too."""
        return tuple(name for name, g in self.gradients.items() if g.verdict is Verdict.FAIL)


@dataclass(frozen=True, slots=True, eq=False)
class CheckResult:
    """The result of one check."""

    problem: Problem  # with dout = 0 at the excluded outputs
    target: TargetInfo
    options: CheckOptions
    forward: tuple[ForwardResult, ...]
    gradients: Mapping[str, GradientResult]  # by key ("dX"), in the order in which they are shown
    unchecked_functions: tuple[UncheckedFunction, ...]
    not_checked: tuple[NotChecked, ...]
    incomplete: bool  # a required function is missing or not implemented
    kink_exclusion: KinkExclusion
    cross_check: CrossCheck | None  # None if the full engine measured the gradients
    edge_cases: tuple[EdgeCaseResult, ...]
    notes: tuple[Note, ...]
    interrupted: bool  # Ctrl-C ended it early, so that it cannot pass
    seconds: float  # wall-clock time
    reproduce: str | None  # command that repeats the check; None for objects given in Python
    printed: str = ""  # what a file or module printed, at most 1 MB
    diagnosis: "tuple[Diagnosis, ...]" = ()  # in backward order
    wrong_part: "WrongPart | None" = None  # of the function of the first diagnosis; None: not located
    minimal_example: "MinimalExample | None" = None  # None: nothing smaller fails, or not searched for

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all parts; INCONCLUSIVE at best if the check is incomplete or its cross-check failed."""
        verdicts = [output.verdict for output in self.forward]
        verdicts += [gradient.verdict for gradient in self.gradients.values()]
        verdicts += [edge_case.verdict for edge_case in self.edge_cases]
        verdicts += [function.verdict for function in self.unchecked_functions]
        if not self.gradients or self.incomplete or self.interrupted or self.cross_check_failed:
            verdicts.append(Verdict.INCONCLUSIVE)
        return Verdict.worst(verdicts)

    @property
    def cross_check_failed(self) -> bool:
        """Whether the local engine and full forward passes disagree."""
        return self.cross_check is not None and not self.cross_check.agrees

    @property
    def checked(self) -> int:
        """Number of entries that were checked, over all gradients."""
        return sum(gradient.checked for gradient in self.gradients.values())

    @property
    def entries(self) -> int:
        """Number of entries, over all gradients."""
        return sum(gradient.entries for gradient in self.gradients.values())

    @property
    def resolution(self) -> float:
        """The worst resolution of the gradients; inf if there is none."""
        return max((g.resolution for g in self.gradients.values()), default=math.inf)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the JSON document, schema "bncheck/2"."""
        return check_document(self)

    def __str__(self) -> str:
        p = self.problem
        lines = [
            f"{self.verdict.value.upper()}  {self.target.name}, N {p.N}, D {p.D}, H {p.H}: "
            f"{self.checked:,} of {self.entries:,} entries checked"
        ]
        lines += [
            f"  {key:8} {g.verdict.value:12} {g.wrong:,} of {g.checked:,} wrong, "
            f"{100 * g.tolerance_ratio:.2g} % of tolerance used, resolution {g.resolution:.1e}"
            for key, g in self.gradients.items()
        ]
        return "\n".join(lines)
