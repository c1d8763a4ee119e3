"""The frozen records on every arrow of a check, and the verdict; arrays make a record equal to itself alone."""

import enum
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bncheck.model.components import Component
from bncheck.model.options import CheckOptions
from bncheck.model.precision import Precision
from bncheck.model.problem import FloatArray, Problem

if TYPE_CHECKING:  # what a pass has none of
    from bncheck.model.diagnosis_records import Diagnosis, MinimalExample, WrongPart

BoolArray: TypeAlias = npt.NDArray[np.bool_]

SCHEMA = "bncheck/1"
# Largest resolution with which a check can pass.
MAX_RESOLUTION = 1e-3


class Verdict(enum.Enum):
    """What a check found; the value is the word for it, ``meaning`` the sentence."""

    PASS = "pass"
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"

    @property
    def meaning(self) -> str:
        """What the verdict says, in a sentence."""
        return _MEANINGS[self]

    @staticmethod
    def worst(verdicts: Iterable["Verdict"]) -> "Verdict":
        """Return the worst of several: FAIL, then INCONCLUSIVE, then PASS.

        Nothing judged is not a pass: of no verdicts the worst is INCONCLUSIVE.
        """
        order = list(Verdict)
        return max(verdicts, key=order.index, default=Verdict.INCONCLUSIVE)


_MEANINGS = {
    Verdict.PASS: "Every entry agrees within its error bar.",
    Verdict.INCONCLUSIVE: "Nothing is wrong, but a wrong gradient might not have been seen.",
    Verdict.FAIL: "Some entry is further off than any error bar allows.",
}


class Cause(enum.Enum):
    """What makes an error bar wide; the value is its name."""

    TRUNCATION = "truncation"
    ROUNDING = "rounding"
    CONDITIONING = "cancellation in h - mu"


@dataclass(frozen=True, slots=True, eq=False)
class NumericalGradient:
    """One gradient from finite differences, with its error bars; arrays have its shape."""

    value: FloatArray  # the estimate; NaN where it was not evaluated
    evaluated: BoolArray  # where it was evaluated
    requested: int  # entries to be evaluated; fewer are done only where Ctrl-C came between
    error_bound: FloatArray  # bounds |value - exact derivative of the guarded problem|; inf: unresolved
    # Rounding of an analytic value, in units of its roundoff over float64's; inf in entries that depend on a unit
    # whose sigma cannot be computed in that arithmetic.
    conditioning: FloatArray
    term_size: FloatArray  # S: the terms that the entry is made of before they cancel
    exact_zero: bool  # the true gradient is exactly 0 whatever the numbers are
    dominant_cause: Callable[[], Cause]  # what dominates the tolerance where it is widest in terms of size


class KinkExclusion(NamedTuple):
    """The outputs that are no part of the loss because they lie too near ReLU's kink."""

    excluded: int  # how many ...
    outputs: int  # ... of how many
    dead_units: int  # units of which no active output is left in the loss


class CrossCheck(NamedTuple):
    """The local engine held against whole forward passes on random entries."""

    entries: int  # evaluated by both
    max_difference: float  # in the gradient's units
    bound_ratio: float  # the largest difference in terms of the rounding bar that bounds it

    @classmethod
    def combine(cls, audits: Sequence["CrossCheck"]) -> "CrossCheck | None":
        """Return the audit of several measurements together; None of none."""
        if not audits:
            return None
        worst = max(audits, key=lambda audit: math.inf if math.isnan(audit.bound_ratio) else audit.bound_ratio)
        return cls(sum(a.entries for a in audits), max(a.max_difference for a in audits), worst.bound_ratio)

    @property
    def agrees(self) -> bool:
        """Whether every difference is within its bar (a NaN is not)."""
        return self.bound_ratio <= 1


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """The numerical gradients of one piece of the network, and what else a comparison needs."""

    problem: Problem  # dout is 0 at the guarded outputs
    component: Component
    gradients: Mapping[str, NumericalGradient]  # by the name of the input: "X", ...
    output: FloatArray  # (N,H) the piece's own output
    output_bound: FloatArray  # (N,H) how far from it another right forward pass may come out; inf where sigma is lost
    kink_exclusion: KinkExclusion
    automatic_step: bool  # the steps were the scale-aware ones
    cross_check: CrossCheck | None  # None where the full engine did the work itself
    black_box: bool  # the target's own forward pass was differentiated, which is not batch norm's
    interrupted: bool


class Source(NamedTuple):
    """Where a function of the code under test is written."""

    file: str  # an absolute path
    line: int  # of its def, counted from 1


