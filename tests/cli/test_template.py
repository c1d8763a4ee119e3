"""``bncheck template`` and the file that it starts."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from bncheck.cli.main import main
from tests.samples import changed

pytestmark = pytest.mark.process


def test_the_template_lists_the_functions_that_are_not_implemented_yet(tmp_path: Path) -> None:
    source = CliRunner().invoke(main, ["template"]).stdout
    path = tmp_path / "my_layers.py"
    path.write_text(source, encoding="utf-8")
    result = CliRunner().invoke(main, ["run", str(path)])
    assert result.exit_code == 2
    assert result.stdout == ""
    unwritten = [f"{name}_forward returns None: not implemented yet" for name in ("affine", "batchnorm", "relu")]
    assert result.stderr == f"Error: {path}: {'; '.join(unwritten)}\n"


def test_the_template_with_correct_formulas_passes(tmp_path: Path) -> None:
    source = CliRunner().invoke(main, ["template"]).stdout
    filled = changed(
        source,
        "    out = None\n    cache = (x, w, b)", "    out = x @ w + b\n    cache = (x, w, b)",
        "dx, dw, db = None, None, None", "dx, dw, db = dout @ w.T, x.T @ dout, dout.sum(axis=0)",
        "    out = None\n    cache = (x, gamma, eps)",
        "    out = gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta\n    cache = (x, gamma, eps)",
        "x, gamma, eps = cache\n    dx, dgamma, dbeta = None, None, None\n",
        "x, gamma, eps = cache\n"
        "    sigma = np.sqrt(x.var(0) + eps)\n    xhat = (x - x.mean(0)) / sigma\n"
        "    dgamma, dbeta = (dout * xhat).sum(0), dout.sum(0)\n"
        "    dx = gamma / sigma * (dout - dout.mean(0) - xhat * (dout * xhat).mean(0))\n",
        "    out = None\n    cache = x\n", "    out = np.maximum(x, 0)\n    cache = x\n",
        "    dx = None\n", "    dx = dout * (x > 0)\n",
    )  # fmt: skip
    path = tmp_path / "my_layers.py"
    path.write_text(filled, encoding="utf-8")
    result = CliRunner().invoke(main, ["run", str(path)])
    assert result.exit_code == 0, result.output
    assert "batchnorm_backward_alt: returns None: not implemented yet" in " ".join(result.stdout.split())


def test_a_template_that_cannot_be_read_is_a_one_line_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", fail)
    result = CliRunner().invoke(main, ["template"])
    assert result.exit_code == 2
    assert re.fullmatch(r"Error: cannot read .*template\.txt: Permission denied\n", result.stderr)
