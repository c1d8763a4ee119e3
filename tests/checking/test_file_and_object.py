"""The same code as a file, in a child process, and as an object, in this process: the results are equal."""

import sys
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bncheck import CheckResult, InvalidInput, TargetError, check, random_problem
from tests.samples import LAYERS, Sample, samples

pytestmark = pytest.mark.process

SAMPLES = [sample for folder in ("correct", "wrong", "undetectable") for sample in samples(folder)]
# Of the files that cannot be checked, those that do not end this process.
ENDS_THE_PROCESS = ("crashes", "ends_its_process", "raises_keyboardinterrupt")
# A sample that draws other random numbers in each process has no equal results.
SAMPLES = [sample for sample in SAMPLES if str(sample) != "dx_is_noisy"]
SAMPLES += [sample for sample in samples("cannot_run") if str(sample) not in ENDS_THE_PROCESS]
PROBLEM = random_problem(9, 6, 4, seed=5)
# The distance of the samples that are checked by default.
DEFAULT_DISTANCE = 30

# What a file has and an object has not: a name, a command, and output that the child process collects.
ONLY_OF_A_FILE = ("target", "reproduce", "seconds", "minimal_example")


def load(sample: Sample, path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import the file as a module of this process."""
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    monkeypatch.setitem(sys.modules, path.stem, module)
    try:
        exec(compile(sample.text, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a file may raise any exception
        pytest.skip(f"the file cannot be imported: {error}")
    target = sample.value("target")
    return getattr(module, target) if target else module


def result_or_message(target: Any, path: Path) -> CheckResult | str:
    try:
        return check(PROBLEM, target, minimal_example=False)
    except (TargetError, InvalidInput) as error:  # nothing is judged
        return str(error).replace(str(path), "TARGET").replace(path.stem, "TARGET")


def without_file_fields(result: CheckResult) -> dict[str, Any]:
    document = result.to_dict()
    document["notes"] = [note for note in document["notes"] if note["code"] != "printed"]
    for case in document["edge_cases"]:
        del case["reproduce"]
    return {key: value for key, value in document.items() if key not in ONLY_OF_A_FILE}


def arrays_in_bytes(result: CheckResult) -> dict[str, list[tuple[str, bytes]]]:
    return {
        key: [
            (str(array.dtype), array.tobytes())
            for array in map(np.asarray, (g.analytic, g.numerical, g.error_bound, g.tolerance, g.term_size))
        ]
        for key, g in result.gradients.items()
    }


@pytest.mark.parametrize(
    "sample",
    [
        pytest.param(
            sample,
            id=f"{sample.path.parent.name}-{sample}",
            marks=[pytest.mark.slow] * bool(position % DEFAULT_DISTANCE),
        )
        for position, sample in enumerate(SAMPLES)
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_file_has_the_same_result_as_the_object_that_it_defines(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample.skip_if_numpy_has_name()
    for package in sample.values("requires"):
        pytest.importorskip(package)
    path = tmp_path / sample.path.name
    path.write_text(sample.text, encoding="utf-8")
    name = ":".join(filter(None, (str(path), sample.value("target"))))
    of_file = result_or_message(name, path)
    monkeypatch.setattr("sys.stdin", StringIO())  # that of a child process is empty
    of_object = result_or_message(load(sample, path, monkeypatch), path)
    if isinstance(of_file, str) or isinstance(of_object, str):
        assert of_file == of_object
        return
    assert without_file_fields(of_file) == without_file_fields(of_object)
    assert arrays_in_bytes(of_file) == arrays_in_bytes(of_object)


def test_the_variables_of_a_module_have_the_name_of_the_module() -> None:
    source = {"__name__": "my_layers"}
    exec(LAYERS, source)
    assert check(PROBLEM, source, edge_cases=False).target.name == "my_layers"
