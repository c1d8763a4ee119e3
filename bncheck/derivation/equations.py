"""The equations of the derivation, in order: formula, rule, reason and the parts of each derivative.

An equation is the derivative of one node of the graph (`bncheck.model.graph`), or of the loss, with respect to another
node. Its parts are functions of the values at the nodes. They add up to the derivative, whose shape is the shape of
the output followed by the shape of the input: (K,L,I,J) if both are matrices.
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

    name: str  # the argument of ``bncheck derive``
    output: str  # the node that is differentiated; "L" is the loss
    input: str  # the node that the derivative is taken with respect to
    formula: str
    latex: str
    rule: str
    reason: str  # one sentence
    algebra: Sequence[str]  # intermediate steps: paragraphs, and formulas, which start with two spaces
    parts: Sequence[Part]


def _entrywise(v: Values, entry: Array) -> Array:
    """Return delta_ik delta_jl entry_kl, (N,H,N,H)."""
    (N, H), rows = v["h"].shape, np.eye(len(v["h"]))
    block: Array = np.einsum("ki,lj,kl->klij", rows, np.eye(H), np.broadcast_to(entry, (N, H)))
    return block


def _columnwise(v: Values, pair: Array) -> Array:
    """Return delta_jl pair_kil, (N,H,N,H): all pairs of rows of the same column."""
    N, H = v["h"].shape
    block: Array = np.einsum("lj,kil->klij", np.eye(H), np.broadcast_to(pair, (N, N, H)))
    return block


def _column_to_scalar(entry: Array) -> Array:
    """Return delta_jl entry_il, (H,N,H)."""
    block: Array = np.einsum("lj,il->lij", np.eye(entry.shape[1]), entry)
    return block


EQUATIONS = (
    Equation(
        "relu", "a", "y",
        "∂a_kl/∂y_ij = δ_ik δ_jl (y_kl > 0)",
        r"\frac{\partial a_{kl}}{\partial y_{ij}} = \delta_{ik}\,\delta_{jl}\,[y_{kl} > 0]",
        "derivative of a maximum",
        "max(y, 0) is y if y is positive, and 0 otherwise, so the slope of each entry is 1 or 0.",
        (
            "If y_kl > 0, a_kl = y_kl: the slope is 1. If y_kl < 0, a_kl = 0: the slope is 0. At 0 the derivative does not exist; by convention it is set to 0.",
            "a_kl depends on no other entry of y; δ_ik δ_jl expresses this. With the chain rule, the derivative becomes the mask:",
            "  dy_ij = sum_kl dout_kl ∂a_kl/∂y_ij = dout_ij (y_ij > 0)",
        ),
        (Part("δ_ik δ_jl (y > 0)", lambda v: _entrywise(v, v["y"] > 0)),),
    ),
    Equation(
        "scale", "y", "xhat",
        "∂y_kl/∂xhat_ij = γ_l δ_ik δ_jl",
        r"\frac{\partial y_{kl}}{\partial \hat x_{ij}} = \gamma_l\,\delta_{ik}\,\delta_{jl}",
        "derivative of a product with a constant",
        "y_kl = γ_l xhat_kl + β_l contains a single entry of xhat, multiplied by γ_l.",
        (
            "  y_kl = γ_l xhat_kl + β_l",
            "β_l does not depend on xhat, and γ_l is a constant of the column. With the chain rule:",
            "  dxhat_ij = dy_ij γ_j,   called g in the next equations",
        ),
        (Part("γ_l δ_ik δ_jl", lambda v: _entrywise(v, v["gamma"])),),
    ),
    Equation(
        "centering", "c", "h",
        "∂(h_kl − μ_l)/∂h_ij = δ_ik δ_jl − δ_jl/N",
        r"\frac{\partial (h_{kl} - \mu_l)}{\partial h_{ij}} = \delta_{ik}\,\delta_{jl} - \tfrac1N\,\delta_{jl}",
        "derivative of a sum",
        "If one entry of a column grows by t, the mean of the column grows by t/N, and the mean is subtracted from every entry.",
        (
            "μ_l is the mean of column l. If one entry h_il grows by t, the sum of the column grows by t, and μ_l grows by t/N, for every row i:",
            "  μ_l = (1/N) sum_p h_pl,   ∂μ_l/∂h_ij = δ_jl/N",
            "",
            "The entry itself, h_il − μ_l, gains t and loses t/N. It changes by (1 − 1/N) t: this is the diagonal.",
            "",
            "Every other entry of the column, h_kl − μ_l with k ≠ i, does not gain t, but it loses t/N too. h_kl does not change; the mean that is subtracted from it does. This is the −1/N off the diagonal.",
            "",
            "The means of the other columns do not depend on h_ij: the derivative is 0 for j ≠ l; δ_jl expresses this. Each row and each column of the block sums to 0, because adding the same number to all of h changes nothing.",
        ),
        (
            Part("δ_ik δ_jl", lambda v: _entrywise(v, np.ones(1))),
            Part("−δ_jl/N", lambda v: _columnwise(v, np.full(1, -1 / len(v["h"])))),
        ),
    ),
    Equation(
        "var", "var", "h",
        "∂var_l/∂h_ij = 2/N (h_il − μ_l) δ_jl",
        r"\frac{\partial \sigma^2_l}{\partial h_{ij}} = \frac{2}{N}\,(h_{il} - \mu_l)\,\delta_{jl}",
        "chain rule over the centered entries",
        "The variance changes only through the square of the entry itself; the term through μ vanishes, because deviations sum to 0.",
        (
            "  var_l = (1/N) sum_p (h_pl − μ_l)²",
            "Apply the chain rule, then the equation centering for the derivative of each h_pl − μ_l:",
            "  ∂var_l/∂h_ij = (2/N) sum_p (h_pl − μ_l) ∂(h_pl − μ_l)/∂h_ij",
            "               = (2/N) sum_p (h_pl − μ_l) (δ_ip δ_jl − δ_jl/N)",
            "               = (2/N) (h_il − μ_l) δ_jl − (2/N²) δ_jl sum_p (h_pl − μ_l)",
            "",
            "δ_ip selects p = i from the first sum. The second sum is sum_p h_pl − N μ_l = 0: deviations from the mean sum to zero. Therefore the term through μ vanishes for every h.",
        ),
        (Part("2/N (h_il − μ_l) δ_jl", lambda v: 2 / len(v["c"]) * _column_to_scalar(v["c"])),),
    ),
    Equation(
        "xhat", "xhat", "h",
        "∂xhat_kl/∂h_ij = δ_jl [(δ_ik − 1/N)/σ_l − (h_kl − μ_l)(h_il − μ_l)/(N σ_l³)]",
        r"\frac{\partial \hat x_{kl}}{\partial h_{ij}} = \delta_{jl}\left[\frac{\delta_{ik} - 1/N}{\sigma_l}"
        r" - \frac{(h_{kl} - \mu_l)(h_{il} - \mu_l)}{N\,\sigma_l^3}\right]",
        "product rule",
        "xhat is the product of h − μ and 1/σ, and both depend on h_ij.",
        (
            "xhat is a product, and both factors depend on h_ij:",
            "  xhat_kl = (h_kl − μ_l) (var_l + ε)^(−1/2)",
            "  ∂xhat_kl/∂h_ij = ∂(h_kl − μ_l)/∂h_ij (var_l + ε)^(−1/2)",
            "                 + (h_kl − μ_l) ∂(var_l + ε)^(−1/2)/∂h_ij",
            "",
            "The first line is the equation centering: (δ_ik − 1/N) δ_jl/σ_l, with σ = √(var + ε). In the second line, the equation var gives a factor 2, which cancels the 1/2:",
            "  ∂(var_l + ε)^(−1/2)/∂h_ij = −1/2 (var_l + ε)^(−3/2) 2/N (h_il − μ_l) δ_jl",
            "                            = −(h_il − μ_l) δ_jl/(N σ_l³)",
        ),
        (
            Part("δ_ik δ_jl/σ_l", lambda v: _entrywise(v, v["rstd"])),
            Part("−δ_jl/(N σ_l)", lambda v: _columnwise(v, -v["rstd"] / len(v["h"]))),
            Part(
                "−δ_jl c_kl c_il/(N σ_l³)",
                lambda v: _columnwise(v, -np.einsum("kl,il->kil", v["c"], v["c"]) * v["rstd"] ** 3 / len(v["h"])),
            ),
        ),
    ),
    Equation(
        "dh", "L", "h",
        "∂L/∂h_ij = γ_j/(N σ_j) [N dy_ij − dbeta_j − xhat_ij dgamma_j]",
        r"\frac{\partial L}{\partial h_{ij}} = \frac{\gamma_j}{N\,\sigma_j}\Bigl[N\,dy_{ij} - \sum_k dy_{kj}"
        r" - \hat x_{ij} \sum_k dy_{kj}\,\hat x_{kj}\Bigr]",
        "chain rule over the column",
        "Every xhat of the column depends on h_ij in three ways: through the entry itself, the mean and the variance.",
        (
            "The loss depends on h_ij through every xhat_kj of its column. With g = dy γ:",
            "  ∂L/∂h_ij = sum_k g_kj ∂xhat_kj/∂h_ij",
            "The three parts of xhat give three terms, with h − μ = σ xhat in the last:",
            "  δ_ik         g_ij/σ_j                                the entry itself",
            "  −1/N         −(1/N) sum_k g_kj/σ_j                   the path through μ",
            "  −c_kl c_il   −xhat_ij (1/N) sum_k g_kj xhat_kj/σ_j   the path through var",
            "γ_j is a constant of the column, so it can be moved out of the sums. The sums that remain are dbeta and dgamma.",
        ),
        (
            Part("g/σ", lambda v: v["direct"]),
            Part("−mean g/σ", lambda v: v["mean_term"] + 0 * v["h"]),
            Part("−xhat mean(g xhat)/σ", lambda v: v["variance_term"]),
        ),
    ),
    Equation(
        "dgamma", "L", "gamma",
        "∂L/∂γ_j = sum_k dy_kj xhat_kj",
        r"\frac{\partial L}{\partial \gamma_j} = \sum_k dy_{kj}\,\hat x_{kj}",
        "chain rule over the rows",
        "γ_j multiplies xhat in every row of its column, so its gradient is a sum over the rows.",
        (
            "In every row k, ∂y_kj/∂γ_j = xhat_kj. The chain rule sums over the rows:",
            "  ∂L/∂γ_j = sum_k ∂L/∂y_kj xhat_kj",
        ),
        (Part("sum_k dy xhat", lambda v: v["dgamma"]),),
    ),
    Equation(
        "dbeta", "L", "beta",
        "∂L/∂β_j = sum_k dy_kj",
        r"\frac{\partial L}{\partial \beta_j} = \sum_k dy_{kj}",
        "chain rule over the rows",
        "β_j is added in every row of its column, so its gradient is a sum over the rows.",
        (
            "In every row k, ∂y_kj/∂β_j = 1. The chain rule sums over the rows:",
            "  ∂L/∂β_j = sum_k ∂L/∂y_kj",
        ),
        (Part("sum_k dy", lambda v: v["dbeta"]),),
    ),
    Equation(
        "dW", "L", "W",
        "∂L/∂W_dj = sum_k X_kd dh_kj,   dW = X^T dh",
        r"\frac{\partial L}{\partial W_{dj}} = \sum_k X_{kd}\,dh_{kj}, \quad dW = X^\top dh",
        "chain rule over the rows",
        "h_kj contains W_dj, multiplied by X_kd, in every row k.",
        (
            "  h_kj = sum_d X_kd W_dj + b_j,   ∂h_kj/∂W_dj = X_kd",
            "Other columns of h do not depend on W_dj. The sum over the rows is a matrix product.",
        ),
        (Part("X^T dh", lambda v: v["dW"]),),
    ),
    Equation(
        "db", "L", "b",
        "∂L/∂b_j = sum_k dh_kj = 0",
        r"\frac{\partial L}{\partial b_j} = \sum_k dh_{kj} = 0",
        "chain rule over the rows",
        "b_j shifts an entire column of h, and batch norm subtracts the shift with the mean.",
        (
            "In every row, ∂h_kj/∂b_j = 1, so db is the sum of dh over the rows. Its terms vanish: sum_k (g_kj − mean g_j) = 0, and sum_k xhat_kj = 0.",
            "Therefore db is exactly 0: h − μ does not depend on b. A relative error is not meaningful here; every entry must be 0 within its error bound.",
        ),
        (Part("sum_k dh", lambda v: 0 * v["gamma"]),),
    ),
    Equation(
        "dX", "L", "X",
        "∂L/∂X_id = sum_j dh_ij W_dj,   dX = dh W^T",
        r"\frac{\partial L}{\partial X_{id}} = \sum_j dh_{ij}\,W_{dj}, \quad dX = dh\,W^\top",
        "chain rule over the units",
        "Every h_ij of the row contains X_id, multiplied by W_dj.",
        (
            "  h_ij = sum_d X_id W_dj + b_j,   ∂h_ij/∂X_id = W_dj",
            "Other rows of h do not depend on X_id. The sum over the units is a matrix product.",
        ),
        (Part("dh W^T", lambda v: v["dX"]),),
    ),
)  # fmt: skip
