"""Every returned array is judged a single time, by bounds fixed in advance; everything else is listed."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner

from bncheck import CheckResult, InvalidInput, TargetError, Verdict, check, random_problem
from bncheck.checking import judge
from bncheck.checking.edge_cases import EDGE_CASES
from bncheck.cli.main import main
from bncheck.model import network
from bncheck.model.layers import Array
from bncheck.model.results import PairOutput
from bncheck.numerical.schemes import SCHEMES

LAYER = """
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    sigma = np.sqrt(x.var(axis=0) + bn_param["eps"])
    xhat = (x - x.mean(axis=0)) / sigma
    return gamma * xhat + beta, (xhat, gamma, sigma)

def batchnorm_backward(dout, cache):
    xhat, gamma, sigma = cache
    g = dout * gamma
    dx = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / sigma
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)
"""
RETURN = "return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)"
SINGLE_PASS = ("x.var(axis=0)", "((x * x).mean(axis=0) - x.mean(axis=0) ** 2)")
NETWORK = """
import numpy as np

def forward(X, W, b, gamma, beta, bn_eps):
    h = X @ W + b
    sigma = np.sqrt(h.var(0) + bn_eps)
    xhat = (h - h.mean(0)) / sigma
    y = gamma * xhat + beta
    return np.maximum(y, 0), (X, W, gamma, sigma, xhat, y)

def backward(dout, cache):
    X, W, gamma, sigma, xhat, y = cache
    dy = dout * (y > 0)
    N, dbeta, dgamma = len(y), dy.sum(0), (dy * xhat).sum(0)
    dh = gamma / (N * sigma) * (N * dy - dbeta - xhat * dgamma)
    return dh @ W.T, X.T @ dh, dh.sum(0), dgamma, dbeta
