"""The measurements of one check on one problem."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

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

    def reference(
        self,
        problem: Problem,
        component: Component,
        inputs: Sequence[str],
        precision: Precision = FLOAT64,
        bn_eps: FloatArray | None = None,
    ) -> Measurement:
        """Measure bncheck's own forward pass; ``bn_eps``, one value for each unit, replaces that of the problem."""
        eps = None if bn_eps is None else bn_eps.tobytes()
        key = component, tuple(inputs), problem.bn_eps, precision, eps
        if key not in self.finished:
            factor = precision.roundoff_factor
            self.finished[key] = measure(
                problem, component, self.options, inputs, bn_eps=bn_eps, roundoff_factor=factor, progress=self.progress
            )
        return self.finished[key]

    def black_box(
        self,
        problem: Problem,
        component: Component,
        inputs: Sequence[str],
        precision: Precision,
        options: CheckOptions,
        forward: Forward,
        name: str,
    ) -> Measurement:
        """Measure a forward function of the code under test, by its name."""
        factor = precision.roundoff_factor
        measurement = measure(
            problem, component, options, inputs, own=forward, roundoff_factor=factor, progress=self.progress
        )
        self.finished[component, name] = measurement
        return measurement
