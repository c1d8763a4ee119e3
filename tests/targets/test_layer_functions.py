"""Layer functions are recognized by their names, and each pair is checked."""

from types import SimpleNamespace

import pytest

from bncheck import TargetError, Verdict, check, random_problem
from tests.python_targets import CheckFile
from tests.samples import ALTERNATIVE, DX, LAYERS, VAR, changed, read

pytestmark = pytest.mark.process

BN = read("correct/batch_norm_alone.py")
MAPPING = read("correct/a_mapping.py")
TWO_PAIRS = LAYERS + changed(
    LAYERS[LAYERS.index("def batchnorm_f") : LAYERS.index("def relu_f")].replace("ward(", "ward_v2("),
    VAR, "var = x.var(axis=0, ddof=1)", "dvar * 2 * (x - mu) / N", "dvar * 2 * (x - mu) / (N - 1)",
)  # fmt: skip


def test_every_gradient_in_a_mapping_is_judged(check_file: CheckFile) -> None:
    result = check_file(changed(MAPPING, DX, "dx = dxhat / std"))
    assert result.gradients["batchnorm_backward.dx"].verdict is Verdict.FAIL


def test_functions_of_the_same_layer_share_a_measurement(check_file: CheckFile) -> None:
    single, several = check_file(BN, edge_cases=False), check_file(BN + ALTERNATIVE, edge_cases=False)
    assert single.cross_check is not None
    assert several.cross_check == single.cross_check


def test_functions_of_two_stems_are_both_check_file(check_file: CheckFile) -> None:
    result = check_file(changed(LAYERS, DX, "dx = dxhat / std") + BN.replace("batchnorm_", "bn_"))
    assert result.gradients["batchnorm_backward.dx"].verdict is Verdict.FAIL
    assert result.gradients["bn_backward.dx"].verdict is Verdict.PASS


def test_each_backward_function_is_compared_with_its_own_forward_function(check_file: CheckFile) -> None:
    result = check_file(TWO_PAIRS, edge_cases=False)
    assert {key for key, g in result.gradients.items() if g.verdict is Verdict.FAIL} == set()
    assert {f.function for f in result.forward if f.verdict is Verdict.FAIL} == {"batchnorm_forward_v2"}


def test_a_layer_that_is_not_implemented_yet_is_listed_as_not_check_file(check_file: CheckFile) -> None:
    result = check_file(read("correct/a_layer_that_is_not_implemented_yet.py"))
    assert {(n.function, n.reason) for n in result.not_checked} == {
        ("relu_backward", "returns None: not implemented yet"),
        ("batchnorm_backward_alt", "returns None: not implemented yet"),
    }


def test_an_optional_layer_that_raises_is_a_failure(check_file: CheckFile) -> None:
    result = check_file(changed(LAYERS, "return dout * (cache > 0)", "return dout * (cache[0] > 0).T[9]"))
    (note,) = result.unchecked_functions
    assert (note.function, note.verdict) == ("relu_backward", Verdict.FAIL)
    assert note.reason.startswith("raised IndexError")
    assert result.verdict is Verdict.FAIL


def test_only_selected_gradients_of_layer_functions_are_check_file(check_file: CheckFile) -> None:
    result = check_file(LAYERS, only=["dgamma"])
    assert list(result.gradients) == ["batchnorm_backward.dgamma"]


def test_selecting_a_gradient_that_a_file_does_not_return_is_an_error(check_file: CheckFile) -> None:
    with pytest.raises(
        TargetError, match=r"`only='dh'` selects no gradient of .*layers.py; it returns dx, dgamma, dbeta$"
    ):
        check_file(BN, only=["dh"])


def test_functions_of_this_process_are_checked_here() -> None:
    namespace: dict[str, object] = {}
    exec(LAYERS, namespace)
    problem = random_problem(6, 5, 4)
    assert check(problem, namespace, edge_cases=False).verdict is Verdict.PASS
    result = check(problem, SimpleNamespace(**namespace), edge_cases=False)
    assert set(result.gradients) >= {"batchnorm_backward.dx", "affine_backward.dw", "relu_backward.dx"}
    assert (result.target.interface, result.reproduce) == ("layer-functions", None)
