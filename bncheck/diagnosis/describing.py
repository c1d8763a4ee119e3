"""What can be said of a wrong array that no known mistake gives: only what is true of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bncheck.comparison import coarseness
from bncheck.diagnosis.evidence import OUTPUT, ROUNDINGS, Evidence, norm
from bncheck.findings import Terms
from bncheck.mistakes.workings import Workings
from bncheck.numerical.basepoint import U
from bncheck.problem import FloatArray
from bncheck.results import BoolArray, Case

# What is left of an array may be this share of it where a fit is called exact, and in a coarser
# type that many of its roundings, up to a share that would let other numbers pass.
EXACT, EXACT_ROUNDINGS, LARGEST_EXACT = 1e-7, 32.0, 1e-5
# Errors of every entry by less than this share of its terms, on every problem, may be rounding.
LARGEST_ROUNDING = 1e-6
# Rows that a column must have for three coefficients to say anything.
LEAST_ROWS = 5
# With fewer entries than that many times the patterns, chance looks like one of them.
FEW = 8
# Entries are called right beside wrong ones if they are off by no more than this share of what those are.
CLEARLY = 0.01
NEARLY_ONE = 1e-3
TILES = (128, 64, 32, 16, 8)
ELSEWISE = "another in each unit"


@dataclass(frozen=True, slots=True)
class Beside:
    """A wrong array beside the right one, of one problem; where only some entries are wrong, those."""

    found: FloatArray
    right: FloatArray
    w: Workings  # the right pass
    where: str  # which rows or columns are wrong; empty for all
    exact: float  # the share of it that a fit may leave

    @classmethod
    def of(cls, evidence: Evidence, name: str, case: Case) -> "Beside":
        """Put what was returned on a problem beside the right values, or the numerical ones."""
        w = evidence.right[evidence.number(case)]
        if name == OUTPUT:
            return cls(np.asarray(case.answer.output, float), case.measured.output, w, "", EXACT)
        g, measured = case.gradients[name], case.measured.gradients[name]
        coarser = coarseness(case.answer.gradients[name], measured.zero)
        exact = min(max(EXACT, EXACT_ROUNDINGS * coarser * U), LARGEST_EXACT)
        if case.measured.own and g.checked < g.entries:
            return cls(g.analytic[measured.done], g.numerical[measured.done], w, "", exact)
        right = g.numerical if case.measured.own else evidence.value(w, name)
        allowed = g.tolerance if case.measured.own else ROUNDINGS * coarser * measured.conditioning
        where = _where(_clearly_wrong(np.abs(g.analytic - right), allowed, measured.size))
        wrong = ~(np.abs(g.analytic - right) <= allowed)
        return cls(g.analytic[wrong], right[wrong], w, where, exact) if where else cls(g.analytic, right, w, "", exact)


def described(evidence: Evidence, name: str, terms: Terms | None) -> tuple[str, ...]:
    """Return sentences about a wrong output or gradient, each true of it."""
    case = evidence.worst(name)
    if evidence.shapeless(case, name):
        return ()  # that is told already
    seen = Beside.of(evidence, name, case)
    where, there = ((seen.where,), " there") if seen.where else ((), "")
    finite = np.isfinite(seen.found)
    if not finite.all():
        return (*where, f"{(~finite).sum():,} of {finite.size:,} entries{there} are nan or infinite")
    if not seen.right.any() or (name != OUTPUT and case.gradients[name].zero):
        return (*where, f"it must be 0{there} and reaches {np.abs(seen.found).max():.1e}")
    factor = _factor(evidence, name, seen) if seen.found.size > 1 else ""
    if factor:
        return (*where, f"it is {factor} the right values{there}")
    if not seen.where:
        known = (
            _same_as(evidence, name, case) or _decay(evidence, name) or like_rounding(evidence, name) or said_of(terms)
        )
        if known:
            return (known,)
    off = norm(seen.found - seen.right) / norm(seen.right)
    return (*where, f"it differs from the right values{there} by {_percent(off)} of their norm")


def said_of(terms: Terms | None) -> str:
    """Say what the weights of the three terms are; nothing of none."""
    if terms is None:
        return ""
    if not terms.exact:
        return f"no weighting of the three terms gives it: {_percent(terms.unexplained)} of it is something else"
    return f"its three terms are weighted {', '.join(terms.told)}, where 1, 1, 1 is right"


def _everywhere(evidence: Evidence, name: str) -> list[Beside]:
    """Return an array beside the right one on every problem on which it is wrong; nothing if one has no such shape."""
    wrong = [c for c, o in zip(evidence.cases, evidence.observed, strict=True) if o[name].wrong]
    if any(evidence.shapeless(c, name) for c in wrong):
        return []
    return [Beside.of(evidence, name, c) for c in wrong]


def where_of(evidence: Evidence, name: str) -> str:
    """Say in which rows or columns the wrong entries of a gradient are, where not in all."""
    case = evidence.worst(name)
    return "" if evidence.shapeless(case, name) else Beside.of(evidence, name, case).where


def _of_terms(evidence: Evidence, name: str) -> bool:
    """Tell whether a gradient is made of the three terms of dx: dh, or where there is none dW and dX."""
    inner = name == "h" or (name in ("W", "X") and "h" not in evidence.names)
    return inner and evidence.piece.name != "affine"


def weights_of(evidence: Evidence, name: str) -> dict[int, FloatArray]:
    """Fit a gradient on the three terms of dx in each column, (H,3), by problem; only where that gives all of it.

    Of dX all columns are fitted together.
    """
    if not _of_terms(evidence, name):
        return {}
    found = {}
    for number, case in enumerate(evidence.cases):
        if case.measured.own or evidence.shapeless(case, name):
            continue
        seen, basis = Beside.of(evidence, name, case), _basis(evidence.right[number], name)
        if seen.where or not evidence.observed[number][name].wrong:
            continue
        whole = seen.found.ravel()[:, None], [b.ravel()[:, None] for b in basis]
        fits = list(_fits(*(whole if name == "X" else (seen.found, basis))))
        if all(fit is not None and fit.unexplained <= seen.exact for fit in fits):
            each = np.array([fit.coefficients for fit in fits if fit is not None])
            each[np.abs(each) <= seen.exact] = 0.0
            found[number] = np.broadcast_to(each, (case.measured.output.shape[1], 3))
    return found


def terms_of(evidence: Evidence, name: str) -> Terms | None:
    """Return the weights of dx's three terms in a gradient; None where it is not made of them, or wrong in part."""
    case, weights = evidence.worst(name), weights_of(evidence, name)
    shown = evidence.number(case)
    if shown in weights:
        order = sorted(weights, key=lambda number: number != shown)
        passes = [evidence.right[number] for number in order]
        direct, mean, variance = ([weights[number][:, term] for number in order] for term in range(3))
        told = _told(direct, passes), _told(mean, passes), _told(variance, passes)
        return Terms(_number(direct[0]), _number(mean[0]), _number(variance[0]), 0.0, True, told)
    if not _of_terms(evidence, name) or case.measured.own or evidence.shapeless(case, name):
        return None
    seen = Beside.of(evidence, name, case)
    basis = [b.ravel()[:, None] for b in _basis(seen.w, name)]
    fit = None if seen.where else next(_fits(seen.found.ravel()[:, None], basis))
    if fit is None:
        return None
    first, second, third = map(float, fit.coefficients)
    return Terms(first, second, third, fit.unexplained, False, (f"{first:.3f}", f"{second:.3f}", f"{third:.3f}"))


