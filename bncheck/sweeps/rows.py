"""The rows of a sweep: the summary of one check each, and its JSON."""

import json
import math
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from bncheck.checking.target_check import NOT_ASKED_FOR
from bncheck.errors import InvalidInput
from bncheck.model.problem import is_finite_number
from bncheck.model.results import CheckResult, GradientResult
from bncheck.model.verdict import Verdict
from bncheck.model.version import __version__
from bncheck.sweeps.grid import AXES, SweepPoint, require_axis_value

SWEEP_SCHEMA = "bncheck-sweep/2"
# Smaller norm relative errors count as this in ``correct_digits``: float64 does not resolve more than 17 digits.
MIN_RELATIVE_ERROR = 1e-17
# Longer messages are cut off, so that a row stays short; most have under 120 characters.
MAX_ROW_MESSAGE_CHARS = 200
# A float64 with this many decimals of its scientific notation is read back as the same number.
EXACT_DECIMALS = 16
# Limits of what is read back, so that sums and times of rows do not overflow: entries, and seconds (30 years).
MAX_COUNT, MAX_SECONDS = 2**63, 1e9


class JsonKind(NamedTuple):
    """What a field of a row may contain."""

    description: str  # "an integer"
    includes: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    """Return whether ``_rounded`` may have written a value; Python's json also reads NaN and Infinity."""
    return isinstance(value, float) or value in ("nan", "inf", "-inf") or is_finite_number(value)


def _or_null(kind: JsonKind) -> JsonKind:
    return JsonKind(f"{kind.description}, or null", lambda value: value is None or kind.includes(value))


COUNT = JsonKind("an integer of at least 0", lambda value: isinstance(value, int) and 0 <= value <= MAX_COUNT)
NUMBER = JsonKind("a number", _is_number)
# ||a - n|| / max(||a||, ||n||) is at most 2 by the triangle inequality, and then rounded; infinite if a is.
ERROR = JsonKind("a number from 0 to 2", lambda v: _is_number(v) and not (float(v) < 0 or 2 < float(v) < math.inf))
SECONDS = JsonKind("a number of seconds", lambda value: is_finite_number(value) and 0 <= value <= MAX_SECONDS)
TEXT = JsonKind("a string", lambda value: isinstance(value, str))
TEXTS = JsonKind("a list of strings", lambda value: isinstance(value, list) and all(map(TEXT.includes, value)))
# No file name or option contains one of these halves of a surrogate pair, and no shell could pass it on.
COMMAND = JsonKind("a command", lambda v: isinstance(v, str) and not re.search("[\ud800-\udc7f\udd00-\udfff]", v))
OBJECT = JsonKind("an object", lambda value: isinstance(value, dict))
VERDICT_VALUES = [verdict.value for verdict in Verdict]  # a list: JSON that has no hash is compared, too
VERDICT = JsonKind("pass, inconclusive or fail", VERDICT_VALUES.__contains__)

# The fields that are equal in a row and in its JSON.
UNCHANGED_FIELDS = {
    "checked": COUNT, "wrong": COUNT, "excluded": COUNT, "seconds": SECONDS, "reproduce": COMMAND, "message": TEXT,
    "version": _or_null(TEXT),
}  # fmt: skip


def _read(content: Mapping[str, Any], name: str, kind: JsonKind) -> Any:
    """Return the value of a field; raise InvalidInput if it is of another kind."""
    if not kind.includes(content[name]):
        raise InvalidInput(f"{name!r} must be {kind.description}, got {reprlib.repr(content[name])}")
    return content[name]


