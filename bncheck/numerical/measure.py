"""From a problem to the numerical gradients of a piece, with error bars: guard, evaluate, audit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from bncheck.method import Method
from bncheck.numerical.bars import Bars, bars_of
from bncheck.numerical.basepoint import BasePoint, U
from bncheck.numerical.full import BoolArray, Evaluated, full_gradients, one_per_column
from bncheck.numerical.kinks import within_reach
from bncheck.numerical.linear import linear_bars, linear_gradients, linear_steps, magnitude
from bncheck.numerical.local import local_gradients
from bncheck.numerical.schemes import Scheme, scheme_named
from bncheck.numerical.steps import Steps, automatic_steps, fixed_steps
from bncheck.pieces import AFFINE, BATCHNORM, NETWORK, RELU, Forward, Piece
from bncheck.problem import FloatArray, Problem
from bncheck.progress import Progress, silent
from bncheck.results import Audit, Cause, Kinks, Measurement, NumericalGradient

# An audit takes fewer entries of X where a forward pass is dear, down to the minimum: about as many
# products as AUDIT_COST.
LEAST_AUDIT, AUDIT_COST = 8, 2**21
# The share of the automatic steps at which one is differentiated.
FINER = 1 / 8
# Where two steps differ by more than this share, the smaller is not small enough to tell anything.
LARGEST_DIFFERENCE = 1e-3
# How many times its scatter the rounding of a forward pass that is not ours is taken to be.
SCATTERS = 32.0


# glibc hands memory back to the system once 128 KB lie free at the heap's end, takes arrays larger than
# that from the system one by one, and every page of what comes anew is a fault: a third of a check's
# time. Making and freeing an array of nearly 32 MB, the most that it heeds, has it keep twice as much.
np.empty(2**25 - 2**16, np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What the engines work on: the guarded problem, the steps, and the bars."""

    problem: Problem
    piece: Piece
    scheme: Scheme
    steps: Steps  # by parameter name; they broadcast against the parameter
    bars: Bars
    kinks: Kinks
    local: Callable[[Progress], dict[str, FloatArray]]  # the local engine, every entry
    output: FloatArray  # the piece's own output
    output_bar: FloatArray  # how far from it another right forward pass may come out ...
    one_pass_bar: Callable[[], FloatArray]  # ... and if its variance is E[x^2] - E[x]^2, with kappa^2 for kappa
    one_pass_noise: float


def measure(
    problem: Problem,
    piece: Piece,
    method: Method,
    names: Sequence[str],
    *,
    own: Forward | None = None,
    progress: Progress = silent,
) -> Measurement:
    """Take the gradients of a piece for the named inputs, each entry with its error bar.

    ``own`` is a forward pass that is not the reference's: then that is differentiated, by the
    full engine, and the truncation is measured at two steps instead of bounded.
    """
    ground = prepare(problem, piece, method, names)
    if own is not None and method.step == "auto":
        ground = _finer(ground)
    audit, interrupted = None, False
    if own is not None or method.engine == "full":
        arrays = piece.arrays(problem)
        rng = _generator(problem)
        entries = {name: _draw(rng, arrays[name].size, method.sample) for name in names}
        forward = own or piece.forward(problem.bn_eps)
        evaluated, interrupted = _by_full(ground, forward, entries, progress)
        asked = {name: len(flat) for name, flat in entries.items()}
        if own is not None and not interrupted:
            found = [evaluated]
            for multiple in (2.0, 1.01):
                other = replace(ground, steps={name: multiple * s for name, s in ground.steps.items()})
                again, stopped = _by_full(other, own, entries, silent)
                interrupted |= stopped
                found.append(again)
            ground = replace(ground, bars=_bars_of_another(ground, found))
    else:
        values = ground.local(progress)
        ground = replace(ground, local=lambda _: values)  # what it worked with is large
        evaluated = {name: _everything(value) for name, value in values.items()}
        asked = {name: value.size for name, value in values.items()}
        audit = _audit(ground, values, method.audit, _generator(problem)) if method.audit else None
    return Measurement(
        problem=ground.problem,
        piece=piece,
        gradients=_with_bars(ground, evaluated, asked, own is not None),
        output=ground.output,
        output_bar=ground.output_bar,
        one_pass_bar=ground.one_pass_bar,
        one_pass_noise=ground.one_pass_noise,
        kinks=ground.kinks,
        automatic=method.step == "auto",
        audit=audit,
        own=own is not None,
        interrupted=interrupted,
    )


