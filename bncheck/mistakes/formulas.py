"""The known mistakes, each as what it puts in the place of the right value.

A line reads: where the right pass has this value, the mistake has that; ``w`` holds the values
as they are up to there. The text to each code is the Markdown file of its name beside this one.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from bncheck.mistakes.pass_values import PassValues

# By the name of the value, in the order in which they are replaced.
Formulas: TypeAlias = Mapping[str, Callable[[PassValues], Any]]


def _path(w: PassValues, rstd: Any) -> Any:
    """Return the path through the variance as sigma's cube gives it: -c mean(g c) / sigma^3."""
    return -w.c * (w.g * w.c).mean(axis=0) * rstd**3


FORWARD: Mapping[str, Formulas] = {
    "BN101": {"var": lambda w: w.var * w.N / np.float64(w.N - 1)},
    "BN102": {"sigma": lambda w: (w.var + w.eps) ** 2},
    "BN103": {"sigma": lambda w: w.var + w.eps},
    "BN104": {"sigma": lambda w: np.sqrt(np.sqrt(w.var) + w.eps)},
    "BN105": {"xhat": lambda w: w.h / w.sigma},
    "BN106": {"var": lambda w: (w.h * w.h).mean(axis=0)},
    "BN107": {"xhat": lambda w: w.h, "dh": lambda w: w.g},
    "BN108": {
        "mu": lambda w: w.h.mean(axis=1, keepdims=True),
        "var": lambda w: (w.c * w.c).mean(axis=1, keepdims=True),
    },
    "BN109": {"mu": lambda w: w.h.mean(), "var": lambda w: (w.c * w.c).mean()},
    "BN110": {"mu": lambda w: np.zeros(w.H), "var": lambda w: np.ones(w.H)},
    "BN111": {"y": lambda w: w.xhat + w.beta},
    "BN112": {"y": lambda w: w.gamma * w.xhat},
    "BN113": {"y": lambda w: w.beta * w.xhat + w.gamma},
    "BN114": {"y": lambda w: w.gamma * (w.xhat + w.beta)},
    "BN115": {"var": lambda w: (w.c * w.c).sum(axis=0)},
    "BN116": {"xhat": lambda w: w.c * w.sigma},
}

