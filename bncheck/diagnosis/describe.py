"""What can be said of a wrong array that no known mistake gives: only what is true of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from bncheck.diagnosis.evidence import MAX_ROUNDINGS, OUTPUT, Evidence, is_misshapen, norm
from bncheck.diagnosis.match import fixed_eps_of
from bncheck.mistakes.pass_values import PassValues
from bncheck.model.diagnosis_records import Terms
from bncheck.model.problem import FloatArray
from bncheck.model.results import BoolArray, PairResult
from bncheck.numerical.basepoint import UNIT_ROUNDOFF

# What is left of an array may be this share of it where a fit is called exact, and in a coarser
# type that many of its roundings, up to a share that would let other numbers pass.
EXACT, EXACT_ROUNDINGS, LARGEST_EXACT = 1e-7, 32.0, 1e-5
# Errors of every entry by less than this share of its terms, on every problem, may be rounding.
LARGEST_ROUNDING = 1e-6
# Rows that a column must have for three coefficients to say anything.
LEAST_ROWS = 5
# With fewer entries than that many times the patterns, chance looks like one of them.
MIN_ENTRIES_PER_PATTERN = 8
# A single pattern that correlates with the errors by more than this is no coincidence, however few the entries are:
# of 8 independent errors one in 2,000 does.
MAX_CHANCE_CORRELATION = 0.95
# A factor explains an array if it leaves at most this share of the error; a factor near 1 leaves almost nothing of
# the array itself, whatever the error is.
MAX_UNEXPLAINED_ERROR = 0.05
# Entries are called right beside wrong ones if they are off by no more than this share of what those are.
MAX_CORRECT_RATIO = 0.01
NEARLY_ONE = 1e-3
# A factor N/c with a larger c than this is not attributed to a batch size that the code fixes.
MAX_FIXED_SIZE = 1e5
TILES = (128, 64, 32, 16, 8)
VARIES_BY_UNIT = "another in each unit"


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A wrong array beside the right one, of one problem; where only some entries are wrong, those."""

    returned: FloatArray
    expected: FloatArray
    rounding: FloatArray  # of each entry, as much as a correct value may have
    w: PassValues  # the right pass
    where: str  # which rows or columns are wrong; empty for all
    exact: float  # the share of it that a fit may leave

    @classmethod
    def of(cls, evidence: Evidence, name: str, case: PairResult) -> "Discrepancy":
        """Put what was returned on a problem beside the right values, or the numerical ones."""
        w = evidence.right[evidence.index_of(case)]
        factor = case.precision.roundoff_factor
        exact = min(max(EXACT, EXACT_ROUNDINGS * factor * UNIT_ROUNDOFF), LARGEST_EXACT)
        if name == OUTPUT:
            output, rounding = case.measurement.output, factor * case.measurement.output_bound
            return cls(
                np.asarray(case.pair_output.output, float),
                output,
                np.broadcast_to(rounding, output.shape),
                w,
                "",
                exact,
            )
        g, measured = case.gradients[name], case.measurement.gradients[name]
        rounding = g.tolerance if case.measurement.black_box else MAX_ROUNDINGS * factor * measured.conditioning
        rounding = np.broadcast_to(rounding, g.analytic.shape)
        if case.measurement.black_box and g.checked < g.entries:
            done = measured.evaluated
            return cls(g.analytic[done], g.numerical[done], rounding[done], w, "", exact)
        right = g.numerical if case.measurement.black_box else evidence.value(w, name)
        where = _describe_region(_isolate_wrong_entries(np.abs(g.analytic - right), rounding, measured.term_size))
        if not where:
            return cls(g.analytic, right, rounding, w, "", exact)
        wrong = ~(np.abs(g.analytic - right) <= rounding)
        return cls(g.analytic[wrong], right[wrong], rounding[wrong], w, where, exact)


