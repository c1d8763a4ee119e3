"""The plan of a measurement: the steps, the excluded outputs and the error bounds, chosen before any difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from bncheck.model.components import AFFINE, NETWORK, RELU, BnEps, Component
from bncheck.model.options import CheckOptions
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.results import BoolArray, KinkExclusion
from bncheck.numerical.basepoint import UNIT_ROUNDOFF, BasePoint
from bncheck.numerical.error_bounds import ROUNDINGS_OF_OUTPUT, ErrorBounds, compute_bounds, output_bound
from bncheck.numerical.kink_guard import can_cross_kink, relu_can_cross_kink
from bncheck.numerical.linear import h_magnitude, linear_bounds, linear_steps
from bncheck.numerical.schemes import Scheme, get_scheme
from bncheck.numerical.steps import Steps, automatic_steps, fixed_steps


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
    base: BasePoint | None  # of the local engine; None for affine and ReLU, and after it has finished
    output: FloatArray  # (N, H), output of the component
    output_bound: FloatArray  # (N, H), upper bound on |output - output of another correct forward pass|
    bn_eps: BnEps  # used instead of the bn_eps of the problem
    roundoff_factor: float  # roundoff unit of the code under test divided by float64's


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
    scheme = get_scheme(options.scheme)
    eps: BnEps = problem.bn_eps if bn_eps is None else bn_eps
    steps = None if isinstance(options.step, str) else fixed_steps(options.step, component.inputs)
    plan = partial(
        MeasurementPlan,
        component=component,
        names=tuple(names),
        scheme=scheme,
        bn_eps=eps,
        roundoff_factor=roundoff_factor,
    )
    if component is AFFINE:
        arrays, magnitude = component.arrays(problem), h_magnitude(problem)
        steps = steps or linear_steps(problem, component, scheme, arrays)
        no_output = np.zeros(magnitude.shape, bool)
        return plan(
            problem=problem,
            steps=steps,
            bounds=linear_bounds(problem, component, scheme, steps, names, arrays, underflow_unit),
            kink_exclusion=_count_excluded(problem, excluded=no_output, active=~no_output),
            base=None,
            output=component.forward(eps)(arrays),
            output_bound=(ROUNDINGS_OF_OUTPUT + problem.D) * UNIT_ROUNDOFF * magnitude,
        )
    base = BasePoint.from_problem(problem, component, eps)
    if component is RELU:
        arrays = {"y": base.y}
        steps = steps or linear_steps(problem, component, scheme, arrays)
        excluded = relu_can_cross_kink(base, scheme, steps, roundoff_factor)
        point = base.excluding(excluded)
        return plan(
            problem=point.problem,
            steps=steps,
            bounds=linear_bounds(point.problem, component, scheme, steps, names, arrays, underflow_unit),
            kink_exclusion=_count_excluded(problem, excluded=excluded, active=base.y > 0),
            base=None,
            output=np.maximum(base.y, 0.0),
            output_bound=UNIT_ROUNDOFF * np.abs(base.y),  # ReLU rounds nothing, but code may round its input
        )
    steps = steps or automatic_steps(base, scheme)
    has_kink = component is NETWORK
    excluded = can_cross_kink(base, scheme, steps, roundoff_factor) if has_kink else np.zeros(base.y.shape, bool)
    point = base.excluding(excluded)
    return plan(
        problem=point.problem,
        steps=steps,
        bounds=compute_bounds(point, scheme, steps, names, roundoff_factor, underflow_unit),
        kink_exclusion=_count_excluded(problem, excluded=excluded, active=base.y > 0 if has_kink else ~excluded),
        base=point,
        output=np.maximum(base.y, 0.0) if has_kink else base.y,
        output_bound=output_bound(base, roundoff_factor),
    )


def _count_excluded(problem: Problem, *, excluded: BoolArray, active: BoolArray) -> KinkExclusion:
    alive = (active & ~excluded & (problem.dout != 0)).any(axis=0)
    return KinkExclusion(int(excluded.sum()), excluded.size, int((~alive).sum()))
