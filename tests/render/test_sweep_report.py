"""The report of a sweep on the screen and in JSON."""

import io
import json
import random
import re
from pathlib import Path

import pytest
from rich.console import Console

import bncheck
from bncheck.render.sweep_report import SweepReport
from bncheck.sweeps.aggregate import SweepSummary
from tests.samples import DX, LAYERS, changed
from tests.sweep_helpers import OPTIONS, invoke


def test_the_tables_do_not_depend_on_the_order_of_the_rows() -> None:
    rows = list(bncheck.sweep(N=[2, 8, 32], bn_eps=[1e-8, 1e-5, 0.5], D=3, H=2, step=["auto", 1e-3, 1e-14]))
    screens = []
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        with (console := Console(width=80, file=io.StringIO())).capture() as captured:
            console.print(SweepReport(SweepSummary(rows)))
        screens.append(captured.get())
    assert screens[0] == screens[1] == screens[2]
    assert re.findall(r"^  (1e-\d\d|0\.5) ", screens[0], re.MULTILINE)[:3] == ["1e-08", "1e-05", "0.5"]


def test_report_shows_the_same_tables_for_several_files_of_a_sweep(tmp_path: Path) -> None:
    every, first, second = (tmp_path / name for name in ("every", "first", "second"))
    screen = invoke("sweep", *OPTIONS, "--step", "1e-3..1e-6", "--out", str(every)).stdout
    lines = every.read_bytes().splitlines(keepends=True)
    first.write_bytes(b"".join(lines[:3]))
    second.write_bytes(b"".join(lines[2:]))
    report = invoke("report", str(every)).stdout
    assert report == invoke("report", str(first), str(second)).stdout
    assert report.splitlines()[:10] == screen.splitlines()[:10]


def test_one_axis_is_a_table_with_bars_and_the_best_step() -> None:
    lines = invoke("sweep", "--N", "32", "--D", "20", "--H", "10", "--step", "1e-1..1e-12").stdout.splitlines()
    rows = {line.split()[0]: line for line in lines if re.match(r"  1e-\d\d ", line)}
    assert list(rows) == [f"1e-{i:02}" for i in range(1, 13)]
    assert "█" * 8 in rows["1e-05"]
    assert sum("best" in row for row in rows.values()) == 1
    assert "inconclusive" in rows["1e-12"]
    assert any("correct digits of the" in line for line in lines)
    assert any("exact zero       db is exactly 0 in every check, as expected" in line for line in lines)
    assert max(map(len, lines)) <= 78


def test_two_axes_are_one_table_and_three_have_a_table_each() -> None:
    two = invoke("sweep", "--D", "5", "--H", "4", "--N", "2,8,32", "--bn-eps", "1e-5,0.5").stdout
    assert re.search(r"  N \\ eps +1e-05 +0.5\n", two)
    assert len(re.findall(r"^  (?:2|8|32) +[\d.]+ +[\d.]+$", two, re.MULTILINE)) == 3
    long = invoke("sweep", "--D", "5", "--H", "4", "--N", "2,8", "--bn-eps", "1e-5,1e-3,0.5").stdout
    assert re.search(r"  eps \\ N +2 +8\n", long)  # more rows than columns
    three = invoke("sweep", "--D", "5,6", "--H", "4", "--N", "2,8", "--bn-eps", "1e-5,0.5").stdout
    assert [label for label in ("  N ", "  D ", "  eps ") if f"\n{label}" in three] == ["  N ", "  D ", "  eps "]
    assert three.count("worst gradient") == 3


def test_an_axis_with_many_values_is_counted_and_not_listed() -> None:
    text = invoke("sweep", "--N", "4", "--D", "2", "--H", "2", "--seed", "0..99").stdout
    assert "seed: more than 64 values, not listed; use --out to save every row" in text
    assert "100: 100 pass" in text


@pytest.mark.process
def test_failures_are_shown_with_the_command_that_reproduces_them(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(changed(LAYERS, DX, "dx = dxhat / std"), encoding="utf-8")
    result = invoke("sweep", str(path), *OPTIONS, "--seed", "0..1")
    assert result.exit_code == 1
    assert result.stdout.count("FAIL") >= 2
    assert "bncheck run" in result.stdout


def test_an_inconclusive_check_fails_the_sweep_only_if_its_problem_never_passes() -> None:
    assert invoke("sweep", *OPTIONS, "--step", "auto,1e-14").exit_code == 0
    assert invoke("sweep", *OPTIONS, "--step", "1e-14,1e-13").exit_code == 1


def test_the_json_of_a_sweep_counts_the_checks_by_verdict_and_has_every_row() -> None:
    command = ("sweep", "--N", "1,8", "--D", "5", "--H", "4", "--bn-eps", "0", "--step", "auto,1e-14")
    document = json.loads(invoke(*command, "--format", "json").stdout)
    assert list(document) == ["schema", "passed", "checks", "orders", "rows"]
    assert document["schema"] == "bncheck-sweep/2"
    assert document["checks"] == {"pass": 1, "fail": 0, "inconclusive": 1, "could_not_run": 2}
    assert len(document["rows"]) == 4