def describe_discrepancy(evidence: Evidence, name: str, terms: Terms | None) -> tuple[str, ...]:
    """Return sentences about a wrong output or gradient, each true of it."""
    case = evidence.primary_case(name)
    if is_misshapen(case, name):
        return (_shape_of(evidence, name, case),)
    seen = Discrepancy.of(evidence, name, case)
    where, there = ((seen.where,), " there") if seen.where else ((), "")
    finite = np.isfinite(seen.returned)
    if not finite.all():
        return (*where, f"{(~finite).sum():,} of {finite.size:,} entries{there} are nan or infinite")
    if not seen.expected.any() or (name != OUTPUT and case.gradients[name].exact_zero):
        return (*where, f"it must be 0{there} and reaches {np.abs(seen.returned).max():.1e}")
    factor = _factor(evidence, name, seen) if seen.returned.size > 1 else ""
    if factor:
        return (*where, f"it is {factor} times the right values{there}")
    if not seen.where:
        known = (
            _constant_eps(evidence, name)
            or _describe_swap(evidence, name, case)
            or _describe_weight_decay(evidence, name)
            or looks_like_rounding(evidence, name)
            or describe_terms(terms)
        )
        if known:
            return (known,)
    off = norm(seen.returned - seen.expected) / norm(seen.expected)
    return (*where, f"it differs from the right values{there} by {_percent(off)} of their norm")


def _constant_eps(evidence: Evidence, name: str) -> str:
    """State that a wrong output is batch norm's with another eps, if it is."""
    fixed = fixed_eps_of(evidence) if name == OUTPUT else ()
    return f"it is batch norm {with_fixed(fixed)}" if fixed else ""


def with_fixed(eps: Sequence[float]) -> str:
    """Name the constants in place of bn_eps that the problems do not distinguish."""
    return f"with eps = {' or '.join(f'{constant:.3g}' for constant in eps)}, which the code fixes"


def _shape_of(evidence: Evidence, name: str, case: PairResult) -> str:
    """State the shape or type of an array, those expected, and what is established about the difference."""
    if name == OUTPUT:
        value, expected = case.pair_output.output, case.measurement.output
    else:
        value, expected = case.pair_output.gradients[name], case.measurement.gradients[name].value
    if value.dtype.kind not in "fiu":
        is_none = value.dtype == object and value.size == 1 and value.item() is None
        return (
            f"it is {'None' if is_none else f'of type {value.dtype}'}, expected real numbers of shape {expected.shape}"
        )
    text = f"its shape is {value.shape}, expected {expected.shape}"
    if value.shape == (case.measurement.problem.N, *expected.shape):
        return f"{text}: the sum over the batch is missing"
    if name == OUTPUT or case.measurement.black_box:
        return text
    number = evidence.index_of(case)
    observed, correct = evidence.observed[number][name], evidence.value(evidence.right[number], name)
    rearranged = {"its transpose is correct": value.T}
    if value.size == expected.size:
        rearranged["its entries, in this order, are correct"] = value.reshape(expected.shape)
    facts = (fact for fact, array in rearranged.items() if replace(observed, value=array).agrees(correct) is not None)
    return ": ".join((text, *islice(facts, 1)))


def describe_terms(terms: Terms | None) -> str:
    """Say what the weights of the three terms are; nothing of none."""
    if terms is None:
        return ""
    if not terms.exact:
        left = _percent(terms.unexplained)
        return f"no three weights of its terms, the same in every unit, give it: {left} of it is something else"
    return f"its three terms are weighted {', '.join(terms.labels)}, where 1, 1, 1 is right"


def _all_discrepancies(evidence: Evidence, name: str) -> list[Discrepancy]:
    """Return an array beside the right one on every problem on which it is wrong; nothing if one has no such shape."""
    wrong = [c for c, o in zip(evidence.cases, evidence.observed, strict=True) if o[name].wrong]
    if any(is_misshapen(c, name) for c in wrong):
        return []
    return [Discrepancy.of(evidence, name, c) for c in wrong]


def wrong_region(evidence: Evidence, name: str) -> str:
    """Say in which rows or columns the wrong entries of a gradient are, where not in all."""
    case = evidence.primary_case(name)
    return "" if is_misshapen(case, name) else Discrepancy.of(evidence, name, case).where


def _of_terms(evidence: Evidence, name: str) -> bool:
    """Tell whether a gradient is made of the three terms of dx: dh, or where there is none dW and dX."""
    inner = name == "h" or (name in ("W", "X") and "h" not in evidence.names)
    return inner and evidence.piece.name != "affine"


def fit_terms(evidence: Evidence, name: str) -> "dict[int, _Weights]":
    """Fit a gradient on the three terms of dx, by problem; only where that gives all of it."""
    if not _of_terms(evidence, name):
        return {}
    fits = {}
    for number, case in enumerate(evidence.cases):
        if case.measurement.black_box or is_misshapen(case, name) or not evidence.observed[number][name].wrong:
            continue
        weights = _weights(Discrepancy.of(evidence, name, case), name)
        if weights is not None:
            fits[number] = weights
    return fits


