"""The rows of a sweep: the summary of one check each, and its JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bncheck.checking.target_check import NOT_ASKED_FOR
from bncheck.model.results import CheckResult, GradientResult
from bncheck.model.verdict import Verdict
from bncheck.model.version import __version__
from bncheck.sweeps.grid import AXES, SweepPoint

SWEEP_SCHEMA = "bncheck-sweep/2"
# Smaller norm relative errors count as this in ``correct_digits``: float64 does not resolve more than 17 digits.
MIN_RELATIVE_ERROR = 1e-17
# Longer messages are cut off, so that a row stays short; most have under 120 characters.
MAX_ROW_MESSAGE_CHARS = 200
# A float64 with this many decimals of its scientific notation is read back as the same number.
EXACT_DECIMALS = 16


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
        error = content["relative_error"]
        numbers = (float(content[name]) for name in ("tolerance_ratio", "resolution", "relative_error_bound"))
        return cls(Verdict(content["verdict"]), None if error is None else float(error), *numbers)

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
        """Return the row that ``to_dict`` wrote."""
        unchanged = ("checked", "wrong", "excluded", "seconds", "reproduce", "message", "version")
        return cls(
            point=SweepPoint(**{axis: content[axis] for axis in AXES}),
            verdict=Verdict(content["verdict"]) if content["verdict"] else None,
            gradients={key: GradientSummary.from_dict(numbers) for key, numbers in content["gradients"].items()},
            notes=tuple(content["notes"]),
            **{name: content[name] for name in unchanged},
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