def _generator(problem: Problem) -> np.random.Generator:
    """Return what draws the entries of a sample or an audit: not the stream of the problem."""
    return np.random.default_rng([problem.seed or 0, 1])


def _finer(ground: Ground) -> Ground:
    """Take smaller steps, for a forward pass that may bend on a smaller scale than batch norm."""
    rounding = {name: bar / FINER for name, bar in ground.bars.rounding.items()}
    steps = {name: FINER * step for name, step in ground.steps.items()}
    return replace(ground, steps=steps, bars=ground.bars._replace(rounding=rounding))


def prepare(problem: Problem, piece: Piece, method: Method, names: Sequence[str]) -> Ground:
    """Choose the steps, and take out of the loss what they may carry across ReLU's kink."""
    scheme = scheme_named(method.scheme)
    fixed = None if isinstance(method.step, str) else fixed_steps(method.step, piece.inputs)
    never = np.zeros(problem.dout.shape, bool)
    if piece in (AFFINE, RELU):
        steps = fixed or linear_steps(problem, piece, scheme)
        output = piece.forward(0.0)(piece.arrays(problem))
        near, active = never, ~never
        if piece is RELU:
            y = piece.arrays(problem)["y"]
            near, active = np.abs(y) <= 1.01 * scheme.reach * steps["y"], y > 0
        guarded = replace(problem, dout=np.where(near, 0.0, problem.dout))
        bar = (8 + problem.D) * U * magnitude(problem) * (piece is AFFINE)
        return Ground(
            problem=guarded,
            piece=piece,
            scheme=scheme,
            steps=steps,
            bars=linear_bars(guarded, piece, scheme, steps, names),
            kinks=_kinks(near, active, problem.dout),
            local=lambda _: linear_gradients(guarded, piece, scheme, steps, names),
            output=output,
            output_bar=bar,
            one_pass_bar=lambda: bar,
            one_pass_noise=1.0,
        )
    base = BasePoint.of(problem, piece)
    steps = fixed or automatic_steps(base, scheme)
    near = within_reach(base, scheme, steps) if piece is NETWORK else never
    point = base.guarded(near)
    return Ground(
        problem=point.problem,
        piece=piece,
        scheme=scheme,
        steps=steps,
        bars=bars_of(point, scheme, steps, names),
        kinks=_kinks(near, base.y > 0 if piece is NETWORK else ~never, problem.dout),
        local=lambda progress: local_gradients(point, scheme, steps, names, progress),
        output=np.maximum(base.y, 0.0) if piece is NETWORK else base.y,
        output_bar=_rounding_of_batchnorm(base),
        one_pass_bar=lambda: _rounding_of_batchnorm(BasePoint.of(problem, piece), one_pass=True),
        one_pass_noise=float(1 + base.kappa.max()),
    )


def _kinks(near: BoolArray, active: BoolArray, dout: FloatArray) -> Kinks:
    alive = (active & ~near & (dout != 0)).any(axis=0)
    return Kinks(int(near.sum()), near.size, int((~alive).sum()))


def _rounding_of_batchnorm(base: BasePoint, *, one_pass: bool = False) -> FloatArray:
    """Bound how far apart two float64 forward passes may come out, (N,H).

    A variance E[x^2] - E[x]^2 errs by kappa^2 u of itself, and moves xhat by half of that.
    """
    gamma, beta, xhat, kappa = np.abs(base.problem.gamma), np.abs(base.problem.beta), base.abs_xhat, base.kappa
    factor = (8 + base.problem.N + base.problem.D) * U
    scale = factor * gamma * (1 + kappa)
    bound: FloatArray = xhat * (scale * (1 + kappa) if one_pass else scale)
    bound += scale + factor * beta
    return bound


def _by_full(
    ground: Ground,
    forward: Forward,
    entries: Mapping[str, npt.NDArray[np.intp]],
    progress: Progress,
    at_rest: FloatArray | None = None,
) -> tuple[dict[str, Evaluated], bool]:
    g = ground
    return full_gradients(forward, g.piece, g.problem, g.scheme, g.steps, entries, progress, at_rest=at_rest)