def terms_of(evidence: Evidence, name: str) -> Terms | None:
    """Return the weights of dx's three terms in a gradient; None if they are unknown or all correct."""
    case = evidence.primary_case(name)
    if not _of_terms(evidence, name) or case.measurement.black_box or is_misshapen(case, name):
        return None
    weights, shown, seen = fit_terms(evidence, name), evidence.index_of(case), Discrepancy.of(evidence, name, case)
    if shown in weights or (weights and not seen.where and not _determines_weights(seen, name)):
        # A problem with too few rows shows no weights; then the largest that does is reported.
        order = sorted(weights, key=lambda number: (number == shown, number), reverse=True)
        columns = [[weights[number].column(term) for number in order] for term in range(3)]
        passes = [evidence.right[number] for number in order]
        direct, mean, variance = (_name_of(factors, passes) for factors in columns)
        if direct == mean == variance == "1":
            return None
        shares = [factors[0].number for factors in columns]
        return Terms(shares[0], shares[1], shares[2], 0.0, True, (direct, mean, variance))
    fit = None if seen.where else _fit(seen.returned, seen.rounding, _basis(seen.w, name))
    if fit is None or fit.left <= max(seen.exact * norm(seen.returned), norm(seen.rounding)):
        return None  # what a fit of everything leaves is rounding, though single units do not determine three weights
    first, second, third = map(float, fit.coefficients)
    share = fit.left / norm(seen.returned)
    return Terms(first, second, third, share, False, (f"{first:.3f}", f"{second:.3f}", f"{third:.3f}"))


def _basis(w: PassValues, name: str) -> list[FloatArray]:
    terms = (w.direct, w.mean_term + 0 * w.direct, w.variance_term)
    return [{"h": t, "W": w.X.T @ t, "X": t @ w.W.T}[name] for t in terms]


@dataclass(frozen=True, slots=True)
class _Fit:
    """The least-squares weights of the three terms in some entries of a gradient."""

    coefficients: FloatArray  # (3,)
    error: FloatArray  # (3,), upper bound on the error of each that rounding causes
    left: float  # the norm of what they do not give


def _fit(found: FloatArray, rounding: FloatArray, basis: Sequence[FloatArray]) -> _Fit | None:
    """Fit entries on the three terms; None if the entries do not determine three weights."""
    matrix = np.stack([b.ravel() for b in basis], axis=1)
    scale = np.array([norm(column) for column in matrix.T])
    # A term below the rounding of the others has no weight that can be measured.
    measurable = scale.min() > EXACT * scale.max() and np.isfinite(found).all() and len(matrix) >= LEAST_ROWS
    if not measurable:
        return None
    coefficients, _, rank, singular = np.linalg.lstsq(matrix / scale, found.ravel(), rcond=1e-9)
    if rank < len(basis):
        return None
    left = norm(found.ravel() - matrix / scale @ coefficients)
    return _Fit(coefficients / scale, (left + norm(rounding)) / singular.min() / scale, left)


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor of a gradient or of a term: one for each unit, or one for all of them."""

    values: FloatArray  # (H,) or (1,)
    error: FloatArray  # the same shape, upper bound on the error that rounding causes

    @property
    def number(self) -> float | None:
        """The factor without the digits that rounding made, if it is the same in every unit."""
        return float(f"{self.values[0]:.10g}") if self.is_constant else None

    @property
    def is_constant(self) -> bool:
        """Whether it is the same in every unit."""
        return self.agrees(self)

    def equals(self, number: float) -> bool:
        """Return whether it is this number in every unit."""
        return bool((np.abs(self.values - number) <= self.error).all())

    def agrees(self, other: "Factor") -> bool:
        """Return whether it is, within both errors, the other factor's first value in every unit."""
        return bool((np.abs(self.values - other.values[0]) <= self.error + other.error[0]).all())

    def over(self, vector: FloatArray) -> "Factor":
        """Return it divided by what differs from unit to unit."""
        return Factor(self.values / vector, self.error / np.abs(vector))


@dataclass(frozen=True, slots=True)
class _Weights:
    """The weights of the three terms on one problem, unit by unit."""

    values: FloatArray  # (H,3); a weight within its error of 0 is 0
    error: FloatArray  # (H,3), upper bound on the error that rounding causes

    def column(self, term: int) -> Factor:
        return Factor(self.values[:, term], self.error[:, term])


