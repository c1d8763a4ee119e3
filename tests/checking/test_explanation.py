"""A failed check is explained by its diagnoses, which are merged over the functions of a file."""

from pathlib import Path

import pytest

from bncheck import InterruptedCheck, Verdict, check, random_problem
from bncheck.mistakes import mistake_named
from bncheck.mistakes.injected import FaultyNetwork
from tests.faulty_targets import COMPOSITE, LAYERS

pytestmark = pytest.mark.usefixtures("typical_edge_cases")


@pytest.mark.process
def test_the_document_contains_the_explanation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("layers.py").write_text(LAYERS, encoding="utf-8")
    document = check(random_problem(16, 5, 4), "layers.py").to_dict()
    (diagnosis,) = document["diagnosis"]
    assert {key: diagnosis[key] for key in ("code", "name", "function", "gradient")} == {
        "code": "BN204", "name": mistake_named("BN204").name, "function": "batchnorm_backward", "gradient": "dx"
    }  # fmt: skip
    assert diagnosis["relative_distance"] < 1e-14
    assert diagnosis["terms"]["variance"] == 0.0
    assert document["wrong_part"]["part"] == "the variance term"
    assert document["minimal_example"]["reproduce"] == "bncheck run layers.py --N 2 --D 1 --H 1 --seed 0"


@pytest.mark.process
def test_a_mistake_of_several_functions_is_reported_a_single_time(tmp_path: Path) -> None:
    (tmp_path / "composite.py").write_text(COMPOSITE, encoding="utf-8")
    result = check(random_problem(16, 5, 4), str(tmp_path / "composite.py"), minimal_example=False)
    (diagnosis,) = result.diagnosis
    assert (diagnosis.code, diagnosis.function, diagnosis.gradient) == ("BN204", "batchnorm_backward", "dx")
    assert set(diagnosis.also_explains) == {"dw of affine_bn_relu_backward", "dx of affine_bn_relu_backward"}


@pytest.mark.process
def test_an_error_of_a_composite_function_refers_to_its_wrong_parts(tmp_path: Path) -> None:
    source = COMPOSITE.replace("(g - g.mean(axis=0)) / sigma", "(0.5 * g - g.mean(axis=0)) / sigma")
    (tmp_path / "composite.py").write_text(source, encoding="utf-8")
    result = check(random_problem(16, 5, 4), str(tmp_path / "composite.py"), minimal_example=False)
    assert [d.function for d in result.diagnosis][:2] == ["batchnorm_backward", "affine_bn_relu_backward"]
    assert result.diagnosis[1].description == ("possibly a consequence of the error in batchnorm_backward",)


def test_an_interruption_of_the_explanation_keeps_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bncheck.checking.explanation.diagnose", interrupt)
    with pytest.raises(InterruptedCheck) as error:
        check(random_problem(9, 6, 5), FaultyNetwork(mistake_named("BN204")))
    assert error.value.result.gradients["dh"].verdict is Verdict.FAIL
    assert error.value.result.diagnosis == ()