"""


def functions(source: str, *edits: tuple[str, str]) -> SimpleNamespace:
    """Return the functions of an edited source, in a namespace of their own."""
    for old, new in edits:
        assert old in source
        source = source.replace(old, new)
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    return SimpleNamespace(**namespace)


def verdicts(result: CheckResult) -> dict[str, Verdict]:
    return {key: gradient.verdict for key, gradient in result.gradients.items()}


def edge_case(result: CheckResult, name: str) -> Verdict:
    return next(case.verdict for case in result.edge_cases if case.name == name)


# One judgement


@pytest.mark.parametrize("forward", [(), (SINGLE_PASS,)], ids=["two-pass", "single-pass"])
def test_a_factor_of_1_plus_1e_5_on_dx_fails_at_a_large_mean(forward: tuple[tuple[str, str], ...]) -> None:
    wrong = functions(LAYER, *forward, (RETURN, "dx = dx * (1 + 1e-5)\n    " + RETURN))
    result = check(random_problem(64, 100, 50, x_mean=1e4), wrong, edge_cases=False, explain=False)
    assert result.gradients["batchnorm_backward.dx"].wrong > 3_000


@pytest.mark.parametrize("x_mean", [1e2, 1e3, 1e4, 1e5, 1e6])
def test_a_single_pass_variance_passes_because_its_sigma_follows_from_its_output(x_mean: float) -> None:
    for seed in range(3):
        problem = random_problem(64, 10, 8, seed=seed, x_mean=x_mean)
        result = check(problem, functions(LAYER, SINGLE_PASS), edge_cases=False, explain=False)
        assert result.verdict is Verdict.PASS, seed
        assert result.gradients["batchnorm_backward.dx"].tolerance_ratio < 0.7
    if x_mean >= 1e4:
        assert "single-pass-variance" in [note.code for note in result.notes]


def test_a_weight_gradient_wrong_by_a_tenth_fails_for_two_samples_and_a_large_mean() -> None:
    wrong = functions(NETWORK, ("X.T @ dh,", "1.1 * X.T @ dh,"))
    problem = random_problem(2, 5, 4, x_mean=1e3, bn_eps=1e-2)
    assert verdicts(check(problem, wrong, edge_cases=False, explain=False))["dW"] is Verdict.FAIL


def test_a_float32_dx_wrong_by_two_in_ten_thousand_fails() -> None:
    single = ("(dout, cache):\n", "(dout, cache):\n    dout = dout.astype(np.float32)\n")
    cast = ("return gamma * xhat + beta, (xhat, gamma, sigma)",
            "xhat, gamma, sigma, beta = (np.float32(v) for v in (xhat, gamma, sigma, beta))\n"
            "    return gamma * xhat + beta, (xhat, gamma, sigma)")  # fmt: skip
    right, wrong = (
        functions(LAYER, single, cast),
        functions(LAYER, single, cast, (RETURN, "dx = dx * 1.0002\n    " + RETURN)),
    )
    problem = random_problem(16, 6, 8)
    assert check(problem, right, edge_cases=False).verdict is Verdict.PASS
    assert verdicts(check(problem, wrong, edge_cases=False))["batchnorm_backward.dx"] is Verdict.FAIL


@pytest.mark.parametrize("forward", ["np.sqrt(h.var(0)) + bn_eps", "np.sqrt(h.var(0, ddof=1) + bn_eps)",
                                     "np.sqrt(np.maximum(h.var(0), bn_eps))", "np.sqrt(h.var(0))"])  # fmt: skip
def test_another_formula_for_sigma_is_not_mistaken_for_rounding_or_for_another_eps(forward: str) -> None:
    wrong = functions(NETWORK, ("np.sqrt(h.var(0) + bn_eps)", forward))
    for edge_cases in (True, False):
        assert check(random_problem(16, 6, 8), wrong, explain=False, edge_cases=edge_cases).verdict is Verdict.FAIL


def test_each_returned_array_is_compared_a_single_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, PairOutput]] = []

    def recorded(name: str) -> Callable[..., Any]:
        def compare(pair_output: PairOutput, *arguments: Any) -> Any:
            compared.append((name, pair_output))  # also keeps the output alive, so that its id is unique
            return getattr(judge, name)(pair_output, *arguments)

        return compare

    for name in ("compare", "compare_forward"):
        monkeypatch.setattr(f"bncheck.checking.pair_check.{name}", recorded(name))
    result = check(random_problem(9, 6, 5), functions(AFFINE + LAYER), explain=False)
    counts = Counter((name, id(pair_output)) for name, pair_output in compared)
    assert set(counts.values()) == {1}
    # Two pairs on each problem: an output and gradients for each.
    assert len(compared) == 2 * 2 * (1 + len(result.edge_cases))


# Precision


@pytest.mark.parametrize("returned", ["np.float32", "np.float64"])
def test_every_gradient_of_a_float32_network_is_judged_with_the_roundoff_of_float32(returned: str) -> None:
    single = ("h = X @ W + b", "X, W, b, gamma, beta = map(np.float32, (X, W, b, gamma, beta))\n    h = X @ W + b")
    dout = ("dy = dout", "dy = np.float32(dout)")
    result = ("return dh @ W.T, X.T @ dh, dh.sum(0), dgamma, dbeta",
              f"return tuple({returned}(g) for g in (dh @ W.T, X.T @ dh, dh.sum(0), dgamma, dbeta))")  # fmt: skip
    output = ("return np.maximum(y, 0),", f"return {returned}(np.maximum(y, 0)),")
    for seed in range(5):
        target = functions(NETWORK, single, dout, result, output)
        checked = check(random_problem(64, 20, 10, seed=seed), target, edge_cases=False)
        assert set(verdicts(checked).values()) == {Verdict.PASS}, seed
        assert checked.target.dtype == "float32"


def rounded_to(bits: int) -> Callable[[Array], Array]:
    def rounded(values: Array) -> Array:
        mantissa, exponent = np.frexp(values)
        result: Array = np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent)
        return result

    return rounded


@pytest.mark.parametrize(("bits", "name"), [(8, "bfloat16"), (11, "float16")])
def test_16_bit_values_stored_in_any_dtype_are_inconclusive_with_a_reason(bits: int, name: str) -> None:
    low = rounded_to(bits)

    def forward(*arrays: Any) -> tuple[Array, network.Cache]:
        X, W, b, gamma, beta = map(low, arrays[:5])
        a, cache = network.forward(X, W, b, gamma, beta, arrays[5])
        return low(a), cache

    def backward(dout: Array, cache: network.Cache) -> dict[str, Array]:
        return {key: low(value) for key, value in network.backward(low(dout), cache).items()}

    for dtype in (np.float32, np.float64):

        def typed(*arrays: Any, dtype: Any = dtype) -> tuple[Array, network.Cache]:
            a, cache = forward(*arrays)
            return a.astype(dtype), cache

        result = check(random_problem(64, 20, 10), SimpleNamespace(forward=typed, backward=backward))
        assert result.verdict is Verdict.INCONCLUSIVE
        assert result.target.dtype == name
        reason = f"the code computes in {name}, and bncheck cannot judge 16-bit arithmetic yet"
        assert all(g.reasons == (reason,) for g in result.gradients.values())


@pytest.mark.parametrize(
    "value", ["np.zeros_like(dx)", "np.ones_like(dx)", "np.sign(dx)", "np.round(dx)", "dx.round(1)"]
)
def test_wrong_values_with_few_digits_are_not_mistaken_for_16_bit_arithmetic(value: str) -> None:
    wrong = functions(LAYER, (RETURN, f"dx = {value}\n    " + RETURN))
    assert check(random_problem(64, 6, 8), wrong, edge_cases=False, explain=False).verdict is Verdict.FAIL


def test_tensors_of_any_dtype_are_read_with_and_without_grad() -> None:
    torch = pytest.importorskip("torch")

    def forward(*arrays: Any) -> tuple[Any, network.Cache]:
        a, cache = network.forward(*arrays)
        return torch.tensor(a, requires_grad=True), cache

    def backward(dout: Array, cache: network.Cache) -> dict[str, Any]:
        return {key: torch.tensor(g, requires_grad=True) * 1 for key, g in network.backward(dout, cache).items()}

    assert check(random_problem(9, 6, 5), SimpleNamespace(forward=forward, backward=backward)).verdict is Verdict.PASS

    def half(dout: Array, cache: network.Cache) -> dict[str, Any]:
        return {key: torch.tensor(g, dtype=torch.bfloat16) for key, g in network.backward(dout, cache).items()}

    result = check(random_problem(9, 6, 5), SimpleNamespace(forward=forward, backward=half))
    assert (result.verdict, result.target.dtype) == (Verdict.INCONCLUSIVE, "bfloat16")


def test_jax_arrays_in_bfloat16_are_read() -> None:
    jnp = pytest.importorskip("jax.numpy")

    def backward(dout: Array, cache: network.Cache) -> dict[str, Any]:
        return {key: jnp.asarray(g, dtype=jnp.bfloat16) for key, g in network.backward(dout, cache).items()}

    result = check(random_problem(9, 6, 5), SimpleNamespace(forward=network.forward, backward=backward))
    assert (result.verdict, result.target.dtype) == (Verdict.INCONCLUSIVE, "bfloat16")


def test_a_tensor_without_readable_numbers_gives_a_one_line_error() -> None:
    torch = pytest.importorskip("torch")

    def forward(*_: Any) -> tuple[Any, None]:
        return torch.empty(9, 5, device="meta"), None

    target = SimpleNamespace(forward=forward, backward=network.backward)
    with pytest.raises(
        TargetError, match=r"^a is a torch Tensor that cannot be read as a NumPy array \(.*\); return numbers$"
    ):
        check(random_problem(9, 6, 5), target)


# Every returned array is judged


def test_a_second_call_that_returns_nan_fails() -> None:
    calls = iter(range(1_000))
    wrong = functions(LAYER, (RETURN, "dx = dx * (np.nan if next(calls) else 1)\n    " + RETURN))
    wrong.batchnorm_backward.__globals__["calls"] = calls
    result = check(random_problem(9, 6, 5), wrong, edge_cases=False)
    assert verdicts(result)["batchnorm_backward.dx"] is Verdict.FAIL
    assert result.gradients["batchnorm_backward.dx"].usage == "in the second of two equal calls"


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
    result = check(random_problem(9, 6, 5), functions(LAYER, *edits))
    assert [case.name for case in result.edge_cases if case.verdict is Verdict.FAIL] == ["calls"]
    assert result.verdict is Verdict.FAIL
    assert f"correct in a single call, wrong {usage}" in result.diagnosis[0].description[0]


def test_a_dout_whose_rows_share_their_memory_is_checked() -> None:
    wrong = functions(LAYER, ("g = dout * gamma", "dout = np.where(dout.strides[0], dout, 0)\n    g = dout * gamma"))
    result = check(random_problem(9, 6, 5), wrong)
    assert [case.name for case in result.edge_cases if case.verdict is Verdict.FAIL] == ["expanded-dout"]


def test_a_usage_in_which_the_code_raises_is_listed_and_is_not_a_failure() -> None:
    consuming = functions(
        LAYER,
        ("(xhat, gamma, sigma)\n", "[xhat, gamma, sigma]\n"),
        ("gamma, sigma = cache", "gamma, sigma = (cache.pop(0) for _ in range(3))"),
    )
    result = check(random_problem(9, 6, 5), consuming)
    assert result.verdict is Verdict.PASS
    (item,) = result.not_checked
    assert (item.function, item.reason) == (
        "batchnorm_backward", "in a second backward call with the same cache: it raised IndexError: pop from empty list"
    )  # fmt: skip


# Edge cases


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
    result = check(random_problem(16, 6, 8), functions(LAYER, edit), explain=False)
    assert edge_case(result, name) is Verdict.FAIL
    assert Verdict.FAIL not in verdicts(result).values()
    typical = [case.name for case in result.edge_cases if case.verdict is Verdict.FAIL]
    assert set(typical).isdisjoint(case.name for case in EDGE_CASES if case.typical)


def test_a_mask_with_a_positive_threshold_fails_near_the_kink() -> None:
    wrong = functions(NETWORK, ("dout * (y > 0)", "dout * (y > 1e-9)"))
    result = check(random_problem(16, 6, 8), wrong, explain=False)
    assert [case.name for case in result.edge_cases if case.verdict is Verdict.FAIL] == ["near-the-kink"]


def test_code_that_rejects_a_single_sample_does_not_fail() -> None:
    refusing = functions(
        LAYER, ("    sigma = np", "    if len(x) == 1: raise ValueError('one sample')\n    sigma = np")
    )
    result = check(random_problem(9, 6, 5), refusing)
    assert result.verdict is Verdict.PASS
    assert [(i.function, i.reason) for i in result.not_checked] == [
        ("batchnorm_forward", "edge case one-row: it raised ValueError: one sample")
    ]


def test_a_constant_batch_size_is_reported_as_one_diagnosis() -> None:
    fixed = functions(
        LAYER, ("g.mean(axis=0)", "g.sum(axis=0) / 64"), ("(g * xhat).mean(axis=0)", "(g * xhat).sum(axis=0) / 64")
    )
    result = check(random_problem(64, 100, 50), fixed)
    assert [d.description for d in result.diagnosis] == [
        ("correct only for N = 64: every edge case with another N fails",)
    ]


# Layouts and missing implementations


TRANSPOSED = """
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    sigma = np.sqrt(x.var(axis=1, keepdims=True) + bn_param["eps"])
    xhat = (x - x.mean(axis=1, keepdims=True)) / sigma
    return gamma * xhat + beta, (xhat, gamma, sigma)

