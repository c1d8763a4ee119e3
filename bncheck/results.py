"""The frozen records on every arrow of a check, and the verdict."""

import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
    """How the numerical gradients were taken.

    Attributes
    ----------
    scheme : str
        The finite-difference formula.
    engine : str
        "local" or "full": how the perturbed losses were evaluated.
    step : float or "auto"
        The absolute step, or the scale-aware ones.
    sample : int or None
        How many entries of each gradient were drawn; None for all of them.
    rtol, atol : float or None
        The rule atol + rtol max(|a|, |n|) that replaces the error bars where either is given.
    """

    scheme: str
    engine: str
    step: float | str
    sample: int | None = None
    rtol: float | None = None
    atol: float | None = None

    @property
    def usual_rule(self) -> bool:
        """Whether rtol or atol was asked for, the field's usual rule."""
        return self.rtol is not None or self.atol is not None


@dataclass(frozen=True, slots=True)
class NumericalGradient:
    """One gradient from finite differences, with its error bars.

    Attributes
    ----------
    value : array
        The estimate, in the parameter's shape; NaN where it was not evaluated.
    done : array of bool
        Where it was evaluated.
    asked : int
        How many entries were to be evaluated; fewer are done only where Ctrl-C came between.
    error_bar : array
        Bound on |value - exact derivative of the guarded problem|; inf where unresolved.
    conditioning : array
        The part of it that rounding at the base point makes, which an analytic float64
        gradient shares.
    size : array
        S, the size of the terms that the entry is made of before they cancel.
    zero : bool
        Whether the true gradient is exactly 0 whatever the numbers are.
    widest : Cause
        What dominates the error bar where it is widest in terms of ``size``.
    """

    value: FloatArray
    done: BoolArray
    asked: int
    error_bar: FloatArray
    conditioning: FloatArray
    size: FloatArray
    zero: bool
    widest: Cause


@dataclass(frozen=True, slots=True)
class Kinks:
    """The outputs that are no part of the loss because they lie too near ReLU's kink.

    Attributes
    ----------
    guarded, outputs : int
        How many of how many.
    dead_units : int
        Units of which no active output is left in the loss.
    """

    guarded: int
    outputs: int
    dead_units: int


@dataclass(frozen=True, slots=True)
class Audit:
    """The local engine held against whole forward passes on random entries.

    Attributes
    ----------
    entries : int
        How many entries both engines evaluated.
    max_difference : float
        The largest difference, in the gradient's units.
    of_bar : float
        The largest difference in terms of the rounding bar that bounds it; 1 is the limit.
    """

    entries: int
    max_difference: float
    of_bar: float

    @property
    def agrees(self) -> bool:
        """Whether every difference is within its bar (a NaN is not)."""
        return self.of_bar <= 1


@dataclass(frozen=True, slots=True)
class Numerical:
    """What ``differentiate`` hands on: the gradients by name ("dX", ...), and how they were got."""

    gradients: Mapping[str, NumericalGradient]
    audit: Audit | None
    interrupted: bool


@dataclass(frozen=True, slots=True)
class Analytic:
    """What a target returned.

    Attributes
    ----------
    output : array
        The network's output a, as it came.
    gradients : mapping of str to array
        By name ("dX", ...), as they came: shapes and values are judged later.
    """

    output: npt.NDArray[Any]
    gradients: Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """What was checked: its name, interface ("network"), dtype and mode ("train")."""

    name: str
    interface: str
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
    """The target's output against batch norm's own.

    Attributes
    ----------
    name : str
        The output's name, "a".
    function : str or None
        The function of a course file it comes from; None for a whole network.
    verdict : Verdict
    max_relative_error : float
    note : str
        What is wrong with it in words, such as its shape; empty if nothing is.
    """

    name: str
    function: str | None
    verdict: Verdict
    max_relative_error: float
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document's part for it."""
        return {
            "function": self.function,
            "name": self.name,
            "verdict": self.verdict.value,
            "max_relative_error": _json_number(self.max_relative_error),
            "note": self.note or None,
        }


