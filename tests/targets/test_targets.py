"""Targets in many styles: loaded, recognized, called and judged."""

import json
import os
import pickle
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from bncheck import CheckResult, InvalidInput, TargetError, Verdict, check, random_problem
from bncheck.checking.check import check_target
from bncheck.checking.in_process import OptionalStages
from bncheck.cli.main import main
from bncheck.model.options import CheckOptions
from bncheck.model.problem import Problem
from tests.samples import ALTERNATIVE, COMPOSITE, DMU, DX, LAYERS, NETWORK, STD, VAR, XHAT, changed


@pytest.fixture
def problem() -> Problem:
    return random_problem(9, 6, 4, seed=5)


@pytest.fixture
def checked(tmp_path: Path, problem: Problem) -> Callable[..., CheckResult]:
    """Return a function that writes a file and checks it."""

    def check_source(source: str, name: str = "layers.py", **options: object) -> CheckResult:
        path = tmp_path / name.partition(":")[0]
        path.write_text(source, encoding="utf-8")
        return check(problem, str(tmp_path / name), **options)  # type: ignore[arg-type]  # the options are passed on unchanged

    return check_source


RIGHT = {
    "layer functions": (LAYERS, ""),
    "every optional function": (LAYERS + ALTERNATIVE + COMPOSITE, ""),
    "batch norm alone": (LAYERS[: LAYERS.index("def affine")] + LAYERS[LAYERS.index("def batchnorm_f"):], ""),
    "second part of dmu absent": (changed(LAYERS, DMU, "dmu = np.sum(-dxhat / std, axis=0)"), ""),
    "second part of dmu summed without an axis": (
        changed(LAYERS, "np.mean(-2 * (x - mu), axis=0)", "np.sum(-2 * (x - mu)) / N"),
        "",
    ),
    "single-pass variance": (
        changed(LAYERS, VAR, "var = (x ** 2).mean(axis=0) - mu ** 2"),  # detected on the edge case large-mean
        "batchnorm_forward seems to compute the variance as E[x^2] - E[x]^2; its gradients are compared with batch norm at the sigma that its output shows",
    ),
    "dgamma and dbeta as rows": (
        changed(LAYERS, "return dx, dgamma, dbeta", "return dx, dgamma[None], dbeta[None]"),
        "dgamma of batchnorm_backward has shape (1, 4); interpreted as (4,)",
    ),
    "dgamma and dbeta as columns": (
        changed(LAYERS, "return dx, dgamma, dbeta", "return dx, dgamma[:, None], dbeta[:, None]"),
        "dbeta of batchnorm_backward has shape (4, 1); interpreted as (4,)",
    ),
    "float32 gradients": (
        changed(LAYERS, "return dx, dgamma, dbeta", "return tuple(g.astype('f') for g in (dx, dgamma, dbeta))"),
        "batchnorm_backward and its forward function compute in float32; tolerances allow for float32 rounding",
    ),
    "lists instead of tuples": (changed(LAYERS, "return dx, dw, db", "return [dx, dw, db]"), ""),
    "y >= 0 as the mask": (changed(LAYERS, "cache > 0", "cache >= 0"), ""),
    "relu_backward modifies its dout": (
        changed(LAYERS, "return dout * (cache > 0)", "dout[cache <= 0] = 0\n    return dout"),
        "relu_backward modifies its argument dout in place (bncheck passed a copy)",
    ),
    "batchnorm_forward modifies its x": (
        changed(LAYERS, XHAT, "original = x.copy()\n    x -= mu\n    xhat = x / std", "return out, (x, xhat,", "return out, (original, xhat,"),
        "batchnorm_forward modifies its argument x in place (bncheck passed a copy)",
    ),
    "constant eps, 1e-8": (
        changed(LAYERS, "eps = bn_param.get('eps', 1e-5)", "eps = 1e-8"),
        "batchnorm_forward ignores eps and uses 1e-08; it was checked with eps = 1e-08",
    ),
    "constant eps, 1e-3": (
        changed(LAYERS, "eps = bn_param.get('eps', 1e-5)", "eps = 1e-3"),
        "batchnorm_forward ignores eps and uses 0.001; it was checked with eps = 0.001",
    ),
    "eps under another key": (changed(LAYERS, "bn_param.get('eps', 1e-5)", "bn_param['epsilon']"), ""),
    "eps as an argument": (
        changed(LAYERS, "gamma, beta, bn_param", "gamma, beta, eps=1e-3", "eps = bn_param.get('eps', 1e-5)", "N = len(x)"),
        "",
    ),
    "similar names": (LAYERS.replace("batchnorm_", "bn_").replace("forward", "fwd").replace("backward", "bwd"), ""),
    "running statistics": (
        changed(LAYERS, VAR, VAR + "\n    bn_param['running_mean'] = 0.9 * bn_param['running_mean'] + 0.1 * mu"),
        "",
    ),
    "a layer that is not implemented yet": (
        changed(LAYERS, "return dout * (cache > 0)", "return None") + changed(ALTERNATIVE, "return dx, dg", "return None, None, None\n    return dx, dg"),
        "",
    ),
    "prints when it is imported": ("print('hello')\n" + LAYERS, ""),
    "a whole network": (NETWORK, ""),
    "a whole network that returns a mapping": (
        changed(NETWORK, "return dX, dW, db, dgamma, dbeta", "return dict(dx=dX, dw=dW, db=db, dgamma=dgamma, dbeta=dbeta)"),
        "",
    ),
    "a whole network that returns dh as well": (
        changed(NETWORK, "return dX, dW, db, dgamma, dbeta", "return dX, dW, db, dgamma, dbeta, dh"),
        "",
    ),
    "a whole network with a constant eps": (
        changed(NETWORK, "+ bn_eps", "+ 1e-3"),
        "forward ignores eps and uses 0.001; it was checked with eps = 0.001",
    ),
}  # fmt: skip