def batchnorm_backward(dout, cache):
    xhat, gamma, sigma = cache
    g = dout * gamma
    mean = g.mean(axis=1, keepdims=True)
    dx = (g - mean - xhat * (g * xhat).mean(axis=1, keepdims=True)) / sigma
    return dx, (dout * xhat).sum(axis=1, keepdims=True), dout.sum(axis=1, keepdims=True)
"""


@pytest.mark.parametrize("shape", [(16, 6, 8), (8, 6, 8)])
@pytest.mark.parametrize(
    "edits", [[], [("gamma * xhat", "gamma.reshape(-1, 1) * xhat"), ("+ beta", "+ beta.reshape(-1, 1)")]]
)
def test_the_layout_features_first_is_reported(shape: tuple[int, int, int], edits: list[tuple[str, str]]) -> None:
    with pytest.raises(
        TargetError, match=r"take arrays of shape \(features, batch\): their output and dx are correct in that layout"
    ):
        check(random_problem(*shape), functions(TRANSPOSED, *edits))


def test_statistics_over_the_wrong_axis_are_a_failure() -> None:
    wrong = functions(TRANSPOSED, ("sum(axis=1, keepdims=True)", "sum(axis=0)"))
    result = check(random_problem(16, 6, 8), wrong)
    assert result.verdict is Verdict.FAIL
    assert "BN108" in [d.code for d in result.diagnosis]


@pytest.mark.parametrize("body", ["return None", "raise NotImplementedError", "return None, None, None"])
def test_a_missing_backward_implementation_does_not_prevent_other_judgements(body: str) -> None:
    unwritten = functions(LAYER, ("    xhat, gamma, sigma = cache\n", f"    {body}\n    xhat, gamma, sigma = cache\n"))
    result = check(random_problem(9, 6, 5), unwritten)
    assert (result.verdict, result.incomplete) == (Verdict.INCONCLUSIVE, True)
    assert [(f.function, f.verdict) for f in result.forward] == [("batchnorm_forward", Verdict.PASS)]
    assert [i.function for i in result.not_checked] == ["batchnorm_backward"]
    assert result.not_checked[0].reason.endswith("not implemented yet")


def test_a_gradient_that_is_none_is_not_implemented_and_the_others_are_judged() -> None:
    result = check(random_problem(9, 6, 5), functions(LAYER, (RETURN, RETURN.replace("dx, ", "None, "))))
    assert verdicts(result) == {"batchnorm_backward.dgamma": Verdict.PASS, "batchnorm_backward.dbeta": Verdict.PASS}
    assert [(i.function, i.reason) for i in result.not_checked] == [
        ("batchnorm_backward.dx", "is None: not implemented yet")
    ]
    assert result.incomplete


AFFINE = """
def affine_forward(x, w, b):
    return x @ w + b, (x, w)