@dataclass(frozen=True, slots=True)
class GradientResult:
    """One gradient, judged.

    Attributes
    ----------
    name : str
        What it is called: "dX".
    function : str or None
        The function of a course file it comes from; None for a whole network.
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
    largest_relative : Entry or None
        Where that maximum is taken.
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
    worst : tuple of Entry
        The worst entries, the worst first.
    rows, columns : tuple of int
        Along the first and the last axis, where wrong entries are.
    """

    name: str
    function: str | None
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
    largest_relative: Entry | None
    norm_relative_error: float
    max_absolute_error: float
    of_tolerance: float
    resolution: float
    value_resolution: float | None
    zero: bool
    worst: tuple[Entry, ...]
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

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document's part for it."""
        worst = self.worst[0] if self.worst else None
        return {
            "function": self.function,
            "name": self.name,
            "shape": list(self.numerical.shape),
            "entries": self.entries,
            "checked": self.checked,
            "wrong": self.wrong,
            "unresolved": self.unresolved,
            "verdict": self.verdict.value,
            "reasons": list(self.reasons),
            "max_relative_error": _json_number(self.max_relative_error),
            "norm_relative_error": _json_number(self.norm_relative_error),
            "max_absolute_error": _json_number(self.max_absolute_error),
            "of_tolerance": _json_number(self.of_tolerance),
            "resolution": _json_number(self.resolution),
            "value_resolution": _json_number(self.value_resolution),
            "zero": self.zero,
            "worst": worst
            and {
                "index": list(worst.index),
                "analytic": _json_number(worst.analytic),
                "numerical": _json_number(worst.numerical),
                "tolerance": _json_number(worst.tolerance),
            },
        }


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
        p = self.problem
        return {
            "schema": SCHEMA,
            "verdict": self.verdict.value,
            "problem": {
                "N": p.N,
                "D": p.D,
                "H": p.H,
                "seed": p.seed,
                "bn_eps": p.bn_eps,
                "x_mean": p.x_mean,
                "x_std": p.x_std,
            },
            "target": {
                "name": self.target.name,
                "interface": self.target.interface,
                "dtype": self.target.dtype,
                "mode": self.target.mode,
            },
            "method": {
                "scheme": self.method.scheme,
                "engine": self.method.engine,
                "step": self.method.step,
                "sample": self.method.sample,
                "rtol": self.method.rtol,
                "atol": self.method.atol,
            },
            "forward": [part.to_dict() for part in self.forward],
            "gradients": [gradient.to_dict() for gradient in self.gradients.values()],
            "kinks": {
                "guarded": self.kinks.guarded,
                "outputs": self.kinks.outputs,
                "dead_units": self.kinks.dead_units,
            },
            "audit": self.audit
            and {
                "entries": self.audit.entries,
                "max_difference": _json_number(self.audit.max_difference),
                "of_bar": _json_number(self.audit.of_bar),
            },
            "probes": [],
            "remarks": [{"code": r.code, "text": r.text} for r in self.remarks],
            "diagnosis": [],
            "interrupted": self.interrupted,
            "seconds": self.seconds,
            "reproduce": self.reproduce,
        }

    def __str__(self) -> str:
        p = self.problem
        lines = [
            f"{self.verdict.value.upper()}  {self.target.name}, N {p.N}, D {p.D}, H {p.H}: "
            f"{self.checked:,} of {self.entries:,} entries checked"
        ]
        for key, g in self.gradients.items():
            lines.append(
                f"  {key:8} {g.verdict.value:12} {g.wrong:,} of {g.checked:,} wrong, "
                f"{g.of_tolerance:.2g} of tolerance, resolution {g.resolution:.1e}"
            )
        return "\n".join(lines)


def _json_number(value: float | None) -> float | str | None:
    """Return a number as JSON can hold it: a non-finite one as "nan", "inf" or "-inf"."""
    if value is None or math.isfinite(value):
        return value
    return str(value)
