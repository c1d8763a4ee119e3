import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from bncheck import random_problem
from bncheck.model import layers, network
from bncheck.model.components import NETWORK
from bncheck.model.layers import Array
from tests.oracles import loop_affine, loop_component


def cs231n_rel_error(x: Array, y: Array) -> float:
    return float(np.max(np.abs(x - y) / np.maximum(1e-8, np.abs(x) + np.abs(y))))


def cs231n_gradient(f: Callable[[Array], Array], x: Array, dout: Array, step: float = 1e-5) -> Array:
    """Compute the gradient with the loop of cs231n: central differences, weighted by dout."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        original = x[index]
        x[index] = original + step
        above = f(x).copy()
        x[index] = original - step
        below = f(x).copy()
        x[index] = original
        gradient[index] = np.sum((above - below) * dout) / (2 * step)
    return gradient


def to_three_digits(value: float) -> object:
    return pytest.approx(value, rel=5e-3)


def is_same_magnitude(error: float, printed: float) -> bool:
    """Return whether an error that is only rounding has the magnitude of the printed error.

    The digits are equal with most BLAS kernels; others add in a different order.
    """
    return printed / 10 < error < 10 * printed


def test_batchnorm_reproduces_the_errors_printed_in_cs231n() -> None:
    rng = np.random.RandomState(231)
    x, gamma, beta = 5 * rng.randn(4, 5) + 12, rng.randn(5), rng.randn(5)
    dout = rng.randn(4, 5)
    _, cache = layers.batchnorm_forward(x, gamma, beta, 1e-5)
    dx, dgamma, dbeta = layers.batchnorm_backward(dout, cache)
    numerical = [
        cs231n_gradient(lambda v: layers.batchnorm_forward(v, gamma, beta, 1e-5)[0], x, dout),
        cs231n_gradient(lambda v: layers.batchnorm_forward(x, v, beta, 1e-5)[0], gamma, dout),
        cs231n_gradient(lambda v: layers.batchnorm_forward(x, gamma, v, 1e-5)[0], beta, dout),
    ]
    errors = [cs231n_rel_error(a, n) for a, n in zip((dx, dgamma, dbeta), numerical, strict=True)]
    # Another order of operations gives 1.667e-09 for dx.
    assert errors[0] == pytest.approx(1.70292e-09, rel=0.03)
    assert errors[1:] == [to_three_digits(7.420414216247087e-13), to_three_digits(2.8795057655839487e-12)]


def test_affine_reproduces_the_errors_printed_in_cs231n() -> None:
    rng = np.random.RandomState(231)
    x, w, b = rng.randn(10, 2, 3).reshape(10, 6), rng.randn(6, 5), rng.randn(5)
    dout = rng.randn(10, 5)
    dx, dw, db = layers.affine_backward(dout, layers.AffineCache(x, w))
    errors = [
        cs231n_rel_error(dx, cs231n_gradient(lambda v: layers.affine_forward(v, w, b)[0], x, dout)),
        cs231n_rel_error(dw, cs231n_gradient(lambda v: layers.affine_forward(x, v, b)[0], w, dout)),
        cs231n_rel_error(db, cs231n_gradient(lambda v: layers.affine_forward(x, w, v)[0], b, dout)),
    ]
    printed = (5.399100368651805e-11, 9.904211865398145e-11, 2.4122867568119087e-11)
    assert all(map(is_same_magnitude, errors, printed))


def test_relu_reproduces_the_error_printed_in_cs231n() -> None:
    rng = np.random.RandomState(231)
    x, dout = rng.randn(10, 10), rng.randn(10, 10)
    _, cache = layers.relu_forward(x)
    numerical = cs231n_gradient(lambda v: layers.relu_forward(v)[0], x, dout)
    error = cs231n_rel_error(layers.relu_backward(dout, cache), numerical)
    assert error == to_three_digits(3.2756349136310288e-12)


def test_a_chain_of_networks_reproduces_the_three_layer_network_of_cs231n() -> None:
    rng = np.random.RandomState(231)
    sizes = (15, 20, 30, 10)
    X, target = rng.randn(2, 15), rng.randint(10, size=2)
    weights = [5e-2 * rng.randn(n, m) for n, m in itertools.pairwise(sizes)]
    parameters = {f"W{i}": w for i, w in enumerate(weights, 1)}
    for i, size in enumerate(sizes[1:-1], 1):
        parameters |= {f"gamma{i}": np.ones(size), f"beta{i}": np.zeros(size)}

    def net() -> tuple[float, dict[str, Array]]:
        a, caches = X, []
        for i in (1, 2):
            p = [parameters[f"{name}{i}"] for name in ("W", "gamma", "beta")]
            a, cache = network.forward(a, p[0], np.zeros(len(p[1])), p[1], p[2], 1e-5)
            caches.append(cache)
        scores, last = layers.affine_forward(a, parameters["W3"], np.zeros(10))
        shifted = scores - scores.max(axis=1, keepdims=True)
        log_probability = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        loss = -log_probability[[0, 1], target].sum() / 2
        probability = np.exp(log_probability)
        probability[[0, 1], target] -= 1
        da, dW3, _ = layers.affine_backward(probability / 2, last)
        gradients = {"W3": dW3}
        for i in (2, 1):
            g = network.backward(da, caches[i - 1])
            da = g["dX"]
            gradients |= {f"W{i}": g["dW"], f"gamma{i}": g["dgamma"], f"beta{i}": g["dbeta"]}
        return float(loss), gradients

    loss, gradients = net()
    assert loss == pytest.approx(2.2611955101340957, rel=1e-12)
    errors = {}
    for name, array in parameters.items():
        numerical = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            original = array[index]
            array[index] = original + 1e-5
            above, _ = net()
            array[index] = original - 1e-5
            below, _ = net()
            array[index] = original
            numerical[index] = (above - below) / 2e-5
        errors[name] = cs231n_rel_error(gradients[name], numerical)
    # The error of W1 is truncation at N = 2; the others are rounding.
    assert errors["W1"] == to_three_digits(1.10e-04)
    assert is_same_magnitude(errors["W2"], 2.85e-06)
    assert is_same_magnitude(errors["beta1"], 7.33e-09)
    assert is_same_magnitude(errors["W3"], 4.05e-10)
    assert is_same_magnitude(errors["gamma1"], 6.96e-09)


def test_the_forward_pass_matches_plain_loops() -> None:
    p = random_problem(5, 4, 3, seed=2, x_mean=3.0, bn_eps=0.1)
    expected = loop_component("network", NETWORK.arrays(p) | {"h": loop_affine(p.X, p.W, p.b)}, p.bn_eps, math.sqrt)
    a, _ = network.forward(p.X, p.W, p.b, p.gamma, p.beta, p.bn_eps)
    np.testing.assert_allclose(a, np.array(expected, float), rtol=1e-12, atol=1e-13)


def test_relu_of_a_complex_value_depends_on_its_real_part() -> None:
    a, _ = layers.relu_forward(np.array([1 + 5j, -1 + 5j, 0 + 5j]))
    np.testing.assert_array_equal(a, [1 + 5j, 0, 0])


@pytest.mark.parametrize("seed", range(20))
def test_gradients_match_torch_autograd_within_1e_12_of_the_size_of_their_terms(seed: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    N, D, H = (int(size) for size in rng.integers(2, 30, 3))
    p = random_problem(N, D, H, seed=seed)
    names = ("X", "W", "b", "gamma", "beta")
    X, W, b, gamma, beta = (torch.tensor(getattr(p, name).copy(), requires_grad=True) for name in names)
    h = X @ W + b
    h.retain_grad()
    y = torch.nn.functional.batch_norm(h, None, None, gamma, beta, training=True, eps=p.bn_eps)
    (torch.relu(y) * torch.tensor(p.dout.copy())).sum().backward()
    of_torch = {"dX": X, "dW": W, "db": b, "dgamma": gamma, "dbeta": beta, "dh": h}
    a, cache = network.forward(p.X, p.W, p.b, p.gamma, p.beta, p.bn_eps)
    np.testing.assert_allclose(a, torch.relu(y).detach().numpy(), rtol=1e-11, atol=1e-12)
    # The size of the terms before they cancel.
    m, xhat = np.abs(p.dout) * (a > 0), np.abs(cache.batchnorm.xhat)
    terms = np.abs(p.gamma) / cache.batchnorm.sigma * (m + m.mean(0) + xhat * (m * xhat).mean(0))
    sizes = {
        "dX": terms @ np.abs(p.W).T,
        "dW": np.abs(p.X).T @ terms,
        "db": terms.sum(axis=0),
        "dgamma": (m * xhat).sum(axis=0),
        "dbeta": m.sum(axis=0),
        "dh": terms,
    }
    for name, gradient in network.backward(p.dout, cache).items():
        difference = np.abs(gradient - of_torch[name].grad.numpy())
        assert (difference <= 1e-12 * sizes[name]).all(), name