@dataclass(frozen=True, slots=True)
class GradientSummary:
    """The verdict on one gradient, and its main numbers."""

    verdict: Verdict
    norm_relative_error: float | None  # ||a - n|| / max(||a||, ||n||); None: the gradient is exactly 0, as expected
    tolerance_ratio: float  # max |a - n| / tolerance
    resolution: float  # smallest relative error in a term that the check detects in every entry
    relative_error_bound: float  # ||error bound|| / ||n||; NaN: unknown, because an old version wrote the row

    @classmethod
    def from_result(cls, result: GradientResult) -> "GradientSummary":
        """Summarize a gradient."""
        error = None if result.exact_zero and not result.wrong else result.norm_relative_error
        return cls(result.verdict, error, result.tolerance_ratio, result.resolution, _relative_error_bound(result))

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "GradientSummary":
        """Return the summary that ``to_dict`` wrote."""
        error = _read(content, "relative_error", _or_null(ERROR))
        numbers = (
            float(_read(content, name, NUMBER)) for name in ("tolerance_ratio", "resolution", "relative_error_bound")
        )
        return cls(Verdict(_read(content, "verdict", VERDICT)), None if error is None else float(error), *numbers)

    def to_dict(self, *, exact: bool = False) -> dict[str, Any]:
        """Return the JSON content, with rounded numbers unless they must be exact."""
        decimals, bound_decimals = (EXACT_DECIMALS, EXACT_DECIMALS) if exact else (3, 1)
        return {
            "verdict": self.verdict.value,
            "relative_error": _rounded(self.norm_relative_error, decimals),
            "tolerance_ratio": _rounded(self.tolerance_ratio, decimals),
            "resolution": _rounded(self.resolution, decimals),
            "relative_error_bound": _rounded(self.relative_error_bound, bound_decimals),
        }

    @property
    def digits(self) -> float:
        """Correct digits of the gradient, from its norm relative error."""
        return correct_digits(self.norm_relative_error)


def correct_digits(norm_relative_error: float | None) -> float:
    """Return -log10 of a norm relative error; infinite for None, 0 for an error that is not finite."""
    if norm_relative_error is None:
        return math.inf
    return -math.log10(max(norm_relative_error, MIN_RELATIVE_ERROR)) if math.isfinite(norm_relative_error) else 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """One check of a sweep, without arrays."""

    point: SweepPoint
    verdict: Verdict | None  # None: could not run
    gradients: Mapping[str, GradientSummary]  # by key: "dX", or "batchnorm_backward.dx" of layer functions
    checked: int  # entries that were checked, over all gradients
    wrong: int  # wrong entries, of the outputs and the gradients
    excluded: int  # outputs that are too close to ReLU's kink to check
    seconds: float  # wall-clock time
    reproduce: str  # command that repeats the check; "" if it could not run
    message: str  # first reason why it did not pass or could not run; "" if there is none
    notes: tuple[str, ...] = ()  # one line per note and per function that was not checked
    version: str | None = __version__  # version of bncheck that did the check; None: older than 0.2

    @classmethod
    def from_result(cls, point: SweepPoint, result: CheckResult) -> "Row":
        """Summarize a check."""
        gradients = {key: GradientSummary.from_result(gradient) for key, gradient in result.gradients.items()}
        return cls(
            point, result.verdict, gradients, result.checked, _count_wrong(result), result.kink_exclusion.excluded,
            result.seconds, reproduce=result.options.command(result.problem, point.target) or "",
            message=_first_reason(result), notes=_notes(result),
        )  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Row":
        """Return the row that ``to_dict`` wrote.

        Raises
        ------
        InvalidInput
            A value has another type, or is out of its range.
        KeyError
            A field is missing.
        """
        for axis in AXES:
            require_axis_value(axis, content[axis])
        verdict, gradients = _read(content, "verdict", _or_null(VERDICT)), _read(content, "gradients", OBJECT)
        if unprintable := [name for name in gradients if not name.isprintable()]:
            raise InvalidInput(f"the name of a gradient must be printable, got {reprlib.repr(unprintable[0])}")
        return cls(
            point=SweepPoint(**{axis: content[axis] for axis in AXES}),
            verdict=None if verdict is None else Verdict(verdict),
            gradients={key: GradientSummary.from_dict(_read(gradients, key, OBJECT)) for key in gradients},
            notes=tuple(_read(content, "notes", TEXTS)),
            **{name: _read(content, name, kind) for name, kind in UNCHANGED_FIELDS.items()},
        )

    def to_dict(self, sweep_id: str | None = None, *, exact: bool = False) -> dict[str, Any]:
        """Return the JSON content, with rounded numbers and a short message unless it must be exact."""
        gradients = {key: gradient.to_dict(exact=exact) for key, gradient in self.gradients.items()}
        message = self.message if exact else self.message[:MAX_ROW_MESSAGE_CHARS]
        seconds = _rounded(self.seconds, EXACT_DECIMALS if exact else 3)
        return {
            "schema": SWEEP_SCHEMA, "sweep_id": sweep_id, "version": self.version, **asdict(self.point),
            "verdict": self.verdict and self.verdict.value, "gradients": gradients, "checked": self.checked,
            "wrong": self.wrong, "excluded": self.excluded, "seconds": seconds,
            "reproduce": self.reproduce, "message": message, "notes": list(self.notes),
        }  # fmt: skip

    @classmethod
    def from_worker(cls, point: SweepPoint, content: Mapping[str, Any]) -> "Row":
        """Return the row that a worker wrote with ``exact``, for the point whose check was requested."""
        return cls.from_dict({**content, **asdict(point)})

    def to_json(self, sweep_id: str) -> str:
        """Return the line of a row file, without the line end."""
        return json.dumps(self.to_dict(sweep_id), allow_nan=False)

    @property
    def rounded(self) -> "Row":
        """The row as it is read back from a file: reports of a sweep and of its file show equal numbers."""
        return Row.from_dict(self.to_dict())


