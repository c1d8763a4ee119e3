"""The frozen records on every arrow of a check, and the verdict."""

import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bncheck.problem import FloatArray, Problem

BoolArray: TypeAlias = npt.NDArray[np.bool_]

SCHEMA = "bncheck/1"

# The gradients, in the order in which they are shown.
GRADIENTS = ("dX", "dW", "db", "dgamma", "dbeta", "dh")


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


@dataclass(frozen=True, slots=True)
class Method:
    """How the numerical gradients were taken, and what they were judged by."""

    scheme: str  # the finite-difference formula
    engine: str  # "local" or "full": how the perturbed losses were evaluated
    step: float | str  # absolute, or "auto": scale-aware ones
    sample: int | None = None  # entries drawn of each gradient; None for all of them
    rtol: float | None = None  # either of these given: atol + rtol max(|a|, |n|) ...
    atol: float | None = None  # ... replaces the error bars

    @property
    def usual_rule(self) -> bool:
        """Whether rtol or atol was asked for, the field's usual rule."""
        return self.rtol is not None or self.atol is not None


@dataclass(frozen=True, slots=True)
class NumericalGradient:
    """One gradient from finite differences, with its error bars; arrays have its shape."""

    value: FloatArray  # the estimate; NaN where it was not evaluated
    done: BoolArray  # where it was evaluated
    asked: int  # entries to be evaluated; fewer are done only where Ctrl-C came between
    error_bar: (
        FloatArray  # bounds |value - exact derivative of the guarded problem|; inf: unresolved
    )
    conditioning: (
        FloatArray  # its part from rounding at the base point, which an analytic value shares
    )
    size: FloatArray  # S: the terms that the entry is made of before they cancel
    zero: bool  # the true gradient is exactly 0 whatever the numbers are
    widest: Cause  # what dominates the error bar where it is widest in terms of size


@dataclass(frozen=True, slots=True)
class Kinks:
    """The outputs that are no part of the loss because they lie too near ReLU's kink."""

    guarded: int  # how many ...
    outputs: int  # ... of how many
    dead_units: int  # units of which no active output is left in the loss


@dataclass(frozen=True, slots=True)
class Audit:
    """The local engine held against whole forward passes on random entries."""

    entries: int  # evaluated by both
    max_difference: float  # in the gradient's units
    of_bar: float  # the largest difference in terms of the rounding bar that bounds it

    @property
    def agrees(self) -> bool:
        """Whether every difference is within its bar (a NaN is not)."""
        return self.of_bar <= 1


@dataclass(frozen=True, slots=True)
class Numerical:
    """What ``differentiate`` hands on."""

    gradients: Mapping[str, NumericalGradient]  # by name: "dX", ...
    audit: Audit | None  # None where the full engine did the work itself
    interrupted: bool


@dataclass(frozen=True, slots=True)
class Analytic:
    """What a target returned, as it came: shapes and values are judged later."""

    output: npt.NDArray[Any]  # a
    gradients: Mapping[str, npt.NDArray[Any]]  # by name: "dX", ...


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """What was checked."""

    name: str
    interface: str  # "network"
    dtype: str = "float64"
    mode: str = "train"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a gradient: where it is, both values, and how far apart they may be."""

    index: tuple[int, ...]
    analytic: float
    numerical: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class Remark:
    """Something worth knowing that is no verdict: a stable code, and a sentence."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class ForwardResult:
    """The target's output against batch norm's own."""

    function: str | None  # of a course file; None for a whole network
    name: str  # "a"
    verdict: Verdict
    max_relative_error: float
    note: str = ""  # what is wrong with it in words, such as its shape