def _number(factor: FloatArray) -> float | None:
    """Return a factor that is the same in every unit, without the digits that rounding made; None for another."""
    return float(f"{factor[0]:.10g}") if _constant(factor, EXACT) else None


def _basis(w: Workings, name: str) -> list[FloatArray]:
    terms = (w.direct, w.mean_path + 0 * w.direct, w.variance_path)
    return [{"h": t, "W": w.X.T @ t, "X": t @ w.W.T}[name] for t in terms]


@dataclass(frozen=True, slots=True)
class _Fit:
    coefficients: FloatArray
    unexplained: float


def _fits(found: FloatArray, basis: Sequence[FloatArray]) -> Iterator[_Fit | None]:
    """Yield the least-squares fit of each column; None where it cannot be told."""
    for j in range(found.shape[1]):
        matrix = np.stack([b[:, j] for b in basis], axis=1)
        scale = np.array([norm(column) for column in matrix.T])
        told = scale.min() > EXACT * scale.max()  # a term below the rounding of the others has no weight to be seen
        if not told or not np.isfinite(found[:, j]).all() or len(matrix) < LEAST_ROWS:
            yield None
            continue
        coefficients, _, rank, _ = np.linalg.lstsq(matrix / scale, found[:, j], rcond=1e-9)
        left = norm(found[:, j] - matrix / scale @ coefficients)
        yield _Fit(coefficients / scale, left / (norm(found[:, j]) or 1.0)) if rank == len(basis) else None


