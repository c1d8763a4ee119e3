"""The equations of the derivation, in order, as data: formula, rule, reason, and the parts of the derivative.

Each says what the derivative of one node of the graph (``staged``) is for another. The parts are
functions of the values at the nodes; their sum is the derivative, of the shape of the output and
then that of the input: (K,L,I,J) where both are matrices.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bncheck.model.graph import Values
from bncheck.model.layers import Array


@dataclass(frozen=True, slots=True)
class Part:
    """A summand of a derivative."""

    formula: str
    value: Callable[[Values], Array]


@dataclass(frozen=True, slots=True)
class Equation:
    """One equation of the derivation."""

    name: str  # what ``bncheck derive`` calls it
    output: str  # the node that is differentiated; "L" is the loss
    input: str  # the node that is moved
    formula: str
    latex: str
    rule: str
    reason: str  # one sentence
    algebra: Sequence[str]  # the steps in between: paragraphs, and formulas, which begin with two spaces
    parts: Sequence[Part]

    def analytic(self, values: Values) -> Array:
        """Return the derivative by its formula."""
        total: Array = sum(part.value(values) for part in self.parts)  # type: ignore[assignment]  # never empty
        return total


def _each(v: Values, entry: Array) -> Array:
    """Return delta_ik delta_jl entry_kl, (N,H,N,H)."""
    (N, H), rows = v["h"].shape, np.eye(len(v["h"]))
    block: Array = np.einsum("ki,lj,kl->klij", rows, np.eye(H), np.broadcast_to(entry, (N, H)))
    return block


def _column(v: Values, pair: Array) -> Array:
    """Return delta_jl pair_kil, (N,H,N,H): entries of one column only, whichever rows."""
    N, H = v["h"].shape
    block: Array = np.einsum("lj,kil->klij", np.eye(H), np.broadcast_to(pair, (N, N, H)))
    return block


def _own_column(entry: Array) -> Array:
    """Return delta_jl entry_il, (H,N,H)."""
    block: Array = np.einsum("lj,il->lij", np.eye(entry.shape[1]), entry)
    return block


def _dy(v: Values) -> Array:
    return np.where(v["y"] > 0, v["dout"], 0.0)


def _dh(v: Values) -> Array:
    g, xhat = _dy(v) * v["gamma"], v["xhat"]
    dh: Array = v["inverse"] * (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0))
    return dh


EQUATIONS = (
    Equation(
        "relu", "a", "y",
        "∂a_kl/∂y_ij = δ_ik δ_jl (y_kl > 0)",
        r"\frac{\partial a_{kl}}{\partial y_{ij}} = \delta_{ik}\,\delta_{jl}\,[y_{kl} > 0]",
        "derivative of a maximum",
        "max(y, 0) is y itself where y is positive and 0 elsewhere, so its slope is 1 or 0, entry by entry.",
        (
            "Where y_kl > 0, a_kl = y_kl: slope 1. Where y_kl < 0, a_kl = 0: slope 0. At 0 there is none; by convention it is set to 0.",
            "a_kl contains no other entry of y, which δ_ik δ_jl says. With the chain rule that is the mask:",
            "  dy_ij = sum_kl dout_kl ∂a_kl/∂y_ij = dout_ij (y_ij > 0)",
        ),
        (Part("δ_ik δ_jl (y > 0)", lambda v: _each(v, v["y"] > 0)),),
    ),
    Equation(
        "scale", "y", "xhat",
        "∂y_kl/∂xhat_ij = γ_l δ_ik δ_jl",
        r"\frac{\partial y_{kl}}{\partial \hat x_{ij}} = \gamma_l\,\delta_{ik}\,\delta_{jl}",
        "derivative of a product with a constant",
        "y_kl = γ_l xhat_kl + β_l contains one entry of xhat, times γ_l.",
        (
            "  y_kl = γ_l xhat_kl + β_l",
            "β_l does not contain xhat, and γ_l is a constant of the column. With the chain rule:",
            "  dxhat_ij = dy_ij γ_j,   called g below",
        ),
        (Part("γ_l δ_ik δ_jl", lambda v: _each(v, v["gamma"])),),
    ),
    Equation(
        "centring", "c", "h",
        "∂(h_kl − μ_l)/∂h_ij = δ_ik δ_jl − δ_jl/N",
        r"\frac{\partial (h_{kl} - \mu_l)}{\partial h_{ij}} = \delta_{ik}\,\delta_{jl} - \tfrac1N\,\delta_{jl}",
        "derivative of a sum",
        "Raising one entry of a column raises the column's mean by 1/N of it, under every entry of the column.",
        (
            "μ_l is the mean of column l. Raise one entry h_il by t: the sum grows by t, and so μ_l grows by t/N, whichever row i it was:",
            "  μ_l = (1/N) sum_p h_pl,   ∂μ_l/∂h_ij = δ_jl/N",
            "",
            "The entry itself, h_il − μ_l, gains t and loses t/N. It changes by (1 − 1/N) t: that is the diagonal.",
            "",
            "Every other entry of the column, h_kl − μ_l with k ≠ i, gains nothing and loses t/N as well. It does not move, but the mean under it does: that is the −1/N off the diagonal.",
            "",
            "Other columns have means of their own, which do not contain h_ij: 0 for j ≠ l, which δ_jl says. Each row and each column of the block sums to 0, since adding the same number to all of h changes nothing.",
        ),
        (
            Part("δ_ik δ_jl", lambda v: _each(v, np.ones(1))),
            Part("−δ_jl/N", lambda v: _column(v, np.full(1, -1 / len(v["h"])))),
        ),
    ),
    Equation(
        "var", "var", "h",
        "∂var_l/∂h_ij = 2/N (h_il − μ_l) δ_jl",
        r"\frac{\partial \sigma^2_l}{\partial h_{ij}} = \frac{2}{N}\,(h_{il} - \mu_l)\,\delta_{jl}",
        "chain rule over the centred entries",
        "The variance moves as the entry's own square does; the term through μ vanishes, since deviations sum to 0.",
        (
            "  var_l = (1/N) sum_p (h_pl − μ_l)²",
            "The chain rule, and then centring for what each h_pl − μ_l does:",
            "  ∂var_l/∂h_ij = (2/N) sum_p (h_pl − μ_l) ∂(h_pl − μ_l)/∂h_ij",
            "               = (2/N) sum_p (h_pl − μ_l) (δ_ip δ_jl − δ_jl/N)",
            "               = (2/N) (h_il − μ_l) δ_jl − (2/N²) δ_jl sum_p (h_pl − μ_l)",
            "",
            "δ_ip picks p = i out of the first sum. The second is sum_p h_pl − N μ_l = 0: deviations from the mean sum to zero. So the term through μ vanishes, whatever the numbers are.",
        ),
        (Part("2/N (h_il − μ_l) δ_jl", lambda v: 2 / len(v["c"]) * _own_column(v["c"])),),
    ),
    Equation(
        "xhat", "xhat", "h",
        "∂xhat_kl/∂h_ij = δ_jl [(δ_ik − 1/N)/σ_l − (h_kl − μ_l)(h_il − μ_l)/(N σ_l³)]",
        r"\frac{\partial \hat x_{kl}}{\partial h_{ij}} = \delta_{jl}\left[\frac{\delta_{ik} - 1/N}{\sigma_l}"
        r" - \frac{(h_{kl} - \mu_l)(h_{il} - \mu_l)}{N\,\sigma_l^3}\right]",
        "product rule",
        "xhat is a product of h − μ and 1/σ, and h_ij moves both.",
        (
            "xhat is a product, and h_ij is in both of its factors:",
            "  xhat_kl = (h_kl − μ_l) (var_l + ε)^(−1/2)",
            "  ∂xhat_kl/∂h_ij = ∂(h_kl − μ_l)/∂h_ij (var_l + ε)^(−1/2)",
            "                 + (h_kl − μ_l) ∂(var_l + ε)^(−1/2)/∂h_ij",
            "",
            "The first line is centring: (δ_ik − 1/N) δ_jl/σ_l, with σ = √(var + ε). In the second, by var, 2 and 1/2 cancel:",
            "  ∂(var_l + ε)^(−1/2)/∂h_ij = −1/2 (var_l + ε)^(−3/2) 2/N (h_il − μ_l) δ_jl",
            "                            = −(h_il − μ_l) δ_jl/(N σ_l³)",
        ),
        (
            Part("δ_ik δ_jl/σ_l", lambda v: _each(v, v["inverse"])),
            Part("−δ_jl/(N σ_l)", lambda v: _column(v, -v["inverse"] / len(v["h"]))),
            Part(
                "−δ_jl c_kl c_il/(N σ_l³)",
                lambda v: _column(v, -np.einsum("kl,il->kil", v["c"], v["c"]) * v["inverse"] ** 3 / len(v["h"])),
            ),
        ),
    ),
    Equation(
        "dh", "L", "h",
        "∂L/∂h_ij = γ_j/(N σ_j) [N dy_ij − dbeta_j − xhat_ij dgamma_j]",
        r"\frac{\partial L}{\partial h_{ij}} = \frac{\gamma_j}{N\,\sigma_j}\Bigl[N\,dy_{ij} - \sum_k dy_{kj}"
        r" - \hat x_{ij} \sum_k dy_{kj}\,\hat x_{kj}\Bigr]",
        "chain rule over the column",
        "h_ij moves every xhat of its column, so the loss collects all three paths: the entry, mean, variance.",
        (
            "The loss sees h_ij through every xhat_kj of its column, with g = dy γ:",
            "  ∂L/∂h_ij = sum_k g_kj ∂xhat_kj/∂h_ij",
            "The three parts of xhat give three terms, with h − μ = σ xhat in the last:",
            "  δ_ik         g_ij/σ_j                            the entry itself",
            "  −1/N         −(1/N) sum_k g_kj/σ_j               the path through μ",
            "  −c_kl c_il   −xhat_ij (1/N) sum_k g_kj xhat_kj/σ_j   through var",
            "γ_j is the same for the whole column and comes out of the sums, which are then dbeta and dgamma.",
        ),
        (
            Part("g/σ", lambda v: v["gamma"] * v["inverse"] * _dy(v)),
            Part("−mean g/σ", lambda v: -v["gamma"] * v["inverse"] * (_dy(v).mean(axis=0) + 0 * v["h"])),
            Part(
                "−xhat mean(g xhat)/σ",
                lambda v: -v["gamma"] * v["inverse"] * v["xhat"] * (_dy(v) * v["xhat"]).mean(axis=0),
            ),
        ),
    ),
    Equation(
        "dgamma", "L", "gamma",
        "∂L/∂γ_j = sum_k dy_kj xhat_kj",
        r"\frac{\partial L}{\partial \gamma_j} = \sum_k dy_{kj}\,\hat x_{kj}",
        "chain rule over the rows",
        "γ_j multiplies xhat in every row of its column, so the rows' contributions add up.",
        (
            "In every row k, ∂y_kj/∂γ_j = xhat_kj, and the loss adds the rows up:",
            "  ∂L/∂γ_j = sum_k ∂L/∂y_kj xhat_kj",
        ),
        (Part("sum_k dy xhat", lambda v: (_dy(v) * v["xhat"]).sum(axis=0)),),
    ),
    Equation(
        "dbeta", "L", "beta",
        "∂L/∂β_j = sum_k dy_kj",
        r"\frac{\partial L}{\partial \beta_j} = \sum_k dy_{kj}",
        "chain rule over the rows",
        "β_j is added in every row of its column, so the rows' contributions add up.",
        (
            "In every row k, ∂y_kj/∂β_j = 1, and the loss adds the rows up:",
            "  ∂L/∂β_j = sum_k ∂L/∂y_kj",
        ),
        (Part("sum_k dy", lambda v: _dy(v).sum(axis=0)),),
    ),
    Equation(
        "dW", "L", "W",
        "∂L/∂W_dj = sum_k X_kd dh_kj,   dW = X^T dh",
        r"\frac{\partial L}{\partial W_{dj}} = \sum_k X_{kd}\,dh_{kj}, \quad dW = X^\top dh",
        "chain rule over the rows",
        "W_dj enters h_kj in every row k, times X_kd.",
        (
            "  h_kj = sum_d X_kd W_dj + b_j,   ∂h_kj/∂W_dj = X_kd",
            "Other columns of h do not contain W_dj. The rows add up, which is a matrix product.",
        ),
        (Part("X^T dh", lambda v: v["X"].T @ _dh(v)),),
    ),
    Equation(
        "db", "L", "b",
        "∂L/∂b_j = sum_k dh_kj = 0",
        r"\frac{\partial L}{\partial b_j} = \sum_k dh_{kj} = 0",
        "chain rule over the rows",
        "b_j shifts a whole column of h, and batch norm takes the shift away with the mean.",
        (
            "In every row ∂h_kj/∂b_j = 1, so db is the sum of dh over the rows. Of its terms sum_k (g_kj − mean g_j) = 0, and sum_k xhat_kj = 0.",
            "So db is exactly 0: h + b and h have the same h − μ. No relative error of it means anything.",
        ),
        (Part("sum_k dh", lambda v: 0 * v["gamma"]),),
    ),
    Equation(
        "dX", "L", "X",
        "∂L/∂X_id = sum_j dh_ij W_dj,   dX = dh W^T",
        r"\frac{\partial L}{\partial X_{id}} = \sum_j dh_{ij}\,W_{dj}, \quad dX = dh\,W^\top",
        "chain rule over the units",
        "X_id enters every h_ij of its row, times W_dj.",
        (
            "  h_ij = sum_d X_id W_dj + b_j,   ∂h_ij/∂X_id = W_dj",
            "Other rows of h do not contain X_id. The units add up, which is a matrix product.",
        ),
        (Part("dh W^T", lambda v: _dh(v) @ v["W"].T),),
    ),
)  # fmt: skip