@dataclass(frozen=True, slots=True)
class GradientResult:
    """One gradient, judged.

    Attributes
    ----------
    function : str or None
        The function of a course file it comes from; None for a whole network.
    name : str
        What it is called: "dX".
    analytic, numerical : arrays
        Both gradients; numerical is NaN where no entry was evaluated.
    error_bar : array
        Bound on |numerical - exact derivative of the guarded problem|.
    tolerance : array
        Bound on |analytic - numerical| for a right gradient: the error bar and the rounding of
        the analytic value, or what ``rtol`` and ``atol`` ask for.
    checked, wrong, unresolved : int
        Entries that were evaluated; of these, off by more than the tolerance; and undecidable.
    verdict : Verdict
    reasons : tuple of str
        Why it is inconclusive, or what is wrong beyond single entries (a shape).
    max_relative_error : float
        max |a - n| / max(|a|, |n|) over entries where that is not 0/0.
    norm_relative_error : float
        ||a - n|| / max(||a||, ||n||).
    max_absolute_error, of_tolerance : float
        max |a - n|, and max |a - n| / tolerance, which is what was judged.
    resolution : float
        max tolerance / size over live entries: the smallest wrong share of a term that would
        have been seen everywhere.
    value_resolution : float or None
        max tolerance / max |n|: the smallest wrong factor on the whole gradient that would have
        been seen; None for a gradient that is exactly 0.
    zero : bool
        Whether the true gradient is exactly 0 whatever the numbers are.
    worst, next_worst : Entry or None, tuple of Entry
        The worst entry, and the wrong ones after it.
    largest_relative : Entry or None
        Where the relative error is largest.
    rows, columns : tuple of int
        Along the first and the last axis, where wrong entries are.
    """

    function: str | None
    name: str
    analytic: FloatArray
    numerical: FloatArray
    error_bar: FloatArray
    tolerance: FloatArray
    checked: int
    wrong: int
    unresolved: int
    verdict: Verdict
    reasons: tuple[str, ...]
    max_relative_error: float
    norm_relative_error: float
    max_absolute_error: float
    of_tolerance: float
    resolution: float
    value_resolution: float | None
    zero: bool
    worst: Entry | None
    next_worst: tuple[Entry, ...]
    largest_relative: Entry | None
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def key(self) -> str:
        """Its key in ``CheckResult.gradients``: "dX", or "function.dx" of a course file."""
        return self.name if self.function is None else f"{self.function}.{self.name}"

    @property
    def entries(self) -> int:
        """How many entries it has, checked or not."""
        return self.numerical.size


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check, from the problem to the verdict.

    Attributes
    ----------
    problem : Problem
        As it was checked: dout is 0 at the guarded outputs.
    target : TargetInfo
    method : Method
    forward : tuple of ForwardResult
        The target's outputs against batch norm's own.
    gradients : mapping of str to GradientResult
        By ``GradientResult.key``, in the order in which they are shown.
    kinks : Kinks
    audit : Audit or None
        None where the full engine did the work itself.
    remarks : tuple of Remark
    interrupted : bool
        Whether Ctrl-C ended it early; then it is never a pass.
    seconds : float
        Wall-clock time.
    reproduce : str or None
        The command that does it again; None where no command can (objects given in Python).
    """

    problem: Problem
    target: TargetInfo
    method: Method
    forward: tuple[ForwardResult, ...]
    gradients: Mapping[str, GradientResult]
    kinks: Kinks
    audit: Audit | None
    remarks: tuple[Remark, ...]
    interrupted: bool
    seconds: float
    reproduce: str | None

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all; never a pass where the audit or an interruption forbids it."""
        verdicts = [part.verdict for part in self.forward]
        verdicts += [gradient.verdict for gradient in self.gradients.values()]
        if not self.gradients or self.interrupted or not (self.audit is None or self.audit.agrees):
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
            **_as_json(self),
            "problem": {**sizes, "bn_eps": p.bn_eps, "x_mean": p.x_mean, "x_std": p.x_std},
            "gradients": [{"shape": list(g.numerical.shape), **_as_json(g)} for g in gradients],
            "probes": [],
            "diagnosis": [],
        }

    def __str__(self) -> str:
        p = self.problem
        lines = [
            f"{self.verdict.value.upper()}  {self.target.name}, N {p.N}, D {p.D}, H {p.H}: "
            f"{self.checked:,} of {self.entries:,} entries checked"
        ]
        lines += [
            f"  {key:8} {g.verdict.value:12} {g.wrong:,} of {g.checked:,} wrong, "
            f"{g.of_tolerance:.2g} of tolerance, resolution {g.resolution:.1e}"
            for key, g in self.gradients.items()
        ]
        return "\n".join(lines)


def _as_json(value: Any) -> Any:
    """Return a record as JSON can hold it: no arrays, a non-finite number as its name."""
    if is_dataclass(value):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        left_out = (np.ndarray, Problem, Mapping)
        return {k: _as_json(v) for k, v in parts.items() if not isinstance(v, left_out)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
