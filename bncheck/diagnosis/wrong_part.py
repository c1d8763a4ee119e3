"""Where a backward pass departs from the right one: the stage, and the identities it breaks."""

import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from bncheck.diagnosis.describe import factor_of, looks_like_rounding, terms_of, wrong_region
from bncheck.diagnosis.evidence import Evidence, is_misshapen
from bncheck.mistakes.pass_values import PassValues
from bncheck.model.diagnosis_records import Identity, WrongPart
from bncheck.model.problem import FloatArray
from bncheck.model.results import PairResult
from bncheck.model.verdict import Verdict
from bncheck.numerical.basepoint import UNIT_ROUNDOFF

# The steps at which the Taylor remainder is taken: below, rounding is all of it.
TAYLOR_STEPS = tuple(2.0**-k for k in range(12, 21))
STAGES = {"affine": "the affine layer", "relu": "ReLU's mask"}


def find_wrong_part(case: PairResult, code: str | None) -> WrongPart:
    """Name the stage at which a case departs, and say which identities its gradients keep.

    ``code`` is the mistake that was named, if one was.
    """
    with np.errstate(all="ignore"):  # a wrong value may be anything
        return _departure(case, code)


def _departure(case: PairResult, code: str | None) -> WrongPart:
    function, stage = case.pair_output.backward_name, _fault_part(case, code)
    if case.measurement.black_box:  # the identities are batch norm's, and so is the loss of the Taylor remainder
        return WrongPart(function, stage, (), None)
    # In the words of the code under test: dx for a layer's dh.
    called = {f"d{n}": g.name for n, g in case.gradients.items()}
    told = ((re.sub(r"\bd\w+", lambda m: called.get(m[0], m[0]), i.formula), i.satisfied) for i in _identities(case))
    identities = tuple(Identity(formula, holds) for formula, holds in told)
    return WrongPart(function, stage, identities, _taylor_rate(case) if _complete(case) else None)


def _fault_part(case: PairResult, code: str | None) -> str:
    piece, wrong, there = case.pair_output.component.name, set(case.failed), set(case.gradients)
    if case.output.wrong:
        return f"the forward pass ({case.pair_output.forward_name or 'forward'}){_derivative(case)}"
    has_wrong_shape_or_dtype = [case.gradients[n].name for n in case.failed if is_misshapen(case, n)]
    if has_wrong_shape_or_dtype:
        return f"the shape or kind of {' and '.join(has_wrong_shape_or_dtype)}"
    if piece in STAGES:
        return STAGES[piece]
    behind = {"W", "X"} & there
    inner = "h" in wrong or (
        "h" not in there and bool(behind) and behind <= wrong and (code or "BN2")[:3] not in ("BN5", "BN7")
    )
    if code and code.startswith("BN4"):
        return STAGES["relu"]
    if inner and piece == "network" and {"beta", "gamma"} <= wrong and _path(case) == "batch norm's backward":
        return "ReLU's mask, or several stages: everything behind it is wrong"
    found = []
    if wrong & {"beta", "gamma"}:
        found.append("the sums over the batch (" + ", ".join(f"d{n}" for n in ("gamma", "beta") if n in wrong) + ")")
    if inner:
        found.append(_path(case))
    elif wrong & {"W", "X", "b"}:
        found.append("the affine layer (" + ", ".join(f"d{n}" for n in ("X", "W", "b") if n in wrong) + ")")
    return " and ".join(found)


def _derivative(case: PairResult) -> str:
    """State whether the backward pass is the derivative of the wrong forward pass, if that was established."""
    if not case.measurement.black_box:  # the gradients were compared with batch norm's
        return ""
    if case.failed:
        return ", and the backward pass is not its derivative"
    gradients = case.gradients.values()
    passed = all(g.verdict is Verdict.PASS and g.checked == g.entries for g in gradients)
    return ", whose derivative the backward pass is" if passed and _complete(case) else ""


def _path(case: PairResult) -> str:
    """Name the path of dx that departs, if the three weights give it."""
    evidence = Evidence([case])
    name = next(n for n in ("h", "W", "X") if n in case.failed)
    part = wrong_region(evidence, name)
    if part:
        return f"{case.gradients[name].name}, {part}"
    factor = factor_of(evidence, name)
    if factor:
        return f"a factor on all three terms ({factor})"
    if looks_like_rounding(evidence, name):
        return "nothing but rounding, it seems"
    terms = terms_of(evidence, name)
    if terms is None or not terms.exact:
        return (
            "batch norm's backward"
            if name == "h" or {"W", "X"} <= case.gradients.keys()
            else "batch norm's backward or the affine layer"
        )
    if len(set(terms.labels)) == 1:
        return f"a factor on all three terms ({terms.labels[0]})"
    paths = zip(("the direct path", "the mean path", "the variance path"), terms.labels, strict=True)
    return " and ".join(path for path, told in paths if told != "1")


VARIANCE = "sum dh xhat = gamma dgamma eps / sigma^3"