def _told(factors: Sequence[FloatArray], passes: Sequence[Workings]) -> str:
    """Name a factor that has these values, unit by unit, on several problems; the first is shown."""
    named = [_names(factor, w, EXACT) for factor, w in zip(factors, passes, strict=True)]
    everywhere = [name for name in named[0] if all(name in others for others in named)]
    if not _constant(factors[0], EXACT):
        return (everywhere or named[0][-1:] or [ELSEWISE])[0]
    plain = _value(factors[0][0])
    # On one problem many things may have the value of N.
    return everywhere[0] if everywhere and (len(named) > 1 or plain in ("0", "1", "-1")) else plain


def _factor(evidence: Evidence, name: str, seen: Beside) -> str:
    """Say what an array is a multiple of: "N times", if that holds on every problem on which it is wrong."""
    shown = _multiple(seen)
    if shown is None or (_constant(shown, seen.exact) and abs(shown[0] - 1) <= seen.exact):
        return ""
    others = (
        [] if seen.where else [one for one in _everywhere(evidence, name) if one.w is not seen.w and one.right.any()]
    )
    multiples = [(shown, seen)] + [(k, one) for one in others if (k := _multiple(one)) is not None]
    if len(multiples) <= len(others):
        return ""
    named = [_names(k, one.w, one.exact) for k, one in multiples]
    known = [label for label in named[0] if all(label in labels for labels in named)]
    if not known:
        return ""
    value = _value(shown[0]) if _constant(shown, seen.exact) else known[0]
    if known[0] == value:
        return f"{value} times"
    return f"{known[0]} times" if len(named) > 1 else f"{value} times (as {known[0]} would be)"


def _multiple(seen: Beside) -> FloatArray | None:
    """Return k with found = k right, of each unit or of all, or None if there is none."""
    found, right = seen.found, seen.right
    largest = np.abs(right).max() or 1.0
    found, right = found / largest, right / largest
    units = not seen.where and right.shape[-1:] == (seen.w.H,) and bool(np.atleast_2d(right).any(axis=0).all())
    over = 0 if units and right.ndim == 2 else None
    if units and right.ndim == 1:
        k = found / right
    else:
        k = np.atleast_1d((found * right).sum(axis=over) / (right * right).sum(axis=over))
    return k if norm(found - k * right) <= seen.exact * norm(found) else None


def _names(factor: FloatArray, w: Workings, exact: float) -> list[str]:
    """Return the names of what has these values, unit by unit: a number, or times what the units differ in."""
    sizes = {"1": 1, "N": w.N, "(N - 1)": w.N - 1, "D": w.D, "H": w.H, "2": 2}
    quotients = {
        sign + (p if q == "1" else f"{p}/{q}"): float(f"{sign}1") * sizes[p] / sizes[q]
        for q in sizes for p in sizes for sign in ("", "-") if (sizes[q] and p != q) or p == q == "1"
    }  # fmt: skip
    names = []
    for vector, values in {"": np.ones(1), **(_vectors(w) if len(factor) == w.H > 1 else {})}.items():
        ratio = factor / values
        if _constant(ratio, exact):
            k = float(ratio[0])
            known = [name for name, c in quotients.items() if c and abs(k - c) <= exact * abs(c)]
            names += [_product(name, vector) for name in [*known, _value(k)]]
    return names