def _determines_weights(seen: Discrepancy, name: str) -> bool:
    """Return whether an array is wrong everywhere and has rows enough for three weights; in dX the units are mixed."""
    return not seen.where and (name == "X" or len(seen.returned) >= LEAST_ROWS)


def _weights(seen: Discrepancy, name: str) -> _Weights | None:
    """Return the weights that give an array up to rounding: common to all units if possible, else unit by unit."""
    basis, units = _basis(seen.w, name), seen.w.H
    if not _determines_weights(seen, name):
        return None
    common = _fit(seen.returned, seen.rounding, basis)
    if common is not None and _gives_every_column(seen, common.coefficients, basis):
        fits = [common] * units
    elif name == "X":  # its entries mix the units
        return None
    else:
        each = [_fit(seen.returned[:, j], seen.rounding[:, j], [b[:, j] for b in basis]) for j in range(units)]
        fits = [fit for j, fit in enumerate(each) if fit and fit.left <= seen.exact * norm(seen.returned[:, j])]
        if len(fits) < units:
            return None
    values, error = np.array([fit.coefficients for fit in fits]), np.array([fit.error for fit in fits])
    error = np.minimum(error, seen.exact * np.maximum(np.abs(values), 1.0))
    return _Weights(np.where(np.abs(values) <= error, 0.0, values), error)


def _gives_every_column(seen: Discrepancy, coefficients: FloatArray, basis: Sequence[FloatArray]) -> bool:
    """Return whether weights give all columns of an array, however small a column is."""
    left = seen.returned - sum(k * b for k, b in zip(coefficients, basis, strict=True))
    return all(norm(off) <= seen.exact * norm(column) for off, column in zip(left.T, seen.returned.T, strict=True))


def _name_of(factors: Sequence[Factor], passes: Sequence[PassValues]) -> str:
    """Name a factor that has these values on several problems; the first problem is the one that is reported."""
    return common_name(factors, passes) or common_name(factors[:1], passes[:1]) or VARIES_BY_UNIT


def common_name(factors: Sequence[Factor], passes: Sequence[PassValues]) -> str:
    """Name a factor by what it is on every problem: a number, a quotient of sizes, or either times gamma, sigma, ...

    A quotient of sizes is established only if it differs between the problems and the factor differs with it:
    (N - 1)/H is 1.5 for N = 7 and H = 4, and so is 1.5.
    """
    vectors = [
        {"": np.ones(1), **(_vectors(w) if len(f.values) == w.H > 1 else {})}
        for f, w in zip(factors, passes, strict=True)
    ]
    for vector in vectors[0]:
        if not all(vector in others for others in vectors):
            continue
        rest = [f.over(v[vector]) for f, v in zip(factors, vectors, strict=True)]
        if not all(f.is_constant for f in rest):
            continue
        for name, sizes in _quotients(passes).items():
            if all(f.equals(size) for f, size in zip(rest, sizes, strict=True)):
                return _product(name, vector)
        for size in ("N", "D", "H"):
            constant = _fixed_size(rest, [float(getattr(w, size)) for w in passes])
            if constant:
                return _product(f"{size}/{constant}", vector)
        first = rest[0]
        if all(f.agrees(first) for f in rest[1:]):
            return _product(_value(float(first.values[0]), float(first.error[0])), vector)
    return ""


def _fixed_size(factors: Sequence[Factor], sizes: Sequence[float]) -> int:
    """Return the integer that code contains in place of a size, if each factor is the size over it; 0 if not."""
    if len(set(sizes)) < 2:
        return 0
    over = [f.over(np.array([size])) for f, size in zip(factors, sizes, strict=True)]
    share = float(over[0].values[0])
    constant = round(1 / share) if abs(share) > 1 / MAX_FIXED_SIZE else 0
    return constant if constant > 1 and all(f.equals(1 / constant) for f in over) else 0


def _quotients(passes: Sequence[PassValues]) -> dict[str, list[float]]:
    """Return the quotients of sizes by name, on every problem; those that can be told from a number."""
    sizes = [{"1": 1, "N": w.N, "(N - 1)": w.N - 1, "D": w.D, "H": w.H, "2": 2} for w in passes]
    quotients = {}
    for q in sizes[0]:
        for p in sizes[0]:
            if p == q != "1" or not all(size[q] and size[p] for size in sizes):
                continue
            values = [size[p] / size[q] for size in sizes]
            if {p, q} <= {"1", "2"} or len(set(values)) > 1:
                name = p if q == "1" else f"{p}/{q}"
                quotients[name], quotients[f"-{name}"] = values, [-value for value in values]
    return quotients


