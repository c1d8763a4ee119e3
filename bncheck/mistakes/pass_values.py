"""The values of a forward and a backward pass by name, any of which can be replaced."""

from collections.abc import Mapping
from functools import cache
from types import CodeType
from typing import Any

import numpy as np

from bncheck.model.components import AFFINE, BATCHNORM, NETWORK, RELU, Component
from bncheck.model.graph import VALUES
from bncheck.model.problem import Problem

# Names of the values in the order of their computation, forward and then backward pass.
VALUE_ORDER = tuple(VALUES)
# The values that a component computes.
COMPONENT_VALUES = {
    NETWORK: frozenset(VALUE_ORDER),
    AFFINE: frozenset({"h", "db", "dW", "dX"}),
    BATCHNORM: frozenset(VALUE_ORDER[VALUE_ORDER.index("mu") : VALUE_ORDER.index("y") + 1])
    | frozenset(VALUE_ORDER[VALUE_ORDER.index("dbeta") : VALUE_ORDER.index("dh") + 1]),
    RELU: frozenset({"active", "a", "dy"}),
}
# If a layer is checked on its own, dout replaces this value: the gradient for the output of the layer. ReLU is
# not listed, because its output is that of the network, whose gradient is dout itself.
UPSTREAM = {AFFINE: "dh", BATCHNORM: "dy"}


class PassValues:
    """The values of a pass, as attributes and as items; each is computed at its first use.

    Their names and formulas are those of `bncheck.model.graph`; N, D, H and eps are values too.

    Parameters
    ----------
    known : mapping of str to array or number
        Inputs, and values that replace computed ones.
    computed : mapping of str to array, optional
        Values that are computed from ``known`` already.
    """

    def __init__(self, known: Mapping[str, Any], computed: Mapping[str, Any] | None = None) -> None:
        self._known, self._computed = dict(known), dict(computed or {})

    @classmethod
    def from_problem(cls, problem: Problem, component: Component = NETWORK) -> "PassValues":
        """Return the correct values at a problem, whose dout is the upstream gradient of the component."""
        arrays = {name: getattr(problem, name) for name in ("X", "W", "b", "gamma", "beta", "dout", "N", "D", "H")}
        upstream = {UPSTREAM[component]: problem.dout} if component in UPSTREAM else {}
        return cls({**arrays, "eps": problem.bn_eps, **upstream})

    def __getitem__(self, name: str) -> Any:
        if name in self._known:
            return self._known[name]
        if name not in self._computed:
            with np.errstate(all="ignore"):
                self._computed[name] = VALUES[name](self)
        return self._computed[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copy and pickle look for special methods before there are any values
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(*error.args) from None

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of the catalogue, such as "0 * mean_term", whose names are values or np."""
        with np.errstate(all="ignore"):
            # Only expressions from the package's own catalogue files are evaluated.
            return eval(_compiled(expression), {"np": np, "__builtins__": {}}, self)  # type: ignore[arg-type]  # any object with __getitem__ works

    def with_eps(self, eps: float) -> "PassValues":
        """Return the values for another eps; replaced values stay, and values that do not depend on eps are reused."""
        return PassValues({**self._known, "eps": eps}, self._computed_before("sigma"))

    def replaced(self, name: str, value: Any) -> "PassValues":
        """Return the values after one of them is replaced; later values are computed from the new one."""
        return PassValues({**self._known, name: value}, self._computed_before(name))

    def _computed_before(self, name: str) -> dict[str, Any]:
        before = VALUE_ORDER[: VALUE_ORDER.index(name)]
        return {k: v for k, v in self._computed.items() if k in before}


@cache
def _compiled(expression: str) -> CodeType:
    return compile(expression, "<catalogue>", "eval")