def _value(k: float) -> str:
    return f"1 {'+' if k > 1 else '-'} {abs(k - 1):.0e}" if EXACT < abs(k - 1) < NEARLY_ONE else f"{k:.4g}"


def _product(constant: str, vector: str) -> str:
    if vector.startswith("1/") and "/" not in constant:
        return f"{constant}/{vector[2:]}"
    return vector if constant == "1" and vector else f"{constant} {vector}".strip()


def _vectors(w: Workings) -> dict[str, FloatArray]:
    """Return what differs from unit to unit and may have been left out, or put in twice."""
    known = {"gamma": w.gamma, "sigma": w.sigma, "sigma^2": w.sigma**2, "var": w.var, "beta": w.beta, "mu": w.mu}
    with np.errstate(all="ignore"):
        both = known | {f"1/{name}": 1 / v for name, v in known.items()}
    return {name: v for name, v in both.items() if v.shape == w.gamma.shape and np.isfinite(v).all() and v.all()}


def _constant(values: FloatArray, exact: float) -> bool:
    return bool((np.abs(values - values[0]) <= exact * np.abs(values[0])).all())


def _same_as(evidence: Evidence, name: str, case: Case) -> str:
    """Name another right array, or this one reversed or transposed, that was returned instead."""
    observed, w = evidence.observed[evidence.number(case)], evidence.right[evidence.number(case)]
    if name == OUTPUT or case.measured.own:
        return ""
    right = evidence.value(w, name)
    guesses = {f"d{other}": evidence.value(w, other) for other in observed if other not in (name, OUTPUT)}
    guesses |= {"the right one with its rows reversed": right[::-1], "the right one transposed": right.T}
    guesses |= {"the right one with its columns reversed": right[..., ::-1]}
    return next((f"it is {told}" for told, guess in guesses.items() if observed[name].agrees(guess) is not None), "")


def _decay(evidence: Evidence, name: str) -> str:
    """Say so where an array is off by the same multiple of its own input on every problem."""
    if name not in ("W", "X", "b", "gamma", "beta"):
        return ""
    off = [(one.found - one.right, getattr(one.w, name)) for one in _everywhere(evidence, name) if not one.where]
    shares = [float((d * v).sum() / (v * v).sum()) for d, v in off if v.any()]
    same = len(shares) > 0 and off[0][0].size > 1 and all(abs(k - shares[0]) <= 1e-4 * abs(shares[0]) for k in shares)
    exact = same and all(norm(d - shares[0] * v) <= 1e-4 * norm(d) for d, v in off)
    return f"it is off by {shares[0]:.3g} times {name} itself (a weight decay?)" if exact else ""


def like_rounding(evidence: Evidence, name: str) -> str:
    """Say so where errors are small on every problem, and go with nothing that the array is made of."""
    levels = []
    for case, observed in zip(evidence.cases, evidence.observed, strict=True):
        if not observed[name].wrong or evidence.shapeless(case, name):
            continue
        seen = Beside.of(evidence, name, case)
        whole = name == OUTPUT or case.measured.own
        size = np.abs(seen.right).max(axis=0) if name == OUTPUT else case.measured.gradients[name].size
        if seen.where or (whole and name != OUTPUT):
            return ""
        off = seen.found - seen.right
        if not np.isfinite(off).all():
            return ""
        share = np.divide(off, size, out=np.zeros_like(off), where=size != 0)
        levels.append(norm(share) / share.size**0.5)
        patterns = [seen.right, np.ones_like(off), np.abs(seen.right)]
        patterns += _basis(seen.w, name) if name in ("h", "W", "X") else []
        patterns += [seen.w.xhat, np.sign(seen.w.xhat)] if name in ("h", OUTPUT) else []
        sums = {"W": seen.w.X.sum(axis=0)[:, None], "X": seen.w.W.sum(axis=1)} if name in ("W", "X") else {}
        patterns += [np.broadcast_to(sums[name], off.shape)] if name in sums else []
        patterned = off.size > FEW * len(patterns) and not _patternless(off, patterns)
        if levels[-1] > LARGEST_ROUNDING or patterned or _of_one_row_and_column(off):
            return ""
    if not levels:
        return ""
    sure = "look like" if len(levels) > 1 else "may be"
    return f"its errors are {max(levels):.0e} of the terms and without pattern: they {sure} rounding"