def factor_of(evidence: Evidence, name: str) -> str:
    """Return the factor by which an array is wrong, if one factor gives it on every problem on which it is wrong."""
    return _factor(evidence, name, Discrepancy.of(evidence, name, evidence.primary_case(name)))


def _factor(evidence: Evidence, name: str, seen: Discrepancy) -> str:
    shown = _fit_multiple(seen)
    if shown is None or shown.equals(1.0):
        return ""
    others = (
        [] if seen.where else [o for o in _all_discrepancies(evidence, name) if o.w is not seen.w and o.expected.any()]
    )
    multiples = [shown, *(multiple for other in others if (multiple := _fit_multiple(other)))]
    if len(multiples) <= len(others):
        return ""
    return common_name(multiples, [seen.w, *(other.w for other in others)])


def _fit_multiple(seen: Discrepancy) -> Factor | None:
    """Return the factor k with found = k right, of each unit or of all, or None if there is none."""
    largest = np.abs(seen.expected).max() or 1.0
    found, right, rounding = seen.returned / largest, seen.expected / largest, seen.rounding / largest
    units = not seen.where and right.shape[-1:] == (seen.w.H,) and bool(np.atleast_2d(right).any(axis=0).all())
    if not units:
        found, right, rounding = (part.reshape(-1, 1) for part in (found, right, rounding))
    else:
        found, right, rounding = map(np.atleast_2d, (found, right, rounding))
    squares = (right * right).sum(axis=0)
    k = (found * right).sum(axis=0) / squares
    left = found - k * right
    if not norm(left) <= min(seen.exact * norm(found), MAX_UNEXPLAINED_ERROR * norm(found - right)):
        return None
    error = (np.sqrt((left * left).sum(axis=0)) + np.sqrt((rounding * rounding).sum(axis=0))) / np.sqrt(squares)
    return Factor(k, np.minimum(error, seen.exact * np.abs(k)))


def _value(k: float, error: float) -> str:
    """Write a factor; one that differs from 1 by more than its error never as 1."""
    if abs(k - 1) <= error:
        return "1"
    return f"1 {'+' if k > 1 else '-'} {abs(k - 1):.0e}" if abs(k - 1) < NEARLY_ONE else f"{k:.4g}"


def _product(constant: str, vector: str) -> str:
    if vector.startswith("1/") and "/" not in constant:
        return f"{constant}/{vector[2:]}"
    return vector if constant == "1" and vector else f"{constant} {vector}".strip()


def _vectors(w: PassValues) -> dict[str, FloatArray]:
    """Return what differs from unit to unit and may have been left out, or put in twice."""
    known = {"gamma": w.gamma, "sigma": w.sigma, "sigma^2": w.sigma**2, "var": w.var, "beta": w.beta, "mu": w.mu}
    with np.errstate(all="ignore"):
        both = known | {f"1/{name}": 1 / v for name, v in known.items()}
    return {name: v for name, v in both.items() if v.shape == w.gamma.shape and np.isfinite(v).all() and v.all()}


def _describe_swap(evidence: Evidence, name: str, case: PairResult) -> str:
    """Name another right array, or this one reversed or transposed, that was returned instead."""
    observed, w = evidence.observed[evidence.index_of(case)], evidence.right[evidence.index_of(case)]
    if name == OUTPUT or case.measurement.black_box:
        return ""
    right = evidence.value(w, name)
    guesses = {f"d{other}": evidence.value(w, other) for other in observed if other not in (name, OUTPUT)}
    guesses |= {"the right one with its rows reversed": right[::-1], "the right one transposed": right.T}
    guesses |= {"the right one with its columns reversed": right[..., ::-1]}
    return next((f"it is {told}" for told, guess in guesses.items() if observed[name].agrees(guess) is not None), "")


def _describe_weight_decay(evidence: Evidence, name: str) -> str:
    """Say so where an array is off by the same multiple of its own input on every problem."""
    if name not in ("W", "X", "b", "gamma", "beta"):
        return ""
    off = [
        (one.returned - one.expected, getattr(one.w, name))
        for one in _all_discrepancies(evidence, name)
        if not one.where
    ]
    shares = [float((d * v).sum() / (v * v).sum()) for d, v in off if v.any()]
    same = len(shares) > 0 and off[0][0].size > 1 and all(abs(k - shares[0]) <= 1e-4 * abs(shares[0]) for k in shares)
    exact = same and all(norm(d - shares[0] * v) <= 1e-4 * norm(d) for d, v in off)
    return f"it is off by {shares[0]:.3g} times {name} itself (a weight decay?)" if exact else ""


