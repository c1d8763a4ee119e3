"""Correct implementations in many styles; none of them may fail.

``bn_param`` is the dict that cs231n passes. A network takes (X, W, b, gamma, beta, bn_eps).
"""

from dataclasses import dataclass

from . import Implementation, edited


@dataclass(frozen=True, slots=True)
class Correct(Implementation):
    """A correct implementation, and why bncheck cannot show that it is correct, if it cannot."""

    inconclusive: str = ""  # reason for the verdict INCONCLUSIVE; empty if the verdict is PASS
    precision: float = 1e-9  # largest error of its gradients, relative to the largest entry


CLOSED_FORM = """
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    N = x.shape[0]
    eps = bn_param["eps"]
    mu = x.sum(axis=0) / N
    xc = x - mu
    var = (xc * xc).sum(axis=0) / N
    rstd = 1 / np.sqrt(var + eps)
    xhat = xc * rstd
    out = gamma * xhat + beta
    return out, (xhat, rstd, gamma, var, eps)

def batchnorm_backward(dout, cache):
    xhat, rstd, gamma, var, eps = cache
    N = dout.shape[0]
    dbeta = dout.sum(axis=0)
    dgamma = (dout * xhat).sum(axis=0)
    g = dout * gamma
    direct = g
    mean = g.sum(axis=0) / N
    variance = xhat * (g * xhat).sum(axis=0) / N
    dx = rstd * (direct - mean - variance)
    return dx, dgamma, dbeta
"""

STEP_BY_STEP = """
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    eps = bn_param.get("eps", 1e-5)
    momentum = bn_param.get("momentum", 0.9)
    N, D = x.shape
    running_mean = bn_param.get("running_mean", np.zeros(D))
    running_var = bn_param.get("running_var", np.zeros(D))
    mu = 1.0 / N * np.sum(x, axis=0)
    xmu = x - mu
    sq = xmu ** 2
    var = 1.0 / N * np.sum(sq, axis=0)
    sqrtvar = np.sqrt(var + eps)
    ivar = 1.0 / sqrtvar
    xhat = xmu * ivar
    gammax = gamma * xhat
    out = gammax + beta
    bn_param["running_mean"] = momentum * running_mean + (1 - momentum) * mu
    bn_param["running_var"] = momentum * running_var + (1 - momentum) * var
    return out, (xhat, gamma, xmu, ivar, sqrtvar, var, eps)

def batchnorm_backward(dout, cache):
    xhat, gamma, xmu, ivar, sqrtvar, var, eps = cache
    N, D = dout.shape
    dbeta = np.sum(dout, axis=0)
    dgammax = dout
    dgamma = np.sum(dgammax * xhat, axis=0)
    dxhat = dgammax * gamma
    divar = np.sum(dxhat * xmu, axis=0)
    dxmu1 = dxhat * ivar
    dsqrtvar = -1.0 / (sqrtvar ** 2) * divar
    dvar = 0.5 * 1.0 / np.sqrt(var + eps) * dsqrtvar
    dsq = 1.0 / N * np.ones((N, D)) * dvar
    dxmu2 = 2 * xmu * dsq
    dx1 = dxmu1 + dxmu2
    dmu = -1 * np.sum(dxmu1 + dxmu2, axis=0)
    dx2 = 1.0 / N * np.ones((N, D)) * dmu
    dx = dx1 + dx2
    return dx, dgamma, dbeta
"""

AFFINE_AND_RELU = """
def affine_forward(x, w, b):
    out = x.reshape(x.shape[0], -1).dot(w) + b
    return out, (x, w, b)

def affine_backward(dout, cache):
    x, w, b = cache
    dx = dout.dot(w.T).reshape(x.shape)
    dw = x.reshape(x.shape[0], -1).T.dot(dout)
    db = dout.sum(axis=0)
    return dx, dw, db

def relu_forward(x):
    return np.maximum(0, x), x

def relu_backward(dout, cache):
    return dout * (cache > 0)
"""

COMPOSITE = """
def affine_bn_relu_forward(x, w, b, gamma, beta, bn_param):
    a, fc_cache = affine_forward(x, w, b)
    an, bn_cache = batchnorm_forward(a, gamma, beta, bn_param)
    out, relu_cache = relu_forward(an)
    return out, (fc_cache, bn_cache, relu_cache)

def affine_bn_relu_backward(dout, cache):
    fc_cache, bn_cache, relu_cache = cache
    dan = relu_backward(dout, relu_cache)
    da, dgamma, dbeta = batchnorm_backward(dan, bn_cache)
    dx, dw, db = affine_backward(da, fc_cache)
    return dx, dw, db, dgamma, dbeta
"""

LAYERS = CLOSED_FORM + AFFINE_AND_RELU
LAYERS_AND_COMPOSITE = LAYERS + COMPOSITE

NETWORK = """
import numpy as np

def forward(X, W, b, gamma, beta, bn_eps):
    h = X @ W + b
    mu = h.mean(axis=0)
    var = h.var(axis=0)
    rstd = 1 / np.sqrt(var + bn_eps)
    xhat = (h - mu) * rstd
    y = gamma * xhat + beta
    a = np.maximum(y, 0)
    return a, (X, W, gamma, xhat, rstd, y)

def backward(dout, cache):
    X, W, gamma, xhat, rstd, y = cache
    N = len(X)
    dy = dout * (y > 0)
    dbeta = dy.sum(axis=0)
    dgamma = (dy * xhat).sum(axis=0)
    dh = gamma * rstd / N * (N * dy - dbeta - xhat * dgamma)
    dX = dh @ W.T
    dW = X.T @ dh
    db = dh.sum(axis=0)
    return dX, dW, db, dgamma, dbeta
"""

