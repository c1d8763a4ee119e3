"""The JSON document of a check, schema "bncheck/2".

The names of every record are listed here on purpose: an attribute that is added to a record does not get into a
document, and one that is renamed raises an error. Fields are only ever added.
"""

import enum
import math
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from bncheck.model.version import __version__

if TYPE_CHECKING:
    from bncheck.model.results import CheckResult

CHECK_SCHEMA = "bncheck/2"

# The names of a record in a document, by the name of its class: importing the classes would import NumPy (60 ms).
FIELDS: Mapping[str, tuple[str, ...]] = {
    "TargetInfo": ("name", "interface", "dtype", "mode"),
    "Problem": ("N", "D", "H", "seed", "bn_eps", "x_mean", "x_std"),
    "CheckOptions": ("scheme", "engine", "step", "sample", "only", "rtol", "atol", "cross_check_entries"),
    "ForwardResult": (
        "function", "component", "name", "shape", "entries", "wrong", "verdict", "max_relative_error", "message",
        "usage", "source",
    ),
    "GradientResult": (
        "function", "component", "name", "shape", "checked", "wrong", "unresolved", "verdict", "reasons",
        "max_relative_error", "largest_relative_error_at", "norm_relative_error", "max_absolute_error",
        "tolerance_ratio", "resolution", "value_resolution", "exact_zero", "worst_entries", "wrong_rows",
        "wrong_columns", "usage", "source",
    ),
    "Entry": ("index", "analytic", "numerical", "tolerance"),
    "Source": ("file", "line"),
    "UncheckedFunction": ("function", "reason", "verdict"),
    "NotChecked": ("function", "reason"),
    "KinkExclusion": ("excluded", "outputs", "dead_units"),
    "CrossCheck": ("entries", "max_difference", "bound_ratio"),
    "EdgeCaseResult": ("name", "verdict", "failed", "reproduce", "shape", "about"),
    "Note": ("code", "message"),
    "Diagnosis": (
        "code", "name", "function", "gradient", "relative_distance", "message", "also_explains", "alternatives",
        "terms", "description",
    ),
    "Terms": ("direct", "mean", "variance", "unexplained", "exact", "labels"),
    "WrongPart": ("function", "part", "identities", "taylor_order"),
    "Identity": ("formula", "satisfied"),
    "MinimalExample": ("N", "D", "H", "seed", "reproduce"),
}  # fmt: skip


def check_document(r: "CheckResult") -> dict[str, Any]:
    """Return the content of the JSON document of a check.

    Parameters
    ----------
    r : CheckResult
        The check.

    Returns
    -------
    dict
        Only values that JSON has; what is unknown is None, and a non-finite number is "nan", "inf" or "-inf".
    """
    content: dict[str, Any] = jsonable({
        "schema": CHECK_SCHEMA, "verdict": r.verdict, "version": versions(), "target": r.target,
        "problem": r.problem, "options": r.options, "forward": r.forward, "gradients": [*r.gradients.values()],
        "not_checked": [*r.unchecked_functions, *({**jsonable(n), "verdict": None} for n in r.not_checked)],
        "incomplete": r.incomplete, "relu": r.kink_exclusion, "cross_check": r.cross_check,
        "edge_cases": r.edge_cases, "notes": r.notes, "assumed": None, "interrupted": r.interrupted,
        "seconds": r.seconds, "reproduce": r.reproduce,
        "diagnosis": [{**jsonable(d), "location": None, "edit": None} for d in r.diagnosis],
        "wrong_part": r.wrong_part, "minimal_example": r.minimal_example,
    })  # fmt: skip
    return content


def failure_document(target: str, error: str) -> dict[str, Any]:
    """Return the content of the JSON document of a target that could not run."""
    return {
        "schema": CHECK_SCHEMA, "verdict": None, "version": versions(), "target": {"name": target}, "error": error,
    }  # fmt: skip


@cache
def versions() -> Mapping[str, str]:
    """Return the versions of bncheck, NumPy, Python and the operating system."""
    import platform  # noqa: PLC0415 - only needed for a document

    import numpy as np  # noqa: PLC0415 - slow import (60 ms); the documents of the catalogue need no versions

    system = {"python": platform.python_version(), "platform": platform.platform()}
    return {"bncheck": __version__, "numpy": np.__version__, **system}


def jsonable(value: Any) -> Any:
    """Return a nested value as JSON has it: records as objects, tuples as lists, non-finite numbers as strings."""
    if fields := FIELDS.get(type(value).__name__):
        return {name: jsonable(getattr(value, name)) for name in fields}
    if isinstance(value, Mapping):
        return {name: jsonable(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [jsonable(item) for item in value]
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
