"""Tolerances follow the arithmetic of the code: float64, float32 or 16 bits."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bncheck import TargetError, Verdict, check, random_problem
from bncheck.model import network
from bncheck.model.layers import Array
from tests.checking.helpers import RETURN, functions, verdicts
from tests.samples import BATCHNORM, SHORT_NETWORK


def test_a_float32_dx_wrong_by_two_in_ten_thousand_fails() -> None:
    single = ("(dout, cache):\n", "(dout, cache):\n    dout = dout.astype(np.float32)\n")
    cast = ("return gamma * xhat + beta, (xhat, gamma, sigma)",
            "xhat, gamma, sigma, beta = (np.float32(v) for v in (xhat, gamma, sigma, beta))\n"
            "    return gamma * xhat + beta, (xhat, gamma, sigma)")  # fmt: skip
    correct, wrong = (
        functions(BATCHNORM, single, cast),
        functions(BATCHNORM, single, cast, (RETURN, "dx = dx * 1.0002\n    " + RETURN)),
    )
    problem = random_problem(16, 6, 8)
    assert check(problem, correct, edge_cases=False).verdict is Verdict.PASS
    assert verdicts(check(problem, wrong, edge_cases=False))["batchnorm_backward.dx"] is Verdict.FAIL


@pytest.mark.parametrize("returned", ["np.float32", "np.float64"])
def test_every_gradient_of_a_float32_network_is_judged_with_the_roundoff_of_float32(returned: str) -> None:
    single = ("h = X @ W + b", "X, W, b, gamma, beta = map(np.float32, (X, W, b, gamma, beta))\n    h = X @ W + b")
    dout = ("dy = dout", "dy = np.float32(dout)")
    result = ("return dh @ W.T, X.T @ dh, dh.sum(0), dgamma, dbeta",
              f"return tuple({returned}(g) for g in (dh @ W.T, X.T @ dh, dh.sum(0), dgamma, dbeta))")  # fmt: skip
    output = ("return np.maximum(y, 0),", f"return {returned}(np.maximum(y, 0)),")
    for seed in range(5):
        target = functions(SHORT_NETWORK, single, dout, result, output)
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
    wrong = functions(BATCHNORM, (RETURN, f"dx = {value}\n    " + RETURN))
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


def test_a_mean_loss_is_not_mistaken_for_float32() -> None:
    """With a constant dout, dgamma and dx are left over from cancellation and have few bits in float64."""
    wrong = functions(BATCHNORM, ("return gamma * xhat + beta,", "return (gamma * xhat + beta) * (1 + 1e-6),"))
    for seed in range(3):
        p = random_problem(64, 3, 50, seed=seed, x_mean=5)
        problem = replace(p, dout=np.ones_like(p.dout), seed=None)
        result = check(problem, functions(BATCHNORM), edge_cases=False)
        assert (result.verdict, result.target.dtype) == (Verdict.PASS, "float64")
        assert check(problem, wrong, edge_cases=False, explain=False).verdict is Verdict.FAIL


def test_code_that_casts_only_its_input_to_float32_is_judged_as_float32() -> None:
    casting = functions(BATCHNORM, ("    sigma = np", "    x = x.astype(np.float32)\n    sigma = np"))
    result = check(random_problem(64, 6, 8), casting)
    assert (result.verdict, result.target.dtype) == (Verdict.PASS, "float32")


def test_a_db_of_float32_zeros_does_not_make_the_others_float32() -> None:
    zeros = functions(SHORT_NETWORK, ("dh.sum(0), dgamma", "np.zeros(len(gamma), np.float32), dgamma"))
    wrong = functions(
        SHORT_NETWORK, ("dh @ W.T, X.T @ dh, dh.sum(0)", "1.00001 * dh @ W.T, X.T @ dh, np.float32(0 * gamma)")
    )
    problem = random_problem(16, 6, 8)
    assert (check(problem, zeros).verdict, check(problem, zeros).target.dtype) == (Verdict.PASS, "float64")
    assert verdicts(check(problem, wrong, edge_cases=False, explain=False))["dX"] is Verdict.FAIL


def test_relu_in_float32_passes() -> None:
    source = (
        "import numpy as np\n"
        "def relu_forward(x):\n    x = x.astype(np.float32)\n    return np.maximum(x, 0), x\n"
        "def relu_backward(dout, x):\n    return dout.astype(np.float32) * (x > 0)\n"
    )
    result = check(random_problem(64, 6, 8), functions(source + BATCHNORM), edge_cases=False)
    assert verdicts(result)["relu_backward.dx"] is Verdict.PASS


def test_float32_is_recognized_from_the_output_of_a_batch_of_one() -> None:
    single = functions(BATCHNORM, ("gamma * xhat + beta,", "np.float64(np.float32(gamma * xhat + beta)),"))
    result = check(random_problem(1, 6, 8), single, edge_cases=False)
    assert (result.verdict, result.target.dtype) == (Verdict.PASS, "float32")


def test_float16_that_overflows_is_inconclusive() -> None:
    half = functions(
        BATCHNORM,
        ("    sigma = np", "    x, gamma, beta = np.float16(x), np.float16(gamma), np.float16(beta)\n    sigma = np"),
        ("g = dout", "dout = np.float16(dout)\n    g = dout"),
        ('bn_param["eps"])', 'np.float16(bn_param["eps"]))'),
    )
    for x_std in (1.0, 1e2, 1e3):
        with np.errstate(all="ignore"):
            result = check(random_problem(16, 6, 8, x_std=x_std), half)
        assert (result.verdict, result.target.dtype) == (Verdict.INCONCLUSIVE, "float16"), x_std
