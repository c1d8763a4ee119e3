"""The plan of a measurement: the steps, the excluded outputs and the error bounds, chosen before any difference."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bncheck.model.components import AFFINE, BATCHNORM, RELU, BnEps, Component
from bncheck.model.layers import affine_forward
from bncheck.model.options import CheckOptions
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.results import KinkExclusion
from bncheck.numerical.basepoint import UNIT_ROUNDOFF, BasePoint
from bncheck.numerical.error_bounds import ROUNDINGS_OF_OUTPUT, ErrorBounds, compute_bounds, output_bound
from bncheck.numerical.kink_guard import can_cross_kink
from bncheck.numerical.linear import linear_bounds, linear_steps
from bncheck.numerical.schemes import Scheme, get_scheme
from bncheck.numerical.steps import Steps, automatic_steps


@dataclass(frozen=True, slots=True, eq=False)
class MeasurementPlan:
    """The input of both engines."""

    problem: Problem  # dout is 0 at excluded outputs
    component: Component
    names: tuple[str, ...]  # inputs of the component whose gradients are measured
    scheme: Scheme
    steps: Steps
    bounds: ErrorBounds
    kink_exclusion: KinkExclusion
    base: BasePoint | None  # of the local engine; None after it has finished
    output: FloatArray  # (N, H), output of the component
    output_bound: FloatArray  # (N, H), upper bound on |output - output of another correct forward pass|
    bn_eps: BnEps  # used instead of the bn_eps of the problem


def plan_measurement(
    problem: Problem,
    component: Component,
    options: CheckOptions,
    names: Sequence[str],
    *,
    bn_eps: BnEps | None = None,
    roundoff_factor: float = 1.0,
    underflow_unit: float = 0.0,
) -> MeasurementPlan:
    """Choose the steps and exclude the outputs that they, or rounding, may carry across ReLU's kink.

    ``bn_eps`` and ``roundoff_factor`` are those of ``measure``, ``underflow_unit`` is that of ``compute_bounds``.
    """
    scheme, is_linear = get_scheme(options.scheme), component in (AFFINE, RELU)
    eps: BnEps = problem.bn_eps if bn_eps is None else bn_eps
    base = BasePoint.from_problem(problem, component, eps)
    if not isinstance(options.step, str):
        steps: Steps = {name: np.full(1, options.step) for name in component.inputs}
    else:
        steps = linear_steps(base, component, scheme) if is_linear else automatic_steps(base, scheme)
    excluded = can_cross_kink(base, component, scheme, steps, roundoff_factor)
    point = base.excluding(excluded)
    if is_linear:
        bounds = linear_bounds(point, component, scheme, steps, names, underflow_unit)
    else:
        bounds = compute_bounds(point, scheme, steps, names, roundoff_factor, underflow_unit)
    active = base.y > 0 if component.output == "a" else True
    alive = ((point.problem.dout != 0) & active).any(axis=0)
    exclusion = KinkExclusion(int(excluded.sum()), excluded.size, int((~alive).sum()))
    output, bound = _output_and_bound(base, component, roundoff_factor)
    return MeasurementPlan(
        point.problem, component, tuple(names), scheme, steps, bounds, exclusion, point, output, bound, eps
    )


def _output_and_bound(base: BasePoint, component: Component, roundoff_factor: float) -> tuple[FloatArray, FloatArray]:
    """Return the output of a component, and the bound on its difference from another correct forward pass."""
    p = base.problem
    if component is AFFINE:
        magnitude = base.abs_x @ base.abs_w + np.abs(p.b)
        return affine_forward(p.X, p.W, p.b)[0], (ROUNDINGS_OF_OUTPUT + p.D) * UNIT_ROUNDOFF * magnitude
    output = base.y if component is BATCHNORM else np.maximum(base.y, 0.0)
    # ReLU rounds nothing, but the code under test may round its input.
    return output, UNIT_ROUNDOFF * np.abs(base.y) if component is RELU else output_bound(base, roundoff_factor)