FLOAT32_INSIDE = edited(
    CLOSED_FORM,
    ("    N = x.shape[0]", "    x, gamma, beta = (v.astype(np.float32) for v in (x, gamma, beta))\n    N = x.shape[0]"),
    ('bn_param["eps"]', 'np.float32(bn_param["eps"])'),
    ("    return out, (", "    return out.astype(np.float64), ("),
    ("    N = dout.shape[0]", "    dout = dout.astype(np.float32)\n    N = np.float32(dout.shape[0])"),
    ("    return dx, dgamma, dbeta", "    return tuple(v.astype(np.float64) for v in (dx, dgamma, dbeta))"),
)

# Layer functions around torch, on tensors: to_tensor and to_result are set by each entry.
TORCH_FORMULA = """
import numpy as np
import torch

def to_tensor(array):
    return torch.tensor(array)

def to_result(tensor):
    return tensor.numpy()

@torch.no_grad()
def batchnorm_forward(x, gamma, beta, bn_param):
    x, gamma, beta = map(to_tensor, (x, gamma, beta))
    mu = x.mean(dim=0)
    var = x.var(dim=0, unbiased=False)
    rstd = torch.rsqrt(var + bn_param["eps"])
    xhat = (x - mu) * rstd
    return to_result(gamma * xhat + beta), (xhat, rstd, gamma)

@torch.no_grad()
def batchnorm_backward(dout, cache):
    xhat, rstd, gamma = cache
    dout = to_tensor(dout)
    g = dout * gamma
    dx = rstd * (g - g.mean(dim=0) - xhat * (g * xhat).mean(dim=0))
    return to_result(dx), to_result((dout * xhat).sum(dim=0)), to_result(dout.sum(dim=0))
"""

TORCH_AUTOGRAD = """
import numpy as np
import torch

def batchnorm_forward(x, gamma, beta, bn_param):
    leaves = [torch.tensor(v, requires_grad=True) for v in (x, gamma, beta)]
    x, gamma, beta = leaves
    mu = x.mean(dim=0)
    var = ((x - mu) ** 2).mean(dim=0)
    out = gamma * (x - mu) / torch.sqrt(var + bn_param["eps"]) + beta
    return out.detach().numpy(), (out, leaves)

def batchnorm_backward(dout, cache):
    out, leaves = cache
    gradients = torch.autograd.grad(out, leaves, torch.tensor(dout), retain_graph=True)
    return tuple(v.numpy() for v in gradients)
"""

JAX = """
import jax
import jax.numpy as jnp
import numpy as np

def normalize(x, gamma, beta, eps):
    mu = x.mean(axis=0)
    var = ((x - mu) ** 2).mean(axis=0)
    return gamma * (x - mu) / jnp.sqrt(var + eps) + beta

@jax.jit
def pullback(x, gamma, beta, eps, dout):
    return jax.vjp(lambda *v: normalize(*v, eps), x, gamma, beta)[1](dout)

jitted = jax.jit(normalize)

def batchnorm_forward(x, gamma, beta, bn_param):
    with jax.enable_x64(True):
        cache = tuple(map(jnp.asarray, (x, gamma, beta))) + (bn_param["eps"],)
        return np.asarray(jitted(*cache)), cache

def batchnorm_backward(dout, cache):
    with jax.enable_x64(True):
        return tuple(np.asarray(v) for v in pullback(*cache, jnp.asarray(dout)))
"""


def forward_and_backward(forward: str, backward: str) -> str:
    """Return a module of layer functions from the two bodies of a batch norm."""
    header = "import numpy as np\n\ndef batchnorm_forward(x, gamma, beta, bn_param):"
    return f"{header}{forward}\ndef batchnorm_backward(dout, cache):{backward}"


def with_literal_eps(literal: str) -> str:
    """Return a batch norm that ignores ``bn_param`` and uses a constant for eps."""
    return edited(CLOSED_FORM, ('bn_param["eps"]', literal))


def with_sums(definition: str) -> str:
    """Return a batch norm whose sums over the batch are all made by a function ``total(values)``, defined here."""
    source = f"{definition}\n{CLOSED_FORM}"
    for summed in ("x", "dout", "g"):
        source = source.replace(f"{summed}.sum(axis=0)", f"total({summed})")
    for summed in ("xc * xc", "dout * xhat", "g * xhat"):
        source = source.replace(f"({summed}).sum(axis=0)", f"total({summed})")
    if ".sum(" in source.removeprefix(definition):
        raise ValueError("a sum over the batch was not replaced")
    return source


