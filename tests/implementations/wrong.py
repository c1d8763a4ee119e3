"""Wrong implementations; none of them may pass, except the ones that state why no check can detect them.

The name of an implementation says what is wrong with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from . import Implementation, edited
from .right import CLOSED_FORM, LAYERS, NETWORK, STEP_BY_STEP


@dataclass(frozen=True, slots=True)
class Wrong(Implementation):
    """A wrong implementation, and why the default problem and the edge cases do not show it, if they do not."""

    undetectable: str = ""  # reason for the verdict PASS; empty if the verdict is not PASS
    # Arguments of random_problem for a problem that shows an undetectable mistake; empty if no random problem does.
    shown_by: Mapping[str, Any] = field(default_factory=dict)


def closed_form(*edits: tuple[str, str]) -> Wrong:
    """Return an edited closed form; its dx is ``rstd * (direct - mean - variance)``."""
    return Wrong(edited(CLOSED_FORM, *edits))


def step_by_step(*edits: tuple[str, str]) -> Wrong:
    """Return an edited step-by-step backward pass."""
    return Wrong(edited(STEP_BY_STEP, *edits))


def layers(*edits: tuple[str, str]) -> Wrong:
    """Return edited affine, batch norm and ReLU functions."""
    return Wrong(edited(LAYERS, *edits))


def network(*edits: tuple[str, str]) -> Wrong:
    """Return an edited network."""
    return Wrong(edited(NETWORK, *edits))


def with_dx(expression: str) -> Wrong:
    """Return a batch norm with another formula for dx."""
    return closed_form(("rstd * (direct - mean - variance)", expression))


def before_return(statement: str) -> Wrong:
    """Return a batch norm whose backward pass changes its correct results before it returns them."""
    return closed_form(("    return dx, dgamma, dbeta", f"    {statement}\n    return dx, dgamma, dbeta"))


def before_backward(statement: str) -> Wrong:
    """Return a batch norm whose backward pass changes dout or its cache before it starts."""
    return closed_form(("    N = dout.shape[0]\n", f"    {statement}\n    N = dout.shape[0]\n"))


def before_forward(statement: str) -> Wrong:
    """Return a batch norm whose forward pass changes x before it starts."""
    return closed_form(("    N = x.shape[0]\n", f"    {statement}\n    N = x.shape[0]\n"))


def before_network_return(statement: str) -> Wrong:
    """Return a network whose backward pass changes its correct results before it returns them."""
    return network(("    return dX, dW, db, dgamma, dbeta", f"    {statement}\n    return dX, dW, db, dgamma, dbeta"))


def with_state(initial: str, statement: str) -> Wrong:
    """Return a batch norm with a variable of the module that changes its results before it returns them."""
    source = before_return(f"global state\n    {statement}").source
    return Wrong(edited(source, ("import numpy as np\n", f"import numpy as np\n\nstate = {initial}\n")))


def undetectable(wrong: Wrong, reason: str, **shown_by: Any) -> Wrong:
    """Return an implementation that the default check passes, with the reason."""
    return replace(wrong, undetectable=reason, shown_by=shown_by)


VALUES_OF_DX: dict[str, Wrong] = {
    "statistics are constants": with_dx("rstd * direct"),
    "dx has no mean term": with_dx("rstd * (direct - variance)"),
    "dx has no variance term": with_dx("rstd * (direct - mean)"),
    "the mean term is subtracted twice": with_dx("rstd * (direct - 2 * mean - variance)"),
    "the variance term is doubled": with_dx("rstd * (direct - mean - 2 * variance)"),
    "the variance term is halved": with_dx("rstd * (direct - mean - variance / 2)"),
    "the mean term has the wrong sign": with_dx("rstd * (direct + mean - variance)"),
    "the variance term has the wrong sign": with_dx("rstd * (direct - mean + variance)"),
    "dx has the wrong sign": with_dx("-rstd * (direct - mean - variance)"),
    "the mean term is a sum": closed_form(("mean = g.sum(axis=0) / N", "mean = g.sum(axis=0)")),
    "the variance term is a sum": closed_form(("(g * xhat).sum(axis=0) / N", "(g * xhat).sum(axis=0)")),
    "N is read from the wrong axis in the backward pass": closed_form(("N = dout.shape[0]", "N = dout.shape[1]")),
    "the backward pass divides by N - 1": closed_form(("N = dout.shape[0]", "N = max(dout.shape[0] - 1, 1)")),
    "the variance term divides by N - 1": with_dx("rstd * (direct - mean - variance * N / max(N - 1, 1))"),
    "dx has no gamma": closed_form(("g = dout * gamma", "g = dout")),
    "dx has gamma squared": closed_form(("g = dout * gamma", "g = dout * gamma ** 2")),
    "dx has the magnitude of gamma": closed_form(("g = dout * gamma", "g = dout * np.abs(gamma)")),
    "gamma is on the direct term only": with_dx("rstd * (direct - mean / gamma - variance / gamma)"),
    "gamma is multiplied as a matrix": closed_form(
        ("g = dout * gamma", "g = (dout @ gamma)[:, None] * np.ones_like(gamma)")),
    "dx has the diagonal of the Jacobian only": with_dx("rstd * g * (N - 1 - xhat ** 2) / N"),
    "dx has 1 - 1/N on both parts of the diagonal": with_dx("(1 - 1 / N) * g * rstd * (1 - xhat ** 2 / N)"),
    "dx is divided by sigma twice": with_dx("rstd ** 2 * (direct - mean - variance)"),
    "dx is not divided by sigma": with_dx("direct - mean - variance"),
    "the variance term has no xhat outside the sum": closed_form(("variance = xhat * (", "variance = (")),
    "the variance term has h - mu for xhat": with_dx("rstd * (direct - mean - variance / rstd)"),
    "the mean term is the mean over the units": closed_form(
        ("mean = g.sum(axis=0) / N", "mean = g.mean(axis=1)[:, None]")),
    "the mean term is a median": closed_form(("mean = g.sum(axis=0) / N", "mean = np.median(g, axis=0)")),
    "dx is averaged over the batch": with_dx("rstd * (direct - mean - variance) / N"),
    "dx is transposed and reshaped": with_dx("(rstd * (direct - mean - variance)).T.reshape(dout.shape)"),
    "dx is shifted by one row": before_return("dx = np.roll(dx, 1, axis=0)"),
    "dx is the gradient for xhat": with_dx("g"),
    "the steps omit the gradient through the variance": step_by_step(("dx1 = dxmu1 + dxmu2", "dx1 = dxmu1")),
    "the steps omit the 1/2 of the square root": step_by_step(("dvar = 0.5 *", "dvar =")),
    "the steps omit the 2 of the square": step_by_step(("dxmu2 = 2 * xmu * dsq", "dxmu2 = xmu * dsq")),
    "the steps omit 1/N of the variance": step_by_step(("dsq = 1.0 / N * np", "dsq = np")),
    "the steps omit 1/N of the mean": step_by_step(("dx2 = 1.0 / N * np", "dx2 = np")),
    "the steps have the sign of the inverse wrong": step_by_step(("dsqrtvar = -1.0", "dsqrtvar = 1.0")),
    "the steps have the sign of the mean wrong": step_by_step(("dmu = -1 *", "dmu =")),
    "the steps omit the square of the inverse": step_by_step(("(sqrtvar ** 2) * divar", "sqrtvar * divar")),
    "the steps use var for sqrt(var)": step_by_step(("0.5 * 1.0 / np.sqrt(var + eps)", "0.5 / (var + eps)")),
    "the steps average the variance's gradient over the units": step_by_step(
        ("np.ones((N, D)) * dvar", "np.ones((N, D)) * dvar.mean()")),
    "the steps return the first part only": step_by_step(("dx = dx1 + dx2", "dx = dx1")),
    "the steps lose gamma": step_by_step(("dxhat = dgammax * gamma", "dxhat = dgammax")),
}  # fmt: skip

VALUES_OF_PARAMETER_GRADIENTS: dict[str, Wrong] = {
    "dgamma is a mean": closed_form(("dgamma = (dout * xhat).sum(axis=0)", "dgamma = (dout * xhat).mean(axis=0)")),
    "dbeta is a mean": closed_form(("dbeta = dout.sum(axis=0)", "dbeta = dout.mean(axis=0)")),
    "dgamma is not summed": closed_form(("dgamma = (dout * xhat).sum(axis=0)", "dgamma = dout * xhat")),
    "dbeta is not summed": closed_form(("dbeta = dout.sum(axis=0)", "dbeta = dout")),
    "dgamma is summed over all axes": closed_form(("(dout * xhat).sum(axis=0)", "(dout * xhat).sum()")),
    "dbeta is summed over the units": closed_form(("dbeta = dout.sum(axis=0)", "dbeta = dout.sum(axis=1)")),
    "dgamma is made from h - mu": closed_form(
        ("dgamma = (dout * xhat).sum(axis=0)", "dgamma = (dout * xhat).sum(axis=0) / rstd")),
    "dgamma has the factor gamma": before_return("dgamma = dgamma * gamma"),
    "dbeta has the factor gamma": before_return("dbeta = dbeta * gamma"),
    "dgamma is made from the magnitude of xhat": closed_form(
        ("dgamma = (dout * xhat).sum(axis=0)", "dgamma = (dout * np.abs(xhat)).sum(axis=0)")),
    "dgamma and dbeta are swapped": before_return("dgamma, dbeta = dbeta, dgamma"),
    "the gradients are returned in another order": before_return("return dgamma, dbeta, dx"),
    "dgamma is the gradient of one sample": closed_form(("(dout * xhat).sum(axis=0)", "(dout * xhat)[-1]")),
    "dgamma is zero": before_return("dgamma = np.zeros_like(dgamma)"),
    "dgamma loses the last row": closed_form(
        ("dgamma = (dout * xhat).sum(axis=0)", "dgamma = (dout * xhat)[:-1].sum(axis=0)")),
    "dbeta sums in float16": closed_form(
        ("dbeta = dout.sum(axis=0)", "dbeta = dout.sum(axis=0, dtype=np.float16).astype(float)")),
    "dgamma is wrong by 0.1 % in one unit": before_return("dgamma[0] *= 1.001"),
    "dgamma is wrong in the last unit": before_return("dgamma[-1] = 0"),
    "dgamma is sorted": before_return("dgamma = np.sort(dgamma)"),
}  # fmt: skip

FORWARD: dict[str, Wrong] = {
    "no normalization": closed_form(
        ("xc = x - mu", "xc = x"), ("rstd = 1 / np.sqrt(var + eps)", "rstd = np.ones_like(var)")),
    "the mean is not subtracted": closed_form(("xc = x - mu", "xc = x")),
    "the statistics are those of layer norm": closed_form(
        ("mu = x.sum(axis=0) / N", "mu = x.mean(axis=1, keepdims=True)"),
        ("var = (xc * xc).sum(axis=0) / N", "var = (xc * xc).mean(axis=1, keepdims=True)")),
    "the statistics are taken over all entries": closed_form(
        ("mu = x.sum(axis=0) / N", "mu = x.mean()"), ("var = (xc * xc).sum(axis=0) / N", "var = (xc * xc).mean()")),
    "the forward pass has the unbiased variance": closed_form(
        ("var = (xc * xc).sum(axis=0) / N", "var = (xc * xc).sum(axis=0) / max(N - 1, 1)")),
    "the forward pass divides by N + 1": closed_form(("mu = x.sum(axis=0) / N", "mu = x.sum(axis=0) / (N + 1)")),
    "the square root is missing": closed_form(("1 / np.sqrt(var + eps)", "1 / (var + eps)")),
    "the square is in place of the root": closed_form(("1 / np.sqrt(var + eps)", "(var + eps) ** -2")),
    "the standard deviation is taken for the variance": closed_form(
        ("np.sqrt(var + eps)", "np.sqrt(np.sqrt(var) + eps)")),
    "the mean absolute deviation is taken for sigma": closed_form(
        ("var = (xc * xc).sum(axis=0) / N", "var = np.abs(xc).mean(axis=0) ** 2")),
    "beta is not added": closed_form(("out = gamma * xhat + beta", "out = gamma * xhat")),
    "beta is scaled by gamma": closed_form(("out = gamma * xhat + beta", "out = gamma * (xhat + beta)")),
    "gamma and beta are swapped": closed_form(("out = gamma * xhat + beta", "out = beta * xhat + gamma")),
    "gamma is converted to an integer": closed_form(
        ("out = gamma * xhat + beta", "out = gamma.astype(int) * xhat + beta")),
    "dout is converted to an integer": before_backward("dout = dout.astype(int)"),
    "x is divided by an integer quotient": closed_form(("mu = x.sum(axis=0) / N", "mu = x.sum(axis=0) // N")),
    "running statistics are used in training": closed_form(
        ("mu = x.sum(axis=0) / N", 'mu = 0.1 * x.mean(axis=0) + 0.9 * bn_param["running_mean"]')),
    "the network's forward pass has softplus for ReLU": network(("np.maximum(y, 0)", "np.log1p(np.exp(y))")),
    "the network's forward pass has no ReLU": network(("np.maximum(y, 0)", "y")),
    "the affine function omits its bias": layers(("dot(w) + b", "dot(w)")),
    "the variance is clipped from above": closed_form(("np.sqrt(var + eps)", "np.sqrt(np.minimum(var, 1e6) + eps)")),
    "x is clipped": before_forward("x = np.clip(x, -1e3, 1e3)"),
    "x passes through float16": before_forward("x = x.astype(np.float16).astype(np.float64)"),
    "the statistics come from the first 8 rows": closed_form(("mu = x.sum(axis=0) / N", "mu = x[:8].mean(axis=0)")),
    "the variance treats values beyond three sigma as outliers": closed_form(
        ("xhat = xc * rstd", "xhat = np.clip(xc * rstd, -3, 3)")),
    "zero padding to a multiple of 8 rows enters the variance": closed_form(
        ("var = (xc * xc).sum(axis=0) / N", "var = ((xc * xc).sum(axis=0) + -N % 8 * mu * mu) / N")),
}  # fmt: skip

EPS: dict[str, Wrong] = {
    "eps is missing in the forward pass": closed_form(("np.sqrt(var + eps)", "np.sqrt(np.maximum(var, 1e-300))")),
    "eps is missing in the backward pass": before_backward("rstd = 1 / np.sqrt(np.maximum(var, 1e-300))"),
    "eps has the wrong sign in the backward pass": before_backward("rstd = np.abs(var - eps) ** -0.5"),
    "eps is added outside the square root": closed_form(("np.sqrt(var + eps)", "(np.sqrt(var) + eps)")),
    "eps is a lower limit": closed_form(("np.sqrt(var + eps)", "np.sqrt(np.maximum(var, eps))")),
    "eps is squared": closed_form(("np.sqrt(var + eps)", "np.sqrt(var + eps ** 2)")),
    "eps is added twice": closed_form(("np.sqrt(var + eps)", "np.sqrt(var + 2 * eps)")),
    "eps is divided by N": closed_form(("np.sqrt(var + eps)", "np.sqrt(var + eps / N)")),
    "eps is a constant in the backward pass": before_backward("rstd = 1 / np.sqrt(var + 1e-5)"),
    "eps is a constant in the variance term": with_dx("rstd * (direct - mean) - (var + 1e-5) ** -0.5 * variance"),
    "the variance term has the variance without eps": with_dx(
        "rstd * (direct - mean - variance * (var + eps) / np.maximum(var, 1e-300))"),
    "a constant eps comes with a wrong dx": closed_form(
        ('bn_param["eps"]', "1e-8"), ("rstd * (direct - mean - variance)", "rstd * (direct - mean)")),
    "NaN from a negative variance is replaced by 0": closed_form(
        ("1 / np.sqrt(var + eps)", "np.nan_to_num((var - 1e-6 + 0j) ** -0.5).real")),
    "units with a variance below 1e-6 are dead": closed_form(
        ("rstd = 1 / np.sqrt(var + eps)", "rstd = np.where(var < 1e-6, 0, 1 / np.sqrt(var + eps))")),
    "units with a variance below 1e-6 have no variance term": with_dx(
        "rstd * (direct - mean - np.where(var < 1e-6, 0, variance))"),
    "units with a variance above 1e6 have no variance term": with_dx(
        "rstd * (direct - mean - np.where(var > 1e6, 0, variance))"),
}  # fmt: skip

NETWORKS_AND_LAYERS: dict[str, Wrong] = {
    "the ReLU mask is missing": network(("dout * (y > 0)", "dout * 1")),
    "the ReLU mask is that of dout": network(("dout * (y > 0)", "dout * (dout > 0)")),
    "the ReLU mask is that of xhat": network(("dout * (y > 0)", "dout * (xhat > 0)")),
    "the ReLU mask is that of |y|": network(("dout * (y > 0)", "dout * (np.abs(y) > 0)")),
    "the ReLU mask is inverted": network(("dout * (y > 0)", "dout * (y < 0)")),
    "the ReLU mask has a threshold of 0.01": network(("dout * (y > 0)", "dout * (y > 0.01)")),
    "the ReLU mask has a threshold of 1e-6": network(("dout * (y > 0)", "dout * (y > 1e-6)")),
    "the ReLU leaks in the backward pass": network(("dout * (y > 0)", "dout * np.where(y > 0, 1, 0.01)")),
    "the ReLU mask is applied after dbeta": network(
        ("dy = dout * (y > 0)", "dy = dout"),
        ("dgamma = (dy * xhat).sum(axis=0)", "dy = dout * (y > 0)\n    dgamma = (dy * xhat).sum(axis=0)")),
    "dbeta is the sum of dout": network(("dbeta = dy.sum(axis=0)", "dbeta = dout.sum(axis=0)"),
                                        ("N * dy - dbeta", "N * dy - dy.sum(axis=0)")),
    "db is the sum of dout": network(("db = dh.sum(axis=0)", "db = dout.sum(axis=0)")),
    "db is the sum of dy": network(("db = dh.sum(axis=0)", "db = dy.sum(axis=0)")),
    "dW is divided by N": network(("dW = X.T @ dh", "dW = X.T @ dh / N")),
    "dW is made from dy": network(("dW = X.T @ dh", "dW = X.T @ dy")),
    "dW is transposed": network(("dW = X.T @ dh", "dW = dh.T @ X")),
    "dW is centered": network(("dW = X.T @ dh", "dW = X.T @ dh\n    dW = dW - dW.mean(axis=0)")),
    "dX is made from the transposed W": network(("dX = dh @ W.T", "dX = (dh @ W.T)[:, ::-1]")),
    "dX is made from dy": network(("dX = dh @ W.T", "dX = dy @ W.T")),
    "dX is zero": network(("dX = dh @ W.T", "dX = np.zeros_like(X)")),
    "dW has weight decay": before_network_return("dW = dW + 1e-4 * W"),
    "dW is wrong by 10 % if the mean is large": before_network_return(
        "dW = dW * (1.1 if np.abs(X.mean()) > 10 else 1)"),
    "the upstream gradient is divided by N": network(("dy = dout * (y > 0)", "dy = dout * (y > 0) / N")),
    "the affine function's dw has x and dout swapped": layers(
        ("dw = x.reshape(x.shape[0], -1).T.dot(dout)", "dw = dout.T.dot(x)")),
    "the affine function's db is a mean": layers(("db = dout.sum(axis=0)", "db = dout.mean(axis=0)")),
    "the ReLU function's mask is that of dout": layers(("dout * (cache > 0)", "dout * (dout > 0)")),
    "the ReLU function's backward pass returns its input": layers(("dout * (cache > 0)", "dout")),
}  # fmt: skip

SIZES: dict[str, Wrong] = {
    f"dx is zero beyond the first {n} rows": before_return(f"dx[{n}:] = 0") for n in (32, 64, 128)
}
SIZES |= {
    "dgamma reads the first 64 rows": closed_form(("(dout * xhat).sum(axis=0)", "(dout * xhat)[:64].sum(axis=0)")),
    "dx is zero beyond the first 64 units": before_return("dx[:, 64:] = 0"),
    "an incomplete tile of 4 rows is lost": before_return("dx[len(dx) // 4 * 4:] = 0"),
    "an incomplete tile of 8 units is lost": before_return("dgamma[len(dgamma) // 8 * 8:] = 0"),
    "an incomplete tile of 16 rows is counted twice": before_return(
        "dbeta = dbeta + dout[len(dout) // 16 * 16:].sum(axis=0)"),
    "only the last tile of 32 rows is in the variance term": closed_form(
        ("(g * xhat).sum(axis=0) / N", "(g * xhat)[(len(g) - 1) // 32 * 32:].sum(axis=0) / N")),
    "an odd last row is dropped": before_return("dx[len(dx) // 2 * 2:] = 0"),
    "an odd last unit is dropped": before_return("dgamma[len(dgamma) // 2 * 2:] = 0"),
    "the mean term is missing if N is even": with_dx("rstd * (direct - mean * (N % 2) - variance)"),
    "the mean term is missing if N is odd": with_dx("rstd * (direct - mean * (1 - N % 2) - variance)"),
    "the variance term is missing if N is large": with_dx("rstd * (direct - mean - (variance if N < 100 else 0))"),
    "dx is not zero for one sample": before_return("dx = g * rstd if N == 1 else dx"),
    "dx is NaN for one sample": with_dx("rstd * (direct - mean - variance) * (N - 1) / np.float64(N - 1)"),
    "dgamma is wrong for one sample": before_return("dgamma = dgamma + (dout[0] if N == 1 else 0)"),
    "dx is wrong for one unit": before_return("dx = dx * 2 if dx.shape[1] == 1 else dx"),
    "axes of length 1 are squeezed": before_return("dx = dx.squeeze()"),
    "dx is transposed if it is square": before_return("dx = dx.T.copy() if N == dx.shape[1] else dx"),
    "the mean is taken over the units if N = H": closed_form(
        ("mean = g.sum(axis=0) / N", "mean = g.mean(axis=1 if N == g.shape[1] else 0)")),
    "N = H is assumed to be a single matrix": before_return("dbeta = dbeta / 2 if N == len(dbeta) else dbeta"),
    "W is not transposed if it is square": network(
        ("dX = dh @ W.T", "dX = dh @ (W if W.shape[0] == W.shape[1] else W.T)")),
    "dW is wrong for one feature": before_network_return("dW = dW * (2 if len(W) == 1 else 1)"),
    "dW is wrong for more than 100 features": before_network_return("dW[100:] = 0"),
    "dX is wrong if D > H": before_network_return("dX = dX * (1.01 if W.shape[0] > W.shape[1] else 1)"),
    "dX is wrong if D < H": before_network_return("dX = dX * (1.01 if W.shape[0] < W.shape[1] else 1)"),
    "the batch size 16 is a constant": closed_form(("N = dout.shape[0]", "N = 16")),
    "the number of units 8 is a constant": before_return("dgamma = np.resize(dgamma[:8], len(dgamma))"),
    "the batch size comes from a first call": Wrong(edited(
        CLOSED_FORM,
        ("import numpy as np\n", "import numpy as np\n\nsizes = []\n"),
        ("    N = dout.shape[0]\n", "    sizes.append(len(dout))\n    N = sizes[0]\n"))),
}  # fmt: skip

SITUATIONS: dict[str, Wrong] = {
    "gamma = 1 is assumed to mean no scaling of dx": before_return("dx = g if (gamma == 1).all() else dx"),
    "units with gamma = 1 and beta = 0 are passed through": closed_form(
        ("out = gamma * xhat + beta", "out = np.where((gamma == 1) & (beta == 0), x, gamma * xhat + beta)")),
    "units with beta = 0 are dead": Wrong(edited(
        CLOSED_FORM,
        ("(xhat, rstd, gamma, var, eps)\n", "(xhat, rstd, gamma, var, eps, beta)\n"),
        ("rstd, gamma, var, eps = cache", "rstd, gamma, var, eps, beta = cache"),
        ("    return dx, dgamma, dbeta", "    return np.where(beta == 0, 0, dx), dgamma, dbeta"))),
    "units with a small gamma have no gradient": before_return("dx = np.where(np.abs(gamma) < 0.1, 0, dx)"),
    "gradients of large outliers are cut off": before_return("dx = np.where(np.abs(xhat) > 2.5, 0, dx)"),
    "dx is clipped at 10": before_return("dx = np.clip(dx, -10, 10)"),
    "dgamma is clipped at 10": before_return("dgamma = np.clip(dgamma, -10, 10)"),
    "dx is clipped to the norm 100": before_return("dx = dx * min(1, 100 / max(np.linalg.norm(dx), 1e-300))"),
    "dx is rounded to 4 decimals": before_return("dx = dx.round(4)"),
    "dx is rounded to 8 decimals": before_return("dx = dx.round(8)"),
    "dgamma is rounded to 6 decimals": before_return("dgamma = dgamma.round(6)"),
    "dx is wrong by a factor 1 + 1e-5": before_return("dx = dx * (1 + 1e-5)"),
    "dx is wrong by a factor 1 + 1e-7": before_return("dx = dx * (1 + 1e-7)"),
    "dx is wrong by a factor 1 + 1e-5 with a single-pass variance": closed_form(
        ("var = (xc * xc).sum(axis=0) / N", "var = (x * x).sum(axis=0) / N - mu * mu"),
        ("rstd * (direct - mean - variance)", "(1 + 1e-5) * rstd * (direct - mean - variance)")),
    "dx is wrong by a factor 1 + 1e-5 at a large mean": closed_form(
        ("(xhat, rstd, gamma, var, eps)\n", "(xhat, rstd, gamma, var, eps, np.abs(mu).max() > 10)\n"),
        ("rstd, gamma, var, eps = cache", "rstd, gamma, var, eps, is_large = cache"),
        ("    return dx, dgamma, dbeta", "    return dx * (1 + 1e-5 * is_large), dgamma, dbeta")),
    "one entry of dx is wrong by 0.1 %": before_return("dx[0, 0] *= 1.001"),
    "the last row of dx is wrong by 1e-6": before_return("dx[-1] *= 1 + 1e-6"),
    "dx has an offset of 1e-6": before_return("dx = dx + 1e-6"),
    "rows without upstream gradient have no dx": before_return("dx = np.where(dout.any(axis=1)[:, None], dx, 0)"),
    "a sparse dout is taken for a sparse dx": before_return(
        "dx = np.where(dout != 0, dx, 0) if (dout != 0).mean() < 0.5 else dx"),
    "entries without upstream gradient have no dx": before_return("dx = np.where(dout != 0, dx, 0)"),
    "units with an exact integer of dout are skipped": before_return(
        "dgamma = np.where((dout == dout.round()).all(axis=0), 0, dgamma)"),
}  # fmt: skip

LAYOUTS: dict[str, Wrong] = {
    "dout is read in memory order": before_backward('dout = dout.ravel(order="K").reshape(dout.shape)'),
    "dout is read from the start of its buffer": before_backward('''base = dout
    while isinstance(base.base, np.ndarray):
        base = base.base
    dout = np.resize(base.ravel(order="K"), dout.shape)'''),
    "dout is read with the strides of a contiguous array": before_backward('''base = dout
    while isinstance(base.base, np.ndarray):
        base = base.base
    if base.size >= dout.size and base.flags.forc:
        start = (dout.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // 8
        dout = np.resize(base.ravel(order="K")[start:], dout.shape)'''),
    "a dout with other strides is taken to be transposed": before_backward(
        "dout = dout if dout.flags.c_contiguous else dout.T.reshape(dout.shape)"),
    "an expanded dout is taken for one row": before_return("dbeta = dbeta / N if dout.strides[0] == 0 else dbeta"),
}  # fmt: skip

STATE: dict[str, Wrong] = {
    "the cache is a variable of the module": Wrong(edited(
        CLOSED_FORM,
        ("    return out, (xhat, rstd, gamma, var, eps)",
         "    global latest\n    latest = xhat, rstd, gamma, var, eps\n    return out, None"),
        ("rstd, gamma, var, eps = cache", "rstd, gamma, var, eps = latest"))),
    "the network's mask is that of the latest forward pass": network(
        ("    a = np.maximum(y, 0)\n", "    a = np.maximum(y, 0)\n    global mask\n    mask = y > 0\n"),
        ("dout * (y > 0)", "dout * mask")),
    "the forward pass is memorized by the shape of x": Wrong(edited(
        CLOSED_FORM,
        ("import numpy as np\n", "import numpy as np\n\nmemory = {}\n"),
        ("    return out, (xhat, rstd, gamma, var, eps)\n",
         "    return out, memory.setdefault(x.shape, (xhat, rstd, gamma, var, eps))\n"))),
    "the backward pass overwrites its cache": closed_form(
        ("    dx = rstd *", "    xhat *= dgamma / N\n    variance = gamma * xhat\n    dx = rstd *")),
    "the backward pass takes a step on gamma": before_return("gamma -= 0.01 * dgamma"),
    "gradients are added up over the calls": with_state("{}", '''total = state.setdefault(dx.shape, [0, 0])
    total[0] = dgamma = total[0] + dgamma
    total[1] = dbeta = total[1] + dbeta'''),
    "every second result is wrong": with_state("0", "state += 1\n    dx = dx * (1 + 0.01 * (state % 2 == 0))"),
    "the second result of a shape is NaN": with_state("{}", '''state[dx.shape] = state.get(dx.shape, 0) + 1
    if state[dx.shape] == 2:
        dx = dx * np.nan'''),
    "every result from the second is NaN": with_state(
        "0", "state += 1\n    if state > 1:\n        dgamma = dgamma * np.nan"),
    "dx is noisy": before_return("dx = dx * (1 + 1e-3 * np.random.standard_normal(dx.shape))"),
    "dout is changed before it is summed": closed_form(
        ("    dbeta = dout.sum(axis=0)\n", ""),
        ("    g = dout * gamma\n", "    dout *= gamma\n    g = dout\n    dbeta = dout.sum(axis=0)\n")),
    "running statistics are used from the second call of a shape": Wrong(edited(
        CLOSED_FORM,
        ("import numpy as np\n", "import numpy as np\n\nrunning = {}\n"),
        ("mu = x.sum(axis=0) / N", "mu = 0.9 * running.get(x.shape, x.mean(axis=0)) + 0.1 * x.mean(axis=0)"),
        ("    xc = x - mu\n", "    running[x.shape] = 0.5 * mu\n    xc = x - mu\n"))),
}  # fmt: skip

UNDETECTABLE: dict[str, Wrong] = {
    "the cache is an attribute of the only object": undetectable(Wrong('''
import numpy as np

class Network:
    def forward(self, X, W, b, gamma, beta, bn_eps):
        h = X @ W + b
        self.X, self.W, self.gamma = X, W, gamma
        self.std = np.sqrt(h.var(0) + bn_eps)
        self.xhat = (h - h.mean(0)) / self.std
        self.y = gamma * self.xhat + beta
        return np.maximum(self.y, 0), None

    def backward(self, dout, cache):
        N = len(dout)
        dy = dout * (self.y > 0)
        dgamma, dbeta = (dy * self.xhat).sum(0), dy.sum(0)
        dh = self.gamma / self.std * (dy - dbeta / N - self.xhat * dgamma / N)
        return dh @ self.W.T, self.X.T @ dh, dh.sum(0), dgamma, dbeta
''', attribute="Network"),
        "an object that is one network may keep its state: listed as not checked"),
    "the backward pass takes its cache apart": undetectable(closed_form(
        ("return out, (xhat, rstd, gamma, var, eps)", "return out, [xhat, rstd, gamma, var, eps]"),
        ("xhat, rstd, gamma, var, eps = cache", "eps, var, gamma, rstd, xhat = (cache.pop() for _ in range(5))")),
        "a second backward call raises and returns nothing: listed as not checked"),
    "dx is zero beyond the first 1,024 rows": undetectable(
        before_return("dx[1024:] = 0"), "no problem of the default check has more than 131 samples", N=1030, D=2, H=2),
    "dgamma is zero beyond the first 512 units": undetectable(
        before_return("dgamma[512:] = 0"), "no problem of the default check has more than 67 units", N=4, D=2, H=520),
    "dW is zero beyond the first 256 features": undetectable(
        before_network_return("dW[256:] = 0"), "no problem of the default check has more than 107 features",
        N=4, D=260, H=2),
    "the sum over more than 1,000 rows is in float16": undetectable(
        closed_form(("dbeta = dout.sum(axis=0)",
                     "dbeta = dout.sum(axis=0, dtype=np.float16 if N > 1000 else None).astype(float)")),
        "no problem of the default check has more than 131 samples", N=1030, D=2, H=2),
    "units with a variance below 1e-9 are dead": undetectable(
        closed_form(("rstd = 1 / np.sqrt(var + eps)", "rstd = np.where(var < 1e-9, 0, 1 / np.sqrt(var + eps))")),
        "no problem of the default check has such a variance", N=7, D=5, H=4, x_std=1e-6),
    "x is clipped at 1e8": undetectable(
        before_forward("x = np.clip(x, -1e8, 1e8)"), "no problem of the default check has such an input",
        N=7, D=5, H=4, x_std=1e9),
    "eps is limited to 0.9": undetectable(
        closed_form(("np.sqrt(var + eps)", "np.sqrt(var + min(eps, 0.9))")),
        "no problem of the default check has such an eps", N=7, D=5, H=4, bn_eps=2.0),
    "dx is clipped at 1e6": undetectable(
        before_return("dx = np.clip(dx, -1e6, 1e6)"), "no gradient of the default check is as large",
        N=7, D=5, H=4, x_std=1e-8, bn_eps=1e-16),
    "dx is wrong from the 100,000th call": undetectable(
        with_state("0", "state += 1\n    dx = dx * (1 + (state > 100_000))"), "no check makes as many calls"),
    "an upstream gradient above 1e6 is cut off": undetectable(
        before_backward("dout = np.clip(dout, -1e6, 1e6)"), "no problem of the default check has such a dout"),
    "an x that is NaN is replaced by 0": undetectable(
        before_forward("x = np.where(np.isnan(x), 0, x)"), "every problem is finite"),
}  # fmt: skip

WRONG: dict[str, Wrong] = {
    **VALUES_OF_DX,
    **VALUES_OF_PARAMETER_GRADIENTS,
    **FORWARD,
    **EPS,
    **NETWORKS_AND_LAYERS,
    **SIZES,
    **SITUATIONS,
    **LAYOUTS,
    **STATE,
    **UNDETECTABLE,
}
