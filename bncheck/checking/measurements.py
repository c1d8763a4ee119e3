"""The measurements of one check on one problem."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

from bncheck.model.components import Component, Forward
from bncheck.model.options import CheckOptions
from bncheck.model.precision import FLOAT64, Precision
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.progress import Progress
from bncheck.model.results import Measurement
from bncheck.numerical.measure import measure


@dataclass(frozen=True, slots=True)
class Measurements:
    """Measure numerical gradients; pairs that need the same measurement share it."""

    options: CheckOptions
    progress: Progress
    finished: dict[Hashable, Measurement] = field(default_factory=dict)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended a measurement early."""
        return any(measurement.interrupted for measurement in self.finished.values())

    def measure(
        self,
        problem: Problem,
        component: Component,
        inputs: Sequence[str],
        precision: Precision = FLOAT64,
        *,
        bn_eps: FloatArray | None = None,
        forward: Forward | None = None,
        forward_name: str = "",
    ) -> Measurement:
        """Measure bncheck's own forward pass with ``bn_eps``, or a forward function of the code under test."""
        eps = None if bn_eps is None else bn_eps.tobytes()
        key = (component, forward_name) if forward else (component, tuple(inputs), problem.bn_eps, precision, eps)
        if forward or key not in self.finished:
            options, factor = self.options, precision.roundoff_factor
            if forward and options.scheme == "complex":
                options = replace(options, scheme="central")
            self.finished[key] = measure(
                problem, component, options, inputs,
                bn_eps=bn_eps, roundoff_factor=factor, black_box_forward=forward, progress=self.progress,
            )  # fmt: skip
        return self.finished[key]
