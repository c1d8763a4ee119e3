"""``bncheck run`` on files with some of the layer functions."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from bncheck.cli.main import main
from tests.checking.helpers import RETURN
from tests.samples import AFFINE, BATCHNORM, FEATURES_FIRST, MANY_FUNCTIONS

pytestmark = pytest.mark.process


def run_cli(path: Path, *arguments: str) -> Any:
    small = ["--N", "9", "--D", "6", "--H", "5"]
    return CliRunner().invoke(main, ["run", str(path), *small, *arguments])


def test_a_file_with_a_single_layer_is_checked_and_exits_2_because_of_missing_functions(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(AFFINE, encoding="utf-8")
    result = run_cli(path)
    assert result.exit_code == 2
    assert "affine_backward" in result.stdout
    assert "batchnorm_forward (missing), batchnorm_backward (missing)" in result.stderr
    path.write_text(AFFINE.replace("dout @ w.T", "2 * dout @ w.T"), encoding="utf-8")
    assert run_cli(path).exit_code == 1


def test_a_single_function_of_a_file_can_be_selected(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(AFFINE + BATCHNORM.replace("g.mean(axis=0)", "0"), encoding="utf-8")
    assert run_cli(Path(f"{path}:affine_backward")).exit_code == 0
    assert run_cli(Path(f"{path}:batchnorm_backward")).exit_code == 1


def test_unchecked_functions_are_in_every_format_and_strict_exits_1(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(MANY_FUNCTIONS, encoding="utf-8")
    assert "not checked      affine_norm_relu_forward: a composite of layers;" in run_cli(path).stdout
    items = json.loads(run_cli(path, "--format", "json").stdout)["not_checked"]
    assert ("relu_backward", "no matching forward function") in [(i["function"], i["reason"]) for i in items]
    assert "relu_backward: no matching forward function" in " ".join(
        run_cli(path, "--format", "markdown").stdout.split()
    )
    skipped = ElementTree.fromstring(run_cli(path, "--format", "junit").stdout).findall(".//skipped")
    assert "no matching forward function" in [element.get("message") for element in skipped]
    several = CliRunner().invoke(main, ["run", str(path), str(path), "--N", "4", "--D", "3", "--H", "2"])
    assert "not checked" in several.stdout.rpartition("target ")[2].split("\n")[0]
    strict = run_cli(path, "--strict")
    assert (run_cli(path).exit_code, strict.exit_code) == (0, 1)
    assert strict.stderr.startswith(f"Not checked, which --strict does not allow: {path}: affine_norm_relu_forward, ")


def test_strict_passes_a_file_whose_functions_were_all_checked(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(BATCHNORM, encoding="utf-8")
    assert run_cli(path, "--strict").exit_code == 0
    assert run_cli(path, "--strict", "--no-edge-cases").exit_code == 1


def test_the_header_shows_only_the_sizes_that_the_functions_depend_on(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(BATCHNORM, encoding="utf-8")
    text = run_cli(path).stdout
    assert "D 6" not in text.split("\n")[0]
    assert "dx (9, 5)" in text
    path.write_text(AFFINE + BATCHNORM, encoding="utf-8")
    text = run_cli(path).stdout
    assert "dx (9, 6)" in text
    assert "D 6" in text.split("\n")[0]


def test_an_error_of_an_optional_function_is_reported_a_single_time(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(AFFINE.replace("return dout @", "return 1 / 0, dout @") + BATCHNORM, encoding="utf-8")
    result = run_cli(path)
    assert result.exit_code == 1
    assert result.stdout.count("ZeroDivisionError") == 1


@pytest.mark.parametrize("edits", [("1e-3", "beta"), ("0.1", "beta"), ("bn_param['eps']", "beta[:, None]")])
def test_the_layout_is_recognized_with_another_eps_and_with_vectors(edits: tuple[str, str], tmp_path: Path) -> None:
    eps, beta = edits
    source = FEATURES_FIRST.replace('bn_param["eps"]', eps).replace("+ beta", f"+ {beta}")
    if "None" in beta:
        source = source.replace("gamma * xhat", "gamma[:, None] * xhat").replace(
            "dout * gamma", "dout * gamma[:, None]"
        )
    path = tmp_path / "layers.py"
    path.write_text(source, encoding="utf-8")
    for sizes in ([], ["--N", "1"]):
        result = run_cli(path, *sizes)
        assert result.exit_code == 2
        assert "take arrays of shape (features, batch)" in result.stderr


def test_the_reproducing_command_of_a_check_without_edge_cases_skips_them(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(BATCHNORM, encoding="utf-8")
    assert json.loads(run_cli(path, "--no-edge-cases", "--format", "json").stdout)["reproduce"].endswith(
        " --no-edge-cases"
    )


def test_a_file_that_is_not_complete_is_an_error_for_ci(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(BATCHNORM.replace(RETURN, RETURN.replace("dx, ", "None, ")), encoding="utf-8")
    result = run_cli(path, "--format", "junit")
    assert result.exit_code == 2
    assert "batchnorm_backward.dx" in str(ElementTree.fromstring(result.stdout).find(".//error").get("message"))  # type: ignore[union-attr]  # the element exists
    assert "::error" in run_cli(path, "--format", "github").stdout