DX: Mapping[str, Formulas] = {
    "BN201": {"dh": lambda w: w.direct},
    "BN202": {"dh": lambda w: w.g * (w.N - 1 - w.xhat**2) / w.N * w.rstd},
    "BN203": {"mean_term": lambda w: 0 * w.mean_term},
    "BN204": {"variance_term": lambda w: 0 * w.variance_term},
    "BN205": {"g": lambda w: w.dy},
    "BN206": {"dh": lambda w: (1 - 1 / w.N) * w.direct * (1 - w.xhat**2 / w.N)},
    "BN207": {"direct": lambda w: 0 * w.direct},
    "BN208": {"mean_term": lambda w: -w.mean_term},
    "BN209": {"variance_term": lambda w: -w.variance_term},
    "BN210": {"dh": lambda w: -w.dh},
    "BN211": {"mean_term": lambda w: w.mean_term * w.N / w.H, "variance_term": lambda w: w.variance_term * w.N / w.H},
    "BN212": {"mean_term": lambda w: w.mean_term * w.N, "variance_term": lambda w: w.variance_term * w.N},
    "BN213": {"mean_term": lambda w: w.mean_term / w.N, "variance_term": lambda w: w.variance_term / w.N},
    "BN214": {"variance_term": lambda w: w.variance_term * w.N / np.float64(w.N - 1)},
    "BN215": {"variance_term": lambda w: w.variance_term / 2},
    "BN216": {"variance_term": lambda w: w.variance_term * 2},
    "BN217": {"rstd": lambda w: np.ones_like(w.sigma)},
    "BN218": {"rstd": lambda w: w.rstd**2},
    "BN219": {"g": lambda w: (w.dy @ w.gamma)[:, None] + 0 * w.dy},
    "BN220": {"g": lambda w: w.g * w.gamma},
    "BN221": {
        "mean_term": lambda w: -w.g.mean() * w.rstd,
        "variance_term": lambda w: -w.xhat * (w.g * w.xhat).mean() * w.rstd,
    },
    "BN222": {
        "mean_term": lambda w: -w.g.mean(axis=1, keepdims=True) * w.rstd,
        "variance_term": lambda w: -w.xhat * (w.g * w.xhat).mean(axis=1, keepdims=True) * w.rstd,
    },
    "BN223": {"dh": lambda w: w.dh * w.N},
    "BN224": {"dh": lambda w: w.dh / w.N},
    "BN225": {"variance_term": lambda w: -(w.g * w.xhat).mean(axis=0) * w.rstd},
    "BN226": {"variance_term": lambda w: -w.h * (w.g * w.h).mean(axis=0) * w.rstd**3},
    "BN227": {"mean_term": lambda w: -w.dy.mean(axis=0) * w.rstd},
    "BN228": {"variance_term": lambda w: -w.xhat * (w.dy * w.xhat).mean(axis=0) * w.rstd},
    "BN229": {"variance_term": lambda w: -w.c * (w.g * w.c).mean(axis=0) * w.rstd},
    "BN230": {"mean_term": lambda w: w.mean_term * w.rstd},
    "BN231": {
        "mean_term": lambda w: w.mean_term * w.N / np.float64(w.N - 1),
        "variance_term": lambda w: w.variance_term * w.N / np.float64(w.N - 1),
    },
    "BN232": {"mean_term": lambda w: w.mean_term * w.N},
    "BN233": {"variance_term": lambda w: w.variance_term * w.N},
    "BN234": {"direct": lambda w: w.dy * w.rstd},
    "BN235": {"dh": lambda w: 0 * w.dh},
    "BN236": {"dh": lambda w: w.g},
    "BN237": {"direct": lambda w: w.direct / w.N},
    "BN238": {"mean_term": lambda w: w.mean_term * w.N / w.D, "variance_term": lambda w: w.variance_term * w.N / w.D},
    "BN239": {"mean_term": lambda w: w.mean_term / w.N},
    "BN240": {"variance_term": lambda w: w.variance_term / w.N},
    "BN241": {
        "mean_term": lambda w: -(w.g * w.xhat).mean(axis=0) * w.rstd,
        "variance_term": lambda w: -w.xhat * w.g.mean(axis=0) * w.rstd,
    },
    "BN242": {"variance_term": lambda w: w.variance_term * w.rstd},
    "BN243": {"variance_term": lambda w: w.variance_term * w.sigma},
    "BN244": {"variance_term": lambda w: w.variance_term * w.rstd**2},
}

PARAMETERS: Mapping[str, Formulas] = {
    "BN301": {"dbeta": lambda w: w.dy.mean(axis=0), "dgamma": lambda w: (w.dy * w.xhat).mean(axis=0)},
    "BN302": {"dbeta": lambda w: w.dy, "dgamma": lambda w: w.dy * w.xhat},
    "BN303": {"dbeta": lambda w: np.full(w.H, w.dy.mean()), "dgamma": lambda w: np.full(w.H, (w.dy * w.xhat).mean())},
    "BN304": {"dgamma": lambda w: (w.dy * w.h).sum(axis=0)},
    "BN305": {"dbeta": lambda w: (w.dy * w.xhat).sum(axis=0), "dgamma": lambda w: w.dy.sum(axis=0)},
    "BN306": {"dgamma": lambda w: (w.dy * w.y).sum(axis=0)},
    "BN307": {"dgamma": lambda w: (w.g * w.xhat).sum(axis=0)},
    "BN308": {"dbeta": lambda w: w.g.sum(axis=0)},
    "BN309": {"dgamma": lambda w: w.dy.sum(axis=0)},
    "BN310": {"dgamma": lambda w: (w.dy * w.c).sum(axis=0)},
    "BN311": {"dbeta": lambda w: -w.dbeta, "dgamma": lambda w: -w.dgamma},
    "BN312": {"dbeta": lambda w: w.dy.sum(axis=1), "dgamma": lambda w: (w.dy * w.xhat).sum(axis=1)},
    "BN313": {"dbeta": lambda w: w.dout.sum(axis=0), "dgamma": lambda w: (w.dout * w.xhat).sum(axis=0)},
    "BN314": {"dbeta": lambda w: 0 * w.dbeta, "dgamma": lambda w: 0 * w.dgamma},
}