@dataclass(frozen=True, slots=True, eq=False)
class PairOutput:
    """What a pair of forward and backward functions returned, as it came: judged later."""

    component: Component
    forward_name: str | None  # of a course file; None for a whole network
    backward_name: str | None
    output: npt.NDArray[Any]
    gradients: Mapping[str, npt.NDArray[Any]]  # by the name of the input: "X", ...
    labels: Mapping[str, str]  # what the target calls each: "dX", or "dx" of a course file
    dtypes: tuple[str, ...]  # the dtypes of the output and the gradients in the target's own library
    not_implemented: Mapping[str, str]  # functions and gradients that are not implemented yet, and the reason
    usage: str = ""  # which call gave it, of several in a row; empty: the first
    forward_source: Source | None = None  # None: not known, or bncheck's own
    backward_source: Source | None = None


class UncheckedFunction(NamedTuple):
    """An optional function that raised, or returned something else than its interface says."""

    function: str
    reason: str
    verdict: Verdict
    source: Source | None = None


class NotChecked(NamedTuple):
    """Something that the target has and the check did not look at."""

    function: str  # a function or a gradient, or a part of the check
    reason: str


class EdgeCaseResult(NamedTuple):
    """The same target on a small problem on which some mistakes cannot hide."""

    name: str
    verdict: Verdict
    failed: tuple[str, ...]  # the keys of what is not a pass
    reproduce: str | None
    shape: tuple[int, int, int]  # its N, D and H
    about: str  # what is special about it


class TargetInfo(NamedTuple):
    """What was checked."""

    name: str
    interface: str  # "network" or "layer-functions"
    dtype: str = "float64"
    mode: str = "train"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a gradient: where it is, both values, and how far apart they may be."""

    index: tuple[int, ...]
    analytic: float
    numerical: float
    tolerance: float


class Note(NamedTuple):
    """Something worth knowing that is no verdict: a stable code, and a sentence."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class ForwardResult:
    """The output of a target's forward function against the reference's."""

    function: str | None  # of a course file; None for a whole network
    component: str  # "network", "batchnorm", "affine" or "relu"
    name: str  # "a", or "out" of a course file
    shape: tuple[int, ...]  # that it must have
    entries: int
    wrong: int
    verdict: Verdict
    max_relative_error: float
    message: str = ""  # what is wrong with it in words, such as its shape
    usage: str = ""  # which call returned it, of several in a row; empty: the first
    source: Source | None = None  # of the forward function


@dataclass(frozen=True, slots=True, eq=False)
class GradientResult:
    """One gradient, judged; the arrays have the shape of what it is taken for."""

    function: str | None  # of a course file; None for a whole network
    component: str  # what it is a gradient of: "network", or a layer
    name: str  # "dX", or "dx" of a course file
    analytic: FloatArray
    numerical: FloatArray  # NaN where it was not evaluated
    error_bound: FloatArray  # bounds |numerical - exact derivative of the guarded problem|
    tolerance: FloatArray  # bounds |analytic - numerical| of a right gradient, or is what rtol and atol ask for
    term_size: FloatArray  # S: the terms that an entry is made of before they cancel
    checked: int  # entries that were evaluated; of these ...
    wrong: int  # ... off by more than the tolerance ...
    unresolved: int  # ... and undecidable
    verdict: Verdict
    reasons: tuple[str, ...]  # why it is inconclusive, or what is wrong beyond single entries (a shape)
    max_relative_error: float  # max |a - n| / max(|a|, |n|) over entries where that is not 0/0
    norm_relative_error: float  # ||a - n|| / max(||a||, ||n||)
    max_absolute_error: float  # max |a - n|
    tolerance_ratio: float  # max |a - n| / tolerance: what was judged
    resolution: float  # max tolerance / size of the terms: the wrong share that would have been seen everywhere
    value_resolution: float | None  # max tolerance / max |n|, the wrong factor likewise; None for an exact zero
    exact_zero: bool  # the true gradient is exactly 0 whatever the numbers are
    worst: Entry | None
    next_worst: tuple[Entry, ...]  # the wrong ones after it
    largest_relative_error_at: Entry | None  # where the relative error is largest
    wrong_rows: tuple[int, ...]  # along the first axis, where wrong entries are ...
    wrong_columns: tuple[int, ...]  # ... and along the last
    usage: str = ""  # which call returned it, of several in a row; empty: the first
    source: Source | None = None  # of the backward function

    @property
    def key(self) -> str:
        """Its key in ``CheckResult.gradients``: "dX", or "function.dx" of a course file."""
        return self.name if self.function is None else f"{self.function}.{self.name}"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that it must have."""
        return self.numerical.shape

    @property
    def entries(self) -> int:
        """How many entries it has, checked or not."""
        return self.numerical.size


@dataclass(frozen=True, slots=True, eq=False)
class PairResult:
    """What one pair of functions answered on one problem, what was measured for it, and the judgement."""

    measurement: Measurement
    pair_output: PairOutput
    output: ForwardResult
    gradients: Mapping[str, GradientResult]  # by the name of the input: "X", ...
    precision: Precision  # the arithmetic of the whole answer

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdicts on its output and on its gradients."""
        return [self.output.verdict, *(g.verdict for g in self.gradients.values())]

    @property
    def failed(self) -> tuple[str, ...]:
        """The inputs whose gradients are wrong."""
        return tuple(name for name, g in self.gradients.items() if g.verdict is Verdict.FAIL)


