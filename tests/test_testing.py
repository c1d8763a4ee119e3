"""``assert_gradients``, as a user's own test suite sees it."""

import subprocess
import sys
from pathlib import Path

import pytest

import bncheck
from bncheck import InvalidInput, TargetError
from bncheck.model import network
from tests.readme import blocks
from tests.samples import LAYERS, NETWORK, WRONG_LAYERS

(SUITE,) = [block for block in blocks("python") if block.startswith("# test_layers.py\n")]


def run_suite(folder: Path, layers: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "layers.py").write_text(layers, encoding="utf-8")
    (folder / "test_layers.py").write_text(SUITE, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.process
def test_correct_layers_pass_a_test_for_each_shape(tmp_path: Path) -> None:
    result = run_suite(tmp_path, LAYERS)
    assert result.returncode == 0, result.stdout
    assert "3 passed" in result.stdout


@pytest.mark.process
def test_a_failure_shows_the_report_and_no_frame_of_bncheck(tmp_path: Path) -> None:
    result = run_suite(tmp_path, WRONG_LAYERS)
    assert result.returncode == 1
    assert "3 failed" in result.stdout
    for line in (
        "E       AssertionError: At least one entry differs by more than its error bound.",
        "E         batchnorm_backward     dx (8, 4)        32    32 ",
        "E         BN204  variance-term-missing: The variance term of dx is missing.",
        "E         reproduce        bncheck run layers.py --N 8 --D 5 --H 4 --seed 0 ",
    ):
        assert line in result.stdout
    assert "testing.py" not in result.stdout
    assert "check.py" not in result.stdout
    assert '>       bncheck.assert_gradients("layers.py", N=N, D=D, H=H)' in result.stdout


@pytest.mark.process
def test_layers_that_raise_on_import_show_their_error_and_no_frame_of_bncheck(tmp_path: Path) -> None:
    result = run_suite(tmp_path, "x = 1 / 0\n")
    assert result.returncode == 1
    assert "TargetError: layers.py raised ZeroDivisionError: division by zero" in result.stdout
    assert "bncheck/" not in result.stdout


@pytest.mark.process
def test_it_works_in_several_processes_at_once(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    result = run_suite(tmp_path, WRONG_LAYERS, "-n", "2")
    assert result.returncode == 1
    assert "3 failed" in result.stdout
    assert "BN204" in result.stdout


def test_objects_from_python_are_checked_in_this_process() -> None:
    names: dict[str, object] = {}
    exec(NETWORK, names)
    bncheck.assert_gradients(names, N=5, D=4, H=3, scheme="complex", edge_cases=False)
    bncheck.assert_gradients(network)
    exec("right = backward\ndef backward(dout, cache): return [2 * g for g in right(dout, cache)]", names)
    with pytest.raises(AssertionError, match=r"dX: all 20 entries are wrong"):
        bncheck.assert_gradients(names, N=5, D=4, H=3)


def test_an_inconclusive_check_fails() -> None:
    with pytest.raises(AssertionError, match="not precise enough to rule one out"):
        bncheck.assert_gradients("reference", step=1e-14)


@pytest.mark.process
def test_invalid_arguments_and_targets_raise_the_errors_of_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    with pytest.raises(InvalidInput, match="N must be an integer of at least 1, got 0"):
        bncheck.assert_gradients("reference", N=0)
    with pytest.raises(InvalidInput, match=r"'test_\*.py' is a pattern; name one file"):
        bncheck.assert_gradients("test_*.py")
    with pytest.raises(TargetError, match="no module named 'no_such_module'"):
        bncheck.assert_gradients("no_such_module")
