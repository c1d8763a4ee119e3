"""The graph of named values: an independent derivation of what the layers compute in closed form."""

import numpy as np
import pytest

from bncheck import Problem, random_problem
from bncheck.model import graph, network
from bncheck.model.graph import BACKWARD, FORWARD, VALUES, backpropagate, run


def values_at(p: Problem) -> dict[str, np.ndarray]:
    inputs = {"X": p.X, "W": p.W, "b": p.b, "gamma": p.gamma, "beta": p.beta}
    return run({**inputs, "eps": p.bn_eps, "dout": p.dout})


@pytest.mark.parametrize("shape", [(7, 5, 4), (1, 3, 2), (2, 1, 1), (4, 9, 9)])
def test_the_three_derivations_of_the_gradients_agree(shape: tuple[int, int, int]) -> None:
    p = random_problem(*shape, seed=sum(shape), bn_eps=0.01)
    values = values_at(p)
    by_edges = backpropagate(p.dout, values)
    a, cache = network.forward(p.X, p.W, p.b, p.gamma, p.beta, p.bn_eps)
    np.testing.assert_allclose(values["a"], a, rtol=1e-12, atol=1e-12)
    for name, closed_form in network.backward(p.dout, cache).items():
        np.testing.assert_allclose(values[name], closed_form, rtol=1e-9, atol=1e-11, err_msg=name)
        np.testing.assert_allclose(by_edges[name[1:]], closed_form, rtol=1e-9, atol=1e-11, err_msg=name)
    np.testing.assert_allclose(by_edges["y"], values["dy"])
    np.testing.assert_allclose(by_edges["xhat"], values["g"])


def test_every_value_is_computed_from_earlier_ones() -> None:
    p = random_problem(3, 4, 2)
    known = {"X": p.X, "W": p.W, "b": p.b, "gamma": p.gamma, "beta": p.beta, "eps": p.bn_eps, "dout": p.dout}
    for name, formula in VALUES.items():
        known[name] = formula(known)
    assert list(VALUES) == [*(node.name for node in FORWARD), *BACKWARD]


def test_without_dout_only_the_forward_pass_is_computed() -> None:
    p = random_problem(3, 4, 2)
    _, cache = graph.forward(p.X, p.W, p.b, p.gamma, p.beta, p.bn_eps)
    assert BACKWARD.keys().isdisjoint(cache)