RELU: Mapping[str, Formulas] = {
    "BN401": {"dy": lambda w: w.dout},
    "BN402": {"dy": lambda w: np.where(w.dout > 0, w.dout, 0.0)},
    "BN403": {"dy": lambda w: np.where(w.active, 0.0, w.dout)},
    "BN404": {"dy": lambda w: np.where(w.y >= 0, w.dout, 0.0)},
    "BN405": {"dy": lambda w: np.where(w.xhat > 0, w.dout, 0.0)},
    "BN406": {"dy": lambda w: np.where(w.h > 0, w.dout, 0.0)},
    "BN407": {"a": lambda w: w.y},
    "BN408": {"a": lambda w: np.where(w.active, w.y, 0.01 * w.y), "dy": lambda w: np.where(w.active, 1, 0.01) * w.dout},
    "BN409": {"dy": lambda w: w.dout * w.a},
    "BN410": {"dy": lambda w: np.where(w.active, 1.0, 0.0)},
    "BN411": {
        "dbeta": lambda w: w.dout.sum(axis=0),
        "dgamma": lambda w: (w.dout * w.xhat).sum(axis=0),
        "dh": lambda w: np.where(w.active, w.replaced("dy", w.dout).dh, 0.0),
    },
}

AFFINE: Mapping[str, Formulas] = {
    "BN501": {"h": lambda w: w.X @ w.W},
    "BN502": {"dW": lambda w: w.h.T @ w.dh},
    "BN503": {"db": lambda w: w.dy.sum(axis=0)},
    "BN504": {"db": lambda w: w.dh.mean(axis=0)},
    "BN505": {"dW": lambda w: w.dW / w.N},
    "BN506": {"dW": lambda w: -w.dW},
    "BN507": {"dW": lambda w: w.X.T @ w.dy},
    "BN508": {"dX": lambda w: w.dy @ w.W.T},
    "BN509": {"db": lambda w: w.dh},
}

EPS: Mapping[str, Formulas] = {
    "BN601": {"sigma": lambda w: np.sqrt(w.var)},
    "BN602": {"rstd": lambda w: 1 / np.sqrt(w.var), "variance_term": lambda w: _path(w, w.rstd)},
    "BN603": {"variance_term": lambda w: _path(w, 1 / np.sqrt(w.var))},
    "BN604": {"rstd": lambda w: 1 / np.sqrt(w.var - w.eps), "variance_term": lambda w: _path(w, w.rstd)},
    "BN605": {"variance_term": lambda w: _path(w, 1 / np.sqrt(w.var - w.eps))},
    "BN606": {"sigma": lambda w: np.sqrt(w.var) + w.eps},
    "BN607": {"sigma": lambda w: np.sqrt(np.maximum(w.var, w.eps))},
    "BN608": {"rstd": lambda w: 1 / np.sqrt(w.var + 2 * w.eps), "variance_term": lambda w: _path(w, w.rstd)},
    "BN609": {"sigma": lambda w: np.sqrt(w.var + w.eps * w.eps)},
    "BN610": {"rstd": lambda w: 1 / np.sqrt(w.var)},
    "BN611": {"rstd": lambda w: 1 / np.sqrt(w.var + 1e-8), "variance_term": lambda w: _path(w, w.rstd)},
    "BN612": {"rstd": lambda w: 1 / np.sqrt(w.var + 1e-5), "variance_term": lambda w: _path(w, w.rstd)},
}

SHAPES: Mapping[str, Formulas] = {
    # The network's own dX, dW and db are computed before the sum is taken.
    "BN701": {"db": lambda w: w.db, "dW": lambda w: w.dW, "dX": lambda w: w.dX, "dh": lambda w: w.dh.sum(axis=0)},
    "BN702": {"dW": lambda w: w.dh.T @ w.X},
    "BN703": {"dX": lambda w: w.W @ w.dh.T},
    "BN704": {"dgamma": lambda w: w.dy.T @ w.xhat},
    "BN705": {"dbeta": lambda w: w.dy.sum(), "dgamma": lambda w: (w.dy * w.xhat).sum()},
    "BN706": {"db": lambda w: w.dh.sum()},
}

SECTIONS: Mapping[str, Mapping[str, Formulas]] = {
    "forward": FORWARD,
    "dx": DX,
    "dgamma, dbeta": PARAMETERS,
    "ReLU": RELU,
    "affine": AFFINE,
    "eps": EPS,
    "shapes": SHAPES,
}
