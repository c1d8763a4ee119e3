"""Files, modules and names in them are loaded as targets."""

import re
import textwrap
from pathlib import Path

import pytest

from bncheck import InvalidInput, TargetError, Verdict, check, random_problem
from bncheck.model.problem import Problem
from tests.python_targets import CheckFile
from tests.samples import DX, LAYERS, NETWORK, changed

pytestmark = pytest.mark.process


@pytest.mark.parametrize("name", ["functools.py", "random.py", "numpy.py", "my layers.py", "ε-layers.py"])
def test_a_file_may_have_any_name(name: str, check_file: CheckFile) -> None:
    assert check_file(LAYERS, name, edge_cases=False).verdict is Verdict.PASS


def test_a_path_object_is_a_target(tmp_path: Path, problem: Problem) -> None:
    (tmp_path / "layers.py").write_text(LAYERS, encoding="utf-8")
    assert check(problem, tmp_path / "layers.py", edge_cases=False).verdict is Verdict.PASS


def test_a_name_in_a_file_is_check_file(check_file: CheckFile) -> None:
    body = textwrap.indent(LAYERS.replace("def ", "@staticmethod\ndef "), "    ")
    source = f"import numpy as np\nclass solution_a:\n{body}\nclass solution_b:\n{body.replace(DX, 'dx = dxhat')}\n"
    assert check_file(source, "layers.py:solution_a").verdict is Verdict.PASS
    assert check_file(source, "layers.py:solution_b").verdict is Verdict.FAIL
    with pytest.raises(TargetError, match=r"layers.py does not define 'solution_c'"):
        check_file(source, "layers.py:solution_c")


def test_methods_of_a_class_are_checked_on_an_instance(check_file: CheckFile) -> None:
    body = textwrap.indent(NETWORK[NETWORK.index("def ") :].replace("ward(", "ward(self, "), "    ")
    assert check_file(f"import numpy as np\nclass Net:\n{body}\n", "net.py:Net").verdict is Verdict.PASS


def test_a_class_that_raises_or_hangs_when_it_is_instantiated_gives_an_error_message(check_file: CheckFile) -> None:
    with pytest.raises(TargetError, match=r"reading its attributes did not return within 1 s"):
        check_file("import time\nclass Net:\n    def __init__(self): time.sleep(99)\n", "net.py:Net", call_timeout=1.0)
    with pytest.raises(TargetError, match=r"Net\(\) raised ValueError: no; bncheck creates classes without arguments"):
        check_file("class Net:\n    def __init__(self): raise ValueError('no')\n", "net.py:Net")


def test_files_of_the_same_name_import_from_their_own_directory(tmp_path: Path, problem: Problem) -> None:
    for folder, line in (("right", DX), ("wrong", "dx = dxhat / std")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "layers.py").write_text("from helper import *\n", encoding="utf-8")
        (tmp_path / folder / "helper.py").write_text(changed(LAYERS, DX, line), encoding="utf-8")
    for folder, verdict in (("right", Verdict.PASS), ("wrong", Verdict.FAIL), ("right", Verdict.PASS)):
        assert check(problem, str(tmp_path / folder / "layers.py"), edge_cases=False).verdict is verdict


@pytest.mark.parametrize(
    ("target", "imported", "expected"),
    [
        ("tool/layers.py", "tool.fast", " imports 'tool.fast', which is neither installed nor in its package"),
        ("tool/layers.py", "tools", "tool/layers.py imports 'tools', which is neither installed (pip install tools)"),
        ("tool.layers", "tool.fast", " imports 'tool.fast', which is neither installed nor in its package"),
        ("tool.layer", "numpy", "no module named 'tool.layer'; to check a file, include its .py suffix"),
    ],
)
def test_a_missing_import_is_not_reported_as_a_missing_target(
    target: str, imported: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Problem
) -> None:
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "layers.py").write_text(f"import {imported}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TargetError, match=re.escape(expected)):
        check(problem, target)


def test_a_file_that_imports_from_its_package_is_loaded_from_the_package_s_root(
    tmp_path: Path, problem: Problem
) -> None:
    package = tmp_path / "mypkg" / "inner"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "helper.py").write_text(LAYERS, encoding="utf-8")
    (package / "relative.py").write_text("from .helper import *\n", encoding="utf-8")
    (package / "absolute.py").write_text("from mypkg.inner.helper import *\n", encoding="utf-8")
    for name in ("relative.py", "absolute.py"):
        assert check(problem, str(package / name), edge_cases=False).verdict is Verdict.PASS


def test_a_module_is_found_from_the_working_directory(
    tmp_path: Path, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mypkg").mkdir()
    (tmp_path / "mypkg" / "layers.py").write_text(LAYERS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert check(problem, "mypkg.layers", edge_cases=False).verdict is Verdict.PASS
    assert check(problem, "mypkg.layers").reproduce == ("bncheck run mypkg.layers --N 9 --D 6 --H 4 --seed 5")


def test_a_file_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(InvalidInput, match=r"no such file: 'nowhere\.py'"):
        check(random_problem(4, 3, 2), "nowhere.py")