def affine_backward(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)
"""


def run_cli(path: Path, *arguments: str) -> Any:
    small = ["--N", "9", "--D", "6", "--H", "5"]
    return CliRunner().invoke(main, ["run", str(path), *small, *arguments])


def test_a_file_with_a_single_layer_is_checked_and_exits_2_because_of_missing_functions(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(AFFINE, encoding="utf-8")
    result = run_cli(path)
    assert result.exit_code == 2
    assert "affine_backward" in result.stdout
    assert "batchnorm_forward (missing), batchnorm_backward (missing)" in result.stderr
    path.write_text(AFFINE.replace("dout @ w.T", "2 * dout @ w.T"), encoding="utf-8")
    assert run_cli(path).exit_code == 1


def test_a_single_function_of_a_file_can_be_selected(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(AFFINE + LAYER.replace("g.mean(axis=0)", "0"), encoding="utf-8")
    assert run_cli(Path(f"{path}:affine_backward")).exit_code == 0
    assert run_cli(Path(f"{path}:batchnorm_backward")).exit_code == 1


# The list of what was not checked


MANY = LAYER + AFFINE + """
def layernorm_forward(x, gamma, beta, ln_param): ...
def layernorm_backward(dout, cache): ...
def spatial_batchnorm_backward(dout, cache): ...
def affine_norm_relu_forward(x, w, b, gamma, beta, p): ...
def relu_backward(dout, cache): ...
""".replace("...", "return None")  # fmt: skip
MODES = ("    sigma = np", "    if bn_param['mode'] == 'test': return bn_param['running_mean']\n    sigma = np")


def test_functions_that_were_not_checked_are_listed_with_the_reason() -> None:
    result = check(random_problem(9, 6, 5), functions(MANY, MODES))
    assert result.verdict is Verdict.PASS
    assert {i.function: i.reason for i in result.not_checked} == {
        "layernorm_forward": "another normalization",
        "layernorm_backward": "another normalization",
        "spatial_batchnorm_backward": "another normalization",
        "affine_norm_relu_forward": "a composite of layers",
        "relu_backward": "no matching forward function",
        "batchnorm_forward": "evaluation mode and running statistics: only training mode is checked",
    }


def test_unchecked_functions_are_in_every_format_and_strict_exits_1(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(MANY, encoding="utf-8")
    assert "not checked      affine_norm_relu_forward: a composite of layers;" in run_cli(path).stdout
    items = json.loads(run_cli(path, "--format", "json").stdout)["not_checked"]
    assert {"function": "relu_backward", "reason": "no matching forward function", "verdict": None} in items
    assert "relu_backward: no matching forward function" in " ".join(
        run_cli(path, "--format", "markdown").stdout.split()
    )
    skipped = ElementTree.fromstring(run_cli(path, "--format", "junit").stdout).findall(".//skipped")
    assert "no matching forward function" in [element.get("message") for element in skipped]
    several = CliRunner().invoke(main, ["run", str(path), str(path), "--N", "4", "--D", "3", "--H", "2"])
    assert "not checked" in several.stdout.rpartition("target ")[2].split("\n")[0]
    strict = run_cli(path, "--strict")
    assert (run_cli(path).exit_code, strict.exit_code) == (0, 1)
    assert strict.stderr.startswith(f"Not checked, which --strict does not allow: {path}: affine_norm_relu_forward, ")


def test_strict_passes_a_file_whose_functions_were_all_checked(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(LAYER, encoding="utf-8")
    assert run_cli(path, "--strict").exit_code == 0
    assert run_cli(path, "--strict", "--no-edge-cases").exit_code == 1


@pytest.mark.parametrize("only", ["dx", "dX", "batchnorm_backward.dx", "batchnorm_backward.dX"])
def test_only_accepts_the_names_in_the_report(only: str) -> None:
    wrong = functions(AFFINE + LAYER, ("g.mean(axis=0)", "0"))
    result = check(random_problem(9, 6, 5), wrong, only=[only], explain=False)
    expected = {"batchnorm_backward.dx": Verdict.FAIL}
    assert verdicts(result) == expected | ({} if "." in only else {"affine_backward.dx": Verdict.PASS})
    left_out = {i.function: i.reason for i in result.not_checked}
    assert left_out["batchnorm_backward"] == "dgamma, dbeta: not selected by `only`"


def test_a_selection_without_gradients_lists_the_available_gradients() -> None:
    with pytest.raises(
        InvalidInput, match="`only='dh'` selects no gradient of SimpleNamespace; it returns dx, dgamma, dbeta"
    ):
        check(random_problem(9, 6, 5), functions(LAYER), only=["dh"])


def test_the_header_shows_only_the_sizes_that_the_functions_depend_on(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(LAYER, encoding="utf-8")
    text = run_cli(path).stdout
    assert "D 6" not in text.split("\n")[0]
    assert "dx (9, 5)" in text
    path.write_text(AFFINE + LAYER, encoding="utf-8")
    text = run_cli(path).stdout
    assert "dx (9, 6)" in text
    assert "D 6" in text.split("\n")[0]


def test_an_error_of_an_optional_function_is_reported_a_single_time(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(AFFINE.replace("return dout @", "return 1 / 0, dout @") + LAYER, encoding="utf-8")
    result = run_cli(path)
    assert result.exit_code == 1
    assert result.stdout.count("ZeroDivisionError") == 1


# Sweeps


def test_a_sweep_checks_the_edge_cases_a_single_time_for_each_target(tmp_path: Path) -> None:
    counting = "import os\nopen(os.environ['COUNT'], 'a').write('.')\n"
    files = {"right.py": LAYER, "wrong.py": LAYER.replace(RETURN, "dx[100:] = 0\n    " + RETURN)}
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
        LAYER.replace('bn_param["eps"]', "1e-8") + "def layernorm_backward(dout, cache): pass\n", encoding="utf-8"
    )
    result = CliRunner().invoke(main, ["sweep", str(path), "--N", "8,9", "--D", "5", "--H", "4"])
    text = " ".join(result.stdout.split())
    assert "batchnorm_forward ignores eps and uses 1e-08" in text
    assert "not checked: layernorm_backward: another normalization" in text


# Regressions


def test_a_mean_loss_is_not_mistaken_for_float32() -> None:
    """With a constant dout, dgamma and dx are left over from cancellation and have few bits in float64."""
    wrong = functions(LAYER, ("return gamma * xhat + beta,", "return (gamma * xhat + beta) * (1 + 1e-6),"))
    for seed in range(3):
        p = random_problem(64, 3, 50, seed=seed, x_mean=5)
        problem = replace(p, dout=np.ones_like(p.dout), seed=None)
        result = check(problem, functions(LAYER), edge_cases=False)
        assert (result.verdict, result.target.dtype) == (Verdict.PASS, "float64")
        assert check(problem, wrong, edge_cases=False, explain=False).verdict is Verdict.FAIL


def test_code_that_casts_only_its_input_to_float32_is_judged_as_float32() -> None:
    casting = functions(LAYER, ("    sigma = np", "    x = x.astype(np.float32)\n    sigma = np"))
    result = check(random_problem(64, 6, 8), casting)
    assert (result.verdict, result.target.dtype) == (Verdict.PASS, "float32")


@pytest.mark.parametrize("scheme", ["central", "complex"])
def test_a_single_pass_variance_whose_sigma_does_not_follow_from_the_output_does_not_fail(scheme: str) -> None:
    """eps is far above the variance, or gamma is 0: the output does not determine sigma."""
    single_pass = functions(LAYER, SINGLE_PASS)
    p = random_problem(16, 6, 8, x_mean=1_000)
    hidden = [random_problem(16, 6, 8, seed=seed, x_mean=10, x_std=1e-4, bn_eps=1e-3) for seed in range(4)]
    hidden.append(replace(p, gamma=np.where(np.arange(8) == 0, 0.0, p.gamma), seed=None))
    for problem in hidden:
        assert check(problem, single_pass, scheme=scheme, edge_cases=False).verdict is not Verdict.FAIL


def test_a_db_of_float32_zeros_does_not_make_the_others_float32() -> None:
    zeros = functions(NETWORK, ("dh.sum(0), dgamma", "np.zeros(len(gamma), np.float32), dgamma"))
    wrong = functions(NETWORK, ("dh @ W.T, X.T @ dh, dh.sum(0)", "1.00001 * dh @ W.T, X.T @ dh, np.float32(0 * gamma)"))
    problem = random_problem(16, 6, 8)
    assert (check(problem, zeros).verdict, check(problem, zeros).target.dtype) == (Verdict.PASS, "float64")
    assert verdicts(check(problem, wrong, edge_cases=False, explain=False))["dX"] is Verdict.FAIL


def test_relu_in_float32_passes() -> None:
    source = (
        "import numpy as np\n"
        "def relu_forward(x):\n    x = x.astype(np.float32)\n    return np.maximum(x, 0), x\n"
        "def relu_backward(dout, x):\n    return dout.astype(np.float32) * (x > 0)\n"
    )
    result = check(random_problem(64, 6, 8), functions(source + LAYER), edge_cases=False)
    assert verdicts(result)["relu_backward.dx"] is Verdict.PASS


def test_a_backward_pass_with_the_eps_that_its_forward_pass_ignores_fails() -> None:
    split = functions(
        LAYER,
        ('bn_param["eps"]', "1e-5"),
        ("(xhat, gamma, sigma)\n", '(xhat, gamma, np.sqrt(x.var(axis=0) + bn_param["eps"]))\n'),
    )
    assert check(random_problem(16, 6, 8), split, edge_cases=False).verdict is Verdict.PASS
    result = check(random_problem(16, 6, 8, bn_eps=0.5), split, edge_cases=False)
    assert verdicts(result)["batchnorm_backward.dx"] is Verdict.FAIL
    assert check(random_problem(16, 6, 8), split).verdict is Verdict.FAIL


def test_code_that_ignores_eps_is_called_with_the_eps_of_the_problem() -> None:
    """Outputs are excluded, so that the code is run a second time on the remaining loss."""
    split = functions(
        NETWORK,
        ("np.sqrt(h.var(0) + bn_eps)", "np.sqrt(h.var(0) + 1e-5)"),
        ("gamma, sigma, xhat, y)\n\ndef", "gamma, np.sqrt(h.var(0) + bn_eps), xhat, y)\n\ndef"),
    )
    result = check(random_problem(16, 6, 8, bn_eps=0.5), split, step=1e-2, edge_cases=False, explain=False)
    assert result.kink_exclusion.excluded > 0
    assert verdicts(result)["dX"] is Verdict.FAIL


def test_an_output_that_is_pure_rounding_error_is_inconclusive() -> None:
    p = random_problem(13, 5, 5)
    W, b = p.W.copy(), p.b.copy()
    W[:, 0], b[0] = 0, 1.3
    problem = replace(p, W=W, b=b, bn_eps=0.0, seed=None)
    result = check(problem, functions(LAYER), only=["dbeta"], edge_cases=False)
    assert [f.verdict for f in result.forward] == [Verdict.INCONCLUSIVE]
    assert result.forward[0].message == "13 of 65 entries of out cannot be judged: their sigma is pure rounding error"
    assert result.verdict is Verdict.INCONCLUSIVE


def test_a_constant_eps_is_not_inferred_from_a_batch_of_one() -> None:
    fused = functions(
        LAYER,
        ('np.sqrt(x.var(axis=0) + bn_param["eps"])', "np.sqrt(x.var(axis=0) + 1e-15)"),
        ("(x - x.mean(axis=0)) / sigma", "x / sigma + (-x.mean(axis=0) / sigma)"),
    )
    assert check(random_problem(1, 6, 8), fused).verdict is Verdict.PASS


def test_float32_is_recognized_from_the_output_of_a_batch_of_one() -> None:
    single = functions(LAYER, ("gamma * xhat + beta,", "np.float64(np.float32(gamma * xhat + beta)),"))
    result = check(random_problem(1, 6, 8), single, edge_cases=False)
    assert (result.verdict, result.target.dtype) == (Verdict.PASS, "float32")


def test_an_output_that_is_pure_rounding_error_does_not_fail_even_if_it_is_nan() -> None:
    """With a zero column of W and eps 0, the order of operations decides whether the variance is exactly 0."""
    p = random_problem(13, 5, 5)
    W, b = p.W.copy(), p.b.copy()
    W[:, 0], b[0] = 0, 1.3
    problem = replace(p, W=W, b=b, bn_eps=0.0, seed=None)
    pairwise = functions(
        LAYER,
        ("x.var(axis=0)", "((x[:, None] - x[None]) ** 2).mean(axis=(0, 1)) / 2"),
        ("(x - x.mean(axis=0))", "(x[:, None] - x[None]).mean(axis=1)"),
    )
    with np.errstate(all="ignore"):
        assert check(problem, pairwise, edge_cases=False).verdict is Verdict.INCONCLUSIVE


def test_float16_that_overflows_is_inconclusive() -> None:
    half = functions(
        LAYER,
        ("    sigma = np", "    x, gamma, beta = np.float16(x), np.float16(gamma), np.float16(beta)\n    sigma = np"),
        ("g = dout", "dout = np.float16(dout)\n    g = dout"),
        ('bn_param["eps"])', 'np.float16(bn_param["eps"]))'),
    )
    for x_std in (1.0, 1e2, 1e3):
        with np.errstate(all="ignore"):
            result = check(random_problem(16, 6, 8, x_std=x_std), half)
        assert (result.verdict, result.target.dtype) == (Verdict.INCONCLUSIVE, "float16"), x_std


@pytest.mark.parametrize("edits", [("1e-3", "beta"), ("0.1", "beta"), ("bn_param['eps']", "beta[:, None]")])
def test_the_layout_is_recognized_with_another_eps_and_with_vectors(edits: tuple[str, str], tmp_path: Path) -> None:
    eps, beta = edits
    source = TRANSPOSED.replace('bn_param["eps"]', eps).replace("+ beta", f"+ {beta}")
    if "None" in beta:
        source = source.replace("gamma * xhat", "gamma[:, None] * xhat").replace(
            "dout * gamma", "dout * gamma[:, None]"
        )
    path = tmp_path / "layers.py"
    path.write_text(source, encoding="utf-8")
    for sizes in ([], ["--N", "1"]):
        result = run_cli(path, *sizes)
        assert result.exit_code == 2
        assert "take arrays of shape (features, batch)" in result.stderr


COMPOSITE = """
def affine_bn_relu_forward(x, w, b, gamma, beta, bn_param):
    h, fc = affine_forward(x, w, b)
    y, bn = batchnorm_forward(h, gamma, beta, bn_param)
    return np.maximum(y, 0), (fc, bn, y)

