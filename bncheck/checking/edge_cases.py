"""Small problems, and ways of calling, on which mistakes show that one problem and one call cannot show."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bncheck.model.layers import batchnorm_forward
from bncheck.model.problem import Problem, random_problem
from bncheck.numerical.basepoint import BasePoint
from bncheck.numerical.kink_guard import excluded_below
from bncheck.numerical.schemes import get_scheme
from bncheck.numerical.steps import automatic_steps
from bncheck.targets.usage import Usage

# N, D and H are all different, where nothing else is meant.
SMALL: Mapping[str, Any] = {"N": 7, "D": 5, "H": 4}
OTHER_CALLS = (Usage.STRIDED, Usage.TRANSPOSED, Usage.BACKWARD_TWICE, Usage.INTERLEAVED)
# How many times the distance that counts an output is placed away from ReLU's kink.
KINK_DISTANCES = 10.0


@dataclass(frozen=True, slots=True)
class EdgeCase:
    """A problem that is drawn and then changed, and how the code is called on it."""

    name: str
    about: str  # what is special about it
    settings: Mapping[str, Any] = field(default_factory=dict)  # of random_problem, where not SMALL
    change: Callable[[Problem], Problem] | None = None
    usages: Sequence[Usage] = (Usage.REPEATED,)
    scheme: str | None = None  # instead of the check's own
    typical: bool = False  # mistakes act on it as on any other problem, so a mistake that is named must fit it

    @property
    def may_raise(self) -> bool:
        """Whether right code may refuse it: batch norm of a single sample normalizes nothing."""
        return self.settings.get("N") == 1

    @property
    def is_a_problem(self) -> bool:
        """Whether a random problem alone makes it, which a command can draw."""
        return self.change is None and self.scheme is None and tuple(self.usages) == (Usage.REPEATED,)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """N, D and H."""
        settings = {**SMALL, **self.settings}
        return settings["N"], settings["D"], settings["H"]

    def draw(self) -> Problem:
        """Return its problem; one that was changed has no seed, since no command draws it."""
        problem = random_problem(**{**SMALL, **self.settings})
        return problem if self.change is None else replace(self.change(problem), seed=None)


def _default_parameters(p: Problem) -> Problem:
    """Set gamma and beta as most layers begin."""
    return replace(p, gamma=np.ones(p.H), beta=np.zeros(p.H))


def _outlier(p: Problem) -> Problem:
    """Put one sample far from the others, and let gamma range over four powers of ten."""
    X = p.X.copy()
    X[3] *= 1e3
    gamma = np.copysign(np.logspace(-2, 2, p.H), p.gamma)
    return replace(p, X=X, gamma=gamma, beta=p.beta * gamma / p.gamma)


def _one_hot(p: Problem) -> Problem:
    """Make dout 1 at one output of each unit, the largest, and 0 elsewhere."""
    h = p.X @ p.W + p.b
    y, _ = batchnorm_forward(h, p.gamma, p.beta, p.bn_eps)
    return replace(p, dout=np.where(np.arange(p.N)[:, None] == y.argmax(axis=0), 1.0, 0.0))


def _equal_rows(p: Problem) -> Problem:
    """Give every sample the same upstream gradient, as an expanded array holds it."""
    return replace(p, dout=np.broadcast_to(p.dout[:1], p.dout.shape))


def _near_the_kink(p: Problem) -> Problem:
    """Shift beta so that one output of each unit is as near to 0 as the complex step allows, on either side.

    A mask that is not taken at 0 (y > 1e-6, say) then takes other outputs.
    """
    scheme = get_scheme("complex")
    base = BasePoint.from_problem(p)
    chosen = np.argsort(base.y, axis=0)[p.N // 2], np.arange(p.H)  # half of the unit's outputs stay active
    distance = KINK_DISTANCES * excluded_below(base, scheme, automatic_steps(base, scheme))[chosen]
    side = np.where(np.arange(p.H) % 2 == 0, 1.0, -1.0)
    return replace(p, beta=side * distance - (p.gamma * base.xhat)[chosen])


EDGE_CASES = (
    EdgeCase("small-variance", "inputs of size 1e-3", {"x_std": 1e-3}, typical=True),
    EdgeCase("large-eps", "eps 0.5", {"bn_eps": 0.5}, typical=True),
    EdgeCase("two-rows", "a batch of two", {"N": 2}, typical=True),
    EdgeCase("far-mean", "a mean of 50", {"x_mean": 50.0}, typical=True),
    EdgeCase("wide", "more units than samples", {"N": 4, "H": 9}, typical=True),
    EdgeCase("large-bias", "inputs and a bias of size 10", {"x_std": 10.0}, typical=True),
    EdgeCase("large-odd-shape", "sizes beyond 128, 64 and 32", {"N": 131, "D": 107, "H": 67}),
    EdgeCase("one-row", "a batch of one", {"N": 1}),
    EdgeCase("one-unit", "one feature and one unit", {"D": 1, "H": 1}),
    EdgeCase("square", "as many samples as units", {"N": 5, "H": 5}),
    EdgeCase("default-parameters", "gamma 1 and beta 0", change=_default_parameters),
    EdgeCase("outlier", "one sample far from the others, gamma from 0.01 to 100", change=_outlier),
    EdgeCase("large-scale", "inputs of size 1e4", {"x_std": 1e4}),
    EdgeCase("one-hot-dout", "dout is 1 at one output of each unit and 0 elsewhere", change=_one_hot),
    EdgeCase("near-the-kink", "outputs just above and below 0", change=_near_the_kink, scheme="complex"),
    EdgeCase("expanded-dout", "a dout whose rows share their memory", change=_equal_rows, usages=(Usage.EXPANDED,)),
    EdgeCase("calls", "other memory layouts and orders of calls", usages=OTHER_CALLS),
)