@dataclass(frozen=True, slots=True, eq=False)
class CheckResult:
    """One check, from the problem to the verdict."""

    problem: Problem  # as it was checked: dout is 0 at the guarded outputs
    target: TargetInfo
    options: CheckOptions
    forward: tuple[ForwardResult, ...]  # the target's outputs against batch norm's own
    gradients: Mapping[str, GradientResult]  # by key ("dX"), in the order in which they are shown
    unchecked_functions: tuple[UncheckedFunction, ...]  # optional functions that raised
    not_checked: tuple[NotChecked, ...]  # what the target has and the check did not look at
    incomplete: bool  # a function without which the target is not complete is missing, or not implemented yet
    kink_exclusion: KinkExclusion
    cross_check: CrossCheck | None  # None where the full engine did the work itself
    edge_cases: tuple[EdgeCaseResult, ...]  # the target on small problems on which some mistakes cannot hide
    notes: tuple[Note, ...]
    interrupted: bool  # Ctrl-C ended it early; then it is never a pass
    seconds: float  # wall-clock time
    reproduce: str | None  # the command that does it again; None for objects given in Python
    diagnosis: "tuple[Diagnosis, ...]" = ()  # what is wrong, the nearest to the loss first
    wrong_part: "WrongPart | None" = None  # of the function that the first diagnosis is about
    minimal_example: "MinimalExample | None" = None

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all; never a pass where the audit or an interruption forbids it."""
        verdicts = [part.verdict for part in self.forward]
        verdicts += [gradient.verdict for gradient in self.gradients.values()]
        verdicts += [probe.verdict for probe in self.edge_cases]
        verdicts += [note.verdict for note in self.unchecked_functions]
        if (
            not self.gradients
            or self.incomplete
            or self.interrupted
            or not (self.cross_check is None or self.cross_check.agrees)
        ):
            verdicts.append(Verdict.INCONCLUSIVE)
        return Verdict.worst(verdicts)

    @property
    def checked(self) -> int:
        """How many entries were checked, over all gradients."""
        return sum(gradient.checked for gradient in self.gradients.values())

    @property
    def entries(self) -> int:
        """How many entries there are, over all gradients."""
        return sum(gradient.entries for gradient in self.gradients.values())

    @property
    def resolution(self) -> float:
        """The worst resolution of the gradients."""
        return max((g.resolution for g in self.gradients.values()), default=math.inf)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the JSON document, schema "bncheck/1"."""
        p, gradients = self.problem, self.gradients.values()
        sizes = {"N": p.N, "D": p.D, "H": p.H, "seed": p.seed}
        return {
            "schema": SCHEMA,
            "verdict": self.verdict.value,
            **as_json(self),
            "problem": {**sizes, "bn_eps": p.bn_eps, "x_mean": p.x_mean, "x_std": p.x_std},
            "gradients": [{"shape": list(g.shape), **as_json(g)} for g in gradients],
        }

    def __str__(self) -> str:
        p = self.problem
        lines = [
            f"{self.verdict.value.upper()}  {self.target.name}, N {p.N}, D {p.D}, H {p.H}: "
            f"{self.checked:,} of {self.entries:,} entries checked"
        ]
        lines += [
            f"  {key:8} {g.verdict.value:12} {g.wrong:,} of {g.checked:,} wrong, "
            f"{g.tolerance_ratio:.2g} of tolerance, resolution {g.resolution:.1e}"
            for key, g in self.gradients.items()
        ]
        return "\n".join(lines)


def as_json(value: Any) -> Any:
    """Return a record as JSON can hold it: no arrays, a non-finite number as its name."""
    names = [field.name for field in fields(value)] if is_dataclass(value) else getattr(value, "_fields", ())
    if names:
        parts = {name: getattr(value, name) for name in names}
        left_out = (np.ndarray, Problem, Mapping)  # large, or written by hand in to_dict
        return {k: as_json(v) for k, v in parts.items() if not isinstance(v, left_out)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
