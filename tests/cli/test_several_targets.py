"""``bncheck run`` with several targets, or with a pattern."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

from bncheck.cli.main import main
from tests.samples import DX, LAYERS, changed

pytestmark = pytest.mark.process


def write_solutions(folder: Path, count: int) -> None:
    """Write files of layer functions, each with a helper module; every fourth is wrong."""
    for number in range(count):
        directory = folder / f"student{number:03}"
        directory.mkdir(parents=True)
        line = DX if number % 4 else "dx = dxhat / std"
        (directory / "layers.py").write_text("from helper import *\n", encoding="utf-8")
        (directory / "helper.py").write_text(changed(LAYERS, DX, line), encoding="utf-8")


def test_several_targets_have_a_report_each_and_a_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_solutions(tmp_path, 5)
    (tmp_path / "student003" / "layers.py").write_text("import no_such_module\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    small = ["--N", "4", "--D", "3", "--H", "2", "--no-edge-cases"]
    result = CliRunner().invoke(main, ["run", "student*/layers.py", *small])
    assert result.exit_code == 1
    assert result.stdout.count("layer functions") == 4
    summary = [line.split() for line in result.stdout.splitlines()[-6:-1]]
    # The last word of each line; the fourth target could not run.
    assert [line[-1] for line in summary] == ["FAIL", "pass", "pass", "run", "FAIL"]
    assert "Error: student003/layers.py imports 'no_such_module'" in result.stderr


@pytest.mark.parametrize(
    ("targets", "code"),
    [
        (["student001"], 0),
        (["student001", "student002"], 0),
        (["student001", "student000"], 1),
        (["student001", "student003"], 1),
        (["student003"], 2),
        (["student003", "student003"], 2),
        (["student000", "student003"], 1),
    ],
)
def test_the_exit_code_of_several_targets_follows_from_their_verdicts(
    targets: list[str], code: int, tmp_path: Path
) -> None:
    write_solutions(tmp_path, 4)
    (tmp_path / "student003" / "layers.py").write_text("import no_such_module\n", encoding="utf-8")
    paths = [str(tmp_path / name / "layers.py") for name in targets]
    result = CliRunner().invoke(main, ["run", *paths, "--N", "4", "--D", "3", "--H", "2", "--no-edge-cases"])
    assert result.exit_code == code


def test_several_targets_as_json_are_an_array_of_documents(tmp_path: Path) -> None:
    write_solutions(tmp_path, 2)
    (tmp_path / "student001" / "layers.py").write_text("import no_such_module\n", encoding="utf-8")
    paths = [str(tmp_path / f"student00{i}" / "layers.py") for i in (0, 1)]
    result = CliRunner().invoke(main, ["run", *paths, "--format", "json", "--N", "4", "--D", "3", "--H", "2"])
    documents = json.loads(result.stdout)
    assert [d["verdict"] for d in documents] == ["fail", None]
    assert "no_such_module" in documents[1]["error"]


def test_a_pattern_keeps_the_name_after_its_colon(tmp_path: Path) -> None:
    body = textwrap.indent(LAYERS.replace("def ", "@staticmethod\ndef "), "    ")
    source = LAYERS + f"\nclass Wrong:\n{changed(body, DX, 'dx = dxhat')}\n"
    (tmp_path / "layers.py").write_text(source, encoding="utf-8")
    (tmp_path / "folder").mkdir()
    small = ["--N", "4", "--D", "3", "--H", "2", "--no-edge-cases"]
    assert CliRunner().invoke(main, ["run", f"{tmp_path}/*", *small]).exit_code == 0
    assert CliRunner().invoke(main, ["run", f"{tmp_path}/*.py:Wrong", *small]).exit_code == 1


@pytest.mark.slow
def test_two_hundred_files_take_no_more_memory_than_twenty(tmp_path: Path) -> None:
    peaks = []
    for count in (20, 200):
        write_solutions(tmp_path / str(count), count)
        command = [sys.executable, "-m", "bncheck", "run", f"{tmp_path / str(count)}/*/layers.py"]
        script = (
            "import resource, subprocess, sys; completed = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
            "print(completed.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        arguments = [*command, "--N", "8", "--D", "5", "--H", "4"]
        completed = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
        )
        code, peak = completed.stdout.split()
        assert code == "1"
        peaks.append(int(peak))
    assert peaks[1] < 1.2 * peaks[0]
