"""The JSON document of a check: its names are frozen here, at all levels."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bncheck import CheckResult, Verdict, check, random_problem
from bncheck.model.document import failure_document, jsonable
from bncheck.model.results import NotChecked, Note, UncheckedFunction
from bncheck.model.version import __version__
from tests.python_targets import CorruptedGradients
from tests.samples import LAYERS, WRONG_LAYERS

# By path: the names of every record. A new field is added here and to the CHANGELOG; an existing one never changes.
KEYS = {
    "": {
        "schema", "verdict", "version", "target", "problem", "options", "forward", "gradients", "not_checked",
        "incomplete", "relu", "cross_check", "edge_cases", "notes", "assumed", "interrupted", "seconds", "reproduce",
        "diagnosis", "wrong_part", "minimal_example",
    },
    "version": {"bncheck", "numpy", "python", "platform"},
    "target": {"name", "interface", "dtype", "mode"},
    "problem": {"N", "D", "H", "seed", "bn_eps", "x_mean", "x_std"},
    "options": {"scheme", "engine", "step", "sample", "only", "rtol", "atol", "cross_check_entries"},
    "forward": {
        "function", "component", "name", "shape", "entries", "wrong", "verdict", "max_relative_error", "message",
        "usage", "source",
    },
    "forward.source": {"file", "line"},
    "gradients": {
        "function", "component", "name", "shape", "checked", "wrong", "unresolved", "verdict", "reasons",
        "max_relative_error", "largest_relative_error_at", "norm_relative_error", "max_absolute_error",
        "tolerance_ratio", "resolution", "value_resolution", "exact_zero", "worst_entries", "wrong_rows",
        "wrong_columns", "usage", "source",
    },
    "gradients.largest_relative_error_at": {"index", "analytic", "numerical", "tolerance"},
    "gradients.worst_entries": {"index", "analytic", "numerical", "tolerance"},
    "gradients.source": {"file", "line"},
    "not_checked": {"function", "reason", "verdict"},
    "relu": {"excluded", "outputs", "dead_units"},
    "cross_check": {"entries", "max_difference", "bound_ratio"},
    "edge_cases": {"name", "verdict", "failed", "reproduce", "shape", "about"},
    "notes": {"code", "message"},
    "diagnosis": {
        "code", "name", "function", "gradient", "relative_distance", "message", "also_explains", "alternatives",
        "terms", "description", "location", "edit",
    },
    "diagnosis.terms": {"direct", "mean", "variance", "unexplained", "exact", "labels"},
    "wrong_part": {"function", "part", "identities", "taylor_order"},
    "wrong_part.identities": {"formula", "satisfied"},
    "minimal_example": {"N", "D", "H", "seed", "reproduce"},
}  # fmt: skip


def key_sets(value: Any, path: str = "") -> dict[str, set[str]]:
    """Return the names of every record in a document, by its path."""
    result: dict[str, set[str]] = {}
    if isinstance(value, Mapping):
        result[path] = set(value)
        for name, item in value.items():
            result |= key_sets(item, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            result |= key_sets(item, path)
    return result


def document(result: CheckResult) -> Any:
    return json.loads(json.dumps(result.to_dict(), allow_nan=False))


@pytest.fixture(scope="module")
def failure(tmp_path_factory: pytest.TempPathFactory) -> CheckResult:
    """Return a failure with every optional record."""
    path = tmp_path_factory.mktemp("target") / "layers.py"
    path.write_text(WRONG_LAYERS, encoding="utf-8")
    result = check(random_problem(16, 5, 4), str(path))
    function = UncheckedFunction("affine_forward", "raised TypeError", Verdict.FAIL)
    skipped = NotChecked("relu_forward", "missing")
    note = Note("single-pass-variance", "a message")
    return replace(result, unchecked_functions=(function,), not_checked=(skipped,), notes=(note,))


def test_the_names_of_every_record_are_frozen(failure: CheckResult) -> None:
    assert key_sets(document(failure)) == KEYS


@pytest.mark.process
def test_a_pass_has_the_same_names(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(LAYERS, encoding="utf-8")
    names = key_sets(document(check(random_problem(8, 5, 4), str(path))))
    assert names == {path: KEYS[path] for path in names}
    assert names.keys() >= {"", "version", "target", "problem", "options", "forward", "gradients", "edge_cases"}


def test_values_are_those_of_the_check() -> None:
    content = document(check(random_problem(8, 5, 4, seed=3, x_mean=1.0), scheme="five-point"))
    assert (content["schema"], content["verdict"]) == ("bncheck/2", "pass")
    assert content["problem"] == {"N": 8, "D": 5, "H": 4, "seed": 3, "bn_eps": 1e-5, "x_mean": 1.0, "x_std": 1.0}
    assert content["target"] == {"name": "reference", "interface": "network", "dtype": "float64", "mode": "train"}
    assert content["options"]["scheme"] == "five-point"
    assert [output["name"] for output in content["forward"]] == ["a"]
    assert [g["name"] for g in content["gradients"]] == ["dX", "dW", "db", "dgamma", "dbeta", "dh"]
    assert content["assumed"] is content["wrong_part"] is content["minimal_example"] is None


def test_functions_that_raised_and_skipped_ones_are_in_one_list(failure: CheckResult) -> None:
    assert document(failure)["not_checked"] == [
        {"function": "affine_forward", "reason": "raised TypeError", "verdict": "fail"},
        {"function": "relu_forward", "reason": "missing", "verdict": None},
    ]


def test_the_versions_are_those_of_this_installation() -> None:
    assert document(check(random_problem(4, 3, 2)))["version"].items() >= {
        ("bncheck", __version__),
        ("numpy", np.__version__),
    }


def test_non_finite_numbers_are_strings() -> None:
    content = document(check(random_problem(6, 5, 4), CorruptedGradients(lambda g: g["dX"].fill(np.nan))))
    assert content["gradients"][0]["max_relative_error"] == "nan"
    assert content["gradients"][0]["worst_entries"][0]["analytic"] == "nan"
    assert jsonable({"a": (float("inf"), [-float("inf")], 1.5, "x", None)}) == {"a": ["inf", ["-inf"], 1.5, "x", None]}


def test_the_same_options_give_the_same_document_except_for_the_time() -> None:
    first, second = (document(check(random_problem(8, 5, 4, seed=1))) for _ in range(2))
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def test_the_document_of_a_target_that_could_not_run_has_no_verdict() -> None:
    content = failure_document("layers.py", "an error")
    assert set(content) == {"schema", "verdict", "version", "target", "error"}
    assert content["verdict"] is None
