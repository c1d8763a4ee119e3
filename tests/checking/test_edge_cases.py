"""Edge cases and other usages expose what the main problem hides."""

from typing import Any

import pytest

from bncheck import CheckResult, Verdict, check, random_problem
from bncheck.checking.edge_cases import EDGE_CASES
from bncheck.numerical.schemes import SCHEMES
from tests.checking.helpers import RETURN, functions, verdicts
from tests.samples import BATCHNORM, SHORT_NETWORK


def edge_case(result: CheckResult, name: str) -> Verdict:
    return next(case.verdict for case in result.edge_cases if case.name == name)


SHARED_CACHE = [
    ("import numpy as np", "import numpy as np\nlatest = [0]"),
    (
        "    return gamma * xhat + beta, (xhat",
        "    latest[0] = xhat, gamma, sigma\n    return gamma * xhat + beta, (xhat",
    ),
    ("xhat, gamma, sigma = cache", "xhat, gamma, sigma = latest[0]"),
]
MODIFIED_CACHE = [(RETURN, "xhat *= 2\n    " + RETURN.replace("xhat", "(xhat / 2)"))]
IN_MEMORY_ORDER = [("g = dout * gamma", "dout = np.reshape(dout.ravel(order='K'), dout.shape)\n    g = dout * gamma")]


@pytest.mark.parametrize(
    ("edits", "usage"),
    [
        (MODIFIED_CACHE, "in a second backward call with the same cache"),
        (SHARED_CACHE, "in a backward call after a forward call on other data"),
        (IN_MEMORY_ORDER, "for a dout in Fortran order"),
    ],
)
def test_functions_that_are_wrong_in_other_usages_fail(edits: list[tuple[str, str]], usage: str) -> None:
    result = check(random_problem(9, 6, 5), functions(BATCHNORM, *edits))
    assert [case.name for case in result.edge_cases if case.verdict is Verdict.FAIL] == ["calls"]
    assert result.verdict is Verdict.FAIL
    assert f"correct in a single call, wrong {usage}" in result.diagnosis[0].description[0]


def test_a_dout_whose_rows_share_their_memory_is_checked() -> None:
    wrong = functions(
        BATCHNORM, ("g = dout * gamma", "dout = np.where(dout.strides[0], dout, 0)\n    g = dout * gamma")
    )
    result = check(random_problem(9, 6, 5), wrong)
    assert [case.name for case in result.edge_cases if case.verdict is Verdict.FAIL] == ["expanded-dout"]


def test_a_usage_in_which_the_code_raises_is_listed_and_is_not_a_failure() -> None:
    consuming = functions(
        BATCHNORM,
        ("(xhat, gamma, sigma)\n", "[xhat, gamma, sigma]\n"),
        ("gamma, sigma = cache", "gamma, sigma = (cache.pop(0) for _ in range(3))"),
    )
    result = check(random_problem(9, 6, 5), consuming)
    assert result.verdict is Verdict.PASS
    (item,) = result.not_checked
    assert (item.function, item.reason) == (
        "batchnorm_backward", "in a second backward call with the same cache: it raised IndexError: pop from empty list"
    )  # fmt: skip


@pytest.mark.parametrize("case", EDGE_CASES, ids=[case.name for case in EDGE_CASES])
def test_the_reference_passes_every_edge_case(case: Any) -> None:
    schemes = [case.scheme] if case.scheme else list(SCHEMES)
    for scheme in schemes:
        result = check(case.draw(), "staged", scheme=scheme)
        assert result.verdict is Verdict.PASS, scheme
        assert result.kink_exclusion.dead_units == 0


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("large-odd-shape", (RETURN, "dx[128:] = 0\n    " + RETURN)),
        ("one-row", (RETURN, "dx = dx + (len(dx) == 1)\n    " + RETURN)),
        ("one-unit", (RETURN, "dx = dx.squeeze()\n    " + RETURN)),
        ("square", (RETURN, "dx = dx.T if len(dx) == len(dx[0]) else dx\n    " + RETURN)),
        ("default-parameters", ("g = dout * gamma", "g = dout * np.where(gamma == 1, 2, gamma)")),
        ("outlier", (RETURN, "dx = np.where(np.abs(gamma) < 0.02, 0, dx)\n    " + RETURN)),
        ("large-scale", (RETURN, "dx = dx * (sigma.max() < 1e3)\n    " + RETURN)),
        ("one-hot-dout", ("g = dout * gamma", "dout = np.where((dout == 0).any(), 0, dout)\n    g = dout * gamma")),
    ],
)
def test_each_edge_case_detects_the_mistake_it_is_designed_for(name: str, edit: tuple[str, str]) -> None:
    result = check(random_problem(16, 6, 8), functions(BATCHNORM, edit), explain=False)
    assert edge_case(result, name) is Verdict.FAIL
    assert Verdict.FAIL not in verdicts(result).values()
    typical = [case.name for case in result.edge_cases if case.verdict is Verdict.FAIL]
    assert set(typical).isdisjoint(case.name for case in EDGE_CASES if case.typical)


def test_a_mask_with_a_positive_threshold_fails_near_the_kink() -> None:
    wrong = functions(SHORT_NETWORK, ("dout * (y > 0)", "dout * (y > 1e-9)"))
    result = check(random_problem(16, 6, 8), wrong, explain=False)
    assert [case.name for case in result.edge_cases if case.verdict is Verdict.FAIL] == ["near-the-kink"]


def test_code_that_rejects_a_single_sample_does_not_fail() -> None:
    refusing = functions(
        BATCHNORM, ("    sigma = np", "    if len(x) == 1: raise ValueError('one sample')\n    sigma = np")
    )
    result = check(random_problem(9, 6, 5), refusing)
    assert result.verdict is Verdict.PASS
    assert [(i.function, i.reason) for i in result.not_checked] == [
        ("batchnorm_forward", "edge case one-row: it raised ValueError: one sample")
    ]


def test_a_constant_batch_size_is_reported_as_one_diagnosis() -> None:
    fixed = functions(
        BATCHNORM, ("g.mean(axis=0)", "g.sum(axis=0) / 64"), ("(g * xhat).mean(axis=0)", "(g * xhat).sum(axis=0) / 64")
    )
    result = check(random_problem(64, 100, 50), fixed)
    assert [d.description for d in result.diagnosis] == [
        ("correct only for N = 64: every edge case with another N fails",)
    ]