def affine_bn_relu_backward(dout, cache):
    fc, bn, y = cache
    dh, dgamma, dbeta = batchnorm_backward(dout * (y > 0), bn)
    return (*affine_backward(dh, fc), dgamma, dbeta)
"""


@pytest.mark.parametrize("body", ["return None, None", "raise NotImplementedError"])
def test_a_composite_of_a_function_that_is_not_implemented_is_not_checked(body: str) -> None:
    starter = functions(AFFINE + LAYER + COMPOSITE, ("    sigma = np", f"    {body}\n    sigma = np"))
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
        check(random_problem(9, 6, 5), functions(NETWORK), only=["dh"])
    with pytest.raises(TargetError, match=r"batchnorm_backward.dx is None: not implemented yet"):
        check(random_problem(9, 6, 5), functions(LAYER, (RETURN, RETURN.replace("dx, ", "None, "))), only=["dx"])


def test_a_sweep_whose_first_problem_cannot_be_drawn_still_checks_the_edge_cases(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(LAYER.replace(RETURN, "xhat *= 0.5\n    " + RETURN.replace("xhat", "(2 * xhat)")), encoding="utf-8")
    arguments = ["sweep", str(path), "--N", "1,8", "--D", "5", "--H", "4", "--bn-eps", "0", "--format", "json"]
    rows = json.loads(CliRunner().invoke(main, arguments).stdout)["rows"]
    assert [row["verdict"] for row in rows] == [None, "fail"]
    assert rows[1]["message"].startswith("edge case calls: batchnorm_backward.dx")


def test_the_reproducing_command_of_a_check_without_edge_cases_skips_them(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(LAYER, encoding="utf-8")
    assert json.loads(run_cli(path, "--no-edge-cases", "--format", "json").stdout)["reproduce"].endswith(
        " --no-edge-cases"
    )


def test_a_file_that_is_not_complete_is_an_error_for_ci(tmp_path: Path) -> None:
    path = tmp_path / "layers.py"
    path.write_text(LAYER.replace(RETURN, RETURN.replace("dx, ", "None, ")), encoding="utf-8")
    result = run_cli(path, "--format", "junit")
    assert result.exit_code == 2
    assert "batchnorm_backward.dx" in str(ElementTree.fromstring(result.stdout).find(".//error").get("message"))  # type: ignore[union-attr]  # the element exists
    assert "::error" in run_cli(path, "--format", "github").stdout
