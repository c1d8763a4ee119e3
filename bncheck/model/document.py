"""The JSON document of a check, schema "bncheck/2".

Every name is written here on purpose: renaming an attribute changes no document. Fields are only ever added.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from bncheck.model.version import __version__

if TYPE_CHECKING:
    from bncheck.model.diagnosis_records import Diagnosis, MinimalExample, Terms, WrongPart
    from bncheck.model.results import CheckResult, EdgeCaseResult, Entry, ForwardResult, GradientResult, Source

CHECK_SCHEMA = "bncheck/2"


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
    t, p, o, k, c = r.target, r.problem, r.options, r.kink_exclusion, r.cross_check
    content: dict[str, Any] = jsonable({
        "schema": CHECK_SCHEMA, "verdict": r.verdict.value, "version": versions(),
        "target": {"name": t.name, "interface": t.interface, "dtype": t.dtype, "mode": t.mode},
        "problem": {
            "N": p.N, "D": p.D, "H": p.H, "seed": p.seed, "bn_eps": p.bn_eps, "x_mean": p.x_mean, "x_std": p.x_std,
        },
        "options": {
            "scheme": o.scheme, "engine": o.engine, "step": o.step, "sample": o.sample, "only": o.only,
            "rtol": o.rtol, "atol": o.atol, "cross_check_entries": o.cross_check_entries,
        },
        "forward": [_forward(f) for f in r.forward],
        "gradients": [_gradient(g) for g in r.gradients.values()],
        "not_checked": [
            *({"function": u.function, "reason": u.reason, "verdict": u.verdict.value} for u in r.unchecked_functions),
            *({"function": n.function, "reason": n.reason, "verdict": None} for n in r.not_checked),
        ],
        "incomplete": r.incomplete,
        "relu": {"excluded": k.excluded, "outputs": k.outputs, "dead_units": k.dead_units},
        "cross_check": c and {
            "entries": c.entries, "max_difference": c.max_difference, "bound_ratio": c.bound_ratio,
        },
        "edge_cases": [_edge_case(e) for e in r.edge_cases],
        "notes": [{"code": n.code, "message": n.message} for n in r.notes],
        "assumed": None, "interrupted": r.interrupted, "seconds": r.seconds, "reproduce": r.reproduce,
        "diagnosis": [_diagnosis(d) for d in r.diagnosis],
        "wrong_part": r.wrong_part and _wrong_part(r.wrong_part),
        "minimal_example": r.minimal_example and _minimal_example(r.minimal_example),
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
    """Return a nested value with lists in place of tuples and non-finite numbers as strings."""
    if isinstance(value, Mapping):
        return {name: jsonable(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _forward(f: "ForwardResult") -> Mapping[str, Any]:
    return {
        "function": f.function, "component": f.component, "name": f.name, "shape": f.shape, "entries": f.entries,
        "wrong": f.wrong, "verdict": f.verdict.value, "max_relative_error": f.max_relative_error,
        "message": f.message, "usage": f.usage, "source": _source(f.source),
    }  # fmt: skip


def _gradient(g: "GradientResult") -> Mapping[str, Any]:
    largest = g.largest_relative_error_at
    return {
        "function": g.function, "component": g.component, "name": g.name, "shape": g.shape,
        "checked": g.checked, "wrong": g.wrong, "unresolved": g.unresolved, "verdict": g.verdict.value,
        "reasons": g.reasons, "max_relative_error": g.max_relative_error,
        "largest_relative_error_at": None if largest is None else _entry(largest),
        "norm_relative_error": g.norm_relative_error, "max_absolute_error": g.max_absolute_error,
        "tolerance_ratio": g.tolerance_ratio, "resolution": g.resolution, "value_resolution": g.value_resolution,
        "exact_zero": g.exact_zero, "worst_entries": [_entry(entry) for entry in g.worst_entries],
        "wrong_rows": g.wrong_rows, "wrong_columns": g.wrong_columns, "usage": g.usage, "source": _source(g.source),
    }  # fmt: skip


def _entry(e: "Entry") -> Mapping[str, Any]:
    return {"index": e.index, "analytic": e.analytic, "numerical": e.numerical, "tolerance": e.tolerance}


def _source(s: "Source | None") -> Mapping[str, Any] | None:
    return None if s is None else {"file": s.file, "line": s.line}


def _edge_case(e: "EdgeCaseResult") -> Mapping[str, Any]:
    return {
        "name": e.name, "verdict": e.verdict.value, "failed": e.failed, "reproduce": e.reproduce, "shape": e.shape,
        "about": e.about,
    }  # fmt: skip


def _diagnosis(d: "Diagnosis") -> Mapping[str, Any]:
    return {
        "code": d.code, "name": d.name, "function": d.function, "gradient": d.gradient,
        "relative_distance": d.relative_distance, "message": d.message, "also_explains": d.also_explains,
        "alternatives": d.alternatives, "terms": None if d.terms is None else _terms(d.terms),
        "description": d.description, "location": None, "edit": None,
    }  # fmt: skip


def _terms(t: "Terms") -> Mapping[str, Any]:
    return {
        "direct": t.direct, "mean": t.mean, "variance": t.variance, "unexplained": t.unexplained, "exact": t.exact,
        "labels": t.labels,
    }  # fmt: skip


def _wrong_part(w: "WrongPart") -> Mapping[str, Any]:
    identities = [{"formula": i.formula, "satisfied": i.satisfied} for i in w.identities]
    return {"function": w.function, "part": w.part, "identities": identities, "taylor_order": w.taylor_order}


def _minimal_example(m: "MinimalExample") -> Mapping[str, Any]:
    return {"N": m.N, "D": m.D, "H": m.H, "seed": m.seed, "reproduce": m.reproduce}