def _count_wrong(result: CheckResult) -> int:
    return sum(f.wrong for f in result.forward) + sum(g.wrong for g in result.gradients.values())


def _first_reason(result: CheckResult) -> str:
    """Return the first reason why a check did not pass: of the outputs, the gradients and functions, the edge cases.

    If the check fails without a wrong entry, the edge cases come before the gradients; with one, they are left out.
    """
    reasons = [reason for gradient in result.gradients.values() for reason in gradient.reasons]
    reasons += [f"{item.function} {item.reason}".partition("\n")[0] for item in result.unchecked_functions]
    not_passed = [case for case in result.edge_cases if case.verdict is not Verdict.PASS]
    edge_cases = [f"edge case {case.name}: {', '.join(case.failed)}" for case in not_passed]
    if _count_wrong(result):
        edge_cases = []
    elif result.verdict is Verdict.FAIL:
        reasons, edge_cases = edge_cases, reasons
    outputs = [output.message for output in result.forward if output.message]
    return next(iter((*outputs, *reasons, *edge_cases)), "")


def _notes(result: CheckResult) -> tuple[str, ...]:
    """Return the notes, and what was not checked, one line each; low-resolution notes differ in every row."""
    notes = [note.message for note in result.notes if note.code != "low-resolution"]
    # The edge cases are part of the row at ``Grid.first_point``; in the other rows their absence needs no note.
    not_checked = [item for item in result.not_checked if item.reason != NOT_ASKED_FOR]
    return (*notes, *(f"not checked: {item.function}: {item.reason}" for item in not_checked))


def _relative_error_bound(gradient: GradientResult) -> float:
    """Return ||error bound|| / ||n|| over the entries that were evaluated; infinite if n is 0."""
    evaluated = np.isfinite(gradient.numerical)
    norm = float(np.linalg.norm(gradient.numerical[evaluated]))
    return float(np.linalg.norm(gradient.error_bound[evaluated])) / norm if norm else math.inf


def _rounded(value: float | None, decimals: int = 3) -> float | str | None:
    """Round a number to decimals of its scientific notation; a number that JSON does not have becomes its name."""
    if value is None:
        return None
    return float(f"{value:.{decimals}e}") if math.isfinite(value) else str(value)
