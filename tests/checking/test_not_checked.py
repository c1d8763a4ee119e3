"""Functions and gradients that were not checked are listed with the reason."""

import pytest

from bncheck import InvalidInput, TargetError, Verdict, check, random_problem
from tests.checking.helpers import RETURN, functions, verdicts
from tests.samples import AFFINE, BATCHNORM, MANY_FUNCTIONS, SHORT_COMPOSITE, SHORT_NETWORK


@pytest.mark.parametrize("body", ["return None", "raise NotImplementedError", "return None, None, None"])
def test_a_missing_backward_implementation_does_not_prevent_other_judgements(body: str) -> None:
    unwritten = functions(
        BATCHNORM, ("    xhat, gamma, sigma = cache\n", f"    {body}\n    xhat, gamma, sigma = cache\n")
    )
    result = check(random_problem(9, 6, 5), unwritten)
    assert (result.verdict, result.incomplete) == (Verdict.INCONCLUSIVE, True)
    assert [(f.function, f.verdict) for f in result.forward] == [("batchnorm_forward", Verdict.PASS)]
    assert [i.function for i in result.not_checked] == ["batchnorm_backward"]
    assert result.not_checked[0].reason.endswith("not implemented yet")


def test_a_gradient_that_is_none_is_not_implemented_and_the_others_are_judged() -> None:
    result = check(random_problem(9, 6, 5), functions(BATCHNORM, (RETURN, RETURN.replace("dx, ", "None, "))))
    assert verdicts(result) == {"batchnorm_backward.dgamma": Verdict.PASS, "batchnorm_backward.dbeta": Verdict.PASS}
    assert [(i.function, i.reason) for i in result.not_checked] == [
        ("batchnorm_backward.dx", "is None: not implemented yet")
    ]
    assert result.incomplete


MODES = ("    sigma = np", "    if bn_param['mode'] == 'test': return bn_param['running_mean']\n    sigma = np")


def test_functions_that_were_not_checked_are_listed_with_the_reason() -> None:
    result = check(random_problem(9, 6, 5), functions(MANY_FUNCTIONS, MODES))
    assert result.verdict is Verdict.PASS
    assert {i.function: i.reason for i in result.not_checked} == {
        "layernorm_forward": "another normalization",
        "layernorm_backward": "another normalization",
        "spatial_batchnorm_backward": "another normalization",
        "affine_norm_relu_forward": "a composite of layers",
        "relu_backward": "no matching forward function",
        "batchnorm_forward": "evaluation mode and running statistics: only training mode is checked",
    }


@pytest.mark.parametrize("only", ["dx", "dX", "batchnorm_backward.dx", "batchnorm_backward.dX"])
def test_only_accepts_the_names_in_the_report(only: str) -> None:
    wrong = functions(AFFINE + BATCHNORM, ("g.mean(axis=0)", "0"))
    result = check(random_problem(9, 6, 5), wrong, only=[only], explain=False)
    expected = {"batchnorm_backward.dx": Verdict.FAIL}
    assert verdicts(result) == expected | ({} if "." in only else {"affine_backward.dx": Verdict.PASS})
    left_out = {i.function: i.reason for i in result.not_checked}
    assert left_out["batchnorm_backward"] == "dgamma, dbeta: not selected by `only`"


def test_a_selection_without_gradients_lists_the_available_gradients() -> None:
    with pytest.raises(
        InvalidInput, match="`only='dh'` selects no gradient of SimpleNamespace; it returns dx, dgamma, dbeta"
    ):
        check(random_problem(9, 6, 5), functions(BATCHNORM), only=["dh"])


@pytest.mark.parametrize("body", ["return None, None", "raise NotImplementedError"])
def test_a_composite_of_a_function_that_is_not_implemented_is_not_checked(body: str) -> None:
    starter = functions(AFFINE + BATCHNORM + SHORT_COMPOSITE, ("    sigma = np", f"    {body}\n    sigma = np"))
    result = check(random_problem(9, 6, 5), starter)
    assert (result.verdict, result.incomplete) == (Verdict.INCONCLUSIVE, True)
    left_out = {item.function: item.reason for item in result.not_checked}
    assert left_out["batchnorm_forward"].endswith(": not implemented yet")
    assert left_out["batchnorm_backward"] == "batchnorm_forward is not implemented yet"
    assert left_out["affine_bn_relu_forward"].endswith("a function that is not implemented yet")


def test_selecting_only_a_gradient_that_is_not_returned_is_an_error() -> None:
    with pytest.raises(
        InvalidInput, match="`only='dh'` selects no gradient of SimpleNamespace; it returns dX, dW, db, dgamma, dbeta"
    ):
        check(random_problem(9, 6, 5), functions(SHORT_NETWORK), only=["dh"])
    with pytest.raises(TargetError, match=r"batchnorm_backward.dx is None: not implemented yet"):
        check(random_problem(9, 6, 5), functions(BATCHNORM, (RETURN, RETURN.replace("dx, ", "None, "))), only=["dx"])