def _of_one_row_and_column(off: FloatArray) -> bool:
    """Tell whether most of an error is a row times a column, which noise never is: by power iteration."""
    if off.ndim < 2 or min(off.shape) < FEW:
        return False
    off = off / (norm(off) or 1.0)
    v: FloatArray = np.random.default_rng(0).standard_normal((off.shape[1],))
    for _ in range(FEW):
        v = off.T @ (off @ v)
        v = v / (norm(v) or 1.0)
    return norm(off @ v) > 0.7


def _patternless(off: FloatArray, patterns: Sequence[FloatArray]) -> bool:
    matrix = np.stack([p.ravel() / (norm(p) or 1.0) for p in patterns], axis=1)
    fitted = matrix @ np.linalg.lstsq(matrix, off.ravel(), rcond=1e-9)[0]
    return norm(fitted) < 0.7 * norm(off)


def _clearly_wrong(off: FloatArray, allowed: FloatArray, size: FloatArray) -> BoolArray:
    """Return where entries are wrong, and where there are none; everywhere, if the others are not much less so."""
    live = np.broadcast_to(size > 0, off.shape)
    wrong: BoolArray = ~(off <= allowed) & live
    with np.errstate(all="ignore"):
        share = np.where(live, off / np.where(live, size, 1.0), 0.0)
        share = np.where(np.isnan(share), np.inf, share)
        others = share[~wrong & live].max(initial=0.0)
        clear = wrong.any() and others <= CLEARLY * np.median(share[wrong])
    return wrong | ~live if clear else np.ones_like(wrong)


def _where(wrong: BoolArray) -> str:
    """Say in which rows or columns entries are wrong, where not in all."""
    parts = []
    rows, columns = (np.flatnonzero(np.atleast_2d(wrong).any(axis=axis)).tolist() for axis in (1, 0))
    if wrong.ndim == 2 and len(rows) < len(wrong):
        parts.append(_indices(rows, len(wrong), "row"))
    if len(columns) < wrong.shape[-1]:
        parts.append(_indices(columns, wrong.shape[-1], "column" if wrong.ndim == 2 else "unit"))
    return f"only {' and '.join(parts)}" if parts else ""


def _indices(wrong: Sequence[int], size: int, noun: str) -> str:
    """Say which indices are wrong: one, a run, every so many, or how many."""
    first, last, count = wrong[0], wrong[-1], len(wrong)
    if count == 1:
        place = {size - 1: ", the last", 0: ", the first"}.get(first, "")
        return f"{noun} {first}{place} of {size}"
    step = wrong[1] - first
    if list(wrong) != list(range(first, last + 1, step)):
        return f"{count} of {size} {noun}s"
    if step > 1:
        return f"{noun}s {first}, {wrong[1]}, ... {last}" if count > 2 else f"{noun}s {first} and {last}"
    if last < size - 1:
        return f"{noun}s {first}-{last} of {size}"
    tile = next((t for t in TILES if first and first % t == 0 and count < t), 0)
    return f"{noun}s {first}-{last}, the last {count}{f' (left over after tiles of {tile}?)' if tile else ''}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if 0.01 <= share < 100 else f"{share:.1e}"
