"""From a problem to the numerical gradients of a piece, with error bars: guard, evaluate, audit."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from bncheck.model.components import AFFINE, BATCHNORM, NETWORK, RELU, BnEps, Component, Forward
from bncheck.model.options import CheckOptions
from bncheck.model.problem import FloatArray, Problem
from bncheck.model.progress import Progress, silent
from bncheck.model.results import Cause, CrossCheck, KinkExclusion, Measurement, NumericalGradient
from bncheck.numerical.basepoint import LEAST, UNIT_ROUNDOFF, BasePoint
from bncheck.numerical.error_bounds import ErrorBounds, compute_bounds, lost_sigma
from bncheck.numerical.full import BoolArray, SampledGradient, full_gradients, perturb_one_entry_per_column
from bncheck.numerical.kink_guard import GUARD_SAFETY_FACTOR, can_cross_kink, rounding_of_y
from bncheck.numerical.linear import linear_bars, linear_gradients, linear_steps, magnitude
from bncheck.numerical.local import local_gradients
from bncheck.numerical.schemes import Scheme, get_scheme
from bncheck.numerical.steps import Steps, automatic_steps, fixed_steps

# An audit takes fewer entries of X where a forward pass is dear, down to the minimum: about as many
# products as AUDIT_COST.
MIN_CROSS_CHECK_ENTRIES, CROSS_CHECK_PRODUCTS = 8, 2**21
# The share of the automatic steps at which one is differentiated.
STEP_REDUCTION = 1 / 8
# Where two steps differ by more than this share, the smaller is not small enough to tell anything.
LARGEST_DIFFERENCE = 1e-3
# How much more than sigma a gradient may change.
SIGMA_TERMS = 3.0
# How many times its scatter the rounding of a forward pass that is not ours is taken to be.
SCATTER_SAFETY_FACTOR = 32.0
# Within these magnitudes of dout nothing that is made of it leaves float64; and a unit's gradients are clear of the
# least number, which products round to a multiple of, if its dout reaches the third.
MIN_DOUT, MAX_DOUT, MIN_DOUT_OF_UNIT = 2.0**-128, 2.0**128, 2.0**-800


# glibc hands memory back to the system once 128 KB lie free at the heap's end, takes arrays larger than
# that from the system one by one, and every page of what comes anew is a fault: a third of a check's
# time. Making and freeing an array of nearly 32 MB, the most that it heeds, has it keep twice as much.
np.empty(2**25 - 2**16, np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class MeasurementPlan:
    """What the engines work on: the guarded problem, the steps, and the bars."""

    problem: Problem
    piece: Component
    scheme: Scheme
    steps: Steps  # by parameter name; they broadcast against the parameter
    bars: ErrorBounds
    kinks: KinkExclusion
    local: Callable[[Progress], dict[str, FloatArray]]  # the local engine, every entry
    output: FloatArray  # the piece's own output
    output_bar: FloatArray  # how far from it another right forward pass may come out
    bn_eps: BnEps  # what batch norm is measured with, instead of the problem's own
    roundoff_factor: float  # unit roundoff of the code under test over float64's


def measure(
    problem: Problem,
    piece: Component,
    method: CheckOptions,
    names: Sequence[str],
    *,
    bn_eps: BnEps | None = None,
    roundoff_factor: float = 1.0,
    own: Forward | None = None,
    progress: Progress = silent,
) -> Measurement:
    """Measure the gradients of a piece for the named inputs, each entry with its error bar.

    Parameters
    ----------
    problem : Problem
        Where the gradients are measured.
    piece : Piece
        What is differentiated.
    method : Method
        Scheme, step, engine, sample and cross-check.
    names : sequence of str
        Inputs of the piece.
    bn_eps : float or array, shape (H,), optional
        Replaces the problem's bn_eps, for all units or for each: batch norm whose sigma is known to be sigma' has
        bn_eps = sigma'^2 - var, which may be negative as long as var + bn_eps > 0. The default is the problem's.
    roundoff_factor : float, default 1
        Unit roundoff of the code under test over float64's: 2^29 for float32, 2^42 for float16, 2^45 for bfloat16.
        Outputs that rounding in that arithmetic may carry across ReLU's kink are excluded, and the conditioning is
        infinite where that arithmetic cannot represent sigma.
    own : callable, optional
        A forward pass that is not the reference's. It is differentiated by the full engine, and its truncation error
        is estimated from several steps instead of bounded.
    progress : callable, optional
        Called with the number of finished entries and the number of all entries.

    Returns
    -------
    Measurement
    """
    scaled, exponent, least = _scaled(problem)
    ground = plan_measurement(scaled, piece, method, names, bn_eps=bn_eps, roundoff_factor=roundoff_factor, least=least)
    if own is not None and method.step == "auto":
        ground = _reduce_steps(ground)
    audit, interrupted = None, False
    if own is not None or method.engine == "full":
        arrays = piece.arrays(problem)
        rng = _generator(problem)
        entries = {name: _draw(rng, arrays[name].size, method.sample) for name in names}
        forward = own or piece.forward(ground.bn_eps)
        evaluated, interrupted = _run_full_engine(ground, forward, entries, progress)
        asked = {name: len(flat) for name, flat in entries.items()}
        if own is not None and not interrupted:
            found = [evaluated]
            for multiple in (2.0, 1.01):
                other = replace(ground, steps={name: multiple * s for name, s in ground.steps.items()})
                again, stopped = _run_full_engine(other, own, entries, silent)
                interrupted |= stopped
                found.append(again)
            ground = replace(ground, bars=_estimate_black_box_bounds(ground, found))
    else:
        values = ground.local(progress)
        ground = replace(ground, local=lambda _: values)  # what it worked with is large
        evaluated = {name: _everything(value) for name, value in values.items()}
        asked = {name: value.size for name, value in values.items()}
        audit = (
            _cross_check(ground, values, method.cross_check_entries, _generator(problem))
            if method.cross_check_entries
            else None
        )
    gradients = _assemble_gradients(ground, evaluated, asked, own is not None)
    guarded = ground.problem
    if exponent:
        guarded = replace(problem, dout=np.where(guarded.dout == 0, 0.0, problem.dout))
        with np.errstate(over="ignore"):  # beyond float64 a value and its bound are infinite
            gradients = {name: _times_power_of_2(gradient, exponent) for name, gradient in gradients.items()}
            audit = audit and audit._replace(max_difference=float(np.ldexp(audit.max_difference, exponent)))
    return Measurement(
        problem=guarded,
        component=piece,
        gradients=gradients,
        output=ground.output,
        output_bound=ground.output_bar,
        kink_exclusion=ground.kinks,
        automatic_step=method.step == "auto",
        cross_check=audit,
        black_box=own is not None,
        interrupted=interrupted,
    )


def with_sigma_error(measured: Measurement, sigma_error: FloatArray) -> Measurement:
    """Return a measurement for code whose sigma is known only to within a relative error.

    A sigma that is off by a share d of itself changes each of the three terms of dx by at most 3d, and dgamma by d.

    Parameters
    ----------
    measured : Measurement
        For the sigma of the reference.
    sigma_error : array, shape (H,)
        The error of each unit, relative, in units of the roundoff of the code under test over float64's.
    """
    # An entry of X depends on every unit whose gamma is not 0.
    worst = {"X": sigma_error[measured.problem.gamma != 0].max(initial=0.0)}
    gradients = dict(measured.gradients)
    for name, gradient in measured.gradients.items():
        if name != "beta":
            with np.errstate(invalid="ignore"):
                unknown = np.where(
                    gradient.term_size > 0, SIGMA_TERMS * worst.get(name, sigma_error) * gradient.term_size, 0.0
                )
            conditioning = gradient.conditioning + unknown
            gradients[name] = replace(gradient, conditioning=conditioning, dominant_cause=lambda: Cause.CONDITIONING)
    return replace(measured, gradients=gradients)


def _generator(problem: Problem) -> np.random.Generator:
    """Return what draws the entries of a sample or an audit: not the stream of the problem."""
    return np.random.default_rng([problem.seed or 0, 1])


def _scaled(problem: Problem) -> tuple[Problem, int, float]:
    """Scale dout by a power of two to a maximum of about 1 if something made of it could leave float64.

    A gradient is linear in dout, so that this is exact: dout is not divided by so much that an entry would underflow.
    Returns the problem, the exponent to scale its gradients by, and the ``least`` of ``compute_bounds``.
    """
    magnitude = np.abs(problem.dout)
    of_unit = magnitude.max(axis=0)
    live = of_unit[of_unit > 0]
    if not live.size:
        return problem, 0, 0.0
    exponent, tiny = 0, bool(live.min() < MIN_DOUT_OF_UNIT)
    if tiny or not MIN_DOUT <= live.max() <= MAX_DOUT:
        exponent = math.frexp(live.max())[1]
        smallest = math.frexp(magnitude[magnitude > 0].min())[1]
        exponent = min(exponent, max(smallest - np.finfo(np.float64).minexp - 1, 0))
    least = math.ldexp(LEAST, -exponent) if tiny else 0.0
    return replace(problem, dout=np.ldexp(problem.dout, -exponent)), exponent, least


def _times_power_of_2(gradient: NumericalGradient, exponent: int) -> NumericalGradient:
    scaled = ("value", "error_bound", "conditioning", "term_size")
    return replace(gradient, **{name: np.ldexp(getattr(gradient, name), exponent) for name in scaled})


def _reduce_steps(ground: MeasurementPlan) -> MeasurementPlan:
    """Take smaller steps, for a forward pass that may bend on a smaller scale than batch norm."""
    rounding = {name: bar / STEP_REDUCTION for name, bar in ground.bars.rounding.items()}
    steps = {name: STEP_REDUCTION * step for name, step in ground.steps.items()}
    return replace(ground, steps=steps, bars=ground.bars._replace(rounding=rounding))


def plan_measurement(
    problem: Problem,
    piece: Component,
    method: CheckOptions,
    names: Sequence[str],
    *,
    bn_eps: BnEps | None = None,
    roundoff_factor: float = 1.0,
    least: float = 0.0,
) -> MeasurementPlan:
    """Choose the steps, and take out of the loss what they or rounding may carry across ReLU's kink.

    ``bn_eps`` and ``roundoff_factor`` are those of ``measure``, ``least`` is that of ``compute_bounds``.
    """
    scheme = get_scheme(method.scheme)
    eps: BnEps = problem.bn_eps if bn_eps is None else bn_eps
    fixed = None if isinstance(method.step, str) else fixed_steps(method.step, piece.inputs)
    never = np.zeros(problem.dout.shape, bool)
    if piece in (AFFINE, RELU):
        base = BasePoint.of(problem, piece, eps) if piece is RELU else None
        arrays = piece.arrays(problem) if base is None else {"y": base.y}
        steps = fixed or linear_steps(problem, piece, scheme, arrays)
        near, active = never, ~never
        if base is not None:
            reach = GUARD_SAFETY_FACTOR * scheme.max_multiple * steps["y"]
            near, active = np.abs(base.y) <= reach + rounding_of_y(base, roundoff_factor), base.y > 0
        guarded = replace(problem, dout=np.where(near, 0.0, problem.dout))
        return MeasurementPlan(
            problem=guarded,
            piece=piece,
            scheme=scheme,
            steps=steps,
            bars=linear_bars(guarded, piece, scheme, steps, names, arrays, least),
            kinks=_kinks(near, active, problem.dout),
            local=lambda _: linear_gradients(guarded, piece, scheme, steps, names, arrays),
            output=piece.forward(eps)(arrays),
            # ReLU rounds nothing, but code may round its input.
            output_bar=UNIT_ROUNDOFF * np.abs(base.y)
            if base is not None
            else (8 + problem.D) * UNIT_ROUNDOFF * magnitude(problem),
            bn_eps=eps,
            roundoff_factor=roundoff_factor,
        )
    base = BasePoint.of(problem, piece, eps)
    steps = fixed or automatic_steps(base, scheme)
    near = can_cross_kink(base, scheme, steps, roundoff_factor) if piece is NETWORK else never
    point = base.excluding(near)
    return MeasurementPlan(
        problem=point.problem,
        piece=piece,
        scheme=scheme,
        steps=steps,
        bars=compute_bounds(point, scheme, steps, names, roundoff_factor, least),
        kinks=_kinks(near, base.y > 0 if piece is NETWORK else ~never, problem.dout),
        local=lambda progress: local_gradients(point, scheme, steps, names, progress),
        output=np.maximum(base.y, 0.0) if piece is NETWORK else base.y,
        output_bar=rounding_of_output(base, roundoff_factor),
        bn_eps=eps,
        roundoff_factor=roundoff_factor,
    )


def _kinks(near: BoolArray, active: BoolArray, dout: FloatArray) -> KinkExclusion:
    alive = (active & ~near & (dout != 0)).any(axis=0)
    return KinkExclusion(int(near.sum()), near.size, int((~alive).sum()))


def rounding_of_output(base: BasePoint, roundoff_factor: float) -> FloatArray:
    """Bound how far apart two forward passes may come out, in units of their roundoff over float64's, (N,H)."""
    gamma, beta, xhat, kappa = np.abs(base.problem.gamma), np.abs(base.problem.beta), base.abs_xhat, base.kappa
    factor = (8 + base.problem.N + base.problem.D) * UNIT_ROUNDOFF
    scale = factor * gamma * (1 + kappa)
    bound: FloatArray = xhat * scale
    bound += scale + factor * beta
    bound[:, lost_sigma(kappa, base.problem.N, roundoff_factor)] = np.inf
    return bound


