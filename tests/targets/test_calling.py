"""Forward and backward functions are called, and the values that they return are read."""

import pytest

from bncheck import Verdict
from tests.python_targets import CheckFile
from tests.samples import DX, LAYERS, changed

pytestmark = pytest.mark.process


def test_gradients_that_accumulate_over_calls_fail_in_the_second_call(check_file: CheckFile) -> None:
    source = changed(LAYERS, "    dbeta = np.sum(dout, axis=0)", "    dbeta = _sum\n    dbeta += np.sum(dout, axis=0)")
    source = changed(source, "import numpy as np", "import numpy as np\n_sum = np.zeros(4)")
    result = check_file(source, edge_cases=False)
    assert result.gradients["batchnorm_backward.dbeta"].verdict is Verdict.FAIL
    assert result.gradients["batchnorm_backward.dbeta"].usage == "in the second of two equal calls"
    assert "nondeterministic" in [r.code for r in result.notes]


def test_a_parameter_update_inside_backward_gives_a_note(check_file: CheckFile) -> None:
    source = changed(LAYERS, "return dx, dgamma, dbeta", "gamma -= 0.1 * dgamma\n    return dx, dgamma, dbeta")
    result = check_file(source, edge_cases=False)
    assert result.verdict is Verdict.PASS
    assert [r.message for r in result.notes] == [
        "batchnorm_backward modifies the gamma that was passed to its forward function (a parameter update?)"
    ]


def test_different_values_on_a_second_call_give_a_note(check_file: CheckFile) -> None:
    source = changed(LAYERS, DX, DX + " + 1e-14 * np.random.default_rng().random()")
    result = check_file(source)
    assert result.verdict is Verdict.PASS
    assert [r.code for r in result.notes] == ["nondeterministic"]


UNUSUAL_VALUES = {
    "a ragged list": "[[1.0], [1.0, 2.0]]",
    "objects": "out.astype(object)",
    "strings": "out.astype(str)",
    "booleans": "out > 0",
    "a mapping": "{'out': out}",
    "an empty array": "np.array([], dtype=object)",
    "complex numbers": "out.astype(complex)",
    "not a number": "out * np.nan",
    "another shape each time": "np.zeros((len(out) + np.random.randint(9), 3))",
}


@pytest.mark.parametrize("value", UNUSUAL_VALUES)
def test_an_output_of_an_unusual_type_fails(value: str, check_file: CheckFile) -> None:
    result = check_file(
        changed(LAYERS, "return out, (x, xhat", f"return {UNUSUAL_VALUES[value]}, (x, xhat"), edge_cases=False
    )
    assert {f.function for f in result.forward if f.verdict is Verdict.FAIL} == {"batchnorm_forward"}


@pytest.mark.parametrize("value", UNUSUAL_VALUES)
def test_a_gradient_of_an_unusual_type_fails(value: str, check_file: CheckFile) -> None:
    unusual = UNUSUAL_VALUES[value].replace("out", "dx")
    result = check_file(
        changed(LAYERS, "return dx, dgamma, dbeta", f"return {unusual}, dgamma, dbeta"), edge_cases=False
    )
    assert result.gradients["batchnorm_backward.dx"].verdict is Verdict.FAIL


def test_all_wrong_shapes_are_reported_together_with_a_probable_cause(check_file: CheckFile) -> None:
    source = changed(LAYERS, "return dx, dgamma, dbeta", "return dx.T, dout * xhat, dbeta.sum()")
    result = check_file(source, edge_cases=False)
    reasons = [g.reasons[0] for g in result.gradients.values() if g.function == "batchnorm_backward"]
    assert reasons == [
        "dx has shape (4, 9), expected (9, 4); is it transposed?",
        "dgamma has shape (9, 4), expected (4,); is the sum over the batch missing?",
        "dbeta has shape (), expected (4,); is it summed over too many axes?",
    ]


def test_numpy_error_settings_of_the_code_under_test_do_not_affect_the_measurement(check_file: CheckFile) -> None:
    assert check_file("import numpy as np; np.seterr(all='raise')\n" + LAYERS).verdict is Verdict.PASS
