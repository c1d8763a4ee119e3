"""``bncheck sweep`` checks the edge cases of each target a single time, and shows the notes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bncheck.cli.main import main
from tests.checking.helpers import RETURN
from tests.samples import BATCHNORM

pytestmark = pytest.mark.process


def test_a_sweep_checks_the_edge_cases_a_single_time_for_each_target(tmp_path: Path) -> None:
    counting = "import os\nopen(os.environ['COUNT'], 'a').write('.')\n"
    files = {"correct.py": BATCHNORM, "wrong.py": BATCHNORM.replace(RETURN, "dx[100:] = 0\n    " + RETURN)}
    for name, source in files.items():
        body = source.replace(
            "def batchnorm_forward(x, gamma, beta, bn_param):",
            "def batchnorm_forward(x, gamma, beta, bn_param):\n    if len(x) == 131: count()",
        )
        (tmp_path / name).write_text(f"def count():\n    {counting.replace(chr(10), '; ')}\n{body}", encoding="utf-8")
    arguments = [
        "sweep",
        *(str(tmp_path / name) for name in files),
        "--N",
        "8,9",
        "--D",
        "5",
        "--H",
        "4",
        "--format",
        "json",
    ]
    result = CliRunner().invoke(main, arguments, env={"COUNT": str(tmp_path / "count")})
    assert result.exit_code == 1
    rows = {(Path(row["target"]).name, row["N"]): row for row in json.loads(result.stdout)["rows"]}
    assert [rows[name, N]["verdict"] for name in files for N in (8, 9)] == ["pass", "pass", "fail", "pass"]
    assert rows["wrong.py", 8]["message"] == "edge case large-odd-shape: batchnorm_backward.dx"
    assert (tmp_path / "count").read_text() in (".." * 2, "..." * 2)


def test_the_notes_of_a_sweep_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(
        BATCHNORM.replace('bn_param["eps"]', "1e-8") + "def layernorm_backward(dout, cache): pass\n", encoding="utf-8"
    )
    result = CliRunner().invoke(main, ["sweep", str(path), "--N", "8,9", "--D", "5", "--H", "4"])
    text = " ".join(result.stdout.split())
    assert "batchnorm_forward ignores eps and uses 1e-08" in text
    assert "not checked: layernorm_backward: another normalization" in text


def test_a_sweep_whose_first_problem_cannot_be_drawn_still_checks_the_edge_cases(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(
        BATCHNORM.replace(RETURN, "xhat *= 0.5\n    " + RETURN.replace("xhat", "(2 * xhat)")), encoding="utf-8"
    )
    arguments = ["sweep", str(path), "--N", "1,8", "--D", "5", "--H", "4", "--bn-eps", "0", "--format", "json"]
    rows = json.loads(CliRunner().invoke(main, arguments).stdout)["rows"]
    assert [row["verdict"] for row in rows] == [None, "fail"]
    assert rows[1]["message"].startswith("edge case calls: batchnorm_backward.dx")