def looks_like_rounding(evidence: Evidence, name: str) -> str:
    """Say so where errors are small on every problem, and go with nothing that the array is made of."""
    levels: list[float] = []
    is_established = False
    for case, observed in zip(evidence.cases, evidence.observed, strict=True):
        if not observed[name].wrong or is_misshapen(case, name):
            continue
        seen = Discrepancy.of(evidence, name, case)
        whole = name == OUTPUT or case.measurement.black_box
        size = np.abs(seen.expected).max(axis=0) if name == OUTPUT else case.measurement.gradients[name].term_size
        if seen.where or (whole and name != OUTPUT):
            return ""
        off = seen.returned - seen.expected
        if not np.isfinite(off).all():
            return ""
        share = np.divide(off, size, out=np.zeros_like(off), where=size != 0)
        levels.append(norm(share) / share.size**0.5)
        patterns = [seen.expected, np.ones_like(off), np.abs(seen.expected)]
        patterns += _basis(seen.w, name) if name in ("h", "W", "X") else []
        patterns += [seen.w.xhat, np.sign(seen.w.xhat)] if name in ("h", OUTPUT) else []
        sums = {"W": seen.w.X.sum(axis=0)[:, None], "X": seen.w.W.sum(axis=1)} if name in ("W", "X") else {}
        patterns += [np.broadcast_to(sums[name], off.shape)] if name in sums else []
        is_large = off.size > MIN_ENTRIES_PER_PATTERN * len(patterns)
        is_established |= is_large
        patterned = not _patternless(off, patterns) if is_large else _follows_one(off, patterns)
        if levels[-1] > LARGEST_ROUNDING or patterned or _of_one_row_and_column(off):
            return ""
    if not is_established:  # so few entries show no absence of patterns
        return ""
    sure = "look like" if len(levels) > 1 else "may be"
    return f"its errors are {max(levels):.0e} of the terms and without pattern: they {sure} rounding"


def _of_one_row_and_column(off: FloatArray) -> bool:
    """Tell whether most of an error is a row times a column, which noise never is: by power iteration."""
    if off.ndim < 2 or min(off.shape) < MIN_ENTRIES_PER_PATTERN:
        return False
    off = off / (norm(off) or 1.0)
    v: FloatArray = np.random.default_rng(0).standard_normal((off.shape[1],))
    for _ in range(MIN_ENTRIES_PER_PATTERN):
        v = off.T @ (off @ v)
        v = v / (norm(v) or 1.0)
    return norm(off @ v) > 0.7


def _patternless(off: FloatArray, patterns: Sequence[FloatArray]) -> bool:
    matrix = np.stack([p.ravel() / (norm(p) or 1.0) for p in patterns], axis=1)
    fitted = matrix @ np.linalg.lstsq(matrix, off.ravel(), rcond=1e-9)[0]
    return norm(fitted) < 0.7 * norm(off)


def _follows_one(off: FloatArray, patterns: Sequence[FloatArray]) -> bool:
    """Return whether errors are a multiple of one pattern, more closely than chance makes them."""
    products = (abs(float((off * p).sum())) / ((norm(off) * norm(p)) or 1.0) for p in patterns)
    return off.size >= MIN_ENTRIES_PER_PATTERN and max(products) > MAX_CHANCE_CORRELATION


def _isolate_wrong_entries(off: FloatArray, allowed: FloatArray, size: FloatArray) -> BoolArray:
    """Return where entries are wrong, and where there are none; everywhere, if the others are not much less so."""
    live = np.broadcast_to(size > 0, off.shape)
    wrong: BoolArray = ~(off <= allowed) & live
    with np.errstate(all="ignore"):
        share = np.where(live, off / np.where(live, size, 1.0), 0.0)
        share = np.where(np.isnan(share), np.inf, share)
        others = share[~wrong & live].max(initial=0.0)
        clear = wrong.any() and others <= MAX_CORRECT_RATIO * np.median(share[wrong])
    return wrong | ~live if clear else np.ones_like(wrong)


def _describe_region(wrong: BoolArray) -> str:
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