def _run_full_engine(
    ground: MeasurementPlan,
    forward: Forward,
    entries: Mapping[str, npt.NDArray[np.intp]],
    progress: Progress,
    base_output: FloatArray | None = None,
) -> tuple[dict[str, SampledGradient], bool]:
    g = ground
    return full_gradients(
        forward, g.piece, g.problem, g.scheme, g.steps, entries, progress, base_output=base_output, bn_eps=g.bn_eps
    )


def _estimate_black_box_bounds(ground: MeasurementPlan, at: Sequence[Mapping[str, SampledGradient]]) -> ErrorBounds:
    """Return the bars for a forward pass that is not ours, from estimates at s, 2s and 1.01 s.

    Nothing is known of it, so both parts are measured. Its truncation error at 2s is at least
    half as large again as at s, so twice the difference bounds it; and estimates at nearly the
    same step scatter as its rounding does.
    """
    truncation, rounding = {}, {}
    conditioning, analytic, size = dict(ground.bars.conditioning), dict(ground.bars.analytic), dict(ground.bars.size)
    for name, found in at[0].items():
        # Gradients that many times larger than batch norm's terms have a scale that is as much
        # smaller, by which cancellation is larger as well.
        largest, terms = np.abs(found.value[found.evaluated]).max(initial=0.0), size[name].max()
        steeper = max(1.0, largest / terms) if terms and np.isfinite(largest) else 1.0
        conditioning[name], analytic[name] = steeper**2 * conditioning[name], steeper**2 * analytic[name]
        size[name] = steeper * size[name]
        twice, beside = at[1][name], at[2][name]
        differ = 2 * np.abs(found.value - twice.value) + ground.bars.truncation[name]
        coarse = differ > LARGEST_DIFFERENCE * size[name]
        truncation[name] = np.where(twice.unresolved | beside.unresolved | coarse, np.inf, differ)
        scatter = np.where(found.evaluated, np.abs(found.value - beside.value), 0.0)
        spread = float(np.sqrt((scatter * scatter).mean()))  # of all entries: a few are too small a sample
        rounding[name] = ground.bars.rounding[name] + SCATTER_SAFETY_FACTOR * spread
    return ErrorBounds(truncation, rounding, conditioning, analytic, size)