RIGHT: dict[str, Correct] = {
    # Formulas and orders of evaluation.
    "closed form": Correct(CLOSED_FORM),
    "step by step": Correct(STEP_BY_STEP),
    "np.mean and np.var": Correct(forward_and_backward('''
    eps = bn_param.get("eps", 1e-5)
    mean, var = np.mean(x, axis=0), np.var(x, axis=0)
    std = np.sqrt(var + eps)
    x_norm = (x - mean) / std
    return gamma * x_norm + beta, (x, x_norm, mean, std, gamma)
''', '''
    x, x_norm, mean, std, gamma = cache
    N = x.shape[0]
    dx_norm = dout * gamma
    dstd = np.sum(dx_norm * (x - mean) * -std ** -2, axis=0)
    dvar = dstd / (2 * std)
    dmean = np.sum(dx_norm * -1 / std, axis=0) - 2 * dvar * np.mean(x - mean, axis=0)
    dx = dx_norm / std + 2 * dvar * (x - mean) / N + dmean / N
    return dx, np.sum(dout * x_norm, axis=0), np.sum(dout, axis=0)
''')),
    "original paper's equations": Correct(forward_and_backward('''
    m = len(x)
    mu = x.mean(axis=0)
    var = ((x - mu) ** 2).mean(axis=0)
    eps = bn_param["eps"]
    return gamma * ((x - mu) / (var + eps) ** 0.5) + beta, (x, mu, var, eps, gamma)
''', '''
    x, mu, var, eps, gamma = cache
    m = len(x)
    dxhat = dout * gamma
    dvar = (dxhat * (x - mu) * -0.5 * (var + eps) ** -1.5).sum(axis=0)
    dmu = (dxhat * -1 / np.sqrt(var + eps)).sum(axis=0) + dvar * (-2 * (x - mu)).sum(axis=0) / m
    dx = dxhat / np.sqrt(var + eps) + dvar * 2 * (x - mu) / m + dmu / m
    return dx, (dout * (x - mu) / np.sqrt(var + eps)).sum(axis=0), dout.sum(axis=0)
''')),
    "one fraction": Correct(edited(CLOSED_FORM, (
        "dx = rstd * (direct - mean - variance)", "dx = gamma * rstd / N * (N * dout - dbeta - xhat * dgamma)"))),
    "einsum": Correct(forward_and_backward('''
    N = len(x)
    xc = x - np.einsum("nd->d", x) / N
    rstd = 1.0 / np.sqrt(np.einsum("nd,nd->d", xc, xc) / N + bn_param["eps"])
    xhat = np.einsum("nd,d->nd", xc, rstd)
    return np.einsum("nd,d->nd", xhat, gamma) + beta, (xhat, rstd, gamma)
''', '''
    xhat, rstd, gamma = cache
    N = len(dout)
    dgamma = np.einsum("nd,nd->d", dout, xhat)
    dbeta = np.einsum("nd->d", dout)
    dx = np.einsum("d,nd->nd", gamma * rstd / N, N * dout - dbeta - np.einsum("nd,d->nd", xhat, dgamma))
    return dx, dgamma, dbeta
''')),
    "loops over samples and units": Correct(forward_and_backward('''
    N, H = x.shape
    out, xhat, rstd = np.empty((N, H)), np.empty((N, H)), np.empty(H)
    for j in range(H):
        total = 0.0
        for n in range(N):
            total += x[n, j]
        mu, total = total / N, 0.0
        for n in range(N):
            total += (x[n, j] - mu) ** 2
        rstd[j] = 1 / (total / N + bn_param["eps"]) ** 0.5
        for n in range(N):
            xhat[n, j] = (x[n, j] - mu) * rstd[j]
            out[n, j] = gamma[j] * xhat[n, j] + beta[j]
    return out, (xhat, rstd, gamma)
''', '''
    xhat, rstd, gamma = cache
    N, H = dout.shape
    dx, dgamma, dbeta = np.zeros((N, H)), np.zeros(H), np.zeros(H)
    for j in range(H):
        for n in range(N):
            dbeta[j] += dout[n, j]
            dgamma[j] += dout[n, j] * xhat[n, j]
        for n in range(N):
            dx[n, j] = gamma[j] * rstd[j] * (dout[n, j] - dbeta[j] / N - xhat[n, j] * dgamma[j] / N)
    return dx, dgamma, dbeta
''')),
    "loop over units with explicit Jacobians": Correct(forward_and_backward('''
    N, H = x.shape
    xhat = np.zeros_like(x)
    std = np.zeros(H)
    for j in range(H):
        column = x[:, j] - x[:, j].mean()
        std[j] = np.sqrt(column @ column / N + bn_param["eps"])
        xhat[:, j] = column / std[j]
    return xhat * gamma + beta, (xhat, std, gamma)
''', '''
    xhat, std, gamma = cache
    N, H = dout.shape
    dx = np.zeros_like(dout)
    for j in range(H):
        jacobian = (np.eye(N) - 1 / N - np.outer(xhat[:, j], xhat[:, j]) / N) / std[j]
        dx[:, j] = gamma[j] * jacobian @ dout[:, j]
    return dx, np.array([dout[:, j] @ xhat[:, j] for j in range(H)]), np.array([dout[:, j].sum() for j in range(H)])
''')),
    "centering matrix": Correct(forward_and_backward('''
    N = len(x)
    P = np.eye(N) - np.ones((N, N)) / N
    xc = P @ x
    rstd = (np.diag(xc.T @ xc) / N + bn_param["eps"]) ** -0.5
    return xc * rstd * gamma + beta, (P, xc, rstd, gamma)
''', '''
    P, xc, rstd, gamma = cache
    N = len(dout)
    g = dout * gamma * rstd
    dxc = g - xc * rstd ** 2 * (g * xc).sum(axis=0) / N
    return P.T @ dxc, np.diag(dout.T @ (xc * rstd)).copy(), np.ones(N) @ dout
''')),
    "np.linalg.norm": Correct(forward_and_backward('''
    N = len(x)
    xc = x - x.mean(axis=0)
    std = np.sqrt(np.linalg.norm(xc, axis=0) ** 2 / N + bn_param["eps"])
    return gamma * (xc / std) + beta, (xc / std, std, gamma)
''', '''
    xhat, std, gamma = cache
    N = len(dout)
    g = dout * gamma
    basis = np.stack([np.ones_like(xhat), xhat])
    coefficients = (basis * g).sum(axis=1) / N
    dx = (g - (basis * coefficients[:, None, :]).sum(axis=0)) / std
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)
''')),
    "single-pass variance": Correct(edited(CLOSED_FORM, (
        "var = (xc * xc).sum(axis=0) / N", "var = (x * x).sum(axis=0) / N - mu * mu"))),
    "single-pass variance with a shift": Correct(edited(CLOSED_FORM, (
        "var = (xc * xc).sum(axis=0) / N", "s = x - x[0]\n    var = (s * s).mean(axis=0) - s.mean(axis=0) ** 2"))),
    "Welford's algorithm": Correct(edited(CLOSED_FORM, (
        "    mu = x.sum(axis=0) / N\n", '''
    mu = np.zeros(x.shape[1])
    m2 = np.zeros(x.shape[1])
    for count, row in enumerate(x, start=1):
        delta = row - mu
        mu = mu + delta / count
        m2 = m2 + delta * (row - mu)
'''), ("var = (xc * xc).sum(axis=0) / N", "var = m2 / N"))),
    "Chan's merge of two halves": Correct(edited(CLOSED_FORM, (
        "    mu = x.sum(axis=0) / N\n", '''
    def moments(rows):
        if len(rows) == 1:
            return 1, rows[0], np.zeros_like(rows[0])
        na, ma, sa = moments(rows[: len(rows) // 2])
        nb, mb, sb = moments(rows[len(rows) // 2 :])
        delta = mb - ma
        return na + nb, ma + delta * nb / (na + nb), sa + sb + delta ** 2 * na * nb / (na + nb)

    _, mu, m2 = moments(x)
'''), ("var = (xc * xc).sum(axis=0) / N", "var = m2 / N"))),
    "pairwise sums": Correct(with_sums('''
def total(values):
    return values[0] if len(values) == 1 else total(values[: len(values) // 2]) + total(values[len(values) // 2 :])
''')),
    "sums in reverse order": Correct(with_sums('''
def total(values):
    result = 0.0
    for row in values[::-1]:
        result = result + row
    return result
''')),
    "cumulative sums": Correct(with_sums('''
import numpy as np

def total(values):
    return np.cumsum(values, axis=0)[-1]
''')),
    "compensated sums": Correct(with_sums('''
def total(values):
    result = correction = 0.0
    for row in values:
        term = row - correction
        new = result + term
        correction = (new - result) - term
        result = new
    return result
''')),
    "exact sums": Correct(with_sums('''
import math
import numpy as np

def total(values):
    return np.array([math.fsum(column) for column in values.T.tolist()])
''')),
    "sums as matrix products": Correct(with_sums('''
import numpy as np

def total(values):
    return np.ones(len(values)) @ values
''')),
    "sums over tiles of 32 rows": Correct(with_sums('''
def total(values):
    return sum(values[start : start + 32].sum(axis=0) for start in range(0, len(values), 32))
''')),
    "sums over a copy in column order": Correct(with_sums('''
import numpy as np

def total(values):
    return np.asfortranarray(values).sum(axis=0)
''')),
    "residual mean removed from dx": Correct(edited(CLOSED_FORM, (
        "dx = rstd * (direct - mean - variance)",
        "dx = rstd * (direct - mean - variance)\n    dx = dx - dx.mean(axis=0)"))),
    "fused multiply-add form of the forward pass": Correct(edited(CLOSED_FORM, (
        "out = gamma * xhat + beta", "scale = gamma * rstd\n    out = x * scale + (beta - mu * scale)"))),
    "fused kernel form of dx": Correct(edited(CLOSED_FORM, (
        "dx = rstd * (direct - mean - variance)",
        "a = gamma * rstd\n    c = -a * rstd * dgamma / N\n    dx = dout * a + xhat / rstd * c - a * dbeta / N"))),
    "fused normalization x * rstd - mean * rstd": Correct(edited(CLOSED_FORM, (
        "xhat = xc * rstd", "xhat = x * rstd + (-mu * rstd)"))),
    "gamma folded into the cached inverse": Correct(forward_and_backward('''
    xc = x - x.mean(0)
    rstd = 1 / np.sqrt((xc ** 2).mean(0) + bn_param["eps"])
    return xc * (gamma * rstd) + beta, (xc, rstd, gamma * rstd)
''', '''
    xc, rstd, scale = cache
    u, v = dout.mean(0), (dout * xc).mean(0)
    return scale * (dout - u - xc * rstd ** 2 * v), len(dout) * rstd * v, len(dout) * u
''')),
    "xhat recomputed from the output": Correct(forward_and_backward('''
    mu = x.mean(axis=0)
    rstd = 1 / np.sqrt(x.var(axis=0) + bn_param["eps"])
    out = gamma * ((x - mu) * rstd) + beta
    return out, (out, rstd, gamma, beta)
''', '''
    out, rstd, gamma, beta = cache
    xhat = (out - beta) / gamma
    dgamma, dbeta = (dout * xhat).sum(axis=0), dout.sum(axis=0)
    return gamma * rstd * (dout - dbeta / len(dout) - xhat * dgamma / len(dout)), dgamma, dbeta
''')),
    "everything recomputed in the backward pass": Correct(forward_and_backward('''
    xhat, _ = normalized(x, bn_param["eps"])
    return xhat * gamma + beta, (x, gamma, bn_param["eps"])

def normalized(x, eps):
    std = (x.var(axis=0) + eps) ** 0.5
    return (x - x.mean(axis=0)) / std, std
''', '''
    x, gamma, eps = cache
    xhat, std = normalized(x, eps)
    dgamma = (dout * xhat).sum(axis=0)
    return (dout - dout.mean(0) - xhat * dgamma / len(x)) * gamma / std, dgamma, dout.sum(0)
''')),
    "transposed arithmetic": Correct(forward_and_backward('''
    xt = x.T
    xc = xt - xt.mean(axis=1, keepdims=True)
    std = np.sqrt((xc ** 2).mean(axis=1, keepdims=True) + bn_param["eps"])
    xhat = xc / std
    return (gamma[:, None] * xhat + beta[:, None]).T, (xhat, std, gamma)
''', '''
    xhat, std, gamma = cache
    g = (dout * gamma).T
    dx = (g - g.mean(1, keepdims=True) - xhat * (g * xhat).mean(1, keepdims=True)) / std
    return dx.T, (dout.T * xhat).sum(1), dout.T.sum(1)
''')),
    "diagonal of a matrix product": Correct(edited(CLOSED_FORM, (
        "dgamma = (dout * xhat).sum(axis=0)", "dgamma = np.diagonal(dout.T @ xhat)"))),
    "apply_along_axis": Correct(edited(CLOSED_FORM, (
        "    xc = x - mu\n", "    xc = np.apply_along_axis(lambda column: column - column.mean(), 0, x)\n"))),
    "reverse-mode tape": Correct('''
import numpy as np

class Node:
    def __init__(self, value, parents=()):
        self.value, self.parents = value, parents

def unbroadcast(gradient, shape):
    return gradient.sum(axis=0, keepdims=len(shape) == 2) if gradient.shape != shape else gradient

def add(p, q): return Node(p.value + q.value, ((p, lambda d: d), (q, lambda d: d)))
def sub(p, q): return Node(p.value - q.value, ((p, lambda d: d), (q, lambda d: -d)))
def mul(p, q): return Node(p.value * q.value, ((p, lambda d: d * q.value), (q, lambda d: d * p.value)))
def mean(p): return Node(p.value.mean(0), ((p, lambda d: np.ones_like(p.value) * d / len(p.value)),))
def rsqrt(p): return Node(p.value ** -0.5, ((p, lambda d: -0.5 * d * p.value ** -1.5),))

def batchnorm_forward(x, gamma, beta, bn_param):
    leaves = tuple(map(Node, (x, gamma, beta)))
    x, gamma, beta = leaves
    xc = sub(x, mean(x))
    rstd = rsqrt(add(mean(mul(xc, xc)), Node(np.float64(bn_param["eps"]))))
    out = add(mul(gamma, mul(xc, rstd)), beta)
    return out.value, (out, leaves)

def batchnorm_backward(dout, cache):
    out, leaves = cache
    order, visited = [], set()
    def visit(node):
        if id(node) not in visited:
            visited.add(id(node))
            for parent, _ in node.parents:
                visit(parent)
            order.append(node)
    visit(out)
    gradients = {id(out): dout}
    for node in reversed(order):
        for parent, pull in node.parents:
            if parent.value.shape:
                part = unbroadcast(pull(gradients[id(node)]), parent.value.shape)
                gradients[id(parent)] = gradients.get(id(parent), 0) + part
    return tuple(gradients[id(leaf)] for leaf in leaves)
'''),
    # Caches, arguments and results.
    "dict cache": Correct(edited(
        CLOSED_FORM,
        ("return out, (xhat, rstd, gamma, var, eps)", "return out, dict(xhat=xhat, rstd=rstd, gamma=gamma)"),
        ("xhat, rstd, gamma, var, eps = cache", 'xhat, rstd, gamma = (cache[k] for k in ("xhat", "rstd", "gamma"))'))),
    "dataclass cache": Correct(edited(
        CLOSED_FORM,
        ("import numpy as np\n", '''
import dataclasses
import numpy as np

@dataclasses.dataclass
class Cache:
    xhat: np.ndarray
    rstd: np.ndarray
    gamma: np.ndarray
'''),
        ("return out, (xhat, rstd, gamma, var, eps)", "return out, Cache(xhat, rstd, gamma)"),
        ("xhat, rstd, gamma, var, eps = cache", "xhat, rstd, gamma = cache.xhat, cache.rstd, cache.gamma"))),
    "named tuple cache": Correct(edited(
        CLOSED_FORM,
        ("import numpy as np\n", '''
import collections
import numpy as np

Cache = collections.namedtuple("Cache", "xhat rstd gamma")
'''),
        ("return out, (xhat, rstd, gamma, var, eps)", "return out, Cache(xhat, rstd, gamma)"),
        ("xhat, rstd, gamma, var, eps = cache", "xhat, rstd, gamma = cache"))),
    "closure as cache": Correct('''
import numpy as np

def batchnorm_forward(x, gamma, beta, bn_param):
    N = len(x)
    xc = x - x.mean(0)
    std = np.sqrt((xc ** 2).mean(0) + bn_param["eps"])
    xhat = xc / std
    def pull(dout):
        dgamma, dbeta = (dout * xhat).sum(0), dout.sum(0)
        return gamma / std * (dout - dbeta / N - xhat * dgamma / N), dgamma, dbeta
    return gamma * xhat + beta, pull

batchnorm_backward = lambda dout, cache: cache(dout)
'''),
    "object as cache": Correct('''
import numpy as np

class BatchNorm:
    def __init__(self, gamma, beta, eps):
        self.gamma, self.beta, self.eps = gamma, beta, eps

    def forward(self, x):
        self.xc = x - x.mean(axis=0)
        self.std = np.sqrt((self.xc ** 2).mean(axis=0) + self.eps)
        self.xn = self.xc / self.std
        return self.gamma * self.xn + self.beta

    def backward(self, dout):
        m = len(dout)
        self.dbeta, self.dgamma = dout.sum(axis=0), np.sum(self.xn * dout, axis=0)
        dxn = self.gamma * dout
        dxc = dxn / self.std
        dstd = -np.sum(dxn * self.xc / (self.std * self.std), axis=0)
        dvar = 0.5 * dstd / self.std
        dxc = dxc + 2.0 / m * self.xc * dvar
        return dxc - np.sum(dxc, axis=0) / m

def batchnorm_forward(x, gamma, beta, bn_param):
    layer = BatchNorm(gamma, beta, bn_param["eps"])
    return layer.forward(x), layer

def batchnorm_backward(dout, layer):
    return layer.backward(dout), layer.dgamma, layer.dbeta
'''),
    "parameters as rows": Correct(edited(
        CLOSED_FORM,
        ("    N = x.shape[0]\n", "    N = x.shape[0]\n    gamma, beta = gamma.reshape(1, -1), beta.reshape(1, -1)\n"),
        ("dbeta = dout.sum(axis=0)", "dbeta = dout.sum(axis=0, keepdims=True)"),
        ("dgamma = (dout * xhat).sum(axis=0)", "dgamma = (dout * xhat).sum(axis=0, keepdims=True)"))),
    "parameter gradients as columns": Correct(edited(
        CLOSED_FORM, ("return dx, dgamma, dbeta", "return dx, dgamma[:, None], dbeta[:, None]"))),
    "gradients as nested lists": Correct(edited(
        CLOSED_FORM, ("return dx, dgamma, dbeta", "return [v.tolist() for v in (dx, dgamma, dbeta)]"))),
    "gradients in a dict": Correct(edited(
        CLOSED_FORM, ("return dx, dgamma, dbeta", 'return {"dbeta": dbeta, "dgamma": dgamma, "dx": dx}'))),
    "keyword-only eps": Correct(edited(
        CLOSED_FORM, ("beta, bn_param)", "beta, *, eps)"), ('    eps = bn_param["eps"]\n', ""))),
    "eps as the fourth argument": Correct(edited(
        CLOSED_FORM, ("beta, bn_param)", "beta, eps)"), ('    eps = bn_param["eps"]\n', ""))),
    "eps and mode as arguments with defaults": Correct(edited(
        CLOSED_FORM,
        ("beta, bn_param)", 'beta, running_mean=None, running_var=None, mode="train", momentum=0.9, eps=1e-5)'),
        ('    eps = bn_param["eps"]\n', '    assert mode == "train"\n'))),
    "other names of the functions": Correct(
        CLOSED_FORM.replace("batchnorm_forward", "bn_forward").replace("batchnorm_backward", "bn_backward")),
    "two backward functions": Correct(
        CLOSED_FORM + '''
def batchnorm_backward_alt(dout, cache):
    xhat, rstd, gamma, var, eps = cache
    dgamma = np.sum(dout * xhat, axis=0)
    dbeta = np.sum(dout, axis=0)
    return rstd * gamma * (dout - (dbeta + xhat * dgamma) / dout.shape[0]), dgamma, dbeta
'''),
    "decorated functions": Correct(
        edited(CLOSED_FORM, ("import numpy as np\n", '''
import functools
import numpy as np

def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper
''')).replace("\ndef batchnorm", "\n@logged\ndef batchnorm")),
    "class with static methods": Correct('''
import numpy as np

class Layers:
    @staticmethod
    def batchnorm_forward(x, gamma, beta, bn_param):
        mu, std = x.mean(0), np.sqrt(x.var(0) + bn_param["eps"])
        return gamma * (x - mu) / std + beta, ((x - mu) / std, gamma / std)

    @staticmethod
    def batchnorm_backward(dout, cache):
        xhat, scale = cache
        dgamma = (dout * xhat).sum(0)
        return scale * (dout - dout.mean(0) - xhat * dgamma / len(dout)), dgamma, dout.sum(0)
''', attribute="Layers"),
    "running statistics and evaluation mode": Correct(edited(
        STEP_BY_STEP,
        ("    mu = 1.0 / N * np.sum(x, axis=0)\n", '''
    if bn_param.get("mode", "train") == "test":
        return gamma * (x - running_mean) / np.sqrt(running_var + eps) + beta, None
    mu = 1.0 / N * np.sum(x, axis=0)
'''))),
    # A constant for eps instead of the one that is passed.
    "eps = 1e-5": Correct(with_literal_eps("1e-5")),
    "eps = 1e-8": Correct(with_literal_eps("1e-8")),
    "eps = 1e-3": Correct(with_literal_eps("1e-3")),
    "eps = 0.1": Correct(with_literal_eps("0.1")),
    "eps = 1e-15": Correct(with_literal_eps("1e-15")),
    "eps = machine epsilon": Correct(with_literal_eps("np.finfo(float).eps")),
    # Memory layout and side effects on the function's own arrays.
    "in-place work on copies": Correct(edited(
        CLOSED_FORM,
        ("    xc = x - mu\n", "    xc = x.copy()\n    xc -= mu\n"),
        ("    g = dout * gamma\n", "    g = dout.copy()\n    g *= gamma\n"))),
    "read-only cache": Correct(edited(
        CLOSED_FORM, ("    out = gamma * xhat + beta\n", '''
    out = gamma * xhat + beta
    for array in (xhat, rstd, out):
        array.flags.writeable = False
'''))),
    "outputs in column order": Correct(edited(
        CLOSED_FORM,
        ("return out, (", "return np.asfortranarray(out), ("),
        ("return dx, dgamma, dbeta", "return np.asfortranarray(dx), dgamma, dbeta"))),
    "outputs as strided views": Correct(edited(
        CLOSED_FORM,
        ("return dx, dgamma, dbeta", "return np.repeat(dx, 2, axis=0)[::2], np.repeat(dgamma, 3)[::3], dbeta"))),
    "inputs made contiguous": Correct(edited(
        CLOSED_FORM, ("    N = dout.shape[0]\n", "    dout = np.ascontiguousarray(dout)\n    N = dout.shape[0]\n"))),
    "integers converted to float64": Correct(edited(
        CLOSED_FORM,
        ("    N = x.shape[0]\n", "    x = np.asarray(x, dtype=np.float64)\n    N = int(x.shape[0])\n"))),
    "batch flattened to two dimensions": Correct(edited(
        CLOSED_FORM,
        ("    N = x.shape[0]\n", "    x = x.reshape(x.shape[0], -1)\n    N = x.shape[0]\n"))),
    # A batch of one sample.
    "special case of one sample": Correct(edited(
        CLOSED_FORM, ("    g = dout * gamma\n",
                      "    if N == 1:\n        return np.zeros_like(dout), dgamma, dbeta\n    g = dout * gamma\n"))),
    "refuses one sample": Correct(edited(CLOSED_FORM, ("    N = x.shape[0]\n", '''
    N = x.shape[0]
    if N == 1:
        raise ValueError("expected more than 1 value per channel when training")
'''))),
    # Other precisions.
    "long double inside": Correct(edited(
        CLOSED_FORM,
        ("    N = x.shape[0]\n", "    N = x.shape[0]\n    x = x.astype(np.longdouble)\n"),
        ("return out, (", "return out.astype(np.float64), ("),
        ("return dx, dgamma, dbeta", "return tuple(v.astype(np.float64) for v in (dx, dgamma, dbeta))"))),
    "float32 inside, float64 returned": Correct(FLOAT32_INSIDE, precision=1e-5),
    "float32 returned": Correct(FLOAT32_INSIDE.replace(".astype(np.float64)", ""), precision=1e-5),
    "float64 gradients rounded to float32": Correct(edited(
        CLOSED_FORM, ("return dx, dgamma, dbeta", "return tuple(np.float32(v) for v in (dx, dgamma, dbeta))")),
        precision=1e-5),
    "float16 returned as float64": Correct(
        FLOAT32_INSIDE.replace("np.float32", "np.float16").replace('np.float16(bn_param["eps"])', 'bn_param["eps"]'),
        inconclusive="values of 16 bits are not judged", precision=0.1),
    # Layer functions with their neighbors.
    "affine, batch norm and ReLU": Correct(LAYERS),
    "affine, batch norm, ReLU and their composite": Correct(LAYERS_AND_COMPOSITE),
    "step by step with affine, ReLU and the composite": Correct(STEP_BY_STEP + AFFINE_AND_RELU + COMPOSITE),
    "ReLU by multiplication with a mask": Correct(edited(
        LAYERS,
        ("return np.maximum(0, x), x", "mask = (x > 0).astype(float)\n    return x * mask, mask"),
        ("return dout * (cache > 0)", "return np.where(cache, dout, 0)"))),
    "affine by einsum": Correct(edited(
        LAYERS,
        ("dx = dout.dot(w.T).reshape(x.shape)", 'dx = np.einsum("nh,dh->nd", dout, w)'),
        ("dw = x.reshape(x.shape[0], -1).T.dot(dout)", 'dw = np.einsum("nd,nh->dh", x, dout)'))),
    # The whole network.
    "network": Correct(NETWORK),
    "network with dh": Correct(edited(
        NETWORK, ("return dX, dW, db, dgamma, dbeta", "return dX, dW, db, dgamma, dbeta, dh"))),
    "network returning a dict": Correct(edited(
        NETWORK, ("return dX, dW, db, dgamma, dbeta",
                  'return {"dX": dX, "dW": dW, "db": db, "dgamma": dgamma, "dbeta": dbeta}'))),
    "network returning a dict with dh, in lower case": Correct(edited(
        NETWORK, ("return dX, dW, db, dgamma, dbeta",
                  'return {"dx": dX, "dw": dW, "db": db, "dgamma": dgamma, "dbeta": dbeta, "dh": dh}'))),
    "network with db = 0": Correct(edited(NETWORK, ("db = dh.sum(axis=0)", "db = np.zeros(W.shape[1])"))),
    "network without its bias": Correct(edited(NETWORK, ("h = X @ W + b", "h = X @ W"))),
    "network with ReLU as y * (y > 0)": Correct(edited(NETWORK, ("np.maximum(y, 0)", "y * (y > 0)"))),
    "network with the mask from its output": Correct(edited(
        NETWORK, ("rstd, y)\n\ndef", "rstd, a)\n\ndef"), ("dout * (y > 0)", "np.where(y != 0, dout, 0)"))),
    "network with indices of the active outputs": Correct(edited(
        NETWORK,
        ("dy = dout * (y > 0)", "dy = np.zeros_like(dout)\n    on = np.nonzero(y > 0)\n    dy[on] = dout[on]"))),
    "network with a heaviside step": Correct(edited(NETWORK, ("(y > 0)", "np.heaviside(y, 0)"))),
    "network that recomputes h": Correct('''
import numpy as np

def statistics(X, W, b, bn_eps):
    h = np.matmul(X, W) + b[np.newaxis, :]
    centered = h - np.mean(h, axis=0, keepdims=True)
    sigma = np.sqrt(np.mean(centered * centered, axis=0, keepdims=True) + bn_eps)
    return centered / sigma, sigma

def forward(X, W, b, gamma, beta, bn_eps):
    xhat, _ = statistics(X, W, b, bn_eps)
    return np.clip(gamma * xhat + beta, 0, None), [X, W, b, gamma, beta, bn_eps]

def backward(dout, cache):
    X, W, b, gamma, beta, bn_eps = cache
    xhat, sigma = statistics(X, W, b, bn_eps)
    dy = np.where(gamma * xhat + beta > 0, dout, 0.0)
    g = dy * gamma / sigma
    dh = g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)
    return dh.dot(W.T), np.dot(X.T, dh), dh.sum(0), (dy * xhat).sum(0), dy.sum(0)
'''),
    "network made of layer objects": Correct('''
import numpy as np

class Affine:
    def __init__(self, W, b): self.W, self.b = W, b
    def forward(self, X): self.X = X; return X @ self.W + self.b
    def backward(self, d): self.dW, self.db = self.X.T @ d, d.sum(0); return d @ self.W.T

class Normalize:
    def __init__(self, eps): self.eps = eps
    def forward(self, h):
        self.std = np.sqrt(h.var(0) + self.eps)
        self.xhat = (h - h.mean(0)) / self.std
        return self.xhat
    def backward(self, d): return (d - d.mean(0) - self.xhat * (d * self.xhat).mean(0)) / self.std

class Scale:
    def __init__(self, gamma, beta): self.gamma, self.beta = gamma, beta
    def forward(self, z): self.z = z; return self.gamma * z + self.beta
    def backward(self, d): self.dgamma, self.dbeta = (d * self.z).sum(0), d.sum(0); return d * self.gamma

class ReLU:
    def forward(self, y): self.on = y > 0; return y * self.on
    def backward(self, d): return d * self.on

class Network:
    def forward(self, X, W, b, gamma, beta, bn_eps):
        layers = [Affine(W, b), Normalize(bn_eps), Scale(gamma, beta), ReLU()]
        for layer in layers:
            X = layer.forward(X)
        return X, layers

    def backward(self, dout, layers):
        for layer in reversed(layers):
            dout = layer.backward(dout)
        affine, _, scale, _ = layers
        return dout, affine.dW, affine.db, scale.dgamma, scale.dbeta
''', attribute="Network"),
    "network as a class with static methods": Correct('''
import numpy as np

class Network:
    def __init__(self, size):
        raise NotImplementedError("only a namespace")

    @staticmethod
    def forward(X, W, b, gamma, beta, bn_eps):
        h = X @ W + b
        std = np.sqrt(h.var(0) + bn_eps)
        xhat = (h - h.mean(0)) / std
        y = gamma * xhat + beta
        return np.where(y > 0, y, 0.0), (X, W, gamma, std, xhat, y)

    @staticmethod
    def backward(dout, cache):
        X, W, gamma, std, xhat, y = cache
        dy = (y > 0) * dout
        dgamma = np.sum(dy * xhat, axis=0)
        dh = gamma / std * (dy - dy.mean(0) - xhat * dgamma / len(X))
        return dh @ W.T, X.T @ dh, dh.sum(0), dgamma, dy.sum(0), dh
''', attribute="Network"),
    "network in float32, float64 returned": Correct(edited(
        NETWORK,
        ("    h = X @ W + b\n",
         "    X, W, b, gamma, beta = (v.astype(np.float32) for v in (X, W, b, gamma, beta))\n    h = X @ W + b\n"),
        ("var + bn_eps", "var + np.float32(bn_eps)"),
        ("return a, (", "return a.astype(np.float64), ("),
        ("dy = dout * (y > 0)", "dy = dout.astype(np.float32) * (y > 0)"),
        ("return dX, dW, db, dgamma, dbeta",
         "return tuple(v.astype(np.float64) for v in (dX, dW, db, dgamma, dbeta))")), precision=1e-5),
    # Other array packages.
    "torch on CPU, arrays returned": Correct(TORCH_FORMULA, requires=("torch",)),
    "torch, tensors returned": Correct(
        edited(TORCH_FORMULA, ("return tensor.numpy()", "return tensor")), requires=("torch",)),
    "torch, tensors that require gradients returned": Correct(
        edited(TORCH_FORMULA, ("return tensor.numpy()", "return tensor.clone().requires_grad_()")),
        requires=("torch",)),
    "torch autograd in the backward pass": Correct(TORCH_AUTOGRAD, requires=("torch",)),
    "torch autograd, output with its graph returned": Correct(
        edited(TORCH_AUTOGRAD, ("return out.detach().numpy(), (", "return out, (")), requires=("torch",)),
    "torch.nn.functional.batch_norm": Correct(edited(TORCH_AUTOGRAD, ('''
    mu = x.mean(dim=0)
    var = ((x - mu) ** 2).mean(dim=0)
    out = gamma * (x - mu) / torch.sqrt(var + bn_param["eps"]) + beta
''', '''
    out = torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True, eps=bn_param["eps"])
''')), requires=("torch",)),
    "torch in float32, arrays returned": Correct(
        edited(TORCH_FORMULA, ("torch.tensor(array)", "torch.tensor(array, dtype=torch.float32)")),
        requires=("torch",), precision=1e-5),
    "torch in bfloat16, returned as float32": Correct(
        edited(TORCH_FORMULA, ("torch.tensor(array)", "torch.tensor(array, dtype=torch.bfloat16)"),
               ("return tensor.numpy()", "return tensor.float().numpy()")),
        requires=("torch",), inconclusive="values of 16 bits are not judged", precision=0.1),
    "torch in bfloat16, returned as float64": Correct(
        edited(TORCH_FORMULA, ("torch.tensor(array)", "torch.tensor(array, dtype=torch.bfloat16)"),
               ("return tensor.numpy()", "return tensor.double().numpy()")),
        requires=("torch",), inconclusive="values of 16 bits are not judged", precision=0.1),
    "torch in bfloat16, tensors returned": Correct(
        edited(TORCH_FORMULA, ("torch.tensor(array)", "torch.tensor(array, dtype=torch.bfloat16)"),
               ("return tensor.numpy()", "return tensor")),
        requires=("torch",), inconclusive="values of 16 bits are not judged", precision=0.1),
    "torch in float16, returned as float64": Correct(
        edited(TORCH_FORMULA, ("torch.tensor(array)", "torch.tensor(array, dtype=torch.float16)"),
               ("return tensor.numpy()", "return tensor.double().numpy()")),
        requires=("torch",), inconclusive="values of 16 bits are not judged", precision=0.1),
    "jax.vjp in float64, jax arrays returned": Correct(
        JAX.replace("np.asarray(jitted", "(jitted").replace("np.asarray(v) for", "v for"), requires=("jax",)),
    "jax.vjp in float32": Correct(
        JAX.replace("enable_x64(True)", "enable_x64(False)"), requires=("jax",), precision=1e-5),
}  # fmt: skip
