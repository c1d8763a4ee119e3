"""What can be said of a wrong array that no known mistake gives: only what is true of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bncheck.diagnosis.evidence import OUTPUT, Evidence, norm
from bncheck.mistakes.workings import Workings
from bncheck.problem import FloatArray
from bncheck.results import Case, GradientResult, Terms

# What is left of an array may be this share of it where a fit is called exact: rounding is far below.
EXACT = 1e-7
# An error of every entry by less than this share of its terms may be rounding.
LARGEST_ROUNDING = 1e-3
# Rows that a column must have for three coefficients to say anything.
LEAST_ROWS = 6
TILES = (128, 64, 32, 16, 8)


@dataclass(frozen=True, slots=True)
class Beside:
    """A wrong array beside the right one, of one problem; where only some entries are wrong, those."""

    found: FloatArray
    right: FloatArray
    w: Workings  # the pass that it belongs to
    where: str  # which rows or columns are wrong; empty for all

    @classmethod
    def of(cls, evidence: Evidence, name: str, case: Case) -> "Beside":
        """Put what was returned on a problem beside the right values, or the numerical ones."""
        w = (evidence.base or evidence.right)[evidence.number(case)]
        if name == OUTPUT:
            return cls(np.asarray(case.answer.output, float), case.measured.output, w, "")
        g = case.gradients[name]
        exact = g.numerical if case.measured.own or g.checked < g.entries else evidence.value(w, name)
        right = exact if exact.shape == g.numerical.shape else g.numerical
        where = where_of(g)
        if not where:
            return cls(g.analytic, right, w, "")
        with np.errstate(invalid="ignore"):
            wrong = ~(np.abs(g.analytic - g.numerical) <= g.tolerance)
        return cls(g.analytic[wrong], right[wrong], w, where)


def described(evidence: Evidence, name: str, terms: Terms | None) -> tuple[str, ...]:
    """Return sentences about a wrong output or gradient, each true of it."""
    case = evidence.worst(name)
    if _shapeless(case, name):
        return ()  # that is told already
    seen = Beside.of(evidence, name, case)
    where, there = ((seen.where,), " there") if seen.where else ((), "")
    finite = np.isfinite(seen.found)
    if not finite.all():
        return (*where, f"{(~finite).sum():,} of {finite.size:,} entries{there} are nan or infinite")
    if not seen.right.any() or (name != OUTPUT and case.gradients[name].zero):
        return (*where, f"it must be 0{there} and reaches {np.abs(seen.found).max():.1e}")
    size = np.ones(1) if name == OUTPUT else case.measured.gradients[name].size
    known = "" if seen.where else _like_rounding(seen, size)
    factor = _factor(evidence, name, seen) if seen.found.size > 1 and not known else ""
    known = known or (f"it is {factor} the right values{there}" if factor else "")
    if not known and not seen.where:
        known = _same_as(evidence, name, case) or _decay(name, seen) or _of_terms(terms)
    if known:
        return (*where, known)
    off = norm(seen.found - seen.right) / norm(seen.right)
    return (*where, f"it differs from the right values{there} by {_percent(off)} of their norm")


def _shapeless(case: Case, name: str) -> bool:
    """Tell whether an array is no real numbers, or of another shape than the right one."""
    if name != OUTPUT:
        return bool(case.gradients[name].reasons)
    output = case.answer.output
    return output.dtype.kind not in "fiu" or output.shape != case.measured.output.shape


def _of_terms(terms: Terms | None) -> str:
    if terms is None:
        return ""
    if terms.unexplained > EXACT:
        return f"no weighting of the three terms gives it: {_percent(terms.unexplained)} of it is something else"
    times = f", all of them times {terms.times}" if terms.times else ""
    return f"its three terms are weighted as shown, where 1, 1, 1 is right{times}"


def terms_of(evidence: Evidence, name: str) -> Terms | None:
    """Fit dh on the three terms of dx, or dW or dX where there is no dh; None where only a part is wrong."""
    case = evidence.worst(name)
    inner = name == "h" or (name in ("W", "X") and "h" not in evidence.names)
    if evidence.piece.name == "affine" or not inner or case.measured.own or where_of(case.gradients[name]):
        return None
    found, w = case.gradients[name].analytic, evidence.right[evidence.number(case)]
    terms = (w.direct, w.mean_path + 0 * w.direct, w.variance_path)
    basis = [{"h": t, "W": w.X.T @ t, "X": t @ w.W.T}[name] for t in terms]
    columns = [_fit(found[:, j], [b[:, j] for b in basis]) for j in range(found.shape[1])]
    each = np.array([c.coefficients for c in columns if c is not None and c.unexplained <= EXACT])
    if len(each) == len(columns) and each[:, 0].all():
        factor = np.ones(len(each)) if _constant(each[:, 0]) else each[:, 0]
        ratios = each / factor[:, None]
        if (np.abs(ratios - ratios[0]) <= EXACT * np.abs(ratios).max()).all():
            return _terms(ratios[0], 0.0, _unit_by_unit(factor, w))
    whole = _fit(found.ravel(), [b.ravel() for b in basis])
    return _terms(whole.coefficients, whole.unexplained, "") if whole else None


@dataclass(frozen=True, slots=True)
class _Fit:
    coefficients: FloatArray
    unexplained: float


def _fit(found: FloatArray, basis: Sequence[FloatArray]) -> _Fit | None:
    matrix = np.stack(basis, axis=1)
    scale = np.array([norm(column) for column in matrix.T])
    if not scale.all() or not np.isfinite(found).all() or len(matrix) < LEAST_ROWS:
        return None
    coefficients, _, rank, _ = np.linalg.lstsq(matrix / scale, found, rcond=1e-9)
    left = norm(found - matrix / scale @ coefficients)
    return _Fit(coefficients / scale, left / (norm(found) or 1.0)) if rank == len(basis) else None


def _terms(coefficients: FloatArray, unexplained: float, times: str) -> Terms:
    # Without the digits that rounding made.
    direct, mean_path, variance_path = (float(f"{c:.10g}") if abs(c) > EXACT else 0.0 for c in coefficients)
    return Terms(direct, mean_path, variance_path, unexplained, times)


def _unit_by_unit(factor: FloatArray, w: Workings) -> str:
    """Name what differs from unit to unit as these factors do; nothing if they do not."""
    if _constant(factor):
        return ""
    return next((n for n, v in _vectors(w).items() if _constant(factor / v)), "a factor of its own in each unit")


def _factor(evidence: Evidence, name: str, seen: Beside) -> str:
    """Say what an array is a multiple of: "N times", if that holds on every problem on which it is wrong."""
    everywhere = [seen]
    if not seen.where:
        wrong = [c for c, o in zip(evidence.cases, evidence.observed, strict=True) if o[name].wrong]
        if any(_shapeless(c, name) for c in wrong):
            return ""
        everywhere += [Beside.of(evidence, name, c) for c in wrong if c is not evidence.worst(name)]
    multiples = [_multiples(one) for one in everywhere if one.right.any()]
    known = [label for label in multiples[0] if all(label in others for others in multiples)]
    if not multiples[0] or not known:
        return ""
    value = f"{multiples[0][known[0]]:.4g}"
    if known[0] == value:
        return f"{value} times"
    # On a single problem many things may have the value of N.
    return f"{known[0]} times" if len(multiples) > 1 else f"{value} times (as {known[0]} would be)"


def _multiples(seen: Beside) -> dict[str, float]:
    """Return the names of what the right values must be multiplied by to give those found."""
    w, labels = seen.w, dict[str, float]()
    vectors = _vectors(w) if not seen.where and seen.right.shape[-1:] == (w.H,) and w.H > 1 else {}
    sizes = {"1": 1, "N": w.N, "(N - 1)": w.N - 1, "D": w.D, "H": w.H, "2": 2}
    quotients = {
        sign + (p if q == "1" else f"{p}/{q}"): float(f"{sign}1") * sizes[p] / sizes[q]
        for q in sizes for p in sizes for sign in ("", "-") if (sizes[q] and p != q) or p == q == "1"
    }  # fmt: skip
    for vector, values in {"": np.ones(1), **vectors}.items():
        k = _multiple(seen.found, values * seen.right)
        if k is not None:
            known = [name for name, c in quotients.items() if c and abs(k - c) <= EXACT * abs(c)]
            labels |= dict.fromkeys([_product(name, vector) for name in [*known, f"{k:.4g}"]], k)
    return labels


def _product(constant: str, vector: str) -> str:
    if vector.startswith("1/") and "/" not in constant:
        return f"{constant}/{vector[2:]}"
    return vector if constant == "1" and vector else f"{constant} {vector}".strip()


def _multiple(found: FloatArray, right: FloatArray) -> float | None:
    """Return k with found = k right, or None if there is none."""
    largest = np.abs(right).max() or 1.0
    right, found = right / largest, found / largest
    k = float((found * right).sum()) / (float((right * right).sum()) or 1.0)
    return k if norm(found - k * right) <= EXACT * norm(found) else None


def _vectors(w: Workings) -> dict[str, FloatArray]:
    """Return what differs from unit to unit and may have been left out, or put in twice."""
    known = {"gamma": w.gamma, "sigma": w.sigma, "sigma^2": w.sigma**2, "var": w.var, "beta": w.beta, "mu": w.mu}
    with np.errstate(all="ignore"):
        both = known | {f"1/{name}": 1 / v for name, v in known.items()}
    return {name: v for name, v in both.items() if v.shape == w.gamma.shape and np.isfinite(v).all() and v.all()}


def _constant(values: FloatArray) -> bool:
    return bool((np.abs(values - values[0]) <= EXACT * np.abs(values[0])).all())


def _same_as(evidence: Evidence, name: str, case: Case) -> str:
    """Name another right array, or this one turned round, that was returned instead."""
    observed, w = evidence.observed[evidence.number(case)], evidence.right[evidence.number(case)]
    if name == OUTPUT or case.measured.own:
        return ""
    right = evidence.value(w, name)
    guesses = {f"d{other}": evidence.value(w, other) for other in observed if other not in (name, OUTPUT)}
    guesses |= {"the right one with its rows reversed": right[::-1], "the right one transposed": right.T}
    guesses |= {"the right one with its columns reversed": right[..., ::-1]}
    return next((f"it is {told}" for told, guess in guesses.items() if observed[name].agrees(guess) is not None), "")


def _like_rounding(seen: Beside, size: FloatArray) -> str:
    """Say so where errors are small everywhere, and go with nothing that the array is made of."""
    off = seen.found - seen.right
    share = np.divide(off, size, out=np.zeros_like(off), where=size != 0)
    level = norm(share) / share.size**0.5
    patterns = np.stack([p.ravel() / (norm(p) or 1.0) for p in (seen.right, np.ones_like(off), np.abs(seen.right))], 1)
    if level > LARGEST_ROUNDING or off.size < 2 * patterns.shape[1]:
        return ""
    fitted = patterns @ np.linalg.lstsq(patterns, off.ravel(), rcond=1e-9)[0]
    if norm(fitted) > 0.6 * norm(off):
        return ""
    return f"its errors are {level:.0e} of the terms and without pattern: they look like rounding"


def _decay(name: str, seen: Beside) -> str:
    inputs = getattr(seen.w, name, None)
    off = seen.found - seen.right
    k = _multiple(off, inputs) if inputs is not None and inputs.shape == off.shape else None
    return f"it is off by {k:.3g} times {name} itself (a weight decay?)" if k else ""


def where_of(g: GradientResult) -> str:
    """Say in which rows or columns the wrong entries are, where not in all."""
    parts = []
    if g.numerical.ndim == 2 and len(g.rows) < len(g.numerical):
        parts.append(_indices(g.rows, len(g.numerical), "row"))
    if len(g.columns) < g.numerical.shape[-1]:
        parts.append(_indices(g.columns, g.numerical.shape[-1], "column" if g.numerical.ndim == 2 else "unit"))
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
    return f"{noun}s {first}-{last}, the last {count}{f', left over after tiles of {tile}' if tile else ''}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if 0.01 <= share < 100 else f"{share:.1e}"