def _bars_of_another(ground: Ground, at: Sequence[Mapping[str, Evaluated]]) -> Bars:
    """Return the bars for a forward pass that is not ours, from estimates at s, 2s and 1.01 s.

    Nothing is known of it, so both parts are measured. Its truncation error at 2s is at least
    half as large again as at s, so twice the difference bounds it; and estimates at nearly the
    same step scatter as its rounding does.
    """
    truncation, rounding, conditioning, size = {}, {}, dict(ground.bars.conditioning), dict(ground.bars.size)
    for name, found in at[0].items():
        # Gradients that many times larger than batch norm's terms have a scale that is as much
        # smaller, by which cancellation is larger as well.
        largest, terms = np.abs(found.value[found.done]).max(initial=0.0), size[name].max()
        steeper = max(1.0, largest / terms) if terms and np.isfinite(largest) else 1.0
        conditioning[name], size[name] = steeper**2 * conditioning[name], steeper * size[name]
        twice, beside = at[1][name], at[2][name]
        differ = 2 * np.abs(found.value - twice.value) + ground.bars.truncation[name]
        coarse = differ > LARGEST_DIFFERENCE * size[name]
        truncation[name] = np.where(twice.unresolved | beside.unresolved | coarse, np.inf, differ)
        scatter = np.where(found.done, np.abs(found.value - beside.value), 0.0)
        spread = float(np.sqrt((scatter * scatter).mean()))  # of all entries: a few are too small a sample
        rounding[name] = ground.bars.rounding[name] + SCATTERS * spread
    return Bars(truncation, rounding, conditioning, size)


def _audit(ground: Ground, values: Mapping[str, FloatArray], most: int, rng: np.random.Generator) -> Audit:
    """Evaluate random entries by whole forward passes and hold the local values against them.

    ``most`` entries of X at most, one pair of passes each; of each other array one in every column,
    together. Both evaluate the same quotients at the same steps, so they share the truncation
    error and may differ by rounding alone.
    """
    p, bars, piece = ground.problem, ground.bars, ground.piece
    forward = piece.forward(p.bn_eps)
    rows = {name: rng.integers(len(value), size=p.H) for name, value in values.items() if name != "X"}
    evaluated = one_per_column(forward, piece, p, ground.scheme, ground.steps, rows, at_rest=ground.output)
    if "X" in values:
        count = min(most, max(LEAST_AUDIT, AUDIT_COST // (p.N * p.D * p.H)))
        drawn = {"X": _draw(rng, values["X"].size, count)}
        of_x, interrupted = _by_full(ground, forward, drawn, silent, at_rest=ground.output)
        if interrupted:  # half an audit audits nothing
            raise KeyboardInterrupt
        evaluated |= of_x
    differences, shares_of_bar = [np.zeros(0)], [np.zeros(0)]
    for name, found in evaluated.items():
        bar = np.broadcast_to(bars.rounding[name] + bars.conditioning[name], found.value.shape)
        usable = found.done & ~found.unresolved & np.isfinite(bar + bars.truncation[name])
        bar = bar[usable]
        difference = np.abs(found.value - values[name])[usable]
        differences.append(difference)
        shares_of_bar.append(_ratio(difference, bar))
    difference, share = np.concatenate(differences), np.concatenate(shares_of_bar)
    return Audit(len(share), float(difference.max(initial=0.0)), float(share.max(initial=0.0)))


def _with_bars(
    ground: Ground, evaluated: Mapping[str, Evaluated], asked: Mapping[str, int], own: bool
) -> dict[str, NumericalGradient]:
    # Batch norm cancels b; and if N = 1, h - mu is 0 whatever h is.
    zeros = {"b"} if ground.piece is NETWORK and not own else set()
    if ground.problem.N == 1 and ground.piece in (NETWORK, BATCHNORM) and not own:
        zeros = {"X", "W", "b", "gamma", "h"}
    gradients = {}
    for name, found in evaluated.items():
        conditioning, size = ground.bars.conditioning[name], ground.bars.size[name]
        parts = {
            Cause.TRUNCATION: ground.bars.truncation[name],
            Cause.ROUNDING: ground.bars.rounding[name],
            Cause.CONDITIONING: conditioning,
        }
        error_bar = parts[Cause.TRUNCATION] + parts[Cause.ROUNDING] + conditioning
        if found.unresolved.any():
            error_bar[found.unresolved] = np.inf
        gradients[name] = NumericalGradient(
            value=found.value,
            done=found.done,
            asked=asked[name],
            error_bar=error_bar,
            conditioning=conditioning,
            size=size,
            zero=name in zeros,
            widest=partial(_widest, parts, error_bar, found.done, size),
        )
    return gradients


def _widest(parts: Mapping[Cause, FloatArray], error_bar: FloatArray, done: BoolArray, size: FloatArray) -> Cause:
    """Return what dominates the error bar where it is widest in terms of size."""
    share = np.where(done & (size > 0), _ratio(error_bar, size), -1.0)
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


def _everything(value: FloatArray) -> Evaluated:
    return Evaluated(value, np.ones(value.shape, bool), np.zeros(value.shape, bool))
