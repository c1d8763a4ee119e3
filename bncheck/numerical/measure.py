"""From a problem to the numerical gradients of a piece, with error bars: guard, evaluate, audit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bncheck.method import Method
from bncheck.numerical.bars import Bars, PerParameter, bars_of
from bncheck.numerical.basepoint import BasePoint, U
from bncheck.numerical.full import Evaluated, full_gradients
from bncheck.numerical.kinks import within_reach
from bncheck.numerical.linear import linear_bars, linear_gradients, linear_steps, magnitude
from bncheck.numerical.local import local_gradients
from bncheck.numerical.schemes import Scheme, scheme_named
from bncheck.numerical.steps import Steps, automatic_steps, fixed_steps
from bncheck.pieces import AFFINE, BATCHNORM, NETWORK, RELU, Forward, Piece
from bncheck.problem import FloatArray, Problem
from bncheck.progress import Progress, silent
from bncheck.results import Audit, Cause, Kinks, Measurement, NumericalGradient

# An audit takes fewer entries where a forward pass is dear, down to the minimum: about as many
# products as AUDIT_COST.
LEAST_AUDIT, AUDIT_COST = 8, 2**29


@dataclass(frozen=True, slots=True)
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
    one_pass_bar: FloatArray  # ... and if its variance is E[x^2] - E[x]^2, with kappa^2 for kappa
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
    rng = np.random.default_rng([problem.seed or 0, 1])  # not the stream of the problem
    audit, interrupted = None, False
    if own is not None or method.engine == "full":
        arrays = piece.arrays(problem)
        entries = {name: _draw(rng, arrays[name].size, method.sample) for name in names}
        forward = own or piece.forward(problem.bn_eps)
        evaluated, interrupted = _by_full(ground, forward, entries, progress)
        asked = {name: len(flat) for name, flat in entries.items()}
        if own is not None and not interrupted:
            twice = replace(ground, steps={name: 2 * s for name, s in ground.steps.items()})
            again, interrupted = _by_full(twice, own, entries, silent)
            ground = replace(ground, bars=_bars_of_another(ground, own, evaluated, again))
    else:
        values = ground.local(progress)
        evaluated = {name: _everything(value) for name, value in values.items()}
        asked = {name: value.size for name, value in values.items()}
        audit = _audit(ground, values, method.audit, rng)
    return Measurement(
        problem=ground.problem,
        piece=piece,
        gradients=_with_bars(ground, evaluated, asked),
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
        bar = (8 + np.sqrt(problem.D)) * U * magnitude(problem) * (piece is AFFINE)
        return Ground(
            problem=guarded,
            piece=piece,
            scheme=scheme,
            steps=steps,
            bars=linear_bars(guarded, piece, scheme, steps, names),
            kinks=_kinks(near, active),
            local=lambda _: linear_gradients(guarded, piece, scheme, steps, names),
            output=output,
            output_bar=bar,
            one_pass_bar=bar,
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
        kinks=_kinks(near, base.y > 0 if piece is NETWORK else ~never),
        local=lambda progress: local_gradients(point, scheme, steps, names, progress),
        output=np.maximum(base.y, 0.0) if piece is NETWORK else base.y,
        output_bar=_rounding_of_batchnorm(base, 1.0),
        one_pass_bar=_rounding_of_batchnorm(base, 1 + base.kappa),
        one_pass_noise=float(1 + base.kappa.max()),
    )


def _kinks(near: npt.NDArray[np.bool_], active: npt.NDArray[np.bool_]) -> Kinks:
    alive = (active & ~near).any(axis=0)
    return Kinks(int(near.sum()), near.size, int((~alive).sum()))


def _rounding_of_batchnorm(base: BasePoint, noise: FloatArray | float) -> FloatArray:
    """Bound how far apart two float64 forward passes may come out, (N,H)."""
    gamma, beta = np.abs(base.problem.gamma), np.abs(base.problem.beta)
    factor = 8 + np.sqrt(base.problem.N + base.problem.D)
    bound: FloatArray = factor * U * (gamma * noise * (1 + base.kappa) * (1 + np.abs(base.xhat)) + beta)
    return bound


def _by_full(
    ground: Ground, forward: Forward, entries: Mapping[str, npt.NDArray[np.intp]], progress: Progress
) -> tuple[dict[str, Evaluated], bool]:
    return full_gradients(forward, ground.piece, ground.problem, ground.scheme, ground.steps, entries, progress)


def _bars_of_another(
    ground: Ground, own: Forward, at_step: Mapping[str, Evaluated], at_twice: Mapping[str, Evaluated]
) -> Bars:
    """Return the bars for a forward pass that is not ours.

    The error falls as step^order, so estimates at two steps differ by 2^order - 1 times the error
    of the better one; doubled, and with batch norm's own bound for what both leave out. What is
    larger than batch norm's output is rounded as much more coarsely.
    """
    piece, bars = ground.piece, ground.bars
    arrays = {name: a for name, a in piece.arrays(ground.problem).items() if name in piece.beside(piece.inputs[0])}
    largest = float(np.abs(own(arrays)).max()), float(np.abs(ground.output).max())
    larger = max(1.0, largest[0] / largest[1]) if largest[1] else 1.0
    truncation = {}
    for name, found in at_step.items():
        differ = np.abs(found.value - at_twice[name].value) / (2**ground.scheme.order - 1)
        differ = np.where(at_twice[name].unresolved, np.inf, differ)
        truncation[name] = 2 * differ + larger * bars.truncation[name]

    def scaled(part: PerParameter) -> PerParameter:
        return {name: larger * value for name, value in part.items()}

    return Bars(truncation, scaled(bars.rounding), scaled(bars.conditioning), scaled(bars.size))


def _audit(ground: Ground, values: Mapping[str, FloatArray], most: int, rng: np.random.Generator) -> Audit:
    """Evaluate random entries by whole forward passes and hold the local values against them.

    Both evaluate the same quotients at the same steps, so they share the truncation error and
    may differ by rounding alone.
    """
    p, bars = ground.problem, ground.bars
    total = min(most, max(LEAST_AUDIT, AUDIT_COST // (p.N * p.D * p.H)))
    # Shared out evenly; what the small gradients cannot take, the large ones do.
    entries: dict[str, npt.NDArray[np.intp]] = {}
    for name in sorted(values, key=lambda name: values[name].size):
        even = -(-total // (len(values) - len(entries)))
        entries[name] = _draw(rng, values[name].size, even)
        total -= len(entries[name])
    forward = ground.piece.forward(p.bn_eps)
    evaluated, interrupted = _by_full(ground, forward, entries, silent)
    if interrupted:  # half an audit audits nothing
        raise KeyboardInterrupt
    differences, shares_of_bar = [np.zeros(0)], [np.zeros(0)]
    for name, found in evaluated.items():
        usable = found.done & ~found.unresolved
        bar = np.broadcast_to(bars.rounding[name] + bars.conditioning[name], usable.shape)[usable]
        difference = np.abs(found.value - values[name])[usable]
        differences.append(difference)
        shares_of_bar.append(_ratio(difference, bar))
    difference, share = np.concatenate(differences), np.concatenate(shares_of_bar)
    return Audit(len(share), float(difference.max(initial=0.0)), float(share.max(initial=0.0)))


def _with_bars(
    ground: Ground, evaluated: Mapping[str, Evaluated], asked: Mapping[str, int]
) -> dict[str, NumericalGradient]:
    # Batch norm cancels b; and if N = 1, h - mu is 0 whatever h is.
    zeros = {NETWORK: {"b"}}.get(ground.piece, set())
    if ground.problem.N == 1 and ground.piece in (NETWORK, BATCHNORM):
        zeros = {"X", "W", "b", "gamma", "h"}
    gradients = {}
    for name, found in evaluated.items():
        conditioning, size = ground.bars.conditioning[name], ground.bars.size[name]
        parts = {
            Cause.TRUNCATION: ground.bars.truncation[name],
            Cause.ROUNDING: ground.bars.rounding[name],
            Cause.CONDITIONING: conditioning,
        }
        error_bar = np.where(found.unresolved, np.inf, sum(parts.values()))
        share = np.where(found.done & (size > 0), _ratio(error_bar, size), -1.0)
        where = np.unravel_index(int(np.argmax(share)), share.shape)
        gradients[name] = NumericalGradient(
            value=found.value,
            done=found.done,
            asked=asked[name],
            error_bar=error_bar,
            conditioning=conditioning,
            size=size,
            zero=name in zeros,
            widest=max(parts, key=lambda cause: np.broadcast_to(parts[cause], share.shape)[where]),
        )
    return gradients


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