def _identities(case: PairResult) -> Iterator[Identity]:
    """Yield the exact identities whose gradients are all there."""
    piece, w = case.pair_output.component, PassValues.of(case.measurement.problem, case.pair_output.component)
    output: FloatArray = getattr(w, piece.output)
    loss: FloatArray = w.dout * output
    d = {n: g.analytic for n, g in case.gradients.items()}
    e = {n: _rounding(case, n) for n in d}
    inputs = {n: getattr(w, n) for n in d}
    normalised = piece.name in ("network", "batchnorm")

    def terms(name: str) -> FloatArray:
        weighted: FloatArray = inputs[name] * d[name]
        return weighted

    def rounding_allowance(*names: str) -> float:
        return float(sum((np.abs(inputs[n]) * e[n]).sum() for n in names))

    def one(formula: str, left: list[FloatArray], right: list[FloatArray], allowed: float) -> Identity:
        terms = [*left, *(-t for t in right)]
        rounding = 64 * UNIT_ROUNDOFF * sum(float(np.abs(t).sum()) for t in terms)
        return Identity(formula, bool(abs(sum(float(t.sum()) for t in terms)) <= allowed + rounding))

    has: Callable[..., bool] = lambda *names: set(names) <= d.keys()  # noqa: E731 - reads as the table below
    if normalised and has("h"):
        yield Identity("sum dh = 0", bool((np.abs(d["h"].sum(axis=0)) <= e["h"].sum(axis=0)).all()))
    elif normalised and has("b"):
        yield Identity("db = 0", bool((np.abs(d["b"]) <= e["b"]).all()))
    if normalised and has("h", "gamma"):
        scale = w.gamma * w.eps / w.sigma**3
        off = (d["h"] * w.xhat).sum(axis=0) - scale * d["gamma"]
        bar = (e["h"] * np.abs(w.xhat)).sum(axis=0) + np.abs(scale) * e["gamma"]
        yield Identity(VARIANCE, bool((np.abs(off) <= bar).all()))
    if has("W", "b", "h"):
        formula = "sum W dW + sum b db = sum h dh"
        yield one(formula, [terms("W"), terms("b")], [terms("h")], rounding_allowance("W", "b", "h"))
    if piece.name == "affine" and has("W", "b"):
        yield one("sum W dW + sum b db = L", [terms("W"), terms("b")], [loss], rounding_allowance("W", "b"))
    if has("X", "W"):
        yield one("sum X dX = sum W dW", [terms("X")], [terms("W")], rounding_allowance("X", "W"))
    if has("gamma", "beta"):
        formula = "L = sum gamma dgamma + sum beta dbeta"
        yield one(formula, [loss], [terms("gamma"), terms("beta")], rounding_allowance("gamma", "beta"))
    if has("y"):
        yield one("L = sum y dy", [loss], [terms("y")], rounding_allowance("y"))


def _rounding(case: PairResult, name: str) -> FloatArray:
    """Return the rounding that an analytic gradient may have, entry by entry."""
    measured = case.measurement.gradients[name]
    return np.broadcast_to(case.precision.roundoff_factor * measured.conditioning, measured.value.shape)


def _complete(case: PairResult) -> bool:
    """Tell whether every input that can be moved by itself has a gradient."""
    moved = {n for n in case.pair_output.component.inputs if n != "h" or "X" not in case.pair_output.component.inputs}
    return moved <= case.gradients.keys() and all(np.isfinite(case.gradients[n].analytic).all() for n in moved)


def _taylor_rate(case: PairResult) -> float | None:
    """Return the power of t with which the Taylor remainder of the guarded loss falls along a random line.

    The mask stays that of the base point: no output crosses the kink.
    """
    problem, piece = case.measurement.problem, case.pair_output.component
    w = PassValues.of(problem, piece)
    names = [n for n in piece.inputs if n != "h" or "X" not in piece.inputs]
    rng = np.random.default_rng([problem.seed or 0, 2])
    line = {n: rng.standard_normal(getattr(w, n).shape) * (np.abs(getattr(w, n)).max() or 1.0) for n in names}
    slope = sum(float((case.gradients[n].analytic * v).sum()) for n, v in line.items())
    frozen = {"active": w.active} if piece.output == "a" else {}

    def loss(t: float) -> FloatArray:
        moved: Mapping[str, FloatArray] = {n: getattr(w, n) + t * v for n, v in line.items()}
        given = {"eps": w.eps, "N": w.N, "H": w.H, **moved, **frozen}
        weighted: FloatArray = w.dout * getattr(PassValues(given), piece.output)
        return weighted

    base = loss(0.0)
    left = [abs(float((loss(t) - base).sum()) - t * slope) for t in TAYLOR_STEPS]
    rounding = 64 * UNIT_ROUNDOFF * float(np.abs(base).sum())
    seen = np.array([(t, r) for t, r in zip(TAYLOR_STEPS, left, strict=True) if r > rounding])
    if len(seen) < 3:
        return None
    t, remainder = np.log(seen.T)
    return round(float(np.polyfit(t, remainder, 1)[0]), 2)
