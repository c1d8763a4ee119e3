"""Measure and plan all gradients of a component, with the options as keywords."""

from typing import Any

from bncheck import Problem
from bncheck.model.components import AFFINE, BATCHNORM, NETWORK, RELU, Component
from bncheck.model.options import CheckOptions
from bncheck.model.results import Measurement
from bncheck.numerical.measure import measure
from bncheck.numerical.plan import MeasurementPlan, plan_measurement

COMPONENTS = (NETWORK, BATCHNORM, AFFINE, RELU)


def measure_all(problem: Problem, component: Component = NETWORK, **options: Any) -> Measurement:
    """Measure the gradients of all inputs."""
    return measure(problem, component, CheckOptions(**options), component.inputs)


def plan_all(problem: Problem, component: Component = NETWORK, **options: Any) -> MeasurementPlan:
    """Plan the measurement of the gradients of all inputs."""
    return plan_measurement(problem, component, CheckOptions(**options), component.inputs)
