"""The rows of a sweep: the numbers of a check, and their JSON."""

import json
import math
from pathlib import Path

import pytest

import bncheck
from bncheck import Verdict, check, random_problem
from bncheck.sweeps.grid import SweepPoint
from bncheck.sweeps.rows import GradientSummary, Row
from tests.samples import COMPOSITE, DX, LAYERS, changed


def test_a_row_has_the_numbers_of_a_check_with_the_same_options() -> None:
    for row in bncheck.sweep(N=[2, 8], D=5, H=4, scheme=["forward", "complex"], step=["auto", 1e-4], seed=3):
        p = row.point
        result = check(random_problem(p.N, p.D, p.H, seed=p.seed), scheme=p.scheme, step=p.step)
        assert row.verdict is result.verdict
        assert {key: g.verdict for key, g in row.gradients.items()} == {
            key: g.verdict for key, g in result.gradients.items()
        }
        assert row.gradients["dW"].norm_relative_error == result.gradients["dW"].norm_relative_error
        assert row.reproduce == result.reproduce


@pytest.mark.process
def test_a_row_has_a_verdict_per_gradient(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(changed(LAYERS, DX, "dx = dxhat / std"), encoding="utf-8")
    (failed,) = bncheck.sweep(target=str(path), N=8, D=5, H=4)
    wrong = [key for key, gradient in failed.gradients.items() if gradient.verdict is Verdict.FAIL]
    assert wrong == ["batchnorm_backward.dx"]
    (imprecise,) = bncheck.sweep(N=32, D=20, H=10, step=1e-11)
    verdicts = {key: gradient.verdict for key, gradient in imprecise.gradients.items()}
    assert imprecise.verdict is Verdict.INCONCLUSIVE
    assert verdicts["dX"] is Verdict.INCONCLUSIVE
    assert verdicts["dW"] is Verdict.PASS


def test_a_row_survives_json_and_is_self_contained() -> None:
    (row,) = bncheck.sweep(N=8, D=5, H=4, step=1e-14, bn_eps=0.5)
    content = json.loads(row.to_json("abc"))
    assert (content["schema"], content["sweep_id"], content["verdict"]) == ("bncheck-sweep/2", "abc", "inconclusive")
    assert content["version"] == bncheck.__version__
    read = Row.from_dict(content)
    assert read.point == row.point
    assert read.to_json("abc") == row.to_json("abc")
    assert read.gradients["db"].norm_relative_error is None
    assert abs(read.gradients["dW"].digits - row.gradients["dW"].digits) < 0.01


def test_the_names_in_json_are_those_of_the_schema() -> None:
    (row,) = bncheck.sweep(N=8, D=5, H=4)
    content = json.loads(row.to_json("abc"))
    assert list(content) == [
        "schema", "sweep_id", "version", "target", "N", "D", "H", "bn_eps", "x_mean", "x_std", "seed", "scheme", "step",
        "verdict", "gradients", "checked", "wrong", "excluded", "seconds", "reproduce", "message", "notes",
    ]  # fmt: skip
    for gradient in content["gradients"].values():
        assert list(gradient) == [
            "verdict", "relative_error", "tolerance_ratio", "resolution", "relative_error_bound",
        ]  # fmt: skip


def test_numbers_that_are_not_finite_survive_json() -> None:
    gradient = GradientSummary(Verdict.FAIL, math.nan, math.inf, 1e-9, 2e-9)
    row = Row(SweepPoint(), Verdict.FAIL, {"dX": gradient}, 6, 6, 0, 0.1, "", "")
    read = Row.from_dict(json.loads(row.to_json("")))
    assert read.gradients["dX"].digits == 0.0
    assert read.gradients["dX"].tolerance_ratio == math.inf


def test_a_rounded_row_equals_the_row_that_is_read_from_json() -> None:
    (row,) = bncheck.sweep(N=8, D=5, H=4)
    assert row.rounded == Row.from_dict(json.loads(row.to_json(""))) == row.rounded.rounded
    assert row.rounded != row


def test_the_relative_error_bound_is_the_norm_of_the_error_bounds_over_that_of_the_gradient() -> None:
    (row,) = bncheck.sweep(N=8, D=5, H=4, step=1e-3)
    result = check(random_problem(8, 5, 4), step=1e-3)
    for name, g in result.gradients.items():
        if g.exact_zero:
            continue
        bound = sum(e * e for e in g.error_bound.flat) ** 0.5 / sum(n * n for n in g.numerical.flat) ** 0.5
        assert row.gradients[name].relative_error_bound == pytest.approx(bound)
        assert g.norm_relative_error <= bound


@pytest.mark.process
def test_the_largest_row_is_under_3300_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing file of layer functions with all of them, under a long name that is the same on every machine."""
    monkeypatch.chdir(tmp_path)
    path = (
        Path("home/somebody/courses/deep_learning/assignment_two/solution/of_the_term")
        / "a_rather_long_name_of_a_file_of_layers.py"
    )
    path.parent.mkdir(parents=True)
    alternative = LAYERS[LAYERS.index("def batchnorm_backward") : LAYERS.index("def relu_f")]
    source = changed(LAYERS, DX, "dx = dxhat / std") + alternative.replace("backward", "backward_alt") + COMPOSITE
    path.write_text(source, encoding="utf-8")
    (row,) = bncheck.sweep(target=str(path), N=1024, D=9, H=7, step=0.0001234, bn_eps=1.234e-5, x_mean=12.345)
    assert row.verdict is Verdict.FAIL
    assert len(row.gradients) == 15
    assert len(row.to_json("0" * 12)) <= 3300


def test_a_row_has_no_note_about_a_gradient_that_nearly_cancels() -> None:
    problem = random_problem(8, 5, 4, x_mean=1e6)
    assert [note.code for note in check(problem).notes] == ["low-resolution"]
    (row,) = bncheck.sweep(N=8, D=5, H=4, x_mean=1e6)
    assert row.notes == ()