def _cross_check(
    ground: MeasurementPlan, values: Mapping[str, FloatArray], most: int, rng: np.random.Generator
) -> CrossCheck:
    """Evaluate random entries by whole forward passes and hold the local values against them.

    ``most`` entries of X at most, one pair of passes each; of each other array one in every column,
    together. Both evaluate the same quotients at the same steps, so they share the truncation
    error and may differ by rounding, and each by the conditioning of its own base point.
    """
    p, bars, piece = ground.problem, ground.bars, ground.piece
    forward = piece.forward(ground.bn_eps)
    rows = {name: rng.integers(len(value), size=p.H) for name, value in values.items() if name != "X"}
    evaluated = perturb_one_entry_per_column(
        forward, piece, p, ground.scheme, ground.steps, rows, base_output=ground.output, bn_eps=ground.bn_eps
    )
    if "X" in values:
        count = min(most, max(MIN_CROSS_CHECK_ENTRIES, CROSS_CHECK_PRODUCTS // (p.N * p.D * p.H)))
        drawn = {"X": _draw(rng, values["X"].size, count)}
        of_x, interrupted = _run_full_engine(ground, forward, drawn, silent, base_output=ground.output)
        if interrupted:  # half an audit audits nothing
            raise KeyboardInterrupt
        evaluated |= of_x
    differences, shares_of_bar = [np.zeros(0)], [np.zeros(0)]
    for name, found in evaluated.items():
        bar = np.broadcast_to(bars.rounding[name] + 2 * bars.conditioning[name], found.value.shape)
        usable = found.evaluated & ~found.unresolved & np.isfinite(bar + bars.truncation[name])
        bar = bar[usable]
        difference = np.abs(found.value - values[name])[usable]
        differences.append(difference)
        shares_of_bar.append(_ratio(difference, bar))
    difference, share = np.concatenate(differences), np.concatenate(shares_of_bar)
    return CrossCheck(len(share), float(difference.max(initial=0.0)), float(share.max(initial=0.0)))


def _assemble_gradients(
    ground: MeasurementPlan, evaluated: Mapping[str, SampledGradient], asked: Mapping[str, int], own: bool
) -> dict[str, NumericalGradient]:
    # Batch norm cancels b; and if N = 1, h - mu is 0 whatever h is.
    zeros = {"b"} if ground.piece is NETWORK and not own else set()
    if ground.problem.N == 1 and ground.piece in (NETWORK, BATCHNORM) and not own:
        zeros = {"X", "W", "b", "gamma", "h"}
    gradients, bars = {}, ground.bars
    for name, found in evaluated.items():
        analytic, size = bars.analytic[name], bars.size[name]
        error_bar = bars.truncation[name] + bars.rounding[name] + bars.conditioning[name]
        parts = {
            Cause.TRUNCATION: bars.truncation[name],
            Cause.ROUNDING: bars.rounding[name],
            Cause.CONDITIONING: analytic,
        }
        if found.unresolved.any():
            error_bar[found.unresolved] = np.inf
        gradients[name] = NumericalGradient(
            value=found.value,
            evaluated=found.evaluated,
            requested=asked[name],
            error_bound=error_bar,
            conditioning=analytic,
            term_size=size,
            exact_zero=name in zeros,
            dominant_cause=partial(_dominant_cause, parts, ground.roundoff_factor, found.evaluated, size),
        )
    return gradients


def _dominant_cause(
    parts: Mapping[Cause, FloatArray], roundoff_factor: float, done: BoolArray, size: FloatArray
) -> Cause:
    """Return the largest part of the tolerance in the entry with the largest tolerance in terms of size.

    The conditioning counts as often as the arithmetic of the code under test is coarser than float64.
    """
    parts = {**parts, Cause.CONDITIONING: roundoff_factor * parts[Cause.CONDITIONING]}
    share = np.where(done & (size > 0), _ratio(sum(parts.values(), np.zeros(1)), size), -1.0)
    where = np.unravel_index(int(np.argmax(share)), share.shape)
    return max(parts, key=lambda cause: float(np.broadcast_to(parts[cause], share.shape)[where]))


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Return numerator / denominator with 0/0 = 0; what is left over nothing is infinite."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = numerator / denominator
    return np.where(numerator == 0, 0.0, ratio)


def _draw(rng: np.random.Generator, size: int, count: int | None) -> npt.NDArray[np.intp]:
    """Return flat indices in order: all of them, or ``count`` drawn without replacement."""
    if count is None or count >= size:
        return np.arange(size, dtype=np.intp)
    return np.sort(rng.choice(size, count, replace=False)).astype(np.intp)


def _everything(value: FloatArray) -> SampledGradient:
    return SampledGradient(value, np.ones(value.shape, bool), np.zeros(value.shape, bool))