@pytest.mark.parametrize("style", RIGHT)
def test_a_correct_implementation_passes_in_any_style(style: str, checked: Callable[..., CheckResult]) -> None:
    source, note = RIGHT[style]
    result = checked(source)
    assert result.verdict is Verdict.PASS, str(result)
    assert [p.name for p in result.edge_cases if p.verdict is not Verdict.PASS] == []
    texts = [r.message for r in result.notes]
    assert texts == [] if not note else note in texts


@pytest.mark.parametrize("x_mean", [1e2, 1e3, 1e4, 1e5])
def test_a_single_pass_variance_passes_at_a_large_mean(x_mean: float, tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(RIGHT["single-pass variance"][0], encoding="utf-8")
    for seed in range(5):
        result = check(random_problem(20, 9, 6, seed=seed, x_mean=x_mean), str(path), edge_cases=False)
        assert result.verdict is Verdict.PASS, seed
        if x_mean > 1e2:  # at 1e2 its rounding is as small as that of the reference
            assert [r.code for r in result.notes] == ["single-pass-variance"]


TWO_PAIRS = LAYERS + changed(
    LAYERS[LAYERS.index("def batchnorm_f") : LAYERS.index("def relu_f")].replace("ward(", "ward_v2("),
    VAR, "var = x.var(axis=0, ddof=1)", "dvar * 2 * (x - mu) / N", "dvar * 2 * (x - mu) / (N - 1)",
)  # fmt: skip
BN = LAYERS[: LAYERS.index("def affine")] + LAYERS[LAYERS.index("def batchnorm_f") : LAYERS.index("def relu_f")]
MAPPING = changed(LAYERS, "return dx, dgamma, dbeta", "return {'dx': dx, 'dgamma': dgamma, 'dbeta': dbeta}")
WRAPPED = (
    "def plain(f):\n    def wrapper(*args, **named):\n        return f(*args, **named)\n    return wrapper\n"
    + changed(LAYERS, "def batchnorm_forward", "@plain\ndef batchnorm_forward")
)

MORE_RIGHT = {
    "a mapping": MAPPING,
    "a test next to the functions": LAYERS + "\ndef affine_backward_test(n=3):\n    raise RuntimeError\n",
    "another function of a similar name": LAYERS + "\ndef bn_forward(x, mode):\n    return None\n",
    "an output buffer that is used again": changed(
        LAYERS, "out = gamma * xhat + beta",
        "out = _buffers.setdefault(x.shape, np.empty(x.shape))\n    out[:] = gamma * xhat + beta",
        "import numpy as np", "import numpy as np\n_buffers = {}",
    ),
    "a decorator that hides the signature": WRAPPED,
    "eps by keyword alone": changed(
        LAYERS, "gamma, beta, bn_param", "gamma, beta, *, eps", "eps = bn_param.get('eps', 1e-5)", "N = len(x)"
    ),
    "arbitrary keywords": changed(
        LAYERS, "gamma, beta, bn_param", "gamma, beta, **bn_param"
    ),
    "a training flag in the dict": changed(LAYERS, "mu = x.mean(axis=0)", "assert bn_param['training']\n    mu = x.mean(axis=0)"),
    "KeyboardInterrupt is caught": changed(LAYERS, DX, f"try: raise KeyboardInterrupt\n    except BaseException: {DX}"),
}  # fmt: skip


@pytest.mark.parametrize("style", MORE_RIGHT)
def test_an_unusual_correct_implementation_passes(style: str, checked: Callable[..., CheckResult]) -> None:
    result = checked(MORE_RIGHT[style])
    assert result.verdict is Verdict.PASS, str(result)
    assert "batchnorm_backward.dx" in result.gradients


@pytest.mark.parametrize("name", ["functools.py", "random.py", "numpy.py", "my layers.py", "ε-layers.py"])
def test_a_file_may_have_any_name(name: str, checked: Callable[..., CheckResult]) -> None:
    assert checked(LAYERS, name, edge_cases=False).verdict is Verdict.PASS


def test_every_gradient_in_a_mapping_is_judged(checked: Callable[..., CheckResult]) -> None:
    result = checked(changed(MAPPING, DX, "dx = dxhat / std"))
    assert result.gradients["batchnorm_backward.dx"].verdict is Verdict.FAIL


def test_functions_of_the_same_layer_share_a_measurement(checked: Callable[..., CheckResult]) -> None:
    single, several = checked(BN, edge_cases=False), checked(BN + ALTERNATIVE, edge_cases=False)
    assert single.cross_check is not None
    assert several.cross_check == single.cross_check


def test_functions_of_two_stems_are_both_checked(checked: Callable[..., CheckResult]) -> None:
    result = checked(changed(LAYERS, DX, "dx = dxhat / std") + BN.replace("batchnorm_", "bn_"))
    assert result.gradients["batchnorm_backward.dx"].verdict is Verdict.FAIL
    assert result.gradients["bn_backward.dx"].verdict is Verdict.PASS


def test_each_backward_function_is_compared_with_its_own_forward_function(checked: Callable[..., CheckResult]) -> None:
    result = checked(TWO_PAIRS, edge_cases=False)
    assert {key for key, g in result.gradients.items() if g.verdict is Verdict.FAIL} == set()
    assert {f.function for f in result.forward if f.verdict is Verdict.FAIL} == {"batchnorm_forward_v2"}


def test_gradients_that_accumulate_over_calls_fail_in_the_second_call(checked: Callable[..., CheckResult]) -> None:
    source = changed(LAYERS, "    dbeta = np.sum(dout, axis=0)", "    dbeta = _sum\n    dbeta += np.sum(dout, axis=0)")
    source = changed(source, "import numpy as np", "import numpy as np\n_sum = np.zeros(4)")
    result = checked(source, edge_cases=False)
    assert result.gradients["batchnorm_backward.dbeta"].verdict is Verdict.FAIL
    assert result.gradients["batchnorm_backward.dbeta"].usage == "in the second of two equal calls"
    assert "nondeterministic" in [r.code for r in result.notes]


def test_a_parameter_update_inside_backward_gives_a_note(checked: Callable[..., CheckResult]) -> None:
    source = changed(LAYERS, "return dx, dgamma, dbeta", "gamma -= 0.1 * dgamma\n    return dx, dgamma, dbeta")
    result = checked(source, edge_cases=False)
    assert result.verdict is Verdict.PASS
    assert [r.message for r in result.notes] == [
        "batchnorm_backward modifies the gamma that was passed to its forward function (a parameter update?)"
    ]


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
def test_an_output_of_an_unusual_type_fails(value: str, checked: Callable[..., CheckResult]) -> None:
    result = checked(
        changed(LAYERS, "return out, (x, xhat", f"return {UNUSUAL_VALUES[value]}, (x, xhat"), edge_cases=False
    )
    assert {f.function for f in result.forward if f.verdict is Verdict.FAIL} == {"batchnorm_forward"}


@pytest.mark.parametrize("value", UNUSUAL_VALUES)
def test_a_gradient_of_an_unusual_type_fails(value: str, checked: Callable[..., CheckResult]) -> None:
    unusual = UNUSUAL_VALUES[value].replace("out", "dx")
    result = checked(changed(LAYERS, "return dx, dgamma, dbeta", f"return {unusual}, dgamma, dbeta"), edge_cases=False)
    assert result.gradients["batchnorm_backward.dx"].verdict is Verdict.FAIL


BN_OUT, BN_DX = "out of batchnorm_forward", "batchnorm_backward.dx"
NOT_BN = "batchnorm_forward does not compute batch normalization; batchnorm_backward was checked as the derivative of batchnorm_forward"

WRONG = {
    "variance term missing": (changed(LAYERS, DX, "dx = dxhat / std + dmu / N"), {BN_DX}),
    "mean term missing": (changed(LAYERS, DX, "dx = dxhat / std + dvar * 2 * (x - mu) / N"), {BN_DX}),
    "statistics treated as constants": (changed(LAYERS, DX, "dx = dxhat / std"), {BN_DX}),
    "sign of eps": (changed(LAYERS, "(var + eps) ** -1.5", "(var - eps) ** -1.5"), {BN_DX}),
    "eps missing in backward": (changed(LAYERS, "(var + eps) ** -1.5", "var ** -1.5"), {BN_DX}),
    "H instead of N": (changed(LAYERS, "N = len(x)", "N = x.shape[1]"), {BN_DX}),
    "gamma missing": (changed(LAYERS, "dxhat = dout * gamma", "dxhat = dout"), {BN_DX}),
    "mean instead of sum": (
        changed(LAYERS, "dgamma = np.sum", "dgamma = np.mean", "dbeta = np.sum", "dbeta = np.mean"),
        {"batchnorm_backward.dgamma", "batchnorm_backward.dbeta"},
    ),
    "not summed": (
        changed(LAYERS, "dgamma = np.sum(dout * xhat, axis=0)", "dgamma = dout * xhat"),
        {"batchnorm_backward.dgamma"},
    ),
    "mask missing": (changed(LAYERS, "dout * (cache > 0)", "dout"), {"relu_backward.dx"}),
    "mask from dout": (changed(LAYERS, "(cache > 0)", "(dout > 0)"), {"relu_backward.dx"}),
    "dw transposed": (changed(LAYERS, "dw = x.T.dot(dout)", "dw = dout.T.dot(x)"), {"affine_backward.dw"}),
    "db zero": (changed(LAYERS, "db = np.sum(dout, axis=0)", "db = np.zeros_like(b)"), {"affine_backward.db"}),
    "a single NaN": (changed(LAYERS, "dw = x.T.dot(dout)", "dw = x.T.dot(dout)\n    dw[1, 2] = np.nan"), {"affine_backward.dw"}),
    "bias missing in forward": (
        changed(LAYERS, "out = x.dot(w) + b", "out = x.dot(w)"),
        {"out of affine_forward", "affine_backward.db"},
    ),
    "unbiased variance in forward only": (changed(LAYERS, VAR, "var = x.var(axis=0, ddof=1)"), {BN_OUT, BN_DX}),
    "unbiased variance, with its own derivative": (
        changed(LAYERS, VAR, "var = x.var(axis=0, ddof=1)", "dvar * 2 * (x - mu) / N", "dvar * 2 * (x - mu) / (N - 1)"),
        {BN_OUT},
    ),
    "eps missing in forward": (
        changed(LAYERS, STD, "std = np.sqrt(var)", "(var + eps) ** -1.5", "var ** -1.5"),
        {BN_OUT},
    ),
    "eps outside the root": (changed(LAYERS, STD, "std = np.sqrt(var) + eps"), {BN_OUT, BN_DX}),
    "no normalization, with its own derivative": (
        changed(LAYERS, XHAT, "xhat = x", DX, "dx = dxhat"),
        {BN_OUT},
    ),
    "square instead of root": (changed(LAYERS, STD, "std = (var + eps) ** 2"), {BN_OUT, BN_DX}),
    "a mistake in the alternative only": (
        LAYERS + changed(ALTERNATIVE, "(N * dout - dbeta", "(N * dout + dbeta"),
        {"batchnorm_backward_alt.dx"},
    ),
    "a mistake in the composite only": (
        LAYERS + changed(COMPOSITE, "return dx, dw, db, dgamma, dbeta", "return dx, dw, db, dbeta, dgamma"),
        {"affine_bn_relu_backward.dgamma", "affine_bn_relu_backward.dbeta"},
    ),
    "a network without the variance term": (
        changed(NETWORK, "- xhat * dgamma", ""),
        {"dX", "dW"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG)
def test_only_the_wrong_functions_and_gradients_of_an_implementation_fail(
    mistake: str, checked: Callable[..., CheckResult]
) -> None:
    source, expected = WRONG[mistake]
    result = checked(source, edge_cases=False)
    wrong = {f"{f.name} of {f.function}" for f in result.forward if f.verdict is Verdict.FAIL}
    wrong |= {key for key, g in result.gradients.items() if g.verdict is Verdict.FAIL}
    assert wrong == expected
    assert result.verdict is Verdict.FAIL
    texts = [r.message for r in result.notes]
    assert (NOT_BN in texts) == (BN_OUT in expected)


def test_the_layers_that_a_composite_does_not_compute_are_named(checked: Callable[..., CheckResult]) -> None:
    composite = changed(COMPOSITE, "return out, (fc", "return 2 * out, (fc")
    result = checked(LAYERS + composite, edge_cases=False, explain=False)
    layers = "an affine layer, batch normalization and ReLU"
    assert any(note.message.startswith(f"affine_bn_relu_forward does not compute {layers};") for note in result.notes)
    assert any(output.message.startswith(f"out differs from {layers} in") for output in result.forward)


@pytest.mark.parametrize(
    ("source", "edge_case"),
    [
        # Both are far below any usual tolerance at unit scale.
        (changed(LAYERS, "(var + eps) ** -1.5", "(var - eps) ** -1.5"), "large-eps"),
        (changed(LAYERS, "(var + eps) ** -1.5", "var ** -1.5"), "large-eps"),
        (changed(LAYERS, "(var + eps) ** -1.5", "var ** -1.5"), "small-variance"),
    ],
)
def test_an_edge_case_detects_a_mistake_that_rtol_and_atol_accept_at_unit_scale(
    source: str, edge_case: str, tmp_path: Path
) -> None:
    path = tmp_path / "layers.py"
    path.write_text(source, encoding="utf-8")
    problem = random_problem(64, 20, 10, x_std=100.0)
    assert check(problem, str(path), edge_cases=False, rtol=1e-4, atol=1e-8).verdict is Verdict.PASS
    result = check(problem, str(path), rtol=1e-4, atol=1e-8)
    assert result.verdict is Verdict.FAIL
    failing = {p.name: p for p in result.edge_cases}[edge_case]
    assert failing.verdict is Verdict.FAIL
    assert failing.failed == ("batchnorm_backward.dx",)
    assert failing.reproduce is not None
    repeated = CliRunner().invoke(main, failing.reproduce.split()[1:])
    assert repeated.exit_code == 1


def test_an_upstream_gradient_of_ones_gives_an_exact_zero_that_passes() -> None:
    p = random_problem(9, 6, 4, seed=5)
    ones = Problem(p.X, p.W, p.b, p.gamma, p.beta, np.ones_like(p.dout), p.bn_eps)
    namespace: dict[str, object] = {}
    exec(LAYERS, namespace)
    result = check(ones, namespace, edge_cases=False)
    assert np.abs(result.gradients[BN_DX].analytic).max() < 1e-14
    assert result.verdict is Verdict.PASS


def test_numpy_error_settings_of_the_code_under_test_do_not_affect_the_measurement(
    checked: Callable[..., CheckResult],
) -> None:
    assert checked("import numpy as np; np.seterr(all='raise')\n" + LAYERS).verdict is Verdict.PASS


def test_a_layer_that_is_not_implemented_yet_is_listed_as_not_checked(checked: Callable[..., CheckResult]) -> None:
    result = checked(RIGHT["a layer that is not implemented yet"][0])
    assert {(n.function, n.reason) for n in result.not_checked} == {
        ("relu_backward", "returns None: not implemented yet"),
        ("batchnorm_backward_alt", "returns None: not implemented yet"),
    }


def test_an_optional_layer_that_raises_is_a_failure(checked: Callable[..., CheckResult]) -> None:
    result = checked(changed(LAYERS, "return dout * (cache > 0)", "return dout * (cache[0] > 0).T[9]"))
    (note,) = result.unchecked_functions
    assert (note.function, note.verdict) == ("relu_backward", Verdict.FAIL)
    assert note.reason.startswith("raised IndexError")
    assert result.verdict is Verdict.FAIL


def test_different_values_on_a_second_call_give_a_note(checked: Callable[..., CheckResult]) -> None:
    source = changed(LAYERS, DX, DX + " + 1e-14 * np.random.default_rng().random()")
    result = checked(source)
    assert result.verdict is Verdict.PASS
    assert [r.code for r in result.notes] == ["nondeterministic"]


COULD_NOT_RUN = {
    "does not parse": ("def forward(:\n", r"layers.py, line 1: syntax error: "),
    "Python 2": ("print 'hello'\n", r"layers.py is written for Python 2 \(line 1: "),
    "tabs": ("if True:\n        x = 1\n\ty = 2\n", r"layers.py mixes tabs and spaces \(line 3\)"),
    "a module that is missing": (
        "import no_such_thing\n",
        r"layers.py imports 'no_such_thing', which is neither installed \(pip install no_such_thing\) nor in the same directory",
    ),
    "raises when it is imported": ("x = 1 / 0\n", "layers.py raised ZeroDivisionError: division by zero\n.*line 1"),
    "calls sys.exit when it is imported": ("import sys; sys.exit('bye')\n", r"layers.py called sys.exit\('bye'\)"),
    "no functions": ("x = 1\n", r"layers.py defines no functions that bncheck can check\. It looks for:\n  batchnorm_forward"),
    "returns None": (
        changed(BN, "return out, (x, xhat, mu, var, eps, std, gamma)", "return None"),
        "batchnorm_forward returns None: not implemented yet",
    ),
    "no forward function": (
        BN[: BN.index("def batchnorm_f")] + BN[BN.index("def batchnorm_b") :],
        "batchnorm_backward: no matching forward function",
    ),
    "returns too few values": (
        changed(LAYERS, "return dx, dgamma, dbeta", "return dx, dgamma"),
        "batchnorm_backward returned a tuple of 2; expected dx, dgamma, dbeta",
    ),
    "forward returns no cache": (
        changed(LAYERS, "return out, (x, xhat, mu, var, eps, std, gamma)", "return out"),
        r"batchnorm_forward returned an array; expected a tuple \(out, cache\)",
    ),
    "raises": (
        changed(LAYERS, DX, "dx = x.dot(x)"),
        r"batchnorm_backward raised ValueError: shapes \(9,4\) and \(9,4\) not aligned.*\n.*layers.py.*\n +dx = x.dot\(x\)",
    ),
    "calls sys.exit": (changed(LAYERS, DX, "import sys; sys.exit(3)"), r"batchnorm_backward called sys.exit\(3\)"),
    "asks for input": (changed(LAYERS, DX, "input('dx? ')"), "batchnorm_backward raised EOFError.*it reads standard input, which is empty"),
    "a name that NumPy removed": (
        changed(LAYERS, DX, "dx = np.product(dxhat, axis=0)"),
        r"has no attribute 'product'.*NumPy removed np.product; write np.prod\)",
    ),
    "a type that NumPy removed": (
        changed(LAYERS, DX, "dx = dxhat.astype(np.float)"),
        r"NumPy removed np.float; write float\)",
    ),
    "raises KeyboardInterrupt": (
        changed(LAYERS, DX, "raise KeyboardInterrupt('mine')"),
        "batchnorm_backward raised KeyboardInterrupt: mine",
    ),
    "raises a BaseException": (changed(LAYERS, DX, "raise GeneratorExit"), "batchnorm_backward raised GeneratorExit"),
    "an exception whose message cannot be read": (
        changed(LAYERS, DX, "raise type('E', (ValueError,), {'__str__': lambda _: 1 / 0})"),
        "batchnorm_backward raised E: \\(its message cannot be read\\)",
    ),
    "a module of Python 2": ("import cPickle\n", "layers.py is written for Python 2 \\(it imports 'cPickle'\\)"),
    "a name of Python 2": (changed(LAYERS, DX, "xrange(3)"), "it is written for Python 2"),
    "crashes": (changed(LAYERS, DX, "import ctypes; ctypes.string_at(0)"), "was terminated by SIGSEGV \\(segmentation fault\\)"),
    "ends its process": (changed(LAYERS, DX, "import os; os._exit(7)"), "exited with code 7"),
}  # fmt: skip


@pytest.mark.parametrize("behavior", COULD_NOT_RUN)
def test_code_that_cannot_be_checked_gives_an_error_message(behavior: str, checked: Callable[..., CheckResult]) -> None:
    source, message = COULD_NOT_RUN[behavior]
    if "np.product" in source and "product" in dir(np):
        pytest.skip("this NumPy still has it")
    with pytest.raises(TargetError) as caught:
        checked(source)
    text = str(caught.value)
    assert re.search(message, text, re.DOTALL), text
    assert "bncheck/" not in text  # only stack frames of the code under test


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (changed(LAYERS, DX, "while True: N += 1"), "batchnorm_backward did not return within 1 s"),
        ("import time; time.sleep(99)\n", "the import did not return within 1 s"),
    ],
)
def test_a_call_that_hangs_is_terminated_and_reported_by_name(
    source: str, message: str, checked: Callable[..., CheckResult]
) -> None:
    with pytest.raises(TargetError, match=message):
        checked(source, timeout=1.0)


# A function of the C library that holds the interpreter's lock, so that no other thread of its process runs.
HOLD_LOCK = "import ctypes; ctypes.PyDLL(None).sleep(30)"
HANGS = {
    "ignores SIGINT and SIGTERM": """
        import signal, time
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(30)
    """,
    "catches every exception": """
        import time
        while True:
            try:
                time.sleep(30)
            except BaseException:
                pass
    """,
    "replaces stdout by an object that hangs": """
        import sys, time
        sys.stdout = sys.stderr = type("S", (), {"write": len, "flush": lambda _: time.sleep(30)})()
        time.sleep(30)
    """,
    "starts a process that inherits the pipe": "import os, time; os.setsid() if os.fork() == 0 else 0; time.sleep(30)",
}
SILENT_HANGS = {
    "holds the interpreter's lock": (HOLD_LOCK, "did not respond within 1.5 s"),
    "stops its own process": (
        "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
        "did not respond within 1.5 s",
    ),
    "ends the thread that watches it": (
        "import threading, time; threading.excepthook = len; sleep, time.sleep = time.sleep, None; sleep(30)",
        "did not respond within 1.5 s",
    ),
    "closes every file": (
        f"import os; os.closerange(3, 256); {HOLD_LOCK}",
        "closed a file descriptor that it did not open, and did not exit",
    ),
    "writes to every pipe": (
        f"import os, stat; [os.write(fd, b'print\\n') for fd in range(3, 64) if is_pipe(fd)]; {HOLD_LOCK}",
        "wrote to a file descriptor that it did not open",
    ),
}
IS_PIPE = """
def is_pipe(fd):
    import os, stat
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False
"""


def hanging(code: str) -> str:
    """Return layer functions whose batchnorm_backward runs that code."""
    return IS_PIPE + changed(LAYERS, DX, textwrap.indent(textwrap.dedent(code).strip(), "    ").strip())


@pytest.mark.parametrize("behavior", HANGS)
def test_a_call_that_hangs_is_terminated_soon_after_its_timeout(
    behavior: str, checked: Callable[..., CheckResult]
) -> None:
    started = time.monotonic()
    with pytest.raises(TargetError, match=r"batchnorm_backward did not return within 0\.5 s"):
        checked(hanging(HANGS[behavior]), timeout=0.5)
    assert time.monotonic() - started < 0.5 + 5


@pytest.mark.parametrize("behavior", SILENT_HANGS)
def test_a_silent_process_is_terminated_after_the_timeout_and_the_grace_period(
    behavior: str, checked: Callable[..., CheckResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bncheck.execution.child.GRACE_SECONDS", 1.0)
    code, expected = SILENT_HANGS[behavior]
    started = time.monotonic()
    with pytest.raises(TargetError, match=re.escape(expected)):
        checked(hanging(code), timeout=0.5)
    assert time.monotonic() - started < 0.5 + 1.0 + 5


def test_a_hanging_process_exits_at_its_timeout_if_its_parent_is_gone(tmp_path: Path, problem: Problem) -> None:
    (tmp_path / "layers.py").write_text("import time; time.sleep(30)\n", encoding="utf-8")
    script = "from bncheck.execution.child_main import main; main()"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    with child.stdin, child.stdout:
        stages = OptionalStages(edge_cases=False, explain=False, minimal_example=False)
        arguments = (str(tmp_path / "layers.py"), problem, CheckOptions(), stages)
        pickle.dump((check_target, arguments, 0.4), child.stdin)
        child.stdin.flush()
        # The next message would be the one about the timeout.
        assert pickle.load(child.stdout) == ("alive", None)
    try:
        assert child.wait(10) == 1
    finally:
        child.kill()


def test_a_class_that_raises_or_hangs_when_it_is_instantiated_gives_an_error_message(
    checked: Callable[..., CheckResult],
) -> None:
    with pytest.raises(TargetError, match=r"reading its attributes did not return within 1 s"):
        checked("import time\nclass Net:\n    def __init__(self): time.sleep(99)\n", "net.py:Net", timeout=1.0)
    with pytest.raises(TargetError, match=r"Net\(\) raised ValueError: no; bncheck creates classes without arguments"):
        checked("class Net:\n    def __init__(self): raise ValueError('no')\n", "net.py:Net")


def test_bncheck_does_not_wait_for_processes_that_the_code_started(checked: Callable[..., CheckResult]) -> None:
    started = time.monotonic()
    checked("import subprocess; subprocess.Popen(['sleep', '60'])\n" + LAYERS, edge_cases=False)
    checked("import os, time\nif os.fork() == 0: time.sleep(60)\n" + LAYERS, edge_cases=False)
    assert time.monotonic() - started < 9  # less than the runtime of these processes


def test_a_path_object_is_a_target(tmp_path: Path, problem: Problem) -> None:
    (tmp_path / "layers.py").write_text(LAYERS, encoding="utf-8")
    assert check(problem, tmp_path / "layers.py", edge_cases=False).verdict is Verdict.PASS


def test_selecting_a_gradient_that_a_file_does_not_return_is_an_error(checked: Callable[..., CheckResult]) -> None:
    with pytest.raises(
        TargetError, match=r"`only='dh'` selects no gradient of .*layers.py; it returns dx, dgamma, dbeta$"
    ):
        checked(BN, only=["dh"])


def test_a_pattern_keeps_the_name_after_its_colon(tmp_path: Path) -> None:
    body = textwrap.indent(LAYERS.replace("def ", "@staticmethod\ndef "), "    ")
    source = LAYERS + f"\nclass Wrong:\n{changed(body, DX, 'dx = dxhat')}\n"
    (tmp_path / "layers.py").write_text(source, encoding="utf-8")
    (tmp_path / "folder").mkdir()
    small = ["--N", "4", "--D", "3", "--H", "2", "--no-edge-cases"]
    assert CliRunner().invoke(main, ["run", f"{tmp_path}/*", *small]).exit_code == 0
    assert CliRunner().invoke(main, ["run", f"{tmp_path}/*.py:Wrong", *small]).exit_code == 1


def test_all_wrong_shapes_are_reported_together_with_a_probable_cause(checked: Callable[..., CheckResult]) -> None:
    source = changed(LAYERS, "return dx, dgamma, dbeta", "return dx.T, dout * xhat, dbeta.sum()")
    result = checked(source, edge_cases=False)
    reasons = [g.reasons[0] for g in result.gradients.values() if g.function == "batchnorm_backward"]
    assert reasons == [
        "dx has shape (4, 9), expected (9, 4); is it transposed?",
        "dgamma has shape (9, 4), expected (4,); is the sum over the batch missing?",
        "dbeta has shape (), expected (4,); is it summed over too many axes?",
    ]


def test_a_name_in_a_file_is_checked(checked: Callable[..., CheckResult]) -> None:
    body = textwrap.indent(LAYERS.replace("def ", "@staticmethod\ndef "), "    ")
    source = f"import numpy as np\nclass solution_a:\n{body}\nclass solution_b:\n{body.replace(DX, 'dx = dxhat')}\n"
    assert checked(source, "layers.py:solution_a").verdict is Verdict.PASS
    assert checked(source, "layers.py:solution_b").verdict is Verdict.FAIL
    with pytest.raises(TargetError, match=r"layers.py does not define 'solution_c'"):
        checked(source, "layers.py:solution_c")


def test_methods_of_a_class_are_checked_on_an_instance(checked: Callable[..., CheckResult]) -> None:
    body = textwrap.indent(NETWORK[NETWORK.index("def ") :].replace("ward(", "ward(self, "), "    ")
    assert checked(f"import numpy as np\nclass Net:\n{body}\n", "net.py:Net").verdict is Verdict.PASS


def test_files_of_the_same_name_import_from_their_own_directory(tmp_path: Path, problem: Problem) -> None:
    for folder, line in (("right", DX), ("wrong", "dx = dxhat / std")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "layers.py").write_text("from helper import *\n", encoding="utf-8")
        (tmp_path / folder / "helper.py").write_text(changed(LAYERS, DX, line), encoding="utf-8")
    for folder, verdict in (("right", Verdict.PASS), ("wrong", Verdict.FAIL), ("right", Verdict.PASS)):
        assert check(problem, str(tmp_path / folder / "layers.py"), edge_cases=False).verdict is verdict


@pytest.mark.parametrize(
    ("target", "imported", "expected"),
    [
        ("tool/layers.py", "tool.fast", " imports 'tool.fast', which is neither installed nor in its package"),
        ("tool/layers.py", "tools", "tool/layers.py imports 'tools', which is neither installed (pip install tools)"),
        ("tool.layers", "tool.fast", " imports 'tool.fast', which is neither installed nor in its package"),
        ("tool.layer", "numpy", "no module named 'tool.layer'; to check a file, include its .py suffix"),
    ],
)
def test_a_missing_import_is_not_reported_as_a_missing_target(
    target: str, imported: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Problem
) -> None:
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "layers.py").write_text(f"import {imported}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TargetError, match=re.escape(expected)):
        check(problem, target)


def test_a_file_that_imports_from_its_package_is_loaded_from_the_package_s_root(
    tmp_path: Path, problem: Problem
) -> None:
    package = tmp_path / "mypkg" / "inner"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "helper.py").write_text(LAYERS, encoding="utf-8")
    (package / "relative.py").write_text("from .helper import *\n", encoding="utf-8")
    (package / "absolute.py").write_text("from mypkg.inner.helper import *\n", encoding="utf-8")
    for name in ("relative.py", "absolute.py"):
        assert check(problem, str(package / name), edge_cases=False).verdict is Verdict.PASS


def test_a_module_is_found_from_the_working_directory(
    tmp_path: Path, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mypkg").mkdir()
    (tmp_path / "mypkg" / "layers.py").write_text(LAYERS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert check(problem, "mypkg.layers", edge_cases=False).verdict is Verdict.PASS
    assert check(problem, "mypkg.layers").reproduce == ("bncheck run mypkg.layers --N 9 --D 6 --H 4 --seed 5")


def test_output_of_the_code_under_test_goes_to_stderr(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text("import os; print('by Python'); os.system('echo by a shell')\n" + LAYERS, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "bncheck",
        "run",
        str(path),
        "--N",
        "4",
        "--D",
        "3",
        "--H",
        "2",
        "--format",
        "json",
    ]
    # As on most machines: what a program prints to a pipe waits in a buffer.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    completed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert completed.stdout.startswith("{")
    assert completed.stderr == "by Python\nby a shell\n"


def test_functions_of_this_process_are_checked_here() -> None:
    namespace: dict[str, object] = {}
    exec(LAYERS, namespace)
    problem = random_problem(6, 5, 4)
    assert check(problem, namespace, edge_cases=False).verdict is Verdict.PASS
    result = check(problem, SimpleNamespace(**namespace), edge_cases=False)
    assert set(result.gradients) >= {"batchnorm_backward.dx", "affine_backward.dw", "relu_backward.dx"}
    assert (result.target.interface, result.reproduce) == ("layer-functions", None)


def test_a_complex_step_is_only_used_in_bncheck_s_own_forward_pass(checked: Callable[..., CheckResult]) -> None:
    """np.var of a complex array takes |.|^2 and drops the variance term."""
    right = changed(LAYERS, VAR, "var = np.var(x, axis=0)")
    assert checked(right, scheme="complex").verdict is Verdict.PASS
    unbiased, _ = WRONG["unbiased variance, with its own derivative"]
    result = checked(unbiased, scheme="complex", edge_cases=False)
    assert result.gradients[BN_DX].verdict is Verdict.PASS
    assert any("with central differences" in r.message for r in result.notes)


def test_only_selected_gradients_of_layer_functions_are_checked(checked: Callable[..., CheckResult]) -> None:
    result = checked(LAYERS, only=["dgamma"])
    assert list(result.gradients) == ["batchnorm_backward.dgamma"]


def test_the_staged_implementation_matches_the_reference() -> None:
    for seed in range(10):
        result = check(random_problem(9, 6, 4, seed=seed), "staged")
        assert result.verdict is Verdict.PASS
        assert set(result.gradients) == {"dX", "dW", "db", "dgamma", "dbeta", "dh"}


def test_an_interrupted_check_of_a_file_reports_its_partial_result(tmp_path: Path) -> None:
    """Ctrl-C reaches the child a single time, and the parent receives the partial result."""
    path = tmp_path / "net.py"
    path.write_text(NETWORK, encoding="utf-8")
    script = (
        "import signal, sys, bncheck.cli.run as r; from bncheck.cli.main import main; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "r.silent = lambda *_: print('done', file=sys.stderr, flush=True); main(prog_name='bncheck')"
    )
    arguments = ["run", str(path), "--engine", "full", "--N", "300", "--D", "300", "--H", "50"]
    running = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    assert running.stderr.readline() == "done\n"
    running.send_signal(2)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "of 105,150 entries were checked, none is wrong" in " ".join(out.split())
    assert "Traceback" not in err


def write_solutions(folder: Path, count: int) -> None:
    """Write files of layer functions, each with a helper module; every fourth is wrong."""
    for number in range(count):
        directory = folder / f"student{number:03}"
        directory.mkdir(parents=True)
        line = DX if number % 4 else "dx = dxhat / std"
        (directory / "layers.py").write_text("from helper import *\n", encoding="utf-8")
        (directory / "helper.py").write_text(changed(LAYERS, DX, line), encoding="utf-8")


def test_several_targets_have_a_report_each_and_a_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_solutions(tmp_path, 5)
    (tmp_path / "student003" / "layers.py").write_text("import no_such_module\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    small = ["--N", "4", "--D", "3", "--H", "2", "--no-edge-cases"]
    result = CliRunner().invoke(main, ["run", "student*/layers.py", *small])
    assert result.exit_code == 1
    assert result.stdout.count("course functions") == 4
    summary = [line.split() for line in result.stdout.splitlines()[-6:-1]]
    assert [line[-1] for line in summary] == ["FAIL", "pass", "pass", "answer", "FAIL"]
    assert "Error: student003/layers.py imports 'no_such_module'" in result.stderr


@pytest.mark.parametrize(
    ("targets", "code"),
    [
        (["student001"], 0),
        (["student001", "student002"], 0),
        (["student001", "student000"], 1),
        (["student001", "student003"], 1),
        (["student003"], 2),
        (["student003", "student003"], 2),
        (["student000", "student003"], 1),
    ],
)
def test_the_exit_code_of_several_targets_follows_from_their_verdicts(
    targets: list[str], code: int, tmp_path: Path
) -> None:
    write_solutions(tmp_path, 4)
    (tmp_path / "student003" / "layers.py").write_text("import no_such_module\n", encoding="utf-8")
    paths = [str(tmp_path / name / "layers.py") for name in targets]
    result = CliRunner().invoke(main, ["run", *paths, "--N", "4", "--D", "3", "--H", "2", "--no-edge-cases"])
    assert result.exit_code == code


def test_several_targets_as_json_are_an_array_of_documents(tmp_path: Path) -> None:
    write_solutions(tmp_path, 2)
    (tmp_path / "student001" / "layers.py").write_text("import no_such_module\n", encoding="utf-8")
    paths = [str(tmp_path / f"student00{i}" / "layers.py") for i in (0, 1)]
    result = CliRunner().invoke(main, ["run", *paths, "--format", "json", "--N", "4", "--D", "3", "--H", "2"])
    documents = json.loads(result.stdout)
    assert [d["verdict"] for d in documents] == ["fail", None]
    assert "no_such_module" in documents[1]["error"]


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
        "    out = None\n    cache = (x, gamma, eps)", "    out = gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta\n    cache = (x, gamma, eps)",
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


def test_a_file_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(InvalidInput, match=r"no such file: 'nowhere\.py'"):
        check(random_problem(4, 3, 2), "nowhere.py")


@pytest.mark.slow
def test_two_hundred_files_take_no_more_memory_than_twenty(tmp_path: Path) -> None:
    peaks = []
    for count in (20, 200):
        write_solutions(tmp_path / str(count), count)
        command = [sys.executable, "-m", "bncheck", "run", f"{tmp_path / str(count)}/*/layers.py"]
        script = (
            "import resource, subprocess, sys; completed = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL); "
            "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        arguments = [*command, "--N", "8", "--D", "5", "--H", "4"]
        completed = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
        )
        code, peak = completed.stdout.split()
        assert code == "1"
        peaks.append(int(peak))
    assert peaks[1] < 1.2 * peaks[0]
