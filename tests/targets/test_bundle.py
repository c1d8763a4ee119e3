"""The source files of a target that are sent to another machine."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from bncheck.targets.bundle import SourceBundle


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write Python files, named by their path without the suffix."""
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def bundled_files(target: Path | str) -> set[str]:
    bundle = SourceBundle.from_target(str(target))
    assert bundle is not None
    return {name for name, _ in bundle.files}


def test_a_bundle_contains_what_a_file_imports_from_its_folder_and_nothing_else(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "main": "import numpy, first\nfrom package import x\n",
            "first": "from second import y\n",
            "second": "",
            "other": "",
        },
    )
    write(tmp_path, {"package/__init__": "from .x import x\n", "package/x": "from . import z\n", "package/z": ""})
    names = {"main.py", "first.py", "second.py", "package/__init__.py", "package/x.py", "package/z.py"}
    assert bundled_files(tmp_path / "main.py") == {f"{tmp_path.name}/{name}" for name in names}


def test_a_bundle_of_a_file_in_a_package_contains_what_it_imports_by_the_name_of_the_package(tmp_path: Path) -> None:
    write(tmp_path, {"course/__init__": "", "course/layers": "from course.utils import *\nfrom .more import z\n"})
    write(tmp_path, {"course/utils": "import course.deep.est\n", "course/more": "z = 1\n", "unrelated": ""})
    write(tmp_path, {"course/deep/est": ""})
    assert bundled_files(tmp_path / "course" / "layers.py") == {
        "course/__init__.py", "course/layers.py", "course/utils.py", "course/more.py", "course/deep/est.py",
    }  # fmt: skip


def test_unpacked_files_have_the_same_bytes_and_names(tmp_path: Path) -> None:
    text = "# -*- coding: latin-1 -*-\nname = 'é'\n".encode("latin-1")
    (tmp_path / "layers.py").write_bytes(text)
    bundle = SourceBundle.from_target(f"{tmp_path / 'layers.py'}:solution_b")
    assert bundle is not None
    unpacked = bundle.unpack(tmp_path / "elsewhere")
    assert unpacked.target == f"{tmp_path / 'elsewhere' / tmp_path.name / 'layers.py'}:solution_b"
    assert Path(unpacked.target.removesuffix(":solution_b")).read_bytes() == text


def test_a_bundle_of_a_file_in_a_package_contains_its_relative_imports(tmp_path: Path) -> None:
    write(tmp_path, {"course/__init__": "from .more import z\n", "course/more": "z = 1\n"})
    write(tmp_path, {"course/layers": "from .less import z\n", "course/less": "z = 1\n"})
    names = {"__init__", "more", "layers", "less"}
    assert bundled_files(tmp_path / "course" / "layers.py") == {f"course/{name}.py" for name in names}


def test_a_bundle_of_a_file_with_a_syntax_error_contains_only_that_file(tmp_path: Path) -> None:
    write(tmp_path, {"old": "import first\nprint 'python 2'\n", "first": ""})
    assert bundled_files(tmp_path / "old.py") == {f"{tmp_path.name}/old.py"}


def test_installed_modules_have_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert SourceBundle.from_target("reference") is None
    assert SourceBundle.from_target("numpy.linalg") is None
    write(tmp_path, {"mine/__init__": "", "mine/layers": ""})
    assert bundled_files("mine.layers") == {"bncheck_target.py", "mine/__init__.py", "mine/layers.py"}
    assert SourceBundle.from_target("mine.nothing") is None
